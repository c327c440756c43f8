"""Values at which the naive formula of an operator breaks: the gradient is right, or the check says why not.

Each case is (expression, x, seed, value, gradient, verdict): numbers by hand or with 50 digits;
``...`` stands for what is not held to anything.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import vjpcalc

inf, nan = math.inf, math.nan
e = math.e
sig = 1 / (1 + e)  # sigmoid(-1)
slope = sig * (1 - sig)
passed, unsure, failed = "passed", "inconclusive", "failed"

# fmt: off
CASES = [
    # overflow and underflow of exp
    ("logsumexp(x, 0)",        [1000, 1000], None,     1000.6931471805599,   [0.5, 0.5],         passed),
    ("logsumexp(x, 0)",        [-1000, -1001], None,   -999.6867383124818,   [1 - sig, sig],     passed),
    ("logsumexp(x, 0)",        [1000, -1000], None,    1000,                 [1, 0],             passed),
    ("logsumexp(x, 0)",        [-inf, 0],    None,     0,                    [0, 1],             passed),
    # 1 - 1 is all that torch computes of it
    ("softmax(x, 0)",          [1000, -1000], [1, 0],  [1, 0],               [0, 0],             unsure),
    ("softmax(x, 0)",          [1000, 999],  [1, 0],   [1 - sig, sig],       [slope, -slope],    passed),
    ("softmax(x, 0)",          [-1000, -1000], [1, 0], [0.5, 0.5],           [0.25, -0.25],      passed),
    ("log_softmax(x, 0)",      [1000, -1000], [0, 1],  [0, -2000],           [-1, 1],            passed),
    ("logcumsumexp(x, 0)",     [-1000, 1000], [1, 1],  [-1000, 1000],        [1, 1],             passed),
    ("logaddexp(x, -x)",       [800, -800],  [1, 1],   [800, 800],           [1, -1],            passed),
    ("logaddexp(x, x)",        [-800.0],     [1],      [-799.30685281944],   [1],                passed),
    ("sigmoid(x)",             [-800, 800],  [1, 1],   [0, 1],               [0, 0],             passed),
    ("softplus(x)",            [-800, 0, 800], [1, 1, 1], [0, math.log(2), 800], [0, 0.5, 1],    passed),
    ("logsigmoid(x)",          [-800, 0, 800], [1, 1, 1], [-800, -math.log(2), 0], [1, 0.5, 0],  passed),
    ("silu(x)",                [-800, 800],  [1, 1],   [0, 800],             [0, 1],             passed),
    ("mish(x)",                [-800, 800],  [1, 1],   [0, 800],             [0, 1],             passed),
    ("gelu(x)",                [-40, 40],    [1, 1],   [0, 40],              [0, 1],             passed),
    ("tanh(x)",                [-800, 800],  [1, 1],   [-1, 1],              [0, 0],             passed),
    ("elu(x)",                 [-800, 800],  [1, 1],   [-1, 800],            [0, 1],             passed),
    ("log_ndtr(x)",            [-30.0],      [1],      [-454.32124395634],   [30.033259667434],  passed),
    ("erfcx(x)",               [1e3],        [1],      [5.6418930145339e-4], [-5.6418873726549e-7], passed),
    ("lgamma(x)",              [1e10],       [1],      [220258509288.811],   [23.0258509299],    passed),
    ("i0e(x)",                 [800.0],      [1],      [0.014106945005869],  [-8.8195993421873e-6], passed),
    # cancellation
    ("log1p(x)",               [1e-12, -1e-12], [1, 1], [1e-12, -1e-12],     [1, 1],             passed),
    ("expm1(x)",               [1e-12, -1e-12], [1, 1], [1e-12, -1e-12],     [1, 1],             passed),
    ("sinc(x)",                [0.0],        [1],      [1],                  [0],                passed),
    ("xlogy(x, x)",            [1e-200],     [1],      [-4.6051701859881e-198], [-459.51701859881], passed),
    ("hypot(x, 1e-200)",       [1e-200],     [1],      [1.4142135623731e-200], [0.70710678118655], passed),
    ("hypot(x, 1e200)",        [1e200],      [1],      [1.4142135623731e200], [0.70710678118655], passed),
    # near and at the end of a domain
    ("asin(x)",                [1 - 2**-40], [1],      [1.5707949780957],    [741455.20018963],  unsure),
    ("asin(x)",                [1 - 2**-20], [1],      [1.5694152587531],    [724.07751656858],  passed),
    ("asin(x)",                [1.0],        [1],      [math.pi / 2],        [inf],              unsure),
    ("acosh(x)",               [1 + 2**-40], [1],      [1.3486991523485e-6], [741455.2001893],   unsure),
    ("sqrt(x)",                [0.0],        [1],      [0],                  [inf],              unsure),
    ("sqrt(x)",                [1e-200],     [1],      [1e-100],             [5e99],             passed),
    ("log(x)",                 [0.0],        [1],      [-inf],               [inf],              unsure),
    ("log(x)",                 [-1.0],       [1],      [nan],                [-1],               unsure),
    ("erfinv(x)",              [1.0],        [1],      [inf],                [inf],              unsure),
    ("norm(x)",                [0, 0],       None,     0,                    [0, 0],             unsure),
    ("norm(x)",                [0, 3],       None,     3,                    [0, 1],             passed),
    ("norm(x, 1)",             [0, 3],       None,     3,                    [0, 1],             unsure),
    ("norm(x, inf)",           [3, -3],      None,     3,                    [0.5, -0.5],        unsure),
    ("std(x)",                 [2, 2],       None,     0,                    [0, 0],             unsure),
    ("abs(x)",                 [0.0],        [1],      [0],                  [0],                unsure),
    ("atan2(x, 0.0 * x)",      [0.0],        [1],      [0],                  [0],                ...),
    # powers and products at 0
    ("x ** 0",                 [0.0],        [1],      [1],                  [0],                passed),
    ("x ** 1",                 [0.0],        [1],      [0],                  [1],                passed),
    ("x ** 2",                 [0.0, -3.0],  [1, 1],   [0, 9],               [0, -6],            passed),
    ("x ** 3",                 [0.0, -3.0],  [1, 1],   [0, -27],             [0, 27],            passed),
    ("x ** 0.5",               [0.0],        [1],      [0],                  [inf],              unsure),
    ("x ** -1",                [-4.0],       [1],      [-0.25],              [-0.0625],          passed),
    ("2 ** x",                 [0.0, 1000],  [1, 0],   [1, 2.0**1000],       [math.log(2), 0],   passed),
    ("prod(x)",                [0, 2, 3],    None,     0,                    [6, 0, 0],          passed),
    ("prod(x)",                [0, 0, 3],    None,     0,                    [0, 0, 0],          passed),
    ("prod(x, dim=1)",         [[0, 2], [3, 4]], [1, 10], [0, 12],           [[2, 0], [40, 30]], passed),
    ("cumprod(x, 0)",          [2, 0, 3],    [1, 1, 1], [2, 0, 0],           [1, 8, 0],          passed),
    # ties
    ("amax(x)",                [3, 3, 1],    None,     3,                    [0.5, 0.5, 0],      unsure),
    ("max(x)",                 [3, 3, 1],    None,     3,                    [0.5, 0.5, 0],      unsure),
    ("max(x, 0).values",       [3, 3, 1],    None,     3,                    [1, 0, 0],          unsure),
    ("amin(x)",                [3, 1, 1],    None,     1,                    [0, 0.5, 0.5],      unsure),
    ("median(x)",              [2, 2, 5],    None,     2,                    [0.5, 0.5, 0],      unsure),
    ("median(x, 0).values",    [2, 2, 5],    None,     2,                    ...,                unsure),
    ("sort(x).values",         [2, 2, 1],    [1, 10, 100], [1, 2, 2],        [10, 100, 1],       ...),
    ("cummax(x, 0).values",    [2, 2, 1],    [1, 10, 100], [2, 2, 2],        [1, 110, 0],        unsure),
    ("maximum(x, 0)",          [0.0],        [1],      [0],                  [0.5],              unsure),
    ("relu(x)",                [0.0],        [1],      [0],                  [0],                unsure),
    ("clamp(x, 0, 1)",         [0.0, 1.0],   [1, 1],   [0, 1],               [1, 1],             unsure),
    # a branch not taken that is not finite
    ("where(x > 0, sqrt(x), 0)", [0.0, 4.0], [1, 1],   [0, 2],               [nan, 0.25],        unsure),
    ("where(x > 0, log(x), x)", [-1.0],      [1],      [-1],                 [1],                passed),
    ("where(x > 0, x, x / 0)", [2.0],        [1],      [2],                  [nan],              failed),
    ("where(x > 0, sqrt(where(x > 0, x, 1)), 0)", [-1.0, 4.0], [1, 1], [0, 2], [0, 0.25],        passed),
    ("nansum(x)",              [nan, 2],     None,     2,                    [0, 1],             passed),
    # the size of the numbers
    ("x ** 2",                 [1e9],        [1],      [1e18],               [2e9],              passed),
    ("x ** 2",                 [1e-160],     [1],      [1e-320],             [2e-160],           unsure),
    ("x * exp(-x)",            [1e-6, 700.0], [1, 1],  ...,                  ...,                passed),
    ("sin(x)",                 [1e9],        [1],      [math.sin(1e9)],      [math.cos(1e9)],    passed),
    ("1 / x",                  [1e-200],     [0.5],    [1e200],              [-inf],             unsure),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} at {case[1]}")
def test_breaking_value(case: tuple[Any, ...]) -> None:
    expression, x, seed, value, gradient, verdict = case
    found = vjpcalc.vjp(expression, {"x": x}, seed)
    if value is not ...:
        np.testing.assert_allclose(found.outputs["out"].numpy(), value, rtol=1e-11, err_msg="value")
    if gradient is not ...:
        actual = found.gradients["x"].numpy()
        np.testing.assert_allclose(actual, gradient, rtol=1e-7, atol=1e-200, err_msg="gradient")
    reason = found.check.leaves["x"].reason
    if verdict is not ...:
        assert found.check.status == verdict, reason
    assert (reason is None) == (found.check.status == "passed")
