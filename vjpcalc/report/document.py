"""A report is data: a list of neutral blocks. ``terminal.py`` and ``plain.py`` each turn every block into
text.

A Text carries a role instead of a colour; the formatters know what a role looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    """Rows of cells; a cell may have several lines. A line is drawn after every ``rules`` rows."""

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
