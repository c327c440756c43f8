"""The rounding of a function's values, measured where points are so close that nothing else tells them apart.

The idea is the noise level of Moré and Wild, SIAM Journal on Scientific Computing 33, 2011. A program may
cancel, and a user's own function may round to float32. Rounding does not care how far apart the points are;
structure does. So what scatters among the closest points is rounding. Where an output stands still among
these, or is smooth, what it shows farther apart is rounding only if that is no more than float32's, and the
same for points that are farther apart still.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

EPS = float(np.finfo(np.float64).eps)

# Points lie at these places within spreads relative to |x|: the first far below any structure and below
# float32's rounding, the last as far apart as most functions still are a cubic.
SPREADS = (3e-11, 7e-8, 1e-5, 4e-4)
FAR = (1e-5, 4e-4)  # within 1, where numbers are smaller than TINY: their function has a scale of its own
TINY = 0.1
PLACES = np.array([0.31, 0.403, 0.47, 0.587, 0.693, 0.741, 0.879, 1.0])
CUBIC = np.linalg.qr(np.vander(PLACES, 4))[0]

SINGLE = 2.0**-20  # of |f| and of its slope: float32's rounding, a few times over
HALF_UNIT = 2.0**-25  # of |f|: the rounding of a result that is a float32
LEFT = 4 * EPS  # what may be left of numbers of the size of 1, or of x
SMOOTH = 0.1  # of the range of the values: what scatters less is no more than noise on a slope
TOO_NOISY = 2.0**-7  # of |f|: what scatters more is no rounding of any dtype (sin at 1e12) …
CANCELLED = 2.0**-44  # … unless it is as little of |x|: sin(x)**2 + cos(x)**2 - 1
NARROW = 1e-3  # points closer than this show structure only of what is hopeless
AGAIN = 8.0  # times as much scatter, for points 40 times as far apart, is still the same
SAME = 0.995  # cosine: the same pattern again is no scatter, but a cube root's
PAIRS = 2  # of runs with noise inside of functions
LARGE = 1e4  # numbers that may well have structure of width 1, which scatters like float32


class _Look(NamedTuple):
    """What the values do at some points: (m,) each, and ``rest`` (points, m) is what a cubic leaves over.

    It is ``single`` where all values are float32's.
    """

    rest: np.ndarray
    scatter: np.ndarray
    slope: np.ndarray
    moved: np.ndarray
    single: np.ndarray


def rounding(
    at: Callable[[np.ndarray], np.ndarray], x: np.ndarray, center: np.ndarray, eps: float, *, seen: bool
) -> np.ndarray:
    """The standard deviation of the rounding of the values ``at`` x, shape (m,): EPS·|center|, or more.

    ``eps`` is the largest that numbers on the way have, as far as that is ``seen``. The rounding is infinite
    for an output that scatters wildly among the closest points: nothing can be said of it.
    """
    size, largest = np.abs(center), float(np.max(np.abs(x), initial=1.0))
    far = [_look(at, x, spread, 1.0) for spread in FAR] if np.min(np.abs(x), initial=1.0) < TINY else []
    looks = [*(_look(at, x, spread, 0.0) for spread in SPREADS), *far]
    closest, from_afar = looks[0], looks[len(SPREADS) - 1]
    most = SINGLE * (size + from_afar.slope) + LEFT * largest
    smooth = closest.scatter <= SMOOTH * closest.slope * SPREADS[0] * np.ptp(PLACES)
    small = (closest.scatter <= TOO_NOISY * size + CANCELLED * largest) | smooth
    wild = closest.moved & ~small & (largest * SPREADS[0] <= NARROW)
    found, shown = np.where(closest.moved & small, closest.scatter, 0.0), closest.moved
    rest = closest.rest
    for number, look in enumerate(looks[1:], 1):
        again = shown & _alike(look.rest, rest)
        taken = look.moved & (look.scatter <= most)
        if largest > LARGE and not (seen and eps > EPS):
            # x + sin(x) at 1e8 scatters like that, too: where float32 may be on the way, nobody knows
            wild = wild | (taken & again & (eps > EPS))
            again = np.zeros_like(again)
        taken &= ~shown | again
        found = np.where(taken, np.fmax(found, look.scatter), found)
        # far beyond x two looks have structure in common: x / (norm(x) + 0.3) at 1e-6, looked at from 1e-4
        rest = np.where(taken | (number < len(SPREADS)), look.rest, rest)
        found = np.where(look.moved & look.single, np.fmax(found, HALF_UNIT * size), found)
        shown = shown | look.moved
    least = EPS if eps <= SINGLE else eps / 2
    return np.where(wild, np.inf, np.fmax(found, least * size))


def rounding_inside(run: Callable[[], np.ndarray], center: np.ndarray) -> np.ndarray:
    """How far values (m,) move, ``center`` without it, where every number that torch computes for them moves
    by an ulp; 0 where it cannot be told.
    """
    import torch

    from vjpcalc.engines.inside import with_rounding
    from vjpcalc.engines.noise import noises

    try:
        moved = [with_rounding(run, noise, torch.float64) for noise in noises(PAIRS)]
    except Exception:  # a branch flips
        return np.zeros(center.shape)
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.max(np.abs(np.array(moved) - center), axis=0), posinf=0.0)


def _look(at: Callable[[np.ndarray], np.ndarray], x: np.ndarray, spread: float, least: float) -> _Look:
    """Values at points within ``spread`` of |x|, or of ``least`` where that is more.

    The points lie on one side of x, a little away: a kink or a jump at x would look like noise. They are
    uneven, as the steps of a staircase are not. Each element moves by another share of itself, for a function
    may not see that all do by the same; but none moves past another, which would change their order: the next
    in a sorted list, or the largest of a window.
    """
    size = np.abs(x)
    ranks = np.empty(x.size)
    ranks[np.argsort(size, axis=None, kind="stable")] = np.arange(x.size)
    shares = (32 + 31 * ranks.reshape(x.shape) / max(1, x.size - 1)) / 64
    smallest = np.min(size, where=size > 0, initial=1.0)
    sizes = np.where(x < 0, -1.0, 1.0) * np.fmax(np.where(x == 0, smallest, size), least)
    values = np.stack([at(x + place * spread * sizes * shares) for place in PLACES])
    with np.errstate(all="ignore"):
        slope = np.ptp(values, axis=0) / (spread * np.ptp(PLACES))
        rest = values - values[0]
        rest = rest - CUBIC @ (CUBIC.T @ rest)
        changes = np.count_nonzero(np.diff(values, axis=0), axis=0)
        moved = (2 * changes >= len(PLACES) - 1) & np.isfinite(rest).all(0)
        rest = np.where(moved, rest, 0.0)
        scatter = np.sqrt(np.sum(rest**2, axis=0) / (len(PLACES) - 4))
        single = (values.astype(np.float32) == values).all(0)
    return _Look(rest, scatter, np.where(moved, slope, 0.0), moved, single)


def _alike(rest: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Whether what is left over of values far apart scatters like that of values close together, (m,).

    It is as much, and not the same.
    """
    with np.errstate(all="ignore"):
        large, small = np.linalg.norm(rest, axis=0), np.linalg.norm(before, axis=0)
        same = np.abs(np.sum(rest * before, axis=0)) > SAME * large * small
    return (small > 0) & (large <= AGAIN * small) & ~same
