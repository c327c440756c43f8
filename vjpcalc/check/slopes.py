"""Whether a point has a slope, and which: the second way to differentiate, for one number at a time.

By differences, from both sides. One element alone may show no kink where several do: each of three equal
numbers may move, and the median stays. So where an operator says that it is at a kink, or where nothing is
known of it, the element is moved once more, together with the others and against them without it: what it
adds must be the same slope, whatever the others do. A kink elsewhere adds nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check.derivative import COMPLEX_STEP, random_directions, relative_scale
from vjpcalc.check.differences import differences
from vjpcalc.check.germ import Germ, NoGerm, germ
from vjpcalc.check.jacobian import Jacobian
from vjpcalc.check.nans import ordinary
from vjpcalc.check.replay import Replay
from vjpcalc.check.witness import Witness

DIRECTIONS = 8  # random directions in which the others move: at a tie of three, a few of them show nothing
COSTLY = 4  # … by differences
RANKED = 16  # equal numbers of a leaf at the most that are put into so many orders, and back
BESIDE = 1 / 8  # of how far apart others move them: how far the number itself is moved, so as to cross none
TOGETHER = 10.0  # times the largest slope that was seen while others move
APART = (
    1e-5  # relative, between slopes of which one is taken in steps from one side: a leaky_relu of the user's
)


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
    ranked: bool = False

    def range(self) -> tuple[float, float]:
        """The least and the largest slope that there may be: of the sides, or as far as others' moves go.

        Of the slopes that depend on how the others move only a few were seen, unless the equals are
        ``ranked``: up to TOGETHER times as far is allowed (the median of n equals, of which torch gives each
        1/n).
        """
        seen = [slope for slope in self.seen if not math.isnan(slope)] or [math.nan]
        if self.together and not self.ranked:
            farthest = TOGETHER * max(map(abs, seen))
            return -farthest, farthest
        return min(seen), max(seen)


def kinked(jacobian: Jacobian, v: np.ndarray) -> np.ndarray:
    """Which compared numbers have a kink in a part that the seed counts, shape (n,)."""
    if jacobian.kinks is None:
        return np.zeros(jacobian.layout.width, bool)
    return jacobian.transposed((v != 0).astype(float), jacobian.kinks.astype(float)) > 0


def _touched(replay: Replay, index: tuple[int, ...] | None) -> np.ndarray:
    """Which outputs may depend on a number of the leaf, (m,): all that are not the same once it is NaN.

    Those that are NaN already are looked at elsewhere.
    """
    touched = np.ones(replay.primal.shape, bool)
    if index is None:
        return touched
    x = np.array(replay.leaf.value, dtype=np.float64)
    for near in (x, ordinary(x)):
        without = np.array(near)
        without[index] = np.nan
        try:
            value, moved = replay(near), replay(without)
        except Exception:  # a branch flips, or a kernel does not take a NaN
            return touched
        touched = np.where(np.isnan(value), touched, value != moved)
        if not np.isnan(replay.primal).any():
            break
    return touched


def slopes(witness: Witness, v: np.ndarray, k: int) -> Slopes:
    """The k-th number of a witness by differences: for a complex step the second way, else other steps.

    The slopes from both sides are exact where there is a complex step (germ.py).
    """
    assert witness.replay is not None
    with witness.replay.session():
        return _slopes(witness, witness.replay, v, k)


def _slopes(witness: Witness, replay: Replay, v: np.ndarray, k: int) -> Slopes:
    index = witness.index(k)
    beside = index is None or np.isfinite(replay.leaf.value[index])
    finite = np.isfinite(replay.primal)  # what is infinite cannot be seen to move
    if not beside or (not finite[v != 0].all() and (_touched(replay, index) & ~finite & (v != 0)).any()):
        return Slopes(math.nan, math.inf, math.nan, math.nan, (), bent=False)
    v = np.where(finite, v, 0.0)
    scale = relative_scale(np.asarray(replay.leaf.value))
    shift = 1.0 if witness.jacobian.method == COMPLEX_STEP else math.sqrt(1 / 3)
    direction, factor = witness.direction(scale, k)
    alone = differences(replay, direction * shift)[0].scaled(1 / (factor * shift))
    with np.errstate(all="ignore"):
        value, doubt = _total(v, alone.value), _total(np.abs(v), alone.error)
    differenced = not replay.analytic or bool(replay.linear)
    kinks = bool(replay.kinks) or (differenced and _has_ties(replay.leaf.value))
    sides = _sides(replay, direction) if replay.kinks else None
    if sides is None:
        left, right = _total(v, alone.left), _total(v, alone.right)
        bent = bool(alone.kink[v != 0].any())
    else:
        left, right = (_total(v, side) / factor for side in (sides.left, sides.right))
        # infinite on both sides is no slope either
        bent = not (math.isfinite(left) and abs(left - right) <= APART * abs(left))
        if not bent and not abs(value - left) <= doubt + APART * abs(left):
            # differences go astray at the edge of a domain, and where a curvature is infinite: x**1.5 at 0
            value, doubt = left, APART * abs(left)
    seen = [left, right] if bent else [value]
    if bent and alone.flipped is None:  # a side that jumps away has no slope, and all of them
        seen = [math.inf if math.isnan(slope) else slope for slope in seen]
    low, high = min(seen), max(seen)
    together = ranked = False
    if index is not None and kinks:
        x = np.asarray(replay.leaf.value)
        orders = _orders(x, index)
        ranked = 0 < len(orders) < RANKED
        number = COSTLY if sides is None else DIRECTIONS
        random = [np.where(direction == 0, others, 0.0) for others in random_directions(x, number)]
        for others, near in [*((one, 1 / 64) for one in random), *((one, 1 / len(orders)) for one in orders)]:
            near *= BESIDE
            for added, error in _added(replay, others, direction * near, v, exact=sides is not None):
                with np.errstate(all="ignore"):
                    slope, error = added / (factor * near), abs(error / (factor * near))
                    size = max(abs(slope), 0.0 if bent else abs(value))
                    allowed = APART * size + 16 * (error + (0.0 if bent else doubt))
                if slope < low - allowed or slope > high + allowed:  # not for NaN: a side leaves the domain
                    together = True
                    seen.append(slope)
    if bent or together:  # the central slope is of no use there
        doubt = APART * max((abs(slope) for slope in seen if math.isfinite(slope)), default=0.0)
    return Slopes(value, doubt, left, right, tuple(seen), bent or together, together, ranked)


def _has_ties(x: np.ndarray) -> bool:
    """True if elements of a leaf are equal: what a user's function sorts or ranks may then be at a tie."""
    return np.unique(x).size < x.size


def _orders(x: np.ndarray, index: tuple[int, ...]) -> list[np.ndarray]:
    """Directions that move the numbers equal to one of them apart: the orders in which each takes each rank.

    They are the turns of the order in which they stand, which goes up, or backwards down: so the first of
    equals comes first, or the last, as conventions have it.
    """
    equal = np.flatnonzero(x.ravel() == x[index])[: RANKED + 1]
    if len(equal) < 2:
        return []
    size = abs(relative_scale(x)[index])
    orders = []
    for turn in range(min(len(equal), RANKED)):
        ranks = np.roll(np.arange(len(equal)), turn)
        order = np.zeros(x.size)
        order[equal] = size * (1 + ranks) / len(equal)
        orders.append(order.reshape(x.shape))
    return orders


def _total(v: np.ndarray, part: np.ndarray) -> float:
    """v · part; what the seed leaves out counts for nothing, even if it is not finite."""
    used = v != 0
    with np.errstate(all="ignore"):
        return float(v[used] @ part[used])


def _sides(replay: Replay, direction: np.ndarray) -> Germ | None:
    """The exact slopes from both sides; None where an operator has no kernel for that."""
    try:
        return germ(replay, direction)
    except NoGerm:
        return None


def _added(
    replay: Replay, others: np.ndarray, direction: np.ndarray, v: np.ndarray, *, exact: bool
) -> list[tuple[float, float]]:
    """What moving along ``direction`` too adds to the slope of each side, and its error."""
    if exact and (without := _sides(replay, others)) and (with_it := _sides(replay, others + direction)):
        pairs = ((without.left, with_it.left), (without.right, with_it.right))
        return [(_total(v, b - a), 0.0) for a, b in pairs]
    before, after = differences(replay, others, others + direction)
    added = []
    for side in ("left", "right"):
        with np.errstate(all="ignore"):
            more = getattr(after, side) - getattr(before, side)
            error = np.where(more != 0, after.error + before.error, 0.0)  # it counts where something is added
        added.append((_total(v, more), _total(np.abs(v), error)))
    return added
