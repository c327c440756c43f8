"""The file of records of a batch: written a whole line at a time, and read again to resume. And the tally."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vjpcalc.batch.job import failure_of, read_document
from vjpcalc.batch.pool import Shard
from vjpcalc.diagnostics import Diagnostic, count
from vjpcalc.language.source import clean
from vjpcalc.writing import unwritable

SHOWN = 10  # lines that a summary names


@dataclass(frozen=True, slots=True)
class Done:
    """What is known of a job that has its record: enough to see whether it is still the same job."""

    failure: str
    id: Any
    expression: str | None


class Records:
    """A file of records: one whole line at a time is appended, and no other process may write it meanwhile.

    With ``resume`` it is continued: ``done`` says what it holds by line, and a last line that was cut short
    is dropped. Without, it is emptied. Raises Diagnostic (usage) where it cannot be written, or holds
    anything else.
    """

    def __init__(self, path: str, *, resume: bool = False, strict: bool = False) -> None:
        self.path = path
        self.done: dict[int, Done] = {}
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise unwritable(self.path, error) from None
        try:
            self._lock()
            if os.path.isfile(path):
                kept = 0
                if resume:
                    self.done, kept = read_records(path, strict=strict)
                os.ftruncate(self._descriptor, kept)
            elif resume:
                raise Diagnostic("usage", f"--resume: '{path}' is not a regular file")
        except BaseException:
            os.close(self._descriptor)
            raise

    def _lock(self) -> None:
        try:
            import fcntl

            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another vjpcalc is writing '{self.path}'"
            raise Diagnostic("usage", message, hint="wait for it, or end it") from None
        except (ImportError, OSError):
            pass  # no locks here

    def holds(self, number: int, line: bytes) -> bool:
        """True if a job has its record. Raises Diagnostic (usage) where that came from another job."""
        known = self.done.get(number)
        if known is None:
            return False
        try:
            job = read_document(line)
        except Diagnostic:
            job = {}
        expression = job.get("expression")
        if isinstance(expression, str):
            expression = clean(expression)
        if job.get("id") != known.id or (known.expression is not None and expression != known.expression):
            raise Diagnostic(
                "usage",
                f"--resume: line {number} is not the job that the record of line {number} came from",
                hint="without --resume everything is run again",
            )
        return True

    def write(self, text: str) -> None:
        """Append a line. Once this returns, the end of this process loses nothing."""
        data = memoryview(f"{text}\n".encode())
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise unwritable(self.path, error) from None

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_records(path: str, *, strict: bool = False) -> tuple[dict[int, Done], int]:
    """What a file of records holds, by line of the job; and how many bytes its whole lines take.

    Raises Diagnostic (usage) where it is not a file of records.
    """
    done: dict[int, Done] = {}
    size = 0
    with open(path, "rb") as stream:
        for position, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                if b'{"line": '.startswith(line[:9]) or not line.strip(b"\0"):
                    break  # cut short
                raise _no_records(path, position)
            try:
                record = json.loads(line)
                failure = failure_of(record, strict=strict)
                done[record["line"]] = Done(failure, record.get("id"), record.get("expression"))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise _no_records(path, position) from None
            size += len(line)
    return done, size


def _no_records(path: str, position: int) -> Diagnostic:
    return Diagnostic(
        "usage",
        f"--resume: line {position} of '{path}' is not a record that batch wrote",
        hint="without --resume the file is written anew",
    )


def open_records(out: str, shard: Shard, *, resume: bool, strict: bool) -> Records:
    """The file of records of this process: ``{rank}`` in ``out`` is its rank.

    To resume goes by the lines of jobs, whichever rank ran them: there may be more or fewer of them now.
    Raises Diagnostic (usage) where several processes would write one file.
    """
    if shard.size > 1 and "{rank}" not in out:
        raise Diagnostic(
            "usage",
            f"{shard.size} processes cannot write one file '{out}'",
            hint="give each its own: -o 'records.{rank}.jsonl'",
        )
    path = out.replace("{rank}", str(shard.rank))
    records = Records(path, resume=resume, strict=strict)
    if resume and path != out:
        for other in _elsewhere(out, path):
            records.done.update(read_records(other, strict=strict)[0])
    return records


def _elsewhere(pattern: str, own: str) -> Iterator[str]:
    """The other ranks' files of records: what matches ``pattern``, ``{rank}`` being a number."""
    folder, name = os.path.split(pattern)
    form = re.compile(re.escape(name).replace(re.escape("{rank}"), r"\d+"))
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(folder or ".")):
            path = os.path.join(folder, entry)
            if form.fullmatch(entry) and path != own:
                yield path


@dataclass(slots=True)
class Tally:
    """What became of the jobs."""

    started: float = field(default_factory=time.monotonic)
    ran: int = 0
    known: int = 0
    failed: dict[int, str] = field(default_factory=dict)  # line → "error" or "check"

    def resumed(self, failures: Mapping[int, str]) -> None:
        self.known = len(failures)
        self.failed |= {line: failure for line, failure in failures.items() if failure}

    def add(self, line: int, failure: str) -> None:
        self.ran += 1
        if failure:
            self.failed[line] = failure

    def summary(self) -> str:
        """``10,000 jobs in 12.5 s (800 a second): 9,900 done, 100 errors (lines 3, 17, …)``."""
        seconds = time.monotonic() - self.started
        rate = f" ({self.ran / seconds:,.0f} a second)" if self.ran >= SHOWN else ""
        before = f", {self.known:,} before" if self.known else ""
        parts = [f"{self.ran + self.known - len(self.failed):,} done"]
        for kind, noun in {"error": "error", "check": "failed check"}.items():
            lines = sorted(line for line, failure in self.failed.items() if failure == kind)
            if lines:
                shown = [f"{line:,}" for line in lines[:SHOWN]] + ["…"] * (len(lines) > SHOWN)
                plural = "s" if len(lines) > 1 else ""
                parts.append(f"{count(len(lines), noun)} (line{plural} {', '.join(shown)})")
        return f"{count(self.ran, 'job')} in {seconds:.1f} s{rate}{before}: " + ", ".join(parts)
