"""Numeric differentiation of the reference engine: the Jacobian of the outputs with respect to one leaf.

No derivative rule is involved: the *forward* values are differentiated, by a complex step where every
operator on the way has an exact complex kernel, else by central differences that are extrapolated to a step
of zero (Ridders, Advances in Engineering Software 4, 1982). Each entry comes with an estimate of its own
error.

At a kink (an operator that says of itself that it is not differentiable at this very point) the derivative
from each side is taken: where they differ there is no derivative, and the check says so instead of judging.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.replay import EPS, BranchFlip, Replay
from vjpcalc.language.trace import Decision
from vjpcalc.stages import stage

FIRST_STEP = 2.0**-5  # of the differences, relative to |x|
LEVELS = 14  # halvings of it at the most: down to 4e-6
ENOUGH = 1e-11  # relative error estimate at which the halving ends
SIDED = 1e-6  # the same for the slopes of each side
TRUST = 1e-9  # the least relative error that differences are believed to have, whatever they estimate


COMPLEX_STEP, DIFFERENCES = "complex step", "central differences"  # the methods of a Derivative


@dataclass(frozen=True)
class Derivative:
    """J·u for one direction u: ``value`` and ``error`` of shape (m,)."""

    value: np.ndarray
    error: np.ndarray
    method: str

    def scaled(self, factor: np.ndarray | float) -> Self:
        """The derivative along ``factor`` times the direction."""
        with np.errstate(all="ignore"):
            return replace(self, value=self.value * factor, error=np.abs(self.error * factor))


@dataclass(frozen=True)
class Sided(Derivative):
    """The same with the one-sided derivatives ``left`` and ``right``; ``kink`` is true where they differ.

    ``reach`` is |f(x + h·u) - f(x)| / h at the largest step: the size of a slope that counts. ``flipped`` is
    the Decision that kept the differences from one side.
    """

    kink: np.ndarray
    left: np.ndarray
    right: np.ndarray
    reach: np.ndarray
    flipped: Decision | None = None

    def scaled(self, factor: np.ndarray | float) -> Self:
        with np.errstate(all="ignore"):
            sides = {name: getattr(self, name) * factor for name in ("left", "right", "reach")}
            return replace(super().scaled(factor), **sides)


def relative_scale(x: np.ndarray) -> np.ndarray:
    """What a step is relative to, shaped like x: |x| as a power of two; at 0, that of its neighbours."""
    with np.errstate(all="ignore"):
        power = np.exp2(np.floor(np.log2(np.abs(x))))
    sized = np.isfinite(power) & (power > 0)
    if sized.all():
        return power
    return np.where(sized, power, np.median(power[sized]) if sized.any() else 1.0)


def random_directions(x: np.ndarray, number: int) -> np.ndarray:
    """Directions in which all elements move at once, each to its own scale: shape (number, *x.shape)."""
    generator = np.random.default_rng(0)
    shape = (number, *x.shape)
    return relative_scale(x) * generator.choice([-1.0, 1.0], shape) * generator.uniform(0.5, 1.0, shape)


def directional(replay: Replay, direction: np.ndarray, kinked: bool = False) -> Derivative:
    """J·direction with its error. ``kinked`` asks for the derivative from each side as well."""
    if not replay.analytic:
        return differences(replay, direction)
    value = replay.complex_step(direction)
    exact = Derivative(value, EPS * np.abs(value), COMPLEX_STEP)
    return _combine(exact, differences(replay, direction)) if kinked else exact


def _combine(exact: Derivative, sided: Sided) -> Sided:
    """The complex step's value where both sides agree with it, a kink where they do not."""
    with np.errstate(all="ignore"):
        apart = np.maximum(np.abs(sided.left - exact.value), np.abs(sided.right - exact.value))
        near = apart <= 1e-5 * np.abs(exact.value) + 16 * sided.error + 1e-40
        smooth = near & ~(sided.kink & (apart > 1e-5 * np.abs(exact.value)))
    return replace(sided, value=exact.value, error=exact.error, method=exact.method, kink=~smooth)


@stage("differences")
def differences(replay: Replay, direction: np.ndarray) -> Sided:
    """J·direction by extrapolated differences: central, and from each side.

    The central difference at step h errs by c₂h² + c₄h⁴ + …, the one-sided one by c₁h + c₂h² + …; both series
    are eliminated term by term (Neville's scheme over h, h/2, h/4, …), and each entry keeps the value whose
    neighbours in the scheme agree best, that difference being its error estimate; the rounding of f itself,
    eps·|f|/h, is added.
    """
    x = np.asarray(replay.leaf.value, dtype=np.float64)
    center = replay.primal
    flips: list[Decision | None] = []

    def sample(t: float) -> np.ndarray:
        try:
            return replay(x + t * direction)
        except BranchFlip as flip:
            flips.append(flip.decision)
            return np.full_like(center, np.nan)

    with np.errstate(all="ignore"):
        central, left, right = _Neville(4.0, center), _Neville(2.0, center), _Neville(2.0, center)
        h, change = FIRST_STEP, np.zeros_like(center)
        for _ in range(LEVELS):
            above, below = sample(h), sample(-h)
            change = np.fmax(change, np.fmax(np.abs(above - center), np.abs(below - center)))
            noise = 4 * replay.rounding / h
            central.add((above - below) / (2 * h), noise)
            right.add((above - center) / h, noise)
            left.add((center - below) / h, noise)
            reach = change / FIRST_STEP
            if central.settled(ENOUGH, 0.0) and all(
                side.settled(SIDED, reach) and side.close_to(central) for side in (left, right)
            ):
                break
            h /= 2
        spread = np.abs(right.best - left.best)
        doubt = right.error + left.error
        sloped = np.maximum(np.maximum(np.abs(right.best), np.abs(left.best)), reach)
        kink = spread > 1e-5 * sloped + 16 * doubt
        # a side without a limit, as at a jump: its estimates grow with every halving
        limit = 0.1 * reach + 1e4 * replay.rounding
        slopes = [np.where(side.error > limit, np.inf, side.best) for side in (left, right)]
        kink |= ~(np.isfinite(slopes[0]) & np.isfinite(slopes[1])) & np.isfinite(center)
    return Sided(
        central.best,
        np.maximum(central.error, TRUST * np.abs(central.best)),
        DIFFERENCES,
        kink,
        slopes[0],
        slopes[1],
        reach,
        flips[-1] if flips else None,
    )


class _Neville:
    """Neville's scheme for estimates at steps h, h/2, h/4, …; each element keeps its best value."""

    def __init__(self, factor: float, like: np.ndarray) -> None:
        self.factor = factor
        self.row: list[np.ndarray] = []
        self.best = np.full_like(like, np.nan)
        self.error = np.full_like(like, np.inf)

    def add(self, estimate: np.ndarray, noise: np.ndarray) -> None:
        row = [estimate]
        power = self.factor
        for before in self.row:
            refined = row[-1] + (row[-1] - before) / (power - 1)
            error = np.maximum(np.abs(refined - row[-1]), np.abs(refined - before)) + noise
            better = error < self.error
            self.best = np.where(better, refined, self.best)
            self.error = np.where(better, error, self.error)
            row.append(refined)
            power *= self.factor
        self.row = row

    def settled(self, relative: float, size: np.ndarray | float) -> bool:
        """True if every element's error is small beside its best value, or beside ``size``."""
        return bool(np.all(self.error <= relative * np.maximum(np.abs(self.best), size)))

    def close_to(self, other: _Neville) -> bool:
        return bool(np.all(np.abs(self.best - other.best) <= 1e-6 * np.abs(other.best)))
