"""One job of a batch: a line of JSON in, its record out.

A job is ``{"id"?, "expression", "inputs", "seed"?, "wrt"?, "outputs"?, "dtype"?, "check"?, "digits"?,
"reference"?}``. Its record is the document of the result, or of the error, with the job's ``line`` (from 1)
and its own ``id`` in front. An input is an array, a record, or a text, which is read as on the command line.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vjpcalc.diagnostics import Diagnostic, Source, raised, unknown
from vjpcalc.limits import DEFAULT_LIMIT, MAX_ELEMENTS, MAX_STEPS, Limits
from vjpcalc.tensors.json import NONFINITE, dumps, is_record, loads

if TYPE_CHECKING:
    from vjpcalc.job.job import Job

KEYS = ("id", "expression", "inputs", "seed", "wrt", "outputs", "dtype", "check", "digits", "reference")
EXAMPLE = '{"expression": "sum(x**2)", "inputs": {"x": [1, 2, 3]}}'
PROGRAMS = 1024  # parsed programs that are kept


@dataclass(frozen=True, slots=True)
class Settings:
    """What a job does not say itself. ``use`` holds ``FILE.py:NAME`` texts, ``reference`` NAME=EXPR."""

    dtype: str = "float64"
    check: str = "auto"
    check_limit: int = DEFAULT_LIMIT
    digits: int | None = None
    strict: bool = False
    random_seed: int = 0
    max_steps: int = MAX_STEPS
    max_elements: int = MAX_ELEMENTS
    use: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()

    @property
    def limits(self) -> Limits:
        return Limits(self.max_steps, self.max_elements)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The record of one job as a line of JSON. ``failure`` is "error", "check", or "" where all is well."""

    line: int
    text: str
    failure: str = ""

    @classmethod
    def of_error(cls, head: Mapping[str, Any], diagnostic: Diagnostic) -> Outcome:
        return cls(head["line"], dumps({**head, **diagnostic.to_dict()}), "error")


def run_line(number: int, line: bytes, settings: Settings) -> Outcome:
    """Run the job that a line holds. Whatever is wrong with it becomes the record of an error."""
    head: dict[str, Any] = {"line": number}
    try:
        document = read_document(line)
        if "id" in document:
            head["id"] = document["id"]
        result = _result(document, settings)
    except Diagnostic as diagnostic:
        return Outcome.of_error(head, diagnostic)
    except RecursionError:
        return Outcome.of_error(head, Diagnostic("limit", "the job is nested too deeply"))
    except MemoryError:
        return Outcome.of_error(head, Diagnostic("limit", "the job needs more memory than there is"))
    except Exception as error:  # a bug must not cost the other jobs
        fault = Diagnostic("internal", f"internal error: {raised(error)}", hint="this is a bug")
        return Outcome.of_error(head, fault)
    return Outcome(number, dumps({**head, **result}), failure_of(result, strict=settings.strict))


def failure_of(record: Mapping[str, Any], *, strict: bool) -> str:
    """What is wrong with a record: "error", "check" or nothing."""
    if "error" in record:
        return "error"
    status = record.get("check", {}).get("status")
    return "check" if status == "failed" or (strict and status == "inconclusive") else ""


def read_document(line: bytes) -> dict[str, Any]:
    """The JSON object that a line holds. Raises Diagnostic."""
    try:
        text = line.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise Diagnostic("input", "the line is not UTF-8 text") from None
    document = loads(text, Source(text, "job"))
    if not isinstance(document, dict):
        raise Diagnostic("input", "a job is a JSON object", hint=EXAMPLE)
    return document


def _result(document: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    from vjpcalc.check.verdict import check
    from vjpcalc.job.autograd import compute

    job = read_job(document, settings)
    method = _text(document, "check") or settings.check
    digits = settings.digits if document.get("digits") is None else document["digits"]
    return check(compute(job), method, limit=settings.check_limit, digits=digits).to_dict()


def read_job(document: Mapping[str, Any], settings: Settings) -> Job:
    """The Job that a line's document describes. Raises Diagnostic."""
    from vjpcalc.job.job import make_job

    for key in document:
        if key not in KEYS:
            raise unknown("input", f"a job has no '{key}'", key, KEYS)
    expression, inputs = document.get("expression"), document.get("inputs") or {}
    if expression is None:
        raise Diagnostic("input", "the job has no expression", hint=EXAMPLE)
    if not isinstance(expression, str):
        raise Diagnostic("input", f"the expression is a text, not {expression!r}", hint=EXAMPLE)
    if not isinstance(inputs, dict):
        raise Diagnostic("input", "inputs is a JSON object of names and arrays", hint=EXAMPLE)
    seed = document.get("seed")
    if isinstance(seed, dict) and not is_record(seed):
        seed = {name: _value(None, one, settings) for name, one in seed.items()}
    elif seed is not None:
        seed = _value(None, seed, settings)
    return make_job(
        _program(expression),
        {name: _value(name, value, settings) for name, value in inputs.items()},
        seed=seed,
        wrt=_names(document, "wrt"),
        outputs=_names(document, "outputs") or (),
        dtype=_text(document, "dtype") or settings.dtype,
        limits=settings.limits,
        use=_functions(settings.use),
        reference=_references(document, settings),
        random_seed=settings.random_seed,
    )


@functools.lru_cache(PROGRAMS)
def _program(text: str) -> Any:
    from vjpcalc.language.syntax import parse

    return parse(text)


@functools.cache
def _functions(use: tuple[str, ...]) -> dict[str, Any]:
    from vjpcalc.job.use import load

    return {operator.name: operator for operator in map(load, use)}


def _references(document: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    from vjpcalc.job.use import parse_reference

    own = document.get("reference") or {}
    if not isinstance(own, dict):
        raise Diagnostic("input", f"reference is an object of names and texts, not {json.dumps(own)[:60]}")
    replaced = {name.partition(":")[0] for name in own}
    given = dict(map(parse_reference, settings.reference)).items()
    return {name: text for name, text in given if name.partition(":")[0] not in replaced} | own


def _value(name: str | None, value: Any, settings: Settings) -> Any:
    """An input (or a seed, which has no name) as the API takes it; a text is read as on the command line."""
    if not isinstance(value, str) or value in NONFINITE:
        return value
    from vjpcalc.job.arguments import Reader, parse_input, parse_seed

    item = parse_seed(value) if name is None else parse_input(f"{name}={value}")
    if item.from_stdin:
        raise item.error("a job has no standard input", hint="@FILE is a file")
    return Reader(None, settings.random_seed, settings.limits).read(item)


def _names(document: Mapping[str, Any], key: str) -> list[str] | None:
    names = document.get(key)
    if isinstance(names, str):
        return [name.strip() for name in names.split(",") if name.strip()]
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise Diagnostic("input", f"{key} is a list of names, not {json.dumps(names)[:60]}")
    return names


def _text(document: Mapping[str, Any], key: str) -> str | None:
    text = document.get(key)
    if text is not None and not isinstance(text, str):
        raise Diagnostic("input", f"{key} is a text, not {json.dumps(text)[:60]}")
    return text
