"""``vjpcalc ops [NAME]``: the operator table."""

from __future__ import annotations

from typing import Annotated

import typer

from vjpcalc.cli.options import ReportOptions, takes
from vjpcalc.cli.streams import check_report, emit
from vjpcalc.diagnostics import unknown


@takes(report=ReportOptions)
def ops(
    report: ReportOptions,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="An operator, or part of a name.")
    ] = None,
) -> int:
    """List the operators; with a name, show one: signature, domain, VJP rule, kinks, an example."""
    check_report(report)
    from vjpcalc.operators.registry import lookup, names, table
    from vjpcalc.report.document import Blank
    from vjpcalc.report.ops import ops_document, ops_report, row_report

    shown = [row for row in table() if not row.hidden]
    word = (name or "").rpartition(".")[2]
    exact = [] if name is None else lookup(word) or [row for row in shown if row.infix == name]
    rows = exact or [
        row for row in shown if any(word in known for known in (row.name, *row.aliases, row.family.lower()))
    ]
    if not rows:
        hint = "'vjpcalc ops' lists them all"
        raise unknown("usage", f"no operator is called like '{name}'", word, names(), hint)
    pages = [block for row in exact for block in (*row_report(row), Blank())][:-1]
    emit(report, lambda: ops_document(rows), lambda width: pages or ops_report(rows))
    return 0
