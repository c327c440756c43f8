"""One node of a trace by itself; and what a job's own seed does not show of the user's backwards.

A backward that forgets its cotangent is right where every cotangent is 1. So each node whose operator is a
function of the user's own is asked again, alone: with a random cotangent r, which must give Jᵀ·r of the
node's own forward, and once more with the same r, which must give the same.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a node to run)
import torch  # noqa: TID253

from vjpcalc.check.derivative import directional, random_directions, relative_scale
from vjpcalc.check.jacobian import distance, explicit_cost
from vjpcalc.check.kinks import kinked
from vjpcalc.check.noise import smallest, spread
from vjpcalc.check.replay import Replay
from vjpcalc.check.witness import Witness, replayed
from vjpcalc.diagnostics import Diagnostic, Source, element_name, raised
from vjpcalc.engines.noise import Noise
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.job.autograd import cotangents, dense
from vjpcalc.job.faults import own_fault
from vjpcalc.job.result import FAILED, VJP, LeafCheck
from vjpcalc.language.interpret import Interpreter
from vjpcalc.language.naming import text_of
from vjpcalc.language.trace import Applied, Node, Trace, ancestors, nodes_in, with_values
from vjpcalc.limits import DEFAULT_LIMIT, Limits
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64

ROUNDINGS = 16  # units in the last place by which one node's two backwards may differ
BEYOND = 10.0  # times the witness's own error: from there on a backward is called wrong
SINGLE = 2.0**-23  # the unit of rounding: a function of the user's may work in float32 inside
SMALL = 100_000  # element operations: above this, J of a node is only probed until something looks wrong
DIRECTIONS = 2  # of that probe: what is right for one seed only is wrong by far
ASKED = 16  # nodes of one function that are asked, evenly spread: a loop may have thousands
OTHER = 3.0  # times g: a random cotangent is half of this to this, and so larger than g
SHIFT = math.sqrt(1 / 3)  # the steps of the second witness, in units of the first's
FINE = 2.0**-16 * SHIFT  # and of a third, which sees that round(x) * x at 7e4 has many jumps nearby
APART = 1e-3  # of what Jᵀ·r foretells of all elements moving: more than coarse differences err by
CANCELLED = 2.0**-44  # of the cotangent: what (x - y) - (x - y) leaves, where Jᵀ·v is 0 and |J|ᵀ·|v| as well

# ---- a node by itself --------------------------------------------------------------------------------------


def alone(node: Applied) -> Trace:
    """This node alone on the reference engine; its tensors are the inputs ``argument 0`` and so on."""
    source = Source("", "one node")
    trace = Trace(source)
    operator = node.operator
    walk = Interpreter(ReferenceEngine(), trace, source, Limits(), {operator.name: operator})

    def lift(argument: Node) -> Node:
        name = f"argument {len(trace.inputs)}"
        trace.inputs[name] = walk.input(as_float64(argument.value), name=name)
        return trace.inputs[name]

    arguments: Mapping[str, Any] = {
        p.name: with_values(node.arguments[p.name], lift) for p in operator.parameters
    }
    if operator.kinks:
        walk.note_kinks(operator, arguments, None)
    if operator.ref:
        trace.outputs["y"] = walk.expand(operator, arguments, None)
    else:
        made = walk.compute(operator, arguments, None)
        trace.outputs["y"] = walk.applied(operator, arguments, made, None)
    return trace


@dataclass(frozen=True, eq=False)
class ByItself:
    """A node applied once more in torch: ``tensors`` are its arguments in order, ``result`` what it gives.

    Those of its arguments are leaves that require a gradient in the job.
    """

    tensors: tuple[torch.Tensor, ...]
    result: torch.Tensor

    def backward(self, cotangent: torch.Tensor, *, keep: bool = False) -> list[torch.Tensor | None]:
        """What torch's backward of this node hands to each argument: None to a constant, or for 0.

        With ``keep`` it can be asked again. Whatever the backward raises is raised.
        """
        wanted = [value for value in self.tensors if value.requires_grad]
        if not self.result.requires_grad or not wanted:
            return [None] * len(self.tensors)
        gradients = iter(
            torch.autograd.grad(self.result, wanted, cotangent, allow_unused=True, retain_graph=keep)
        )
        handed = [next(gradients) if value.requires_grad else None for value in self.tensors]
        return [None if part is None else dense(part) for part in handed]


def by_itself(
    node: Applied, engine: TorchEngine, convert: Callable[[torch.Tensor], torch.Tensor] = torch.clone
) -> ByItself:
    """Apply a node of a torch trace once more, to its floating-point arguments as ``convert`` gives them."""
    tensors: list[torch.Tensor] = []

    def fresh(source: Node) -> torch.Tensor:
        value = source.value.detach()
        if value.is_floating_point():
            value = convert(value).requires_grad_(source.value.requires_grad)
        tensors.append(value)
        return value

    operator = node.operator
    arguments = {p.name: with_values(node.arguments[p.name], fresh) for p in operator.parameters}
    with engine.session(), torch.enable_grad():
        result = engine.apply(operator, arguments)
    return ByItself(tuple(tensors), result)


# ---- what is wrong with a user's backward ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NodeFault:
    """What the job's own seed does not show of a user's backward at one node.

    ``text`` is the node in a message, ``argument`` the parameter's name, with a number where it takes several
    tensors. ``got`` and ``expected`` are the worst element's, at ``index`` of the argument (None: along a
    random direction), ``tolerance`` what they may be apart, ``wrong`` how many elements are farther apart.
    ``leaves`` are those whose gradient went through here. ``detail`` is what was raised.
    """

    node: Applied
    text: str
    kind: str  # a key of FAULTS
    argument: str = ""
    index: tuple[int, ...] | None = None
    got: float = math.nan
    expected: float = math.nan
    tolerance: float = 0.0
    wrong: int = 0
    leaves: tuple[str, ...] = ()
    detail: str = ""

    @property
    def reason(self) -> str:
        """The fault as a sentence."""
        on = f"{self.argument} along a random direction"
        place = on if self.index is None else element_name(self.argument, self.index)
        what = FAULTS[self.kind].format(
            argument=self.argument, place=place, got=f"{self.got:.12g}", expected=f"{self.expected:.12g}",
            detail=self.detail,
        )  # fmt: skip
        return f"{self.text}: {what}"


# What the kinds of a fault are in words: v is the cotangent that was asked with.
FAULTS = {
    "ignored": "its backward is right for this seed only: it does not depend on its cotangent: for another "
    "one, v, it hands {got} to {place} again, Jᵀ·v is {expected}",
    "seed only": "its backward is right for this seed only: for another cotangent v it hands {got} to "
    "{place}, Jᵀ·v is {expected}",
    "non-finite": "its backward is right for this seed only: for another cotangent v it hands {got} to "
    "{place}, Jᵀ·v is {expected}",
    "none": "its backward returns None for {argument}, which counts as 0: for another cotangent v, Jᵀ·v is "
    "{expected} for {place}",
    "raises": "its backward works for this seed only: for another cotangent {detail}",
    "not repeatable": "its backward is no function of its cotangent: asked twice with the same one it hands "
    "{expected} to {place}, then {got}",
    "spent": "its backward can be called only once: the second time {detail}",
    "cotangent": "its backward changes the cotangent that it is given, which other nodes may share",
}


@stage("nodes")
def node_faults(vjp: VJP, *, limit: int = DEFAULT_LIMIT) -> list[NodeFault]:
    """What the job's own seed does not show of the backwards of the user's functions, the last node first.

    What is wrong for the job's own cotangent as well is not reported: the gradients show it. Nor is what the
    witness, rounding or a kink may explain. All is asked in float64, as the witness has it. ``limit`` bounds
    the element operations that the explicit Jacobian of one node may cost. The forwards are to be
    deterministic. Raises Diagnostic.
    """
    if not any(node.operator.function for node in vjp.trace.applied):
        return []
    again, arriving = cotangents(vjp.job, vjp.seeds)
    engine = TorchEngine(vjp.job.dtype, vjp.job.random_seed)
    asked = [node for node in again.trace.applied if node.operator.function and node.index in arriving]
    faults = []
    for node in reversed(_evenly(asked)):
        faults += _Asked(node, again.trace, arriving[node.index].double(), engine, limit).faults()
    return faults


def with_faults(leaves: Mapping[str, LeafCheck], faults: Sequence[NodeFault]) -> dict[str, LeafCheck]:
    """The verdicts on the leaves, failed where a fault lies on the way to one and no number is wrong yet."""
    judged = dict(leaves)
    for fault in faults:
        for name in fault.leaves:
            if judged[name].status != FAILED:
                judged[name] = replace(judged[name], status=FAILED, reason=fault.reason, index=None)
    return judged


def _evenly(nodes: Sequence[Applied]) -> list[Applied]:
    """ASKED nodes of each function at the most, in order."""
    by_function: dict[str, list[Applied]] = {}
    for node in nodes:
        by_function.setdefault(node.operator.name, []).append(node)
    kept: list[Applied] = []
    for own in by_function.values():
        kept += [own[k] for k in np.unique(np.linspace(0, len(own) - 1, ASKED).round().astype(int))]
    return sorted(kept, key=lambda node: node.index)


def compared(
    got: np.ndarray, expected: np.ndarray, size: np.ndarray, doubt: np.ndarray, eps: float
) -> np.ndarray:
    """Which numbers are wrong: farther apart than rounding of ``size`` and BEYOND times ``doubt`` explain.

    Where what is expected is not finite, nothing is.
    """
    with np.errstate(all="ignore"):
        return ~(np.abs(got - expected) <= _tolerance(size, doubt, eps)) & np.isfinite(expected)


def _tolerance(size: np.ndarray, doubt: np.ndarray, eps: float) -> np.ndarray:
    return ROUNDINGS * eps * size + BEYOND * doubt


@dataclass(frozen=True, eq=False)
class _Asked:
    """One node that is asked, alone and in float64; ``g`` is the cotangent that the job gave it."""

    node: Applied
    trace: Trace
    g: torch.Tensor
    engine: TorchEngine
    limit: int

    @functools.cached_property
    def r(self) -> torch.Tensor:
        """Another cotangent: each element about as large as g's, of either sign, and never 1.

        The first one is larger than g's and has the other sign: it may be the only one, and a backward that
        takes |g|, or clips g, is not linear in it.
        """
        g = self.g.numpy()
        drawn = np.atleast_1d(random_directions(g, 1)[0] * OTHER)
        drawn.flat[:1] = np.abs(drawn.flat[:1]) * np.where(g.flat[:1] > 0, -1.0, 1.0)
        return torch.from_numpy(drawn.reshape(g.shape))

    @functools.cached_property
    def own(self) -> list[np.ndarray] | None:
        """What the node hands to each argument for g; None where it cannot be asked alone."""
        try:
            return self.numbers(
                by_itself(self.node, self.engine, torch.Tensor.double).backward(self.g.clone())
            )
        except (Exception, SystemExit):
            return None

    def numbers(self, handed: Sequence[torch.Tensor | None]) -> list[np.ndarray]:
        """What is handed to each argument, flattened; 0 for None."""
        return [
            np.zeros(source.value.numel()) if part is None else np.array(as_float64(part)).ravel()
            for part, source in zip(handed, self.node.inputs, strict=True)
        ]

    def fault(self, kind: str, source: Node | None = None, **more: Any) -> NodeFault:
        """A fault of the node, or of what it hands to one of its arguments."""
        sources = self.node.inputs if source is None else [source]
        passed = ancestors(sources, through=lambda node: bool(node.value.requires_grad))
        leaves = tuple(name for name, node in self.trace.inputs.items() if node in passed)
        text = text_of(self.node, self.trace)
        return NodeFault(node=self.node, text=text, kind=kind, leaves=leaves, **more)

    def faults(self) -> list[NodeFault]:
        """What is wrong with the node: of each argument's one fault at the most."""
        if self.own is None:
            return []
        applied = by_itself(self.node, self.engine, torch.Tensor.double)
        cotangent, faults = self.r.clone(), []
        try:
            given = applied.backward(cotangent, keep=True)
        except (Exception, SystemExit) as error:
            return [self.fault("raises", detail=self.told(error))]
        handed = again = self.numbers(given)
        if not torch.equal(cotangent, self.r):
            faults.append(self.fault("cotangent"))
        try:
            again = self.numbers(applied.backward(self.r.clone(), keep=True))
        except (Exception, SystemExit) as error:
            faults.append(self.fault("spent", detail=self.told(error)))
        try:
            forward = alone(self.node)
        except Diagnostic:
            return faults
        if forward.outputs["y"].shape != tuple(self.g.shape):
            return faults
        for number, (argument, source) in enumerate(self.arguments()):
            if source.value.requires_grad:
                fault = self.unlike(handed[number], again[number], argument, source)
                if fault is None:
                    replay = Replay(forward, f"argument {number}")
                    question = _Question(self, number, replay, handed[number], self.own[number])
                    fault = self.for_another(question, given[number] is None, argument, source)
                faults += [] if fault is None else [fault]
        return faults

    def told(self, error: BaseException) -> str:
        """What was raised, or what was wrong with what the backward returned; where."""

        def again() -> list[tuple[torch.Tensor, torch.Tensor]]:
            return [(by_itself(self.node, self.engine, torch.Tensor.double).result, self.r)]

        own = own_fault(error, again)
        return f"it raised {raised(error)}" if own is None else own.message

    def arguments(self) -> Iterator[tuple[str, Node]]:
        """The tensors among the arguments in order, and what to call each."""
        for parameter in self.node.operator.parameters:
            sources = list(nodes_in(self.node.arguments[parameter.name]))
            for place, source in enumerate(sources):
                yield (parameter.name if len(sources) == 1 else f"{parameter.name}[{place}]"), source

    def unlike(self, before: np.ndarray, after: np.ndarray, argument: str, source: Node) -> NodeFault | None:
        """The fault that two answers to one question differ, and grossly: sums may run in another order."""
        with np.errstate(all="ignore"):
            size = np.max(np.abs(before), initial=0.0, where=np.isfinite(before))
            error = distance(after, before)
            wrong = ~(error <= math.sqrt(SINGLE) * size)
        if not wrong.any():
            return None
        k = int(np.argmax(np.where(wrong, np.nan_to_num(error, nan=np.inf), -1.0)))
        index = tuple(map(int, np.unravel_index(k, source.shape)))
        return self.fault(
            "not repeatable", source, argument=argument, index=index, got=float(after[k]),
            expected=float(before[k]), wrong=int(wrong.sum()),
        )  # fmt: skip

    def for_another(
        self, question: _Question, is_none: bool, argument: str, source: Node
    ) -> NodeFault | None:
        """The fault that what is handed to an argument for r is not Jᵀ·r of the forward alone."""
        replay = question.replay
        answer = question.answer(replayed(replay, "auto", min(SMALL, self.limit), probes=DIRECTIONS))
        probed = answer.witness.directions is not None
        if probed and answer.worth_a_look and explicit_cost(replay) <= self.limit:
            answer = question.answer(replayed(replay, "explicit", self.limit))
        if not answer.wrong.any():
            return None
        k = answer.worst
        if is_none:
            kind = "none"
        elif not np.isfinite(answer.got[k]):
            kind = "non-finite"
        else:
            kind = "ignored" if np.array_equal(question.handed, question.own) else "seed only"
        return self.fault(
            kind, source, argument=argument, index=answer.witness.index(k), got=float(answer.got[k]),
            expected=float(answer.expected[k]), tolerance=float(answer.tolerance[k]),
            wrong=int(answer.wrong.sum()),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Question:
    """Whether what is ``handed`` for r to one argument (n,) is Jᵀ·r; ``own`` is what is for g."""

    asked: _Asked
    number: int
    replay: Replay
    handed: np.ndarray
    own: np.ndarray

    def answer(self, witness: Witness) -> _Answer:
        """Wrong is what is right for g and wrong for r, though rounding is measured and asked twice for."""
        r, g = (as_float64(v).ravel() for v in (self.asked.r, self.asked.g))
        own, expected, size, doubt = _sized(witness, self.own, g)
        right = ~compared(own, expected, size, doubt, SINGLE) & np.isfinite(own + expected)
        right &= ~kinked(witness.jacobian, g)
        idle = size == 0  # where g asked nothing, to be right for it says little of the witness

        got, expected, size, doubt = _sized(witness, self.handed, r)
        bent = kinked(witness.jacobian, r)
        wrong = compared(got, expected, size, doubt, SINGLE) & right & ~bent
        if wrong.any():  # would rounding explain it?
            doubt = doubt + spread(functools.partial(self.noisy, witness))
            wrong &= compared(got, expected, size, doubt, SINGLE)
        second = expected.copy()
        for k in np.flatnonzero(wrong)[:ASKED]:  # does a second way to differentiate side with the first?
            for shift in (FINE, SHIFT) if idle[k] else (SHIFT,):
                second[k], error = self.once_more(witness, r, int(k), shift)
                doubt[k] = np.fmax(doubt[k], np.fmax(error, abs(second[k] - expected[k])))
        wrong &= compared(got, second, size, doubt, SINGLE)
        if (wrong & idle).any() and not self.adds_up(witness, r, expected):
            wrong &= ~idle
        return _Answer(witness, got, expected, _tolerance(size, doubt, SINGLE), wrong, bent)

    def noisy(self, witness: Witness, noise: Noise) -> np.ndarray | None:
        """What is compared, where every number that the node sees is moved by an ulp, of float32."""

        def move(tensor: torch.Tensor) -> torch.Tensor:
            signs = torch.from_numpy(noise(tensor.shape))
            return tensor.double() + (signs * tensor * SINGLE).nan_to_num(0.0, 0.0, 0.0)

        try:
            applied = by_itself(self.asked.node, self.asked.engine, move)
            handed = applied.backward(move(self.asked.r))
        except (Exception, SystemExit):
            return None
        return witness.projected(self.asked.numbers(handed)[self.number])

    def adds_up(self, witness: Witness, r: np.ndarray, expected: np.ndarray) -> bool:
        """True if the forward moves as Jᵀ·r foretells where all elements move at once; not so at ties."""
        if witness.directions is not None:
            return True
        directions = random_directions(np.asarray(self.replay.leaf.value), DIRECTIONS)
        for direction, shift in itertools.product(directions, (SHIFT, FINE)):
            moved = r @ directional(self.replay, direction * shift).value / shift
            with np.errstate(all="ignore"):
                foretold, size = direction.ravel() @ expected, np.abs(direction.ravel()) @ np.abs(expected)
            if not abs(moved - foretold) <= APART * size:
                return False
        return True

    def once_more(self, witness: Witness, r: np.ndarray, k: int, shift: float) -> tuple[float, float]:
        """What is expected of the k-th number by steps of other sizes, and its error."""
        direction, factor = witness.direction(relative_scale(np.asarray(self.replay.leaf.value)), k)
        second = directional(self.replay, direction * shift).scaled(1 / (factor * shift))
        with np.errstate(all="ignore"):
            return float(r @ second.value), float(np.abs(r) @ second.error)


@dataclass(frozen=True, eq=False)
class _Answer:
    """What was compared for one argument, by number; ``kinked`` are those that nobody can tell."""

    witness: Witness
    got: np.ndarray
    expected: np.ndarray
    tolerance: np.ndarray
    wrong: np.ndarray
    kinked: np.ndarray

    @property
    def worth_a_look(self) -> bool:
        """True if single elements may tell more than directions do."""
        return bool((self.wrong | self.kinked).any())

    @property
    def worst(self) -> int:
        with np.errstate(all="ignore"):
            ratio = np.abs(self.got - self.expected) / np.maximum(self.tolerance, np.finfo(float).tiny)
        return int(np.argmax(np.where(self.wrong, np.nan_to_num(ratio, nan=np.inf), -1.0)))


def _sized(
    witness: Witness, handed: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What is compared with what, for a cotangent v; the size of what it is summed of, and its error."""
    J = witness.jacobian  # noqa: N806 (it is the field's name for it)
    got, expected = witness.projected(handed), J.transposed(v)
    with np.errstate(all="ignore"):
        size = np.fmax(J.transposed(np.abs(v), np.abs(J.entries)), witness.projected_size(np.abs(handed)))
        doubt = J.transposed(np.abs(v), J.errors) + smallest(torch.float64)
        doubt = doubt + CANCELLED * np.max(np.abs(v), initial=0.0, where=np.isfinite(v))
    return got, expected, np.where(np.isfinite(size), size, 0.0), doubt
