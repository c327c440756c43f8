"""The rank of a matrix, and what it cannot exceed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from vjpcalc import rank as module
from vjpcalc.rank import rank

RNG = np.random.default_rng(4)


def rank_of(matrix: object) -> tuple[int | None, int | None]:
    entries = sp.coo_array(matrix)
    used = entries.data != 0
    return rank((entries.row[used], entries.col[used], entries.data[used]), entries.shape)


def band(m: int, n: int, *diagonals: tuple[int, float]) -> sp.csr_array:
    return sum((value * sp.eye_array(m, n, k=k) for k, value in diagonals), sp.csr_array((m, n))).tocsr()


# The rows of a softmax: diag(p) - p·pᵀ takes (1, …, 1) to 0.
SOFTMAX = [np.diag(p) - np.outer(p, p) for p in RNG.dirichlet(np.ones(8), 2500)]
N = 20_000

# (matrix, its rank as far as it is known, and what it cannot exceed)
RANKS = {
    "a diagonal": (sp.diags_array(np.arange(5000.0)), 4999, 4999),
    "entries beyond rounding": (np.diag([1.0, 1e-20]), 1, 1),
    "nothing": (np.zeros((3, 4)), 0, 0),
    "what is not finite": (np.array([[np.nan, 0], [0, 1]]), None, None),
    "one row again and again": (np.ones((3, 3)), 1, 1),
    "blocks of a softmax": (sp.block_diag(SOFTMAX), 17_500, 17_500),
    "blocks, in no order": (sp.block_diag(SOFTMAX).tocsr()[RNG.permutation(N)], 17_500, 17_500),
    # 2 - 2·cos(kπ / (n + 1)) are its eigenvalues: the least is 2.5e-8, and none is 0
    "second differences": (band(N, N, (-1, 1), (0, -2), (1, 1)), N, N),
    "of all but the ends": (band(N - 2, N, (0, 1), (1, -2), (2, 1)), N - 2, N - 2),
    "on its side": (band(N, N - 2, (0, 1), (-1, -2), (-2, 1)), N - 2, N - 2),
    "zero rows among them": (sp.vstack([band(N, N, (0, 3), (1, 1)), sp.csr_array((500, N))]), N, N),
    "round the corner": (band(N, N, (0, 1), (1, 0.5), (1 - N, 0.5)), N, N),
    "a triangle": (np.tril(np.ones((2500, 2500))), 2500, 2500),
    # 1 + 2·cos(kπ / (n + 1)) is 0 for k = 2(n + 1)/3
    "singular, if only just": (band(20_000, 20_000, (-1, 1), (0, 1), (1, 1)), None, 20_000),
    # the least singular value of it is 2⁻ⁿ or so
    "singular to rounding": (band(3000, 3000, (0, 1), (1, 2)), None, 3000),
    "three columns for five": (
        sp.hstack([sp.kron(np.ones((5, 1)), sp.eye_array(3000) + sp.eye_array(3000, k=1))]), 3000, 3000,
    ),
    "a band, and a block": (
        sp.block_diag([band(N, N, (0, 3), (1, 1)), np.ones((5, 5)), [[1e-9]]]), N + 2, N + 2,
    ),
    "too full to be known": (RNG.normal(size=(2100, 2100)), None, 2100),
}  # fmt: skip


@pytest.mark.parametrize("what", RANKS)
def test_the_rank_and_its_limit(what: str) -> None:
    matrix, *expected = RANKS[what]
    assert list(rank_of(matrix)) == expected


def test_the_limit_is_how_many_entries_share_no_row_and_no_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve rows, but all that they have stands in three columns."""
    monkeypatch.setattr(module, "DENSE", 0)
    matrix = np.zeros((12, 10))
    matrix[:10, :2] = RNG.normal(size=(10, 2))
    matrix[2:, 8] = 3.0
    assert rank_of(matrix)[1] == 3
    assert np.linalg.matrix_rank(matrix) == 3


@given(st.integers(0, 10**6), st.sampled_from([0, 5, 30, 10**6]))
@settings(max_examples=150, deadline=None)
def test_what_is_said_is_what_numpy_says(seed: int, dense: int) -> None:
    """However few of the blocks are small: the rank where it is known, and never more than the limit."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=random.integers(1, 20, 2))
    matrix *= random.random(matrix.shape) < random.choice([0.05, 0.1, 0.2, 0.4])
    matrix[random.random(matrix.shape) < 0.3] *= 1e-3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DENSE", dense)
        known, limit = rank_of(matrix)
    expected = int(np.linalg.matrix_rank(matrix))
    assert known in (None, expected)
    assert limit is not None
    assert limit >= expected
    assert known == expected or dense < 10**6
