"""Whether a point has a slope, and which: the second way to differentiate, for one number at a time.

By differences, from both sides. One element alone may show no kink where several do: each of three equal
numbers may move, and the median stays. So where an operator says that it is at a kink, or where nothing is
known of it, the element is moved once more, together with the others and against them without it: what it adds
must be the same slope, whatever the others do. A kink elsewhere adds nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check.derivative import COMPLEX_STEP, Sided, differences, random_directions, relative_scale
from vjpcalc.check.jacobian import Jacobian
from vjpcalc.check.witness import Witness

DIRECTIONS = 2  # random directions in which the others move
TOGETHER = 10.0  # times the largest slope that was seen while others move
APART = 1e-5  # relative, between slopes of which one is taken in steps from one side


@dataclass(frozen=True)
class Slopes:
    """The derivative of v · outputs along one number: ``value`` ± ``doubt``, by central differences.

    ``seen`` are the slopes from either side, and those that the number adds while others move; ``bent`` says
    that they are not all the same. ``together`` says that only the others' moves show it.
    """

    value: float
    doubt: float
    left: float
    right: float
    seen: tuple[float, ...]
    bent: bool
    together: bool = False

    def range(self) -> tuple[float, float]:
        """The least and the largest slope that there may be: from the sides, or as far as the others' moves go.

        Of the slopes that depend on how the others move only a few were seen: up to TOGETHER times as far is
        allowed (the median of n equals, of which torch gives each 1/n).
        """
        seen = [slope for slope in self.seen if not math.isnan(slope)] or [math.nan]
        if self.together:
            farthest = TOGETHER * max(map(abs, seen))
            return -farthest, farthest
        return min(seen), max(seen)


def kinked(jacobian: Jacobian, v: np.ndarray) -> np.ndarray:
    """Which compared numbers have a kink in a part that the seed counts, shape (n,)."""
    if jacobian.kinks is None:
        width = jacobian.shape[1] if jacobian.columns is not None else jacobian.entries.shape[1]
        return np.zeros(width, bool)
    return jacobian.transposed((v != 0).astype(float), jacobian.kinks.astype(float)) > 0


def slopes(witness: Witness, v: np.ndarray, k: int) -> Slopes:
    """The k-th number of a witness by differences: for a complex step the second way, else other steps."""
    replay = witness.replay
    assert replay is not None
    scale = relative_scale(np.asarray(replay.leaf.value))
    shift = 1.0 if witness.jacobian.method == COMPLEX_STEP else math.sqrt(1 / 3)
    direction, factor = witness.direction(scale, k)
    alone = differences(replay, direction * shift).scaled(1 / (factor * shift))
    used = v != 0
    weights = v[used]

    def total(part: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            return float(weights @ part[used])

    with np.errstate(all="ignore"):
        value, doubt = total(alone.value), float(np.abs(weights) @ alone.error[used])
    left, right = total(alone.left), total(alone.right)
    bent = bool(alone.kink[used].any())
    seen = [left, right] if bent else [value]
    together = False
    if not bent and witness.directions is None and (replay.kinks or not replay.analytic):
        for direction_of_all in random_directions(np.asarray(replay.leaf.value), DIRECTIONS):
            others = direction_of_all.copy()
            others.flat[k] = 0.0
            without = differences(replay, others)
            with_it = differences(replay, others + direction)
            for side in ("left", "right"):
                added, error = _added(with_it, without, side, v)
                with np.errstate(all="ignore"):
                    added, error = added / factor, abs(error / factor)
                    allowed = APART * max(abs(value), abs(added)) + 16 * (error + doubt)
                if abs(added - value) > allowed:  # not for NaN: a side that leaves the domain
                    together = True
                    seen.append(added)
    return Slopes(value, doubt, left, right, tuple(seen), bent or together, together)


def _added(with_it: Sided, without: Sided, side: str, v: np.ndarray) -> tuple[float, float]:
    """What moving the number too adds to the slope from one side, and its error; counted where it adds."""
    with np.errstate(all="ignore"):
        added = getattr(with_it, side) - getattr(without, side)
        used = (v != 0) & (added != 0)
        error = np.abs(v[used]) @ (with_it.error + without.error)[used]
        return float(v[used] @ added[used]), float(error)
