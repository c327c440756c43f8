"""Tensors as JSON and back: the record ``{"dtype", "shape", "data"}``, and what else is a tensor in JSON.

JSON here is strict: non-finite numbers are the texts "NaN", "Infinity", "-Infinity"; a complex number is
[re, im].
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from vjpcalc.diagnostics import Diagnostic, Source, Span, element_name
from vjpcalc.tensors.dtypes import Loaded, canonical, check_fits, dtype_of, to_numpy, to_torch

if TYPE_CHECKING:
    import numpy as np

NONFINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
MAX_DIMENSIONS = 64  # NumPy's and torch's own limit


# ---- out ---------------------------------------------------------------------------------------------------


def dumps(document: Any) -> str:
    """Strict JSON text on one line, never NaN."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    if text.isascii() or text.encode(errors="ignore").decode() == text:
        return text
    return json.dumps(document, allow_nan=False)  # half of a surrogate pair: no UTF-8 has it


def pretty(document: Any, indent: int = 0) -> str:
    """Strict JSON text for people as well: a key a line, but every tensor and every list on one line."""
    if not isinstance(document, dict) or not document or "dtype" in document:
        return dumps(document)
    margin = " " * (indent + 2)
    items = [f"{margin}{dumps(key)}: {pretty(value, indent + 2)}" for key, value in document.items()]
    return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"


def to_record(array: Any) -> dict[str, Any]:
    """A NumPy array or torch tensor of any shape as ``{"dtype", "shape", "data"}``, ready for ``json.dumps``.

    ``data`` is nested like the shape. Its floats are the shortest that read back as the same numbers.
    """
    return {"dtype": dtype_of(array), "shape": list(array.shape), "data": to_list(to_numpy(array))}


def to_list(array: np.ndarray) -> Any:
    """A NumPy array as nested lists (a number where it is 0-d) that strict JSON can hold."""
    import numpy as np

    if array.dtype.kind == "c":
        return to_list(np.stack([array.real, array.imag], axis=-1))
    if array.dtype.kind != "f":
        return array.tolist()
    data = shortest(array)
    finite = np.isfinite(array)
    if finite.all():
        return data.tolist()
    data = data.astype(object)
    data[np.isnan(array)] = "NaN"
    data[array == np.inf] = "Infinity"
    data[array == -np.inf] = "-Infinity"
    return data.tolist()


def encode_number(number: float) -> float | str:
    """A float as strict JSON can hold it: NaN and the infinities as texts."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def shortest(array: np.ndarray) -> np.ndarray:
    """Floats as float64s of the shortest text that reads back as the same number of the array's dtype.

    The float32 nearest to 0.1 becomes 0.1, not 0.10000000149011612.
    """
    import numpy as np

    if array.dtype.itemsize >= 8:
        return array
    with np.errstate(all="ignore"):
        short = array.astype("S24").astype(np.float64)  # NumPy writes the shortest text
        # its float64 may lie exactly between two numbers of the dtype, and round to the wrong one
        return np.where(short.astype(array.dtype) == array, short, array)


# ---- in ----------------------------------------------------------------------------------------------------


def loads(text: str, source: Source | None = None, offset: int = 0) -> Any:
    """Strict JSON as Python values. Raises Diagnostic (input); the text is at ``offset`` of ``source``."""

    def refuse(constant: str) -> Any:
        raise Diagnostic("input", f'{constant} is not JSON; it is written as a text: "{constant}"')

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        span = Span(offset + error.pos, offset + error.pos + 1)
        raise Diagnostic("input", f"not JSON: {_lower(error.msg)}", span=span, source=source) from None
    except RecursionError:
        raise Diagnostic("input", "not JSON: nested too deeply") from None
    except ValueError as error:
        raise Diagnostic("input", f"not JSON: {_lower(str(error))}") from None


def is_record(value: Any) -> bool:
    """True if a JSON value is ``{"data": …}`` with or without ``dtype`` and ``shape``."""
    return (
        isinstance(value, dict)
        and "data" in value
        and value.keys() <= {"dtype", "shape", "data"}
        and not isinstance(value["data"], dict)
    )


def is_tensor(value: Any) -> bool:
    """True if a JSON value looks like a tensor: a number, a list, a record."""
    if isinstance(value, str):
        return value in NONFINITE
    return isinstance(value, int | float | list) or is_record(value)


def from_json(value: Any) -> Loaded:
    """A JSON value (a number, nested lists, or a record) as a tensor. A record's ``dtype`` is its own.

    Raises Diagnostic (input) for a ragged list, what is no number, and a record that contradicts itself.
    """
    if not isinstance(value, dict):
        return Loaded(from_list(value))
    array = from_record(value)
    return Loaded(array, dtype_of(array) if value.get("dtype") is not None else None)


def from_record(record: dict[str, Any]) -> Any:
    """The array that ``to_record`` was given: NumPy's, or a torch tensor for bfloat16.

    ``dtype`` and ``shape`` may be missing. Raises Diagnostic (input) where they contradict ``data``, and for
    complex numbers, which are written only.
    """
    import numpy as np

    if not is_record(record):
        message = 'not a tensor: {"dtype", "shape", "data"} is expected'
        raise Diagnostic("input", message, hint="data holds the numbers")
    dtype, shape = record.get("dtype"), record.get("shape")
    if dtype is not None and not isinstance(dtype, str):
        raise Diagnostic("input", f"dtype is a text such as 'float64', not {dtype!r}")
    array = from_list(record["data"])
    if shape is not None:
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise Diagnostic("input", f"shape is a list of whole numbers, not {shape!r}")
        # an empty list does not tell its shape: (0, 3) is written []
        if array.size == 0 and 0 in shape:
            array = array.reshape(shape)
        if list(array.shape) != shape:
            message = f"shape says {tuple(shape)}, and data has the shape {array.shape}"
            raise Diagnostic("input", message)
    if dtype is None:
        return array
    dtype = canonical(dtype)
    check_fits(array, dtype)
    return to_torch(array, dtype) if dtype == "bfloat16" else array.astype(np.dtype(dtype), copy=False)


class Misfit(Diagnostic):
    """Nested lists that are no tensor: ``fault`` says why, and ``path`` where, positions from outside in."""

    def __init__(self, path: tuple[int, ...], fault: str, hint: str | None = None) -> None:
        super().__init__("input", f"{fault} at {element_name('', path)}" if path else fault, hint=hint)
        self.path, self.fault = path, fault


def from_list(value: Any) -> np.ndarray:
    """Nested lists of numbers (or one number) as a NumPy array: bool, int64 or float64.

    Raises Misfit for a ragged list and for what is no number.
    """
    import numpy as np

    try:
        array = np.array(value)
    except (ValueError, RecursionError):
        array = np.array(None)
    if array.dtype.kind in "bif":
        return array
    if array.dtype.kind == "u":
        return array.astype(np.float64)
    # not numbers alone: non-finite ones as texts, whole ones that are too large, or something that is wrong
    try:
        _check_list(value, ())
        return np.array(_numbers(value), dtype=np.float64)
    except RecursionError:
        raise Misfit((), f"nested more than {MAX_DIMENSIONS} deep") from None
    except OverflowError:
        raise Misfit((), "it holds a whole number that is too large for float64") from None


def locate(text: str, path: tuple[int, ...], offset: int = 0) -> Span:
    """Where in a JSON text of nested lists the item at ``path`` stands; ``offset`` is that of the text."""
    decoder = json.JSONDecoder()

    def item(position: int) -> tuple[int, int]:
        start = next(i for i in range(position, len(text)) if text[i] not in " \t\n\r")
        return start, decoder.raw_decode(text, start)[1]

    position = 0
    for index in path:
        position = text.index("[", position) + 1
        for _ in range(index):
            position = text.index(",", item(position)[1]) + 1
    start, stop = item(position)
    return Span(offset + start, offset + stop)


def _check_list(value: Any, path: tuple[int, ...]) -> None:
    """Raise Misfit at the first item, from outside in, that keeps nested lists from being a tensor."""
    if isinstance(value, list | tuple):
        if len(path) >= MAX_DIMENSIONS:
            raise Misfit(path, f"nested more than {MAX_DIMENSIONS} deep")
        for position, item in enumerate(value):
            _check_list(item, (*path, position))
            if _shape(item) != _shape(value[0]):
                fault = f"item 0 {_described(value[0])}, item {position} {_described(item)}"
                hint = "all rows of a tensor have one length"
                raise Misfit((*path, position), f"a ragged list: {fault}", hint)
    elif isinstance(value, dict):
        raise Misfit(path, "a JSON object where a number is expected")
    elif isinstance(value, str):
        if value not in NONFINITE:
            raise Misfit(path, f"the text {json.dumps(value, ensure_ascii=False)} is not a number")
    elif value is None:
        raise Misfit(path, "null is not a number")
    elif not isinstance(value, int | float):
        raise Misfit(path, f"{value!r} is not a number")


def _shape(value: Any) -> tuple[int, ...]:
    return (len(value), *(_shape(value[0]) if value else ())) if isinstance(value, list | tuple) else ()


def _described(value: Any) -> str:
    shape = _shape(value)
    if not shape:
        return "is a number"
    return f"has length {shape[0]}" if len(shape) == 1 else f"has the shape {shape}"


def _numbers(value: Any) -> Any:
    """The same with each text for a non-finite number as that number, and each whole number as a float."""
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return NONFINITE[value] if isinstance(value, str) else float(value)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
