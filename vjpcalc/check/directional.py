"""Numeric differentiation of the reference engine along a direction.

No derivative rule is involved: the *forward* values are differentiated, by a complex step where every
operator on the way has an exact complex kernel, else by differences. Each entry comes with a bound of its own
error.

At a kink the derivative from each side is taken: where they differ there is no derivative, and the check says
so instead of judging.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.derivative import COMPLEX_STEP, DIFFERENCES, FLOOR, SUBNORMAL, Derivative, Sided
from vjpcalc.check.differences import KINK, TRUST, differences
from vjpcalc.check.germ import Germ, NoGerm, germ
from vjpcalc.check.limit import SAME
from vjpcalc.check.replay import STEP, Replay
from vjpcalc.check.rounding import EPS
from vjpcalc.engines.noise import noises

ROUNDED = 64 * EPS  # relative: a slope that is taken by a complex step beside the point
# What a complex step leaves where it is no slope is as small as ε^p, or as large as 1/ε^p: -ε² of x³ at 0,
# 1/ε of log(x). A slope is the same for a step that is so many times as long.
TINY, HUGE, LONGER = 2.0**-200, 2.0**100, 2.0**20
CHAINED = 4.0  # times how far errors of random signs move it: terms that cancel by chance (f(x) - f(y))


def directional(replay: Replay, *directions: np.ndarray, kinked: bool = False) -> Sequence[Derivative]:
    """J·direction for each direction, with its error; with ``kinked``, the derivative from each side, too."""
    if not replay.analytic:
        return differences(replay, *directions)
    return [_by_complex_step(replay, direction, kinked) for direction in directions]


def _by_complex_step(replay: Replay, direction: np.ndarray, kinked: bool) -> Derivative:
    value = _independent(replay, direction, replay.complex_step(direction))
    error, method = EPS * np.abs(value) + 4 * SUBNORMAL / STEP, COMPLEX_STEP
    if replay.linear:
        random = noises(1)[0]
        with np.errstate(all="ignore"):
            by_chance, alike = (
                np.abs(replay.complex_step(direction, doubt=doubt) - value)
                for doubt in (lambda slope: random(slope.shape), np.sign)
            )
            error, method = error + np.fmax(CHAINED * by_chance, alike) + TRUST * np.abs(value), DIFFERENCES
    exact = Derivative(value, error, method)
    if not kinked:
        return exact
    try:
        return _beside(exact, germ(replay, direction))
    except NoGerm:
        return _combine(exact, differences(replay, direction)[0])


def _independent(replay: Replay, direction: np.ndarray, value: np.ndarray) -> np.ndarray:
    """A derivative by a complex step; 0, or infinite, where it is none: with a longer step it is another."""
    with np.errstate(all="ignore"):
        size = np.abs(value)
        asked = ((size < TINY) & (size > 0)) | ((size > HUGE) & np.isfinite(size))
        # a step beside x that is as long as it may be already is no use
        if not asked.any() or np.max(np.abs(direction), initial=0.0) < FLOOR * LONGER:
            return value
        longer = np.abs(replay.complex_step(direction * LONGER)) / LONGER
        other = asked & ~(np.abs(longer - size) <= KINK * size)
    return np.where(other, np.where(size < 1, 0.0, np.copysign(np.inf, value)), value)


def _beside(exact: Derivative, germ: Germ) -> Sided:
    """The slope where both sides have the same, a kink where they have not; NaN to a side that jumps away.

    The complex step's own value is kept where it is that: it may have been taken where a step means nothing.
    """
    slope, left, right = germ.slope, germ.left, germ.right
    kink = np.isnan(slope) & (~np.isnan(exact.value) | np.isinf(left) | np.isinf(right))
    if germ.flipped is not None:
        kink |= np.isnan(left) | np.isnan(right)
    with np.errstate(all="ignore"):
        kept = np.isnan(slope) | (np.abs(exact.value - slope) <= ROUNDED * np.abs(slope))
        finite = np.where(np.isfinite(left), left, right)  # if there is one: of two, what lies between them
        between = np.clip(exact.value, np.fmin(left, right), np.fmax(left, right))
        one_of_them = np.where(np.isfinite(left) & np.isfinite(right), between, finite)
    value = np.where(kept, exact.value, slope)
    error = np.where(kept, exact.error, SAME * np.abs(slope))
    if germ.flipped is None:
        value = np.where(kink, one_of_them, value)
    left, right = (np.where(germ.jump, np.nan, np.where(kink, side, value)) for side in (left, right))
    return Sided(value, error, exact.method, kink, left, right, np.abs(value), germ.flipped)


def _combine(exact: Derivative, sided: Sided) -> Sided:
    """The complex step's value where both sides agree with it, a kink where they do not."""
    with np.errstate(all="ignore"):
        apart = np.maximum(np.abs(sided.left - exact.value), np.abs(sided.right - exact.value))
        near = apart <= KINK * np.abs(exact.value) + 16 * sided.error + 1e-40
        smooth = near & ~(sided.kink & (apart > KINK * np.abs(exact.value)))
    return replace(sided, value=exact.value, error=exact.error, method=exact.method, kink=~smooth)
