"""``vjpcalc graph EXPR …``: the autograd graph."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from vjpcalc.cli.options import JobOptions, ReportOptions, output_option, read_job, takes
from vjpcalc.cli.streams import check_report, emit
from vjpcalc.diagnostics import Diagnostic, unknown

if TYPE_CHECKING:
    from vjpcalc.job.graph import Graph

ENDINGS = {".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".json": "json"}
TEXTS = ("dot", "mermaid")  # formats of its own
DRAWN = (".svg", ".png", ".pdf")  # by Graphviz


@takes(job=JobOptions, report=ReportOptions)
def graph(
    job: JobOptions,
    report: ReportOptions,
    out: Annotated[
        str | None,
        output_option("-o", "--out", metavar="FILE", help=f"Draw it: {' '.join((*DRAWN, *ENDINGS))}."),
    ] = None,
) -> int:
    """Show the autograd graph: a tree, or --format dot, mermaid or json."""
    check_report(report, TEXTS)
    made = read_job(job, seeded=False)
    ending = None if out is None else _ending(out)

    from vjpcalc.job.autograd import forward
    from vjpcalc.job.graph import Graph
    from vjpcalc.report import graph as drawing

    drawn = Graph(forward(made).trace)
    if out is not None and ending is not None:
        from vjpcalc.writing import whole_file

        content = _file(drawn, ending)
        with whole_file(out) as stream:
            stream.write(content)
        return 0
    emit(
        report,
        lambda: drawing.graph_document(drawn),
        lambda width: drawing.graph_report(drawn),
        {"dot": lambda: drawing.dot(drawn), "mermaid": lambda: drawing.mermaid(drawn)},
    )
    return 0


def _ending(path: str) -> str:
    """The ending of a file that can be drawn. Raises Diagnostic before anything is computed."""
    import shutil

    from vjpcalc.writing import require_writable

    require_writable(path)
    ending = os.path.splitext(path)[1].lower()
    if ending not in (*DRAWN, *ENDINGS):
        known = (*DRAWN, *ENDINGS)
        hint = "the ending says what it is: " + " ".join(known)
        raise unknown("usage", f"'{path}' is no drawing that is known", ending, known, hint)
    if ending in DRAWN and shutil.which("dot") is None:
        raise Diagnostic(
            "usage",
            f"drawing '{path}' needs Graphviz, and its program 'dot' is not installed",
            hint="install graphviz with the system's package manager, or write the text: -o graph.dot",
        )
    return ending


def _file(drawn: Graph, ending: str) -> bytes:
    """The contents of a file with that ending."""
    from vjpcalc.report import graph as drawing
    from vjpcalc.tensors.json import pretty

    makers: dict[str, Callable[[Graph], Any]] = {"dot": drawing.dot, "mermaid": drawing.mermaid}
    if ending == ".json":
        return (pretty(drawing.graph_document(drawn)) + "\n").encode()
    if ending in ENDINGS:
        return makers[ENDINGS[ending]](drawn).encode()
    return _drawn(drawing.dot(drawn), ending.removeprefix("."))


def _drawn(text: str, form: str) -> bytes:
    import subprocess

    ran = subprocess.run(["dot", f"-T{form}"], input=text.encode(), capture_output=True, check=False)
    if ran.returncode != 0:
        reason = ran.stderr.decode(errors="replace").strip().split("\n")[0]
        raise Diagnostic(
            "internal", f"Graphviz could not draw the graph: {reason}", hint="-o graph.dot writes its text"
        )
    return ran.stdout
