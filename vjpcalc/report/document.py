"""A report is data: a list of neutral blocks. ``terminal.py`` and ``plain.py`` each turn every block into
text.

A Text carries a role instead of a colour; the formatters know what a role looks like.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vjpcalc.language.source import width


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
    """A matrix as cells coloured on a diverging scale around 0; ``scale`` is the size that has the full
    colour.

    ``values`` is a NumPy array (m, n), ``rows`` and ``columns`` are labels. ``texts`` are written into the
    cells; without them a cell is small, its sign and its tenths of ``scale`` stand for the colour where
    there is none, and a matrix that is too large is pooled.
    """

    values: Any
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    scale: float
    texts: tuple[tuple[str, ...], ...] | None = None


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


def symbol(value: float, scale: float) -> str:
    """A cell without colour: its sign and its tenths of ``scale``, ``·`` for 0, ``?`` where it is not
    finite.
    """
    if value == 0:
        return "·"
    if not math.isfinite(value):
        return "?"
    tenths = min(int(10 * abs(value) / scale), 9) if scale > 0 else 0
    return ("+" if value > 0 else "-") + (str(tenths) if tenths else "")


GRID = 40  # rows and columns of a heatmap


def pooled(heat: Heat, most_columns: int = GRID) -> tuple[Heat, str]:
    """A heatmap of a size that can be seen, each cell the largest in size of a block; and what to say of
    that.
    """
    import numpy as np

    m, n = heat.values.shape
    high, wide = math.ceil(m / GRID), math.ceil(n / max(min(most_columns, GRID), 1))
    if high * wide == 1:
        return heat, ""
    size = np.nan_to_num(np.abs(heat.values), nan=np.inf)
    values = np.zeros((math.ceil(m / high), math.ceil(n / wide)))
    for i, j in np.ndindex(*values.shape):
        block = np.s_[i * high : (i + 1) * high, j * wide : (j + 1) * wide]
        values[i, j] = heat.values[block].flat[int(np.argmax(size[block]))]
    said = f"each cell stands for {high}×{wide} entries and shows the one that is largest in size"
    return Heat(values, heat.rows[::high], heat.columns[::wide], heat.scale), said


def heat_header(block: Heat, cell: int) -> str:
    """The first and the last column's label over cells that are ``cell`` wide."""
    first, last = block.columns[0], block.columns[-1]
    room = cell * len(block.columns)
    if len(block.columns) == 1 or len(first) + len(last) + 3 > room:
        return first if len(block.columns) == 1 else f"{first} … {last}"
    return first + " " * (room - len(first) - len(last)) + last


def heat_legend(block: Heat) -> str:
    """What the symbols mean."""
    return f"sign and tenths of the largest size, {block.scale:.6g}; + or - alone: below a tenth; ·: 0"


def merged(parts: Sequence[str]) -> str:
    """Texts of one or more lines set side by side, tops aligned, as one text."""
    columns = [part.split("\n") for part in parts]
    lines = []
    for i in range(max(map(len, columns))):
        cells = [column[i] if i < len(column) else "" for column in columns]
        lines.append(
            "".join(
                cell + " " * (_width(column) - width(cell))
                for cell, column in zip(cells, columns, strict=True)
            )
        )
    return "\n".join(line.rstrip() for line in lines)


def beside(cells: Sequence[Cell], indent: int = 0) -> list[Block]:
    """Cells of one or more lines set side by side, a blank between them, tops aligned."""
    columns = [[list(line) for line in _lines(cell)] for cell in cells]
    widths = [max(sum(width(part.text) for part in line) for line in column) for column in columns]
    lines: list[Block] = []
    for i in range(max(map(len, columns))):
        parts: list[Text] = []
        pending = 0
        for column, wide in zip(columns, widths, strict=True):
            own = column[i] if i < len(column) else []
            if any(part.text for part in own):
                parts += [Text(" " * pending), *own]
                pending = 0
            pending += wide - sum(width(part.text) for part in own) + 1
        lines.append(Line(tuple(part for part in parts if part.text), indent))
    return lines


def _width(column: Sequence[str]) -> int:
    return max(map(width, column))


def _lines(cell: Cell) -> list[list[Text]]:
    """A cell's lines, each as its parts."""
    lines: list[list[Text]] = [[]]
    for part in texts(cell):
        first, *rest = part.text.split("\n")
        lines[-1].append(Text(first, part.role))
        lines += [[Text(text, part.role)] for text in rest]
    return lines
