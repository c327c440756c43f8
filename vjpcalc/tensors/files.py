"""Files of tensors: one entry in FORMATS for each kind, which says how it is read and how it is written.

    .npy                 one array; memory-mapped where it is large
    .npz                 several, by key
    .pt .pth             a tensor, or nested dictionaries and lists of them (a state dict), by dotted key
    .safetensors         several, by key; needs the extra vjpcalc[safetensors]
    .json                an array, a record, a mapping of names to them, or a document that vjpcalc wrote
    .csv .tsv .txt       one array of at most two dimensions; a first line without any number is a header, and
                         # begins a comment. As in numpy.loadtxt, one row or column is 1-D, one number 0-d

Files are not trusted: nothing in one is ever executed (pickles are refused), and whatever is wrong with one
is a Diagnostic of kind ``input``. Numbers in .csv .tsv .txt and in JSON arrays have no dtype of their own.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vjpcalc.diagnostics import Diagnostic, Source, count, did_you_mean
from vjpcalc.tensors import json as encode
from vjpcalc.tensors.dtypes import Loaded, dtype_of, is_torch, normal, to_numpy, to_torch

Choose = Callable[
    ..., str
]  # given the keys that a file holds, and others that it has too: the one that is wanted
Arrays = Mapping[str, Any]  # NumPy arrays or torch tensors by name

LARGE = 64 * 2**20  # bytes: files from this size on are memory-mapped


@dataclass(frozen=True, slots=True)
class Format:
    """How files of some endings are read and written.

    ``read(path, choose)`` is given how to choose a key; a format that holds one array (``keyed`` is False)
    never asks. ``write(stream, arrays)`` is given one array only where ``keyed`` is False.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, Choose], Loaded]
    write: Callable[[IO[bytes], Arrays], None]
    keyed: bool = True


# ---- reading -----------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], key: str | None = None) -> Loaded:
    """The array in a file: the one called ``key``, or the only one.

    Shape and dtype are the file's; ``dtype`` is None for tables of text and bare JSON arrays. Large ``.npy``
    and ``.pt`` files are memory-mapped, copied on write. Raises Diagnostic (input).
    """
    path = Path(path)
    _check_readable(path)
    form = format_of(path)
    if key is not None and not form.keyed:
        raise Diagnostic(
            "input", f"'{path}' holds one array and no keys", hint=f"leave ':{key}' out: @{path}"
        )
    try:
        return form.read(path, lambda keys, also=(): choose(keys, also, key, f"'{path}'", f"@{path}"))
    except Diagnostic:
        raise
    except OSError as error:
        raise Diagnostic("input", f"'{path}' cannot be read: {_reason(error)}") from None
    except MemoryError:
        raise Diagnostic("input", f"'{path}' is too large for the memory") from None
    except ImportError as error:
        raise Diagnostic("input", f"'{path}' cannot be read: {_reason(error)}") from None
    except Exception as error:  # what a parser makes of hostile bytes is not to be foreseen
        raise Diagnostic(
            "input", f"'{path}' is not a readable {_ending(path)} file: {_reason(error)}"
        ) from error


def format_of(path: str | os.PathLike[str], kind: str = "input") -> Format:
    """The format of a file by its name's ending. Raises Diagnostic of ``kind`` where there is none."""
    ending = _ending(Path(path))
    if ending in BY_ENDING:
        return BY_ENDING[ending]
    said = f"'{path}' has the ending '{ending}', which is unknown" if ending else f"'{path}' has no ending"
    raise Diagnostic(
        kind,
        said + did_you_mean(ending, BY_ENDING),
        hint="the ending says what is in a file: " + " ".join(BY_ENDING),
    )


def choose(keys: Sequence[str], also: Container[str], key: str | None, what: str, written: str) -> str:
    """The key that is meant: ``key``, or the only one of ``keys``. ``also`` are keys that must be named.

    ``what`` is what holds them, and ``written`` how a user refers to it.
    """
    if key is not None:
        if key in keys or key in also:
            return key
        if list(keys) == [""]:
            raise Diagnostic(
                "input", f"{what} holds one array and no keys", hint=f"leave ':{key}' out: {written}"
            )
        raise Diagnostic("input", f"{what} has no '{key}'" + did_you_mean(key, keys), hint=_listed(keys))
    if len(keys) == 1:
        return keys[0]
    if not keys:
        raise Diagnostic("input", f"{what} holds no tensor")
    raise Diagnostic(
        "input", f"{what} holds {len(keys)} arrays: say which, {written}:{keys[0]}", hint=_listed(keys)
    )


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
    if encode.is_tensor(document):
        pick([""])
        return encode.from_json(document)
    if not isinstance(document, dict):
        return encode.from_json(document)
    tensors = dict(flatten(document, encode.is_tensor))
    if isinstance(document.get("format_version"), str):
        if isinstance(error := document.get("error"), dict):
            who = "the command before in the pipe failed" if pipe else "the file holds no result but an error"
            raise Diagnostic("input", f"{who}: {error.get('message')}", hint=error.get("hint"))
        section = next((name for name in ("gradients", "jacobians") if name in document), None)
        if section is not None:
            named = dict(flatten(document[section], encode.is_tensor))
            return encode.from_json({**tensors, **named}[pick(list(named), tensors)])
    return encode.from_json(tensors[pick(list(tensors))])


def _check_readable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        folder = path.parent
        if not folder.is_dir():
            raise Diagnostic("input", f"there is no folder '{folder}'") from None
        names = [entry.name for entry in os.scandir(folder)] if os.access(folder, os.R_OK | os.X_OK) else []
        raise Diagnostic("input", f"there is no file '{path}'" + did_you_mean(path.name, names)) from None
    except (OSError, ValueError) as error:
        raise Diagnostic("input", f"'{path}' cannot be read: {_reason(error)}") from None
    if stat.S_ISDIR(mode):
        raise Diagnostic("input", f"'{path}' is a folder")
    if not stat.S_ISREG(mode):
        raise Diagnostic("input", f"'{path}' is not a regular file", hint="JSON comes through a pipe: x=-")
    if not os.access(path, os.R_OK):
        raise Diagnostic("input", f"'{path}' cannot be read: permission denied")


def _ending(path: Path) -> str:
    return path.suffix.lower()


def _listed(keys: Sequence[str]) -> str:
    shown = [key for key in keys if key][:20]
    more = len(keys) - len(shown)
    return (
        "it holds " + ", ".join(shown) + (f" and {more} more" if more > 0 else "")
        if shown
        else "it holds no tensor"
    )


def _reason(error: Exception) -> str:
    """Why, in one short line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    said = (str(error).strip() or type(error).__name__).split("\n")[0]
    return said if len(said) <= 200 else said[:199] + "…"


def _own(array: Any) -> Loaded:
    """An array of a file that has a dtype for it."""
    array = array if is_torch(array) else normal(array)
    return Loaded(array, dtype_of(array))


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
    return _own(np.asarray(mapped) if mapped.nbytes >= LARGE else np.array(mapped))


def _write_npy(stream: IO[bytes], arrays: Arrays) -> None:
    import numpy as np

    (array,) = arrays.values()
    np.lib.format.write_array(stream, to_numpy(array), allow_pickle=False)


def _read_npz(path: Path, choose: Choose) -> Loaded:
    import zipfile

    import numpy as np

    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        with archive.open(choose(names) + ".npy") as member:
            try:
                return _own(np.lib.format.read_array(member, allow_pickle=False))
            except ValueError as error:
                if "allow_pickle" in str(error):
                    raise Diagnostic("input", f"'{path}' {PICKLED}") from None
                raise


def _write_npz(stream: IO[bytes], arrays: Arrays) -> None:
    # by hand: numpy.savez cannot take an array that is called 'file'
    import zipfile

    import numpy as np

    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, to_numpy(array), allow_pickle=False)


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
            raise Diagnostic(
                "input",
                f"'{path}' {PICKLED}, or is damaged",
                hint="save the tensors alone: torch.save(model.state_dict(), …)",
            ) from None
        tensors = dict(flatten(tree, lambda item: isinstance(item, torch.Tensor)))
    tensor = tensors[choose(list(tensors))].detach()
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        what = "complex" if tensor.is_complex() else "quantized" if tensor.is_quantized else "sparse"
        raise Diagnostic("input", f"'{path}': {what} tensors are not supported")
    if not tensor.is_floating_point() or tensor.dtype in (torch.float16, torch.float32, torch.float64):
        return _own(tensor.numpy())
    return _own(tensor)


def _write_pt(stream: IO[bytes], arrays: Arrays) -> None:
    import torch

    buffer = io.BytesIO()  # written to a file that is full, torch would hide the system's reason
    torch.save({name: to_torch(array).contiguous() for name, array in arrays.items()}, buffer)
    stream.write(buffer.getbuffer())


# ---- .safetensors ------------------------------------------------------------------------------------------


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError:
        raise Diagnostic(
            "input",
            "files that end in .safetensors need their own library",
            hint="pip install 'vjpcalc[safetensors]'",
        ) from None
    return safetensors


def _read_safetensors(path: Path, choose: Choose) -> Loaded:
    with _safetensors().safe_open(path, framework="np") as file:
        key = choose(list(file.keys()))
        if file.get_slice(key).get_dtype() != "BF16":
            return _own(file.get_tensor(key))
    with _safetensors().safe_open(path, framework="pt") as file:
        return _own(file.get_tensor(key))


def _write_safetensors(stream: IO[bytes], arrays: Arrays) -> None:
    _safetensors()
    if any(is_torch(array) for array in arrays.values()):
        import safetensors.torch

        tensors = {name: to_torch(array).contiguous() for name, array in arrays.items()}
        stream.write(safetensors.torch.save(tensors))
    else:
        import numpy as np
        import safetensors.numpy

        # numpy.ascontiguousarray would make a 0-d array 1-D
        stream.write(
            safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
        )


# ---- .json -------------------------------------------------------------------------------------------------


def _read_json(path: Path, choose: Choose) -> Loaded:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Diagnostic("input", f"'{path}' is not JSON: it is not UTF-8 text") from None
    return choose_json(encode.loads(text, Source(text, str(path))), choose)


def _write_json(stream: IO[bytes], arrays: Arrays) -> None:
    import json

    records = {name: encode.to_record(array) for name, array in arrays.items()}
    stream.write((json.dumps(records, allow_nan=False, ensure_ascii=False) + "\n").encode())


# ---- .csv .tsv .txt ----------------------------------------------------------------------------------------


SEPARATED = {",": "fields are separated by commas", "\t": "fields are separated by tabs"}


def _table_reader(delimiter: str | None) -> Callable[[Path, Choose], Loaded]:
    def read_table(path: Path, choose: Choose) -> Loaded:
        import numpy as np

        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise Diagnostic("input", f"'{path}' is not text") from None
        stripped = (
            (number, line.partition("#")[0].strip(" \r")) for number, line in enumerate(text.split("\n"), 1)
        )
        lines = {number: line for number, line in stripped if line.strip()}
        if lines and not any(map(_is_number, next(iter(lines.values())).split(delimiter))):
            del lines[next(iter(lines))]
        if not lines:
            raise Diagnostic("input", f"'{path}' holds no number", hint=SEPARATED.get(delimiter or ""))
        try:
            array = np.loadtxt(list(lines.values()), dtype=np.float64, delimiter=delimiter, comments=None)
        except ValueError as error:
            why = _table_fault(lines, delimiter) or _reason(error)
            hint = SEPARATED.get(delimiter or "")
            raise Diagnostic("input", f"'{path}' is not a table of numbers: {why}", hint=hint) from None
        return Loaded(array)

    return read_table


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


def _table_writer(delimiter: str) -> Callable[[IO[bytes], Arrays], None]:
    def write_table(stream: IO[bytes], arrays: Arrays) -> None:
        ((name, array),) = arrays.items()
        stream.write(table_text(name, array, delimiter).encode())

    return write_table


def table_text(name: str, array: Any, delimiter: str) -> str:
    """An array of at most two dimensions as lines of numbers, one line a row; a 1-D array is a column.

    Raises Diagnostic (usage) where it has more dimensions, or no element.
    """
    values = to_numpy(array)
    if values.ndim > 2 or values.size == 0:
        what = "at most two dimensions" if values.ndim > 2 else "no empty tensor"
        raise Diagnostic(
            "usage",
            f"a table holds {what}, and '{name}' has the shape {tuple(values.shape)}",
            hint="use .npy, .npz, .pt, .safetensors or .json",
        )
    values = encode.shortest(values) if values.dtype.kind == "f" else values.astype("int64")
    rows = values.reshape(-1, 1) if values.ndim < 2 else values
    return "".join(delimiter.join(map(repr, row)) + "\n" for row in rows.tolist())


# ---- the formats -------------------------------------------------------------------------------------------

FORMATS = (
    Format((".npy",), _read_npy, _write_npy, keyed=False),
    Format((".npz",), _read_npz, _write_npz),
    Format((".pt", ".pth"), _read_pt, _write_pt),
    Format((".safetensors",), _read_safetensors, _write_safetensors),
    Format((".json",), _read_json, _write_json),
    Format((".csv",), _table_reader(","), _table_writer(","), keyed=False),
    Format((".tsv",), _table_reader("\t"), _table_writer("\t"), keyed=False),
    Format((".txt",), _table_reader(None), _table_writer(" "), keyed=False),
)
BY_ENDING = {ending: form for form in FORMATS for ending in form.endings}


# ---- writing -----------------------------------------------------------------------------------------------


def check_target(path: str | os.PathLike[str], names: Sequence[str] = ()) -> Format:
    """The format in which arrays called ``names`` can be written to ``path``.

    Worth calling before a long computation. Raises Diagnostic (usage) for an unknown ending, a folder that is
    not there, a file that is write-protected, and several arrays for a format that holds one.
    """
    path = Path(path)
    if path.is_dir():
        raise Diagnostic(
            "usage", f"'{path}' is a folder", hint=f"name a file in it: {path / 'gradients.npz'}"
        )
    form = format_of(path, "usage")
    if not form.keyed and len(names) > 1:
        several = " ".join(ending for ending, other in BY_ENDING.items() if other.keyed)
        raise Diagnostic(
            "usage",
            f"a {_ending(path)} file holds one array, and there are {len(names)}: {', '.join(names)}",
            hint=f"several go into {several}; --wrt {names[0]} leaves one",
        )
    if not path.parent.is_dir():
        raise Diagnostic("usage", f"'{path}' cannot be written: there is no folder '{path.parent}'")
    if path.exists() and not os.access(path, os.W_OK):
        raise Diagnostic("usage", f"'{path}' cannot be written: it is write-protected")
    return form


def write(path: str | os.PathLike[str], arrays: Arrays) -> None:
    """Write arrays (NumPy or torch, by name) to a file in the format of its ending: whole or not at all.

    The file that was there stays untouched until the new one is complete on the disk. A symbolic link stays,
    its target is replaced; a pipe or device is written to. Numbers read back exactly; bfloat16 becomes
    float32 where the format has none. Raises Diagnostic (usage).
    """
    form = check_target(path, list(arrays))
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            buffer = io.BytesIO()  # not every format can be written where seeking is impossible
            form.write(buffer, arrays)
            with open(path, "wb") as stream:
                stream.write(buffer.getbuffer())
        else:
            with replacing(os.path.realpath(path)) as stream:
                form.write(stream, arrays)
    except OSError as error:
        raise Diagnostic("usage", f"'{path}' cannot be written: {_reason(error)}") from None


def check_place(path: str | os.PathLike[str]) -> Path:
    """The path, where ``save`` may succeed. Raises Diagnostic (usage)."""
    path = Path(path)
    if path.is_dir():
        raise Diagnostic("usage", f"'{path}' cannot be written: it is a folder")
    if not path.parent.is_dir():
        raise Diagnostic("usage", f"'{path}' cannot be written: there is no folder '{path.parent}'")
    return path


def save(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file of no tensors (a picture, a text), whole or not at all. Raises Diagnostic (usage)."""
    path = check_place(path)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a pipe or a device
        else:
            with replacing(os.path.realpath(path)) as stream:
                stream.write(content)
    except OSError as error:
        raise Diagnostic("usage", f"'{path}' cannot be written: {_reason(error)}") from None


@contextlib.contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A stream into a temporary file that becomes ``path`` at the end, and is deleted on any error."""
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".vjpcalc-{secrets.token_hex(8)}.tmp")
    # 0o666 less the umask, as for any new file
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            if os.path.exists(path):
                os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the rename itself last, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
