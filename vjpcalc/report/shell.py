"""Words as people type them into a shell."""

from __future__ import annotations

import shlex


def quoted(word: str) -> str:
    """A word as people quote it: ``a='[1, 2]'`` rather than ``'a=[1, 2]'``."""
    name, equals, value = word.partition("=")
    if equals and name.replace(":", "").isidentifier():
        return f"{name}={shlex.quote(value)}"
    return shlex.quote(word)
