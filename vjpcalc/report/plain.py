"""A report for pipes and files: no colour, no box drawing, no wrapping."""

from __future__ import annotations

from itertools import zip_longest

from vjpcalc.language.source import width
from vjpcalc.report.document import Blank, Heat, Line, Report, Table, Tree, padded, plain_text


def plain(report: Report) -> str:
    """The report as text that ends in a newline."""
    lines: list[str] = []
    for block in report:
        match block:
            case Blank():
                lines.append("")
            case Line(parts, indent):
                lines.append(" " * indent + plain_text(parts))
            case Table():
                lines += _table(block)
            case Heat():
                lines += _heat(block)
            case Tree():
                lines += _tree(block, 0)
    return "\n".join(text.rstrip() for text in lines).rstrip("\n") + "\n"


def _table(table: Table) -> list[str]:
    rows = [[plain_text(cell).rstrip("\n").split("\n") for cell in row] for row in table.rows]
    rows = [[[header] for header in table.headers], *rows]
    widths = [max(width(text) for cell in column for text in cell) for column in zip(*rows, strict=True)]
    lines = (line for row in rows for line in zip_longest(*row, fillvalue=""))
    return ["  ".join(map(padded, line, widths)) for line in lines]


def _heat(heat: Heat) -> list[str]:
    if heat.texts is not None:
        label = max(map(width, heat.rows))
        rows = [heat.columns, *heat.texts]
        widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
        lines = []
        for name, row in zip(("", *heat.rows), rows, strict=True):
            cells = [" " * (wide - width(text)) + text for wide, text in zip(widths, row, strict=True)]
            lines.append("  ".join([padded(name, label), *cells]))
        return lines
    heat, note = heat.pooled()
    label = max(map(width, heat.rows))
    lines = [" " * (label + 2) + heat.header(3)]
    for name, values in zip(heat.rows, heat.values.tolist(), strict=True):
        symbols = "".join(f"{heat.symbol(value):>3}" for value in values)
        lines.append(f"{padded(name, label)} {symbols}")
    return [*lines, heat.legend(), *filter(None, [note])]


def _tree(tree: Tree, depth: int) -> list[str]:
    below = [line for child in tree.children for line in _tree(child, depth + 1)]
    return ["  " * depth + plain_text(tree.parts), *below]
