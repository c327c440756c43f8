"""``vjpcalc jacobian EXPR …``: the explicit Jacobian of each leaf."""

from __future__ import annotations

from typing import Annotated

from vjpcalc.cli.options import JobOptions, ReportOptions, out_option, output_option, read_job, takes
from vjpcalc.cli.streams import check_report, emit, progress
from vjpcalc.diagnostics import ExitStatus


@takes(job=JobOptions, report=ReportOptions)
def jacobian(
    job: JobOptions,
    report: ReportOptions,
    by: Annotated[
        str,
        output_option(
            metavar="WAYS", help="backward, forward, numeric: the first is shown, others compared."
        ),
    ] = "numeric,backward",
    out: Annotated[
        str | None,
        out_option(help="Write the matrices, by the file's ending; .npz and .mtx sparse where mostly 0."),
    ] = None,
) -> int:
    """Show the explicit Jacobian of each leaf, its rank, its structure; the verdict is the check's."""
    check_report(report)
    made = read_job(job, seeded=False)
    if out is not None:
        from vjpcalc.tensors.files import check_target

        check_target(out, made.leaves)  # before a long computation

    from vjpcalc.jacobians import jacobians, parse_ways
    from vjpcalc.report.jacobian import jacobian_report

    ways = parse_ways(by)
    with progress(report) as tell:
        matrices = jacobians(made, ways, tell)
    if out is not None:
        from vjpcalc.tensors.files import thinned, write

        write(out, thinned(out, {name: leaf.matrix for name, leaf in matrices.leaves.items()}))
    precision = report.precision
    emit(report, matrices.to_dict, lambda width: jacobian_report(matrices, precision=precision, width=width))
    return ExitStatus.CHECK if matrices.failed else ExitStatus.DONE
