"""A report on a terminal, by Rich. The only module that knows what a role looks like."""

from __future__ import annotations

import math
from typing import IO, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console  # noqa: TID253 (this module is imported only once there is a report to show)
from rich.padding import Padding
from rich.table import Table as RichTable  # noqa: TID253
from rich.text import Text as RichText
from rich.tree import Tree as RichTree

from vjpcalc.report.document import Blank, Cell, Heat, Line, Report, Table, Tree, texts

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
    return Console(
        file=file,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=None if color is None else not color,
        **options,
    )


def show(report: Report, console: Console) -> None:
    """Print a report on a Rich console."""
    for block in report:
        match block:
            case Blank():
                console.print()
            case Line(parts, indent):
                console.print(Padding(_text(parts), (0, 0, 0, 1 + indent)))
            case Table():
                console.print(_table(block))
            case Heat():
                colored = not console.no_color and console.color_system is not None
                for row in _heat(block, console.width, colored=colored):
                    console.print(row, no_wrap=True, overflow="ellipsis", crop=True)
            case Tree(parts, children):
                tree = _grown(RichTree(_text(parts), guide_style="dim"), children)
                console.print(Padding(tree, (0, 0, 0, 1)))


def _text(cell: Cell) -> RichText:
    text = RichText(no_wrap=False)
    for part in texts(cell):
        text.append(part.text, STYLES[part.role])
    text.rstrip()
    return text


def _table(block: Table) -> RichTable:
    table = RichTable(box=box.ROUNDED, border_style="dim", header_style="dim")
    for header in block.headers:
        table.add_column(header, no_wrap=True, overflow="ellipsis")
    for number, row in enumerate(block.rows, 1):
        table.add_row(*map(_text, row), end_section=block.rules > 0 and number % block.rules == 0)
    return table


def _grown(branch: RichTree, children: tuple[Tree, ...]) -> RichTree:
    for child in children:
        _grown(branch.add(_text(child.parts)), child.children)
    return branch


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
    label = max(map(cell_len, heat.rows))

    def start(name: str) -> RichText:
        return RichText().append(" " + " " * (label - cell_len(name)) + name + " ", STYLES["dim"])

    def has_hue(value: float) -> bool:
        return colored and value != 0 and math.isfinite(value)

    def mark(value: float) -> str:
        return "" if has_hue(value) else heat.symbol(value)

    def painted(text: str, value: float) -> RichText:
        style = _style(value, heat.scale) if has_hue(value) else STYLES["dim"] if colored else ""
        return RichText(text, style)

    if heat.texts is not None:
        widths = [max(map(cell_len, column)) + 2 for column in zip(heat.columns, *heat.texts, strict=True)]
        header = [f"{column:^{wide}}" for wide, column in zip(widths, heat.columns, strict=True)]
        cells = [
            [f"{text:>{wide - 1}} " for wide, text in zip(widths, row, strict=True)] for row in heat.texts
        ]
        notes = []
    else:
        wide = 2 if colored else 3
        heat, note = heat.pooled((width - label - 3) // wide)
        header = [heat.header(wide)]
        cells = [[f"{mark(value):>{wide}}" for value in values] for values in heat.values.tolist()]
        notes = [note, "" if colored else heat.legend()]
    lines = [start("")]
    for text in header:
        lines[0].append(text, STYLES["dim"])
    for name, values, row in zip(heat.rows, heat.values.tolist(), cells, strict=True):
        lines.append(start(name))
        for value, text in zip(values, row, strict=True):
            lines[-1].append_text(painted(text, value))
    lines += [RichText(" " + note, STYLES["dim"]) for note in notes if note]
    if not colored:
        return lines
    legend = start("").append(f"{-heat.scale:.6g} ", STYLES["dim"])
    for share in (-1.0, -0.5, -0.2, -0.05, 0.0, 0.05, 0.2, 0.5, 1.0):
        legend.append_text(painted(" ·" if share == 0 else "  ", share * (heat.scale or 1.0)))
    return [*lines, legend.append(f" {heat.scale:.6g}", STYLES["dim"])]
