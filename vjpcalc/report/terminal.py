"""A report on a terminal, by Rich. The only module that knows what a role looks like."""

from __future__ import annotations

import math
from typing import IO, TYPE_CHECKING, Any

from vjpcalc.report.document import (
    Blank,
    Cell,
    Heat,
    Line,
    Report,
    Table,
    Tree,
    heat_header,
    heat_legend,
    pooled,
    symbol,
    texts,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text as RichText

STYLES = {
    "": "",
    "title": "bold",
    "name": "bold cyan",
    "number": "",
    "operator": "magenta",
    "good": "bold green",
    "unsure": "bold yellow",
    "bad": "bold red",
    "dim": "dim",
}


def console(file: IO[str] | None = None, *, color: bool | None = None, **options: Any) -> Console:
    """A Rich console for reports. ``color=False`` turns colour off; None leaves it to the terminal."""
    from rich.console import Console

    return Console(
        file=file,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=False if color else (True if color is False else None),
        **options,
    )


def show(report: Report, console: Console) -> None:
    """Print a report on a Rich console."""
    from rich.padding import Padding

    for block in report:
        match block:
            case Blank():
                console.print()
            case Line(parts, indent):
                console.print(Padding(_text(parts), (0, 0, 0, 1 + indent)))
            case Table():
                console.print(_table(block))
            case Heat():
                for row in _heat(block, console.width, colored=_has_colour(console)):
                    console.print(row, no_wrap=True, overflow="ellipsis", crop=True)
            case Tree():
                console.print(Padding(_tree(block), (0, 0, 0, 1)))


def _text(cell: Cell) -> RichText:
    from rich.text import Text

    found = Text(no_wrap=False)
    for part in texts(cell):
        found.append(part.text, STYLES[part.role])
    found.rstrip()
    return found


def _table(block: Table) -> Any:
    from rich import box
    from rich.table import Table as RichTable

    table = RichTable(box=box.ROUNDED, border_style="dim", header_style="dim", pad_edge=True)
    for header in block.headers:
        table.add_column(header, no_wrap=True, overflow="ellipsis")
    for number, row in enumerate(block.rows, 1):
        table.add_row(
            *(_text(cell) for cell in row), end_section=bool(block.rules) and number % block.rules == 0
        )
    return table


# ---- a matrix in colours -----------------------------------------------------------------------------------

# Blue for negative, orange for positive numbers: everyone can tell them apart, on black and on white.
# They are colours of a terminal that has 256.
RAMPS = {
    -1: ("#5f87af", "#5f87d7", "#0087ff", "#005fff"),
    1: ("#af875f", "#d7875f", "#d75f00", "#ff5f00"),
}
STEPS = (0.1, 0.4, 0.7)  # shares of the scale at which the next colour begins


def _style(value: float, scale: float) -> str:
    """The style of a cell; text in it is black or white, whichever is seen better."""
    share = abs(value) / scale if scale > 0 else 0.0
    colour = RAMPS[1 if value > 0 else -1][sum(share > step for step in STEPS)]
    return f"#ffffff on {colour}" if colour == "#005fff" else f"#000000 on {colour}"


def _heat(heat: Heat, width: int, *, colored: bool) -> list[RichText]:
    from rich.cells import cell_len
    from rich.text import Text

    label = max(map(cell_len, heat.rows))

    def start(name: str) -> RichText:
        return Text().append(" " + " " * (label - cell_len(name)) + name + " ", STYLES["dim"])

    def painted(text: str, value: float) -> Text:
        if not colored:
            return Text(text)
        dull = value == 0 or not math.isfinite(value)
        return Text(text, STYLES["dim"] if dull else _style(value, heat.scale))

    if heat.texts is not None:
        widths = [max(map(cell_len, column)) + 2 for column in zip(heat.columns, *heat.texts, strict=True)]
        header = start("")
        for wide, column in zip(widths, heat.columns, strict=True):
            header.append(f"{column:^{wide}}", STYLES["dim"])
        lines = [header]
        for name, values, row in zip(heat.rows, heat.values.tolist(), heat.texts, strict=True):
            found = start(name)
            for wide, value, text in zip(widths, values, row, strict=True):
                found.append_text(painted(f"{text:>{wide - 1}} ", value))
            lines.append(found)
    else:
        cell = 2 if colored else 3
        heat, said = pooled(heat, (width - label - 3) // cell)
        lines = [start("").append(heat_header(heat, cell), STYLES["dim"])]
        for name, values in zip(heat.rows, heat.values.tolist(), strict=True):
            found = start(name)
            for value in values:
                text = symbol(value, heat.scale)
                if colored and math.isfinite(value) and value != 0:
                    text = ""
                found.append_text(painted(f"{text:>{cell}}", value))
            lines.append(found)
        if said:
            lines.append(Text(" " + said, STYLES["dim"]))
    if not colored:
        return lines if heat.texts is not None else [*lines, Text(" " + heat_legend(heat), STYLES["dim"])]
    legend = start("").append(f"{-heat.scale:.6g} ", STYLES["dim"])
    for share in (-1.0, -0.5, -0.2, -0.05, 0.0, 0.05, 0.2, 0.5, 1.0):
        legend.append_text(painted(" ·" if share == 0 else "  ", share * (heat.scale or 1.0)))
    return [*lines, legend.append(f" {heat.scale:.6g}", STYLES["dim"])]


def _has_colour(console: Console) -> bool:
    return not console.no_color and console.color_system is not None


# ---- a tree ------------------------------------------------------------------------------------------------


def _tree(block: Tree) -> Any:
    from rich.tree import Tree as RichTree

    def grow(tree: RichTree, children: tuple[Tree, ...]) -> None:
        for child in children:
            grow(tree.add(_text(child.parts)), child.children)

    root = RichTree(_text(block.parts), guide_style="dim")
    grow(root, block.children)
    return root
