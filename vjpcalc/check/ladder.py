"""A derivative from difference quotients at several steps: which of them to believe, and how far.

The steps stand on a ladder, whose rungs are called levels: a higher level is a smaller step. The central
quotient at step h errs by c₂h² + c₄h⁴ + …, the one-sided one by c₁h + c₂h² + …, and a few neighbouring
levels together eliminate these terms one by one (Richardson; Neville's scheme). Which levels are to be
believed is not known beforehand: a large step is exact only where f has no structure narrower than it, a
small one drowns in the rounding of f. So nothing is believed that smaller steps contradict: from the
smallest upward, an estimate counts as long as it agrees with all before it within their errors, and of those
that count the one with the smallest error is taken (Lepski, Theory of Probability and its Applications 35,
1991).
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

FIRST = 0.0137  # the step of level 0, and how much smaller the next one is; near no power of two
RATIO = 0.3
BITS = 20  # binary digits of a step: x + h is exact, and a period of 2⁻¹⁶ or longer is no multiple's
DEPTH = 5  # levels that are combined at the most
BLOCK = 2**14  # outputs that are judged at once


@functools.cache
def step(level: int) -> float:
    """FIRST · RATIO^level, to few binary digits: an odd number times a power of two."""
    mantissa, exponent = math.frexp(FIRST * RATIO**level)
    bits = max(3, min(BITS, 50 + exponent))
    return math.ldexp(int(mantissa * 2.0**bits) | 1, exponent - bits)


def steps(levels: tuple[int, ...]) -> np.ndarray:
    """The steps of some levels as a column, shape (levels, 1)."""
    return np.array([[step(level)] for level in levels])


def level_of(size: float) -> int:
    """The level whose step is about FIRST · ``size``."""
    return round(math.log(size) / math.log(RATIO))


class Combinations(NamedTuple):
    """Every run of up to DEPTH levels next to each other on the ladder as it was climbed, k of them.

    ``weights`` (k, levels) are what the quotients enter with. A run's error is ``share`` of the difference
    between the two runs that it was made of, ``inner`` without its largest step and ``outer`` without its
    smallest. ``layout`` (levels, DEPTH) holds the runs by their largest steps, the smallest of these first;
    one may stand there twice. A ``sound`` run leaves no level out: only such a one is ever taken. The last
    run is that of all levels, if there are few.
    """

    weights: np.ndarray
    used: np.ndarray
    inner: np.ndarray
    outer: np.ndarray
    share: np.ndarray
    sound: np.ndarray
    layout: np.ndarray

    @property
    def parts(self) -> np.ndarray:
        """The weights of the two runs that the last is made of, shape (2, levels)."""
        return self.weights[[self.inner[-1], self.outer[-1]]]


@functools.lru_cache(256)
def combinations(levels: tuple[int, ...], power: int) -> Combinations:
    """The runs of levels. ``power`` is that of the error's series: 2 of central quotients, 1 of a side."""
    n, h = len(levels), steps(levels)[:, 0]
    runs = [(top, top + depth) for depth in range(min(DEPTH, n)) for top in range(n - depth)]
    index = {run: k for k, run in enumerate(runs)}
    weights, used = np.zeros((len(runs), n)), np.zeros((len(runs), n))
    inner, outer, share = np.zeros(len(runs), int), np.zeros(len(runs), int), np.ones(len(runs))
    for k, (top, end) in enumerate(runs):
        used[k, top : end + 1] = 1.0
        if top < end:
            inner[k], outer[k] = index[top + 1, end], index[top, end - 1]
            ratio = (h[top] / h[end]) ** power  # it may be infinite
            weights[k] = weights[inner[k]] + (weights[inner[k]] - weights[outer[k]]) / (ratio - 1)
            continue
        # one level alone: against the next one; the last against that before it, by how the series falls off
        weights[k, top] = 1.0
        inner[k], outer[k], share[k] = k, min(k + 1, n - 1), 1.5
        if top == n - 1 and top > 0:
            outer[k], share[k] = k - 1, 2 / ((h[top - 1] / h[top]) ** power - 1)
    sound = np.array([top < end and levels[end] - levels[top] == end - top for top, end in runs])
    layout = [[index[top, min(top + depth, n - 1)] for depth in range(min(DEPTH, n))] for top in range(n)]
    return Combinations(weights, used, inner, outer, share, sound, np.array(layout[::-1]))


class Estimate(NamedTuple):
    """A slope for each output: its error, and how much of that is ``rounding``; shape (m,) each.

    ``blocked`` is true where larger steps were contradicted, so that still larger ones are of no use.
    """

    value: np.ndarray
    error: np.ndarray
    rounding: np.ndarray
    blocked: np.ndarray


def estimate(levels: tuple[int, ...], power: int, quotients: np.ndarray, rounding: np.ndarray) -> Estimate:
    """The slope that quotients (levels, m) show; ``rounding`` (levels, m) is what each may be off by.

    An output without a value at a level has a quotient there that is not finite. Where no run of levels
    counts, the value is NaN and its error infinite.
    """
    width = quotients.shape[1]
    if width > BLOCK:
        blocks = [slice(start, start + BLOCK) for start in range(0, width, BLOCK)]
        parts = [estimate(levels, power, quotients[:, block], rounding[:, block]) for block in blocks]
        return Estimate(*map(np.concatenate, zip(*parts, strict=True)))
    runs = combinations(levels, power)
    missing = ~(np.isfinite(quotients) & np.isfinite(rounding))
    values = runs.weights @ np.where(missing, 0.0, quotients)
    values[(runs.used @ missing) > 0] = np.nan
    noise = np.abs(runs.weights) @ np.where(missing, 0.0, rounding)
    errors = runs.share[:, None] * np.abs(values[runs.outer] - values[runs.inner]) + noise
    errors[np.isnan(errors)] = np.inf
    # for each largest step, from the smallest on, the run with the smallest error: (levels, m)
    value, doubt, _ = _least(runs.layout, values, errors, noise)
    given = np.isfinite(doubt)
    low = np.where(given, value - doubt, -np.inf)
    high = np.where(given, value + doubt, np.inf)
    blocked = np.zeros(low.shape, bool)
    blocked[1:] = (low[1:] > np.minimum.accumulate(high)[:-1]) | (high[1:] < np.maximum.accumulate(low)[:-1])
    blocked = np.logical_or.accumulate(blocked)
    errors[~runs.sound] = np.inf
    value, doubt, hidden = _least(runs.layout, values, errors, noise)
    doubt[blocked] = np.inf
    best, columns = np.argmin(doubt, axis=0), np.arange(width)
    error = doubt[best, columns]
    known = np.isfinite(error)
    return Estimate(
        np.where(known, value[best, columns], np.nan),
        error,
        np.where(known, hidden[best, columns], 0.0),
        blocked[-1],
    )


def _least(layout: np.ndarray, *tables: np.ndarray) -> list[np.ndarray]:
    """Of each row of runs that with the least error, the second of ``tables``: its entries in all of them."""
    least = np.argmin(tables[1][layout], axis=1)
    runs = np.take_along_axis(layout, least, axis=1)
    return [np.take_along_axis(table, runs, axis=0) for table in tables]
