"""``jacobian``: the matrix in three ways, its structure and rank, the heatmap, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vjpcalc import jacobian
from vjpcalc.jacobians import jacobians, structure
from vjpcalc.job.job import make_job
from vjpcalc.report.document import Heat

W = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def job(expression: str, inputs: dict):
    return make_job(expression, inputs)


# (expression, inputs, {leaf: its Jacobian by hand})
BY_HAND = {
    "a linear map": ("W @ x", {"x": [1.0, 2.0], "W": W}, {"x": W, "W": np.kron(np.eye(3), [[1.0, 2.0]])}),
    "elementwise": ("x ** 2", {"x": [1.0, -3.0]}, {"x": np.diag([2.0, -6.0])}),
    "a sum": ("sum(x)", {"x": [1.0, 2.0, 3.0]}, {"x": np.ones((1, 3))}),
    "a transposition": ("x.T", {"x": W}, {"x": np.eye(6).reshape(3, 2, 6).swapaxes(0, 1).reshape(6, 6)}),
    "no dependence": ("0 * x + [1, 2]", {"x": [1.0, 2.0]}, {"x": np.zeros((2, 2))}),
    "several outputs, joined": ("c = 2 * x\nd = x * x", {"x": 3.0}, {"x": [[6.0]]}),
}


@pytest.mark.parametrize("way", ["numeric", "backward", "forward"])
@pytest.mark.parametrize("what", BY_HAND)
def test_each_way_gives_the_matrix_made_by_hand(what: str, way: str) -> None:
    expression, inputs, expected = BY_HAND[what]
    found = jacobians(job(expression, inputs), (way,)).leaves
    for leaf, matrix in expected.items():
        np.testing.assert_allclose(found[leaf].matrix, matrix, rtol=1e-12, atol=1e-12)


def test_the_python_api_gives_the_same() -> None:
    inputs = {"x": [0.1, 0.2], "W": W}
    found = jacobians(job("tanh(W @ x)", inputs)).leaves
    for leaf, matrix in jacobian("tanh(W @ x)", inputs).items():
        np.testing.assert_array_equal(found[leaf].matrix, matrix.numpy())


def test_the_ways_are_compared_and_the_place_is_named() -> None:
    (leaf,) = jacobians(
        job("maximum(x, 0)", {"x": [-1.0, 0.0]}), ("backward", "numeric", "forward")
    ).leaves.values()
    assert leaf.kinks == ("x[1]",)
    assert leaf.differences["forward"] == 0


STRUCTURES = {
    "the identity": (np.eye(3), ["the identity"]),
    "2 times the identity": (2 * np.eye(3), ["2 times the identity"]),
    "a diagonal": (np.diag([1.0, 2, 3]), ["diagonal"]),
    "a permutation": (np.eye(3)[[1, 2, 0]], ["a permutation"]),
    "a triangle": (np.tril(np.ones((3, 3))), ["lower triangular"]),
    "the other triangle": (np.triu(np.ones((3, 3))), ["upper triangular"]),
    "symmetric": (np.ones((2, 2)), ["symmetric"]),
    "blocks": (np.kron(np.eye(2), np.ones((2, 3))), ["block diagonal: 2 blocks of 2×3"]),
    "blocks out of order": (
        np.kron(np.ones((1, 2)), np.kron(np.eye(2), np.ones((2, 1)))),
        ["2 blocks of 2×2, once rows and columns are put in order"],
    ),
    "unequal blocks": (np.array([[1.0, 1, 0], [0, 0, 1]]), ["block diagonal: 2 blocks"]),
    "zero": (np.zeros((2, 3)), ["zero"]),
    "full": (np.array([[1.0, 2], [3, 4], [5, 6]]), []),
    "a zero row and a zero column": (
        np.array([[1.0, 0], [2, 0], [0, 0]]),
        ["a zero row: r2", "a zero column: c1"],
    ),
    "empty": (np.zeros((0, 3)), ["empty"]),
}


@pytest.mark.parametrize("what", STRUCTURES)
def test_structure_is_found(what: str) -> None:
    matrix, expected = STRUCTURES[what]
    m, n = matrix.shape
    found = structure(matrix, [f"r{i}" for i in range(m)], [f"c{j}" for j in range(n)])
    assert [said for said in found if not said.endswith("% zeros")] == expected


def test_the_rank_is_the_number_of_independent_rows(cli) -> None:
    document = json.loads(cli("jacobian", "[sum(x), 2 * sum(x), x[0]]", "x=[1,2,3]", "--json").out)
    assert document["findings"]["x"]["rank"] == 2


# ---- the report --------------------------------------------------------------------------------------------


def test_a_small_matrix_has_its_numbers_and_labels(cli) -> None:
    assert cli("jacobian", "a @ b", "a=[[0,0],[2,2]]", "b=[1,2]", "--wrt", "a").out == (
        "out = a @ b\n"
        "\n"
        "∂out/∂a  2×4, numeric: complex step\n"
        "        a[0,0]  a[0,1]  a[1,0]  a[1,1]\n"
        "out[0]       1       2       0       0\n"
        "out[1]       0       0       1       2\n"
        "rank 2; block diagonal: 2 blocks of 1×2; 50% zeros\n"
        "✓ numeric and backward agree to the last digit\n"
    )


def test_a_larger_matrix_is_a_heatmap(cli) -> None:
    out = cli("jacobian", "x * linspace(-1, 1, 21)", "x=ones(21)").out
    assert "out[0]   -9  ·  ·" in out
    assert "sign and tenths of the largest size, 1" in out
    assert "rank 20; diagonal" in out


def test_a_huge_matrix_is_pooled() -> None:
    values = np.zeros((100, 90))
    values[99, 89] = -5.0
    heat, note = Heat(values, tuple(map(str, range(100))), tuple(map(str, range(90))), 5.0).pooled()
    assert heat.values.shape == (34, 30)
    assert heat.values[-1, -1] == -5.0
    assert note == "each cell stands for 3×3 entries and shows the one that is largest in size"


SYMBOLS = [
    (0.0, "·"),
    (1.0, "+9"),
    (-1.0, "-9"),
    (0.55, "+5"),
    (0.01, "+"),
    (-0.01, "-"),
    (float("nan"), "?"),
]


@pytest.mark.parametrize(("value", "expected"), SYMBOLS)
def test_a_cell_without_colour_is_a_symbol(value: float, expected: str) -> None:
    assert Heat(None, (), (), scale=1.0).symbol(value) == expected


@pytest.mark.parametrize("colour", [True, False])
def test_colour_is_used_where_there_is_some(cli, monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = cli("jacobian", "x * linspace(-1, 1, 21)", "x=ones(21)", *([] if colour else ["--no-color"])).out
    assert ("48;2;0;95;255" in out) is colour  # the strongest blue as a background
    assert ("-9" in out) is not colour


@pytest.mark.parametrize("width", [50, 80, 140])
def test_no_line_is_wider_than_the_terminal(cli, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = cli(
        "jacobian", "softmax(x @ W, 1)", "x=randn(4,6)", "W=randn(6,5)", "--format", "table", "--no-color"
    ).out
    assert max(map(len, out.splitlines())) <= width


def test_non_finite_entries_are_shown(cli) -> None:
    out = cli("jacobian", "sqrt(x)", "x=[0,1]", "--by", "backward").out
    assert "inf" in out
    assert "rank" not in out


def test_an_entry_that_is_not_finite_is_told(cli) -> None:
    assert "? an entry is not finite: nothing is known there" in cli("jacobian", "x * log(x)", "x=0").out


VERDICTS = {
    "float32, within rounding": (
        ("sum(tanh(x), 1)", "x:float32=randn(2,3)"), ["✓ numeric and backward differ"],
    ),
    "float32, what rounding explains": (
        ("log(1 + x) / x", "x:float32=1e-3"), ["✓ the row of out, in which they are farthest apart, passes"],
    ),
    "float32, without a digit": (
        ("log(1 + x) / x", "x:float32=1e-4"), ["x: 0 digits of the derivative: '1 + x' rounds them away"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", VERDICTS)
def test_a_question_mark_has_a_verdict(cli, what: str) -> None:
    arguments, lines = VERDICTS[what]
    ran = cli("jacobian", *arguments)
    assert ran.status == 0
    for said in lines:
        assert said in ran.out
    if not lines[-1].startswith("✓ numeric"):
        assert "? numeric and backward differ by" in ran.out


def test_a_cell_that_is_not_finite_is_in_the_legend(cli) -> None:
    out = cli("jacobian", "sqrt(x)", "x=linspace(0,1,20)", "--by", "backward").out
    assert "·: 0; ?: not finite" in out
    assert "not finite" not in cli("jacobian", "sqrt(x)", "x=linspace(1,2,20)", "--by", "backward").out


# ---- files and errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".npz", ".json", ".safetensors", ".pt"])
def test_the_matrices_go_to_a_file(cli, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"J{ending}"
    assert cli("jacobian", "a @ b", "a=[[1,2]]", "b=[[3],[4]]", "-o", str(path), "-q").status == 0
    again = json.loads(cli("J * 1", f"J=@{path}:a", "--seed", "ones(1,2)", "--json").out)
    assert again["outputs"]["out"]["data"] == [[3.0, 4.0]]


def test_json_is_the_document_of_the_design(cli) -> None:
    document = json.loads(cli("jacobian", "x * x", "x=[1,2]", "--json").out)
    assert document["jacobians"]["x"] == {
        "dtype": "float64",
        "shape": [2, 2],
        "data": [[2.0, 0.0], [0.0, 4.0]],
    }
    assert document["outputs"]["out"]["data"] == [1.0, 4.0]
    assert document["by"] == "numeric"


BAD = {
    "an unknown way": (("--by", "forwards"), 2, "unknown way 'forwards'; did you mean 'forward'?"),
    "no way": (("--by", ","), 2, "a way is missing"),
    "too large": (("--max-elements", "8"), 3, "the Jacobian of x has 3 × 3 entries; the limit is 8"),
    "an unknown ending": (("-o", "J.xyz"), 2, "has the ending '.xyz'"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_said(cli, what: str) -> None:
    arguments, status, message = BAD[what]
    ran = cli("jacobian", "x * 2", "x=[1,2,3]", *arguments)
    assert ran.status == status
    assert message in ran.err


def test_ctrl_c_ends_quietly_with_130(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from vjpcalc.jacobians import MAKERS

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(MAKERS, "numeric", interrupted)
    ran = cli("jacobian", "x * 2", "x=1")
    assert (ran.status, ran.out) == (130, "")
    assert "Traceback" not in ran.err
