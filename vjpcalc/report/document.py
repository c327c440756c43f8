"""A report is data: a list of neutral blocks, which ``terminal.py`` and ``plain.py`` turn into text.

A Text carries a role instead of a colour; the formatters know what a role looks like.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from vjpcalc.language.source import width

GRID = 40  # rows and columns of a heatmap


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    role: str = ""  # title, name, number, operator, good, unsure, bad or dim


Rich = tuple[Text, ...]
Cell = str | Text | Rich


@dataclass(frozen=True, slots=True)
class Line:
    """One line of running text; ``indent`` in characters."""

    parts: Rich
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; a cell may have several lines. A line is drawn after every ``rules`` rows (0: none)."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    rules: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """A matrix as cells coloured on a diverging scale around 0.

    ``values`` is a NumPy array (m, n), or one of SciPy's sparse ones where it is to be pooled. ``rows`` and
    ``columns`` are labels, ``scale`` is the size that has the full colour. ``texts`` are written into the
    cells; without them a cell is small, its sign and its tenths of ``scale`` stand for the colour where there
    is none, and a matrix that is too large is pooled.
    """

    values: Any
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    scale: float
    texts: tuple[tuple[str, ...], ...] | None = None

    def symbol(self, value: float) -> str:
        """A cell without colour: its sign and tenths of the scale; ``·`` for 0, ``?`` if it is not finite."""
        if value == 0:
            return "·"
        if not math.isfinite(value):
            return "?"
        tenths = min(int(10 * abs(value) / self.scale), 9) if self.scale > 0 else 0
        return ("+" if value > 0 else "-") + (str(tenths) if tenths else "")

    def legend(self) -> str:
        """What the symbols mean."""
        means = f"sign and tenths of the largest size, {self.scale:.6g}; + or - alone: below a tenth; ·: 0"
        return means if self.finite else f"{means}; ?: not finite"

    @property
    def finite(self) -> bool:
        """True if all entries are."""
        import numpy as np

        entries = self.values if isinstance(self.values, np.ndarray) else self.values.data
        return bool(np.isfinite(entries).all())

    def header(self, cell: int) -> str:
        """The first and the last column's label over cells that are ``cell`` wide."""
        first, last = self.columns[0], self.columns[-1]
        if len(self.columns) == 1:
            return first
        room = cell * len(self.columns) - len(first) - len(last)
        return first + " " * room + last if room >= 3 else f"{first} … {last}"

    def pooled(self, most_columns: int = GRID) -> tuple[Heat, str]:
        """A matrix small enough to be seen, each cell a block's largest in size; and a note that says so."""
        import numpy as np

        m, n = self.values.shape
        high, wide = math.ceil(m / GRID), math.ceil(n / max(min(most_columns, GRID), 1))
        if high * wide == 1:
            return self, ""
        values = np.zeros((math.ceil(m / high), math.ceil(n / wide)))
        if isinstance(self.values, np.ndarray):
            size = np.nan_to_num(np.abs(self.values), nan=np.inf)
            for i, j in np.ndindex(*values.shape):
                block = np.s_[i * high : (i + 1) * high, j * wide : (j + 1) * wide]
                values[i, j] = self.values[block].flat[int(np.argmax(size[block]))]
        else:
            entries = self.values.tocoo()
            order = np.argsort(np.nan_to_num(np.abs(entries.data), nan=np.inf), kind="stable")
            # of several that are assigned to one cell, the last and largest stays
            values[entries.row[order] // high, entries.col[order] // wide] = entries.data[order]
        note = f"each cell stands for {high}×{wide} entries and shows the one that is largest in size"
        return Heat(values, self.rows[::high], self.columns[::wide], self.scale), note


@dataclass(frozen=True, slots=True)
class Tree:
    """A line and what hangs from it."""

    parts: Rich
    children: tuple[Tree, ...] = ()


@dataclass(frozen=True, slots=True)
class Blank:
    """An empty line."""


Block = Line | Table | Heat | Tree | Blank
Report = Sequence[Block]


def line(*parts: str | Text, indent: int = 0) -> Line:
    return Line(tuple(part if isinstance(part, Text) else Text(part) for part in parts), indent)


def texts(cell: Cell) -> Rich:
    """A cell as its parts."""
    if isinstance(cell, str):
        return (Text(cell),)
    return (cell,) if isinstance(cell, Text) else cell


def plain_text(cell: Cell) -> str:
    return "".join(part.text for part in texts(cell))


def padded(text: str, columns: int) -> str:
    """The text with blanks after it, as wide as that many columns."""
    return text + " " * (columns - width(text))


def merged(parts: Sequence[str]) -> str:
    """Texts of one or more lines set side by side, tops aligned, as one text."""
    columns = [part.split("\n") for part in parts]
    widths = [max(map(width, column)) for column in columns]
    rows = zip_longest(*columns, fillvalue="")
    return "\n".join("".join(map(padded, row, widths)).rstrip() for row in rows)


def beside(cells: Sequence[Cell], indent: int = 0) -> list[Block]:
    """Cells of one or more lines set side by side, a blank between them, tops aligned."""
    columns = [_lines(cell) for cell in cells]
    widths = [max(map(_columns, column)) for column in columns]
    lines: list[Block] = []
    for row in zip_longest(*columns, fillvalue=()):
        parts: list[Text] = []
        pending = 0
        for own, wide in zip(row, widths, strict=True):
            if any(part.text for part in own):
                parts += [Text(" " * pending), *own]
                pending = 0
            pending += wide - _columns(own) + 1
        lines.append(Line(tuple(part for part in parts if part.text), indent))
    return lines


def _columns(parts: Sequence[Text]) -> int:
    return sum(width(part.text) for part in parts)


def _lines(cell: Cell) -> list[list[Text]]:
    """A cell's lines, each as its parts."""
    lines: list[list[Text]] = [[]]
    for part in texts(cell):
        first, *rest = part.text.split("\n")
        lines[-1].append(Text(first, part.role))
        lines += [[Text(text, part.role)] for text in rest]
    return lines
