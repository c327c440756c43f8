"""The backward walk as data: which cotangent each node hands to which other, by which rule, and whether
that is right.

torch walks the graph; what it finds at every node is kept. Each step is then judged alone: torch's backward
of this one node, at the cotangent that arrived there, against the row's own rule run on the reference
engine in float64, and by the check of this one node (judge.py). A node without a rule (a function of the
user's own) has its forward differentiated numerically instead. So a wrong backward is found where it is,
however much of the graph it spoils behind it.

The walk and the check of the whole never contradict each other. What the check blames a node for is the
node's own fault here (blame.py); of gradients that it has compared and not called wrong, no step is; and
where it has failed and each step is right, that is said.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a job to explain)
import torch  # noqa: TID253

from vjpcalc.check.alone import by_itself, has_kink, kinks_of
from vjpcalc.check.jacobian import jacobian, require_explicit
from vjpcalc.check.nonfinite import forward_origin
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.diagnostics import Diagnostic, element_names, listed, unknown
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.engines.yours import default_dtype
from vjpcalc.explain.blame import blamed, is_cut
from vjpcalc.explain.judge import Judgement, Rule, by_check, by_rule, checked
from vjpcalc.explain.rules import stretched
from vjpcalc.explain.symbols import in_symbols
from vjpcalc.job.autograd import backward, cotangents, forward, gradients_of, same
from vjpcalc.job.faults import backward_fault
from vjpcalc.job.graph import Graph
from vjpcalc.job.job import Job
from vjpcalc.job.result import FAILED, INCONCLUSIVE, OFF, PASSED, VJP, Cause, Check
from vjpcalc.language.naming import is_called, names_of
from vjpcalc.language.trace import Applied, Node, Trace, ancestors, nodes_in, with_values
from vjpcalc.limits import DEFAULT_LIMIT
from vjpcalc.operators.row import numel
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64
from vjpcalc.tensors.json import encode_number, to_record

MANY = 200  # nodes; of a longer walk not every step is checked alone


@dataclass(frozen=True, eq=False, kw_only=True)
class Handed:
    """What a step hands to one of its arguments: a cotangent shaped like the argument.

    ``rule`` is the row's text, simplified for this call, and ``symbols`` the same with this step's names in
    it; both are None where the node's forward was differentiated instead. ``value`` is what the rule gives,
    ``torch`` what torch's backward gives, both float64. ``summed`` are the dimensions of the rule's value
    that were summed over, to undo broadcasting; ``repeated`` says that it was repeated instead, as the
    cotangent of a sum is. ``accumulates`` says that something arrived at the argument before. ``causes`` is
    the Cause of each element, shaped like the argument (None where it was not judged element by element), and
    ``pattern`` says in words what the wrong ones have in common. ``left`` and ``right`` are what the value is
    from either side of a kink, NaN elsewhere (None without one).
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
    left: np.ndarray | None = None
    right: np.ndarray | None = None

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
    """One node of the backward walk, with the cotangent that arrived there and what it hands on.

    ``faults`` are what the check blames the node for, beside what it hands on here.
    """

    number: int
    name: str
    node: Applied
    text: str
    cotangent: torch.Tensor
    hands: tuple[Handed, ...]
    faults: tuple[str, ...] = ()

    @property
    def causes(self) -> set[Cause]:
        """The causes of all elements that it hands on, as far as they are known."""
        known = [handed.causes for handed in self.hands if handed.causes is not None]
        return {Cause(int(cause)) for causes in known for cause in np.unique(causes)}

    @property
    def status(self) -> str:
        statuses = [handed.status for handed in self.hands] + [FAILED] * bool(self.faults)
        return next((status for status in (FAILED, INCONCLUSIVE) if status in statuses), PASSED)

    def to_dict(self) -> dict[str, Any]:
        return {
            "node": self.name,
            "operator": self.node.operator.name,
            "cotangent": to_record(self.cotangent),
            "status": self.status,
            "hands": [handed.to_dict() for handed in self.hands],
            "faults": list(self.faults),
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

    @property
    def remark(self) -> str | None:
        """What is wrong where the check has failed, and no step is wrong by itself."""
        check = self.vjp.check
        if check.status != FAILED or self.first_wrong is not None:
            return None
        bent = [
            step.text for step in self.steps if Cause.KINK in step.causes and kinks_of(step.node.operator)
        ]
        if bent:
            at = listed(dict.fromkeys(bent))
            return f"at the kinks of {at} torch takes slopes that do not add up to the slope of the whole"
        origin = forward_origin(self.vjp.trace)
        if origin is not None:
            return f"it begins with a value that is not finite, {origin.text}"
        unsure = [step.text for step in self.steps if step.status == INCONCLUSIVE]
        if unsure:
            return f"of {listed(dict.fromkeys(unsure))} nothing is certain"
        leaf = next(name for name, leaf in check.leaves.items() if leaf.status == FAILED)
        return f"what they add up to is: {check.leaves[leaf].sentences(leaf)[0]}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of the job, and the walk as ``trace``."""
        wrong = self.first_wrong
        document = self.vjp.to_dict()
        document["trace"] = {
            "forward": [self.graph.record(node) for node in self.graph.nodes],
            "backward": [step.to_dict() for step in self.steps],
            "first_wrong": None if wrong is None else wrong.name,
            "remark": self.remark,
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
    passed = vjp.check.status in (OFF, PASSED) or len(graph.nodes) > MANY
    walk = _Walk(vjp.job, graph, {node.index for node in graph.trace.outputs.values()}, limit, trusts=passed)
    faults = blamed(vjp, limit)
    steps: list[Step] = []
    for node in reversed(graph.nodes):
        own = tuple(faults.get(node.index, ()))
        if isinstance(node, Applied) and (node.index in arriving or (own and is_cut(node))):
            cotangent = arriving.get(node.index)
            hands = () if cotangent is None else tuple(walk.hand_on(node, cotangent))
            cotangent = torch.zeros_like(node.value) if cotangent is None else cotangent
            name, text = graph.names[node.index], graph.text(node)
            steps.append(Step(len(steps) + 1, name, node, text, cotangent, hands, own))
    sums = tuple(_arithmetic(vjp)) if arithmetic else ()
    return Explanation(vjp, graph, arriving, tuple(_settled(steps, vjp.check)), _implicit(vjp), sums)


def _settled(steps: Sequence[Step], check: Check) -> list[Step]:
    """The steps, none of them wrong where the gradients were compared and not found to be."""
    compared = all(leaf.differentiation for leaf in check.leaves.values())
    if check.status in (OFF, FAILED) or not compared:
        return list(steps)
    shown = "no gradient shows it" if check.status == PASSED else "no gradient is wrong by it for certain"
    return [
        replace(
            step,
            hands=tuple(
                replace(one, status=INCONCLUSIVE, reason=f"{one.reason}; {shown}")
                if one.status == FAILED
                else one
                for one in step.hands
            ),
        )
        for step in steps
    ]


def require_node(trace: Trace, name: str) -> None:
    """Raise Diagnostic (usage) where the walk through a trace passes no node of that name."""
    names = names_of(trace)
    reached = ancestors(trace.outputs.values(), through=lambda node: node.value.requires_grad)
    passed = dict.fromkeys(names[node.index] for node in trace.nodes if node in reached)
    if not any(is_called(other, name) for other in passed):
        hint = f"its nodes are {listed(passed)}"
        raise unknown("usage", f"--node: the walk passes no node '{name}'", name, passed, hint)


# ---- one step ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Walk:
    """A walk under way; ``arrived`` are the nodes, by index, that something has arrived at.

    It ``trusts`` a rule that torch agrees with, but at a kink; else every node is checked alone.
    """

    job: Job
    graph: Graph
    arrived: set[int]
    limit: int
    trusts: bool

    def hand_on(self, node: Applied, g: torch.Tensor) -> Iterator[Handed]:
        """What a node hands on where ``g`` arrived."""
        engine, trouble = TorchEngine(self.job.dtype, self.job.random_seed), None
        try:
            by_torch = _by_torch(node, g, engine)
        except Diagnostic as diagnostic:  # a backward of the user's own that works only so many times
            trouble = diagnostic.message
            by_torch = [torch.full(source.shape, torch.nan) for source in node.inputs]
        arguments = {
            name: with_values(value, lambda source: as_float64(source.value))
            for name, value in node.arguments.items()
        }
        values = {**arguments, "g": as_float64(g), "y": as_float64(node.value)}
        check = functools.cache(lambda: checked(self.job, node, g, self.graph.names, self.limit))
        trusts = self.trusts and not has_kink(node)
        number = 0
        for parameter in node.operator.parameters:
            sources = list(nodes_in(node.arguments[parameter.name]))
            first, number = number, number + len(sources)
            if not any(map(_requires_grad, sources)):
                continue
            rule = Rule.of(node.operator, parameter.name, values)
            for place, source in enumerate(sources):
                if not source.value.requires_grad:
                    continue
                cotangent = by_torch[first + place]
                handed = np.zeros(source.shape) if cotangent is None else as_float64(cotangent)
                name, judgement = self.graph.names[source.index], None
                expected, shape = (None, ()) if rule is None else rule.cotangents[place]
                if trouble is not None:
                    judgement = Judgement(handed, INCONCLUSIVE, 0.0, f"{name}.grad: {trouble}")
                elif rule is not None and expected is not None and trusts:
                    noisy = functools.partial(rule.noisy, place, torch.finfo(g.dtype).eps)
                    judgement = by_rule(handed, expected, noisy, node.value.dtype, node.operator.accuracy)
                if judgement is None:
                    what = "its reference" if node.operator.ref else "its forward"
                    judgement = by_check(check()[first + place], name, handed, expected, f"Jᵀ·v of {what} is")
                yield Handed(
                    to=name,
                    node=source,
                    parameter=parameter.name,
                    rule=None if rule is None else rule.text,
                    symbols=None if rule is None else in_symbols(rule.text, node, self.graph.names),
                    torch=handed,
                    summed=() if rule is None else stretched(shape, source.shape),
                    repeated=rule is not None and numel(shape) < numel(source.shape),
                    accumulates=source.index in self.arrived,
                    **vars(judgement),
                )
                self.arrived.add(source.index)


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
    try:
        explicit, _ = backward(forward(vjp.job), {name: [torch.ones_like(output)]})
        bare = forward(vjp.job)
        with default_dtype(vjp.job.dtype):
            bare.trace.outputs[name].value.backward()
    except (Exception, SystemExit):  # a backward of the user's own that works only so many times
        return None
    implicit = gradients_of(bare)
    return all(same(implicit[leaf], gradient) for leaf, gradient in explicit.items())
