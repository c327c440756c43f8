"""Slopes that no difference shows, and all of them together do: a limit of 0, or another.

The quotients of x³ at 0 are h², those of x·|x| are h: none of them is 0, and no step is the smallest. But
they are powers of h, as far as they are seen, and so their limit is 0. Where a number is 0 at x, and its
function is 0 there, that is very far: nothing is rounded away beside 0. Elsewhere the rounding of the values
ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.limit import SAME, limit

# Steps where nothing hides what they change. Between the first and the largest step that is compared with
# them, a function that is a power of h stays one; one that cancels, as (1 + h) - 1, does not.
NEAR = (2.0**-60, 2.0**-80, 2.0**-100)
SLOWEST = 0.01  # the least power of h that counts: |x|^1.1 has 0.1
ALIKE = (
    0.1  # relative, between the powers of two pairs of steps: x·log|x|, by its logarithm, has 0.96 and 0.98
)
PLAIN, PLAINLY = 0.5, 0.05  # … and the same of large steps alone: 1 + x³ at 0
SHOWN = 0.1  # of the largest of them: an error beside which it is seen that they fall
HIDDEN = 1e-3  # of the quotient at the usual step: what other terms may add to it unseen


class Tiny(NamedTuple):
    """What tiny steps show of some outputs, (m,).

    ``slope`` is NaN where there is none, or none is seen. It is ``zero`` where the quotients are one power of
    all steps, the larger one too; and may then be off by ``error``.
    """

    slope: np.ndarray
    zero: np.ndarray
    error: np.ndarray


def by_tiny_steps(
    at: Callable[[float], np.ndarray], first: float, above: np.ndarray, below: np.ndarray
) -> Tiny:
    """The slopes of outputs (m,) that are all 0 at x.

    ``at(t)`` gives them at x + t·direction, ``above`` and ``below`` are those at ± ``first``, a usual step. A
    side where a function has no value says nothing; on one of them it must be seen to move.
    """
    steps = np.array([first, *NEAR])
    sides, zero, moved = [], np.ones(above.shape, bool), np.zeros(above.shape, bool)
    error = np.zeros(above.shape)
    for side, known in ((1.0, above), (-1.0, below)):
        quotients = side * np.array([known, *(at(side * near) for near in NEAR)]) / steps[:, None]
        sizes, none = np.abs(quotients), np.isnan(quotients).all(0)
        falls = _falls(steps, sizes, SLOWEST, ALIKE)
        zero &= falls | (quotients == 0).all(0) | none
        moved |= (quotients[1:] != 0).all(0) & ~none
        error = np.fmax(error, HIDDEN * sizes[0])
        sides.append(limit(quotients[1:]))
    right, left = (np.where(np.isnan(own), other, own) for own, other in (sides, sides[::-1]))
    same = moved & (np.abs(right - left) <= SAME * np.abs(right))
    return Tiny(np.where(same, right, np.nan), zero & moved, error)


def by_large_steps(
    steps: np.ndarray, quotients: np.ndarray, value: np.ndarray, error: np.ndarray
) -> np.ndarray:
    """Which outputs (m,) have quotients (steps, m), the largest step first, that show a slope of 0.

    It is what the smaller steps leave open: ``value``, which may be off by ``error``.
    """
    sizes = np.abs(quotients)
    small = (np.abs(value) <= error) & (error <= SHOWN * sizes[0])
    return small & _falls(steps, sizes, PLAIN, PLAINLY)


def _falls(steps: np.ndarray, quotients: np.ndarray, least: float, alike: float) -> np.ndarray:
    """Whether quotients fall like one and the same power of the step, ``least`` or more."""
    powers = np.log(quotients[:-1] / quotients[1:]) / np.log(steps[:-1] / steps[1:])[:, None]
    low, high = powers.min(0), powers.max(0)
    return (low >= least) & (high - low <= alike * high)
