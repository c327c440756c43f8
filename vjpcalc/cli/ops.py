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
    from vjpcalc.operators.registry import REGISTRY, lookup, table
    from vjpcalc.report.document import Blank
    from vjpcalc.report.ops import ops_document, ops_report, row_report

    shown = [row for row in table() if not row.hidden]
    if name is None:
        emit(report, lambda: ops_document(shown), lambda width: ops_report(shown))
        return 0
    word = name.rpartition(".")[2]
    exact = lookup(word) or [row for row in shown if row.infix == name]
    if exact:
        pages = [block for row in exact for block in (*row_report(row), Blank())][:-1]
        emit(report, lambda: ops_document(exact), lambda width: pages)
        return 0
    matching = [
        row for row in shown if any(word in known for known in (row.name, *row.aliases, row.family.lower()))
    ]
    if not matching:
        hint = "'vjpcalc ops' lists them all"
        raise unknown("usage", f"no operator is called like '{name}'", word, REGISTRY, hint)
    emit(report, lambda: ops_document(matching), lambda width: ops_report(matching))
    return 0
