"""``jacobian`` of large sparse matrices: how they are made, described, shown and written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from vjpcalc.check.jacobian import explicit
from vjpcalc.jacobians import Reference, _shared, jacobians, matrices, structure
from vjpcalc.job.autograd import forward
from vjpcalc.job.job import make_job
from vjpcalc.report.document import Heat

RNG = np.random.default_rng(2)


def toeplitz(m: int, n: int, *diagonals: tuple[int, float]) -> np.ndarray:
    return sum((value * np.eye(m, n, offset) for offset, value in diagonals), np.zeros((m, n)))


VARIED = np.diag(np.arange(1.0, 7))
STRUCTURES = {
    "diagonal": (VARIED, ["diagonal"]),
    "with a zero in it": (np.diag([1.0, 0, 3]), ["diagonal", "a zero row: r1", "a zero column: c1"]),
    "tridiagonal": (VARIED + np.eye(6, k=1) + np.eye(6, k=-1), ["symmetric", "tridiagonal"]),
    "second differences": (
        toeplitz(6, 6, (-1, 1), (0, -2), (1, 1)),
        ["symmetric", "tridiagonal", "Toeplitz"],
    ),
    "differences": (toeplitz(6, 6, (-1, -1), (0, 1)), ["lower bidiagonal", "Toeplitz"]),
    "the other way": (toeplitz(6, 6, (1, -1), (0, 1)), ["upper bidiagonal", "Toeplitz"]),
    "differences, one row fewer": (toeplitz(5, 6, (0, -1), (1, 1)), ["banded: diagonals 0 to 1", "Toeplitz"]),
    "a wide band": (
        toeplitz(9, 9, (-1, 1.0), (0, 2), (2, 3)) + np.diag([5.0] * 8 + [6]),
        ["banded: 1 below and 2 above the diagonal"],
    ),
    "beside the diagonal": (
        toeplitz(6, 6, (2, 1)),
        ["banded: diagonal 2 alone", "Toeplitz", "zero rows: r4, r5", "zero columns: c0, c1"],
    ),
    "a full triangle": (np.tril(RNG.normal(size=(6, 6))), ["lower triangular", "41.7% zeros"]),
    "a cumulative sum": (np.tril(np.ones((5, 5))), ["lower triangular", "Toeplitz", "40% zeros"]),
    "a full Toeplitz matrix": (toeplitz(4, 4, *((k, k + 4.0) for k in range(-3, 4))), ["Toeplitz"]),
    "all equal": (np.ones((4, 5)), []),
    "blocks": (np.kron(np.eye(3), np.ones((2, 2))), ["symmetric", "block diagonal: 3 blocks of 2×2",
                                                     "66.7% zeros"]),
    "a symmetric band": (VARIED + np.eye(6, k=2) + np.eye(6, k=-2),
                         ["symmetric", "2 blocks of 3×3, once rows and columns are put in order",
                          "61.1% zeros"]),
    "very few": (np.kron(np.eye(250), np.ones((1, 2))),
                 ["block diagonal: 250 blocks of 1×2", "500 of 125,000 entries are not 0"]),
    "a permutation": (np.eye(4)[[1, 2, 3, 0]], ["a permutation"]),
    "more than that": (-3 * np.eye(4)[[1, 2, 3, 0]], ["-3 times a permutation"]),
    "every other element": (2 * np.eye(6)[::2], ["2 times a selection of elements",
                                                 "zero columns: c1, c3, c5"]),
    "padding": (np.eye(7, 5, -1), ["banded: diagonal -1 alone", "Toeplitz", "zero rows: r0, r6"]),
    "here and there": (VARIED[:, [0, 2, 1, 4, 3]] * (np.arange(6) != 2)[:, None],
                       ["one entry in each row and column at the most", "zero rows: r2, r5",
                        "a zero column: c1"]),
    "round the corner": (np.eye(8) + 2 * np.eye(8, k=3) + 3 * np.eye(8, k=-5),
                         ["on 3 diagonals: -5, 0, 3", "Toeplitz"]),
    "a grid": (toeplitz(40, 40, (-8, 1), (-1, 1), (0, -4), (1, 1), (8, 1)),
               ["symmetric", "on 5 diagonals: -8, -1, 0, 1, 8", "Toeplitz"]),
    "a band that is not full": (toeplitz(60, 60, *((k, 1.0) for k in (-1, 0, 3, 6, 9, 12, 15, 18, 21, 24))),
                                ["banded: 1 below and 24 above the diagonal", "Toeplitz", "86.4% zeros"]),
}  # fmt: skip


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("what", STRUCTURES)
def test_what_is_said_of_the_zeros(what: str, sparse: bool) -> None:
    matrix, expected = STRUCTURES[what]
    m, n = matrix.shape
    names = [f"r{i}" for i in range(m)], [f"c{j}" for j in range(n)]
    assert structure(scipy.sparse.csr_array(matrix) if sparse else matrix, *names) == expected


# ---- how they are made -------------------------------------------------------------------------------------

LARGE = {
    "elementwise": ("x ** 2", (2000,), 1),
    "neighbours": ("x[1:] * x[:-1]", (2000,), 2),
    "rows": ("softmax(x, 1)", (400, 5), 5),
    "transposed, with outputs left out": ("(x.T * 2)[1:]", (50, 60), 1),
}


@pytest.mark.parametrize("what", LARGE)
def test_a_large_one_is_kept_sparse_and_is_the_same(what: str) -> None:
    expression, shape, passes = LARGE[what]
    job = make_job(expression, {"x": RNG.normal(size=shape)})
    leaf = jacobians(job).leaves["x"]
    assert scipy.sparse.issparse(leaf.matrix)
    assert leaf.differences["backward"] < 1e-15
    backward = matrices(forward(job), "backward")["x"]
    assert backward.method.startswith(f"{passes} backward")
    rows = np.linspace(0, leaf.matrix.shape[0] - 1, 7).astype(int)
    by_hand = matrices(forward(job), "forward")["x"].entries[rows]
    np.testing.assert_allclose(leaf.matrix.toarray()[rows], by_hand, rtol=1e-12, atol=1e-15)


def test_a_small_one_is_dense_whatever_its_zeros() -> None:
    assert isinstance(jacobians(make_job("x ** 2", {"x": np.ones(100)})).leaves["x"].matrix, np.ndarray)


def test_one_leaf_may_be_sparse_and_another_not() -> None:
    """∂(a·x)/∂a is x, a full column; ∂(a·x)/∂x is a times the identity."""
    x = RNG.normal(size=1500)
    leaves = jacobians(make_job("a * x", {"a": 3.0, "x": x}), ("numeric",)).leaves
    np.testing.assert_array_equal(leaves["a"].matrix[:, 0], x)
    assert leaves["x"].structure == ("3 times the identity",)


def test_what_backward_gives_where_nothing_should_be_is_a_difference() -> None:
    """A layout that lacks the upper diagonal stands for a backward that gives too much."""
    run = forward(make_job("x + 5 * roll(x, -1)", {"x": RNG.normal(size=1200)}))
    layout = explicit(Reference(run).replays["x"])
    diagonal = layout.rows == layout.columns
    lacking = replace(layout, rows=layout.rows[diagonal], columns=layout.columns[diagonal])
    found = _shared(run, "x", lacking, None).entries
    assert found.sum() == pytest.approx(1200 * 6)  # nothing is lost


def test_kinks_are_found_in_a_sparse_one() -> None:
    x = np.where(np.arange(1100) == 700, 0.0, 1.0)
    (leaf,) = jacobians(make_job("relu(x)", {"x": x})).leaves.values()
    assert leaf.kinks == ("x[700]",)


def test_a_heatmap_of_a_sparse_one_is_that_of_the_dense() -> None:
    matrix = np.where(RNG.uniform(size=(150, 90)) < 0.02, RNG.normal(size=(150, 90)), 0.0)
    names = tuple(map(str, range(150))), tuple(map(str, range(90)))
    dense, note = Heat(matrix, *names, 1.0).pooled()
    sparse, same = Heat(scipy.sparse.csr_array(matrix), *names, 1.0).pooled()
    np.testing.assert_array_equal(dense.values, sparse.values)
    assert note == same


# ---- the command -------------------------------------------------------------------------------------------


def test_a_diagonal_of_200_000_goes_to_a_file(cli, tmp_path: Path) -> None:
    ran = cli("jacobian", "x**2", "x=linspace(0, 1, 200000)", "-o", str(tmp_path / "J.npz"))
    assert ran.status == 0
    assert "rank 199,999; diagonal; a zero row: out[0]; a zero column: x[0]" in ran.out
    assert "✓ numeric and backward agree to the last digit" in ran.out
    assert "100%" not in ran.out
    found = scipy.sparse.load_npz(tmp_path / "J.npz")
    np.testing.assert_array_equal(found.diagonal(), 2 * np.linspace(0, 1, 200_000))
    assert found.nnz == 200_000


def test_matrix_market(cli, tmp_path: Path) -> None:
    path = tmp_path / "J.mtx"
    assert cli("jacobian", "diff(x, 2)", "x=linspace(0, 1, 2000)", "-o", str(path), "-q").status == 0
    expected = toeplitz(1998, 2000, (0, 1), (1, -2), (2, 1))
    np.testing.assert_array_equal(scipy.io.mmread(path).toarray(), expected)
    read = tmp_path / "read.npy"
    assert cli("2 * sum(J)", f"J=@{path}", "-o", str(read), "-q").status == 0
    np.testing.assert_array_equal(np.load(read), np.full((1998, 2000), 2.0))


@pytest.mark.parametrize("ending", [".npz", ".npy", ".mtx"])
def test_a_small_one_is_written_as_ever(cli, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"J{ending}"
    assert cli("jacobian", "x**2", "x=[1,2,3]", "-o", str(path), "-q").status == 0
    key = ":x" if ending == ".npz" else ""
    again = json.loads(cli("J * 1", f"J=@{path}{key}", "--seed", "ones(3, 3)", "--json").out)
    assert again["outputs"]["out"]["data"] == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]


FAULTS = {
    "as JSON": (("--json",), "12,000 × 12,000 entries with its zeros; the limit is 50,000,000"),
    "by forward mode": (("--by", "forward"), "12,000 × 12,000 entries; the limit is 50,000,000"),
    "even so": (("--max-elements", "12000"), "entries, 24,000 of them stored; the limit is 12,000"),
    "as a table": (("-o", "J.csv"), "too many to be written to 'J.csv', zeros and all"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_would_be_too_large_is_said(cli, monkeypatch, tmp_path: Path, what: str) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, said = FAULTS[what]
    ran = cli("jacobian", "x * roll(x, 1)", "x=linspace(1, 2, 12000)", *arguments)
    assert ran.status in (2, 3)
    assert said in ran.out + ran.err
    assert list(tmp_path.iterdir()) == []
