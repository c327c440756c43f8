"""The main job in torch: leaves that require a gradient, the graph, ``backward(seed)``, and so the VJP."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 (imported only once there is something to compute)

from vjpcalc.diagnostics import FORMAT_VERSION, Diagnostic, count, reason, unknown
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.language.engine import Engine
from vjpcalc.language.interpret import fault_of, run
from vjpcalc.language.syntax import Program
from vjpcalc.language.trace import Node, Trace
from vjpcalc.limits import Limits
from vjpcalc.operators.row import Operator
from vjpcalc.tensors.dtypes import check_fits, dtype_name, dtype_of

if TYPE_CHECKING:
    from vjpcalc.check.verdict import Check


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be computed.

    ``inputs`` in the order given; ``wrt`` names the leaves (None: every floating input); ``seeds`` holds for
    each output the seeds of successive ``backward`` calls; ``dtype`` is that of numbers in the expression.
    """

    program: Program
    inputs: Mapping[str, torch.Tensor]
    seeds: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    wrt: Sequence[str] | None = None
    outputs: Sequence[str] = ()
    dtype: torch.dtype = torch.float64
    limits: Limits = field(default_factory=Limits)
    use: Mapping[str, Operator] = field(default_factory=dict)
    random_seed: int = 0

    def run(self, engine: Engine, inputs: Mapping[str, Any]) -> Trace:
        """Run the program on an engine, with inputs that are arrays of that engine. Raises Diagnostic."""
        return run(self.program, engine, inputs, outputs=self.outputs, limits=self.limits, use=self.use)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The names of the inputs that require a gradient. Raises Diagnostic (input) where there are none."""
        if self.wrt is None:
            found = tuple(name for name, value in self.inputs.items() if value.is_floating_point())
            if not found:
                what = "there are no inputs" if not self.inputs else "none of the inputs is floating-point"
                raise Diagnostic(
                    "input",
                    f"nothing to differentiate with respect to: {what}",
                    hint="give a leaf a value: x='[1, 2, 3]' (or x:float64=… for whole numbers from a file)",
                )
            return found
        if not self.wrt:
            raise Diagnostic("input", "--wrt names no leaf", hint="leave it out, or name inputs: --wrt a,b")
        for name in self.wrt:
            if name not in self.inputs:
                raise unknown("input", f"--wrt: there is no input '{name}'", name, self.inputs)
            if not self.inputs[name].is_floating_point():
                dtype = dtype_of(self.inputs[name])
                raise Diagnostic(
                    "input",
                    f"'{name}' cannot be a leaf: it is {dtype}, and only floating-point ones have gradients",
                    hint=f"give it a dtype: {name}:float64=…",
                )
        return tuple(dict.fromkeys(self.wrt))


@dataclass(frozen=True, eq=False)
class VJP:
    """A vector-Jacobian product: for each leaf the gradient Jᵀ·seed.

    ``outputs``, ``seeds`` and ``gradients`` are torch tensors by name; a gradient is shaped like its leaf.
    ``seeds`` are the sums over the ``backward_calls``. ``notes`` say what a reader would want to be told.
    """

    expression: str
    outputs: dict[str, torch.Tensor]
    seeds: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]
    backward_calls: int
    notes: tuple[str, ...]
    job: Job = field(repr=False)
    trace: Trace = field(repr=False)
    check: Check | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON document: plain dicts, lists, strings and numbers, non-finite numbers as strings."""
        from vjpcalc.tensors.json import to_record

        def records(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
            return {name: to_record(tensor) for name, tensor in tensors.items()}

        return {
            "format_version": FORMAT_VERSION,
            "expression": self.expression,
            "outputs": records(self.outputs),
            "seeds": records(self.seeds),
            "gradients": records(self.gradients),
            "backward_calls": self.backward_calls,
            "check": self.check.to_dict() if self.check is not None else {"status": "off", "method": "off"},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class Forward:
    """A forward run in torch: its trace, and the leaves by name."""

    trace: Trace
    leaves: dict[str, torch.Tensor]


def forward(job: Job, engine: TorchEngine | None = None) -> Forward:
    """Run the program of a job, with a fresh set of leaves. Raises Diagnostic."""
    engine = engine or TorchEngine(job.dtype, job.random_seed)
    leaves = {}
    inputs = dict(job.inputs)
    for name in job.leaves:
        leaf = job.inputs[name].detach()
        noisy = leaf if engine.noise is None else engine.perturb(leaf.clone())
        leaves[name] = inputs[name] = noisy.requires_grad_()
    with engine.session():
        trace = job.run(engine, inputs)
    for name, node in trace.outputs.items():
        if not node.value.is_floating_point():
            kind = (
                "a mask (bool)"
                if node.value.dtype == torch.bool
                else f"whole numbers ({dtype_of(node.value)})"
            )
            raise Diagnostic(
                "type",
                f"the output '{name}' has no gradient: it is {kind}",
                span=node.span,
                source=job.program.source,
                hint="comparisons, argmax and the like have no slope; choose with where(condition, a, b)",
            )
    return Forward(trace, leaves)


def backward(
    job: Job, run: Forward, seeds: Mapping[str, Sequence[torch.Tensor]]
) -> tuple[dict[str, torch.Tensor], int]:
    """Call ``backward`` once for each round of seeds: the leaves' accumulated gradients, and the number of
    calls.

    A leaf that no output depends on gets zeros.
    """
    rounds = max((len(given) for given in seeds.values()), default=0)
    calls = 0
    for turn in range(rounds):
        roots = {
            name: given[turn]
            for name, given in seeds.items()
            if turn < len(given) and run.trace.outputs[name].value.requires_grad
        }
        calls += 1
        if roots:
            tensors = [run.trace.outputs[name].value for name in roots]
            try:
                torch.autograd.backward(tensors, list(roots.values()), retain_graph=turn + 1 < rounds)
            except Exception as error:
                raise backward_fault(job, error) from error
    return gradients_of(run), calls


def gradients_of(run: Forward) -> dict[str, torch.Tensor]:
    """What has accumulated in the leaves; zeros where nothing has."""
    return {
        name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in run.leaves.items()
    }


def require_explicit(job: Job, outputs: Mapping[str, torch.Tensor]) -> None:
    """Raise Diagnostic (limit) where the Jacobian of a leaf is too large to be written out."""
    m = sum(value.numel() for value in outputs.values())
    for name in job.leaves:
        n = job.inputs[name].numel()
        if m * n > job.limits.max_elements:
            raise Diagnostic(
                "limit",
                f"the Jacobian of {name} has {m:,} × {n:,} entries; the limit is {job.limits.max_elements:,}",
                hint="--max-elements N allows more; --wrt leaves leaves out",
            )


def backward_fault(job: Job, error: Exception) -> Exception:
    """What went wrong in ``backward()``: in a function of the user's own, if it is there; else in torch."""
    for frame, _ in traceback.walk_tb(error.__traceback__ if job.use else None):
        module = str(frame.f_globals.get("__name__", ""))
        if frame.f_code.co_name == "backward" and module.split(".")[0] not in ("torch", "vjpcalc"):
            return fault_of(frame.f_code.co_qualname.rpartition("<locals>.")[2], error)
    if not isinstance(error, RuntimeError | NotImplementedError | TypeError | ValueError) and not job.use:
        return error
    return Diagnostic("value", "backward() failed", hint=reason(error))


def compute(job: Job) -> VJP:
    """The whole job, without the check. Raises Diagnostic."""
    run = forward(job)
    outputs = {name: node.value.detach() for name, node in run.trace.outputs.items()}
    seeds = match_seeds(job, run.trace.outputs)
    gradients, calls = backward(job, run, seeds)
    totals = {name: sum(given[1:], given[0]) for name, given in seeds.items()}
    return VJP(
        job.program.text,
        outputs,
        totals,
        gradients,
        calls,
        tuple(_notes(job, run, calls)),
        job=job,
        trace=run.trace,
    )


def _notes(job: Job, run: Forward, calls: int) -> list[str]:
    notes = []
    outputs = list(run.trace.outputs.values())
    used = ancestors(outputs)
    reached = ancestors(outputs, through=lambda node: node.value.requires_grad)
    for name in run.leaves:
        node = run.trace.inputs[name]
        if node not in reached:
            why = "it only enters as a constant" if node in used else "no output depends on it"
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


def ancestors(nodes: Sequence[Node], through: Callable[[Node], bool] = lambda node: True) -> set[Node]:
    """The nodes that these were computed from, themselves too, as far as ``through`` admits."""
    seen: set[Node] = set()
    stack = [node for node in nodes if through(node)]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(source for source in node.inputs if through(source))
    return seen


# ---- seeds -------------------------------------------------------------------------------------------------


def match_seeds(job: Job, outputs: Mapping[str, Node]) -> dict[str, list[torch.Tensor]]:
    """The seeds of each output, shaped and typed like it; a missing one is 1 for an output of one element.

    Raises Diagnostic (seed), with the arguments of a corrected command, where one is missing or misshapen.
    """
    for name in job.seeds:
        if name not in outputs:
            raise unknown("seed", f"--seed {name}=…: there is no output '{name}'", name, outputs)
    several = len(outputs) > 1
    matched = {}
    for name, node in outputs.items():
        shape, given = node.shape, list(job.seeds.get(name, ()))
        if not given:
            if node.value.numel() != 1:
                raise _missing_seed(name, shape, several)
            matched[name] = [torch.ones_like(node.value.detach())]
            continue
        for seed in given:
            if tuple(seed.shape) != shape:
                raise _misshapen_seed(name, shape, seed, several)
        matched[name] = [_cast(seed, node.value.dtype) for seed in given]
    return matched


def _cast(seed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A seed in its output's dtype. Raises Diagnostic (seed) where a number is too large for it."""
    try:
        check_fits(seed, dtype_name(dtype))
    except Diagnostic as diagnostic:
        raise Diagnostic("seed", f"the seed does not fit its output: {diagnostic.message}") from None
    return seed.detach().to(dtype)


def _argument(name: str, value: str, several: bool) -> list[str]:
    return ["--seed", f"{name}={value}" if several else value]


def _ones(shape: Sequence[int]) -> str:
    return "1" if not shape else f"ones({', '.join(map(str, shape))})"


def _missing_seed(name: str, shape: tuple[int, ...], several: bool) -> Diagnostic:
    return Diagnostic(
        "seed",
        f"the output '{name}' has shape {shape}, so backward() needs a seed",
        hint="backward(v) computes Jᵀ·v: v says how much each element of the output counts, and has the\n"
        "output's shape. Only for an output of one element may it be left out: then v is 1. All ones\n"
        "give the gradient of the sum of the output.",
        arguments=_argument(name, _ones(shape), several),
    )


def _misshapen_seed(name: str, shape: tuple[int, ...], seed: torch.Tensor, several: bool) -> Diagnostic:
    said = "a single number (shape ())" if not shape else f"of shape {shape}"
    given = "a single number (shape ())" if not seed.shape else f"of shape {tuple(seed.shape)}"
    if seed.numel() == torch.Size(shape).numel():
        fixed = seed.reshape(shape)
        how = (
            f"it has the right number of elements: reshaped to {shape} it fits"
            if shape
            else "give it without brackets"
        )
    else:
        try:
            fixed = seed.broadcast_to(shape)
            how = f"repeated to {shape} it would fit; vjpcalc does not guess that"
        except RuntimeError:
            fixed = None
            wanted = torch.Size(shape).numel()
            how = f"it has {count(seed.numel(), 'element')}, the output {count(wanted, 'element')}"
    if fixed is None or fixed.numel() > 64:
        value = _ones(shape)
        how += "; all ones would give the gradient of the sum of the output"
    else:
        value = str(fixed.tolist()).replace(".0,", ",").replace(".0]", "]")
        value = value.removesuffix(".0")
    return Diagnostic(
        "seed",
        f"the seed is {given}, the output '{name}' is {said}: they must have one shape",
        hint="backward(v) computes Jᵀ·v: v has one number for each element of the output, in its shape.\n"
        f"{how[0].upper()}{how[1:]}.",
        arguments=_argument(name, value, several),
    )
