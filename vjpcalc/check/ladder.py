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
    smallest. ``tops`` holds for each level the runs that have it as their largest step. A ``sound`` run
    leaves no level out: only such a one is ever taken. The last run is that of all levels, if there are few.
    """

    weights: np.ndarray
    used: np.ndarray
    inner: np.ndarray
    outer: np.ndarray
    share: np.ndarray
    sound: np.ndarray
    tops: list[np.ndarray]

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
    tops = [np.array([index[run] for run in runs if run[0] == top]) for top in range(n)]
    return Combinations(weights, used, inner, outer, share, sound, tops)


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
    columns = np.arange(width)

    def least(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        k = rows[np.argmin(errors[rows], axis=0)]
        return values[k, columns], errors[k, columns], noise[k, columns]

    low, high = np.full(width, -np.inf), np.full(width, np.inf)
    best, error, known = np.full(width, np.nan), np.full(width, np.inf), np.zeros(width)
    blocked = np.zeros(width, bool)
    for rows in reversed(runs.tops):
        value, doubt, _ = least(rows)
        blocked |= np.isfinite(doubt) & ~((value - doubt <= high) & (value + doubt >= low))
        counts = np.isfinite(doubt) & ~blocked
        low = np.where(counts, np.fmax(low, value - doubt), low)
        high = np.where(counts, np.fmin(high, value + doubt), high)
        if (rows := rows[runs.sound[rows]]).size:
            value, doubt, hidden = least(rows)
            better = ~blocked & (doubt < error)
            best, error = np.where(better, value, best), np.where(better, doubt, error)
            known = np.where(better, hidden, known)
    return Estimate(best, error, known, blocked)
