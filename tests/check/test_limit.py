"""``--check-limit``: how much a Jacobian may cost, be its columns evaluated one by one or many at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import vjpcalc
from vjpcalc.check.jacobian import FEW, shared
from vjpcalc.check.verdict import check
from vjpcalc.limits import DEFAULT_LIMIT

N = 20_000
X = np.linspace(0.5, 2, N)
BLOCKS = X.reshape(-1, 20)
STENCIL = (
    "x[2:] * x[1:-1] - x[:-2]"  # 3 evaluations of 6 operators on 20,000 elements: some 400,000 operations
)

# (program, x, seed, the limit, how J is compared)
LIMITED = {
    "the default": (STENCIL, X, X[2:], DEFAULT_LIMIT, "explicit"),
    "just enough": (STENCIL, X, X[2:], 500_000, "explicit"),
    "less than three evaluations cost": (STENCIL, X, X[2:], 300_000, "probe"),
    "less than one costs": ("tanh(x)", X, X, 10_000, "probe"),
    "none at all": ("tanh(x)", X, X, 0, "probe"),
    "before the last sum": ("mean(diff(x) ** 2)", X, None, 10_000, "probe"),
    "blocks, the default": ("softmax(x, 1)", BLOCKS, BLOCKS, DEFAULT_LIMIT, "explicit"),
    "blocks, less": ("softmax(x, 1)", BLOCKS, BLOCKS, 1_000_000, "probe"),
}


@pytest.mark.parametrize("what", LIMITED)
def test_the_limit_bounds_what_columns_share(what: str) -> None:
    expression, x, seed, limit, method = LIMITED[what]
    found = vjpcalc.vjp(expression, {"x": x}, seed, check_limit=limit).check
    assert (found.method, found.status) == (method, "passed")


def test_the_limit_bounds_the_derivatives_of_functions_too() -> None:
    """Of a function of the user's own, a derivative costs 8 evaluations."""
    use = {"f": lambda x: x * x.tanh()}
    for limit, method in ((DEFAULT_LIMIT, "explicit"), (100_000, "probe")):
        found = vjpcalc.vjp("f(x) * x", {"x": X}, X, use=use, check_limit=limit).check
        assert (found.method, found.status) == (method, "passed")


def test_few_evaluations_are_shared_at_any_size_in_proportion_to_the_limit() -> None:
    assert [shared(limit) for limit in (0, DEFAULT_LIMIT // 4, DEFAULT_LIMIT)] == [0, FEW // 4, FEW]
    assert FEW >= 25  # a 5×5 stencil


def test_a_probe_says_what_it_cannot_see() -> None:
    """cumsum(x) depends on all before: its J is a full triangle."""
    result = vjpcalc.vjp("cumsum(x, 0)", {"x": X}, np.ones(N), check="off")
    passed = check(result)
    leaf = passed.check.leaves["x"]
    (said,) = leaf.sentences("x")
    assert (passed.check.method, leaf.status) == ("probe", "passed")
    assert said.startswith("x: compared along random directions, which add all elements up: an error of one")
    assert f"below some {leaf.tolerance:.1g}" in said
    assert said in str(passed.check)
    for error, passes in ((0.01, True), (100, False)):
        gradient = result.gradients["x"].clone()
        gradient[7] += error * leaf.tolerance / X[7]
        assert bool(check(replace(result, gradients={"x": gradient})).check) is passes


def test_a_column_by_column_check_says_nothing_of_that() -> None:
    assert vjpcalc.vjp("cumsum(x, 0)", {"x": X[:50]}, np.ones(50)).check.leaves["x"].sentences("x") == []
