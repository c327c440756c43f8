"""Programs printed as code: what is printed means what was parsed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from vjpcalc.diagnostics import Span
from vjpcalc.language.code import code
from vjpcalc.language.syntax import parse
from vjpcalc.operators.registry import table
from vjpcalc.operators.row import Operator

AS_PRINTED = [
    "a - (b - c) - d",
    "(a ** b) ** c ** d",
    "a ** (-1) * (-2) ** b",
    "-(a @ b) * -c",
    "-a ** 2 - -1",
    "(a < b) == (c < d)",
    "(a == 0) & (b >= 0) | ~c ^ d",
    "not (a or b and (c or d))",
    "(a if b else c) if (d if e else f) else g if h else i",
    "(a + b).mT.sum(0, keepdim=True)",
    "(2).sum() + (0.5).sum()",
    "x[..., None, 1:, ::2, :-1] + x[0] + x[i,] + x[()]",
    "cat([a, b], (0,), 'text')",
    "if a == 1:\n    b = 2\nelif a == 2:\n    b = 3\n    c = b\nelse:\n    pass\nb",
    "for i in range(1, n):\n    while True:\n        a, b = (b, a)\n        break\na",
]


@pytest.mark.parametrize("text", AS_PRINTED)
def test_brackets_and_layout(text: str) -> None:
    assert code(parse(text)) == text


def test_names_that_the_program_assigns_stay() -> None:
    assert code(parse("h = g * x\nh + g"), lambda name: f"<{name}>") == "h = <g> * <x>\nh + <g>"


def texts(row: Operator) -> Iterator[str]:
    """The programs of a row."""
    for text in [*row.vjp.values(), row.ref, row.kinks, row.size, row.count, row.part, *row.fields.values()]:
        if text and not text.startswith('"'):
            yield text


def without_spans(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(map(without_spans, part))
    if isinstance(part, Span):
        return None
    if is_dataclass(part):
        return type(part), [without_spans(getattr(part, field.name)) for field in fields(part)]
    return part


@pytest.mark.parametrize("row", table(), ids=str)
def test_the_texts_of_a_row_are_parsed_again_as_they_were(row: Operator) -> None:
    for text in texts(row):
        program = parse(text)
        assert without_spans(parse(code(program)).statements) == without_spans(program.statements)
