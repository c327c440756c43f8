"""Many jobs: JSON Lines in, one record a line out, in the order of the jobs. A bad line costs no other.

``run`` works in this process, or hands the lines to worker processes. They are forked from a server that has
imported torch and computed nothing: that is safe, takes milliseconds, and shares the memory. Nothing heavy is
imported here before a job is run, so a process that only hands out lines stays light.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from vjpcalc.batch.job import Outcome, Settings, read_document, run_line
from vjpcalc.diagnostics import Diagnostic

AHEAD = 2  # jobs that a worker has at once: it need not wait for the next
WINDOW = 64  # jobs a worker that may be done before an earlier one is
PRELOAD = ["vjpcalc.api", "vjpcalc.batch.pool", "numexpr", "torch.fx.experimental.symbolic_shapes"]
END = (0, b"")  # there is no line 0


@dataclass(frozen=True, slots=True)
class Shard:
    """The lines that one process of several takes: every ``size``-th, from line ``rank`` + 1 on."""

    rank: int = 0
    size: int = 1

    def __contains__(self, line: int) -> bool:
        return (line - 1) % self.size == self.rank

    @classmethod
    def of_environment(cls) -> Shard:
        """What RANK and WORLD_SIZE say, which torchrun and its like set. Raises Diagnostic (usage)."""
        rank, size = os.environ.get("RANK") or "0", os.environ.get("WORLD_SIZE") or "1"
        if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
            message = f"RANK={rank} and WORLD_SIZE={size} are no rank and number of processes"
            raise Diagnostic("usage", message)
        return cls(int(rank), int(size))


def run(
    stream: IO[bytes],
    settings: Settings,
    *,
    processes: int = 1,
    shard: Shard | None = None,
    done: Callable[[int, bytes], bool] | None = None,
) -> Generator[Outcome, None, None]:
    """Run the jobs of a stream of JSON Lines: one Outcome for each, in order, as soon as it is there.

    Blank lines are counted and skipped, as are lines of another ``shard`` and those that ``done`` (asked with
    the line's number and text) is true of. Raises Diagnostic (internal) where no worker starts.
    """
    shard = shard or Shard()

    def wanted(lines: Iterable[bytes | None]) -> Iterator[tuple[int, bytes] | None]:
        number = 0
        for line in lines:
            if line is None:
                yield None
                continue
            number += 1
            if number in shard and line.strip() and not (done and done(number, line)):
                yield number, line

    if processes > 1:
        descriptor = _descriptor(stream)
        lines = wanted(stream if descriptor is None else lines_at_hand(descriptor))
        yield from _in_parallel(lines, descriptor, settings, processes)
        return
    for number, line in filter(None, wanted(stream)):
        yield run_line(number, line, settings)


def count_jobs(stream: IO[bytes], shard: Shard) -> int | None:
    """How many jobs a shard of a file has; None where reading it would use it up."""
    if not stream.seekable():
        return None
    try:
        return sum(number in shard and not line.isspace() for number, line in enumerate(stream, 1))
    finally:
        stream.seek(0)


def _descriptor(stream: IO[bytes]) -> int | None:
    try:
        return stream.fileno()
    except (OSError, AttributeError):
        return None


def lines_at_hand(descriptor: int) -> Iterator[bytes | None]:
    """The lines of a file, terminal or pipe; None where the next one would have to be waited for."""
    buffer = bytearray()
    while True:
        if not wait([descriptor], 0):
            yield None
            continue
        chunk = os.read(descriptor, 1 << 16)
        buffer += chunk
        if b"\n" in chunk:
            *lines, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            yield from lines
        if not chunk:
            if buffer:
                yield bytes(buffer)
            return


@dataclass(slots=True)
class _Worker:
    process: Any
    connection: Connection
    # index, line number, line of each that it has, in order
    given: deque[tuple[int, int, bytes]] = field(default_factory=deque)


def _in_parallel(
    lines: Iterator[tuple[int, bytes] | None], descriptor: int | None, settings: Settings, processes: int
) -> Iterator[Outcome]:
    import multiprocessing

    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        from multiprocessing import forkserver

        context.set_forkserver_preload(PRELOAD)
        with _ignoring("SIGINT"):  # the server inherits it: Ctrl-C is for this process
            forkserver.ensure_running()

    def start() -> _Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, settings), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    workers = [start() for _ in range(processes)]
    try:
        yield from _hand_out(lines, descriptor, workers, start)
    finally:
        for worker in workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


def _hand_out(
    lines: Iterator[tuple[int, bytes] | None],
    descriptor: int | None,
    workers: list[_Worker],
    start: Callable[[], _Worker],
) -> Iterator[Outcome]:
    """Give jobs to the workers, and yield what they send back in the order of the lines."""
    finished: dict[int, Outcome] = {}
    returned: deque[tuple[int, int, bytes]] = deque()  # what a worker that died had not begun
    taken = emitted = 0
    ended = started = False
    while True:
        starving = False
        for worker in sorted(workers, key=lambda worker: len(worker.given)):
            while len(worker.given) < AHEAD:
                if not returned and not ended and taken - emitted < WINDOW * len(workers):
                    numbered = next(lines, END)
                    starving, ended = numbered is None, numbered is END
                    if numbered is not None and numbered is not END:
                        returned.append((taken, *numbered))
                        taken += 1
                if not returned:
                    break
                worker.given.append(returned.popleft())
                _send(worker.connection, worker.given[-1][1:])
        busy = {worker.connection: worker for worker in workers if worker.given}
        if ended and not busy:
            return
        for ready in wait([*busy, *([descriptor] if starving and descriptor is not None else [])]):
            if not isinstance(ready, Connection):
                continue
            worker = busy[ready]
            try:
                outcome = ready.recv()
            except (EOFError, OSError):
                worker.process.join()
                status = worker.process.exitcode
                if not started and (status or 0) > 0:
                    message = "no worker process can be started"
                    raise Diagnostic("internal", message, hint="leave --jobs out") from None
                index, number, line = worker.given.popleft()
                finished[index] = _died(number, line, status)
                returned.extend(worker.given)
                workers[workers.index(worker)] = start()
            else:
                started = True
                finished[worker.given.popleft()[0]] = outcome
        while emitted in finished:
            yield finished.pop(emitted)
            emitted += 1


def _send(connection: Connection, task: tuple[int, bytes]) -> None:
    """Send a job to a worker. If it has died, that is seen later: neither SIGPIPE nor an error ends us."""
    with _ignoring("SIGPIPE"), contextlib.suppress(OSError):
        connection.send(task)


@contextlib.contextmanager
def _ignoring(name: str) -> Iterator[None]:
    """Without a signal, where there is one of that name and it can be ignored."""
    if not hasattr(signal, name) or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(getattr(signal, name), before)


def _died(number: int, line: bytes, status: int | None) -> Outcome:
    head: dict[str, Any] = {"line": number}
    with contextlib.suppress(Diagnostic):
        document = read_document(line)
        head |= {"id": document["id"]} if "id" in document else {}
    cause = f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"
    message = f"the process that ran this job died ({cause})"
    return Outcome.of_error(head, Diagnostic("internal", message, hint="did it take all of the memory?"))


def _work(connection: Connection, settings: Settings) -> None:
    """A worker process: answers each line with its Outcome until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that hands out the lines
    import numexpr
    import torch

    torch.set_num_threads(1)
    numexpr.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        while True:
            number, line = connection.recv()
            connection.send(run_line(number, line, settings))
