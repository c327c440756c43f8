"""The sentences of the check: each is true of the numbers it is made of, and shows what it speaks of."""

from __future__ import annotations

import math

import numpy as np
import pytest

import vjpcalc
from vjpcalc.check import words

SENTENCES = [
    # two numbers with as many digits as tell them apart
    (words.apart("x[1]", 2.0, 4.0),
     'x[1]: backward gives 2, Jᵀ·seed is 4'),
    (words.apart("x", 0.072329219187091898, 0.072329488128511796),
     'x: backward gives 0.0723292192, Jᵀ·seed is 0.0723294881'),
    (words.apart("x", 1.5, -1.5000000000000016),
     'x: backward gives 1.5, Jᵀ·seed is -1.5'),
    (words.apart("x", 1 / 3, 1 / 3 + 2**-54),
     'x: backward gives 0.33333333333333331, Jᵀ·seed is 0.33333333333333337'),
    (words.apart("x", -0.0, 2e-300),
     'x: backward gives 0, Jᵀ·seed is 2e-300'),
    # a kink: each slope, and where torch's lies
    (words.kink("x", "a kink of relu", [0.0, 1.0], 0.0),
     "x: a kink of relu: the slope is 0 from the left and 1 from the right; torch's 0 equals the left one"),
    (words.kink("x", "a kink", [0.0, 1.0], 1.0 - 1e-9),
     "x: a kink: the slope is 0 from the left and 1 from the right; torch's 1 equals the right one"),
    (words.kink("x", "a kink of abs", [-1.0, 1.0], -0.0),
     "x: a kink of abs: the slope is -1 from the left and 1 from the right; torch's 0 lies between them"),
    (words.kink("x", "a kink", [-1.0, 1.0], 3.0),
     "x: a kink: the slope is -1 from the left and 1 from the right; torch's 3 does not lie between them"),
    # "between" is relative to the slopes: 1e-9 is no more between 1e-12 and 2e-12 than 1 is
    (words.kink("x", "a kink", [1e-12, 2e-12], 1e-9),
     "x: a kink: the slope is 1e-12 from the left and 2e-12 from the right; torch's 1e-09 does not lie "
     "between them"),
    (words.kink("x", "a kink", [1e12, 2e12], 1e12 + 0.5),
     "x: a kink: the slope is 1e+12 from the left and 2e+12 from the right; torch's 1e+12 equals the "
     "left one"),
    (words.kink("x", "a kink", [0.0, 0.0], 0.0),
     "x: a kink: the slope is 0 from either side, and torch's too"),
    (words.kink("x", "a kink", [2.0, 2.0 + 1e-9], 1.0),
     "x: a kink: the slope is 2 from either side; torch's 1 differs"),
    (words.kink("x", "a kink", [1.00001, 1.00002], 1.00001),
     "x: a kink: the slope is 1.00001 from the left and 1.00002 from the right; torch's 1.00001 equals "
     "the left one"),
    (words.kink("x", "a kink", [0.0, 1.0], 3.0, words.YOURS),
     "x: a kink: the slope is 0 from the left and 1 from the right; your backward's 3 does not lie between "
     "them"),
    (words.kink("x", "a kink", [2.0, 2.0], 2.0, words.YOURS),
     "x: a kink: the slope is 2 from either side, and your backward's too"),
    (words.kink("x", "a kink of floor", [0.0, math.inf], 0.0),
     'x: a kink of floor'),
    (words.hidden_kink(["median"], 4),
     'a kink of median: the slopes differ where several elements of the leaf move at once'),
    (words.hidden_kink([], 2),
     'a kink: the slopes differ where both elements of the leaf move at once'),
    (words.hidden_kink(["abs"], 1),
     'a kink of abs: another step gives another slope'),
    # digits
    (words.ill_conditioned("x[1]", -0.0, 1.66e-16),
     "x[1]: ill-conditioned: one-ulp changes of the values move the gradient 0 by up to 1.7e-16"),
    (words.few_digits("x[2]", 0, "'exp(x) - 1'"),
     "x[2]: 0 digits of the derivative: 'exp(x) - 1' cancels"),
    (words.few_digits("x", 1),
     'x: 1 digit of the derivative: rounding on the way leaves no more'),
    (words.rounded_away("x", "'1 + x'"),
     "x: 0 digits of the derivative: '1 + x' rounds them away"),
    (words.no_step("x[1]", -2.5e17),
     "x[1]: differences of the forward show no slope: it jumps or has a pole here, nearer than the smallest "
     "step (backward gives -2.5e+17)"),
    (words.not_finite(math.nan) + ", " + words.not_finite(math.inf) + ", " + words.not_finite(-math.inf),
     "NaN, infinite, minus infinity"),
    # a cotangent
    (words.cotangent(np.array([[1.5, -0.0], [0.1, 2.0]])),
     "v = [[1.5, 0], [0.1, 2]]"),
    (words.cotangent(np.array(-2.4375)),
     "v = -2.4375"),
    (words.cotangent(np.arange(8.0).reshape(2, 4)),
     "v = [0, 1, 2, 3, 4, 5, …] of shape (2, 4)"),
    (words.rounded_forward(3, 2.0**-24),
     '3 digits: the forward is rounded to 6e-8'),
    (words.too_small("x", 3e-170, -1e-170),
     "x: backward gives 3e-170, Jᵀ·seed is -1e-170: too small to judge, since products of such numbers "
     "underflow"),
    # a backward that is not finite
    (words.not_finite_gradient("x[0]", math.nan, 1.0, "first made by the backward of 'sqrt(x)'",
                               words.remedy("sqrt", "'where(c, x, y)'")),
     "x[0]: backward gives NaN, Jᵀ·seed is 1: first made by the backward of 'sqrt(x)'; 'where(c, x, y)' "
     "sends 0 into it, and 0 · infinity is NaN: choose its argument as well, sqrt(where(condition, x, "
     "1))"),
    (words.not_finite_gradient("x", -math.inf, 0.0),
     'x: backward gives -infinity, Jᵀ·seed is 0'),
    # forwards
    (words.forwards_differ("'out'", 1.0, 1.25, "float64", None),
     "torch computes 1 for 'out', the reference engine 1.25"),
    (words.forwards_differ("'out'", 1.0, 1.25, "float16", None),
     "torch computes 1 for 'out', the reference engine 1.25: ill-conditioned in float16"),
    (words.wrapped_around("'k + k'", 400.0, "uint8"),
     "'k + k' is 400, more than uint8 holds: it wrapped around"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "expected"), SENTENCES, ids=range(len(SENTENCES)))
def test_a_sentence(sentence: str, expected: str) -> None:
    assert sentence == expected


def test_every_operator_with_a_remedy_is_one() -> None:
    from vjpcalc.operators.registry import table

    names = {name for row in table() for name in (row.name, *row.aliases)}
    assert {operator for operators in words.REMEDIES for operator in operators} <= names
    assert words.remedy("tanh") is None


# ---- torch's forward and the reference's, end to end -------------------------------------------------------

k = np.array([2, 200, 3], np.uint8)
DIFFER = {
    "bytes that wrap around": (
        "x * (k + k)", {"x": np.ones(3, np.float32), "k": k}, np.ones(3),
        "torch computes 144 for 'out' at [1], the reference engine 400: 'k + k' is 400, more than uint8 "
        "holds: it wrapped around",
    ),
    "bytes below 0": (
        "sum(x * (k - 3))", {"x": np.ones(3), "k": k}, None,
        "torch computes 452 for 'out', the reference engine 196: 'k - 3' is -1, more than uint8 holds: it "
        "wrapped around",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DIFFER)
def test_forwards_that_differ_are_shown_with_what_is_known(what: str) -> None:
    expression, inputs, seed, reason = DIFFER[what]
    leaf = vjpcalc.vjp(expression, inputs, seed).check.leaves["x"]
    assert (leaf.status, leaf.reason) == ("inconclusive", reason)


SINGULAR = {
    "inv(x)": "inv cannot be computed of these numbers",
    "solve(x, [1, 2])": "solve cannot be computed of these numbers",
    "cholesky(-x)": "cholesky cannot be computed of these numbers",
    "matrix_power(x, -2)": "matrix_power cannot be computed of these numbers",
    "binary_cross_entropy(x, x / 4)": "binary_cross_entropy cannot be computed of these arguments",
}


@pytest.mark.parametrize("expression", SINGULAR)
def test_numbers_at_fault_are_not_called_a_shape(expression: str) -> None:
    with pytest.raises(vjpcalc.Diagnostic) as raised:
        vjpcalc.vjp(expression, {"x": [[1.0, 2.0], [2.0, 4.0]]})
    assert (raised.value.kind, raised.value.message) == ("value", SINGULAR[expression])
    assert raised.value.hint


@pytest.mark.parametrize(
    "expression", ["inv(x)", "det(x)", "x @ x", "reshape(x, 5)", "cat([x, x[0]])", "x[7]"]
)
def test_a_shape_at_fault_is_called_one(expression: str) -> None:
    with pytest.raises(vjpcalc.Diagnostic, match="shape") as raised:
        vjpcalc.vjp(expression, {"x": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]})
    assert raised.value.kind == "shape"
