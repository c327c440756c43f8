"""A report for pipes and files: no colour, no box drawing, no wrapping."""

from __future__ import annotations

from vjpcalc.language.source import width
from vjpcalc.report.document import Blank, Line, Report, Table, plain_text


def plain(report: Report) -> str:
    """The report as text that ends in a newline."""
    lines: list[str] = []
    for block in report:
        match block:
            case Blank():
                lines.append("")
            case Line(parts, indent):
                lines.append(" " * indent + "".join(part.text for part in parts))
            case Table():
                lines += _table(block)
    return "\n".join(text.rstrip() for text in lines).rstrip("\n") + "\n"


def _table(table: Table) -> list[str]:
    rows = [[plain_text(cell).rstrip("\n").split("\n") for cell in row] for row in table.rows]
    headers = [[header] for header in table.headers]
    columns = range(len(headers))
    widths = [max(width(text) for row in [headers, *rows] for text in row[column]) for column in columns]
    lines = []
    for row in [headers, *rows]:
        for number in range(max(map(len, row))):
            cells = [row[column][number] if number < len(row[column]) else "" for column in columns]
            lines.append("  ".join(cell + " " * (widths[i] - width(cell)) for i, cell in enumerate(cells)))
    return lines
