"""What a function depends on, by its values alone: no less than its Jacobian, and just that where it can."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vjpcalc.check.nans import dependence

X = np.random.default_rng(3).normal(size=(6, 4)) + 3.0
FLAT = np.arange(24).reshape(6, 4)


def blocks(*groups: np.ndarray) -> np.ndarray:
    """The mask (24, 24) in which each group of elements depends on itself, all on all."""
    mask = np.zeros((24, 24), bool)
    for group in groups:
        mask[np.ix_(group, group)] = True
    return mask


# (function, the mask of its Jacobian)
EXACT = {
    "element by element": (lambda x: np.exp(x) * x, np.eye(24, dtype=bool)),
    "rows": (lambda x: x / x.sum(-1, keepdims=True), blocks(*FLAT)),
    "columns": (lambda x: x / x.sum(0, keepdims=True), blocks(*FLAT.T)),
    "swallows NaN": (lambda x: np.nan_to_num(x) ** 2, np.eye(24, dtype=bool)),
    "sums rows without NaN": (lambda x: np.nansum(x, -1), np.repeat(np.eye(6, dtype=bool), 4, 1)),
    "a transpose": (lambda x: x.T * 2, np.eye(24, dtype=bool)[FLAT.T.ravel()]),
    "a slice": (lambda x: x[2:, 1] * 3, np.eye(24, dtype=bool)[FLAT[2:, 1]]),
}


@pytest.mark.parametrize("what", EXACT)
def test_it_is_just_the_pattern(what: str) -> None:
    function, mask = EXACT[what]
    found = dependence(function, X, function(X))
    assert found is not None
    made = np.zeros(mask.shape, bool)
    made[found] = True
    np.testing.assert_array_equal(made, mask)


WIDER: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "neighbours": lambda x: x.ravel()[1:] * x.ravel()[:-1],
    "every third": lambda x: x.ravel()[::3] * x.ravel()[0],
    "reversed": lambda x: x.ravel()[::-1] * x.ravel(),
}


@pytest.mark.parametrize("what", WIDER)
def test_it_is_no_less_than_the_pattern(what: str) -> None:
    function = WIDER[what]
    found = dependence(function, X, function(X))
    true = np.stack([function(X + 0.01 * unit.reshape(X.shape)) - function(X) for unit in np.eye(24)], 1) != 0
    if found is not None:  # None: everything may depend on everything
        made = np.zeros(true.shape, bool)
        made[found] = True
        assert (made | ~true).all()


@pytest.mark.parametrize(
    "function", [lambda x: x * x.sum(), lambda x: np.cumsum(x)[::-1]], ids=["sum", "scan"]
)
def test_a_full_one_has_no_pattern(function) -> None:
    assert dependence(function, X, function(X)) is None


def test_a_function_that_refuses_has_none() -> None:
    def refusing(x: np.ndarray) -> np.ndarray:
        if np.isnan(x).any():
            raise ValueError("no NaN here")
        return x

    assert dependence(refusing, X, X) is None
