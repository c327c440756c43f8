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

from vjpcalc.check.derivative import COMPLEX_STEP, DIFFERENCES, SUBNORMAL, Derivative, Sided
from vjpcalc.check.differences import KINK, TRUST, differences
from vjpcalc.check.germ import NoGerm, germ
from vjpcalc.check.replay import STEP, Replay
from vjpcalc.check.rounding import EPS
from vjpcalc.engines.noise import noises
from vjpcalc.language.trace import Decision

SAME = 1e-9  # relative: the slopes from both sides, each by a complex step
CHAINED = 4.0  # times how far errors of random signs move it: terms that cancel by chance (f(x) - f(y))


def directional(replay: Replay, *directions: np.ndarray, kinked: bool = False) -> Sequence[Derivative]:
    """J·direction for each direction, with its error; with ``kinked``, the derivative from each side, too."""
    if not replay.analytic:
        return differences(replay, *directions)
    return [_by_complex_step(replay, direction, kinked) for direction in directions]


def _by_complex_step(replay: Replay, direction: np.ndarray, kinked: bool) -> Derivative:
    value = replay.complex_step(direction)
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
        return _beside(exact, *germ(replay, direction))
    except NoGerm:
        return _combine(exact, differences(replay, direction)[0])


def _beside(exact: Derivative, left: np.ndarray, right: np.ndarray, flipped: Decision | None) -> Sided:
    """The complex step's value where the slopes from both sides are that too, a kink where they are not."""
    with np.errstate(all="ignore"):
        apart = np.fmax(np.abs(left - exact.value), np.abs(right - exact.value))
        kink = ~(apart <= SAME * np.abs(exact.value)) & ~((left == exact.value) & (right == exact.value))
    kink &= ~np.isnan(exact.value) | np.isinf(left) | np.isinf(right)
    if flipped is not None:
        kink |= np.isnan(left) | np.isnan(right)
    return Sided(
        exact.value, exact.error, exact.method, kink, left, right, np.abs(exact.value), flipped
    )  # fmt: skip


def _combine(exact: Derivative, sided: Sided) -> Sided:
    """The complex step's value where both sides agree with it, a kink where they do not."""
    with np.errstate(all="ignore"):
        apart = np.maximum(np.abs(sided.left - exact.value), np.abs(sided.right - exact.value))
        near = apart <= KINK * np.abs(exact.value) + 16 * sided.error + 1e-40
        smooth = near & ~(sided.kink & (apart > KINK * np.abs(exact.value)))
    return replace(sided, value=exact.value, error=exact.error, method=exact.method, kink=~smooth)
