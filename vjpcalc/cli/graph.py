"""``vjpcalc graph EXPR …``: the autograd graph."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from vjpcalc.cli.options import JobOptions, ReportOptions, out_option, read_job, takes
from vjpcalc.cli.streams import check_report, emit
from vjpcalc.diagnostics import Diagnostic, unknown

if TYPE_CHECKING:
    from vjpcalc.job.graph import Graph

ENDINGS = {".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".json": "json"}
TEXTS = ("dot", "mermaid")  # formats of its own
DRAWN = (".svg", ".png", ".pdf")  # by Graphviz
KNOWN = (*DRAWN, *ENDINGS)


@takes(job=JobOptions, report=ReportOptions)
def graph(
    job: JobOptions,
    report: ReportOptions,
    out: Annotated[
        str | None,
        out_option(help=f"Draw it: {' '.join(KNOWN)}."),
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

        contents = _contents(drawn, ending)
        with whole_file(out) as stream:
            stream.write(contents)
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
    if ending not in KNOWN:
        hint = "the ending says what it is: " + " ".join(KNOWN)
        raise unknown("usage", f"'{path}' is no drawing that is known", ending, KNOWN, hint)
    if ending in DRAWN and shutil.which("dot") is None:
        raise Diagnostic(
            "usage",
            f"drawing '{path}' needs Graphviz, and its program 'dot' is not installed",
            hint="install graphviz with the system's package manager, or write the text: -o graph.dot",
        )
    return ending


def _contents(drawn: Graph, ending: str) -> bytes:
    """What a file with that ending holds. Raises Diagnostic (internal) where Graphviz fails."""
    import subprocess

    from vjpcalc.report.graph import dot, graph_document, mermaid
    from vjpcalc.tensors.json import pretty

    form = ENDINGS.get(ending)
    if form == "json":
        return (pretty(graph_document(drawn)) + "\n").encode()
    if form == "mermaid":
        return mermaid(drawn).encode()
    text = dot(drawn).encode()
    if form == "dot":
        return text
    ran = subprocess.run(["dot", f"-T{ending[1:]}"], input=text, capture_output=True, check=False)
    if ran.returncode != 0:
        reason = ran.stderr.decode(errors="replace").strip().split("\n")[0]
        message = f"Graphviz could not draw the graph: {reason}"
        raise Diagnostic("internal", message, hint="-o graph.dot writes its text")
    return ran.stdout
