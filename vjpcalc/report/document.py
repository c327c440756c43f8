"""A report is data: a list of neutral blocks. ``terminal.py`` and ``plain.py`` each turn every block into
text.

A Text carries a role instead of a colour; the formatters know what a role looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vjpcalc.language.source import width

ROLES = ("", "title", "name", "number", "operator", "good", "unsure", "bad", "dim")


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    role: str = ""


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


@dataclass(frozen=True, slots=True)
class Blank:
    """An empty line."""


Block = Line | Table | Blank
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
