"""What commands do with the terminal: print a report as asked for, show progress, choose an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from vjpcalc.cli.options import ReportOptions
from vjpcalc.diagnostics import Diagnostic, ExitStatus, unknown
from vjpcalc.report.shell import command_line, without
from vjpcalc.stages import stage

if TYPE_CHECKING:
    from vjpcalc.job.job import Job
    from vjpcalc.job.result import VJP
    from vjpcalc.report.document import Block

FORMATS = ("table", "plain", "json", "jsonl")
given_command: ContextVar[Sequence[str]] = ContextVar("given_command", default=())  # what was typed
ONLY_FORMATS = ("json", "jsonl", "csv", "tsv")  # of --only


def chosen_format(options: ReportOptions, also: Iterable[str] = ()) -> str:
    """The format asked for; if none, table on a terminal and plain in a pipe. Raises Diagnostic (usage)."""
    known = (*FORMATS, *also)
    if options.json:
        return "json"
    if options.format is None:
        forced = os.environ.get("FORCE_COLOR", "") not in ("", "0")
        return "table" if sys.stdout.isatty() or forced else "plain"
    if options.format not in known:
        raise unknown("usage", f"unknown format '{options.format}'", options.format, known)
    return options.format


def check_report(options: ReportOptions, also: Iterable[str] = ()) -> None:
    """Raise Diagnostic (usage), before a long computation, where --format, --svg or --html cannot be met."""
    chosen_format(options, also)
    for path in filter(None, (options.svg, options.html)):
        from vjpcalc.writing import require_writable

        require_writable(path)


@stage("report")
def emit(
    options: ReportOptions,
    document: Callable[[], Any],
    report: Callable[[int | None], Sequence[Block]],
    texts: Mapping[str, Callable[[], str]] | None = None,
) -> None:
    """Write a result to standard output: ``document()`` as JSON, or ``report(width)`` for people.

    ``texts`` are formats that only this result has. With --svg and --html the report is saved as well.
    """
    form = chosen_format(options, texts or ())
    save_pictures(options, report)
    if options.quiet:
        return
    if texts is not None and form in texts:
        sys.stdout.write(texts[form]())
    elif form in ("json", "jsonl"):
        from vjpcalc.tensors.json import dumps, pretty

        print((pretty if form == "json" else dumps)(document()))
    elif form == "plain":
        from vjpcalc.report.plain import plain

        sys.stdout.write(plain(report(None)))
    else:
        from vjpcalc.report.terminal import console, show

        terminal = console(sys.stdout, color=False if options.no_color else None)
        show(report(terminal.width), terminal)
    sys.stdout.flush()


def save_pictures(options: ReportOptions, report: Callable[[int | None], Sequence[Block]]) -> None:
    """Save the report, below the command that makes it, to the files of --svg and --html."""
    if options.svg is None and options.html is None:
        return
    from vjpcalc.report.pictures import html, svg
    from vjpcalc.writing import whole_file

    for path, picture in ((options.svg, svg), (options.html, html)):
        if path is not None:
            content = picture(report, typed(given_command.get())).encode()
            with whole_file(path) as stream:
                stream.write(content)


def typed(words: Sequence[str]) -> str:
    """A command as people type it, without the options that save a picture of it."""
    words = without(without(words, "--svg"), "--html")
    return command_line(word for word in words if word not in ("-q", "--quiet"))


def only_leaf(name: str, job: Job, options: ReportOptions) -> str:
    """The leaf that ``--only`` names. Raises Diagnostic: (input) for no leaf, (usage) for a format."""
    leaves = job.leaves
    if name not in leaves:
        hint = f"the {'leaf is' if len(leaves) == 1 else 'leaves are'} {', '.join(leaves)}"
        if name in job.inputs:
            raise Diagnostic("input", f"--only: '{name}' is a constant, it has no gradient", hint=hint)
        raise unknown("input", f"--only: there is no leaf '{name}'", name, leaves, hint)
    if options.format not in (None, *ONLY_FORMATS):
        raise Diagnostic(
            "usage",
            f"--only prints {', '.join(ONLY_FORMATS)}, not '{options.format}'",
            hint="without --only there is a report of all gradients",
        )
    return name


def emit_only(options: ReportOptions, result: VJP, leaf: str) -> None:
    """Write one gradient to stdout, as a JSON array or as text; to stderr, what the check has against it."""
    from vjpcalc.tensors.files import table_text
    from vjpcalc.tensors.json import dumps, to_list

    verdict = result.check.leaves.get(leaf)
    if verdict is not None and verdict.reason:
        print(f"check {verdict.status}: {verdict.reason}", file=sys.stderr)
    if options.quiet:
        return
    gradient = result.gradients[leaf]
    if options.format in ("csv", "tsv"):
        sys.stdout.write(table_text(leaf, gradient, "," if options.format == "csv" else "\t"))
    else:
        from vjpcalc.tensors.dtypes import to_numpy

        print(dumps(to_list(to_numpy(gradient))))
    sys.stdout.flush()


def progress(options: ReportOptions) -> AbstractContextManager[Callable[[str, int, int], None] | None]:
    """A progress bar on standard error for long work: on a terminal only, and only once it takes a while."""
    if not sys.stderr.isatty() or options.quiet:
        return nullcontext()
    from vjpcalc.report.progress import columns_bar

    return columns_bar(color=not options.no_color)


def check_status(result: VJP, *, strict: bool) -> int:
    """The exit status that a check asks for."""
    status = result.check.status
    failed = status == "failed" or (strict and status == "inconclusive")
    return ExitStatus.CHECK if failed else ExitStatus.DONE
