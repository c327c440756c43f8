"""``vjpcalc batch JOBS.jsonl``: one job a line in, one record a line out."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import IO, Annotated

import typer

from vjpcalc.cli.options import CheckOptions, RunOptions, output_option, takes
from vjpcalc.diagnostics import Diagnostic, ExitStatus
from vjpcalc.report.progress import jobs_bar

RUN = "Run"


@takes(run=RunOptions, check=CheckOptions)
def batch(
    run: RunOptions,
    check: CheckOptions,
    jobs: Annotated[str, typer.Argument(metavar="JOBS.jsonl", help="One job a line, or - (standard input).")],
    out: Annotated[
        str | None,
        output_option("-o", "--out", metavar="FILE", help="Append each record here; {rank} is this process's."),
    ] = None,
    resume: Annotated[
        bool, output_option("--resume", help="Go on where the file of -o ends.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--jobs", "-j", min=0, metavar="N", help="Worker processes; 0: one a core.", rich_help_panel=RUN)
    ] = 1,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first line that fails.", rich_help_panel=RUN)
    ] = False,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit with 0, not 6, where lines failed.", rich_help_panel=RUN)
    ] = False,
    quiet: Annotated[
        bool, output_option("--quiet", "-q", help="No progress, no summary.")
    ] = False,
    no_color: Annotated[bool, output_option("--no-color", help="No colour.")] = False,
    debug: Annotated[
        bool, output_option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> int:  # fmt: skip
    """Run many jobs: JSON Lines in, one record a line out, in order; a bad line costs no other."""
    from vjpcalc import batch as batches

    settings = batches.Settings(
        run.dtype, check.check, check.check_limit, check.strict, run.random_seed, run.max_steps, run.max_elements,
        tuple(run.use or ()),
    )  # fmt: skip
    shard = batches.Shard.of_environment()
    if out is None and (resume or shard.size > 1):
        said = "--resume continues a file" if resume else "several processes need a file each"
        raise Diagnostic("usage", said, hint="name it: -o 'records.{rank}.jsonl'")
    tally = batches.Tally()
    with open_jobs(jobs) as stream, ExitStack() as stack:
        records = None
        if out is not None:
            records = batches.open_records(out, shard, resume=resume, strict=check.strict)
            stack.enter_context(records)
            tally.resumed({line: known.failure for line, known in records.done.items() if line in shard})
        write = print_line if records is None else records.write
        total = batches.count_jobs(stream, shard)
        shown = sys.stderr.isatty() and not quiet and not (records is None and sys.stdout.isatty())
        bar = (
            jobs_bar(total, tally.known, color=not no_color) if shown else nullcontext(lambda failures: None)
        )
        tell = stack.enter_context(bar)
        outcomes = batches.run(
            stream, settings, processes=processes or os.cpu_count() or 1, shard=shard,
            done={} if records is None else records.done,
        )  # fmt: skip
        for outcome in outcomes:
            write(outcome.text)
            tally.add(outcome.line, outcome.failure)
            tell(len(tally.failed))
            if outcome.failure and fail_fast:
                break
    if not quiet:
        print(tally.summary(), file=sys.stderr)
    return ExitStatus.BATCH if tally.failed and not exit_zero else ExitStatus.DONE


@contextmanager
def open_jobs(path: str) -> Iterator[IO[bytes]]:
    """The jobs as a binary stream. Raises Diagnostic (usage)."""
    if path == "-":
        yield getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode())
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Diagnostic("usage", f"cannot read the jobs '{path}': {reason}") from None
    with stream:
        yield stream


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
