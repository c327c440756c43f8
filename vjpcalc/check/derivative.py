"""What a derivative along a direction is, with its error; and how far each number is moved for one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.replay import STEP
from vjpcalc.language.trace import Decision

# A complex step is STEP times the scale of x. For the smallest x it cannot be that small: it is as large as
# it may be beside x, its square being a rounding error (log(x) at 1e-300), or what just does not underflow.
NORMAL, SUBNORMAL = 2.0**-1022, 2.0**-1074
FLOOR = NORMAL / STEP  # 4.5e-218
BESIDE = 2.0**-26 / STEP
LOWEST = 2.0**4 * SUBNORMAL / STEP

# Nor may it be as large as what a function is curved by: sin(x) at 1e200 is analytic within 1 or so of x.
CEILING = 2.0**-30 / STEP  # 1.9e81

# The methods of a Derivative: the second, too, where a complex step goes through a function of the user's.
COMPLEX_STEP, DIFFERENCES = "complex step", "central differences"


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
    the Decision that kept the differences from one side, however small the step.
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
    """What a step is relative to, shaped like x: |x| as a power of two; at 0, that of its neighbours.

    Below FLOOR it is more than |x|, so that the complex step does not underflow.
    """
    with np.errstate(all="ignore"):
        power = np.exp2(np.floor(np.log2(np.abs(x))))
    sized = np.isfinite(power) & (power > 0)
    small = np.minimum(power, FLOOR)
    power = np.where(sized & (power < FLOOR), np.clip(small * BESIDE, LOWEST, FLOOR), power)
    return np.where(sized, power, np.sort(power[sized])[(sized.sum() - 1) // 2] if sized.any() else 1.0)


def random_directions(x: np.ndarray, number: int) -> np.ndarray:
    """Directions in which all elements move at once, each to its own scale: shape (number, *x.shape).

    They have few binary digits, so that a step along them is exact.
    """
    generator = np.random.default_rng(0)
    shape = (number, *x.shape)
    signs, sizes = generator.choice([-1.0, 1.0], shape), generator.integers(32, 64, shape) / 64
    return relative_scale(x) * signs * sizes
