"""Sparse matrices in files: SciPy's .npz, Matrix Market's .mtx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.tensors.files import BY_ENDING, read, thinned, write

HOLDING = [ending for ending, form in BY_ENDING.items() if form.sparse_from is not None]
NUMBERS = np.array([[0.1, 0.0, 1 / 3], [np.nan, np.inf, 0.0], [0.0, 1e-310, -1e300]])


def message(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(Diagnostic) as caught:
        read(path)
    assert caught.value.kind == "input"
    return caught.value.message.replace(str(path), path.name)


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
@pytest.mark.parametrize("ending", HOLDING)
def test_a_sparse_matrix_comes_back_written_out(tmp_path: Path, ending: str, form: str) -> None:
    matrix = getattr(scipy.sparse, f"{form}_array")(NUMBERS)
    write(tmp_path / f"a{ending}", {"J": matrix})
    np.testing.assert_array_equal(read(tmp_path / f"a{ending}").array, NUMBERS)


def test_scipy_reads_what_is_written(tmp_path: Path) -> None:
    matrix = scipy.sparse.csr_array(NUMBERS)
    write(tmp_path / "a.npz", {"J": matrix})
    write(tmp_path / "a.mtx", {"J": matrix})
    for found in (scipy.sparse.load_npz(tmp_path / "a.npz"), scipy.io.mmread(tmp_path / "a.mtx")):
        assert scipy.sparse.issparse(found)
        assert found.nnz == 6
        np.testing.assert_array_equal(found.toarray(), NUMBERS)


@pytest.mark.parametrize("ending", [ending for ending in BY_ENDING if ending not in HOLDING])
def test_other_formats_hold_its_zeros_too(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"a{ending}", {"J": scipy.sparse.csr_array(NUMBERS)})
    np.testing.assert_array_equal(read(tmp_path / f"a{ending}").array, NUMBERS)


def test_several_have_their_names_before_the_keys_of_each(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write(path, {"J": scipy.sparse.csc_array(NUMBERS), "K": np.ones(3), "L": scipy.sparse.eye_array(2)})
    for name, expected in {"J": NUMBERS, "K": np.ones(3), "L": np.eye(2)}.items():
        np.testing.assert_array_equal(read(path, name).array, expected)
    assert message(path, path.read_bytes()).startswith("'a.npz' holds 3 arrays: say which")
    with np.load(path) as z:  # as README says
        J = scipy.sparse.csr_array((z["J.data"], z["J.indices"], z["J.indptr"]), z["J.shape"])  # noqa: N806
    np.testing.assert_array_equal(J.toarray(), NUMBERS)
    assert read(path, "J.indptr").array.tolist() == [0, 2, 4, 6]


MOSTLY_ZERO, HALF_ZERO = np.diag([1.0, np.nan, 2.0]), np.array([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]])
# (a matrix, whether an .npz file has it sparse, and an .mtx file)
THIN = {
    "a small diagonal": (MOSTLY_ZERO, False, True),
    "just half of it": (HALF_ZERO, False, True),
    "more than half of it": (HALF_ZERO + np.eye(2, 3, 2), False, False),
    "of 10,000 entries": (np.eye(100), False, True),
    "of more": (np.eye(100, 101), True, True),
    "large and full": (np.tril(np.ones((120, 120))), False, False),
    "large, sparse already": (scipy.sparse.eye_array(3, format="csr"), True, True),
}  # fmt: skip


@pytest.mark.parametrize("what", THIN)
def test_what_is_mostly_zero_is_written_sparse(tmp_path: Path, what: str) -> None:
    matrix, in_npz, in_mtx = THIN[what]
    full = matrix.toarray() if scipy.sparse.issparse(matrix) else matrix
    for ending in (".npz", ".mtx", ".npy", ".csv"):
        path = tmp_path / f"a{ending}"
        write(path, thinned(path, {"J": matrix}))
        np.testing.assert_array_equal(read(path).array, full)
    form = "coordinate" if in_mtx else "array"
    assert (tmp_path / "a.mtx").read_text().startswith(f"%%MatrixMarket matrix {form} real general\n")
    with np.load(tmp_path / "a.npz") as written:
        assert ("J" in written, "indptr" in written) == (not in_npz, in_npz)


HUGE = scipy.sparse.eye_array(100_000, format="csr")


@pytest.mark.parametrize(("ending", "others"), [(".csv", {}), (".npy", {}), (".pt", {"K": np.ones(2)})])
def test_one_that_is_too_large_to_be_written_out_is_not(tmp_path: Path, ending: str, others: dict) -> None:
    with pytest.raises(Diagnostic, match="100,000 × 100,000 entries: too many to be written") as caught:
        write(tmp_path / f"a{ending}", {"J": HUGE, **others})
    assert caught.value.kind == "usage"
    assert "in .npz it stays sparse" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", HOLDING)
def test_one_that_is_too_large_to_be_read_is_refused(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"a{ending}", {"J": HUGE})
    content = (tmp_path / f"a{ending}").read_bytes()
    assert "written out, that is more than 50,000,000" in message(tmp_path / f"a{ending}", content)


# ---- Matrix Market -----------------------------------------------------------------------------------------

DENSE = {
    "float64": (np.array([[0.1, -0.0], [np.nan, -np.inf]]), [[0.1, -0.0], [np.nan, -np.inf]]),
    "float32": (np.array([[0.1]], np.float32), [[0.1]]),
    "bfloat16": (torch.tensor([[0.5, 2.0]], dtype=torch.bfloat16), [[0.5, 2.0]]),
    "int64": (np.array([[1, -(2**52)]]), [[1, -(2**52)]]),
    "bool": (np.array([[True, False]]), [[1, 0]]),
    "a vector is a column": (np.array([1.0, 2.0]), [[1], [2]]),
    "a number is a matrix of one": (np.array(2.5), [[2.5]]),
    "a tensor of torch's": (torch.tensor([[1.0, 2.0]], requires_grad=True), [[1, 2]]),
}


@pytest.mark.parametrize("what", DENSE)
def test_what_is_dense_stays_dense(tmp_path: Path, what: str) -> None:
    array, expected = DENSE[what]
    write(tmp_path / "a.mtx", {"x": array})
    found = read(tmp_path / "a.mtx")
    np.testing.assert_array_equal(found.array, np.array(expected, float))
    assert np.signbit(found.array).tolist() == np.signbit(expected).tolist() or np.isnan(expected).any()
    assert found.typed
    assert (tmp_path / "a.mtx").read_text().startswith("%%MatrixMarket matrix array")


@given(arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=4)))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_float64_comes_back(tmp_path: Path, array: np.ndarray) -> None:
    for name, matrix in {"dense": array, "sparse": scipy.sparse.csr_array(array)}.items():
        write(tmp_path / f"{name}.mtx", {"x": matrix})
        np.testing.assert_array_equal(read(tmp_path / f"{name}.mtx").array, array)


HEAD = "%%MatrixMarket matrix "
TEXTS = {
    "with comments": ("coordinate real general\n% by hand\n2 2 1\n\n1 2 3.5\n", [[0, 3.5], [0, 0]]),
    "one triangle": ("coordinate integer symmetric\n2 2 2\n1 1 1\n2 1 4\n", [[1, 4], [4, 0]]),
    "one triangle, less the other": ("coordinate real skew-symmetric\n2 2 1\n2 1 4\n", [[0, -4], [4, 0]]),
    "places alone": ("coordinate pattern general\n2 2 1\n2 1\n", [[0, 0], [1, 0]]),
    "down the columns": ("array real general\n2 2\n1\n2\n3\n4\n", [[1, 3], [2, 4]]),
    "nothing in it": ("coordinate real general\n1 2 0\n", [[0, 0]]),
    "in capitals": ("COORDINATE Real GENERAL\n1 1 1\n1 1 2\n", [[2]]),
}


@pytest.mark.parametrize("what", TEXTS)
def test_what_others_write(tmp_path: Path, what: str) -> None:
    text, expected = TEXTS[what]
    (tmp_path / "a.mtx").write_text(HEAD + text)
    np.testing.assert_array_equal(read(tmp_path / "a.mtx").array, expected)


BAD = {
    "": "'a.mtx' does not begin as a Matrix Market file of real numbers",
    "1 2\n": "'a.mtx' does not begin as a Matrix Market file of real numbers",
    HEAD + "coordinate complex general\n1 1 1\n1 1 2 3\n": "'a.mtx' does not begin as",
    HEAD + "array real symmetric\n1 1\n2\n": "'a.mtx' does not begin as",
    HEAD + "coordinate real general\n2 2 2\n1 1 3\n": "'a.mtx' promises 2 entries, and has 1 line of them",
    HEAD + "array real general\n2 2\n1\n2\n": "'a.mtx' promises 4 entries, and has 2 lines of them",
    HEAD + "coordinate real general\n2 2 1\n1 1\n": "'a.mtx' has 2 numbers in a line, and not 3",
    HEAD + "coordinate real general\n2 2 1\n3 1 5\n": "'a.mtx' has an entry outside of its 2 × 2",
    HEAD + "coordinate real general\n2 2 1\n0 1 5\n": "'a.mtx' has an entry outside of its 2 × 2",
    HEAD + "coordinate real general\n2 2 1\n1.5 1 5\n": "'a.mtx' has an entry outside of its 2 × 2",
    HEAD + "coordinate real general\n2 2 1\n1 1 x\n": "'a.mtx' is not a readable .mtx file",
    HEAD + "coordinate real general\n": "'a.mtx' is not a readable .mtx file",
    HEAD + "coordinate real general\n99999 99999 0\n": "'a.mtx' holds a sparse matrix of 99,999 × 99,999",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_matrix_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    assert message(tmp_path / "a.mtx", text.encode()).startswith(BAD[text])


@pytest.mark.parametrize("ending", HOLDING)
def test_truncated_files_are_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write(path, {"J": scipy.sparse.eye_array(50, format="csr")})
    whole = path.read_bytes()
    for length in [0, 1, 7, len(whole) // 2, len(whole) - 6]:
        message(path, whole[:length])


@pytest.mark.parametrize("ending", HOLDING)
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_is_never_an_internal_error(
    tmp_path: Path, ending: str, position: int, byte: int
) -> None:
    path = tmp_path / f"a{ending}"
    write(path, {"J": scipy.sparse.csr_array(NUMBERS)})
    content = bytearray(path.read_bytes())
    content[position % len(content)] = byte
    path.write_bytes(content)
    try:
        read(path)
    except Diagnostic as diagnostic:
        assert diagnostic.kind == "input"  # noqa: PT017 (most bytes do no harm)


def test_an_index_out_of_range_is_refused(tmp_path: Path) -> None:
    """Written out, it would be put beside the array."""
    parts = {"format": b"csr", "shape": (2, 2), "data": [1.0], "indices": [7], "indptr": [0, 1, 1]}
    np.savez(tmp_path / "a.npz", **{name: np.array(part) for name, part in parts.items()})
    with pytest.raises(Diagnostic, match=r"not a readable \.npz file"):
        read(tmp_path / "a.npz")


def test_a_format_that_is_not_read_is_named(tmp_path: Path) -> None:
    scipy.sparse.save_npz(tmp_path / "a.npz", scipy.sparse.eye_array(2, format="dia"))
    with pytest.raises(Diagnostic, match="in the format 'dia'") as caught:
        read(tmp_path / "a.npz")
    assert "tocsr()" in caught.value.hint


def test_arrays_that_are_only_called_so_have_their_keys(tmp_path: Path) -> None:
    write(
        tmp_path / "a.npz", {"data": np.ones(1), "shape": np.zeros(1), "format": np.ones(2), "x": np.ones(3)}
    )
    assert read(tmp_path / "a.npz", "x").array.tolist() == [1, 1, 1]
