"""What is wrong with the backwards of the user's functions, and the gradients of a job may not show.

A backward that forgets its cotangent is right where every cotangent is 1, and what is 10 % off in bfloat16 is
lost in the rounding of a whole network. So each node whose operator is a function of the user's own is judged
alone, beside its own forward: for the cotangent that arrived, for a random one, and for that once more.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a node to run)
import torch  # noqa: TID253

from vjpcalc.check import words
from vjpcalc.check.alone import ByItself, alone, by_itself, tensors_of
from vjpcalc.check.compared import comparable, numbers_of
from vjpcalc.check.derivative import random_directions
from vjpcalc.check.functions import Functions
from vjpcalc.check.jacobian import distance
from vjpcalc.check.judge import Numbers, Verdict, judge
from vjpcalc.check.noise import LOST, LOUD, Runs, in_doubt, reference_noise, without_jumps
from vjpcalc.check.pattern import cotangents, dimensions, pattern
from vjpcalc.check.replay import Replay
from vjpcalc.check.rounding import EPS
from vjpcalc.check.witness import Witness, replayed
from vjpcalc.diagnostics import Diagnostic, element_name, raised
from vjpcalc.engines.inside import with_rounding
from vjpcalc.engines.noise import Noise
from vjpcalc.engines.torch import TorchEngine, smallest_subnormal
from vjpcalc.job.autograd import dense, same
from vjpcalc.job.faults import own_fault
from vjpcalc.job.result import FAILED, VJP, Cause, Fault, LeafCheck
from vjpcalc.language.naming import text_of
from vjpcalc.language.scope import BadReference
from vjpcalc.language.trace import Applied, Node, Trace, ancestors
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64

ASKED = 16  # nodes of one function that are asked, evenly spread: a loop may have thousands
OTHER = 3.0  # times the cotangent that arrived: a random one is half of this to this, and so larger
SMALL = 0.1  # … and its least element, where it is asked how the cotangent is misused
REPEATABLE = 2.0**-11  # relative: two answers to one question may differ, for sums may run in another order


@dataclass(frozen=True, kw_only=True)
class NodeFault:
    """What is wrong with a user's backward at one node.

    ``node`` is its index in the job's trace, ``operator`` the function's name, ``text`` the node in a
    message, and ``argument`` the parameter's name, with a number where it takes several tensors. ``got`` and
    ``expected`` are the worst element's, at ``index`` of the argument (None: along a random direction),
    ``wrong`` how many elements are. ``leaves`` are those whose gradient went through here.
    ``detail`` is what was raised, ``cotangent`` what the node was asked with.
    """

    node: int
    operator: str
    text: str
    kind: str  # a key of FAULTS
    argument: str = ""
    index: tuple[int, ...] | None = None
    got: float | None = None
    expected: float | None = None
    wrong: int = 0
    leaves: tuple[str, ...] = ()
    detail: str = ""
    cotangent: np.ndarray | None = None
    look_for_pattern: Callable[[], str | None] | None = None

    @functools.cached_property
    def told(self) -> Fault:
        """The same as a part of a leaf's verdict."""
        return Fault(
            node=self.text, place=self.node, kind=self.kind, reason=self.reason,
            argument=self.argument or None, index=self.index, got=self.got, expected=self.expected,
            wrong=self.wrong, cotangent=self.cotangent, look_for_pattern=self.look_for_pattern,
        )  # fmt: skip

    @property
    def reason(self) -> str:
        """The fault as a sentence."""
        on = f"{self.argument} along a random direction"
        place = on if self.index is None else element_name(self.argument, self.index)
        got = expected = ""
        if self.got is not None and self.expected is not None:
            got, expected = words.told_apart(self.got, self.expected)
        what = FAULTS[self.kind].format(
            argument=self.argument, place=place, got=got, expected=expected, detail=self.detail,
            name=self.operator,
            v="v" if self.cotangent is None else words.cotangent(self.cotangent),
        )  # fmt: skip
        return f"{self.text}: {what}"


# What the kinds of a fault are in words: v is the cotangent that was asked with.
FAULTS = {
    "wrong": "its backward hands {got} to {place}, Jᵀ·v of its own forward is {expected}",
    "ignored": "its backward is right for this seed only: it does not depend on its cotangent: for another "
    "one, {v}, it hands {got} to {place} again, Jᵀ·v is {expected}",
    "seed only": "its backward is right for this seed only: for another cotangent, {v}, it hands {got} "
    "to {place}, Jᵀ·v is {expected}",
    "none": "its backward returns None for {argument}, which counts as 0: for another cotangent, {v}, "
    "Jᵀ·v is {expected} for {place}",
    "raises": "its backward works for this seed only: for another cotangent {detail} ({v})",
    "not repeatable": "its backward is no function of its cotangent: asked twice with the same one, {v}, it "
    "hands {expected} to {place}, then {got}",
    "spent": "its backward can be called only once: the second time {detail}",
    "cotangent": "its backward changes the cotangent that it is given, which other nodes may share",
    "overwrites": "its backward overwrites what its forward was given or gave, which other nodes may use",
    "forward": "its forward is not its reference's, {detail}: {place} is {got}, not {expected} (if only its "
    "backward is meant: --reference '{name}:backward={detail}')",
}


@stage("nodes")
def node_faults(vjp: VJP, functions: Functions) -> list[NodeFault]:
    """What is wrong with the backwards of the user's functions, the last node first.

    ``functions`` are those of the reference's run of the same job. The forwards are to be deterministic.
    Raises Diagnostic.
    """
    if not any(node.operator.function for node in vjp.trace.applied):
        return []
    engine = TorchEngine(vjp.job.dtype, vjp.job.random_seed)
    beside = functions.beside(vjp.trace)
    asked = [
        node for node in vjp.trace.applied
        if node.operator.function and node.value.requires_grad and node.value.grad is not None
    ]  # fmt: skip
    faults: list[NodeFault] = []
    for node in reversed(evenly(asked)):
        g = dense(node.value.grad).double()
        faults += _Asked(node, vjp.trace, g, engine, functions, beside.get(node)).faults()
    return faults


def with_faults(leaves: Mapping[str, LeafCheck], faults: Sequence[NodeFault]) -> dict[str, LeafCheck]:
    """The verdicts on the leaves, failed where a fault lies on the way to one and no number is wrong yet."""
    judged = dict(leaves)
    for fault in faults:
        for name in fault.leaves:
            leaf, told = judged[name], fault.told
            if leaf.fault is not None:
                continue
            if leaf.status == FAILED:
                pattern = functools.partial(_pattern_beside, leaf, told)
                judged[name] = replace(leaf, fault=told, look_for_pattern=pattern)
            else:
                judged[name] = replace(
                    leaf, status=FAILED, reason=told.reason, index=None, got=told.got, expected=told.expected,
                    digits=None, fault=told, look_for_pattern=functools.partial(getattr, told, "pattern"),
                )  # fmt: skip
    return judged


def _pattern_beside(leaf: LeafCheck, fault: Fault) -> str | None:
    """The pattern of a leaf behind a fault: how a cotangent is misused, which another shows, tells more."""
    if fault.pattern is None or (leaf.pattern is not None and "cotangent v" not in fault.pattern):
        return leaf.pattern
    return f"{fault.node}: {fault.pattern}"


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
        if len(own) <= ASKED:
            kept += own
            continue
        kept += [own[k] for k in np.unique(np.linspace(0, len(own) - 1, ASKED).round().astype(int))]
    return sorted(kept, key=lambda node: node.index)


@dataclass(frozen=True, eq=False)
class _Asked:
    """One node that is asked, alone; ``g`` is the cotangent that the job gave it.

    It is asked where the reference has it, ``beside`` it; None: where torch has it.
    """

    node: Applied
    trace: Trace
    g: torch.Tensor
    engine: TorchEngine
    functions: Functions
    beside: Applied | None

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

    @functools.cached_property
    def point(self) -> Mapping[Node, torch.Tensor]:
        """The arguments in float64: a mistake is not lost in the rounding of float16."""
        if self.beside is None:
            return {source: source.value.double() for source in self.node.inputs}
        pairs = zip(self.node.inputs, self.beside.inputs, strict=True)
        return {source: torch.from_numpy(np.array(other.value)) for source, other in pairs}

    @functools.cached_property
    def forward(self) -> Trace:
        """The node alone, where torch has it."""
        return alone(self.node, self.functions.use)

    def applied(self) -> ByItself:
        """The node applied once more."""
        return by_itself(self.node, self.engine, lambda source: self.point[source].clone())

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
        name = self.node.operator.name
        return NodeFault(node=self.node.index, operator=name, text=text, kind=kind, leaves=leaves, **more)

    def faults(self) -> list[NodeFault]:
        """What is wrong with the node: of each argument's one fault at the most."""
        if not torch.isfinite(self.node.value).any():
            return []
        try:
            own = self.numbers(self.applied().backward(self.g.clone()))
        except (Exception, SystemExit):  # what the job itself could do, it does not do alone
            return []
        applied = self.applied()
        cotangent, faults = self.r.clone(), []
        before = [(tensor, tensor.detach().clone()) for tensor in (*applied.tensors, applied.result)]
        try:
            given = applied.backward(cotangent, keep=True)
        except (Exception, SystemExit) as error:
            return [self.fault("raises", detail=self.told(error), cotangent=as_float64(self.r))]
        handed = again = self.numbers(given)
        if not torch.equal(cotangent, self.r):
            faults.append(self.fault("cotangent", cotangent=as_float64(self.r)))
        if not all(same(tensor, value) for tensor, value in before):
            return [*faults, self.fault("overwrites", cotangent=as_float64(self.r))]
        try:
            again = self.numbers(applied.backward(self.r.clone(), keep=True))
        except (Exception, SystemExit) as error:
            faults.append(self.fault("spent", detail=self.told(error), cotangent=as_float64(self.r)))
        try:
            shape = (self.beside or self.forward.outputs["y"]).shape
        except BadReference:
            raise
        except Diagnostic:
            return faults
        if shape != tuple(self.g.shape):
            return faults
        for number, (argument, source) in enumerate(tensors_of(self.node)):
            if source.value.requires_grad:
                fault = self.unlike(handed[number], again[number], argument, source) or self.wrong(
                    self.witness(number),
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

    def witness(self, number: int) -> Witness:
        """What is handed to the ``number``-th argument is compared with this."""
        if self.beside is not None:
            return self.functions.witness(self.beside, number)
        replay = Replay(self.forward, f"argument {number}")
        return replayed(replay, "auto", self.functions.limit)

    def told(self, error: BaseException) -> str:
        """What was raised, or what was wrong with what the backward returned; where."""

        def again() -> list[tuple[torch.Tensor, torch.Tensor]]:
            return [(self.applied().result, self.r)]

        own = own_fault(error, again)
        return f"it raised {raised(error)}" if own is None else own.message

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
            expected=float(before[k]), wrong=int(wrong.sum()), cotangent=as_float64(self.r),
        )  # fmt: skip

    def wrong(
        self, witness: Witness, number: int, own: np.ndarray, handed: np.ndarray, argument: str, source: Node
    ) -> NodeFault | None:
        """The fault that what is handed to an argument is not Jᵀ·v: ``own`` for g, ``handed`` for r."""
        for v, got in ((self.g, own), (self.r, handed)):
            numbers, verdict = self.judged(witness, number, v, got)
            k = verdict.worst(numbers)
            if k is None or verdict.causes[k] != Cause.WRONG:
                continue
            kind = "wrong" if v is self.g else "ignored" if np.array_equal(own, handed) else "seed only"
            return self.fault(
                kind, source, argument=argument, index=witness.index(k), got=float(numbers.gradient[k]),
                expected=float(verdict.expected[k]), wrong=int((verdict.causes == Cause.WRONG).sum()),
                cotangent=as_float64(v),
                look_for_pattern=functools.partial(self.pattern, witness, number, handed, source),
            )  # fmt: skip
        return None

    def pattern(self, witness: Witness, number: int, handed: np.ndarray, source: Node) -> str | None:
        """What the wrong numbers of the answer to r have in common: r, drawn at random, tells most apart.

        That the cotangent is misused in some way is said if it explains the answers to others as well: r
        without its large elements tells what is clipped from what keeps the sign alone.
        """
        if witness.directions is not None:
            return None
        small = self.r * torch.linspace(SMALL, 1.0, self.r.numel(), dtype=self.r.dtype).reshape(self.r.shape)
        answers = [(self.r, handed)]
        with contextlib.suppress(Exception, SystemExit):  # it may answer a few only
            own = self.numbers(self.applied().backward(self.g.clone()))[number]
            answers += [(self.g, own)]
            answers += [(small, self.numbers(self.applied().backward(small.clone()))[number])]
        shape = source.shape
        misused: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for v, answer in reversed(answers):
            numbers, verdict = self.judged(witness, number, v, answer)
            made = cotangents(witness.jacobian, as_float64(v), shape)
            misused = {
                what: (values, room)
                for what, (values, room) in made.items()
                if (what in misused or v is answers[-1][0])
                and not (np.abs(answer - values.ravel()) > np.fmax(verdict.tolerance, room.ravel())).any()
            }
        wrong, known = comparable(numbers, verdict)
        gradient, expected, wrong, tolerance, known = (
            part.reshape(shape)
            for part in (numbers.gradient, verdict.expected, wrong, verdict.tolerance, known)
        )
        name = next(argument for place, (argument, _) in enumerate(tensors_of(self.node)) if place == number)
        shapes = {name: shape} | ({"its value": tuple(self.g.shape)} if self.g.shape != shape else {})
        return pattern(
            gradient, expected, wrong, tolerance, known=known, name=name, values=as_float64(source.value),
            sizes=dimensions(shapes), yours=True, suspects=misused,
        )  # fmt: skip

    def judged(
        self, witness: Witness, number: int, v: torch.Tensor, handed: np.ndarray
    ) -> tuple[Numbers, Verdict]:
        """What is handed to an argument for a cotangent, judged."""
        numbers = numbers_of(witness, handed, as_float64(v).ravel(), v.dtype)
        if witness.replay is not None:
            numbers = replace(numbers, eps=max(numbers.eps, witness.replay.eps))
        if self.engine.dtype != torch.float64:
            # numbers that a function makes are rounded to it, where(…, 1.0, 0.1); and what it converts, by
            # x.float(), underflows, but not beside it
            smallest = smallest_subnormal(torch.float32)
            numbers = replace(numbers, accuracy=2 * torch.finfo(self.engine.dtype).eps, smallest=smallest)
        own = in_doubt(functools.partial(self.noisy, witness, number, v), numbers.gradient)

        def noise(doubtful: np.ndarray, runs: Runs) -> np.ndarray:
            moved = own(doubtful, runs)
            if not doubtful.any():
                return moved
            value = np.fmax(np.abs(numbers.gradient), np.abs(numbers.expected))
            if runs.ulps < LOUD.ulps and (moved > LOST * value)[doubtful].any():
                louder = LOUD.ulps * own(doubtful, runs._replace(ulps=LOUD.ulps))
                moved = without_jumps(moved, louder, value)
            # a softmax of a reference cancels in its tail, too
            seed = witness.seed(as_float64(v).ravel())
            return np.fmax(moved, reference_noise(witness, seed, doubtful, runs))

        numbers = replace(numbers, noise=noise)
        return numbers, judge(numbers)

    def noisy(self, witness: Witness, number: int, v: torch.Tensor, noise: Noise) -> np.ndarray | None:
        """What is compared, where every number that the node sees or computes is moved by an ulp."""

        def move(tensor: torch.Tensor) -> torch.Tensor:
            return tensor * torch.from_numpy(np.asarray(1.0 + EPS * noise(tensor.shape)))

        def run() -> list[torch.Tensor | None]:
            moved = by_itself(self.node, self.engine, lambda source: move(self.point[source]))
            return moved.backward(move(v))

        try:
            handed = with_rounding(run, noise, torch.float64)
        except (Exception, SystemExit):
            return None
        return witness.projected(self.numbers(handed)[number])
