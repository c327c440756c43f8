"""Whether a derivative that comes out as 0, here as in torch, is 0: or has all of it cancelled?

`tan(x)/x` at 1e-9 has the slope 7e-10, of which the program's own rounding leaves an exact 0; the weight of
1 in the first row of a causal attention has none, though rounding of what is subtracted there would make one.
"""

from __future__ import annotations

import itertools

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check.derivative import relative_scale
from vjpcalc.check.noise import USUAL, reference_noise
from vjpcalc.check.replay import Replay
from vjpcalc.check.rounding import EPS
from vjpcalc.check.witness import Witness

EXAMINED = 64  # numbers that are looked at one by one; the rest are like them
# Where an element is put to see whether anything depends on it, times itself and times its sign: x²/(x² + 1)
# at 1e10 stands still for any other large number, and x/|x| for all on this side of 0.
PLACES, SMALL_PLACES = (0.31, 1e-3, 1.9), (0.71, 0.0313)
FLICKER = 8 * EPS  # relative: a value that is rounded elsewhere has not moved (the cosine of what is scaled)
ASIDE = 2.0**-10  # of an element, to see a minimum or maximum: x² - 2x at 1 …
SYMMETRIC = 2.0**-6  # … is as high to the left as to the right, within this part of how it rises …
SEEN = 2.0**10  # … and rises this many times more than rounding hides
# Steps by which a slope at 0 is seen to vanish, and how much faster than they do: x - tanh(x), like x³.
POWERS, FASTER = (2.0**-4, 2.0**-7, 2.0**-10), 4.0
ULPS = 64.0  # of the element: its slope is 0 as near as this


def is_zero(
    witness: Witness, v: np.ndarray, candidates: np.ndarray, noise: np.ndarray, eps: float
) -> np.ndarray:
    """Which of the ``candidates`` are 0 for certain; masks (n,), for v of shape (m,).

    Rounding to ``eps`` moves torch's gradients by ``noise``, (n,). One is 0 if rounding does not move the
    reference's at all, if nothing that counts depends on the element, if the element is at an extremum, to
    some ulps, or if it is 0 and what depends on it rises like a power of it.
    """
    replay = witness.replay
    certain = candidates & (reference_noise(witness, v, candidates, USUAL) == 0)
    uncertain = np.flatnonzero(candidates & ~certain)
    if replay is None or not uncertain.size:
        return certain
    for k in uncertain[:EXAMINED]:
        index = witness.index(k)
        certain[k] = index is not None and (
            _stands_still(replay, v, index)
            or _is_extremum(replay, v, index, noise[k], eps)
            or _vanishes(replay, v, index)
        )
    certain[uncertain[EXAMINED:]] = certain[uncertain[:EXAMINED]].all()
    return certain


def _at(replay: Replay, index: tuple[int, ...], value: float) -> np.ndarray:
    """The outputs (m,) with one element of the leaf changed; NaN where there are none."""
    x = np.array(replay.leaf.value, dtype=np.float64)
    x[index] = value
    return replay.elsewhere(x)


def _stands_still(replay: Replay, v: np.ndarray, index: tuple[int, ...]) -> bool:
    own = float(replay.leaf.value[index])
    used, here = v != 0, _at(replay, index, own)
    room = FLICKER * np.abs(here[used])
    places = [*(own * place for place in PLACES), *(np.copysign(place, own) for place in SMALL_PLACES)]
    elsewhere = [values for place in places if np.isfinite(values := _at(replay, index, place)[used]).all()]
    return bool(elsewhere) and all((np.abs(values - here[used]) <= room).all() for values in elsewhere)


def _is_extremum(replay: Replay, v: np.ndarray, index: tuple[int, ...], noise: float, eps: float) -> bool:
    own, used = float(replay.leaf.value[index]), v != 0
    h = ASIDE * relative_scale(np.asarray(replay.leaf.value))[index]  # NumPy's: its square may overflow
    left, here, right = (_at(replay, index, own + step)[used] for step in (-h, 0.0, h))
    with np.errstate(all="ignore"):
        rise, tilt = float(v[used] @ (left + right - 2 * here)), float(v[used] @ (right - left))
        hidden = EPS * float(np.abs(v[used]) @ np.abs(here))
        curvature = abs(rise) / h**2
    seen = abs(rise) > SEEN * hidden and abs(tilt) <= SYMMETRIC * abs(rise)
    return seen and noise <= ULPS * eps * curvature * max(abs(own), h)


def _vanishes(replay: Replay, v: np.ndarray, index: tuple[int, ...]) -> bool:
    own, used = float(replay.leaf.value[index]), v != 0
    if own:
        return False
    h = relative_scale(np.asarray(replay.leaf.value))[index]
    with np.errstate(all="ignore"):
        slopes = [
            abs(float(v[used] @ (_at(replay, index, step * h) - _at(replay, index, -step * h))[used])) / step
            for step in POWERS
        ]
    return all(0 < FASTER * near < far for far, near in itertools.pairwise(slopes))
