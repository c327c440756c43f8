"""A report for pipes and files: no colour, no box drawing, no wrapping."""

from __future__ import annotations

from vjpcalc.language.source import width
from vjpcalc.report.document import (
    Blank,
    Heat,
    Line,
    Report,
    Table,
    Tree,
    heat_header,
    heat_legend,
    plain_text,
    pooled,
    symbol,
)


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
            case Heat():
                lines += _heat(block)
            case Tree():
                lines += _tree(block, 0)
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


def _heat(heat: Heat) -> list[str]:
    label = max(map(width, heat.rows))
    if heat.texts is not None:
        cells = [heat.columns, *heat.texts]
        widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
        lines = []
        for name, row in zip(("", *heat.rows), cells, strict=True):
            padded = [" " * (wide - width(text)) + text for wide, text in zip(widths, row, strict=True)]
            lines.append("  ".join([name + " " * (label - width(name)), *padded]))
        return lines
    heat, said = pooled(heat)
    lines = [" " * (label + 2) + heat_header(heat, 3)]
    for name, values in zip(heat.rows, heat.values.tolist(), strict=True):
        cells_of_row = "".join(f"{symbol(value, heat.scale):>3}" for value in values)
        lines.append(name + " " * (label - width(name)) + " " + cells_of_row)
    return [*lines, heat_legend(heat), *([said] if said else [])]


def _tree(tree: Tree, depth: int) -> list[str]:
    lines = ["  " * depth + "".join(part.text for part in tree.parts)]
    for child in tree.children:
        lines += _tree(child, depth + 1)
    return lines
