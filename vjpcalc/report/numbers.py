"""Tensors as aligned text, large ones elided the NumPy way."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a tensor to show)

from vjpcalc.report.document import Cell, Text

PRECISION = 6  # significant digits shown
THRESHOLD = 200  # elements up to which a tensor is shown whole
ROWS = 12  # a matrix of so few rows keeps them all; only columns are elided
WRONG, RIGHT, NONE = "✗", "✓", "–"  # after a wrong number, after what it should be, in place of a number
EDGE_ITEMS = (6, 5, 4, 3, 2, 1)  # how many items at each edge an elided dimension keeps, the first that fits
# The parts of a tensor's text that have a role of their own; [0, 1] is an interval, rows have no commas.
ROLES = re.compile(
    rf"(?P<bad>[^\s[\]]+{WRONG})|(?P<good>[^\s[\]]+{RIGHT})"
    rf"|(?P<unsure>\[[^[\],]+, [^[\],]+\])|(?P<dim>{NONE})"
)


def number(value: float, precision: int = PRECISION) -> str:
    """One number, without a trailing ``.0``."""
    return f"{value:.{precision}g}"


@dataclass(frozen=True, eq=False)
class Marks:
    """What is shown of some of an array's numbers: ``sign`` after those that are ``marked``, and in place of
    those that are ``hidden`` what ``instead`` says of the k-th. Both masks are shaped like the array. The
    ``focus``, an index, is shown even where its neighbours are left out.
    """

    marked: np.ndarray | None = None
    sign: str = ""
    hidden: np.ndarray | None = None
    instead: Callable[[int], str] = lambda k: NONE
    focus: tuple[int, ...] | None = None


def coloured(text: str) -> Cell:
    """A tensor's text with the roles of what is marked in it."""
    parts, start = [], 0
    for found in ROLES.finditer(text):
        parts += [Text(text[start : found.start()]), Text(found[0], found.lastgroup or "")]
        start = found.end()
    return (*parts, Text(text[start:])) if parts else text


def tensor(
    array: Any, precision: int = PRECISION, width: int | None = None, marks: Marks | None = None
) -> str:
    """An array or torch tensor as lines of aligned numbers, elided where ``width`` columns ask for it."""
    values = np.asarray(array.detach().double() if hasattr(array, "detach") else array, dtype=np.float64)
    marks = marks or Marks()
    values = values + 0.0  # -0.0 is 0
    if marks.hidden is not None:
        values = np.where(marks.hidden, 0.0, values)  # what is not shown makes no others long
    if np.all(np.isfinite(values)) and np.all(values == np.round(values)) and np.all(np.abs(values) < 1e15):
        values = values.astype(np.int64)
    scattered = _scattered(values)
    places = np.arange(values.size).reshape(values.shape)

    def text(threshold: int, edge_items: int, columns: Sequence[int] = ()) -> str:
        def laid_out(write: Callable[[int], str]) -> str:
            return np.array2string(
                places[..., list(columns)] if columns else places,
                max_line_width=10**9,
                threshold=threshold,
                edgeitems=edge_items,
                formatter={"int_kind": write},  # type: ignore[arg-type]
            )

        shown: list[int] = []
        laid_out(lambda k: shown.append(int(k)) or "·")  # type: ignore[func-returns-value]
        cells = _cells(values, shown, precision, scattered, marks)
        for before, column in pairwise(columns):
            if column > before + 1:
                cells |= {k: cells[k] + " ..." for k in shown if _column(values, k) == before}
        return laid_out(lambda k: cells[int(k)])

    def elided(edge_items: int, focus: tuple[int, ...] | None) -> str:
        if not all_lines or 2 * edge_items >= values.shape[-1]:
            return text(0, edge_items)
        last = values.shape[-1]
        columns = {*range(edge_items), *range(last - edge_items, last), *(focus or ())[-1:]}
        return text(10**9, 3, sorted(columns))

    if values.ndim == 0:
        return _cells(values, [0], precision, True, marks)[0]
    all_lines = values.ndim == 1 or (values.ndim == 2 and values.shape[0] <= ROWS)
    focused = marks.focus is not None and all_lines and values.size > THRESHOLD
    whole = elided(3, marks.focus) if focused else text(THRESHOLD, 3)
    if width is None or _width(whole) <= width:
        return whole
    for focus in dict.fromkeys((marks.focus, None)):
        for edge_items in EDGE_ITEMS:
            shorter = elided(edge_items, focus)
            if _width(shorter) <= width:
                return shorter
    return shorter


def _cells(
    values: np.ndarray, shown: Sequence[int], precision: int, scattered: bool, marks: Marks
) -> dict[int, str]:
    """The numbers at these places of an array as texts; those that stand in one column have one width."""
    hidden = [marks.hidden is not None and bool(marks.hidden.flat[k]) for k in shown]
    kept = [k for k, out in zip(shown, hidden, strict=True) if not out]
    cells = dict(zip(kept, _aligned(values.ravel()[kept], precision, scattered), strict=True))
    long = max(map(len, cells.values()), default=0)
    if marks.marked is not None:
        signed = {k for k in kept if marks.marked.flat[k]}
        columns = {_column(values, k) for k in signed}
        for k in kept:
            if k in signed:
                cells[k] = f"{cells[k].rstrip() + marks.sign:<{long + len(marks.sign)}}"
            elif _column(values, k) in columns:
                cells[k] += " " * len(marks.sign)
    if len(kept) == len(shown):
        return cells
    cells |= {k: f"{marks.instead(k):>{long}}" for k in shown if k not in cells}
    widths: dict[int, int] = {}
    for k in shown:
        widths[_column(values, k)] = max(widths.get(_column(values, k), 0), len(cells[k]))
    return {k: f"{cells[k]:>{widths[_column(values, k)]}}" for k in shown}


def _column(values: np.ndarray, k: int) -> int:
    return k % values.shape[-1] if values.ndim else 0


def _aligned(values: np.ndarray, precision: int, scattered: bool) -> list[str]:
    """Numbers as texts of one width."""
    if scattered:
        texts = [number(value, precision) for value in values.tolist()]
        long = max(map(len, texts), default=0)
        return [f"{text:>{long}}" for text in texts]
    line = np.array2string(
        values, max_line_width=10**9, precision=precision, threshold=10**9, floatmode="maxprec"
    )[1:]
    stride = len(line) // max(len(values), 1)  # a number and the blank or bracket after it
    return [line[k * stride : (k + 1) * stride - 1] for k in range(len(values))]


def _scattered(values: Any) -> bool:
    """True if the sizes are so far apart that a common number of decimals would hide some."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)]).astype(float)
    if values.dtype.kind != "f" or not sizes.size:
        return False
    return bool(sizes.max() >= 1e8 or sizes.min() < 1e-4 or sizes.max() > 1e3 * sizes.min())


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))


def shape(sizes: Any) -> str:
    """``(2, 3)``."""
    return str(tuple(int(size) for size in sizes))
