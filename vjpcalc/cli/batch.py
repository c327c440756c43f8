"""``vjpcalc batch JOBS.jsonl``: one job a line in, one record a line out."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from typing import IO, Annotated

import typer

from vjpcalc.cli.options import CheckOptions, Debug, RunOptions, out_option, output_option, takes
from vjpcalc.diagnostics import Diagnostic, ExitStatus, reason
from vjpcalc.report.progress import jobs_bar

_run = functools.partial(typer.Option, rich_help_panel="Run")


@takes(run=RunOptions, check=CheckOptions)
def batch(
    run: RunOptions,
    check: CheckOptions,
    jobs: Annotated[str, typer.Argument(metavar="JOBS.jsonl", help="One job a line, or - (standard input).")],
    processes: Annotated[
        int, _run("--jobs", "-j", min=0, metavar="N", help="Worker processes; 0: one for each core.")
    ] = 1,
    fail_fast: Annotated[bool, _run("--fail-fast", help="Stop at the first line that fails.")] = False,
    exit_zero: Annotated[bool, _run("--exit-zero", help="Exit with 0, not 6, where lines failed.")] = False,
    out: Annotated[str | None, out_option(help="Write the records here; {rank} is this process's.")] = None,
    resume: Annotated[bool, output_option("--resume", help="Go on where the file of -o ends.")] = False,
    no_color: Annotated[bool, output_option("--no-color", help="No colour.")] = False,
    quiet: Annotated[bool, output_option("--quiet", "-q", help="No progress, no summary.")] = False,
    debug: Debug = False,
) -> int:
    """Run many jobs: JSON Lines in, one record a line out, in order; a bad line costs no other."""
    from vjpcalc.batch import pool
    from vjpcalc.batch.job import Settings
    from vjpcalc.batch.records import Tally, open_records

    settings = Settings(
        run.dtype,
        check.check,
        check.check_limit,
        check.digits,
        check.strict,
        run.random_seed,
        run.max_steps,
        run.max_elements,
        tuple(run.use or ()),
        tuple(run.reference or ()),
    )
    shard = pool.Shard.of_environment()
    if out is None and (resume or shard.size > 1):
        message = "--resume continues a file" if resume else "several processes need a file each"
        raise Diagnostic("usage", message, hint="name it: -o 'records.{rank}.jsonl'")
    tally = Tally()
    with open_jobs(jobs) as stream, ExitStack() as stack:
        records = None
        if out is not None:
            records = open_records(out, shard, resume=resume, strict=check.strict)
            stack.enter_context(records)
            tally.resumed({line: known.failure for line, known in records.done.items() if line in shard})
        tell: Callable[[int], None] = lambda failures: None  # noqa: E731
        if sys.stderr.isatty() and not quiet and not (records is None and sys.stdout.isatty()):
            total = pool.count_jobs(stream, shard)
            tell = stack.enter_context(jobs_bar(total, tally.known, color=not no_color))
        outcomes = pool.run(
            stream,
            settings,
            processes=processes or os.cpu_count() or 1,
            shard=shard,
            done=None if records is None else records.holds,
        )
        stack.enter_context(closing(outcomes))
        for outcome in outcomes:
            if records is None:
                print(outcome.text, flush=True)
            else:
                records.write(outcome.text)
            tally.add(outcome.line, outcome.failure)
            tell(len(tally.failed))
            if outcome.failure and fail_fast:
                break
    if not quiet:
        print(tally.summary(), file=sys.stderr)
    return ExitStatus.BATCH if tally.failed and not exit_zero else ExitStatus.DONE


def open_jobs(path: str) -> AbstractContextManager[IO[bytes]]:
    """The jobs as a binary stream. Raises Diagnostic (usage)."""
    if path == "-":
        return nullcontext(getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode()))
    try:
        return open(path, "rb")
    except OSError as error:
        raise Diagnostic("usage", f"cannot read the jobs '{path}': {reason(error)}") from None
