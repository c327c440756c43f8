"""A Program: what a text means, as a tree of a few frozen dataclasses. Nothing in it is evaluated by Python.

Signs, methods and function calls all become one thing, Apply, by the name of the operator that they mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from vjpcalc.diagnostics import Source, Span


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any  # int, float, bool, None, str, Ellipsis
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple[Expression, ...]
    is_list: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Slice:
    start: Expression | None
    stop: Expression | None
    step: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Apply:
    """Operator ``function`` applied. A method call has its receiver first in ``arguments``."""

    function: str
    arguments: tuple[Expression, ...]
    keywords: tuple[tuple[str, Expression], ...]
    span: Span
    sign: str | None = None  # the infix or prefix sign it was written with
    method: bool = False
    name_span: Span | None = None


@dataclass(frozen=True, slots=True)
class Member:
    base: Expression
    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Logical:
    """``and`` / ``or`` on single values."""

    sign: str
    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Choice:
    """``yes if condition else no``."""

    condition: Expression
    yes: Expression
    no: Expression
    span: Span


Expression = Literal | Name | Items | Slice | Apply | Member | Logical | Choice


@dataclass(frozen=True, slots=True)
class Assign:
    names: tuple[str, ...]  # one, or several that a tuple is unpacked into
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Evaluate:
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    condition: Expression
    body: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class While:
    condition: Expression
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class For:
    name: str
    bounds: tuple[Expression, ...]
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Jump:
    kind: str  # break, continue, pass
    span: Span


Statement = Assign | Evaluate | If | While | For | Jump


@dataclass(frozen=True, slots=True)
class Program:
    """A parsed text. ``output`` names what its last statement yields (``out`` for an expression)."""

    source: Source
    statements: tuple[Statement, ...]
    output: str
    assigned: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.source.text


def names_in(part: Any) -> Iterator[Name]:
    """Every Name in a program or a part of one, in the order in which they stand."""
    if isinstance(part, Name):
        yield part
    elif isinstance(part, tuple):
        for item in part:
            yield from names_in(item)
    elif is_dataclass(part):
        for field in fields(part):
            yield from names_in(getattr(part, field.name))
