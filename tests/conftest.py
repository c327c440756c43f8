"""What all tests share: the command line, run in process."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest

from vjpcalc.cli.app import main
from vjpcalc.report.schema import schema
from vjpcalc.tensors.json import dumps, pretty


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """``cli("sum(x)", "x=1", stdin="…")``: the exit status and both streams, as a pipe sees them."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        status = main(list(arguments))
        captured = capsys.readouterr()
        return Ran(int(status), captured.out, captured.err)

    return run


# ---- every JSON that a test makes is valid -----------------------------------------------------------------


def closed(part: Any) -> Any:
    """A schema in which no object has keys that are not in it."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    inner = {key: closed(value) for key, value in part.items()}
    return (
        {"additionalProperties": False, **inner} if "properties" in inner and "required" in inner else inner
    )


@functools.cache
def validator(name: str) -> Any:
    found = closed(schema(name))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def kind_of(document: Any) -> str | None:
    """Which of vjpcalc's documents this is, if it is one."""
    if not isinstance(document, dict) or "format_version" not in document:
        return None
    if "line" in document:
        return "record"
    return next(
        (
            name
            for key, name in {
                "error": "error",
                "gradients": "result",
                "jacobians": "jacobian",
                "graph": "graph",
            }.items()
            if key in document
        ),
        None,
    )


def validate(document: Any) -> None:
    """Hold a document against the schema that vjpcalc publishes, by an implementation that is not ours."""
    if name := kind_of(document):
        validator(name).validate(document)


@pytest.fixture(autouse=True)
def _valid_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes JSON in this process is validated, whichever module has imported the writer."""
    ours = [module for name, module in sys.modules.items() if name.split(".")[0] == "vjpcalc"]
    for write in (dumps, pretty):

        def checked(document: Any, *more: Any, write: Callable[..., str] = write) -> str:
            text = write(document, *more)
            validate(document)
            return text

        for module in ours:
            if vars(module).get(write.__name__) is write:
                monkeypatch.setattr(module, write.__name__, checked)
