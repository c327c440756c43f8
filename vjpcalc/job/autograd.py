"""The main job in torch: leaves that require a gradient, the graph, ``backward(seed)``, and so the VJP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch  # noqa: TID253 (imported only once there is something to compute)

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.engines.yours import default_dtype
from vjpcalc.job.faults import backward_fault
from vjpcalc.job.job import Job
from vjpcalc.job.result import VJP, Forward
from vjpcalc.job.seeds import match_seeds
from vjpcalc.language.naming import text_of
from vjpcalc.language.trace import Node, Trace, ancestors
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import dtype_of


@stage("forward")
def forward(job: Job, engine: TorchEngine | None = None) -> Forward:
    """Run the program of a job, with a fresh set of leaves. Raises Diagnostic."""
    engine = engine or TorchEngine(job.dtype, job.random_seed)
    leaves = {}
    inputs = dict(job.inputs)
    for name in job.leaves:
        leaves[name] = inputs[name] = job.inputs[name].detach().requires_grad_()
    with engine.session():
        trace = job.run(engine, inputs)
    for name, node in trace.outputs.items():
        if not node.value.is_floating_point():
            dtype = dtype_of(node.value)
            kind = "a mask (bool)" if dtype == "bool" else f"whole numbers ({dtype})"
            raise Diagnostic(
                "type",
                f"the output '{name}' has no gradient: it is {kind}",
                span=node.span,
                source=job.program.source,
                hint="comparisons, argmax and the like have no slope; choose with where(condition, a, b)",
            )
    return Forward(job, trace, leaves)


@stage("backward")
def backward(
    run: Forward, seeds: Mapping[str, Sequence[torch.Tensor]]
) -> tuple[dict[str, torch.Tensor], int]:
    """Call ``backward`` with the first seed of each output, then with the second, and so on.

    The result is the accumulated gradients, zeros for a leaf that no output depends on, and the number of
    calls. Raises Diagnostic.
    """
    outputs = {name: node.value for name, node in run.trace.outputs.items() if node.value.requires_grad}
    calls = max(map(len, seeds.values()), default=0)
    for call in range(calls):
        roots = {name: own[call] for name, own in seeds.items() if name in outputs and call < len(own)}
        if roots:
            tensors = [outputs[name] for name in roots]
            try:
                with default_dtype(run.job.dtype):
                    torch.autograd.backward(tensors, list(roots.values()), retain_graph=call + 1 < calls)
            except (Exception, SystemExit) as error:
                raise fault(run, error, roots) from error
    return gradients_of(run), calls


def gradients_of(run: Forward) -> dict[str, torch.Tensor]:
    """What has accumulated in the leaves; zeros where nothing has."""
    return {
        name: torch.zeros_like(leaf) if leaf.grad is None else dense(leaf.grad)
        for name, leaf in run.leaves.items()
    }


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """A gradient with all of its zeros: an embedding's may be sparse."""
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def fault(run: Forward, error: BaseException, seeds: Mapping[str, torch.Tensor]) -> BaseException:
    """What to raise where ``backward`` with these seeds failed."""

    def again() -> list[tuple[torch.Tensor, torch.Tensor]]:
        outputs = forward(run.job).trace.outputs if run.job.use else {}
        return [(node.value, seeds[name]) for name, node in outputs.items() if name in seeds]

    return backward_fault(error, again)


def compute(job: Job) -> VJP:
    """The whole job, without the check. Raises Diagnostic."""
    run = forward(job)
    seeds = match_seeds(job, run.trace.outputs)
    own = [node for node in run.trace.applied if node.operator.function is not None]
    for node in own:
        if node.value.requires_grad:
            node.value.retain_grad()  # the check asks what cotangent arrived at a function of the user's
    before = {tensor: tensor.detach().clone() for node in own for tensor in _values_at(node)}
    gradients, calls = backward(run, seeds)
    overwritten = [tensor for tensor, value in before.items() if not same(tensor, value)]
    if overwritten:  # by a backward; the check has words for that
        gradients = {name: gradient.clone() for name, gradient in gradients.items()}
        for tensor in (*run.leaves.values(), *(node.value for node in own)):
            if tensor.requires_grad and tensor.grad is not None:
                tensor.grad = tensor.grad.clone()  # it may be one of those
    for tensor in overwritten:
        tensor.data.copy_(before[tensor])
    totals = {name: sum(own[1:], own[0]) for name, own in seeds.items()}
    return VJP(
        expression=job.program.text, outputs=run.outputs, seeds=totals, gradients=gradients,
        backward_calls=calls, notes=tuple(_notes(run, calls)), forward=run,
    )  # fmt: skip


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """True if two tensors of one shape have the same numbers, be they NaN."""
    return torch.equal(a.detach().nan_to_num(), b.detach().nan_to_num())


def _values_at(node: Node) -> list[torch.Tensor]:
    """The floating-point tensors that a node is given, and its result."""
    values = (source.value for source in (*node.inputs, node))
    return [value for value in values if isinstance(value, torch.Tensor) and value.is_floating_point()]


def _notes(run: Forward, calls: int) -> list[str]:
    job, notes = run.job, []
    outputs = list(run.trace.outputs.values())
    used = ancestors(outputs)
    reached = ancestors(outputs, through=lambda node: node.value.requires_grad)
    for name in run.leaves:
        node = run.trace.inputs[name]
        if node not in reached:
            why = "it only enters as a constant" if node in used else "no output depends on it"
            notes.append(f"{name}: the gradient is zero: {why}")
        elif run.leaves[name].grad is None and (given := _givers_of_none(run.trace, node)):
            why = f"nothing came back through {given} (its backward returned None, or cuts the graph)"
            notes.append(f"{name}: the gradient is zero: {why}")
    if job.wrt is None:
        constants = [name for name in job.inputs if name not in run.leaves]
        notes += [f"{name}: a constant, since it is {dtype_of(job.inputs[name])}" for name in constants]
    for name, seeds in job.seeds.items():
        made = dtype_of(run.trace.outputs[name].value)
        whole = [seed for seed in seeds if not seed.is_floating_point()]
        notes += [f"the seed of {name} was {dtype_of(seed)} and is now {made}" for seed in whole]
    if calls > 1:
        notes.append(f"{calls} backward calls: their gradients accumulate")
    return notes


def _givers_of_none(trace: Trace, leaf: Node) -> str:
    """The user's own functions that a leaf reaches first, in words: nobody else returns None."""
    reached, givers = {leaf}, []
    for node in trace.applied:
        if node.value.requires_grad and any(source in reached for source in node.inputs):
            if node.operator.function is None:
                reached.add(node)
            else:
                givers.append(text_of(node, trace))
    return " and of ".join(dict.fromkeys(givers))


def cotangents(job: Job, seeds: Mapping[str, torch.Tensor]) -> tuple[Forward, dict[int, torch.Tensor]]:
    """Run a job again and keep the cotangent of every node, by node index: what ``explain`` walks."""
    again = forward(job)
    for node in again.trace.nodes:
        if node.value.requires_grad and not node.value.is_leaf:
            node.value.retain_grad()
    backward(again, {name: [seed] for name, seed in seeds.items()})
    cotangents = {node.index: node.value.grad for node in again.trace.nodes if node.value.requires_grad}
    return again, {index: dense(value) for index, value in cotangents.items() if value is not None}
