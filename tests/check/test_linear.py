"""The derivative of a node as a linear map: its products, its errors, and what of it is stored."""

from __future__ import annotations

import numpy as np
import pytest

from vjpcalc.check.derivative import DIFFERENCES
from vjpcalc.check.jacobian import Jacobian, Layout
from vjpcalc.check.linear import Linear

DENSE = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
BANDED = np.diag([1.0, 2, 3, 4, 5, 6]) + np.diag([7.0, 0, 8, 0, 9], 1)


def jacobian(matrix: np.ndarray, errors: np.ndarray, *, sparse: bool = False) -> Jacobian:
    scale = np.ones(matrix.shape[1])
    if not sparse:
        return Jacobian("x", Layout(matrix.shape, scale), matrix, errors, DIFFERENCES)
    rows, columns = np.nonzero((matrix != 0) | np.eye(*matrix.shape, dtype=bool))
    layout = Layout(matrix.shape, scale, rows, columns, np.arange(matrix.shape[1]))
    return Jacobian("x", layout, matrix[rows, columns], errors[rows, columns], DIFFERENCES)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("matrix", [DENSE, BANDED], ids=["dense", "banded"])
def test_products_are_those_of_the_matrix(matrix: np.ndarray, sparse: bool) -> None:
    linear = Linear.of(jacobian(matrix, 1e-12 * np.abs(matrix), sparse=sparse))
    u = np.linspace(-1.0, 2.0, matrix.shape[1])
    np.testing.assert_allclose(linear.along(u), matrix @ u, rtol=1e-15)
    np.testing.assert_allclose(linear.doubt(u), 1e-12 * np.abs(matrix) @ np.abs(u), rtol=1e-15)
    assert linear.relative == pytest.approx(1e-12)


def test_zeros_are_not_stored_where_they_are_most_of_it() -> None:
    linear = Linear.of(jacobian(BANDED, np.zeros(BANDED.shape)))
    assert linear.rows is not None
    assert sorted(linear.values) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert Linear.of(jacobian(DENSE, np.zeros(DENSE.shape))).rows is None


def test_a_zero_that_may_be_something_is_stored() -> None:
    errors = np.zeros(BANDED.shape)
    errors[5, 0] = 1e-3
    linear = Linear.of(jacobian(BANDED, errors))
    assert linear.doubt(np.eye(6)[0]).tolist() == [0, 0, 0, 0, 0, 1e-3]


def test_nothing_at_all_is_no_error() -> None:
    assert Linear.of(jacobian(np.zeros((2, 3)), np.zeros((2, 3)))).relative == 0.0
