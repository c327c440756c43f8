"""Which leaf elements an output depends on, and which columns of J share an evaluation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import Sample, draw
from test_operators import CASES, constants, run_reference

from vjpcalc.check import colouring as colours
from vjpcalc.check import sets, sparsity
from vjpcalc.check.colouring import MOST_COLOURS, colouring
from vjpcalc.check.directional import directional
from vjpcalc.check.jacobian import Jacobian, Layout, evaluate, evaluations, explicit, jacobian
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.check.sets import Sets
from vjpcalc.job.autograd import forward
from vjpcalc.job.job import make_job
from vjpcalc.operators import registry
from vjpcalc.operators.row import RowError

RNG = np.random.default_rng(9)
TINY = 1e-9  # what differences leave of a derivative that is 0


@pytest.fixture
def _at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patterns are found of small leaves too, and of full matrices."""
    for module, name, value in [(sets, "SMALL", 0), (sparsity, "SMALL", 0), (sets, "LARGE_SHARE", 1.0)]:
        monkeypatch.setattr(module, name, value)


def replay(expression: str, x: object, use: dict[str, Callable] | None = None, **others: object) -> Replay:
    """A program as a function of x."""
    job = make_job(expression, {"x": x, **others}, wrt="x", use=use)
    return Replay(required_reference(forward(job)), "x")


def mask(program: Replay) -> np.ndarray:
    """The pattern as a mask (m, n)."""
    pattern = program.pattern
    assert pattern is not None
    found = np.zeros(pattern.shape, bool)
    found[pattern.rows, pattern.columns] = True
    return found


def alone(program: Replay) -> Jacobian:
    """J with an evaluation for each column."""
    return jacobian(program, Layout(explicit(program).shape, explicit(program).scale))


# ---- the pattern -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_at_any_size")
@pytest.mark.parametrize("sample", CASES, ids=str)
def test_no_entry_is_outside_of_the_pattern(sample: Sample) -> None:
    """Of any row of the table, by its samples: the columns one by one are 0 where the pattern is."""
    values = draw(sample)
    trace = run_reference(sample, values)
    for leaf in set(values) - constants(sample):
        program = Replay(trace, leaf)
        found = mask(program)
        x = np.asarray(values[leaf], float)
        for k in range(x.size):
            direction = np.zeros(x.size)
            direction[k] = 1
            (column,) = (one.value for one in directional(program, direction.reshape(x.shape)))
            beside = ~found[:, k] & np.isfinite(column)
            assert (np.abs(column[beside]) < TINY).all()


def blocks(number: int, *shape: int) -> np.ndarray:
    return np.kron(np.eye(number), np.ones(shape))


def band(m: int, n: int, *offsets: int) -> np.ndarray:
    return sum(np.eye(m, n, offset) for offset in offsets)


TWO = {"b": RNG.normal(size=(3, 2))}
# (program, shape of x, other inputs, the pattern by hand)
PATTERNS = {
    "elementwise": ("tanh(x) * x", (4,), {}, np.eye(4)),
    "broadcast": ("x * ones(3, 2)", (2,), {}, np.tile(np.eye(2), (3, 1))),
    "a scalar of it": ("x[0] * ones(3)", (2,), {}, [[1, 0]] * 3),
    "moved": ("x.T * 2", (2, 3), {}, np.eye(6).reshape(2, 3, 6).swapaxes(0, 1).reshape(6, 6)),
    "neighbours": ("x[1:] * x[:-1]", (5,), {}, band(4, 5, 0, 1)),
    "three diagonals": ("x[2:] - 2 * x[1:-1] + x[:-2] - exp(x[1:-1])", (6,), {}, band(4, 6, 0, 1, 2)),
    "round the corner": ("x * roll(x, 1)", (4,), {}, band(4, 4, 0, -1, 3)),
    "one for all": ("x[1:] * x[0]", (4,), {}, np.hstack([np.ones((3, 1)), np.eye(3)])),
    "joined": ("cat([x, x * x[0], ones(1)])", (2,), {}, [[1, 0], [0, 1], [1, 0], [1, 1], [0, 0]]),
    "stacked": ("stack([x, flip(x, 0)])", (2,), {}, [[1, 0], [0, 1], [0, 1], [1, 0]]),
    "padded": ("pad(x, (1, 2), value=7)", (2,), {}, band(5, 2, -1)),
    "a triangle": ("triu(x)", (2, 2), {}, np.diag([1, 1, 0, 1])),
    "on a diagonal": ("diag(x)", (2,), {}, [[1, 0], [0, 0], [0, 0], [0, 1]]),
    "a mask": ("x[x > 0] ** 2", [1.0, -1.0, 2.0], {}, [[1, 0, 0], [0, 0, 1]]),
    "sorted": ("sort(x).values", [3.0, 1.0, 2.0], {}, [[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "the largest": ("x - max(x)", [3.0, 1.0, 2.0], {}, [[1, 0, 0], [1, 1, 0], [1, 0, 1]]),
    "the largest of rows": ("amax(x, 1)", [[3.0, 1.0], [1.0, 2.0]], {}, [[1, 0, 0, 0], [0, 0, 0, 1]]),
    "a detached part": ("x * detach(flip(x, 0))", (3,), {}, np.eye(3)),
    "sums of rows": ("sum(x * x, 1)", (2, 3), {}, blocks(2, 1, 3)),
    "sums of columns": ("sum(x * x, 0, True)", (2, 3), {}, np.tile(np.eye(3), (1, 2))),
    "of two dimensions": ("mean(x * x, (0, 2))", (2, 2, 2), {}, np.tile(blocks(2, 1, 2), (1, 2))),
    "softmax": ("softmax(x, 1)", (2, 3), {}, blocks(2, 3, 3)),
    "softmax, the other way": ("softmax(x, 0)", (2, 3), {}, np.tile(np.eye(3), (2, 2))),
    "scans": ("cumsum(x, -1)", (2, 2), {}, blocks(2, 2, 2)),
    "layer_norm": ("layer_norm(x, (2,))", (3, 2), {}, blocks(3, 2, 2)),
    "x @ b": ("x @ b", (2, 3), TWO, np.kron(np.eye(2), np.ones((2, 3)))),
    "a vector @ b": ("x @ b", (3,), TWO, np.ones((2, 3))),
    "b @ x": ("b @ x", (2, 3), TWO, np.tile(np.eye(3), (3, 2))),
    "a batch @ b": ("x @ b", (2, 1, 3), TWO, np.kron(np.eye(2), np.ones((2, 3)))),
    "batches that are broadcast": ("x @ b", (1, 3), {"b": RNG.normal(size=(2, 3, 2))}, np.ones((4, 3))),
    "outer": ("outer(x, ones(2))", (2,), {}, np.repeat(np.eye(2), 2, 0)),
    "inner": ("inner(x, ones(2, 3))", (2, 3), {}, np.kron(np.eye(2), np.ones((2, 3)))),
    "einsum": ("einsum('ij,kj->ki', x, x[:1])", (2, 2), {}, [[1, 1, 0, 0], [1, 1, 1, 1]]),
    "a trace by einsum": ("einsum('bij->b', x)", (2, 2, 2), {}, blocks(2, 1, 4)),
    "tensordot": ("tensordot(x, b, 1)", (2, 3), TWO, np.kron(np.eye(2), np.ones((2, 3)))),
    "tensordot in pairs": ("tensordot(x, b, ([0], [0]))", (3, 2), TWO,
                           np.tile(np.repeat(np.eye(2), 2, 0), (1, 3))),
    "cross": ("cross(x, x + 1)", (2, 3), {}, blocks(2, 3, 3)),
    "a batch of inverses": ("inv(x)", (2, 2, 2), {}, blocks(2, 4, 4)),
    "a batch of determinants": ("det(x)", (2, 2, 2), {}, blocks(2, 1, 4)),
    "a batch of systems": ("solve(x, ones(2, 2, 1))", (2, 2, 2), {}, blocks(2, 2, 4)),
    "singular values": ("svdvals(x)", (2, 3, 2), {}, blocks(2, 2, 6)),
    "a convolution": ("conv1d(x, ones(1, 1, 2))", (1, 1, 4), {}, band(3, 4, 0, 1)),
    "of two channels": ("conv1d(x, ones(1, 2, 2))", (1, 2, 3), {}, np.tile(band(2, 3, 0, 1), (1, 2))),
    "in groups": ("conv1d(x, ones(2, 1, 2), groups=2)", (1, 2, 3), {}, np.kron(np.eye(2), band(2, 3, 0, 1))),
    "with a stride and padding": ("conv1d(x, ones(1, 1, 3), stride=2, padding=1)", (1, 1, 4), {},
                                  [[1, 1, 0, 0], [0, 1, 1, 1]]),
    "of a batch": ("conv1d(x, ones(1, 1, 2))", (2, 1, 3), {}, np.kron(np.eye(2), band(2, 3, 0, 1))),
    "its weight": ("conv1d(ones(1, 1, 3), x)", (2, 1, 2), {}, np.kron(np.eye(2), np.ones((2, 2)))),
    "its bias": ("conv1d(ones(1, 1, 3), ones(2, 1, 2), x)", (2,), {}, np.repeat(np.eye(2), 2, 0)),
    "a transposed one": ("conv_transpose1d(x, ones(1, 1, 2), stride=2)", (1, 1, 2), {}, blocks(2, 2, 1)),
    "a transposed one that overlaps": ("conv_transpose1d(x, ones(1, 1, 2))", (1, 1, 3), {},
                                       band(4, 3, 0, -1)),
    "its own weight": ("conv_transpose1d(ones(1, 1, 2), x)", (1, 2, 2), {}, blocks(2, 3, 2)),
    "pooling": ("avg_pool1d(x, 2)", (1, 1, 4), {}, blocks(2, 1, 2)),
    "the largest of a window": ("max_pool1d(x, 2)", [[[1.0, 2.0, 4.0, 3.0]]], {},
                                [[0, 1, 0, 0], [0, 0, 1, 0]]),
    "sums of segments": ("scatter_add(zeros(3), 0, [0, 2, 0], x)", (3,), {},
                         [[1, 0, 1], [0, 0, 0], [0, 1, 0]]),
    "added to rows": ("index_add(x, 0, [1], x[:1] ** 2)", (2, 2), {}, band(4, 4, 0, -2)),
    "put in place": ("scatter(x, 0, [1], x[:1])", (2,), {}, [[1, 0], [1, 0]]),
    "attention": ("scaled_dot_product_attention(x, x, x)", (2, 2, 1), {}, blocks(2, 2, 2)),
    "kron": ("kron(x, ones(2))", (2,), {}, np.repeat(np.eye(2), 2, 0)),
    "kron, the other way": ("kron(ones(2), x)", (2,), {}, np.tile(np.eye(2), (2, 1))),
    "kron with itself": ("kron(x, x)", (2,), {}, [[1, 0], [1, 1], [1, 1], [0, 1]]),
    "a trace": ("trace(x)", (2, 3), {}, [[1, 0, 0, 0, 1, 0]]),
    "a diagonal by einsum": ("einsum('ii->i', x)", (2, 2), {}, [[1, 0, 0, 0], [0, 0, 0, 1]]),
    "a batch of traces": ("einsum('bii->b', x)", (2, 2, 2), {}, np.kron(np.eye(2), [[1, 0, 0, 1]])),
    "a sparse matrix @ x": ("diag(ones(3), 1) @ x", (4,), {}, band(4, 4, 1)),
    "x @ a sparse matrix": ("x @ eye(3)", (2, 3), {}, np.eye(6)),
    "a sparse matrix @ a batch": ("eye(2, 4) @ x", (2, 4, 1), {},
                                  np.kron(np.eye(2), band(2, 4, 0))),
    "a batch of vectors": ("einsum('bi,ij->bj', x, eye(2))", (3, 2), {}, np.eye(6)),
    "a constant that is broadcast": ("eye(2)[None] @ x", (3, 2, 1), {}, np.eye(6)),
    "x is broadcast": ("x @ stack([eye(3), zeros(3, 3)])", (1, 3), {}, band(6, 3, 0)),
    "a mask of numbers": ("x * tensor([0, 1, 0])", (3,), {}, np.diag([0, 1, 0])),
    "a constant condition": ("where(tensor([True, False]), x, flip(x, 0) ** 2)", (2,), {}, [[1, 0], [1, 0]]),
    "a likelihood": ("nll_loss(x, tensor([0, 2]), reduction='none')", (2, 3), {}, [[1, 0, 0, 0, 0, 0],
                                                                                     [0, 0, 0, 0, 0, 1]]),
    "averages of windows": ("adaptive_avg_pool1d(x, 3)", (1, 1, 5), {},
                                    [[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1]]),
    "a row that says nothing": ("pinv(x)", (2, 1), {}, np.ones((2, 2))),
}  # fmt: skip


@pytest.mark.usefixtures("_at_any_size")
@pytest.mark.parametrize("what", PATTERNS)
def test_the_pattern_is_the_one_made_by_hand(what: str) -> None:
    expression, x, others, expected = PATTERNS[what]
    x = RNG.normal(size=x) if isinstance(x, tuple) else np.array(x)
    found = mask(replay(expression, x, **others))
    np.testing.assert_array_equal(found, np.asarray(expected, bool))


@pytest.mark.usefixtures("_at_any_size")
def test_an_argument_of_one_element_counts_for_every_output() -> None:
    program = replay("f(x, x[0])", RNG.normal(size=4), use={"f": lambda x, s: x * s})
    np.testing.assert_array_equal(mask(program), [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]])


# Functions of the user's own of a 2×2 matrix, which is a part of a 2×3 one.
A, B, C, D = [1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0]
ROW, OTHER, ALL = [1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0], [1, 1, 0, 1, 1, 0]
USERS = {
    "element by element": (lambda x: 2 * x, [A, B, C, D]),
    "transposed": (lambda x: x.T * 2, [A, C, B, D]),
    "some elements": (lambda x: x[0].clone(), [A, B]),
    "along the rows": (lambda x: x.softmax(1), [ROW, ROW, OTHER, OTHER]),
    "the sum of each": (lambda x: x.sum(1), [ROW, OTHER]),
    "everything": (lambda x: x @ x, [ALL, ALL, ALL, ALL]),
    "a branch, which a NaN takes the other way": (
        lambda x: x * 2 if x.abs().sum() < 1e9 else -x, [ALL, ALL, ALL, ALL],
    ),
    "one that does not bear NaN": (
        lambda x: torch.linalg.inv(x.detach().numpy()) if x.isnan().any() else x * 2, [ALL] * 4,
    ),
}  # fmt: skip


@pytest.mark.usefixtures("_at_any_size")
@pytest.mark.parametrize(("function", "expected"), USERS.values(), ids=USERS)
def test_a_function_of_the_users_shows_what_it_depends_on(function, expected: list[list[int]]) -> None:
    program = replay("f(x[:, :2])", RNG.normal(size=(2, 3)), use={"f": function})
    np.testing.assert_array_equal(mask(program), expected)


# Functions of neighbours: (function, the offsets that each output depends on, evaluations at the most)
STENCILS = {
    "a difference": (lambda x: x[1:] * x[:-1], (0, 1), 4),
    "second differences": (lambda x: x[2:] - 2 * x[1:-1] ** 2 + x[:-2], (0, 1, 2), 8),
    "round the corner": (lambda x: x * x.roll(1), (-1, 0), 4),
    "halves that change places": (lambda x: torch.cat([x[700:] * 2, x[:700] ** 2]), (-700, 700), 1),
}


@pytest.mark.parametrize("what", STENCILS)
def test_a_function_of_neighbours_shows_few_of_them(what: str) -> None:
    """Whatever digits their indices differ in: 511 and 512 in ten."""
    function, offsets, most = STENCILS[what]
    program = replay("f(x)", RNG.uniform(0.5, 1, 1400), use={"f": function})
    pattern = program.pattern
    assert pattern is not None
    assert pattern.colours is not None
    assert pattern.colours.max() < most
    found = set(zip(pattern.rows.tolist(), pattern.columns.tolist(), strict=True))
    m, n = pattern.shape
    needed = {(row, row + offset) for row in range(m) for offset in offsets if 0 <= row + offset < n}
    assert needed <= found
    assert len(found) <= 8 * m


KINKED = {
    "a mask at its edge may mix": ("where(x > x[0], x ** 2, 0 * x)", [1.0, 2.0, 3.0],
                                   [[1, 0, 0], [1, 1, 0], [1, 0, 1]]),
    "so may the largest of equals": ("x - max(x)", [1.0, 1.0, 0.0], np.ones((3, 3))),
    "a kink of one element mixes nothing": ("relu(x)", [0.0, 1.0], np.eye(2)),
}  # fmt: skip


@pytest.mark.usefixtures("_at_any_size")
@pytest.mark.parametrize("what", KINKED)
def test_at_a_kink_masks_and_choices_count(what: str) -> None:
    expression, x, expected = KINKED[what]
    np.testing.assert_array_equal(mask(replay(expression, x)), np.asarray(expected) > 0)


FULL = {
    "a sum": ("sum(x ** 2)", (200,)),
    "softmax over everything": ("softmax(x, 0)", (200,)),
    "a matrix product with itself": ("tanh(x @ x.T)", (60, 10)),
    "too small to be worth it": ("x[1:] * x[:-1]", (20,)),
}


@pytest.mark.parametrize("what", FULL)
def test_no_pattern_is_given_where_nothing_is_won(what: str) -> None:
    expression, shape = FULL[what]
    program = replay(expression, RNG.normal(size=shape))
    assert explicit(program).colours is None


def test_sets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "MOST", 500)
    assert replay("x[1:] * x[:-1]", RNG.normal(size=100)).pattern is not None
    assert replay("x[1:] * x[:-1]", RNG.normal(size=1000)).pattern is None
    assert replay("tanh(x).T", RNG.normal(size=(100, 10))).pattern is not None  # one entry a row: at any size


WRONG_WORDS = ["dims", "one of dims", "move", "adds take(z, dim)", "ij,jk->ik", "windows  back"]


@pytest.mark.parametrize("mixes", WRONG_WORDS)
def test_a_row_says_what_it_mixes_in_known_words(monkeypatch: pytest.MonkeyPatch, mixes: str) -> None:
    monkeypatch.setattr(registry, "REGISTRY", {})
    with pytest.raises(RowError, match=r"'mixes' says nothing|not a call of its parameters"):
        registry.array("nonsense(x, dim: axis)", mixes=mixes)


# ---- the colours -------------------------------------------------------------------------------------------


def stencil(m: int) -> str:
    return "x[2:, 1:-1] + x[:-2, 1:-1] + x[1:-1, 2:] + x[1:-1, :-2] - 4 * x[1:-1, 1:-1] ** 2"


PERMUTED = np.random.default_rng(3).permutation(2000)
# (program, shape of x, other inputs, the least number that is possible, and the most that is fair)
COLOURS = {
    "elementwise": ("exp(x)", (1000,), {}, 1, 1),
    "two diagonals": ("diff(x ** 2)", (1000,), {}, 2, 2),
    "three": ("x[2:] * x[1:-1] * x[:-2]", (1000,), {}, 3, 3),
    "five": ("x[4:] * x[3:-1] * x[2:-2] * x[1:-3] * x[:-4]", (1000,), {}, 5, 5),
    "three round the corner": ("x * roll(x, 1) * roll(x, -1)", (1000,), {}, 3, 5),
    "a five-point stencil": (stencil(40), (40, 40), {}, 5, 7),
    "one on an odd grid": (stencil(41), (37, 53), {}, 5, 7),
    "rows of eight": ("softmax(x, 1)", (100, 8), {}, 8, 8),
    "columns of eight": ("softmax(x, 0)", (8, 100), {}, 8, 10),
    "one element in all rows": ("x[1:] * x[:-1] + x[0]", (1000,), {}, 3, 3),
    "a 3×3 kernel": ("conv2d(x, w)", (1, 1, 20, 20), {"w": RNG.normal(size=(4, 1, 3, 3))}, 9, 12),
    "in no order": ("take(x, p)[1:] * take(x, p)[:-1]", (2000,), {"p": PERMUTED}, 2, 4),
    "unequal segments": ("scatter_add(zeros(50), 0, i, x ** 2)", (200,), {"i": np.arange(200) ** 2 % 50},
                         1, 40),
}  # fmt: skip


@pytest.mark.parametrize("what", COLOURS)
def test_few_colours_suffice(what: str) -> None:
    expression, shape, others, least, most = COLOURS[what]
    layout = explicit(replay(expression, RNG.normal(size=shape), **others))
    assert layout.colours is not None
    assert least <= layout.evaluations <= most


def sets_of(members: list[list[int]], width: int) -> Sets:
    sizes = [len(set(one)) for one in members]
    flat = [number for one in members for number in sorted(set(one))]
    return Sets(width, np.cumsum([0, *sizes]), np.array(flat, dtype=np.intp))


@given(st.lists(st.lists(st.integers(0, 19), max_size=6), max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_two_of_a_set_are_of_one_colour(members: list[list[int]]) -> None:
    found = colouring(sets_of(members, 20))
    if found is not None:
        assert found.shape == (20,)
        assert all(len(set(found[list(set(one))])) == len(set(one)) for one in members)


def test_what_no_colour_suits_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five numbers meet in pairs, and the three colours that are looked for are not enough."""
    pairs = [[a, b] for a in range(0, 10, 2) for b in range(a + 2, 10, 2)]
    assert MOST_COLOURS > 5
    monkeypatch.setattr(colours, "MOST_COLOURS", 3)
    monkeypatch.setattr(colours, "PAIRS", 0)
    found = colouring(sets_of(pairs, 10))
    assert sorted(found[0:10:2].tolist()) == [0, 1, 2, 3, 4]
    assert set(found[1:10:2].tolist()) == {0}
    assert colouring(sets_of([[a, b] for a in range(10) for b in range(a)], 10)) is None


# ---- the Jacobian ------------------------------------------------------------------------------------------

SHARED = {
    "three diagonals": ("x[2:] - 2 * x[1:-1] + x[:-2] - exp(x[1:-1])", (60,)),
    "softmax": ("softmax(x, 1)", (12, 4)),
    "a convolution": ("tanh(conv1d(x, ones(2, 1, 3)))", (2, 1, 20)),
    "with one element in all": ("x[1:] * x[:-1] + x[0]", (40,)),
    "with kinks": ("relu(x)[1:] - relu(x)[:-1]", np.where(np.arange(50) % 7 == 0, 0.0, RNG.normal(size=50))),
    "by differences": ("cummax(x, 1).values * erfinv(tanh(x))", (20, 3)),
}


@pytest.mark.parametrize("what", SHARED)
def test_columns_that_share_an_evaluation_are_as_if_alone(what: str) -> None:
    expression, x = SHARED[what]
    program = replay(expression, RNG.normal(size=x) if isinstance(x, tuple) else x)
    together, one_by_one = jacobian(program), alone(program)
    assert together.layout.evaluations < one_by_one.layout.evaluations
    v = RNG.normal(size=together.shape[0])
    np.testing.assert_allclose(together.dense(), one_by_one.dense(), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(together.transposed(v), one_by_one.transposed(v), rtol=1e-8, atol=1e-12)
    for name in ("kinks", "left", "right"):
        found, expected = getattr(together, name), getattr(one_by_one, name)
        assert (found is None) == (expected is None)
        if found is not None:
            np.testing.assert_allclose(together.dense(found), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "expression", ["2 * x if x[3] > 1 else x * x", "2 * x[1:] if x[3] > 1 else x[1:] * x[:-1]"]
)
def test_a_branch_that_one_element_flips_is_no_kink_of_others(expression: str) -> None:
    x = np.full(200, 0.5)
    x[3] = 1.0
    found = jacobian(replay(f"y = {expression}\ny", x))
    np.testing.assert_array_equal(found.dense(found.kinks).any(0), np.arange(200) == 3)


def test_only_what_is_wanted_is_evaluated() -> None:
    program = replay("x[1:] * x[:-1]", np.arange(1.0, 41))
    explicit_one = jacobian(program)
    wanted = np.arange(40) == 6
    asked: list[np.ndarray] = []

    def along(direction: np.ndarray) -> np.ndarray:
        asked.append(direction)
        return program.complex_step(direction)

    found = explicit_one.dense(evaluate(explicit_one.layout, along, wanted))
    assert [np.flatnonzero(direction).tolist() for direction in asked] == [[6]]
    np.testing.assert_array_equal(found[:, 6], explicit_one.dense()[:, 6])
    assert np.count_nonzero(found) == 2
    assert sum(len(evaluation.columns) for evaluation in evaluations(explicit_one.layout)) == 40


def test_progress_counts_columns() -> None:
    told: list[tuple[int, int]] = []
    jacobian(replay("x[1:] * x[:-1]", np.ones(41)), progress=lambda done, of: told.append((done, of)))
    assert told == [(21, 41), (41, 41)]


def test_float32_is_no_other_pattern() -> None:
    program = replay("x[1:] * x[:-1]", torch.ones(40))
    assert explicit(program).evaluations == 2
