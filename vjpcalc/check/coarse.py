"""The slope of a function that rounds to float16 or bfloat16: by least squares, over many points.

Two values of it tell next to nothing: where they are a tenth apart in x, the rounding of each makes some per
cent of the slope. But the roundings of many points have little in common, and a polynomial through all of
them averages them out, by the root of their number. What is left over shows how large they are, and the next
power of the polynomial how far it is from the function. The odd part of the values about x gives the slope,
the even part a kink: it has |t| in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

PAIRS = 64  # of points, one on each side of x
WINDOWS = (1.0, 0.4, 0.12)  # relative to |x|: the farthest point; beyond the first a logarithm ends
NEAR_ZERO = (1.0, 0.25)  # … and in x itself, where x is smaller: exp(x) at 1e-3
ODD, EVEN = (1, 3, 5, 7), (1, 2, 4, 6)  # powers of |t|; the last shows how far those before are off
SURE = 2.0  # standard errors of a slope: its error, which the judge takes 10 times before it calls it wrong
AGREES = 1.5  # times that: as far from a smaller window's slope a larger one's may be
ALIKE = 1.0  # units of eps: what roundings have in common (tanh at -0.8 in bfloat16 is 1 % off)
STEPS = 8.0  # treads at the least, for their roundings to have little in common: exp(x) beside 1e-3
BENT = 6.0  # standard errors that the two sides must be apart
UNIFORM = 12**-0.5  # of a unit in the last place: the standard deviation of one rounding


class Fit(NamedTuple):
    """A slope for each output, (m,): ``bend`` is half of how far its sides are apart, 0 but at a kink."""

    value: np.ndarray
    error: np.ndarray
    bend: np.ndarray
    reach: np.ndarray


def fitted(
    at: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    direction: np.ndarray,
    center: np.ndarray,
    eps: float,
) -> Fit:
    """The derivative of ``at`` along a direction, of values that round to ``eps`` of themselves.

    Of each window's polynomials that with the smallest error counts, for each output, and of the windows too,
    but for those that a smaller one contradicts: they have structure in them.
    """
    length = float(np.max(np.abs(direction), initial=0.0))
    windows = sorted([*WINDOWS, *(far / length for far in NEAR_ZERO if 0 < length < far)])
    best = Fit(np.zeros(center.shape), np.full(center.shape, np.inf), *np.zeros((2, *center.shape)))
    low, high = np.full(center.shape, -np.inf), np.full(center.shape, np.inf)
    with np.errstate(all="ignore"):
        for window in windows:
            t = window * _places()
            above, below = (np.array([at(x + side * place * direction) for place in t]) for side in (1, -1))
            size = np.fmax(np.abs(above).max(0), np.abs(below).max(0))
            unit = UNIFORM * eps * size / 2**0.5
            reach = np.fmax(np.abs(above[-1] - center), np.abs(below[-1] - center)) / window
            value, error = _first(ODD, t / window, (above - below) / 2, unit)
            bend, doubt = _first(EVEN, t / window, (above + below) / 2 - center, unit * 3**0.5)
            bent = np.abs(bend) > BENT * doubt + eps * np.abs(value)
            error = SURE * error + ALIKE * eps * np.abs(value)
            treads = np.ptp(np.concatenate([above, below]), axis=0) < STEPS * eps * size
            error = np.where(treads, np.fmax(error, eps * size), error)
            new = Fit(value / window, error / window, np.where(bent, bend / window, 0.0), reach)
            low, high = (
                np.fmax(low, new.value - AGREES * new.error),
                np.fmin(high, new.value + AGREES * new.error),
            )
            better = (new.error < best.error) & (low <= high)
            best = Fit(*(np.where(better, one, other) for one, other in zip(new, best, strict=True)))
    return best


@functools.cache
def _places() -> np.ndarray:
    """Where the points lie between 0 and 1, uneven: roundings must not repeat in step with them."""
    return np.sqrt((np.arange(PAIRS) + 0.5 + 0.37 * np.sin(7.0 * np.arange(PAIRS))) / PAIRS)


def _first(
    powers: tuple[int, ...], t: np.ndarray, values: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The coefficient of the first power in ``values`` (points, m), and how far off it may be, (m,).

    ``unit`` is the least that the values scatter, (m,).
    """
    value, error = np.zeros(values.shape[1]), np.full(values.shape[1], np.inf)
    before: tuple[np.ndarray, np.ndarray] | None = None
    for number in range(1, len(powers) + 1):
        matrix = t[:, None] ** np.array(powers[:number])
        inverse = np.linalg.pinv(matrix)
        parts = inverse @ np.where(np.isfinite(values), values, 0.0)
        rest = np.where(np.isfinite(values), values, 0.0) - matrix @ parts
        scatter = np.fmax(unit, np.sqrt(np.sum(rest**2, axis=0) / (len(t) - number)))
        if before is not None:  # one power more shows how far off it was
            doubt = before[1] + np.abs(parts[0] - before[0])
            value, error = np.where(doubt < error, (before[0], doubt), (value, error))
        before = parts[0], scatter * np.linalg.norm(inverse[0])
    return value, np.where(np.isfinite(values).all(0), error, np.inf)
