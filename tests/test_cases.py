"""Runs ``cases/*.test``: blocks of lines that anybody can read, separated by blank lines.

    # a title                                         %%FAIL 3
    the expression (several lines for a program)      the expression
    name=value … --option value                       name=value …
    leaf = the gradient, by hand                      | the message on stderr, line by line
    check = the verdict, where it is not "passed"

The line of arguments is the first that begins with a name and ``=`` or with ``--`` (``-`` alone: none).
Gradients are compared as values, never as text; a value may be an expression, such as ``1/cos(1)**2``.
Messages are compared to the letter.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import vjpcalc.operators  # noqa: F401
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.language.interpret import evaluate

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    title: str
    expression: str
    arguments: tuple[str, ...]
    status: int
    expected: dict[str, str]
    message: str
    verdict: str


def read(path: Path) -> list[Case]:
    cases, title = [], path.stem
    for number, block in enumerate(re.split(r"\n\s*\n", path.read_text(encoding="utf-8"))):
        lines = [line for line in block.split("\n") if line.strip()]
        while lines and lines[0].startswith("#"):
            title = lines.pop(0).lstrip("# ")
        if not lines:
            continue
        status = 0
        if lines[0].startswith("%%FAIL"):
            status = int(lines.pop(0).split()[1])
        split = next(i for i, line in enumerate(lines) if re.match(r"[^\W\d]\w*(:\w+)?=\S|--\w|-$|@", line))
        expression, arguments, rest = "\n".join(lines[:split]), lines[split], lines[split + 1 :]
        message = "\n".join(line[2:] for line in rest if line.startswith("|"))
        expected = dict(line.split(" = ", 1) for line in rest if not line.startswith("|"))
        verdict = expected.pop("check", "passed")
        words = () if arguments == "-" else tuple(shlex.split(arguments))
        cases.append(Case(f"{title} ({number})", expression, words, status, expected, message, verdict))
    return cases


CASES = [
    pytest.param(case, id=f"{path.stem}: {case.title}")
    for path in sorted(FOLDER.glob("*.test"))
    for case in read(path)
]


@pytest.mark.parametrize("case", CASES)
def test_case(case: Case, cli) -> None:
    ran = cli(case.expression, *case.arguments, "--json")
    assert ran.status == case.status, ran.err
    document = json.loads(ran.out)
    if case.status in (2, 3, 4):
        assert ran.err.rstrip("\n") == case.message
        assert document["error"]["code"] == case.status
        assert case.message.startswith(f"error: {document['error']['message']}")
        return
    assert document["check"]["status"] == case.verdict, document["check"]
    assert set(document["gradients"]) >= set(case.expected)
    for leaf, text in case.expected.items():
        gradient = np.array(document["gradients"][leaf]["data"], dtype=float)
        by_hand = np.broadcast_to(evaluate(text, ReferenceEngine(), {}), gradient.shape)
        np.testing.assert_allclose(gradient, by_hand, rtol=1e-12, atol=1e-15)


def test_every_case_says_something() -> None:
    for case in (parameter.values[0] for parameter in CASES):
        assert case.expected or case.message or case.verdict != "passed", case.title
