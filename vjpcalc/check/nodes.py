"""One node of a trace by itself; and what the gradients of a job do not show of the user's backwards.

A backward that forgets its cotangent is right where every cotangent is 1, and what is 10 % off in bfloat16 is
lost in the rounding of a whole network. So each node whose operator is a function of the user's own is judged
alone, beside its own forward: for the cotangent that arrived, for a random one, and for that once more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a node to run)
import torch  # noqa: TID253

from vjpcalc.check.compared import numbers_of
from vjpcalc.check.derivative import random_directions
from vjpcalc.check.jacobian import distance
from vjpcalc.check.judge import Numbers, Verdict, judge
from vjpcalc.check.noise import in_doubt
from vjpcalc.check.replay import EPS, Replay
from vjpcalc.check.witness import Witness, replayed
from vjpcalc.diagnostics import Diagnostic, Source, element_name, raised
from vjpcalc.engines.noise import Noise
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.engines.yours import default_dtype
from vjpcalc.job.autograd import cotangents, dense
from vjpcalc.job.faults import own_fault
from vjpcalc.job.result import FAILED, VJP, Cause, LeafCheck
from vjpcalc.language.interpret import Interpreter
from vjpcalc.language.naming import text_of
from vjpcalc.language.scope import BadReference
from vjpcalc.language.trace import Applied, Node, Trace, ancestors, nodes_in, with_values
from vjpcalc.limits import DEFAULT_LIMIT, Limits
from vjpcalc.operators.row import Operator
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64

ASKED = 16  # nodes of one function that are asked, evenly spread: a loop may have thousands
OTHER = 3.0  # times the cotangent that arrived: a random one is half of this to this, and so larger
REPEATABLE = 2.0**-11  # relative: two answers to one question may differ, for sums may run in another order

# ---- a node by itself --------------------------------------------------------------------------------------


def alone(node: Applied, use: Mapping[str, Operator] | None = None) -> Trace:
    """This node alone on the reference engine; its tensors are the inputs ``argument 0`` and so on.

    ``use`` are the user's functions, which a reference of the node's may call.
    """
    operator = node.operator
    walk, arguments = arguments_of(node, use)
    if operator.kinks:
        walk.note_kinks(operator, arguments, None)
    if operator.ref:
        walk.trace.outputs["y"] = walk.expand(operator, arguments, None)
    else:
        made = walk.compute(operator, arguments, None)
        walk.trace.outputs["y"] = walk.applied(operator, arguments, made, None)
    return walk.trace


def arguments_of(node: Applied, use: Mapping[str, Operator] | None) -> tuple[Interpreter, Mapping[str, Any]]:
    """The reference engine with nothing but a node's arguments."""
    source = Source("", "one node")
    trace = Trace(source)
    own = {**(use or {}), node.operator.name: node.operator}
    walk = Interpreter(ReferenceEngine(), trace, source, Limits(), own)

    def lift(argument: Node) -> Node:
        name = f"argument {len(trace.inputs)}"
        trace.inputs[name] = walk.input(as_float64(argument.value), name=name)
        return trace.inputs[name]

    return walk, {p.name: with_values(node.arguments[p.name], lift) for p in node.operator.parameters}


@dataclass(frozen=True, eq=False)
class ByItself:
    """A node applied once more in torch: ``tensors`` are its arguments in order, ``result`` what it gives.

    Those of its arguments are leaves that require a gradient in the job. ``dtype`` is the job's default.
    """

    tensors: tuple[torch.Tensor, ...]
    result: torch.Tensor
    dtype: torch.dtype

    def backward(self, cotangent: torch.Tensor, *, keep: bool = False) -> list[torch.Tensor | None]:
        """What torch's backward of this node hands to each argument: None to a constant, or for 0.

        With ``keep`` it can be asked again. Whatever the backward raises is raised.
        """
        wanted = [value for value in self.tensors if value.requires_grad]
        if not self.result.requires_grad or not wanted:
            return [None] * len(self.tensors)
        with default_dtype(self.dtype):
            gradients = iter(
                torch.autograd.grad(self.result, wanted, cotangent, allow_unused=True, retain_graph=keep)
            )
        handed = [next(gradients) if value.requires_grad else None for value in self.tensors]
        return [None if part is None else dense(part) for part in handed]


def by_itself(
    node: Applied, engine: TorchEngine, convert: Callable[[torch.Tensor], torch.Tensor] = torch.clone
) -> ByItself:
    """Apply a node of a torch trace once more, to its floating-point arguments as ``convert`` gives them.

    It is given them as they were, each saying whether it requires a gradient.
    """
    tensors: list[torch.Tensor] = []

    def fresh(source: Node) -> torch.Tensor:
        value = source.value
        if value.is_floating_point():
            value = convert(value).detach().requires_grad_(value.requires_grad)
        tensors.append(value)
        return value

    operator = node.operator
    arguments = {p.name: with_values(node.arguments[p.name], fresh) for p in operator.parameters}
    with engine.session(), torch.enable_grad():
        result = engine.apply(operator, arguments)
    return ByItself(tuple(tensors), result, engine.dtype)


# ---- what is wrong with a user's backward ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NodeFault:
    """What is wrong with a user's backward at one node.

    ``text`` is the node in a message, ``argument`` the parameter's name, with a number where it takes several
    tensors. ``got`` and ``expected`` are the worst element's, at ``index`` of the argument (None: along a
    random direction), ``wrong`` how many elements are. ``leaves`` are those whose gradient went through here.
    ``detail`` is what was raised.
    """

    node: Applied
    text: str
    kind: str  # a key of FAULTS
    argument: str = ""
    index: tuple[int, ...] | None = None
    got: float | None = None
    expected: float | None = None
    wrong: int = 0
    leaves: tuple[str, ...] = ()
    detail: str = ""

    @property
    def reason(self) -> str:
        """The fault as a sentence."""
        on = f"{self.argument} along a random direction"
        place = on if self.index is None else element_name(self.argument, self.index)
        got, expected = (
            f"{number:.12g}" if number is not None else "" for number in (self.got, self.expected)
        )
        what = FAULTS[self.kind].format(
            argument=self.argument, place=place, got=got, expected=expected, detail=self.detail,
            name=self.node.operator.name,
        )  # fmt: skip
        return f"{self.text}: {what}"


# What the kinds of a fault are in words: v is the cotangent that was asked with.
FAULTS = {
    "wrong": "its backward hands {got} to {place}, Jᵀ·v of its own forward is {expected}",
    "ignored": "its backward is right for this seed only: it does not depend on its cotangent: for another "
    "one, v, it hands {got} to {place} again, Jᵀ·v is {expected}",
    "seed only": "its backward is right for this seed only: for another cotangent v it hands {got} to "
    "{place}, Jᵀ·v is {expected}",
    "none": "its backward returns None for {argument}, which counts as 0: for another cotangent v, Jᵀ·v is "
    "{expected} for {place}",
    "raises": "its backward works for this seed only: for another cotangent {detail}",
    "not repeatable": "its backward is no function of its cotangent: asked twice with the same one it hands "
    "{expected} to {place}, then {got}",
    "spent": "its backward can be called only once: the second time {detail}",
    "cotangent": "its backward changes the cotangent that it is given, which other nodes may share",
    "forward": "its forward is not its reference's, {detail}: {place} is {got}, not {expected} (if only its "
    "backward is meant: --reference '{name}:backward={detail}')",
}


@stage("nodes")
def node_faults(
    vjp: VJP, witnesses: Mapping[str, Witness] | None = None, *, limit: int = DEFAULT_LIMIT
) -> list[NodeFault]:
    """What is wrong with the backwards of the user's functions, the last node first.

    ``witnesses`` are those of the leaves, by name: of a job that is nothing but one node they are the node's.
    ``limit`` bounds the element operations that the explicit Jacobian of one node may cost. The forwards are
    to be deterministic. Raises Diagnostic.
    """
    if not any(node.operator.function for node in vjp.trace.applied):
        return []
    again, arriving = cotangents(vjp.job, vjp.seeds)
    engine = TorchEngine(vjp.job.dtype, vjp.job.random_seed)
    asked = [node for node in again.trace.applied if node.operator.function and node.index in arriving]
    known = {}
    if [node.operator.function is not None for node in again.trace.applied] == [True]:
        known = {
            again.trace.inputs[name]: witness for name, witness in (witnesses or {}).items() if witness.replay
        }
    faults: list[NodeFault] = []
    for node in reversed(evenly(asked)):
        g = arriving[node.index].double()
        faults += _Asked(node, again.trace, g, engine, limit, vjp.job.use, known).faults()
    return faults


def with_faults(leaves: Mapping[str, LeafCheck], faults: Sequence[NodeFault]) -> dict[str, LeafCheck]:
    """The verdicts on the leaves, failed where a fault lies on the way to one and no number is wrong yet."""
    judged = dict(leaves)
    for fault in faults:
        for name in fault.leaves:
            if judged[name].status != FAILED:
                judged[name] = replace(
                    judged[name], status=FAILED, reason=fault.reason, index=None, got=fault.got,
                    expected=fault.expected,
                )  # fmt: skip
    return judged


def leaves_before(nodes: Sequence[Node], trace: Trace) -> tuple[str, ...]:
    """The names of the leaves whose gradient goes through these nodes."""
    passed = ancestors(nodes, through=lambda node: bool(node.value.requires_grad))
    return tuple(name for name, node in trace.inputs.items() if node in passed)


def evenly(nodes: Sequence[Applied]) -> list[Applied]:
    """ASKED nodes of each function at the most, in order."""
    by_function: dict[str, list[Applied]] = {}
    for node in nodes:
        by_function.setdefault(node.operator.name, []).append(node)
    kept: list[Applied] = []
    for own in by_function.values():
        kept += [own[k] for k in np.unique(np.linspace(0, len(own) - 1, ASKED).round().astype(int))]
    return sorted(kept, key=lambda node: node.index)


@dataclass(frozen=True, eq=False)
class _Asked:
    """One node that is asked, alone; ``g`` is the cotangent that the job gave it."""

    node: Applied
    trace: Trace
    g: torch.Tensor
    engine: TorchEngine
    limit: int
    use: Mapping[str, Operator]
    known: Mapping[Node, Witness]

    @functools.cached_property
    def r(self) -> torch.Tensor:
        """Another cotangent: each element about as large as g's, of either sign, and never 1.

        The first one is larger than g's and has the other sign: it may be the only one, and a backward that
        takes |g|, or clips g, is not linear in it.
        """
        g = as_float64(self.g)
        drawn = np.atleast_1d(random_directions(g, 1)[0] * OTHER)
        drawn.flat[:1] = np.abs(drawn.flat[:1]) * np.where(g.flat[:1] > 0, -1.0, 1.0)
        return torch.from_numpy(drawn.reshape(g.shape)).to(self.g.dtype)

    def applied(self) -> ByItself:
        """The node applied once more in float64: a mistake is not lost in the rounding of float16."""
        return by_itself(self.node, self.engine, torch.Tensor.double)

    def numbers(self, handed: Sequence[torch.Tensor | None]) -> list[np.ndarray]:
        """What is handed to each argument, flattened; 0 for None."""
        return [
            np.zeros(source.value.numel()) if part is None else np.array(as_float64(part)).ravel()
            for part, source in zip(handed, self.node.inputs, strict=True)
        ]

    def fault(self, kind: str, source: Node | None = None, **more: Any) -> NodeFault:
        """A fault of the node, or of what it hands to one of its arguments."""
        leaves = leaves_before(self.node.inputs if source is None else [source], self.trace)
        text = text_of(self.node, self.trace)
        return NodeFault(node=self.node, text=text, kind=kind, leaves=leaves, **more)

    def faults(self) -> list[NodeFault]:
        """What is wrong with the node: of each argument's one fault at the most."""
        if not torch.isfinite(self.node.value).all():
            return []
        try:
            own = self.numbers(self.applied().backward(self.g.clone()))
        except (Exception, SystemExit):  # what the job itself could do, it does not do alone
            return []
        applied = self.applied()
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
            forward = alone(self.node, self.use)
        except BadReference:
            raise
        except Diagnostic:
            return faults
        if forward.outputs["y"].shape != tuple(self.g.shape):
            return faults
        for number, (argument, source) in enumerate(self.arguments()):
            if source.value.requires_grad:
                fault = self.unlike(handed[number], again[number], argument, source) or self.wrong(
                    Replay(forward, f"argument {number}"),
                    number,
                    own[number],
                    handed[number],
                    argument,
                    source,
                )
                if fault is not None and fault.kind in ("seed only", "ignored") and given[number] is None:
                    fault = replace(fault, kind="none")
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
        """The fault that two answers to one question differ, and grossly."""
        with np.errstate(all="ignore"):
            size = np.max(np.abs(before), initial=0.0, where=np.isfinite(before))
            error = distance(after, before)
            wrong = ~(error <= REPEATABLE * size)
        if not wrong.any():
            return None
        k = int(np.argmax(np.where(wrong, np.nan_to_num(error, nan=np.inf), -1.0)))
        index = tuple(map(int, np.unravel_index(k, source.shape)))
        return self.fault(
            "not repeatable", source, argument=argument, index=index, got=float(after[k]),
            expected=float(before[k]), wrong=int(wrong.sum()),
        )  # fmt: skip

    def wrong(
        self, replay: Replay, number: int, own: np.ndarray, handed: np.ndarray, argument: str, source: Node
    ) -> NodeFault | None:
        """The fault that what is handed to an argument is not Jᵀ·v: ``own`` for g, ``handed`` for r."""
        once = [one for one in self.node.inputs if one is source] == [source]
        witness = self.known.get(source) if once else None
        witness = witness or replayed(replay, "auto", self.limit)
        for v, got in ((self.g, own), (self.r, handed)):
            numbers, verdict = self.judged(witness, number, v, got)
            k = verdict.worst(numbers)
            if k is None or verdict.causes[k] != Cause.WRONG:
                continue
            kind = "wrong" if v is self.g else "ignored" if np.array_equal(own, handed) else "seed only"
            return self.fault(
                kind, source, argument=argument, index=witness.index(k), got=float(numbers.gradient[k]),
                expected=float(verdict.expected[k]), wrong=int((verdict.causes == Cause.WRONG).sum()),
            )  # fmt: skip
        return None

    def judged(
        self, witness: Witness, number: int, v: torch.Tensor, handed: np.ndarray
    ) -> tuple[Numbers, Verdict]:
        """What is handed to an argument for a cotangent, judged."""
        numbers = numbers_of(witness, handed, as_float64(v).ravel(), v.dtype)
        if witness.replay is not None:
            numbers = replace(numbers, eps=max(numbers.eps, witness.replay.eps))
        if (
            self.engine.dtype != torch.float64
        ):  # numbers that a function makes are rounded to it: where(…, 1.0, 0.1)
            numbers = replace(numbers, accuracy=2 * torch.finfo(self.engine.dtype).eps)

        numbers = replace(numbers, noise=in_doubt(functools.partial(self.noisy, witness, number, v)))
        return numbers, judge(numbers)

    def noisy(self, witness: Witness, number: int, v: torch.Tensor, noise: Noise) -> np.ndarray | None:
        """What is compared, where every number that the node sees is moved by an ulp."""

        def move(tensor: torch.Tensor) -> torch.Tensor:
            factors = np.asarray(1.0 + EPS * noise(tensor.shape))
            return tensor.double() * torch.from_numpy(factors)

        try:
            handed = by_itself(self.node, self.engine, move).backward(move(v))
        except (Exception, SystemExit):
            return None
        return witness.projected(self.numbers(handed)[number])
