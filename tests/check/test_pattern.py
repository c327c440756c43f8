"""What the wrong numbers of a gradient have in common: said where it fits exactly, and never by chance.

The mistakes are made here, by hand, on the right numbers ``E`` or on a Jacobian that is written out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from vjpcalc.check.pattern import IGNORED, cotangents, dimensions, pattern, suspects

E = np.array([[1.0, -2.0, 3.5], [4.25, 5.0, -6.0], [0.5, 8.0, 9.75], [10.0, -11.5, 12.0]])
X = np.array([[0.5, -1.0, 2.0], [-3.0, 1.5, -0.25], [4.0, -0.75, 1.25], [-2.5, 3.0, -5.0]])
SQUARE = E[:3]
CUBE = np.arange(1.0, 13.0).reshape(2, 3, 2) ** 2
VECTOR = np.array([1.0, -2.0, 3.5, 4.25, 5.0])
ZERO = "zero, as where None is returned, or .item() or .detach() cuts the graph"


def found(gradient: Any, expected: Any, *, relative: float = 1e-14, **more: Any) -> str | None:
    """The pattern, ``wrong`` being what rounding does not explain."""
    gradient, expected = np.asarray(gradient, float), np.asarray(expected, float)
    tolerance = relative * np.maximum(np.abs(expected), np.abs(gradient))
    return pattern(gradient, expected, np.abs(gradient - expected) > tolerance, tolerance, **more)


def with_row(row: int, values: np.ndarray) -> np.ndarray:
    changed = E.copy()
    changed[row] = values
    return changed


WHOLE = {
    "the sign": (-E, E, "the sign is flipped"),
    "a factor 2 forgotten": (E / 2, E, "1/2 of what it should be"),
    "counted twice": (2 * E, E, "2 × what it should be"),
    "a mean over rows": (
        E / 4, E, "1/4 of what it should be, and 4 is the number of rows of x: a mean in place of a sum?",
    ),
    "a mean over columns": (
        E / 3, E, "1/3 of what it should be, and 3 is the number of columns of x: a mean in place of a sum?",
    ),
    "a sum over all": (
        12 * E, E, "12 × what it should be, and 12 is the number of elements of x: a sum in place of a mean?",
    ),
    "a whole factor": (-7 * E, E, "-7 × what it should be"),
    "a fraction": (0.75 * E, E, "3/4 × what it should be"),
    "a part in a million": (1.000001 * E, E, "1.000001 × what it should be"),
    "a factor of no name": (2.71 * E, E, "2.71 × what it should be"),
    "a tenth too much": (1.1 * E, E, "1.1 × what it should be"),
    "three times, of a single number": (12.0, 4.0, "3 × what it should be"),
    "a fifth, of a single number": (0.3, 1.5, "1/5 of what it should be"),
    "equal numbers, five times": (np.full(3, 10.0), np.full(3, 2.0), "5 × what it should be"),
    "log2 without its ln 2": (E * math.log(2), E, "ln 2 (0.6931) × what it should be"),
    "degrees": (-E * math.pi / 180, E, "-π/180 (-0.01745) × what it should be"),
    "None returned": (0 * E, E, "all zero"),
    "None returned for a number": (0.0, 3.0, "zero"),
    "transposed": (SQUARE.T, SQUARE, "transposed"),
    "transposed and reshaped": (E.T.reshape(4, 3), E, "transposed, then reshaped"),
    "reshaped, not transposed": (E.reshape(3, 4).T, E, "reshaped where a transpose is due"),
    "two dimensions of three": (CUBE.swapaxes(0, 2), CUBE, "dimensions 0 and 2 are swapped"),
    "reversed": (VECTOR[::-1], VECTOR, "reversed"),
    "rows reversed": (E[::-1], E, "reversed along dimension 0"),
    "off by one": (np.roll(VECTOR, 1), VECTOR, "shifted by one"),
    "off by one, a zero comes in": ([*VECTOR[1:], 0.0], VECTOR, "shifted by one"),
    "permuted": (VECTOR[[2, 0, 1, 4, 3]], VECTOR, "the right numbers in another order"),
    "summed over the batch": (
        np.tile(E.sum(0), (4, 1)), E, "each is the sum over dimension 0 of what they should be",
    ),
    "averaged over columns": (
        np.tile(E.mean(1)[:, None], 3), E, "each is the mean over dimension 1 of what they should be",
    ),
    "summed over everything": (
        np.full(5, VECTOR.sum()), VECTOR, "each is the sum of what they should be",
    ),
    "one row for all": (np.tile([7.0, 8.0, 9.0], (4, 1)), E, "constant along dimension 0"),
    "one number for all": (np.full((4, 3), 0.125), E, "0.125 everywhere"),
    "a term forgotten": (E - 0.5, E, "too small by 0.5 everywhere"),
    "a mean not subtracted": (
        E + np.array([[1.0], [2.5], [-3.0], [4.0]]), E,
        "off by the same number along dimension 1: is a mean not subtracted?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WHOLE)
def test_a_pattern_of_the_whole_leaf(what: str) -> None:
    gradient, expected, words = WHOLE[what]
    assert found(gradient, expected) == words


PARTS = {
    "the sign of negative inputs": (np.where(X < 0, -E, E), "where x < 0, the sign is flipped"),
    "a branch with a factor": (np.where(np.abs(X) > 1, 7 * E, E), "where |x| > 1, 7 × what it should be"),
    "an absolute value": (np.abs(E), "where Jᵀ·seed is negative, the sign is flipped"),
    "a row without gradient": (with_row(2, np.zeros(3)), "in row 2, zero"),
    "the first and the last": (
        E * [[2], [1], [1], [2]], "in the first and the last row, 2 × what it should be",
    ),
    "no place of a name": (
        E * [[-1, 1, 1], [1, -1, 1], [1, 1, 1], [1, 1, 1]], "where it is wrong, the sign is flipped",
    ),
    "one number alone": (
        np.where(E == 3.5, 10.5, E), "where it is wrong, 3 × what it should be",
    ),
    "a place and no pattern": (with_row(1, np.array([0.3, 0.7, 0.9])), "wrong in row 1 only"),
}  # fmt: skip


@pytest.mark.parametrize("what", PARTS)
def test_a_pattern_of_the_wrong_elements(what: str) -> None:
    gradient, words = PARTS[what]
    assert found(gradient, E, values=X) == words


def test_a_power_too_few_and_one_too_many() -> None:
    """3x² where x³ has 3x·x: hand-written backwards drop the x or take it twice."""
    assert found(3 * X * 1.0, 3 * X**2, values=X) == "a factor x is missing"
    assert found(3 * X**3, 3 * X**2, values=X) == "a factor x too many"


def test_gradients_of_two_leaves_that_are_swapped() -> None:
    """a·b, whose backward returns (g·a, g·b)."""
    a, b = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    assert found(a, b, name="a", others={"b": (b, a)}) == "the gradients of a and b are swapped"
    assert found(2.0, 3.0, name="a", others={"b": (np.array(3.0), np.array(2.0))}) == (
        "the gradients of a and b are swapped"
    )
    assert found(a, b, name="a", others={"b": (a, a)}) == "it equals Jᵀ·v of b"
    assert found(2.0, 3.0, name="a", others={"b": (np.array(2.0), np.array(2.0))}) is None


# ---- what a gradient may be equal to, by its Jacobian ------------------------------------------------------


class Matrix:
    """A Jacobian as ``suspects`` uses one, with the error of its entries."""

    def __init__(self, entries: Any, error: float = 0.0) -> None:
        self.entries = np.asarray(entries, float)
        self.errors = np.full(self.entries.shape, error)
        self.shape = self.entries.shape

    def transposed(self, v: np.ndarray, entries: np.ndarray | None = None) -> np.ndarray:
        return (self.entries if entries is None else entries).T @ v

    def dense(self, entries: np.ndarray | None = None) -> np.ndarray:
        return self.entries if entries is None else entries


Y = np.exp([1.0, 2.0, 3.0]) / np.exp([1.0, 2.0, 3.0]).sum()  # a softmax
W = np.array([[1.0, 2.0], [3.0, 5.0]])
V = np.array([1.0, 2.0, 5.0])
SUSPECTS = {
    "grad_output forgotten": (  # x² of three elements
        Matrix(np.diag([2.0, 4.0, 6.0])), V, [2.0, 4.0, 6.0], "the seed is ignored: it equals Jᵀ·ones",
    ),
    "grad_output taken twice": (
        Matrix(np.diag([2.0, 4.0, 6.0])), V, [2.0, 16.0, 150.0], "the seed counts twice: it equals Jᵀ·v²",
    ),
    "grad_output passed on": (
        Matrix(np.diag([2.0, 4.0, 6.0])), V, V, "it equals the seed: handed on as it came",
    ),
    "softmax by its diagonal": (
        Matrix(np.diag(Y) - np.outer(Y, Y)), V, V * Y * (1 - Y), "the diagonal of J alone counts",
    ),
    "W @ g where W.T @ g is due": (
        Matrix(W), np.array([1.0, 2.0]), W @ [1.0, 2.0], "it equals J·v, not Jᵀ·v: a transpose is missing",
    ),
    "a bias broadcast over two rows": (  # out[i, j] = b[j], whose backward takes the first row
        Matrix(np.vstack([np.eye(2), np.eye(2)])), np.array([[1.0, 2.0], [3.0, 5.0]]), [1.0, 2.0],
        "out[0, :] alone counts: a sum over the others is missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SUSPECTS)
def test_a_gradient_that_equals_what_it_should_not(what: str) -> None:
    J, seed, gradient, words = SUSPECTS[what]  # noqa: N806 (it is the field's name for it)
    expected = J.transposed(seed.ravel())
    made = suspects(J, {"out": seed}, expected.shape)  # type: ignore[arg-type]
    assert found(gradient, expected, suspects=made) == words


def test_a_seed_is_called_ignored_where_it_is_zero_and_jacobians_are_not_exact() -> None:
    """x² by differences, whose Jᵀ·v is exactly 0 where v is: J errs there all the same, by 1e-11."""
    J, seed = Matrix(np.diag([2.0, 4.0 + 1e-11, 6.0]), error=1e-10), np.array([1.0, 0.0, 0.0])  # noqa: N806
    made = suspects(J, {"out": seed}, (3,))  # type: ignore[arg-type]
    assert found([2.0, 4.0, 6.0], J.transposed(seed), suspects=made) == IGNORED


# Where two patterns fit, the simpler one is said, and what explains the whole leaf before a part of it.
TIES = {
    "the mean over rows that are alike, or the first row": (
        Matrix(np.vstack([np.diag([1.0, 2.0, 4.0])] * 3)), np.ones((3, 3)), [1.0, 2.0, 4.0],
        "1/3 of what it should be, and 3 is the number of rows of out and of columns of out: a mean in place "
        "of a sum?",
    ),
    "one of a seed of two is ignored, or an element counts twice": (
        Matrix(np.diag([2.0, 4.0])), np.array([1.0, 0.5]), [2.0, 4.0], IGNORED,
    ),
    "a factor, or shifted by one": (
        Matrix(np.diag([1.0, 3.0, 9.0, 27.0])), np.array([1.0, 1.0, 1.0, 1.0]), [3.0, 9.0, 27.0, 81.0],
        "3 × what it should be",
    ),
    "a sign, or swapped": (
        Matrix(np.diag([-2.0, 2.0])), np.array([1.0, 1.0]), [2.0, -2.0], "the sign is flipped",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TIES)
def test_of_two_that_fit_the_simpler_one_is_said(what: str) -> None:
    J, seed, gradient, words = TIES[what]  # noqa: N806
    expected = J.transposed(seed.ravel())
    made = suspects(J, {"out": seed}, expected.shape)  # type: ignore[arg-type]
    sizes = dimensions({"out": seed.shape}) if seed.ndim > 1 else {}
    assert found(gradient, expected, suspects=made, sizes=sizes) == words


def test_a_seed_of_one_number_is_a_factor() -> None:
    assert found(4 * E, E, seed=0.25) == (
        "4 × what it should be, and 0.25 is every element of the seed: is the seed ignored?"
    )
    assert found(3 * E, E, seed=3.0, sizes={}) == (
        "3 × what it should be, and 3 is every element of the seed: does it count twice?"
    )
    assert found(2 * E, E, seed=1.0) == "2 × what it should be"


def test_only_a_function_of_the_users_returns_none() -> None:
    """det(x) of a singular matrix: torch gives 0, and no graph is cut."""
    assert found(0 * E, E) == "all zero"
    assert found(0 * E, E, yours=True) == f"all {ZERO}"
    assert found(0.0, 3.0, yours=True) == ZERO


def test_a_seed_of_ones_is_not_called_ignored() -> None:
    J, ones = Matrix(np.diag([2.0, 4.0, 6.0])), np.ones(3)  # noqa: N806
    made = suspects(J, {"out": ones}, (3,))  # type: ignore[arg-type]
    assert found([2.0, 4.0, 7.0], [2.0, 4.0, 6.0], suspects=made) is None


def test_sizes_are_called_by_what_they_count() -> None:
    assert dimensions({"x": (5,), "W": (2, 3)}) == {
        "elements of x": 5, "rows of W": 2, "columns of W": 3, "elements of W": 6,
    }  # fmt: skip
    words = found(VECTOR / 32, VECTOR, sizes={"rows of images": 32})
    assert words == (
        "1/32 of what it should be, and 32 is the number of rows of images: a mean in place of a sum?"
    )


# ---- what is not said --------------------------------------------------------------------------------------

SILENT = {
    "a single number off by any factor": (7.0, 3.0, {}),
    "one of several elements": ([1.0, -2.0, 3.6], [1.0, -2.0, 3.5], {}),
    "one of several elements, by a factor of no meaning": ([1.0, -2.0, 9.1], [1.0, -2.0, 3.5], {}),
    "one of several elements is zero": ([1.0, 0.0, 3.5], [1.0, -2.0, 3.5], {}),
    "three times, of so few digits that it may be chance": (3.0, 1.0, {"relative": 4e-3}),
    "equal numbers off by any factor": ([7.0, 7.0], [3.0, 3.0], {}),
    "three of no relation": ([0.3, 0.1, 0.7], [1.0, -2.0, 3.5], {}),
    "NaN": ([math.nan, math.nan, 1.0], [1.0, -2.0, 3.5], {}),
    "a flip within rounding of 0": ([1e-9, -1e-9], [-1e-9, 1.01e-9], {"relative": 1.5}),
    "nothing is wrong": ([1.0, 2.0], [1.0, 2.0], {}),
    "empty": (np.zeros((0, 3)), np.zeros((0, 3)), {}),
}


@pytest.mark.parametrize("what", SILENT)
def test_what_proves_nothing_is_not_said(what: str) -> None:
    gradient, expected, more = SILENT[what]
    assert found(gradient, expected, **more) is None


@pytest.mark.parametrize("relative", [1e-14, 1e-7, 1e-3, 2e-2])
@pytest.mark.parametrize("shape", [(2,), (5,), (3, 3), (4, 3), (2, 3, 2), (100,), (20, 20)], ids=str)
def test_numbers_of_no_relation_have_no_pattern(relative: float, shape: tuple[int, ...]) -> None:
    """Rounding as coarse as bfloat16's must not make one: two sorted samples are nearly equal, say."""
    generator = np.random.default_rng(sum(shape))
    for _ in range(40):
        gradient, expected, x = generator.normal(size=(3, *shape))
        assert found(gradient, expected, relative=relative, values=x) is None


def test_a_pattern_survives_the_rounding_of_its_dtype() -> None:
    generator = np.random.default_rng(0)
    expected = generator.normal(size=(6, 4))
    gradient = (-expected * (1 + 1e-3 * generator.uniform(-1, 1, size=(6, 4)))).astype(np.float16)
    assert found(gradient, expected, relative=4e-3) == "the sign is flipped"


LOW = {
    "bfloat16": (2.0**-7, 2),
    "float16": (2.0**-10, 2),
    "float32": (2.0**-23, 64),
    "float64": (2.0**-52, 64),
}


@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("factor", [1.1, 0.9, 3.0])
def test_a_factor_is_seen_in_every_dtype(dtype: str, factor: float) -> None:
    """The gradient is rounded to its dtype, and allowed to err by as many roundings as the judge allows."""
    eps, roundings = LOW[dtype]
    expected = np.array([2.0, 5.0, 6.25, -3.0])
    gradient = torch.tensor(factor * expected).to(getattr(torch, dtype)).double().numpy()
    assert found(gradient, expected, relative=eps * roundings, sizes={}) == f"{factor:g} × what it should be"


MISUSED = {
    "forgotten": (lambda v: np.ones(3), "it does not depend on its cotangent v: it equals Jᵀ·ones"),
    "averaged": (lambda v: np.full(3, v.mean()), "its cotangent v is averaged: it equals Jᵀ·mean(v)"),
    "summed": (lambda v: np.full(3, v.sum()), "its cotangent v is summed: it equals Jᵀ·sum(v)"),
    "squared": (lambda v: v * v, "its cotangent v counts twice: it equals Jᵀ·v²"),
    "made positive": (np.abs, "the sign of its cotangent v is lost: it equals Jᵀ·|v|"),
    "clipped": (lambda v: np.clip(v, -1, 1), "its cotangent v is clipped: it equals Jᵀ·clamp(v, -1, 1)"),
    "normalised": (
        lambda v: v / np.sqrt((v * v).sum()), "its cotangent v is normalised: it equals Jᵀ·v/‖v‖",
    ),
    "the first for all": (
        lambda v: np.full(3, v[0]), "the first element of its cotangent v counts for all",
    ),
    "reversed": (lambda v: v[::-1], "its cotangent v is reversed"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISUSED)
def test_how_a_cotangent_is_misused(what: str) -> None:
    misuse, words = MISUSED[what]
    J, v = Matrix([[2.0, 1.0], [0.5, 4.0], [-3.0, 6.0]]), np.array([-1.5, 0.25, 2.0])  # noqa: N806
    made = cotangents(J, v, (2,))  # type: ignore[arg-type]
    assert found(J.transposed(misuse(v)), J.transposed(v), suspects=made) == words


def test_elements_without_a_verdict_are_left_out() -> None:
    """At a kink Jᵀ·v means nothing: it neither makes a pattern nor breaks one."""
    expected = np.array([1.0, -2.0, math.nan, 4.0])
    assert found([-1.0, 2.0, 0.0, -4.0], expected) == "the sign is flipped"
    expected[2] = 17.0
    known = np.array([True, True, False, True])
    wrong = known.copy()
    gradient = np.array([-1.0, 2.0, 0.0, -4.0])
    assert pattern(gradient, expected, wrong, 1e-12, known=known) == "the sign is flipped"
