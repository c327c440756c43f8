"""Files written whole or not at all, whatever is in them: gradients, pictures, texts.

One that cannot be written is a Diagnostic of kind ``usage``: it is about an option, not about an input.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from vjpcalc.diagnostics import Diagnostic, reason


def unwritable(path: str | os.PathLike[str], why: str | OSError, hint: str | None = None) -> Diagnostic:
    """The Diagnostic (usage) of a file that cannot be written."""
    why = why if isinstance(why, str) else reason(why)
    return Diagnostic("usage", f"'{path}' cannot be written: {why}", hint=hint)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise Diagnostic (usage) for a folder, no folder, or write protection: before a long computation."""
    path = Path(path)
    if path.is_dir():
        raise unwritable(path, "it is a folder", "name a file in it")
    if not path.parent.is_dir():
        raise unwritable(path, f"there is no folder '{path.parent}'")
    if path.exists() and not os.access(path, os.W_OK):
        raise unwritable(path, "it is write-protected")


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A stream into a file that is written whole or not at all.

    The file that was there stays untouched until the new one is complete on the disk. A symbolic link stays,
    its target is replaced; a pipe or device is written to. Raises Diagnostic (usage).
    """
    require_writable(path)
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            buffer = io.BytesIO()  # not everything can be written where seeking is impossible
            yield buffer
            Path(path).write_bytes(buffer.getbuffer())
        else:
            with _replacing(os.path.realpath(path)) as stream:
                yield stream
    except OSError as error:
        raise unwritable(path, error) from None


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[IO[bytes]]:
    """A stream into a temporary file that becomes ``path`` at the end, and is deleted on any error."""
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".vjpcalc-{secrets.token_hex(8)}.tmp")
    # 0o666 less the umask, as for any new file
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            if os.path.exists(path):
                os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the rename itself last, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
