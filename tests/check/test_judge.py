"""The judge alone: numbers, what a witness says of them, what rounding does to them, and the verdict.

Nothing is differentiated here. A gradient, the noise and the second way are made up, a table for each of the
questions that the judge asks, and the verdict follows by hand from what the head of judge.py promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vjpcalc.check.judge import EXAMINED, Numbers, digits, judge
from vjpcalc.check.noise import LOUD, QUICK, THOROUGH, USUAL, Runs
from vjpcalc.check.slopes import Slopes
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED, Cause

NAN, INF = math.nan, math.inf
FLOAT64 = {"eps": 2.0**-52, "smallest": 2.0**-1074}
FLOAT32 = {"eps": 2.0**-23, "smallest": 2.0**-149, "largest": 3.4e38}
FLOAT16 = {"eps": 2.0**-10, "smallest": 2.0**-24, "largest": 65504.0}
BFLOAT16 = {"eps": 2.0**-7, "smallest": 2.0**-133, "largest": 3.4e38}
DEPTH = 4.0


def beside(gradient: Any, expected: Any, **others: Any) -> Numbers:
    """Numbers in float64, four operators deep, of a witness without error; one number counts for everybody.

    ``size`` is the larger of both, ``noise`` a number (or one for each, or by pairs), and ``slopes`` what the
    second way says, of every number or of each.
    """
    gradient = np.atleast_1d(np.asarray(gradient, float))

    def full(value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value), gradient.shape).copy()

    expected = full(np.asarray(expected, float))
    fields: dict[str, Any] = {"size": np.fmax(abs(gradient), abs(expected)), "doubt": 0.0, "bent": False}
    fields |= FLOAT64 | {"depth": DEPTH, "noise": 0.0} | others
    for name in {"size", "doubt", "bent", "left", "right"} & fields.keys():
        fields[name] = full(fields[name])
    noise, slopes = fields.pop("noise"), fields.pop("slopes", None)
    by_runs = noise if isinstance(noise, dict) else dict.fromkeys((LOUD, QUICK, USUAL, THOROUGH), noise)
    if isinstance(slopes, Slopes):
        slopes = [slopes] * gradient.size
    return Numbers(
        gradient=gradient,
        expected=expected,
        noise=lambda doubtful, runs: full(by_runs.get(runs, 0.0)),
        slopes=None if slopes is None else lambda k: slopes[k],
        **fields,
    )


def slope(value: float, doubt: float = 0.0) -> Slopes:
    """The second way finds a slope."""
    return Slopes(value, doubt, value, value, (value,), bent=False)


def kink(left: float, right: float) -> Slopes:
    """The second way finds two."""
    return Slopes((left + right) / 2, 0.0, left, right, (left, right), bent=True)


def tie(*seen: float) -> Slopes:
    """The second way finds that it depends on how the others move."""
    return Slopes(seen[0], 0.0, seen[0], seen[0], seen, bent=True, together=True)


NOTHING = Slopes(NAN, INF, NAN, NAN, (), bent=False)  # the second way sees nothing: what moves is infinite

AGREE = {
    "the same number": (beside(3.0, 3.0), Cause.PASSED),
    "another": (beside(3.0, 2.0), Cause.WRONG),
    "64 ulps in float64": (beside(1 + 64 * 2.0**-52, 1.0, size=1.0), Cause.PASSED),
    "65": (beside(1 + 65 * 2.0**-52, 1.0, size=1.0), Cause.WRONG),
    "64 ulps in float32": (beside(1 + 64 * 2.0**-23, 1.0, size=1.0, **FLOAT32), Cause.PASSED),
    "and 65": (beside(1 + 65 * 2.0**-23, 1.0, size=1.0, **FLOAT32), Cause.WRONG),
    "a hundred operators, 100 ulps": (beside(1 + 100 * 2.0**-52, 1.0, size=1.0, depth=100.0), Cause.PASSED),
    "two ulps in bfloat16, however many operators": (
        beside(1 + 2 * 2.0**-7, 1.0, size=1.0, **BFLOAT16),
        Cause.PASSED,
    ),
    "and one more": (beside(1 + 3 * 2.0**-7, 1.0, size=1.0, **BFLOAT16), Cause.WRONG),
    "which twice the noise explains": (
        beside(1 + 4 * 2.0**-7, 1.0, size=1.0, **BFLOAT16, noise={USUAL: 2.0**-7}),
        Cause.PASSED,
    ),
    "and no more": (
        beside(1 + 5 * 2.0**-7, 1.0, size=1.0, **BFLOAT16, noise={USUAL: 2.0**-7, THOROUGH: 2.0**-7}),
        Cause.WRONG,
    ),
    "which a quick look saw": (
        beside(1 + 4 * 2.0**-7, 1.0, size=1.0, **BFLOAT16, noise={QUICK: 2.0**-7}),
        Cause.PASSED,
    ),
    "as accurate as torch is": (beside(1 + 2.0**-20, 1.0, size=1.0, accuracy=2.0**-20), Cause.PASSED),
    "of what is summed, a small rest": (beside(1 + 2.0**-40, 1.0, size=2.0**6), Cause.PASSED),
    "of what is summed, too large a rest": (beside(1 + 2.0**-39, 1.0, size=2.0**6), Cause.WRONG),
    "a sum that overflows counts as the gradient": (beside(1 + 2.0**-30, 1.0, size=INF), Cause.WRONG),
    "within the witness's own error": (beside(1.125, 1.0, doubt=0.125), Cause.PASSED),
    "equal subnormal numbers": (beside(1e-320, 1e-320), Cause.PASSED),
}

NOISE = {
    "twice the noise": (beside(1.25, 1.0, noise=0.125), Cause.PASSED),
    "more than twice": (beside(1.25, 1.0, noise=0.12), Cause.WRONG),
    "more runs see more": (
        beside(1.25, 1.0, noise={LOUD: 0.01, USUAL: 0.06, THOROUGH: 0.125}),
        Cause.PASSED,
    ),
    "a hundred times what a few explain": (
        beside(1.25, 1.0, noise={LOUD: 0.001, USUAL: 0.001, THOROUGH: 1.0}),
        Cause.WRONG,
    ),
    "10,000 times what one pair explains": (
        beside(1.25, 1.0, noise={LOUD: 1e-5, USUAL: 1.0, THOROUGH: 1.0}),
        Cause.WRONG,
    ),
    "what the witness errs by is no reason to look again": (
        beside(1.25, 1.0, doubt=0.0078125, noise={LOUD: 1e-5, USUAL: 1.0, THOROUGH: 1.0}),
        Cause.WRONG,
    ),
    "explained, and no digit is left": (beside(2.0, 1.0, noise=0.5), Cause.ILL_CONDITIONED),
    "agreement by chance": (beside(1.0, 1.0, noise=0.5), Cause.ILL_CONDITIONED),
    "agreement to a digit": (beside(1.0, 1.0, noise=0.25), Cause.PASSED),
    "a quick look saw more": (beside(1.25, 1.0, noise={LOUD: 0.5, USUAL: 0.125}), Cause.ILL_CONDITIONED),
    "a neighbour's noise": (beside([1.25, 1.0], 1.0, noise=[0.0, 0.125]), Cause.WRONG),
    "one of twenty, in which noise cancelled": (
        beside([1.25] * 20, 1.0, noise={LOUD: [0.125] * 19 + [0.0], THOROUGH: 0.125}),
        Cause.PASSED,
    ),
    "one of ten": (
        beside([1.25] * 10, 1.0, noise={LOUD: [0.125] * 9 + [0.0], THOROUGH: 0.125}),
        Cause.WRONG,
    ),
    "a zero that rounding moves, and that is none": (
        beside([0.0, 1.0], [0.0, 1.0], noise=[0.1, 0.0], is_zero=lambda zeros, noise: zeros & False),
        Cause.ILL_CONDITIONED,
    ),
    "a zero that rounding moves, and that is one": (
        beside([0.0, 1.0], [0.0, 1.0], noise=[0.1, 0.0], is_zero=lambda zeros, noise: zeros),
        Cause.PASSED,
    ),
}

# The gradient says 1.5 and the check 1.
SECOND_WAY = {
    "sides with the check": (slope(1.0), {}, Cause.WRONG),
    "is nearer to the check": (slope(1.125, 0.25), {}, Cause.WRONG),
    "sides with the gradient": (slope(1.5), {}, Cause.UNSURE),
    "is nearer to the gradient": (slope(1.375, 0.0625), {}, Cause.UNSURE),
    "is too coarse, but so far rounding never goes": (slope(1.25, 0.5), {}, Cause.WRONG),
    "is too coarse, and rounding nearly goes so far": (slope(1.25, 0.5), {"noise": 0.01}, Cause.UNSURE),
    "sees nothing": (NOTHING, {}, Cause.UNSURE),
    "is not needed, rounding explains it and leaves no digit": (
        slope(1.0),
        {"noise": 0.25},
        Cause.ILL_CONDITIONED,
    ),
    "is not asked: the check may err as much": (slope(1.0), {"doubt": 0.0625}, Cause.UNSURE),
    "finds a kink, with the gradient inside": (kink(1.0, 2.0), {}, Cause.KINK),
    "finds one the other way round": (kink(2.0, 1.0), {}, Cause.KINK),
    "finds a kink, with the gradient above": (kink(0.0, 1.25), {}, Cause.WRONG),
    "finds a kink, with the gradient below": (kink(2.0, 3.0), {}, Cause.WRONG),
    "finds a kink, and noise reaches into it": (kink(0.0, 1.25), {"noise": 0.2}, Cause.KINK),
    "finds a jump": (kink(INF, INF), {}, Cause.KINK),
    "finds one on the right alone": (kink(2.0, INF), {}, Cause.KINK),
    "finds that a side leaves the domain": (kink(1.5, NAN), {}, Cause.KINK),
    "finds a tie, within ten times the slopes": (tie(0.0, -0.1875), {}, Cause.KINK),
    "finds a tie, beyond": (tie(0.0, -0.125), {}, Cause.WRONG),
}

WITNESS_ERRS = {
    "ten times its error": (beside(1.625, 1.0, doubt=0.0625), Cause.UNSURE),
    "more": (beside(1.75, 1.0, doubt=0.0625), Cause.WRONG),
    "an error that is small beside what is summed": (beside(1 + 5e-8, 1.0, doubt=1e-8), Cause.WRONG),
    "agreement within an error of half the number": (
        beside(1.125, 1.0, doubt=0.75, coarse=True),
        Cause.UNSURE,
    ),
    "where rounding takes more": (beside(1.125, 1.0, doubt=0.75, noise=0.8), Cause.ILL_CONDITIONED),
    "agreement to the last bit": (beside(1.125, 1.125, doubt=0.75), Cause.PASSED),
}

RELU = {"bent": True, "left": 0.0, "right": 1.0}  # relu at 0
LINE = {"bent": True, "left": 1.0, "right": 1.0}  # relu(x) - relu(-x) at 0
JUMP = {"bent": True, "left": -INF, "right": INF}
KINKS = {
    "no second way, the gradient agrees": (beside(0.5, 0.5, bent=True), Cause.KINK),
    "no second way, it does not": (beside(1.5, 0.5, **RELU), Cause.WRONG),
    "no sides": (beside(0.5, 0.5, bent=True, slopes=kink(0, 1)), Cause.KINK),
    "only one side": (beside(0.5, 0.5, bent=True, left=0.0, slopes=kink(0, 1)), Cause.KINK),
    "agrees, inside": (beside(0.5, 0.5, **RELU, slopes=kink(0, 1)), Cause.KINK),
    "another convention than the witness's": (beside(0.0, 0.5, **RELU, slopes=kink(0, 1)), Cause.KINK),
    "above both slopes": (beside(1.5, 0.5, **RELU, slopes=kink(0, 1)), Cause.WRONG),
    "below both slopes": (beside(-0.5, 0.5, **RELU, slopes=kink(0, 1)), Cause.WRONG),
    "above both, noise is no excuse": (beside(1.5, 0.5, **RELU, slopes=kink(0, 1), noise=0.3), Cause.WRONG),
    "above both, though the witness may err": (
        beside(1.5, 0.5, **RELU, slopes=kink(0, 1), doubt=2.0, coarse=True),
        Cause.WRONG,
    ),
    "above both, and near what the witness may err": (
        beside(1.5, 0.5, **RELU, slopes=kink(0, 1), doubt=0.25),
        Cause.WRONG,
    ),
    "below both, though the witness may err": (
        beside(-0.5, 0.5, **RELU, slopes=kink(0, 1), doubt=2.0, coarse=True),
        Cause.WRONG,
    ),
    "above both, but not above a tie's": (
        beside(1.5, 0.5, **RELU, slopes=tie(0, 1), doubt=2.0, coarse=True),
        Cause.KINK,
    ),
    "within what a step from one side errs": (
        beside(1 + 9e-6, 0.5, **RELU, slopes=kink(0, 1), doubt=2.0, coarse=True),
        Cause.KINK,
    ),
    "an exact witness has a convention of its own": (beside(1.5, 1.5, **RELU, slopes=kink(0, 1)), Cause.KINK),
    "a jump, whatever the gradient": (beside(9.0, 0.0, **JUMP, slopes=kink(-INF, INF)), Cause.KINK),
    "a jump, within what the witness errs": (
        beside(9.0, 0.0, **JUMP, slopes=kink(-INF, INF), doubt=9.0),
        Cause.KINK,
    ),
    "no kink in the program, which the witness missed, too": (
        beside(0.0, 0.0, **LINE, slopes=slope(1.0)),
        Cause.WRONG,
    ),
    "no kink in the program, which the witness saw": (
        beside(0.0, 1.0, **LINE, slopes=slope(1.0)),
        Cause.WRONG,
    ),
    "no kink, but the second way sees one when others move": (
        beside(0.0, 0.0, **LINE, slopes=tie(1.0, 0.0)),
        Cause.KINK,
    ),
    "the second way sees nothing": (beside(1.5, 0.5, **RELU, slopes=NOTHING), Cause.UNSURE),
}

NOT_FINITE = {
    "NaN, and there is a slope": (beside(NAN, 1.0, slopes=slope(1.0)), Cause.WRONG),
    "infinite, and there is a slope": (beside(-INF, 1.0, slopes=slope(1.0)), Cause.WRONG),
    "NaN, and no second way": (beside(NAN, 1.0), Cause.WRONG),
    "NaN at a kink": (beside(NAN, 1.0, slopes=kink(-1.0, 1.0)), Cause.KINK),
    "NaN at the end of the domain": (beside(NAN, 1.0, slopes=slope(INF)), Cause.KINK),
    "infinite: float16 cannot hold 1e6": (beside(INF, 1e6, **FLOAT16), Cause.ILL_CONDITIONED),
    "infinite: float32 can": (beside(INF, 1e6, **FLOAT32), Cause.WRONG),
    "the witness, too": (beside(NAN, NAN), Cause.UNSURE),
    "equal infinities": (beside(INF, INF), Cause.UNSURE),
    "the witness, too, but there is a slope": (beside(NAN, NAN, slopes=slope(1.0)), Cause.WRONG),
    "the witness, too, at a kink": (beside(NAN, NAN, slopes=kink(-1.0, 1.0)), Cause.KINK),
    "the witness alone": (beside(1.0, NAN), Cause.UNSURE),
    "the witness alone, the second way agrees": (beside(1.0, NAN, slopes=slope(1.0, 1e-9)), Cause.PASSED),
    "the witness alone, the second way does not": (beside(2.0, NAN, slopes=slope(1.0, 1e-9)), Cause.WRONG),
    "the witness alone, at a kink": (beside(1.0, NAN, slopes=kink(-1.0, 1.0)), Cause.KINK),
    "the witness alone, and nothing is seen": (beside(1.0, NAN, slopes=NOTHING), Cause.UNSURE),
}

# A complex step multiplies what is small, so below 1e-154 the second way is asked.
TINY = {
    "the product has underflowed": (beside(1e-160, 0.0), Cause.UNSURE),
    "both have, differently": (beside(1e-160, 3e-160), Cause.UNSURE),
    "in float16": (beside(0.0, 1e-7, **FLOAT16), Cause.UNSURE),
    "the second way agrees": (beside(1e-160, 0.0, slopes=slope(1e-160, 1e-170)), Cause.PASSED),
    "the second way does not": (beside(1e-160, 0.0, slopes=slope(2e-160, 1e-170)), Cause.WRONG),
    "the second way agrees to a subnormal": (
        beside(1e-320, 0.0, slopes=slope(1e-320 + 5e-324)),
        Cause.PASSED,
    ),
    "x³ at 0: a step of -ε²": (beside(0.0, -1e-160, slopes=slope(1e-170, 1e-160)), Cause.PASSED),
    "a kink": (beside(1e-160, 0.0, slopes=kink(0.0, 1e-160)), Cause.UNSURE),
    "zero on both sides": (beside(0.0, 0.0), Cause.PASSED),
    "zero on both sides, which an ulp would move": (beside(0.0, 0.0, noise=0.1), Cause.PASSED),
}

CASES = {
    f"{question}: {name}": case
    for question, cases in {
        "agree": AGREE,
        "noise": NOISE,
        "the second way": {
            name: (beside(1.5, 1.0, slopes=slopes, **others), cause)
            for name, (slopes, others, cause) in SECOND_WAY.items()
        },
        "the witness errs": WITNESS_ERRS,
        "at an operator's kink": KINKS,
        "not finite": NOT_FINITE,
        "tiny": TINY,
    }.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize(("numbers", "cause"), CASES.values(), ids=CASES)
def test_verdict(numbers: Numbers, cause: Cause) -> None:
    assert judge(numbers).cause == cause


P, U, K, I, W = Cause.PASSED, Cause.UNSURE, Cause.KINK, Cause.ILL_CONDITIONED, Cause.WRONG  # noqa: E741
MORE = EXAMINED + 1
# (numbers, the cause of each, those that are looked at in the second way, in this order)
SEVERAL = {
    "none": (beside([], 1.0), [], []),
    "each by itself": (
        beside([1, 1, NAN, 2], 1.0, noise=[0, 0.5, 0, 0], slopes=slope(1.0)),
        [P, I, W, W],
        [3, 2],
    ),
    "the worst is wrong, and the rest are like it": (
        beside([1.5, 3.0, 1.0, 1.25], 1.0, slopes=slope(1.0)),
        [W, W, P, W],
        [1],
    ),
    "the worst is the farthest from what is allowed": (
        beside([1.5, 3.0], 1.0, noise=[0.0, 0.75], slopes=slope(1.0)),
        [W, W],
        [0],
    ),
    "a kink elsewhere excuses nobody": (
        beside([3.0, 1.5], 1.0, bent=[True, False], slopes=[kink(0.0, 4.0), slope(1.0)]),
        [K, W],
        [1],
    ),
    "nor does a wrong number at a kink accuse others": (
        beside([3.0, 1.5], 1.0, bent=[True, False], left=0, right=1, slopes=[kink(0.0, 1.0), slope(1.5)]),
        [W, U],
        [0, 1],
    ),
    "a wrong number does not accuse what is at a kink": (
        beside([3.0, 1.5], 1.0, bent=[False, True], slopes=slope(1.0)),
        [W, K],
        [0],
    ),
    "undecided, then wrong": (
        beside([3.0, 1.5, 1.25], 1.0, slopes=[slope(3.0), slope(1.0), slope(1.25)]),
        [U, W, W],
        [0, 1],
    ),
    "so many at a hidden kink that not all are looked at": (
        beside([1.5] * MORE, 1.0, slopes=kink(1.0, 2.0)),
        [K] * MORE,
        [*range(EXAMINED)],
    ),
    "so many at an operator's kink": (
        beside([1.5] * MORE, 1.0, bent=True, slopes=kink(1.0, 2.0)),
        [K] * MORE,
        [],
    ),
    "so many that are NaN at kinks": (
        beside([NAN] * MORE, 1.0, slopes=kink(-1.0, 1.0)),
        [K] * MORE,
        [*range(EXAMINED)],
    ),
    "so many that the second way does not tell from the gradient": (
        beside([1.5] * MORE, 1.0, slopes=slope(1.5)),
        [U] * MORE,
        [*range(EXAMINED)],
    ),
    "so many that are NaN": (beside([NAN] * MORE, 1.0, slopes=slope(1.0)), [W] * MORE, [*range(EXAMINED)]),
    "so many that the witness does not know": (
        beside([1.0] * MORE, NAN, slopes=slope(1.0)),
        [P] * EXAMINED + [U],
        [*range(EXAMINED)],
    ),
    "one that is NaN on both sides is looked at once": (beside(NAN, NAN, slopes=slope(1.0)), [W], [0]),
    "one that agrees is not looked at": (beside(1.0, 1.0, slopes=slope(1.0)), [P], []),
    "nor is a tiny one": (beside(1e-320, 1e-320, slopes=slope(1.0)), [P], []),
}


@pytest.mark.parametrize(("numbers", "causes", "looked_at"), SEVERAL.values(), ids=SEVERAL)
def test_several_numbers(numbers: Numbers, causes: list[Cause], looked_at: list[int]) -> None:
    second_way, asked = numbers.slopes, []

    def slopes(k: int) -> Slopes:
        asked.append(int(k))
        assert second_way is not None
        return second_way(k)

    object.__setattr__(numbers, "slopes", second_way and slopes)
    verdict = judge(numbers)
    assert [Cause(cause) for cause in verdict.causes] == causes
    assert asked == looked_at == list(verdict.slopes)


# (numbers, what is not to be shown of what was expected)
UNKNOWN = {
    "agreement": (beside([1.0, 0.0], [1.0, 0.0]), [False, False]),
    "a wrong one": (beside(1.5, 1.0), [False]),
    "a kink": (beside(0.5, 0.5, **RELU), [True]),
    "no digit left": (beside(1.0, 1.0, noise=0.5), [True]),
    "a witness that errs by all of it": (beside(1.5, 1.0, doubt=0.4), [True]),
    "a witness that errs by some of it": (beside(1.5, 1.0, doubt=0.25), [False]),
}


@pytest.mark.parametrize(("numbers", "unknown"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_nothing_can_be_expected_of(numbers: Numbers, unknown: list[bool]) -> None:
    assert judge(numbers).unknown.tolist() == unknown


# (numbers, the runs that are made)
RUNS = {
    "agreement: a loud look at what cancels": (beside(1.0, 1.0, noise=0.1), [LOUD]),
    "a loud pair explains it": (beside(1.25, 1.0, noise=0.125), [LOUD, LOUD]),
    "a quiet pair does": (beside(1.25, 1.0, noise={LOUD: 0.06, QUICK: 0.125}), [LOUD, LOUD, QUICK]),
    "a few do": (beside(1.25, 1.0, noise={LOUD: 0.06, USUAL: 0.125}), [LOUD, LOUD, QUICK, USUAL]),
    "a few nearly do": (beside(1.25, 1.0, noise=0.06), [LOUD, LOUD, QUICK, USUAL, THOROUGH]),
    "more would not explain it either": (beside(2.0, 1.0, noise=0.004), [LOUD, LOUD, QUICK, USUAL]),
    "nothing would": (beside(2.0, 1.0), [LOUD, LOUD]),
    "zero on both sides": (beside(0.0, 0.0, noise=0.1), [LOUD]),
    "a lower precision has no loud look": (beside(1.25, 1.0, **BFLOAT16, noise=0.125), [QUICK, QUICK]),
}


@pytest.mark.parametrize(("numbers", "runs"), RUNS.values(), ids=RUNS)
def test_runs_that_are_made(numbers: Numbers, runs: list[Runs]) -> None:
    measured: list[Runs] = []
    noise: Callable[[np.ndarray, Runs], np.ndarray] = numbers.noise

    def listened(doubtful: np.ndarray, runs: Runs) -> np.ndarray:
        assert doubtful.any() == bool(measured)  # the first look is at all of them
        measured.append(runs)
        return noise(doubtful, runs)

    object.__setattr__(numbers, "noise", listened)
    judge(numbers)
    assert measured == runs


# (numbers, the number that is expected in the end)
EXPECTED = {
    "the witness's": (beside(1.5, 1.0, slopes=slope(1.25)), 1.0),
    "the second way's, where the witness has none": (beside(2.0, NAN, slopes=slope(1.0)), 1.0),
    "the program's slope at an operator's kink": (beside(0.0, 0.0, **LINE, slopes=slope(1.0)), 1.0),
    "the nearest slope, above both": (beside(1.5, 0.5, **RELU, slopes=kink(0.0, 1.0)), 1.0),
    "the nearest slope, below both": (beside(-1.5, 0.5, **RELU, slopes=kink(0.0, 1.0)), 0.0),
    "the witness's, between them": (beside(0.75, 0.5, **RELU, slopes=kink(0.0, 1.0)), 0.5),
    "0 where the slope may be 0": (beside(0.0, -1e-160, slopes=slope(1e-170, 1e-160)), 0.0),
    "not 0 where it cannot be": (beside(0.0, 1e-160, slopes=slope(2e-160, 1e-170)), 2e-160),
}


@pytest.mark.parametrize(("numbers", "expected"), EXPECTED.values(), ids=EXPECTED)
def test_expected_in_the_end(numbers: Numbers, expected: float) -> None:
    before = numbers.expected.copy(), numbers.doubt.copy()
    assert judge(numbers).expected == [expected]
    np.testing.assert_array_equal((numbers.expected, numbers.doubt), before)  # they are the caller's


# (numbers, the place that is named)
WORST = {
    "nobody where all pass": (beside([1.0, 2.0], [1.0, 2.0]), None),
    "nobody where there is nobody": (beside([], 1.0), None),
    "the gravest cause": (beside([9.0, 1.5], [1.0, 1.0], doubt=[0.875, 0.0]), 1),
    "the farthest": (beside([1.5, 3.0, 2.0], 1.0), 1),
    "the farthest from what is allowed": (beside([1.5, 3.0], 1.0, noise=[0.0, 0.75]), 0),
    "a NaN is farther than any number": (beside([1e300, NAN, 3.0], 1.0), 1),
    "as is an infinite number": (beside([1e300, 3.0, INF], 1.0), 2),
}


@pytest.mark.parametrize(("numbers", "place"), WORST.values(), ids=WORST)
def test_the_worst(numbers: Numbers, place: int | None) -> None:
    assert judge(numbers).worst(numbers) == place


def test_the_worst_of_too_few_digits_has_the_fewest() -> None:
    numbers = beside([1.0, 1.0, 1.0], 1.0, noise=[1e-9, 1e-6, 1e-7])
    assert judge(numbers, 12).worst(numbers) == 1


def test_an_element_goes_before_a_random_direction() -> None:
    numbers = beside([1.0, 1.5, 3.0], 1.0)
    verdict = judge(numbers)
    assert [verdict.worst(numbers, elements) for elements in (3, 2, 1, 0)] == [2, 1, 2, 2]


@pytest.mark.parametrize(
    ("relative", "number"),
    [(0.0, INF), (1e-16, 16), (1e-3, 3), (3e-3, 3), (4e-3, 2), (0.3, 1), (0.4, 0), (1.0, 0), (INF, -INF)],
)
def test_digits_of_a_relative_error(relative: float, number: float) -> None:
    """Half a digit is at 10^-0.5 = 0.316: 3e-3 is nearer to three digits, and 4e-3 to two."""
    assert digits(relative) == number


# (numbers, digits)
DIGITS = {
    "the same number": (beside(1.0, 1.0), INF),
    "how far apart they are": (beside(1 + 2.0**-20, 1.0, accuracy=2.0**-20), 6),  # 9.5e-7
    "no more than noise leaves": (beside(1.0, 1.0, noise=1e-5), 5),
    "noise within a rounding for each operator is none": (beside(1.0, 1.0, noise=4 * 2.0**-52), INF),
    "of itself, though more is summed": (beside(1.0, 1.0, size=1e12, noise=1e-5), 5),
    "no more than the witness knows": (beside(1 + 2.0**-40, 1.0, doubt=1e-6), 6),
    "the least of all numbers": (beside([1.0, 1.0, 100.0], [1.0, 1.0, 100.0], noise=[1e-5, 1e-3, 1e-2]), 3),
    "those that pass, alone": (beside([1.0, 3.0], 1.0, noise=[1e-5, 0.0]), 5),
    "where there is nobody": (beside([], 1.0), INF),
}


@pytest.mark.parametrize(("numbers", "number"), DIGITS.values(), ids=DIGITS)
def test_digits_of_a_verdict(numbers: Numbers, number: float) -> None:
    assert judge(numbers).digits == number


@pytest.mark.parametrize(
    ("required", "noise", "cause"),
    [
        (1, 0.3, Cause.PASSED),
        (1, 0.33, Cause.ILL_CONDITIONED),
        (3, 3e-3, Cause.PASSED),
        (3, 3.3e-3, Cause.ILL_CONDITIONED),
        (8, 3e-8, Cause.PASSED),
    ],
)
def test_required_digits(required: int, noise: float, cause: Cause) -> None:
    assert judge(beside(1.0, 1.0, noise=noise), required).cause == cause


@pytest.mark.parametrize(
    ("gradient", "noise", "cause", "status"),
    [
        ([1.0, 1.0], 0.0, Cause.PASSED, PASSED),
        ([1.0, 1.0], [0.0, 0.5], Cause.ILL_CONDITIONED, INCONCLUSIVE),
        ([1.0, 3.0], [0.5, 0.0], Cause.WRONG, FAILED),
        ([], 0.0, Cause.PASSED, PASSED),
    ],
)
def test_the_gravest_cause_is_the_verdict(gradient: list, noise: Any, cause: Cause, status: str) -> None:
    verdict = judge(beside(gradient, 1.0, noise=noise))
    assert (verdict.cause, verdict.cause.status) == (cause, status)
