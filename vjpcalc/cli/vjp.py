"""``vjpcalc EXPR …``: the gradients and their check."""

from __future__ import annotations

import sys
from typing import Annotated

from vjpcalc.cli.options import (
    CheckOptions,
    JobOptions,
    ReportOptions,
    out_option,
    output_option,
    read_job,
    takes,
)
from vjpcalc.cli.streams import check_report, check_status, emit, emit_only, only_leaf, progress
from vjpcalc.diagnostics import Diagnostic


@takes(job=JobOptions, check=CheckOptions, report=ReportOptions)
def vjp(
    job: JobOptions,
    check: CheckOptions,
    report: ReportOptions,
    only: Annotated[
        str | None,
        output_option(metavar="LEAF", help="Print just this gradient: a JSON array, or --format csv."),
    ] = None,
    out: Annotated[str | None, out_option(help="Write the gradients, by the file's ending.")] = None,
    emit_: Annotated[
        str | None,
        output_option("--emit", metavar="torch|jax", help="Print the same job as a script instead."),
    ] = None,
) -> int:
    """Print each leaf's gradient Jᵀ·seed, next to an explicit check."""
    if emit_ is not None and (only or out):
        other = "--only" if only else "--out"
        raise Diagnostic("usage", f"--emit prints a script, {other} gradients: one of them at a time")
    if only is None:
        check_report(report)
    made = read_job(job)  # before anything heavy: most errors are in what was typed
    leaf = None if only is None else only_leaf(only, made, report)
    wanted = made.leaves if leaf is None else (leaf,)
    if out is not None:
        from vjpcalc.tensors.files import check_target

        check_target(out, wanted)  # before a long computation

    from vjpcalc.check.verdict import check as run_check
    from vjpcalc.job.autograd import compute
    from vjpcalc.report.vjp import vjp_report

    if emit_ is not None:
        from vjpcalc.emit import require_target, script

        require_target(emit_)
        sys.stdout.write(script(compute(made), emit_))
        return 0
    with progress(report) as tell:
        result = run_check(
            compute(made), check.check, limit=check.check_limit, digits=check.digits, progress=tell
        )
    if out is not None:
        from vjpcalc.tensors.files import write

        write(out, {name: result.gradients[name] for name in wanted})
    if leaf is not None:
        emit_only(report, result, leaf)
        return check_status(result, strict=check.strict)
    emit(report, result.to_dict, lambda width: vjp_report(result, precision=report.precision, width=width))
    return check_status(result, strict=check.strict)
