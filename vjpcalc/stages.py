"""The stages of a job and their times: what ``--debug`` shows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Times = dict[tuple[str, ...], tuple[int, float]]  # names from the outermost stage on → calls, seconds

_times: ContextVar[Times | None] = ContextVar("times", default=None)
_around: ContextVar[tuple[str, ...]] = ContextVar("around", default=())


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time what happens inside, where somebody is measuring; a decorator as well."""
    times = _times.get()
    if times is None:
        yield
        return
    path = (*_around.get(), name)
    times.setdefault(path, (0, 0.0))  # in the order of their beginnings
    token, start = _around.set(path), time.perf_counter()
    try:
        yield
    finally:
        calls, seconds = times[path]
        times[path] = calls + 1, seconds + time.perf_counter() - start
        _around.reset(token)


@contextmanager
def measured() -> Iterator[Times]:
    """While it lasts, what the stages take is collected."""
    times: Times = {}
    token = _times.set(times)
    try:
        yield times
    finally:
        _times.reset(token)


def table(times: Times) -> str:
    """A line a stage, indented as they are nested: seconds, calls where there are several, the name."""
    return "".join(
        f"{seconds:9.3f} s {f'{calls} ×' if calls > 1 else '':>6} {'  ' * (len(path) - 1)}{path[-1]}\n"
        for path, (calls, seconds) in times.items()
    )
