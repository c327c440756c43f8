"""A report on a terminal, by Rich. The only module that knows what a role looks like."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from vjpcalc.report.document import Blank, Cell, Line, Report, Table, texts

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
