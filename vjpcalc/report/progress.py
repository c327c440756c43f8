"""Progress bars on standard error, by Rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 0.7  # seconds of work before a bar appears


@contextmanager
def columns_bar(*, color: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for the columns of a Jacobian, with an estimate; yields ``tell(leaf, done, total)``."""
    started = time.monotonic()
    bar = None
    tasks: dict[str, int] = {}

    def tell(leaf: str, done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            if time.monotonic() - started < PATIENCE:
                return
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            from vjpcalc.report.terminal import console

            bar = Progress(
                TextColumn("J of {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=console(sys.stderr, color=None if color else False),
                transient=True,
            )
            bar.start()
        if leaf not in tasks:
            tasks[leaf] = bar.add_task(leaf, total=total)
        bar.update(tasks[leaf], completed=done)  # type: ignore[arg-type]

    try:
        yield tell
    finally:
        if bar is not None:
            bar.stop()


@contextmanager
def jobs_bar(total: int | None, done: int, *, color: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar for the jobs of a batch, ``done`` of which need not be run; yields ``tell(failures so far)``."""
    from rich import progress

    from vjpcalc.report.terminal import console

    columns = [
        progress.TextColumn("batch"),
        progress.SpinnerColumn() if total is None else progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn() if total is None else progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[failed]}", style="red"),
    ]
    on_stderr = console(sys.stderr, color=None if color else False)
    with progress.Progress(*columns, console=on_stderr, transient=True) as bar:
        task = bar.add_task("", total=total, completed=done, failed="")

        def tell(failures: int) -> None:
            bar.update(task, advance=1, failed=f"{failures:,} failed" if failures else "")

        yield tell
