"""``vjpcalc batch JOBS.jsonl``: one job a line in, one record a line out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from vjpcalc.cli.options import OUTPUT, CheckOptions, RunOptions, takes
from vjpcalc.diagnostics import Diagnostic, ExitStatus, count

if TYPE_CHECKING:
    from vjpcalc.batch import Shard

RUN = "Run"


@takes(run=RunOptions, check=CheckOptions)
def batch(
    run: RunOptions,
    check: CheckOptions,
    jobs: Annotated[str, typer.Argument(metavar="JOBS.jsonl", help="One job a line, or - (standard input).")],
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", metavar="FILE", help="Append each record here; {rank} is this process's.",
                     rich_help_panel=OUTPUT),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the file of -o ends.", rich_help_panel=OUTPUT)
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
        bool, typer.Option("--quiet", "-q", help="No progress, no summary.", rich_help_panel=OUTPUT)
    ] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour.", rich_help_panel=OUTPUT)] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)
    ] = False,
) -> int:  # fmt: skip
    """Run many jobs: JSON Lines in, one record a line out, in order; a bad line costs no other."""
    from vjpcalc import batch as batches

    settings = batches.Settings(
        run.dtype, check.check, check.check_limit, check.strict, run.random_seed, run.max_steps, run.max_elements,
        tuple(run.use or ()),
    )  # fmt: skip
    shard = shard_of(out)
    if resume and out is None:
        raise Diagnostic("usage", "--resume continues the file of -o", hint="add -o records.jsonl")
    started, failures, ran = time.monotonic(), [], 0
    with ExitStack() as stack:
        stream = stack.enter_context(open_jobs(jobs))
        records, done = None, {}
        if out is not None:
            path = out.replace("{rank}", str(shard.rank))
            records = stack.enter_context(batches.Records(path, resume=resume, strict=check.strict))
            done = dict(records.done)
            failures = [line for line, known in done.items() if known.failure]
            if resume and "{rank}" in out:
                for other in batches.elsewhere(out, path):
                    done |= batches.read_records(other)[0]
        tell = stack.enter_context(progress(stream, shard, done, show=not quiet and records is not None, color=not no_color))
        for outcome in batches.run(
            stream, settings, processes=processes or os.cpu_count() or 1, shard=shard, done=done
        ):
            if records is not None:
                records.write(outcome.text)
            else:
                sys.stdout.write(outcome.text + "\n")
                sys.stdout.flush()
            ran += 1
            if outcome.failure:
                failures.append(outcome.line)
            tell(len(failures))
            if outcome.failure and fail_fast:
                break
    if not quiet:
        print(summary(ran, len(done), failures, time.monotonic() - started), file=sys.stderr)
    return ExitStatus.BATCH if failures and not exit_zero else ExitStatus.DONE
