"""The operator table by name: the constructors that put a row there, and the look-up."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from vjpcalc.diagnostics import Diagnostic, did_you_mean
from vjpcalc.operators.row import Call, Operator, RowError
from vjpcalc.operators.signature import bind, parse_signature

# Every name and alias → the rows that bear it, in the order of the table.
REGISTRY: dict[str, list[Operator]] = {}
_family = _source = ""

# What a constructor takes by keyword: what is not said by the signature, the constructor and the family.
FIELDS = {field.name for field in dataclasses.fields(Operator)} - {"name", "parameters", "kind", "family"}
PROGRAMS = ("ref", "kinks", "size", "count", "part")


def family(title: str, source: str = "") -> None:
    """The rows that follow belong to this family: its title heads their part of ``vjpcalc ops``.

    ``source`` is where their rules come from, for rows that do not say so themselves.
    """
    global _family, _source
    _family, _source = title, source


def elementwise(signature: str, **row: Any) -> Operator:
    """An operator on each element: NumPy's kernel of that name; ``numexpr="="`` if numexpr has it too."""
    if row.get("numexpr") == "=":
        name, parameters = parse_signature(signature)
        row["numexpr"] = f"{row.get('numpy', name)}({', '.join(p.name for p in parameters)})"
    return _row("elementwise", signature, row)


def composed(signature: str, **row: Any) -> Operator:
    """An operator whose reference is a program in the language."""
    return _row("composed", signature, {"numpy": "", **row})


def movement(signature: str, **row: Any) -> Operator:
    """An operator that moves or copies elements."""
    return _row("movement", signature, {"complex": "numpy", **row})


def creation(signature: str, **row: Any) -> Operator:
    """An operator that makes a constant; NumPy makes it for both engines."""
    return _row("creation", signature, {"frozen": True, **row})


def array(signature: str, **row: Any) -> Operator:
    """An operator on whole arrays."""
    return _row("array", signature, row)


def several(signature: str, **row: Any) -> Operator:
    """An operator with several results: ``fields`` (name → call of a row), or ``count`` and ``part``."""
    return _row("several", signature, {"numpy": "", **row})


def _row(kind: str, signature: str, given: Mapping[str, Any]) -> Operator:
    """Make a row of what its constructor was given, and put it into the table. Raises RowError."""
    name, parameters = parse_signature(signature)
    for word in given:
        if word not in FIELDS:
            raise RowError(signature, f"unknown field '{word}'" + did_you_mean(word, FIELDS))
    if kind == "composed" and not given.get("ref"):
        raise RowError(signature, "a composed row needs a ref")
    values = {"torch": name, "numpy": name, "source": _source, **given}
    values |= {word: _program(values[word]) for word in PROGRAMS if word in values}
    values["vjp"] = {parameter: _program(rule) for parameter, rule in values.get("vjp", {}).items()}
    values["aliases"] = tuple(values.get("aliases", "").split())
    samples = values.get("samples", ())
    values["samples"] = (samples,) if isinstance(samples, str) else samples
    operator = Operator(name, parameters, kind, family=_family, **values)
    for text in filter(None, (operator.torch, operator.numpy, operator.jax)):
        _check_call(operator, text)
    if not _known_mixes(operator):
        raise RowError(operator, f"'mixes' says nothing that is known: {operator.mixes}")
    return register(operator)


def _program(text: str | tuple[str, ...]) -> str:
    """A text of a row without the indentation that it has in the table; a tuple's items are joined."""
    if isinstance(text, tuple):
        return "\n".join(map(_program, text))
    return inspect.cleandoc(text) if "\n" in text else text


def _known_mixes(operator: Operator) -> bool:
    """True if what a row mixes is said as the head of ``row.py`` has it."""
    text, names = operator.mixes, {parameter.name for parameter in operator.parameters}
    if text.startswith("adds "):
        _check_call(operator, text.removeprefix("adds "), "y")
        return True
    text = text.removeprefix("products").lstrip()
    if "->" in text:
        tensors = sum(parameter.kind == "tensor" for parameter in operator.parameters)
        inputs = (part.partition("->")[0] for part in text.split("|"))
        return all(len(terms.split(",")) == tensors for terms in inputs)
    return text in ("", "moves", "windows", "windows back") or text.removeprefix("one of ") in names


def _check_call(operator: Operator, text: str, *more: str) -> None:
    names = {"y.shape", *more, *(parameter.name for parameter in operator.parameters)}
    try:
        for _, name, _ in Call.parse(text).arguments or ():
            if name not in names:
                ast.literal_eval(name)
    except (ValueError, SyntaxError):
        raise RowError(operator, f"not a call of its parameters and literals: {text}") from None


def register(operator: Operator) -> Operator:
    """Put a row into the table. Rows of one name are tried in the order in which they came."""
    for name in (operator.name, *operator.aliases):
        REGISTRY.setdefault(name, []).append(operator)
    return operator


def lookup(name: str) -> list[Operator]:
    """The rows that bear a name, hidden ones left out; empty where there is none."""
    return [row for row in REGISTRY.get(name, ()) if not row.hidden]


def names() -> list[str]:
    """Every name and alias of a row that is not hidden."""
    return [name for name in REGISTRY if lookup(name)]


def table() -> list[Operator]:
    """Every row once, in the order of the table."""
    rows: dict[int, Operator] = {}
    for row in itertools.chain.from_iterable(REGISTRY.values()):
        rows.setdefault(id(row), row)
    return list(rows.values())


def resolve(
    name: str, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[Operator, dict[str, Any]]:
    """The first row of that name which the arguments fit, and the arguments bound to it.

    Raises Diagnostic: the first row's complaint where none fits.
    """
    complaint: Diagnostic | None = None
    for operator in REGISTRY[name]:
        try:
            return operator, bind(operator, positional, keywords)
        except Diagnostic as diagnostic:
            # a complaint about a value comes from a row that did fit in form: it is the one to show
            if complaint is None or (diagnostic.kind == "value" and complaint.kind != "value"):
                complaint = diagnostic
    assert complaint is not None
    raise complaint
