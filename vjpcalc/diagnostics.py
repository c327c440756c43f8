"""What can go wrong, as data: where (Source, Span), what and what to do (Diagnostic), and the exit status.

Every layer raises Diagnostic; only ``cli/app.py`` turns one into text on stderr and an exit status.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import os
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

FORMAT_VERSION = "1.0"  # of every JSON document that vjpcalc writes


class ExitStatus(IntEnum):
    """The process's exit status: part of the command line's contract."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    EXPRESSION = 3
    INPUT = 4
    CHECK = 5
    BATCH = 6
    INTERRUPTED = 130


# kind of a Diagnostic → exit status
EXIT_STATUS = {
    "internal": ExitStatus.INTERNAL,
    "usage": ExitStatus.USAGE,
    "syntax": ExitStatus.EXPRESSION,
    "name": ExitStatus.EXPRESSION,
    "type": ExitStatus.EXPRESSION,
    "shape": ExitStatus.EXPRESSION,
    "value": ExitStatus.EXPRESSION,
    "limit": ExitStatus.EXPRESSION,
    "input": ExitStatus.INPUT,
    "seed": ExitStatus.INPUT,
}


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` to ``stop`` (exclusive, from 0) of a source text."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Source:
    """A text that a user wrote, and what to call it in a message (``expression``, ``model.vjp``, ``x``)."""

    text: str
    name: str = "expression"

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both from 1."""
        before = self.text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


class Diagnostic(Exception):  # noqa: N818 (it is what compilers call it)
    """One thing that is wrong: ``message`` says what, ``span`` where, ``hint`` what to do.

    ``kind`` is a key of EXIT_STATUS. ``span`` counts characters of ``source``. ``arguments`` would make the
    command right: the command line adds them to what was typed and shows the result.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        hint: str | None = None,
        span: Span | None = None,
        source: Source | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        assert kind in EXIT_STATUS, kind
        self.kind, self.message, self.hint, self.span, self.source = kind, message, hint, span, source
        self.arguments = tuple(arguments)

    def __str__(self) -> str:
        """What is wrong, and below it what to do."""
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def at(self, span: Span | None, source: Source | None) -> Diagnostic:
        """This diagnostic with a place, where it has none yet."""
        if self.span is None:
            self.span = span
        if self.source is None:
            self.source = source
        return self

    @property
    def status(self) -> ExitStatus:
        return EXIT_STATUS[self.kind]

    @property
    def position(self) -> tuple[int | None, int | None]:
        """Line and column (from 1) of the span, or (None, None) where there is none."""
        if self.span is None or self.source is None:
            return None, None
        return self.source.position(self.span.start)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of an error: ``code`` is the exit status; line and column count from 1."""
        line, column = self.position
        return {
            "format_version": FORMAT_VERSION,
            "error": {
                "code": int(self.status),
                "kind": self.kind,
                "message": self.message,
                "hint": self.hint,
                "line": line,
                "column": column,
            },
        }


def unknown(
    kind: str,
    message: str,
    word: str,
    known: Iterable[str],
    hint: str | None = None,
    span: Span | None = None,
    source: Source | None = None,
) -> Diagnostic:
    """A Diagnostic about a word that is none of ``known``: the nearest is offered, and the hint lists them.

    Another ``hint`` takes its place, or none where it is empty.
    """
    known = list(known)
    message += did_you_mean(word, known)
    if hint is None and known:
        hint = f"it is one of {listed(known)}" if len(known) > 1 else f"there is only {known[0]}"
    return Diagnostic(kind, message, hint=hint or None, span=span, source=source)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``word``, for "did you mean …?", or None where nothing is close."""
    return next(iter(difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``; did you mean 'sin'?``, or nothing."""
    close = nearest(word, candidates)
    return f"; did you mean '{close}'?" if close else ""


def listed(words: Iterable[str], most: int = 20) -> str:
    """``a, b, c``; of a longer list the first ones, and how many more there are."""
    words = list(words)
    return ", ".join(words[:most]) + (f" and {len(words) - most:,} more" if len(words) > most else "")


def reason(error: BaseException) -> str:
    """Why something failed, in one short line: the system's reason in small letters, or what was raised."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    text = str(error).strip().split("\n")[0] or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def raised(error: BaseException) -> str:
    """What was raised, in one line: ``ValueError: no such thing``."""
    name, text = type(error).__name__, str(error).strip().split("\n")[0]
    return f"{name}: {text}" if text else name


@functools.cache
def _libraries() -> tuple[str, ...]:
    """The folders of Python's library, of installed packages, and of vjpcalc itself."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return (*(f"{folder}{os.sep}" for folder in folders), f"{os.path.dirname(__file__)}{os.sep}", "<frozen")


def is_own(file: str) -> bool:
    """True if a traceback's file is the user's: neither Python's, nor an installed package's, nor ours."""
    return not file.startswith(_libraries())


def raised_at(error: BaseException) -> tuple[str, str] | None:
    """Where in the user's own code something was raised: ``functions.py:12`` and what stands there.

    None where it was raised elsewhere, and no code of the user's was on the way.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_own(frame.filename):
            return f"{os.path.basename(frame.filename)}:{frame.lineno}", frame.line or ""
    return None


def count(number: int, noun: str) -> str:
    """``1 element``, ``3 elements``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def element_name(name: str, index: Sequence[int]) -> str:
    """``x[0, 1]``; the name alone for a tensor without dimensions."""
    return f"{name}[{', '.join(map(str, index))}]" if len(index) else name


def element_names(name: str, shape: Sequence[int]) -> list[str]:
    """``x[0, 0]``, ``x[0, 1]``, … in row-major order."""
    return [element_name(name, index) for index in itertools.product(*map(range, shape))]
