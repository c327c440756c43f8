"""The backward walk as data: which cotangent each node hands to which other, by which rule, and whether
that is right.

torch walks the graph; what it finds at every node is kept. Each step is then judged alone: torch's backward
of this one node, at the cotangent that arrived there, against the row's own rule run on the reference
engine in float64. A node without a rule (a function of the user's own) has its forward differentiated
numerically instead, this one node and no other. So a wrong backward is found where it is, however much of
the graph it spoils behind it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a job to explain)
import torch  # noqa: TID253

from vjpcalc.check.alone import alone, by_itself
from vjpcalc.check.jacobian import jacobian, require_explicit
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.diagnostics import element_names, listed, unknown
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.engines.yours import default_dtype
from vjpcalc.explain.judge import Rule, by_differences, by_rule
from vjpcalc.explain.rules import stretched
from vjpcalc.explain.symbols import in_symbols
from vjpcalc.job.autograd import backward, cotangents, forward, gradients_of
from vjpcalc.job.faults import backward_fault
from vjpcalc.job.graph import Graph
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED, VJP
from vjpcalc.language.naming import is_called, names_of
from vjpcalc.language.trace import Applied, Node, Trace, ancestors, nodes_in, with_values
from vjpcalc.limits import DEFAULT_LIMIT
from vjpcalc.operators.row import Operator, numel
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64
from vjpcalc.tensors.json import encode_number, to_record


@dataclass(frozen=True, eq=False, kw_only=True)
class Handed:
    """What a step hands to one of its arguments: a cotangent shaped like the argument.

    ``rule`` is the row's text, simplified for this call, and ``symbols`` the same with this step's names in
    it; both are None where the node's forward was differentiated instead. ``value`` is what the rule gives,
    ``torch`` what torch's backward gives, both float64. ``summed`` are the dimensions of the rule's value
    that were summed over, to undo broadcasting; ``repeated`` says that it was repeated instead, as the
    cotangent of a sum is. ``accumulates`` says that something arrived at the argument before. ``causes`` is
    the Cause of each element, shaped like the argument (None where it was not judged element by element), and
    ``pattern`` says in words what the wrong ones have in common.
    """

    to: str
    node: Node
    parameter: str
    rule: str | None
    symbols: str | None
    value: np.ndarray
    torch: np.ndarray
    summed: tuple[int, ...]
    repeated: bool
    accumulates: bool
    status: str
    max_abs_error: float
    reason: str | None = None
    causes: np.ndarray | None = None
    pattern: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "to": self.to,
            "parameter": self.parameter,
            "rule": self.rule,
            "symbols": self.symbols,
            "value": to_record(self.torch),
            "by_rule": to_record(self.value),
            "summed_over": list(self.summed),
            "repeated": self.repeated,
            "accumulates": self.accumulates,
            "status": self.status,
            "max_abs_error": encode_number(self.max_abs_error),
            "reason": self.reason,
            "pattern": self.pattern,
        }


@dataclass(frozen=True, eq=False)
class Step:
    """One node of the backward walk, with the cotangent that arrived there and what it hands on."""

    number: int
    name: str
    node: Applied
    text: str
    cotangent: torch.Tensor
    hands: tuple[Handed, ...]

    @property
    def status(self) -> str:
        statuses = [handed.status for handed in self.hands]
        return next((status for status in (FAILED, INCONCLUSIVE) if status in statuses), PASSED)

    def to_dict(self) -> dict[str, Any]:
        return {
            "node": self.name,
            "operator": self.node.operator.name,
            "cotangent": to_record(self.cotangent),
            "status": self.status,
            "hands": [handed.to_dict() for handed in self.hands],
        }


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """A leaf's gradient as a weighted sum: ``weights`` (m,) times the ``rows`` (m, n) of J, by output."""

    leaf: str
    outputs: tuple[str, ...]
    weights: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Explanation:
    """The whole walk through a ``graph``, and the cotangent of each node, by index.

    ``implicit`` is for a single output of one element: whether ``backward()`` gave what
    ``backward(tensor(1.))`` does.
    """

    vjp: VJP
    graph: Graph
    cotangents: Mapping[int, torch.Tensor]
    steps: tuple[Step, ...]
    implicit: bool | None
    arithmetic: tuple[Arithmetic, ...] = ()

    @property
    def first_wrong(self) -> Step | None:
        """The first step, in backward order, whose backward is wrong."""
        return next((step for step in self.steps if step.status == FAILED), None)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of the job, and the walk as ``trace``."""
        wrong = self.first_wrong
        document = self.vjp.to_dict()
        document["trace"] = {
            "forward": [self.graph.record(node) for node in self.graph.nodes],
            "backward": [step.to_dict() for step in self.steps],
            "first_wrong": None if wrong is None else wrong.name,
        }
        if self.arithmetic:
            document["trace"]["jacobians"] = {one.leaf: to_record(one.rows) for one in self.arithmetic}
        return document


@stage("walk")
def explain(vjp: VJP, *, arithmetic: bool = False, limit: int = DEFAULT_LIMIT) -> Explanation:
    """Walk backward through a job that was computed, and judge every step.

    ``limit`` bounds the element operations that one node's explicit Jacobian may cost. Raises Diagnostic.
    """
    if arithmetic:
        require_explicit(vjp.forward)
    again, arriving = cotangents(vjp.job, vjp.seeds)
    graph = Graph(again.trace)
    engine = TorchEngine(vjp.job.dtype, vjp.job.random_seed)
    arrived = {node.index for node in graph.trace.outputs.values()}
    steps: list[Step] = []
    for node in reversed(graph.nodes):
        if isinstance(node, Applied) and node.index in arriving:
            cotangent = arriving[node.index]
            hands = tuple(_hand_on(node, graph, cotangent, engine, arrived, limit, vjp.job.use))
            name, text = graph.names[node.index], graph.text(node)
            steps.append(Step(len(steps) + 1, name, node, text, cotangent, hands))
    sums = tuple(_arithmetic(vjp)) if arithmetic else ()
    return Explanation(vjp, graph, arriving, tuple(steps), _implicit(vjp), sums)


def require_node(trace: Trace, name: str) -> None:
    """Raise Diagnostic (usage) where the walk through a trace passes no node of that name."""
    names = names_of(trace)
    reached = ancestors(trace.outputs.values(), through=lambda node: node.value.requires_grad)
    passed = dict.fromkeys(names[node.index] for node in trace.nodes if node in reached)
    if not any(is_called(other, name) for other in passed):
        hint = f"its nodes are {listed(passed)}"
        raise unknown("usage", f"--node: the walk passes no node '{name}'", name, passed, hint)


# ---- one step ----------------------------------------------------------------------------------------------


def _hand_on(
    node: Applied,
    graph: Graph,
    g: torch.Tensor,
    engine: TorchEngine,
    arrived: set[int],
    limit: int,
    use: Mapping[str, Operator],
) -> Iterator[Handed]:
    """What a node hands on where ``g`` arrived; ``arrived`` are the nodes that something has arrived at."""
    by_torch = iter(_by_torch(node, g, engine))
    arguments = {
        name: with_values(value, lambda source: as_float64(source.value))
        for name, value in node.arguments.items()
    }
    values = {**arguments, "g": as_float64(g), "y": as_float64(node.value)}
    eps = torch.finfo(g.dtype).eps
    forward_alone: Trace | None = None
    number = 0
    for parameter in node.operator.parameters:
        sources = list(nodes_in(node.arguments[parameter.name]))
        cotangents = [next(by_torch) for _ in sources]
        first, number = number, number + len(sources)
        if parameter.kind not in ("tensor", "tensors") or not any(map(_requires_grad, sources)):
            continue
        rule = Rule.of(node.operator, parameter.name, values)
        for place, (source, cotangent) in enumerate(zip(sources, cotangents, strict=True)):
            if not source.value.requires_grad:
                continue
            name, accumulates = graph.names[source.index], source.index in arrived
            handed = np.zeros(source.shape) if cotangent is None else as_float64(cotangent)
            if rule is None:
                forward_alone = forward_alone or alone(node, use)
                leaf = f"argument {first + place}"
                what = "its reference" if node.operator.ref else "its forward"
                judgement = by_differences(forward_alone, leaf, handed, values["g"], g.dtype, limit, what)
            else:
                expected, shape = rule.cotangents[place]
                noisy = functools.partial(rule.noisy, place, eps)
                judgement = by_rule(handed, expected, noisy, node.value.dtype, node.operator.accuracy)
            yield Handed(
                to=name,
                node=source,
                parameter=parameter.name,
                rule=None if rule is None else rule.text,
                symbols=None if rule is None else in_symbols(rule.text, node, graph.names),
                value=judgement.value,
                torch=handed,
                summed=() if rule is None else stretched(shape, source.shape),
                repeated=rule is not None and numel(shape) < numel(source.shape),
                accumulates=accumulates,
                status=judgement.status,
                max_abs_error=judgement.max_abs_error,
                reason=judgement.reason and f"{name}.grad{judgement.reason}",
                causes=getattr(judgement, "causes", None),
                pattern=getattr(judgement, "pattern", None),
            )
            arrived.add(source.index)


def _by_torch(node: Applied, g: torch.Tensor, engine: TorchEngine) -> list[torch.Tensor | None]:
    """torch's backward of this node alone. Raises Diagnostic where a user's own cannot be asked again."""
    try:
        return by_itself(node, engine).backward(g)
    except (Exception, SystemExit) as error:
        raise backward_fault(error, lambda: [(by_itself(node, engine).result, g)]) from error


def _requires_grad(node: Node) -> bool:
    return bool(node.value.requires_grad)


# ---- the sum that a gradient is, and the argument that may be left out -------------------------------------


def _arithmetic(vjp: VJP) -> Iterator[Arithmetic]:
    trace = required_reference(vjp.forward)
    outputs = tuple(name for own, value in vjp.outputs.items() for name in element_names(own, value.shape))
    weights = np.concatenate([as_float64(vjp.seeds[name]).ravel() for name in vjp.outputs])
    for leaf in vjp.gradients:
        yield Arithmetic(leaf, outputs, weights, jacobian(Replay(trace, leaf)).dense())


def _implicit(vjp: VJP) -> bool | None:
    """True if ``backward()`` without an argument gives what ``backward(tensor(1.))`` does.

    None where it cannot be called so.
    """
    if len(vjp.outputs) != 1:
        return None
    ((name, output),) = vjp.outputs.items()
    if output.numel() != 1 or not vjp.trace.outputs[name].value.requires_grad:
        return None
    explicit, _ = backward(forward(vjp.job), {name: [torch.ones_like(output)]})
    bare = forward(vjp.job)
    with default_dtype(vjp.job.dtype):
        bare.trace.outputs[name].value.backward()
    implicit = gradients_of(bare)
    return all(
        torch.equal(implicit[leaf].nan_to_num(), gradient.nan_to_num()) for leaf, gradient in explicit.items()
    )
