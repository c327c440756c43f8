"""The judge: five ideas in order, for each number that is compared, and no number has a part in another's.

1. *Agree?* The two numbers are within a rounding model: each operator on the way rounds once forward and once
   backward, so eps · (2 + operators) · what is summed, and the witness's own error.
2. *Would rounding explain it?* Asked of the doubtful: measured noise, what changes of one ulp do (noise.py).
3. *Has the point a slope at all?* Asked of what is still unexplained: the element is moved alone, then with
   and without the others (slopes.py). A kink elsewhere excuses nobody.
4. *Does a second way to differentiate side with the check?* Then the gradient is wrong, else undecided.
5. *Is there a digit to speak of?* Of what has passed: relative to the element itself, never to a neighbour,
   and no more than rounding leaves of it.

The causes are ordered (job/result.py: Cause). The check and `explain` both judge by this, with different
witnesses. Every constant of the judge's own stands here, with the case that fixed it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np  # noqa: TID253 (imported only once there is something to judge)

from vjpcalc.check.jacobian import distance
from vjpcalc.check.noise import LOUD, QUICK, THOROUGH, USUAL, Runs, first_runs
from vjpcalc.check.slopes import APART, Slopes
from vjpcalc.engines.noise import WIDE
from vjpcalc.job.result import Cause

# Units in the last place that a kernel of float32 or float64 may err by, whoever wrote it: torch's derivative
# of erf at 5.4 is 30 off (it rounds x²), that of silu at 30 is 13, NumPy's complex power 8 at 1e-12.
KERNEL = 64.0
# In float16 that would be 6 %. There, what rounding does is measured; the model allows this many roundings,
# so that 10 % in bfloat16 is not within it.
ROUNDINGS = 2.0
# Times the noise that is measured: a few runs see less than the whole range, and an operator may round more
# than once inside (softmax and layer_norm over the whole table, in every dtype).
NOISE_FACTOR = 2.0
# A relative error estimate of the witness beyond which it cannot judge …
DOUBT = 1e-7
# … unless the gradient is this many times that error away (a backward 3 % off, of a forward that is rounded
# to float32: an estimate of 1e-3).
BEYOND = 10.0
# Times what rounding explains: wrong, though the second way is too coarse to tell the two apart.
FAR = 100.0
# The root of the smallest float64: below that, products that stand inside of a complex step underflow.
UNDERFLOW = 2.0**-511
# Times the rounding model: noise up to this is no loss (a product of whole numbers has all of its digits).
BENIGN = 4.0
# Half a digit, relative: half way, as rounding has it, to a number that may err by all of itself.
HALF = 10.0**-0.5
# Relative: errors of one size, of which the first is named (six of 2 in the gradient of a singular det(x)).
ALIKE = 1e-6
# Numbers that are looked at one by one, the worst first; the rest are like them.
EXAMINED = 16
# Farther than this many times what some pairs of runs explain, more would not explain it either. One pair may
# miss most of it by chance, USUAL hardly.
NEAR = {LOUD: 1e4, QUICK: 1e4, USUAL: 100.0, THOROUGH: 100.0}
# If no more than this share of the doubtful are left, chance may have left them: of 5,000 saturated elements
# of tanh(x) + tanh(x), the noise of both terms cancels in a few.
CHANCE = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbers:
    """What is compared: n numbers of a gradient with what a witness says of them. All arrays are (n,).

    ``size`` is what is summed into each number, without signs, and ``doubt`` the witness's own error.
    ``bent`` marks the numbers at which an operator has a kink, with the slopes ``left`` and ``right``; the
    witness is ``coarse`` where it differences, and knows of no convention at a kink.
    A number rounds to ``eps`` of itself at each of ``depth`` operators; ``accuracy`` is what torch's
    operators are known to lose on top. ``smallest`` is the dtype's smallest subnormal, ``largest`` its
    largest number.
    ``noise(doubtful, runs)`` measures how far rounding moves the numbers that are ``doubtful``; of none,
    how far it moves torch's gradient alone, for all.
    ``slopes(k)`` looks at the k-th number in a second way; None where there is none.
    ``is_zero(candidates, noise)`` tells which of the numbers that are 0 on both sides, though rounding moves
    torch's by ``noise``, are 0 for certain; None: all of them.
    """

    gradient: np.ndarray
    expected: np.ndarray
    size: np.ndarray
    doubt: np.ndarray
    bent: np.ndarray
    left: np.ndarray | None = None
    right: np.ndarray | None = None
    coarse: bool = False
    eps: float
    depth: float
    accuracy: float | np.ndarray = 0.0
    smallest: float
    largest: float = np.inf
    noise: Callable[[np.ndarray, Runs], np.ndarray]
    slopes: Callable[[int], Slopes] | None = None
    is_zero: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


@dataclass(eq=False)
class Verdict:
    """What became of each number: its Cause, the number that was expected in the end, the error that was
    allowed, the part of itself that it may err by, and for some of them, by place, the slopes that were seen.
    """

    causes: np.ndarray
    expected: np.ndarray
    doubt: np.ndarray
    tolerance: np.ndarray
    model: np.ndarray  # of which the rounding model is this much
    noise: np.ndarray
    relative: np.ndarray
    slopes: dict[int, Slopes] = field(default_factory=dict)

    @property
    def cause(self) -> Cause:
        return Cause(int(self.causes.max(initial=Cause.PASSED)))

    def worst(self, numbers: Numbers, elements: int | None = None) -> int | None:
        """The place of the gravest cause, and there of the number farthest from what is allowed, or None.

        Of wrong numbers, that is the one with the largest error beyond it, and the first of those alike: so a
        reader would say, who sees numbers and no tolerances. Of those that rounding leaves too few digits, it
        is the one with the fewest. An element, which the first ``elements`` numbers are (None: all), goes
        before a random direction.
        """
        cause = self.cause
        if cause == Cause.PASSED:
            return None
        with np.errstate(all="ignore"):
            error = distance(numbers.gradient, self.expected)
            far = error - self.tolerance if cause == Cause.WRONG else error / self.tolerance
        if cause == Cause.ILL_CONDITIONED:
            far = np.where(np.isfinite(error), self.relative, np.inf)
        among = self.causes == cause
        if elements is not None and among[:elements].any():
            among[elements:] = False
        far = np.where(among, np.nan_to_num(far, nan=np.inf, posinf=np.inf), -np.inf)
        largest = float(far.max())
        return int(np.argmax(far >= (largest - ALIKE * abs(largest) if np.isfinite(largest) else largest)))

    @property
    def unknown(self) -> np.ndarray:
        """The numbers of which nothing is to be expected: at a kink, and where no digit can be told."""
        unsure = (self.causes == Cause.UNSURE) & (self.doubt > HALF * np.abs(self.expected))
        lost = (self.causes == Cause.ILL_CONDITIONED) & (self.relative > HALF)
        return unsure | lost | (self.causes == Cause.KINK)

    @property
    def digits(self) -> float:
        """The decimal digits that all of the numbers are right to, as far as is known."""
        return digits(float(self.relative.max(initial=0.0)))


def digits(relative: float) -> float:
    """How many decimal digits a relative error leaves, to the nearest; inf for none."""
    return float(np.floor(0.5 - np.log10(relative))) if relative > 0 else np.inf


def judge(numbers: Numbers, required: int = 1) -> Verdict:
    """The verdict on each number. A pass needs ``required`` digits."""
    with np.errstate(all="ignore"):
        verdict = agree(numbers)
        doubtful = np.isfinite(numbers.gradient) & np.isfinite(verdict.expected)
        doubtful &= ~(distance(numbers.gradient, verdict.expected) <= verdict.tolerance)
        unexplained = rounding(numbers, verdict, doubtful)
        unsure(numbers, verdict, unexplained)
        bent(numbers, verdict, unexplained)
        wrong(numbers, verdict, unexplained & ~numbers.bent & (verdict.causes == Cause.PASSED))
        not_finite(numbers, verdict)
        enough_digits(numbers, verdict, required)
    return verdict


# ---- 1. agree? ---------------------------------------------------------------------------------------------


def agree(numbers: Numbers) -> Verdict:
    """What the rounding model allows. Where a witness is not finite, or underflows, a second way is asked."""
    n = numbers.gradient.shape
    verdict = Verdict(
        causes=np.zeros(n, np.int8),
        expected=numbers.expected.copy(),
        doubt=numbers.doubt.copy(),
        tolerance=np.zeros(n),
        model=np.zeros(n),
        noise=np.zeros(n),
        relative=np.zeros(n),
    )
    error = distance(numbers.gradient, numbers.expected)
    size = np.where(np.isfinite(numbers.size), numbers.size, np.abs(numbers.gradient))
    roundings = max(numbers.depth, KERNEL) if numbers.eps < WIDE else min(numbers.depth, ROUNDINGS)
    usual = (numbers.eps * roundings + numbers.accuracy) * size
    floor = too_small(numbers)
    tiny = (np.fmax(np.abs(numbers.gradient), np.abs(numbers.expected)) <= floor) & (error > usual)
    unknown = np.flatnonzero(tiny | ~np.isfinite(numbers.expected))
    verdict.model = usual + floor
    verdict.tolerance = verdict.model + verdict.doubt
    for k in unknown[: EXAMINED if numbers.slopes else 0]:
        slopes = look(numbers, verdict, k)
        if np.isfinite(slopes.value + slopes.doubt) and not slopes.bent:
            # the complex step of x³ at 0 is -ε²: a gradient of 0 is confirmed by a slope that may be 0
            none = numbers.gradient[k] == 0 and abs(slopes.value) <= slopes.doubt
            verdict.expected[k], verdict.doubt[k] = 0.0 if none else slopes.value, slopes.doubt
            verdict.tolerance[k] = usual[k] + slopes.doubt + lost_by_torch(numbers)[k]
    return verdict


def too_small(numbers: Numbers) -> np.ndarray:
    """The size, (n,), up to which a number has too few digits to be judged."""
    return np.fmax(lost_by_torch(numbers), numbers.depth * UNDERFLOW)


def lost_by_torch(numbers: Numbers) -> np.ndarray:
    """What torch may lose of a number that is too small for its dtype, (n,).

    It is some of the smallest there are; but a 0 may come of an overflow, as 1/(1 + exp(x)) does.
    """
    least = np.where(numbers.gradient == 0, max(numbers.smallest, 1 / numbers.largest), numbers.smallest)
    return numbers.depth * least


# ---- 2. would rounding explain it? -------------------------------------------------------------------------


def rounding(numbers: Numbers, verdict: Verdict, doubtful: np.ndarray) -> np.ndarray:
    """Which of the doubtful numbers rounding does not explain; what it explains is then allowed."""
    verdict.noise = numbers.noise(np.zeros_like(doubtful), first_runs(numbers.eps))
    if not doubtful.any():
        return doubtful
    unexplained = near = doubtful
    agreed, error = verdict.tolerance, distance(numbers.gradient, verdict.expected)

    def left(asked: np.ndarray, runs: Runs) -> np.ndarray:
        """Which are still unexplained once more runs have been made for some that are."""
        measured = np.fmax(verdict.noise, numbers.noise(asked, runs))
        verdict.noise = np.where(asked, measured, verdict.noise)
        verdict.tolerance = np.where(asked, agreed + NOISE_FACTOR * verdict.noise, verdict.tolerance)
        return unexplained & ~(error <= verdict.tolerance)

    for runs, farthest in NEAR.items():
        if not near.any():
            break
        if runs == LOUD and numbers.eps >= WIDE:
            continue
        unexplained = left(near, runs)
        by_rounding = verdict.tolerance - verdict.doubt
        near = unexplained & (error <= verdict.doubt + farthest * by_rounding)
    if 0 < unexplained.sum() <= CHANCE * doubtful.sum():
        unexplained = left(unexplained, THOROUGH)
    return unexplained


def unsure(numbers: Numbers, verdict: Verdict, unexplained: np.ndarray) -> None:
    """A witness that errs too much itself tells nothing of a gradient that is not far beyond its error."""
    if not unexplained.any():
        return
    coarse = verdict.doubt > DOUBT * numbers.size
    near = distance(numbers.gradient, verdict.expected) <= BEYOND * verdict.doubt
    verdict.causes[unexplained & coarse & near & ~numbers.bent] = Cause.UNSURE


# ---- 3. has the point a slope at all? 4. does a second way side with the check? ----------------------------


def bent(numbers: Numbers, verdict: Verdict, unexplained: np.ndarray) -> None:
    """A number at a kink has no slope, unless both sides agree: `relu(x) - relu(-x)` at 0 has slope 1.

    Between the slopes of both sides every number is as good as another; outside of them it is asked whether
    it is wrong, but where the witness has torch's own conventions at kinks and comes to the same. What is
    expected there is the nearest slope.
    """
    if not numbers.bent.any():
        return
    verdict.causes[numbers.bent] = Cause.KINK
    if numbers.left is None or numbers.right is None:
        return
    low, high = np.fmin(numbers.left, numbers.right), np.fmax(numbers.left, numbers.right)
    # noise is no room here: it moves a number over the kink
    room = verdict.model + APART * np.fmax(np.abs(low), np.abs(high))
    sided = numbers.bent & np.isfinite(numbers.left) & np.isfinite(numbers.right)
    outside = sided & ((numbers.gradient < low - room) | (numbers.gradient > high + room))
    straight = sided & (high - low <= DOUBT * np.abs(low))
    nearest = np.clip(numbers.gradient, low, high)
    verdict.expected = np.where(straight, numbers.left, np.where(outside, nearest, verdict.expected))
    verdict.causes[straight & ~outside] = Cause.PASSED
    wrong(numbers, verdict, outside & (straight | unexplained | numbers.coarse))


def wrong(numbers: Numbers, verdict: Verdict, unexplained: np.ndarray) -> None:
    """Look at the worst unexplained numbers, one by one; those that are left take after them."""
    if not unexplained.any():
        return
    if numbers.slopes is None:
        verdict.causes[unexplained] = Cause.WRONG
        return
    error = distance(numbers.gradient, verdict.expected)
    worst_first = np.argsort(np.where(unexplained, -error / verdict.tolerance, np.inf), kind="stable")
    rest = unexplained.copy()
    straight = Cause.UNSURE
    for k in worst_first[: min(EXAMINED, int(unexplained.sum()))]:
        verdict.causes[k] = cause = examine(numbers, verdict, k)
        rest[k] = False
        if not numbers.bent[k]:
            straight = max(straight, cause)
            if cause == Cause.WRONG:
                break
    verdict.causes[rest] = np.where(numbers.bent[rest], Cause.KINK, straight)


def examine(numbers: Numbers, verdict: Verdict, k: int) -> Cause:
    """The cause of one unexplained number: a kink, wrong, or undecided."""
    slopes = look(numbers, verdict, k)
    if numbers.bent[k] and not slopes.bent:  # an operator has a kink here, but the program has none
        verdict.expected[k] = slopes.value
    gradient, expected, allowed = numbers.gradient[k], verdict.expected[k], verdict.tolerance[k]
    low, high = slopes.range()
    room = slopes.doubt + (verdict.model[k] if numbers.bent[k] else allowed - verdict.doubt[k])
    jumps = slopes.bent and not np.isfinite(high - low)
    if jumps or (slopes.bent and not (gradient < low - room or gradient > high + room)):
        return Cause.KINK
    if slopes.bent:
        return Cause.WRONG  # no slope that the point has, from any side
    if abs(slopes.value - gradient) <= slopes.doubt:  # too close together for it, or it contradicts the check
        agrees = abs(slopes.value - expected) <= slopes.doubt
        return Cause.WRONG if agrees and abs(gradient - expected) > FAR * allowed else Cause.UNSURE
    sides = abs(slopes.value - expected) < abs(slopes.value - gradient)
    return Cause.WRONG if sides or numbers.bent[k] else Cause.UNSURE


def look(numbers: Numbers, verdict: Verdict, k: int) -> Slopes:
    """The k-th number in the second way, once."""
    assert numbers.slopes is not None
    if k not in verdict.slopes:
        verdict.slopes[k] = numbers.slopes(k)
    return verdict.slopes[k]


def not_finite(numbers: Numbers, verdict: Verdict) -> None:
    """A gradient that is NaN or infinite is wrong where there is a finite slope that its dtype can hold."""
    broken = ~np.isfinite(numbers.gradient)
    unknown = ~np.isfinite(verdict.expected)
    if not (broken | unknown).any():
        return
    verdict.causes[broken | unknown] = Cause.UNSURE
    verdict.causes[[k for k, slopes in verdict.slopes.items() if unknown[k] and slopes.bent]] = Cause.KINK
    overflows = ~unknown & (np.abs(verdict.expected) > numbers.largest)
    verdict.causes[broken & overflows] = Cause.ILL_CONDITIONED
    candidates = np.flatnonzero(broken & ~unknown & ~overflows)
    verdict.causes[candidates] = Cause.WRONG
    for k in candidates[: EXAMINED if numbers.slopes else 0]:
        slopes = look(numbers, verdict, k)
        if slopes.bent or not np.isfinite(slopes.value):
            verdict.causes[k] = Cause.KINK
    rest = candidates[EXAMINED if numbers.slopes else 0 :]
    if rest.size and numbers.slopes:  # they are like those that were looked at
        verdict.causes[rest] = verdict.causes[candidates[:EXAMINED]].max()


# ---- 5. is there a digit to speak of? ----------------------------------------------------------------------


def enough_digits(numbers: Numbers, verdict: Verdict, required: int) -> None:
    """Of what has passed: by which part of itself each number may err, and whether that leaves a digit."""
    passed = verdict.causes == Cause.PASSED
    value = np.fmax(np.abs(numbers.gradient), np.abs(verdict.expected))
    error = distance(numbers.gradient, verdict.expected)
    usual = BENIGN * numbers.eps * numbers.depth * np.fmin(numbers.size, value)
    zero = passed & (value == 0) & (verdict.noise > 0)
    if numbers.is_zero is not None and zero.any():
        zero = numbers.is_zero(zero, verdict.noise)
    verdict.noise = np.where(zero, 0.0, verdict.noise)
    lost = np.where(verdict.noise > usual, verdict.noise, 0.0)
    doubt = np.where(error > 0, verdict.doubt, 0.0)
    may_err = np.fmax(error, np.fmax(lost, doubt))
    verdict.relative = np.where(passed & (may_err > 0), may_err / value, 0.0)
    nothing = passed & (verdict.relative > HALF * 10.0 ** (1 - required))
    none = nothing & (verdict.relative > HALF)
    # a number that underflows is too small to judge, and so is what the witness is too coarse for; any other
    # has lost its digits to rounding
    tiny = nothing & (value > 0) & (value <= too_small(numbers))
    verdict.causes[nothing] = Cause.ILL_CONDITIONED
    verdict.causes[tiny | (none & numbers.coarse & (doubt > np.fmax(error, lost)))] = Cause.UNSURE
