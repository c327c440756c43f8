"""Derivatives by differences at several steps; ladder.py says which of them are believed.

In the usual case two large steps and a small one, for a second look, are all it takes: 6 evaluations. More
steps are taken where these disagree, or leave too much open. At a kink the derivative from each side is
taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.coarse import fitted
from vjpcalc.check.derivative import DIFFERENCES, FLOOR, Sided
from vjpcalc.check.ladder import BLOCK, Estimate, combinations, estimate, level_of, step, steps
from vjpcalc.check.nans import ordinary
from vjpcalc.check.replay import BranchFlip, Replay
from vjpcalc.check.rounding import EPS
from vjpcalc.check.vanishing import by_large_steps, by_tiny_steps
from vjpcalc.language.trace import Decision
from vjpcalc.stages import stage

# Levels of the ladder. Steps are relative to the direction, that is to |x|.
USUAL = (0, 1, 2)
SECOND = 7  # 3e-6: finer than any structure of interest, coarser than float32's rounding
AT_ONCE = 2  # levels that are taken before it is asked whether they are enough
FINER = 5  # levels beyond the second look, to 7e-9: only where a kink is suspected
GAP = 6  # levels at the most between two looks, where x is large: sin(x) at 1e6
LARGE = (-3, -2, -1)  # larger ones, to 0.5, where rounding hides the slope: 1e12 + x; and in place of USUAL …
LARGER = tuple((k - 2, k - 1, k) for k in range(-4, -16, -3))  # to 1e6: sum(x**2) with 1 beside 1e8
COARSE = 2.0**-20  # … where numbers are rounded as much as this on the way: to float16 or bfloat16
NEAREST = 1e-6  # of a second look in x itself, where x is large
RESOLVED = 2.0**-47  # relative: x + h and x differ by some units in the last place (sin at 1e12)
TINY = 2.0**-30  # a step that a direction of many digits makes inexact
SMALL = 0.1  # |x| below which steps of the size of 1 are tried too: exp(x) at 1e-17

ENOUGH = 1e-9  # relative error at which no more is asked for
FAR = (1.0, 1e3, 1e6)  # times |x| and a bit: where an output that stands still is looked at as well
HARDLY = 1e-6  # relative error beyond which the largest steps are taken …
SEEN = 0.01  # … and that at which they have seen a slope
NOTHING = 1e-11  # relative to the largest slope: an error that is not worth an evaluation
TRUST = 3e-10  # the least relative error that differences are believed to have, whatever they show
CONFIRMED = 0.1  # of what the largest step changed: the error of three steps that a second look confirms
ROUNDING = 2.0  # units of EPS·|f| by which a value of f is taken to be off
SURPRISE = 8.0  # times that: beyond, the second look disagrees
BLOCKED = 2.0  # times the error of a slope that smaller steps agree with as far as they can tell
NOISE = 4.0  # times the measured rounding of f, which is a standard deviation: its bound
HIDDEN = 0.5  # of the error: where rounding is as much of it, smaller steps are no better
CURVED = 1e-3  # of what curvature says of the second look: its own error
KINK = 1e-5  # of the slope: how far the two sides must be apart
GROWS = 0.75  # of the change before: a side's slope that changes by more has no limit (log: 1, x**1.5: 0.55)
JUMPS = 0.8  # of what a step changed: a tenth of it changes |x|^0.1 by 0.78 of that
CANCELLED = 2.0**-24  # of |f|: the most that cancellation is taken to leave as rounding: (x + 1e8) - 1e8
LOST = 16.0  # units of EPS·|f| that f is off by: it has cancelled inside
STAIRS = 0.25  # relative: how well large steps agree on a slope that the smallest know nothing of


@stage("differences")
def differences(replay: Replay, *directions: np.ndarray) -> list[Sided]:
    """J·direction for each direction, by differences, with its error; and the slopes of both sides.

    Each output is judged by itself: it may have its own scale, its own rounding, its own kink. One that never
    moves has the slope 0; the error says how small a slope would not have been seen.
    """
    at_once = max(1, BLOCK // max(1, replay.primal.size))
    slopes: list[Sided] = []
    with np.errstate(all="ignore"):
        for start in range(0, len(directions), at_once):
            looks = [_Look(replay, direction) for direction in directions[start : start + at_once]]
            if looks[0].coarse and not replay.stepped:
                own = [_by_fit(look) for look in looks]
            else:
                own = [_slope_of(look, usual) for look, usual in zip(looks, _usual_of(looks), strict=True)]
            for look, slope in zip(looks, own, strict=True):
                slopes.append(slope if look.shortened == 1 else slope.scaled(1 / look.shortened))
    return slopes


def _by_fit(look: _Look) -> Sided:
    """The slopes of values that are rounded so coarsely that it takes many points to see one."""
    values: list[np.ndarray] = []

    def at(x: np.ndarray) -> np.ndarray:
        values.append(look.replay.elsewhere(x))
        return values[-1]

    fit = fitted(at, look.x, look.direction, look.center, look.replay.eps)
    value, error = np.array(fit.value), np.array(fit.error)
    still = (np.array(values) == look.center).all(0)
    value[still] = 0.0
    value[~np.isfinite(look.center) & ~(still & look.stays())] = np.nan
    error[still] = look.unseen(look.tied(still) & still & np.isfinite(look.center), far=True)[still]
    bend = np.where(still, 0.0, fit.bend)
    room = bend + np.sign(bend) * error  # what lies between the sides is as good as either
    return Sided(value, error, DIFFERENCES, bend != 0, value - room, value + room, fit.reach)


def _usual_of(looks: Sequence[_Look]) -> list[_Usual]:
    """What a second look and two large steps show of each; three, where these leave something open."""
    for look in looks:
        look.take((look.usual[0], look.usual[-1], *look.seconds))
    found = _side_by_side(looks, lambda look: (look.usual[0], look.usual[-1]))
    open_ = [k for k, look in enumerate(looks) if not (found[k].settled | look.still()).all()]
    for k in open_:
        looks[k].take(looks[k].usual)
    for k, usual in zip(
        open_, _side_by_side([looks[k] for k in open_], lambda look: look.usual), strict=True
    ):
        found[k] = usual
    return found


def _side_by_side(looks: Sequence[_Look], levels: Callable[[_Look], tuple[int, ...]]) -> list[_Usual]:
    """What these levels show of each look, worked out for all that have the same second looks at once."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, look in enumerate(looks):
        groups.setdefault(tuple(look.seconds), []).append(k)
    found: dict[int, _Usual] = {}
    for members in groups.values():
        own = [looks[k] for k in members]
        joined = _usual(_Values.joined(own), levels(own[0]))
        parts = zip(*(part.reshape(len(own), -1) for part in joined), strict=True)
        found |= {k: _Usual(*part) for k, part in zip(members, parts, strict=True)}
    return [found[k] for k in range(len(looks))]


def _slope_of(look: _Look, usual: _Usual) -> Sided:
    """The slopes of all outputs, with more steps for those that the usual ones do not settle."""
    still, finite = look.still(), np.isfinite(look.center)
    at_first = still.copy()
    value, error = usual.value, usual.error
    if (usual.settled & finite & ~still & (error <= ENOUGH * np.abs(value))).all():
        error, no_kink = np.fmax(error, TRUST * np.abs(value)), np.zeros(value.shape, bool)
        return Sided(value, error, DIFFERENCES, no_kink, value, value, usual.reach, look.flipped())
    asked = look.is_worth_asking(still, np.max(np.abs(value), initial=0.0))
    tied = look.tied(still) if still.any() else still
    closer = tied & (look.treads() if asked and tied.any() else False)
    hard = np.flatnonzero(finite & ~usual.settled & (~still | closer))
    left, right, kink = value.copy(), value.copy(), np.zeros(value.shape, bool)
    if hard.size:
        slopes = _search(look, hard, usual)
        value[hard], error[hard], kink[hard] = slopes.value, slopes.error, slopes.kink
        left[hard] = np.where(slopes.kink, slopes.left, slopes.value)
        right[hard] = np.where(slopes.kink, slopes.right, slopes.value)
        still &= look.still()
    unseen = still | at_first  # whether they move at larger steps, which others asked for, or do not
    unseen[hard] = still[hard]
    unseen &= finite
    value[still], left[still], right[still], kink[still] = 0.0, 0.0, 0.0, False
    value[~finite & ~(still & look.stays())] = np.nan
    error[unseen] = look.unseen(tied & unseen, far=asked)[unseen]
    left, right = (
        np.where(kink & np.isinf(side) & look.jumps(values), np.nan, side)
        for side, values in ((left, look.below), (right, look.above))
    )
    slope, zero, seen = look.from_afar(value, error, kink)
    known = ~np.isnan(slope)
    value, kink = np.where(known, slope, value), kink & ~zero
    left, right = (np.where(known, slope, side) for side in (left, right))
    error = np.where(zero, seen, error)
    error = np.fmax(error, TRUST * np.abs(value))
    return Sided(value, error, DIFFERENCES, kink, left, right, usual.reach, look.flipped())


class _Look:
    """The values of a replay at x ± h·direction, for each level that was looked at.

    The direction is ``shortened`` so that it goes no farther than x is from 0, by a power of two.
    """

    def __init__(self, replay: Replay, direction: np.ndarray) -> None:
        self.replay = replay
        self.x = np.asarray(replay.leaf.value, dtype=np.float64)
        self.shortened = _shortened(self.x, direction)
        self.direction = direction = direction * self.shortened
        self.center = replay.primal
        self.above: dict[int, np.ndarray] = {}
        self.below: dict[int, np.ndarray] = {}
        self.inexact: dict[int, float] = {}  # by how much of a step x + h is off
        self._flips: dict[int, Decision | None] = {}
        self.size = float(np.max(np.abs(direction), initial=0.0))  # how far the direction goes in x
        self.largest = float(np.max(np.abs(self.x), where=direction != 0, initial=0.0))
        # what values are rounded to: certainly as float64 is, or like float32 for all that is known, or worse
        self.certain, self.coarse = replay.eps <= EPS, replay.eps > COARSE
        self.grain = ROUNDING * EPS if self.certain else replay.eps / 2
        self.usual = LARGE if self.coarse else USUAL
        self.seconds = LARGE[-1:] if self.coarse else _seconds(self.size)

    def take(self, levels: Iterable[int]) -> None:
        """Look at these levels as well."""
        for level in levels:
            if level not in self.above:
                self.inexact[level] = EPS if step(level) > 1 else 0.0  # a large one takes digits of x away
                self.above[level] = self._at(level, step(level))
                self.below[level] = self._at(level, -step(level))

    def _at(self, level: int, t: float) -> np.ndarray:
        moved, step = self.x + t * self.direction, t * self.direction
        if abs(t) < TINY:
            off = np.max(np.abs((moved - self.x - step) / step), where=step != 0, initial=0.0)
            self.inexact[level] = max(self.inexact[level], float(off))
        try:
            return self.replay(moved)
        except BranchFlip as flip:
            self._flips[level] = flip.decision
            return np.full_like(self.center, np.nan)

    @property
    def levels(self) -> tuple[int, ...]:
        """From the largest step to the smallest."""
        return tuple(sorted(self.above))

    def sides(self, levels: Iterable[int], where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values above and below of some outputs, shape (levels, outputs) each."""
        kept = list(levels)
        above, below = (np.array([side[level][where] for level in kept]) for side in (self.above, self.below))
        return above, below

    def flipped(self) -> Decision | None:
        """The condition that came out otherwise at the smallest step."""
        return self._flips.get(self.levels[-1])

    def still(self) -> np.ndarray:
        """Which outputs never moved, (m,)."""
        same = np.ones(self.center.shape, bool)
        for values in (*self.above.values(), *self.below.values()):
            same &= values == self.center
        return same

    def is_worth_asking(self, still: np.ndarray, slope: float) -> bool:
        """False where it does not pay to look farther at outputs that never moved: whatever slope they may
        have beside that of others is too small to count.
        """
        if not self.certain:
            return bool(still.any())
        largest = np.max(np.abs(self.center), where=still & np.isfinite(self.center), initial=1.0)
        return bool(still.any() and self.grain * largest > NOTHING * slope * step(self.levels[0]))

    def tied(self, still: np.ndarray) -> np.ndarray:
        """Which of the outputs that are ``still`` depend on what the direction moves, all the same.

        Arithmetic hands on a NaN: an output that has its value also where these elements are NaN has nothing
        to do with them. Any other may have moved by less than its rounding shows.
        """
        return still & ~(self.replay.elsewhere(np.where(self.direction != 0, np.nan, self.x)) == self.center)

    def stays(self) -> np.ndarray:
        """Which outputs are what they are wherever x is, as far as is known: (m,).

        So -inf is that was added as a mask: exp(x) at 800 stands still as well, but not everywhere.
        """
        if np.isfinite(self.center).all():
            return np.ones(self.center.shape, bool)
        return np.asarray(
            self.replay.elsewhere(np.where(self.direction != 0, ordinary(self.x), self.x)) == self.center
        )

    def treads(self) -> np.ndarray:
        """Which of the outputs that stand still may stand on the tread of a staircase, (m,).

        All of them, where x is small and larger steps are to be had; else those that a large step moves, up
        as well as down: beside a kink an output is constant on one side.
        """
        if self.size < SMALL:
            return np.ones(self.center.shape, bool)
        above, below = (self._at(LARGE[0], side * step(LARGE[0])) for side in (1, -1))
        return (above != self.center) & (below != self.center) & np.isfinite(above) & np.isfinite(below)

    def unseen(self, tied: np.ndarray, *, far: bool) -> np.ndarray:
        """The slope that outputs which stand still may have unseen, (m,): 0 where they are not ``tied``.

        They may stand still ``far`` away as well, to either side: the farther, the less they can have.
        """
        grain = self.grain * np.fmax(max(1.0, self.largest), np.abs(self.center))
        if tied.any():
            grain = np.fmax(grain, NOISE * self.replay.inside)
        reached = self.reached()
        same = tied & far
        for times in FAR:
            if same.any():
                away = np.sign(self.direction) * times * (1.37 * np.abs(self.x) + 0.71)
                for side in (1, -1):
                    same &= self.replay.elsewhere(self.x + side * away) == self.center
                moved = self.direction != 0
                least = np.min(np.abs(away / self.direction), where=moved, initial=np.inf)
                reached[same] = np.fmax(reached[same], least)
        return np.where(tied, grain / reached, 0.0)

    def reached(self) -> np.ndarray:
        """The largest step up to which each output stands still, (m,)."""
        reached = np.full(self.center.shape, 0.0 if self.above else 0.5)
        same = np.ones(self.center.shape, bool)
        for level in reversed(self.levels):
            same &= (self.above[level] == self.center) & (self.below[level] == self.center)
            reached[same] = step(level)
        return reached

    def jumps(self, values: dict[int, np.ndarray]) -> np.ndarray:
        """Where the values of a side, by level, do not come nearer to that at x: a jump, and no slope."""
        first, last = (np.abs(values[self.levels[k]] - self.center) for k in (-3, -1))
        return last > JUMPS * first

    def from_afar(
        self, value: np.ndarray, error: np.ndarray, kink: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The slopes (m,) that are 0, or another number, for all that is seen, though no step shows it.

        NaN where that is not known; which of them are no kinks, for being 0; and what these may be off by.
        """
        slope, zero, seen = np.full(value.shape, np.nan), np.zeros(value.shape, bool), error.copy()
        open_ = kink | (~(error <= ENOUGH * np.abs(value)) & (error > 0))
        where = open_ & ~kink
        for levels in zip(self.levels, self.levels[1:], self.levels[2:], strict=False):
            if not self.coarse and levels[2] - levels[0] == 2 and where.any():
                above, below = self.sides(levels, where)
                h = steps(levels)
                gone = by_large_steps(h[:, 0], (above - below) / (2 * h), value[where], error[where])
                slope[where] = np.where(gone, 0.0, slope[where])
        where = open_ & (self.center == 0)
        if where.any() and (self.x[self.direction != 0] == 0).any():
            above, below = self.sides(self.seconds[:1], where)
            tiny = by_tiny_steps(
                lambda t: self.replay.elsewhere(self.x + t * self.direction)[where],
                step(self.seconds[0]),
                above[0],
                below[0],
            )
            near = ~kink[where] & (np.abs(tiny.slope - value[where]) <= error[where])
            slope[where] = np.where(tiny.zero, 0.0, np.where(near, tiny.slope, slope[where]))
            zero[where] = tiny.zero & kink[where]
            seen[where] = tiny.error
        return slope, zero, seen

    def noise(self, where: np.ndarray, measured: bool) -> np.ndarray:
        """What the values of some outputs may be off by beyond the rounding of float64, (outputs,).

        Where a second look sees nothing move, larger steps decide: a result that was rounded coarsely on the
        way stands still like one that is constant there. They scatter, then; if they do not, it is not. But
        an output that moves on one side only is constant on the other.
        """
        noise = NOISE * self.replay.rounding[where] if measured else np.zeros(where.shape)
        inside = self.replay.inside[where]
        noise = np.fmax(noise, np.where(inside > LOST * EPS * np.abs(self.center[where]), inside, 0.0))
        center = self.center[where]
        size = np.fmax(1.0, np.abs(center))
        above, below = (np.abs(side - center) for side in self.sides(self.levels, where))
        near = self.levels.index(self.seconds[0])
        up, down = np.fmax.reduce(above), np.fmax.reduce(below)
        one_sided = (np.fmin(up, down) == 0) & (np.fmax(up, down) > 16 * self.grain * size)
        flat = (above[near] == 0) & (below[near] == 0) & ~one_sided
        if not flat.any():
            return noise
        scatter = np.full(noise.shape, np.inf)
        for levels in zip(self.levels, self.levels[1:], self.levels[2:], strict=False):
            if levels[2] - levels[0] == 2:
                above, below = self.sides(levels, where)
                h, parts = steps(levels), combinations(levels, 2).parts
                odd = parts @ ((above - below) / (2 * h)) * h[2]
                even = parts @ ((above + below - 2 * center) / (2 * h**2)) * h[2] ** 2
                # a function that is even about x scatters in its even part alone
                found = np.where((odd == 0).all(0), np.abs(even[1] - even[0]), np.abs(odd[1] - odd[0]))
                found *= 2 * NOISE
                moved = ((above != center) | (below != center)).all(0) & np.isfinite(found)
                scatter = np.where(moved, found, scatter)
        # a cancellation has treads like those of float32; they are no structure where nothing is seen to step
        most = self.grain if self.replay.stepped else max(self.grain, CANCELLED)
        scatter = np.where(np.isfinite(scatter), scatter, self.grain * size)
        return np.fmax(noise, np.where(flat, np.clip(scatter, ROUNDING * EPS * size, most * size), 0.0))


def _shortened(x: np.ndarray, direction: np.ndarray) -> float:
    """By how much a direction is shortened; of one that is long enough to see anything at all, nothing."""
    if np.max(np.abs(direction), initial=0.0) >= 4 * FLOOR:
        return 1.0
    ratio = float(np.max(np.where(direction != 0, np.abs(x / direction), 0.0), initial=0.0))
    return 2.0 ** min(0, math.floor(math.log2(ratio))) if 0 < ratio < math.inf else 1.0


@dataclass(frozen=True, eq=False)
class _Values:
    """The values of some looks side by side, (looks · m,), by level; and how inexact its steps are."""

    center: np.ndarray
    above: dict[int, np.ndarray]
    below: dict[int, np.ndarray]
    inexact: dict[int, np.ndarray]
    seconds: tuple[int, ...]
    coarse: bool
    eps: float

    @classmethod
    def joined(cls, looks: Sequence[_Look]) -> Self:
        first = looks[0]
        return cls(
            np.concatenate([look.center for look in looks]),
            {level: np.concatenate([look.above[level] for look in looks]) for level in first.above},
            {level: np.concatenate([look.below[level] for look in looks]) for level in first.below},
            {
                level: np.repeat([look.inexact[level] for look in looks], first.center.size)
                for level in first.above
            },
            tuple(first.seconds),
            first.coarse,
            first.replay.eps,
        )


def _seconds(size: float) -> list[int]:
    """The levels of the second look: one relative to x, and where x is large others, down to NEAREST."""
    if size * step(SECOND) <= 25 * NEAREST:
        return [SECOND]
    last = SECOND + level_of(max(NEAREST / size, RESOLVED) / step(SECOND))
    between = math.ceil((last - SECOND) / GAP)
    return [SECOND + round((last - SECOND) * k / between) for k in range(between + 1)]


class _Usual(NamedTuple):
    """The slope that large steps show, (m,), and what a second look makes of it.

    It is ``surprised`` where it sees another slope, and ``bent`` where its two sides see different ones;
    elsewhere ``noise`` is what it saw of the rounding of the values.
    """

    value: np.ndarray
    error: np.ndarray
    reach: np.ndarray
    settled: np.ndarray
    surprised: np.ndarray
    bent: np.ndarray
    noise: np.ndarray


def _usual(look: _Values, levels: tuple[int, ...]) -> _Usual:
    """The slope by a few large steps.

    Two are enough where a second look agrees, which then bounds the error; three know their own, smaller one.
    """
    center = look.center
    above, below = (np.array([side[level] for level in levels]) for side in (look.above, look.below))
    h, runs, size = steps(levels), combinations(levels, 2), np.abs(center)
    quotients = (above - below) / (2 * h)
    weights = runs.weights[-1]
    value = weights @ quotients
    inner, outer = runs.parts @ quotients
    reach = np.fmax(np.abs(above[0] - center), np.abs(below[0] - center)) / h[0]
    slope = np.fmax(np.abs(value), reach)
    bend = (above[-1] + below[-1] - 2 * center) / h[-1] ** 2
    rounding = ROUNDING * EPS * np.maximum(np.maximum(np.abs(above), np.abs(below)), size)
    noise = look.eps * (size + np.abs(value)) if look.coarse else np.zeros(value.shape)
    few = len(levels) < len(USUAL)
    error = np.zeros(value.shape) if few else CONFIRMED * np.abs(outer - inner)
    hidden = np.abs(weights) @ (np.maximum(rounding, noise) / h)
    surprised, bent = np.zeros(value.shape, bool), np.zeros(value.shape, bool)
    beyond = np.zeros(value.shape)
    for level in look.seconds if not look.coarse else ():
        up, down, t = look.above[level], look.below[level], step(level)
        own = ROUNDING * EPS * np.maximum(np.maximum(np.abs(up), np.abs(down)), size)
        apart = np.abs((up - down) / (2 * t) - value)
        if few and level == look.seconds[0]:
            # the numbers on the way to a small result are no smaller than what they change it by
            most = np.maximum(own, ROUNDING * EPS * np.abs(value))
            error = apart + np.abs(outer - inner) * (t / h[0]) ** 2 + most / t
        curved = np.abs(up + down - 2 * center - bend * t**2)
        known = SURPRISE * own / t + look.inexact[level] * slope + hidden
        surprised |= ~(apart <= error + known + ENOUGH * slope)
        beyond = np.fmax(beyond, apart - known)
        bent |= ~(curved <= SURPRISE * own + 0.1 * KINK * slope * t)
        noise = np.fmax(noise, 2 * np.fmax((apart - error) * t, (curved - CURVED * np.abs(bend) * t**2) / 2))
    noise = np.where(surprised | bent, 0.0, noise)
    error = np.maximum(error + np.abs(weights) @ (np.maximum(rounding, noise) / h), beyond)
    settled = (error <= ENOUGH * (np.abs(value) if few else slope)) & ~surprised & ~bent
    return _Usual(value, error, reach, settled | (look.coarse and not few), surprised, bent, noise)


class _Slopes(NamedTuple):
    """What all levels together say of some outputs; ``left`` and ``right`` are infinite without a limit.

    It is ``split`` where the sides have different slopes: a ``kink``, if the smallest step sees that too.
    """

    value: np.ndarray
    error: np.ndarray
    rounding: np.ndarray
    blocked: np.ndarray
    left: np.ndarray
    right: np.ndarray
    split: np.ndarray
    kink: np.ndarray


def _search(look: _Look, where: np.ndarray, usual: _Usual) -> _Slopes:
    """The slopes of the outputs that three large steps and a second look do not settle.

    First the smallest, for a kink; then ever smaller ones, down to the second look and beyond; then larger
    ones, where rounding hides the slope.
    """
    reach, bent = usual.reach[where], usual.bent[where]
    measured = bool((usual.surprised | usual.bent)[where].any())

    def judged() -> _Slopes:
        """What there is to say by now; a contradiction has the rounding measured."""
        nonlocal measured
        noise = np.fmax(usual.noise[where], look.noise(where, measured))
        slopes = _slopes(look, where, reach, noise)
        if measured or not slopes.blocked.any():
            return slopes
        measured = True
        return judged()

    def unsettled(enough: float = ENOUGH) -> np.ndarray:
        """Where the error is too large still; a kink is what it is."""
        large = ~(slopes.error <= enough * np.fmax(np.abs(slopes.value), reach))
        return large & ~(slopes.kink & bent)

    def hidden() -> np.ndarray:
        """Where it is by rounding that the error is large: smaller steps are no better."""
        return slopes.rounding >= HIDDEN * slopes.error

    second = look.sides(look.seconds, where)
    bend = np.abs(second[0] + second[1] - 2 * look.center[where])
    bent &= ~(bend <= 4 * look.noise(where, measured)).all(0)
    finer = tuple(range(look.seconds[-1] + 1, look.seconds[-1] + 1 + FINER))
    near = len(look.seconds) == 1
    if near and bent.any():
        look.take(finer)
    slopes = judged()
    between = tuple(range(USUAL[-1] + 1, look.seconds[-1]))
    for levels in [between[k : k + AT_ONCE] for k in range(0, len(between), AT_ONCE)]:
        if (unsettled() & (~hidden() | slopes.blocked)).any() or (bent.any() and not near):
            look.take(levels)
            slopes = judged()
    if (unsettled() & ~hidden()).any() or (bent & slopes.kink).any():
        look.take(finer)
        slopes = judged()
    for levels, enough in _upward(look.size):
        if (unsettled(enough) & hidden() & ~slopes.blocked).any():
            look.take(levels)
            new = judged()
            # far beyond x a slope must be seen: that none is says nothing of x, nor does one across a kink
            seen = ((new.error <= SEEN * np.abs(new.value)) | (enough == ENOUGH)) & ~new.split
            slopes = _Slopes(*(np.where(seen, one, other) for one, other in zip(new, slopes, strict=True)))
    error = np.fmax(BLOCKED * slopes.error, _stairs(look, where, slopes))
    endless = np.isinf(slopes.left) | np.isinf(slopes.right)
    return slopes._replace(error=error, kink=slopes.kink & (bent | endless))


def _upward(size: float) -> list[tuple[tuple[int, ...], float]]:
    """Levels of ever larger steps, with the error that asks for them; ``size`` is how far the direction goes.

    Where x is small, steps of FIRST and more come first, of whatever x is.
    """
    if not 0 < size < SMALL:
        return [(LARGE, ENOUGH), *((levels, HARDLY) for levels in LARGER)]
    top = level_of(1 / max(size, 1e-300))
    ones = [(top, top + 1, top + 2), (top - 3, top - 2, top - 1), LARGE]
    return [(levels, ENOUGH) for levels in ones] + [
        (tuple(top + level for level in levels), HARDLY) for levels in LARGER
    ]


def _slopes(look: _Look, where: np.ndarray, reach: np.ndarray, noise: np.ndarray) -> _Slopes:
    levels, center = look.levels, look.center[where]
    above, below = look.sides(levels, where)
    h = steps(levels)
    size = np.fmax(np.fmax(np.abs(above), np.abs(below)), np.abs(center))
    quotients = (above - below) / (2 * h)
    upper, lower = (above - center) / h, (center - below) / h
    steepest = np.fmax.accumulate(np.fmax(np.abs(upper), np.abs(lower))[::-1])[::-1]
    inexact = np.array([[look.inexact[level]] for level in levels])
    # as the values are, so are the arguments rounded on the way
    coarser = noise / size if look.certain or not look.replay.seen else look.grain
    inexact = np.where((h > 1) & (size > 0), inexact + coarser, inexact)
    rounding = np.maximum(ROUNDING * EPS * size, noise) / h
    rounding += np.where(inexact > 0, inexact * steepest, 0.0)
    central = estimate(levels, 2, quotients, rounding)
    right = estimate(levels, 1, upper, 2 * rounding)
    left = estimate(levels, 1, lower, 2 * rounding)
    # where the sides have the same slope, but not the same curvature, their mean is the better estimate; a
    # change of curvature nearer than the smallest step remains unseen
    mean = (left.value + right.value) / 2
    unseen = 2 * np.abs(quotients[-1] - mean)
    error = (left.error + right.error) / 2 + unseen
    better = error < central.error
    # where a function has no value on one side, the slope of the other is what there is
    none = [np.isnan(quotient[-2:]).all(0) & np.isfinite(center) for quotient in (lower, upper)]
    lost = none[0] != none[1]
    own = Estimate(*(np.where(none[0], *parts) for parts in zip(right, left, strict=True)))
    sides = [left.value, right.value]
    if levels[-1] - levels[-3] == 2:
        sides = [_limit(side.value, steep, 2 * rounding) for side, steep in ((left, lower), (right, upper))]
    sides = [np.where(none[0], sides[1], sides[0]), np.where(none[1], sides[0], sides[1])]
    slope = np.fmax(np.fmax(np.abs(left.value), np.abs(right.value)), reach)
    apart = np.abs(sides[1] - sides[0])
    split = np.isinf(apart) | np.isnan(apart) | (apart > KINK * slope + 1.5 * (left.error + right.error))
    # what the smallest step does not see is structure beside the point
    gone = np.abs(upper[-1] - lower[-1]) + 2 * rounding[-1] < apart / 2
    both = (mean, error, (left.rounding + right.rounding) / 2, left.blocked | right.blocked)
    value, error, hidden, blocked = (
        np.where(lost, side, np.where(better, mean, middle))
        for side, mean, middle in zip(own, both, central, strict=True)
    )
    return _Slopes(
        value,
        error,
        hidden,
        blocked,
        sides[0],
        sides[1],
        split,
        split & ~(gone & np.isfinite(apart)),
    )


def _limit(value: np.ndarray, quotients: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """A side's slope: infinite where its quotients grow without end, or where there is no value on this side.

    Toward a slope their changes become smaller, by RATIO as a rule.
    """
    old, before, last = quotients[-3:]
    change, changed = np.abs(last) - np.abs(before), np.abs(before) - np.abs(old)
    grows = (change > GROWS * np.abs(changed) + 4 * rounding[-3:].sum(0)) & (changed > 0)
    endless = grows | ~np.isfinite(last)
    return np.where(endless, np.where(last < 0, -np.inf, np.inf), np.where(np.isnan(value), last, value))


def _stairs(look: _Look, where: np.ndarray, slopes: _Slopes) -> np.ndarray:
    """How far off a slope may be that is 0 by the smallest steps alone, shape (outputs,); 0 elsewhere.

    Large steps that agree on a slope, up and down, make it the tread of a staircase: of a quantiser, whose
    slope is 0, or of a result that was rounded on the way, to float16 or by a cancellation, whose slope is
    that of the stairs.
    """
    none = np.zeros(where.shape)
    if look.certain and look.replay.stepped:
        return none
    center = look.center[where]
    above, below = look.sides((look.seconds[0], USUAL[0]), where)
    flat = (above[0] == center) & (below[0] == center) & (above[1] != center) & (below[1] != center)
    if not flat.any():
        return none
    levels = LARGE[1:]
    look.take(levels)
    above, below = look.sides((*levels, USUAL[0]), where)
    slope = (above - below) / (2 * steps((*levels, USUAL[0])))
    steady = np.abs(slope - slope[0]).max(0) <= STAIRS * np.abs(slope[0])
    apart = np.abs(slope[0] - slopes.value)
    return np.where(flat & steady & (apart > STAIRS * np.abs(slope[0])), 1.5 * apart, none)
