"""``vjpcalc explain EXPR …``: the forward pass, then the backward walk node by node."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from vjpcalc.cli.options import CheckOptions, JobOptions, ReportOptions, read_job, takes
from vjpcalc.cli.streams import check_report, check_status, emit, progress
from vjpcalc.diagnostics import ExitStatus
from vjpcalc.limits import STEPS

_walk = functools.partial(typer.Option, rich_help_panel="Walk")


@takes(job=JobOptions, check=CheckOptions, report=ReportOptions)
def explain(
    job: JobOptions,
    check: CheckOptions,
    report: ReportOptions,
    steps: Annotated[int, _walk(min=1, help="Steps shown of a longer walk.")] = STEPS,
    node: Annotated[str | None, _walk(metavar="NAME", help="Only the steps of this node.")] = None,
    arithmetic: Annotated[
        bool, _walk("--arithmetic", help="Each gradient as a weighted sum of J's rows.")
    ] = False,
) -> int:
    """Explain backward(): the answer, the forward pass, each backward step with its rule and verdict."""
    check_report(report)
    made = read_job(job)

    from vjpcalc.check.verdict import check as run_check
    from vjpcalc.explain.walk import explain as run_explain
    from vjpcalc.explain.walk import require_node
    from vjpcalc.job.autograd import compute
    from vjpcalc.report.explain import explain_report

    with progress(report) as tell:
        computed = compute(made)
        if node is not None:
            require_node(computed.trace, node)
        result = run_check(computed, check.check, limit=check.check_limit, digits=check.digits, progress=tell)
        walk = run_explain(result, arithmetic=arithmetic, limit=check.check_limit)
    emit(
        report,
        walk.to_dict,
        lambda width: explain_report(walk, steps=steps, node=node, precision=report.precision, width=width),
    )
    return ExitStatus.CHECK if walk.first_wrong is not None else check_status(result, strict=check.strict)
