"""Words as people type them into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable


def quoted(word: str) -> str:
    """A word as people quote it: ``a='[1, 2]'`` rather than ``'a=[1, 2]'``."""
    name, equals, value = word.partition("=")
    if equals and name.replace(":", "").isidentifier():
        return f"{name}={shlex.quote(value)}"
    return shlex.quote(word)


def command_line(words: Iterable[str]) -> str:
    """``vjpcalc`` and these words, ready for a shell."""
    return " ".join(["vjpcalc", *map(quoted, words)])


def without(words: Iterable[str], option: str, start: str = "") -> list[str]:
    """The words but for an option and its value, ``--svg FILE`` or ``--svg=FILE``, where it begins so."""
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] == option and word.startswith(start):
            kept.pop()
        elif not word.startswith(f"{option}={start}"):
            kept.append(word)
    return kept
