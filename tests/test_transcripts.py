"""Runs every command in README.md, CONTRIBUTING.md and examples/*.md, and compares what it prints.

In a ``console`` block a line that begins with ``$ `` is a command (it goes on over lines that end in a
backslash or stand inside of quotes), what follows is its output; ``# exit 5`` after a command is its exit
status. A fence's info string may say ``console skip: why`` for what cannot run here.

``python tests/test_transcripts.py`` writes the outputs anew. That can never bless a number: numbers are
asserted by the cases in tests/cases.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    *sorted((ROOT / "examples").glob("*.md")),
]
FENCE = re.compile(r"^```console[ ]*(?P<info>.*)\n(?P<body>(?:.*\n)*?)```$", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    text: str
    output: str
    status: int


def commands(body: str) -> Iterator[Command]:
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert not parts[0].strip(), f"output before any command: {parts[0]!r}"
    for part in parts[1:]:
        lines = part.split("\n")
        taken = 1
        while not _whole("\n".join(lines[:taken])):
            taken += 1
        text = "\n".join(lines[:taken])
        status = re.search(r"\s+# exit (\d+)$", text)
        output = "\n".join(lines[taken:])
        yield Command(text, output, int(status.group(1)) if status else 0)


def _whole(text: str) -> bool:
    """Whether a shell has all of a command."""
    if text.endswith("\\"):
        return False
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def run(command: Command, cli) -> tuple[int, str]:
    """In process where it is just vjpcalc, by a shell where it is a pipeline. stderr follows stdout."""
    words = shlex.split(re.sub(r"\\\n", " ", command.text), comments=True)
    simple = words[0] == "vjpcalc" and not {"|", ">", "<", "&&", ";"} & set(words)
    if simple and cli is not None:
        ran = cli(*words[1:])
        return ran.status, ran.out + ran.err
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.text], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=120,
        env={**os.environ, "PATH": path, "COLUMNS": "80"},
    )  # fmt: skip
    return ran.returncode, ran.stdout


def same(text: str) -> str:
    """The text without what may differ from machine to machine: the last digits that the check agrees to."""
    text = re.sub(r"(all|1[2-6]) digits", "… digits", text.replace(str(ROOT), "."))
    return "\n".join(line.rstrip() for line in text.strip().split("\n"))


def blocks() -> Iterator[tuple[Path, str, str]]:
    for page in PAGES:
        for found in FENCE.finditer(page.read_text(encoding="utf-8")):
            yield page, found.group("info"), found.group("body")


COMMANDS = [
    pytest.param(command, id=f"{page.name}: {command.text[:60]}")
    for page, info, body in blocks()
    if not info.startswith("skip")
    for command in commands(body)
]
NEEDS = ("jq", "parallel", "xargs", "dot")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_what_the_page_says(command: Command, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in NEEDS:
        if re.search(rf"(^|[|;&(]\s*){tool}\b", command.text) and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    monkeypatch.chdir(ROOT)
    status, output = run(command, cli)
    assert status == command.status, output
    assert same(output) == same(command.output)


def test_every_file_in_examples_is_used_by_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in (ROOT / "examples").rglob("*"):
        if path.is_file() and path.suffix != ".md" and "__pycache__" not in path.parts:
            assert f"examples/{path.name}" in pages, f"no page shows {path.name}"


def update() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")

        def anew(found: re.Match[str]) -> str:
            if found.group("info").startswith("skip"):
                return found.group(0)
            info = f" {found.group('info')}".rstrip()
            body = ""
            for command in commands(found.group("body")):
                status, output = run(command, None)
                output = "\n".join(line.rstrip() for line in output.strip().split("\n"))
                text = re.sub(r"\s+# exit \d+$", "", command.text) + (f"  # exit {status}" if status else "")
                body += f"$ {text}\n{output}\n\n" if output else f"$ {text}\n"
            return f"```console{info}\n{body.rstrip()}\n```"

        page.write_text(FENCE.sub(anew, text), encoding="utf-8")


if __name__ == "__main__":
    update()
