"""The slopes from both sides of a kink, exactly: derivatives a hair's breadth beside the point.

Beside x stands x + εu, and every choice that a program makes at a kink (a branch of `where`, the larger of
two equals) comes out as it does there, to the right of x, or for -u to the left; no step is so large that it
leaps over something. A number that is not 0 cannot hold an ε beside it, but its derivative can, by a complex
step: NumPy orders complex numbers by their real parts, and equal ones by their imaginary parts, so
comparisons see it. A number that is 0 at x is moved in earnest, to what its derivative makes of ε. So a root,
a power or a norm is differentiated where it is smooth, and not at 0, where a complex step means nothing:
that of |x|³ is -ε² at 0, and that of the fourth root of x⁴ is 0.

A slope does not depend on ε. What does is taken at three of them, each a little smaller: ε, of |x|², goes to
0, 1/√ε, of √x, to infinity, and 2 + ε^0.1 to 2.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.limit import CONVERGED, SAME, limit
from vjpcalc.check.replay import STEP, BranchFlip, Replay
from vjpcalc.language.trace import Applied, Decision, Node

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "argmax", "argmin", "argsort"})
# The ε: below any structure (1e-30 is added to many a denominator) and any rounding, and far above STEP; the
# 5th power of the last times STEP, a derivative of the 6th, is a number.
NEAR = (2.0**-120, 2.0**-130, 2.0**-140)
# Units in the last place that stand for them beside a kink that is not at 0: arcsin at 1, x % 1 at 1.
ULPS = (16.0, 4.0, 1.0)
JUMP = 1e-9  # relative: rounding moves no value so far
HALF = 0.5  # what moves a value less than half as far for a smaller ε is no jump: √ε is 2⁻¹⁰ of it


class NoGerm(Exception):  # noqa: N818 (an answer, not an error)
    """An operator on the way has no kernel that sees an infinitesimal."""


@dataclass(frozen=True, eq=False)
class Germ:
    """The slopes of the outputs (m,) to the ``left`` and to the ``right`` of x along a direction.

    They are infinite where there is a ``jump``, a mask, and NaN where a condition of the program comes out
    otherwise: ``flipped`` is the Decision that did. Where a function has values on one side only, as at the
    edge of its domain, the slope of that side stands for both.
    """

    left: np.ndarray
    right: np.ndarray
    jump: np.ndarray
    flipped: Decision | None = None

    @property
    def slope(self) -> np.ndarray:
        """The slope (m,), NaN where there is none."""
        with np.errstate(all="ignore"):
            same = np.abs(self.left - self.right) <= SAME * np.abs(self.right)
        return np.where(same & np.isfinite(self.right), self.right, np.nan)


def germ(replay: Replay, direction: np.ndarray) -> Germ:
    """What there is on both sides of x. Raises NoGerm."""
    with np.errstate(all="ignore"):
        before, left_jump, left_flipped = _Side(replay, -direction).slopes()
        right, right_jump, right_flipped = _Side(replay, direction).slopes()
    left, flipped = -before, left_flipped or right_flipped
    if flipped is None:
        left, right = (np.where(np.isnan(own), other, own) for own, other in ((left, right), (right, left)))
    return Germ(left, right, left_jump | right_jump, flipped)


class _Side:
    """A run to the right of x along a direction: of each node its values for all ε, or one for them all."""

    def __init__(self, replay: Replay, direction: np.ndarray) -> None:
        self.replay = replay
        x = replay.leaf.value
        farthest = max(1.0, float(np.max(np.abs(direction), initial=0.0)))
        self.near = tuple(near / farthest for near in NEAR)  # however large the direction is
        self.kinks = {(kink.operator.name, kink.inputs): kink.mask for kink in replay.kinks}
        self.ulps = False
        start = [np.where(x == 0, near * direction, x) + 1j * STEP * direction for near in self.near]
        self.values: dict[int, Sequence[np.ndarray]] = {replay.leaf.index: _one_if_equal(start)}
        for node in replay.varying.values():
            if isinstance(node, Applied):
                self.values[node.index] = self._results(node)

    def slopes(self) -> tuple[np.ndarray, np.ndarray, Decision | None]:
        """The slopes (m,), where there is a jump, and the condition that comes out otherwise."""
        try:
            self.replay.require_decisions({index: values[-1] for index, values in self.values.items()})
        except BranchFlip as flip:
            shape = self.replay.primal.shape
            return np.full(shape, np.nan), np.zeros(shape, bool), flip.decision
        parts = [self._slope(node) for node in self.replay.targets]
        slopes, jumps = (np.concatenate(part) for part in zip(*parts, strict=True))
        return slopes, jumps, None

    def _slope(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        if node.index not in self.values:
            return np.zeros(node.value.size), np.zeros(node.value.size, bool)
        values = [value.ravel() for value in self.values[node.index]]
        center = node.value.ravel()
        reals, slopes = [np.real(value) for value in values], [np.imag(value) / STEP for value in values]
        jump = _jumped(reals, center, np.abs(center)) & ~np.isnan(reals[-1])
        slope = limit(slopes)
        if (np.isnan(slope) & ~np.isnan(reals[-1]) & ~jump).any():
            raise NoGerm  # a value, but no derivative: the complex kernel overflows, say
        slope = np.where(np.isnan(reals[-1]), np.nan, slope)
        return np.where(jump, np.sign(reals[-1] - center) * np.inf, slope), jump

    # ---- one operator --------------------------------------------------------------------------------------

    def _results(self, node: Applied) -> Sequence[np.ndarray]:
        """What a node is for each ε: a mask or an index, as it is beside the point, or a complex number."""
        replay, row = self.replay, node.operator
        differentiated = node.index in replay.linear
        if not (differentiated or row.complex or row.kind == "movement"):
            raise NoGerm
        inputs = [source for source in node.inputs if source.index in self.values]
        kink = self._kink(node, inputs)
        number = len(NEAR) if kink is not None else max(len(self.values[source.index]) for source in inputs)
        results, reals = [], []
        for k in range(number):
            near = {source.index: self._seen(node, source, k, kink) for source in inputs}
            if differentiated:  # its derivative is known here, and nowhere else
                near = {source.index: self._settled(source, near[source.index]) for source in inputs}
            result = self._apply(node, near)
            if result.dtype.kind == "c":
                moved = any((np.real(near[source.index]) != source.value).any() for source in inputs)
                real = {index: np.real(value) for index, value in near.items()}
                reals.append(self._apply(node, real) if moved and not differentiated else node.value)
            results.append(result)
        if not reals:
            return _one_if_equal(results)
        return self._beside(node, reals, [np.imag(result) for result in results])

    def _kink(self, node: Applied, inputs: Sequence[Node]) -> np.ndarray | None:
        """Where a node is at a kink of its own that is not at 0; None: nowhere."""
        kink = self.kinks.get((node.operator.name, node.inputs))
        if kink is None or node.operator.kind != "elementwise" or node.operator.complex == "constant":
            return None
        kink = kink & functools.reduce(np.logical_or, [source.value != 0 for source in inputs])
        return kink if kink.any() else None

    def _apply(self, node: Applied, values: Mapping[int, np.ndarray]) -> np.ndarray:
        try:
            result = self.replay.apply(node, lambda source: values.get(source.index, source.value))
        except (TypeError, ValueError, np.linalg.LinAlgError) as error:
            raise NoGerm from error
        if np.shape(result) != node.shape:
            raise NoGerm  # a mask that selects other elements
        return np.asarray(result)

    def _seen(self, node: Applied, source: Node, k: int, kink: np.ndarray | None) -> np.ndarray:
        """An input for the k-th ε: what is constant on both sides sees it a little to its side."""
        values = self.values[source.index]
        value = values[min(k, len(values) - 1)]
        if value.dtype.kind != "c" or node.operator.name in COMPARISONS:
            return value
        beside = (value.imag != 0) & (value.real == source.value)
        if node.operator.complex == "constant":  # rounding and the like
            return np.where(beside, np.nextafter(value.real, np.copysign(np.inf, value.imag)), value.real)
        if kink is None:
            return value
        moved = kink & beside & (source.value != 0)
        if (moved & (value.imag != values[0].imag)).any():
            raise NoGerm  # it moves by less than ε: cos(x) beside 1
        self.ulps = True
        ulp = np.copysign(np.spacing(np.abs(value.real)), value.imag)
        return np.where(moved, value + ULPS[k] * ulp, value)

    def _settled(self, source: Node, value: np.ndarray) -> np.ndarray:
        """An input of a user's function, at x."""
        reals = [np.real(value) for value in self.values[source.index]]
        if value.dtype.kind != "c" or _jumped(reals, source.value, np.abs(source.value)).any():
            raise NoGerm
        return source.value + 1j * np.imag(value)

    def _beside(
        self, node: Applied, reals: Sequence[np.ndarray], imaginary: Sequence[np.ndarray]
    ) -> Sequence[np.ndarray]:
        """The values of a node: what was traced where only rounding made it another, unless it is 0."""
        center, size = node.value, _size(node)
        zero = (center == 0) & ~_jumped(reals, center, size)
        if zero.any() and any(part[zero].any() for part in imaginary):
            reals = self._infinitesimal(reals, imaginary, zero)
            imaginary = [imaginary[min(k, len(imaginary) - 1)] for k in range(len(reals))]
        made = []
        for real, imag in zip(reals, imaginary, strict=True):
            rounded = (np.abs(real - center) <= JUMP * size) & np.isfinite(center) & ~zero
            real = np.where(rounded, center, real)
            made.append(real + 1j * np.where(np.isnan(real), np.nan, imag))
        return _one_if_equal(made)

    def _infinitesimal(
        self, reals: Sequence[np.ndarray], imaginary: Sequence[np.ndarray], zero: np.ndarray
    ) -> Sequence[np.ndarray]:
        """How large numbers are that are 0 at x: d·ε where their derivative is d.

        Where it goes like ε^(p-1), they are dε/p; but what is computed of such numbers alone is right as it
        is (ε², of x·x), unless it was lost in sums of others (1 + ε² - 1).
        """
        slopes = [part / STEP for part in imaginary]
        first, last = slopes[0], slopes[-1]
        plain = np.abs(last - first) <= CONVERGED * np.abs(last)
        power = 1 + np.log(np.abs(last / first)) / np.log(self.near[-1] / self.near[0])
        computed = (reals[0] != 0) & (np.abs(reals[0]) > np.abs(reals[-1])) & (len(reals) > 1)
        if self.ulps and (zero & ~plain & ~computed & (last != 0)).any():
            raise NoGerm  # ULPS are no powers of ε
        made = []
        for k, near in enumerate(self.near):
            slope, real = slopes[min(k, len(slopes) - 1)], reals[min(k, len(reals) - 1)]
            found = np.where(plain, slope * near, np.where(computed, real, slope * near / power))
            made.append(np.where(zero, found, real))
        return made


def _one_if_equal(values: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """The values for all ε, or one of them if they are the same."""
    same = all(np.array_equal(values[0], value, equal_nan=value.dtype.kind in "fc") for value in values[1:])
    return values[:1] if same else values


def _size(node: Applied) -> np.ndarray | float:
    """What a node's rounding is relative to: each number and what it was computed of, or the largest of all.

    What is only moved is not rounded.
    """
    if node.operator.kind == "movement":
        return 0.0
    sizes = [np.abs(one.value) for one in (node, *node.inputs) if one.value.dtype.kind == "f"]
    if node.operator.kind == "elementwise":
        return np.asarray(functools.reduce(np.fmax, [np.where(np.isfinite(size), size, 0) for size in sizes]))
    return max(float(np.max(size, where=np.isfinite(size), initial=0.0)) for size in sizes)


def _jumped(reals: Sequence[np.ndarray], center: np.ndarray, size: np.ndarray | float) -> np.ndarray:
    """Where values are not those at x, however small the ε; by no more than rounding is none."""
    first, last = np.abs(reals[0] - center), np.abs(reals[-1] - center)
    return ~(last <= JUMP * size) & ((len(reals) == 1) | ~(last < HALF * first))
