"""Files of tensors: one entry in FORMATS for each kind, which says how it is read and how it is written.

    .npy                 one array; memory-mapped where it is large
    .npz                 several, by key; or one sparse matrix, as scipy.sparse.save_npz writes it. Among
                         several, a sparse x has the same arrays under the keys x.format, x.shape, x.data …
    .mtx                 a matrix in NIST's Matrix Market format, sparse or dense; a vector is a column
    .pt .pth             a tensor, or nested dictionaries and lists of them (a state dict), by dotted key
    .safetensors         several, by key; needs the extra vjpcalc[safetensors]
    .json                an array, a record, a mapping of names to them, or a document that vjpcalc wrote
    .csv .tsv .txt       one array of at most two dimensions; a first line without any number is a header, and
                         # begins a comment. As in numpy.loadtxt, one row or column is 1-D, one number 0-d

Files are not trusted: nothing in one is ever executed (pickles are refused), and whatever is wrong with one
is a Diagnostic of kind ``input``; what cannot be written is one of kind ``usage``. Numbers in .csv .tsv .txt
and in JSON arrays have no dtype of their own.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vjpcalc.diagnostics import Diagnostic, Source, count, listed, reason, unknown
from vjpcalc.limits import MAX_ELEMENTS
from vjpcalc.tensors.dtypes import Loaded, is_torch, to_numpy, to_torch
from vjpcalc.tensors.json import dumps, from_json, is_tensor, loads, shortest, to_record
from vjpcalc.writing import require_writable, whole_file

if TYPE_CHECKING:
    import numpy as np

# given the keys that a file holds, and others that it has too: the one that is wanted
Choose = Callable[..., str]
Arrays = Mapping[str, Any]  # NumPy arrays, torch tensors or SciPy's sparse matrices by name

LARGE = 64 * 2**20  # bytes: files from this size on are memory-mapped
# A matrix of more entries than this is written sparse to an .npz file: of a smaller one numpy.load gives all.
NPZ_FROM = 10_000
MOSTLY = 0.5  # … if no more than this share of them are not 0: sparse, an entry takes 12 bytes in place of 8


@dataclass(frozen=True, slots=True)
class Format:
    """How files of some endings are read and written.

    ``read(path, choose)`` is given how to choose a key; a format that holds one array (``keyed`` is False)
    never asks. ``write(stream, arrays)`` is given one array only where ``keyed`` is False, and sparse
    matrices only where ``sparse_from`` says from how many entries on that is worth while.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, Choose], Loaded]
    write: Callable[[IO[bytes], Arrays], None]
    keyed: bool = True
    sparse_from: int | None = None


# ---- reading -----------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], key: str | None = None) -> Loaded:
    """The array in a file: the one called ``key``, or the only one.

    Shape and dtype are the file's; ``dtype`` is None for tables of text and bare JSON arrays. Large ``.npy``
    and ``.pt`` files are memory-mapped, copied on write. Raises Diagnostic (input).
    """
    path = Path(path)
    _check_readable(path)
    form = format_of(path)

    def pick(keys: Sequence[str], also: Container[str] = ()) -> str:
        return choose(keys, also, key, f"'{path}'", f"@{path}")

    if not form.keyed:
        pick([""])
    try:
        return form.read(path, pick)
    except Diagnostic:
        raise
    except (OSError, ImportError) as error:
        raise Diagnostic("input", f"'{path}' cannot be read: {reason(error)}") from None
    except MemoryError:
        raise Diagnostic("input", f"'{path}' is too large for the memory") from None
    except Exception as error:  # what a parser makes of hostile bytes is not to be foreseen
        message = f"'{path}' is not a readable {_ending(path)} file: {reason(error)}"
        raise Diagnostic("input", message) from error


def format_of(path: str | os.PathLike[str], kind: str = "input") -> Format:
    """The format of a file by its name's ending. Raises Diagnostic of ``kind`` where there is none."""
    ending = _ending(Path(path))
    if ending in BY_ENDING:
        return BY_ENDING[ending]
    what = f"the ending '{ending}', which is unknown" if ending else "no ending"
    hint = "the ending says what is in a file: " + " ".join(BY_ENDING)
    raise unknown(kind, f"'{path}' has {what}", ending, BY_ENDING, hint)


def choose(keys: Sequence[str], also: Container[str], key: str | None, what: str, written: str) -> str:
    """The key that is meant: ``key``, or the only one of ``keys``. ``also`` are keys that must be named.

    ``what`` is what holds them, and ``written`` how a user refers to it.
    """
    if key is not None:
        if key in keys or key in also:
            return key
        if list(keys) == [""]:
            hint = f"leave ':{key}' out: {written}"
            raise Diagnostic("input", f"{what} holds one array and no keys", hint=hint)
        raise unknown("input", f"{what} has no '{key}'", key, keys, _holds(keys))
    if len(keys) == 1:
        return keys[0]
    if not keys:
        raise Diagnostic("input", f"{what} holds no tensor")
    message = f"{what} holds {len(keys)} arrays: say which, {written}:{keys[0]}"
    raise Diagnostic("input", message, hint=_holds(keys))


def _holds(keys: Sequence[str]) -> str:
    return f"it holds {listed(key for key in keys if key) or 'no tensor'}"


def flatten(tree: Any, is_leaf: Callable[[Any], bool], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dictionaries and lists, by dotted key (a leaf alone has the key ``""``)."""
    if is_leaf(tree):
        yield prefix, tree
    elif isinstance(tree, Mapping | list | tuple):
        for key, item in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from flatten(item, is_leaf, f"{prefix}.{key}" if prefix else str(key))


def choose_json(document: Any, pick: Choose, pipe: bool = False) -> Loaded:
    """The tensor that is wanted of a JSON document: a bare array or record, or one of those in it.

    A document that vjpcalc wrote is read as the set of its gradients (or Jacobians); ``outputs.out`` reaches
    its other tensors. Raises Diagnostic (input), also where the document says that a command failed.
    """
    if is_tensor(document):
        pick([""])
        return from_json(document)
    if not isinstance(document, dict):
        return from_json(document)
    tensors = dict(flatten(document, is_tensor))
    if isinstance(document.get("format_version"), str):
        if isinstance(error := document.get("error"), dict):
            who = "the command before in the pipe failed" if pipe else "the file holds no result but an error"
            raise Diagnostic("input", f"{who}: {error.get('message')}", hint=error.get("hint"))
        section = next((name for name in ("gradients", "jacobians") if name in document), None)
        if section is not None:
            named = dict(flatten(document[section], is_tensor))
            return from_json({**tensors, **named}[pick(list(named), tensors)])
    return from_json(tensors[pick(list(tensors))])


def _check_readable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        folder = path.parent
        if not folder.is_dir():
            raise Diagnostic("input", f"there is no folder '{folder}'") from None
        names = [entry.name for entry in os.scandir(folder)] if os.access(folder, os.R_OK | os.X_OK) else []
        raise unknown("input", f"there is no file '{path}'", path.name, names, hint="") from None
    except (OSError, ValueError) as error:
        raise Diagnostic("input", f"'{path}' cannot be read: {reason(error)}") from None
    if stat.S_ISDIR(mode):
        raise Diagnostic("input", f"'{path}' is a folder")
    if not stat.S_ISREG(mode):
        raise Diagnostic("input", f"'{path}' is not a regular file", hint="JSON comes through a pipe: x=-")
    if not os.access(path, os.R_OK):
        raise Diagnostic("input", f"'{path}' cannot be read: permission denied")


def _ending(path: Path) -> str:
    return path.suffix.lower()


PICKLED = "holds pickled Python objects: reading them could run a program, so they are refused"


# ---- .npy .npz ---------------------------------------------------------------------------------------------


def _read_npy(path: Path, choose: Choose) -> Loaded:
    import numpy as np

    try:
        # mapped in any case: what the header claims is held against the file's size before any allocation
        mapped = np.lib.format.open_memmap(path, mode="c")
    except ValueError as error:
        if "Python objects" in str(error):
            raise Diagnostic("input", f"'{path}' {PICKLED}") from None
        raise
    return Loaded.of(np.asarray(mapped) if mapped.nbytes >= LARGE else np.array(mapped))


def _write_npy(stream: IO[bytes], arrays: Arrays) -> None:
    import numpy as np

    (array,) = arrays.values()
    np.lib.format.write_array(stream, to_numpy(array), allow_pickle=False)


def _read_npz(path: Path, choose: Choose) -> Loaded:
    import zipfile

    import numpy as np

    def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
        with archive.open(f"{name}.npy") as member:
            try:
                return np.lib.format.read_array(member, allow_pickle=False)
            except ValueError as error:
                if "allow_pickle" in str(error):
                    raise Diagnostic("input", f"'{path}' {PICKLED}") from None
                raise

    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        parts = {name: part for name, part in _sparse_parts(names).items() if set(part) >= SPARSE_LEAST}
        if "" in parts and not set(names) - SPARSE_NAMES:
            key = choose([""])
        else:
            within = {full for part in parts.values() for full in part.values()} - set(parts.get("", ()))
            key = choose([*(name for name in names if name not in within), *filter(None, parts)], names)
            if key not in parts:
                return Loaded.of(read_array(archive, key))
        return Loaded.of(
            _from_sparse(path, {part: read_array(archive, full) for part, full in parts[key].items()})
        )


# the arrays in a file of scipy.sparse.save_npz, and those that each has
SPARSE_NAMES = {"format", "shape", "data", "indices", "indptr", "row", "col", "offsets", "_is_array"}
SPARSE_LEAST = {"format", "shape", "data"}


def _sparse_parts(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The names that may be parts of a sparse matrix, by its name ("" if it has none) and by the part."""
    parts: dict[str, dict[str, str]] = {}
    for full in names:
        name, _, part = full.rpartition(".")
        if part in SPARSE_NAMES:
            parts.setdefault(name, {})[part] = full
    return parts


def _from_sparse(path: Path, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """The matrix, written out, of what scipy.sparse.save_npz wrote. Raises Diagnostic (input), ValueError."""
    from scipy import sparse

    (rows, columns), form = parts["shape"].tolist(), parts["format"].item()
    form = form.decode("ascii", "replace") if isinstance(form, bytes) else form
    _check_written_out(path, rows, columns)
    if form == "coo":
        return sparse.coo_array((parts["data"], (parts["row"], parts["col"])), (rows, columns)).toarray()
    if form not in ("csr", "csc"):
        raise Diagnostic("input", f"'{path}' holds a sparse matrix in the format '{form}'", hint=SPARSE_HINT)
    made = getattr(sparse, f"{form}_array")
    matrix = made((parts["data"], parts["indices"], parts["indptr"]), (rows, columns))
    matrix.check_format(full_check=True)  # an index out of range would be written outside of the array
    return matrix.toarray()


SPARSE_HINT = "write it as csr, csc or coo: scipy.sparse.save_npz(file, matrix.tocsr())"


def _check_written_out(path: Path, rows: int, columns: int) -> None:
    if rows * columns > MAX_ELEMENTS:
        message = f"'{path}' holds a sparse matrix of {rows:,} × {columns:,}"
        raise Diagnostic("input", f"{message}: written out, that is more than {MAX_ELEMENTS:,} numbers")


def is_sparse(array: Any) -> bool:
    """True if an array is one of SciPy's sparse matrices; imports no SciPy to tell."""
    return type(array).__module__.startswith("scipy.sparse")


def _write_npz(stream: IO[bytes], arrays: Arrays) -> None:
    # by hand: numpy.savez cannot take an array that is called 'file'
    import zipfile

    import numpy as np

    if len(arrays) == 1 and all(map(is_sparse, arrays.values())):
        from scipy.sparse import save_npz

        save_npz(stream, *arrays.values())
        return
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            sparse = is_sparse(array)
            for key, part in _as_parts(name, array).items() if sparse else [(name, to_numpy(array))]:
                info = zipfile.ZipInfo(f"{key}.npy")
                info.compress_type = zipfile.ZIP_DEFLATED if sparse else zipfile.ZIP_STORED
                with archive.open(info, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, part, allow_pickle=False)


def _as_parts(name: str, matrix: Any) -> dict[str, np.ndarray]:
    """What scipy.sparse.save_npz writes of a matrix, under keys that begin with its name."""
    import numpy as np

    rows = matrix.tocsr()
    parts = {
        "format": b"csr",
        "shape": rows.shape,
        "data": rows.data,
        "indices": rows.indices,
        "indptr": rows.indptr,
    }
    return {f"{name}.{key}": np.asanyarray(part) for key, part in parts.items()}


# ---- .pt ---------------------------------------------------------------------------------------------------


def _read_pt(path: Path, choose: Choose) -> Loaded:
    import pickle
    import zipfile

    import torch

    mapped = path.stat().st_size >= LARGE and zipfile.is_zipfile(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except pickle.UnpicklingError:
            hint = "save the tensors alone: torch.save(model.state_dict(), …)"
            raise Diagnostic("input", f"'{path}' {PICKLED}, or is damaged", hint=hint) from None
        tensors = dict(flatten(tree, lambda item: isinstance(item, torch.Tensor)))
    return Loaded.of(tensors[choose(list(tensors))])


def _write_pt(stream: IO[bytes], arrays: Arrays) -> None:
    import torch

    buffer = io.BytesIO()  # written to a file that is full, torch would hide the system's reason
    torch.save({name: to_torch(array).contiguous() for name, array in arrays.items()}, buffer)
    stream.write(buffer.getbuffer())


# ---- .safetensors ------------------------------------------------------------------------------------------


def _safetensors(kind: str) -> Any:
    try:
        import safetensors
    except ImportError:
        message = "files that end in .safetensors need their own library"
        raise Diagnostic(kind, message, hint="pip install 'vjpcalc[safetensors]'") from None
    return safetensors


def _read_safetensors(path: Path, choose: Choose) -> Loaded:
    safe_open = _safetensors("input").safe_open
    with safe_open(path, framework="np") as file:
        key = choose(list(file.keys()))
        if file.get_slice(key).get_dtype() != "BF16":
            return Loaded.of(file.get_tensor(key))
    with safe_open(path, framework="pt") as file:
        return Loaded.of(file.get_tensor(key))


def _write_safetensors(stream: IO[bytes], arrays: Arrays) -> None:
    _safetensors("usage")
    if any(is_torch(array) for array in arrays.values()):
        import safetensors.torch

        tensors = {name: to_torch(array).contiguous() for name, array in arrays.items()}
        stream.write(safetensors.torch.save(tensors))
    else:
        import numpy as np
        import safetensors.numpy

        # numpy.ascontiguousarray would make a 0-d array 1-D
        contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        stream.write(safetensors.numpy.save(contiguous))


# ---- .json -------------------------------------------------------------------------------------------------


def _read_json(path: Path, choose: Choose) -> Loaded:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Diagnostic("input", f"'{path}' is not JSON: it is not UTF-8 text") from None
    return choose_json(loads(text, Source(text, str(path))), choose)


def _write_json(stream: IO[bytes], arrays: Arrays) -> None:
    records = {name: to_record(array) for name, array in arrays.items()}
    stream.write((dumps(records) + "\n").encode())


# ---- .csv .tsv .txt ----------------------------------------------------------------------------------------


SEPARATED = {",": "fields are separated by commas", "\t": "fields are separated by tabs"}


def _read_table(delimiter: str | None, path: Path, choose: Choose) -> Loaded:
    import numpy as np

    hint = SEPARATED.get(delimiter or "")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Diagnostic("input", f"'{path}' is not text") from None
    stripped = (line.partition("#")[0].strip(" \r") for line in text.split("\n"))
    lines = {number: line for number, line in enumerate(stripped, 1) if line.strip()}
    if lines and not any(map(_is_number, next(iter(lines.values())).split(delimiter))):
        del lines[next(iter(lines))]
    if not lines:
        raise Diagnostic("input", f"'{path}' holds no number", hint=hint)
    try:
        array = np.loadtxt(list(lines.values()), dtype=np.float64, delimiter=delimiter, comments=None)
    except ValueError as error:
        fault = _table_fault(lines, delimiter) or reason(error)
        raise Diagnostic("input", f"'{path}' is not a table of numbers: {fault}", hint=hint) from None
    return Loaded(array)


def _table_fault(lines: Mapping[int, str], delimiter: str | None) -> str | None:
    """What is wrong with the lines of a table, and where, in the file's own line numbers."""
    first = len(next(iter(lines.values())).split(delimiter))
    for number, line in lines.items():
        fields = line.split(delimiter)
        for column, field in enumerate(fields, 1):
            if not _is_number(field):
                what = f"'{field.strip()}' is not a number" if field.strip() else "an empty field"
                return f"line {number}, column {column}: {what}"
        if len(fields) != first:
            return f"line {number} has {count(len(fields), 'field')}, and the first has {first}"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write_table(delimiter: str, stream: IO[bytes], arrays: Arrays) -> None:
    ((name, array),) = arrays.items()
    stream.write(table_text(name, array, delimiter).encode())


def table_text(name: str, array: Any, delimiter: str) -> str:
    """An array of at most two dimensions as lines of numbers, one line a row; a 1-D array is a column.

    Raises Diagnostic (usage) where it has more dimensions, or no element.
    """
    rows = _as_rows(name, array, "table")
    return "".join(delimiter.join(map(repr, row)) + "\n" for row in rows.tolist())


def _as_rows(name: str, array: Any, what: str) -> np.ndarray:
    """An array of at most two dimensions as a matrix of float64 or int64; a 1-D array is a column."""
    values = to_numpy(array)
    if values.ndim > 2 or values.size == 0:
        holds = "at most two dimensions" if values.ndim > 2 else "no empty tensor"
        raise Diagnostic(
            "usage",
            f"a {what} holds {holds}, and '{name}' has the shape {tuple(values.shape)}",
            hint="use .npy, .npz, .pt, .safetensors or .json",
        )
    values = shortest(values) if values.dtype.kind == "f" else values.astype("int64")
    return values.reshape(-1, 1) if values.ndim < 2 else values


# ---- .mtx --------------------------------------------------------------------------------------------------


def _read_mtx(path: Path, choose: Choose) -> Loaded:
    """By hand: scipy.io.mmread ends the process at some truncated files."""
    import numpy as np

    head, *lines = path.read_text(encoding="ascii").split("\n")
    words = head.lower().split()
    known = len(words) == 5 and words[:2] == ["%%matrixmarket", "matrix"]
    form, field, symmetry = words[2:] if known else ("", "", "")
    if field not in ("real", "double", "integer", "pattern") or (form, symmetry) not in MATRIX_MARKET:
        hint = "such as: %%MatrixMarket matrix coordinate real general"
        raise Diagnostic(
            "input", f"'{path}' does not begin as a Matrix Market file of real numbers", hint=hint
        )
    first, *rest = [line for line in lines if line.strip() and not line.startswith("%")] or [""]
    sizes = [int(word) for word in first.split()]
    m, n = sizes[:2]
    _check_written_out(path, m, n)
    width = 1 if form == "array" else 2 if field == "pattern" else 3
    promised = m * n if form == "array" else sizes[2]
    if len(rest) != promised:
        lines_there = count(len(rest), "line")
        raise Diagnostic("input", f"'{path}' promises {promised:,} entries, and has {lines_there} of them")
    table = np.loadtxt(rest, dtype=np.float64, comments=None, ndmin=2) if rest else np.zeros((0, width))
    if table.shape[1] != width:
        raise Diagnostic("input", f"'{path}' has {table.shape[1]} numbers in a line, and not {width}")
    if form == "array":
        return Loaded(table.reshape(n, m).T.copy())
    places = table[:, :2] - 1
    if ((places != np.floor(places)) | (places < 0) | (places >= (m, n))).any():
        raise Diagnostic("input", f"'{path}' has an entry outside of its {m:,} × {n:,}")
    i, j = places.astype(np.intp).T
    values = table[:, 2] if width == 3 else np.ones(len(table))
    matrix = np.zeros((m, n))
    np.add.at(matrix, (i, j), values)
    if symmetry != "general":  # one triangle is given
        below = i != j
        np.add.at(matrix, (j[below], i[below]), values[below] * (-1 if symmetry == "skew-symmetric" else 1))
    return Loaded(matrix)


MATRIX_MARKET = {("array", "general")} | {
    ("coordinate", symmetry) for symmetry in ("general", "symmetric", "skew-symmetric")
}


def _write_mtx(stream: IO[bytes], arrays: Arrays) -> None:
    from scipy.io import mmwrite

    ((name, array),) = arrays.items()
    matrix = array if is_sparse(array) else _as_rows(name, array, ".mtx file")
    buffer = io.BytesIO()  # whoever writes a stream in parts would hide the system's reason
    mmwrite(buffer, matrix, symmetry="general")
    stream.write(buffer.getbuffer())


# ---- the formats -------------------------------------------------------------------------------------------

FORMATS = (
    Format((".npy",), _read_npy, _write_npy, keyed=False),
    Format((".npz",), _read_npz, _write_npz, sparse_from=NPZ_FROM),
    Format((".mtx",), _read_mtx, _write_mtx, keyed=False, sparse_from=0),
    Format((".pt", ".pth"), _read_pt, _write_pt),
    Format((".safetensors",), _read_safetensors, _write_safetensors),
    Format((".json",), _read_json, _write_json),
    Format((".csv",), partial(_read_table, ","), partial(_write_table, ","), keyed=False),
    Format((".tsv",), partial(_read_table, "\t"), partial(_write_table, "\t"), keyed=False),
    Format((".txt",), partial(_read_table, None), partial(_write_table, " "), keyed=False),
)
BY_ENDING = {ending: form for form in FORMATS for ending in form.endings}


# ---- writing -----------------------------------------------------------------------------------------------


def check_target(path: str | os.PathLike[str], names: Sequence[str] = ()) -> Format:
    """The format in which arrays called ``names`` can be written to ``path``.

    Worth calling before a long computation. Raises Diagnostic (usage) for a file that cannot be written, an
    unknown ending, and several arrays for a format that holds one.
    """
    require_writable(path)
    form = format_of(path, "usage")
    if not form.keyed and len(names) > 1:
        several = " ".join(ending for ending, other in BY_ENDING.items() if other.keyed)
        raise Diagnostic(
            "usage",
            f"a {_ending(Path(path))} file holds one array, and there are {len(names)}: {listed(names)}",
            hint=f"several go into {several}; --wrt {names[0]} leaves one",
        )
    return form


def thinned(path: str | os.PathLike[str], matrices: Arrays) -> Arrays:
    """The matrices as they are worth writing to ``path``: sparse where mostly 0, if the format has that.

    The share is MOSTLY; from how many entries on, the format says.
    """
    import numpy as np

    least = format_of(path, "usage").sparse_from

    def thin(matrix: Any) -> Any:
        if least is None or is_sparse(matrix) or matrix.size <= least:
            return matrix
        if np.count_nonzero(matrix) > MOSTLY * matrix.size:
            return matrix
        from scipy.sparse import csr_array

        return csr_array(matrix)

    return {name: thin(matrix) for name, matrix in matrices.items()}


def write(path: str | os.PathLike[str], arrays: Arrays) -> None:
    """Write arrays, by name, to a file in the format of its ending: whole or not at all.

    Numbers read back exactly; bfloat16 becomes float32 where the format has none. A sparse matrix stays one
    where the format has such; else its zeros are written too. Raises Diagnostic (usage).
    """
    form = check_target(path, list(arrays))
    if form.sparse_from is None:
        arrays = {name: _written_out(path, name, array) for name, array in arrays.items()}
    with whole_file(path) as stream:
        form.write(stream, arrays)


def _written_out(path: str | os.PathLike[str], name: str, array: Any) -> Any:
    if not is_sparse(array):
        return array
    m, n = array.shape
    if m * n > MAX_ELEMENTS:
        raise Diagnostic(
            "usage",
            f"'{name}' has {m:,} × {n:,} entries: too many to be written to '{path}', zeros and all",
            hint="in .npz it stays sparse; and in .mtx, which holds one matrix",
        )
    return array.toarray()
