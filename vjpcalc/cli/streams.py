"""What commands do with the terminal: print a report in the format asked for, show progress, choose an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vjpcalc.cli.options import ReportOptions
from vjpcalc.diagnostics import Diagnostic, ExitStatus, did_you_mean

if TYPE_CHECKING:
    from vjpcalc.backward import VJP
    from vjpcalc.report.document import Block

FORMATS = ("table", "plain", "json", "jsonl")


def chosen_format(options: ReportOptions) -> str:
    """The format asked for; by default a table on a terminal and plain text in a pipe. Raises Diagnostic (usage)."""
    if options.json:
        return "json"
    if options.format is None:
        forced = os.environ.get("FORCE_COLOR", "") not in ("", "0")
        return "table" if sys.stdout.isatty() or forced else "plain"
    if options.format not in FORMATS:
        raise Diagnostic(
            "usage",
            f"unknown format '{options.format}'" + did_you_mean(options.format, FORMATS),
            hint="it is one of " + ", ".join(FORMATS),
        )
    return options.format


def emit(
    options: ReportOptions, document: Callable[[], Any], report: Callable[[int | None], Sequence[Block]]
) -> None:
    """Write a result to standard output: ``document()`` as JSON, or ``report(width)`` for people."""
    form = chosen_format(options)
    if options.quiet:
        return
    if form in ("json", "jsonl"):
        from vjpcalc.report.json import dumps, pretty

        sys.stdout.write((pretty if form == "json" else dumps)(document()) + "\n")
    elif form == "plain":
        from vjpcalc.report.plain import plain

        sys.stdout.write(plain(report(None)))
    else:
        from vjpcalc.report.terminal import console, show

        terminal = console(sys.stdout, color=False if options.no_color else None)
        show(report(terminal.width), terminal)
    sys.stdout.flush()


@contextmanager
def progress(options: ReportOptions) -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on standard error for long work: on a terminal only, and only once it takes a while."""
    if not sys.stderr.isatty() or options.quiet:
        yield None
        return
    from vjpcalc.report.progress import columns_bar

    with columns_bar(color=not options.no_color) as tell:
        yield tell


def check_status(result: VJP, *, strict: bool) -> int:
    """The exit status that a check asks for."""
    status = result.check.status if result.check is not None else "off"
    failed = status == "failed" or (strict and status == "inconclusive")
    return ExitStatus.CHECK if failed else ExitStatus.DONE
