"""The operator table by name: the constructors that put a row there, and the look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.operators.row import Operator
from vjpcalc.operators.signature import bind, parse_signature

# Every name and alias → the rows that bear it, in the order of the table.
REGISTRY: dict[str, list[Operator]] = {}
_family = _source = ""


def family(title: str, source: str = "") -> None:
    """The rows that follow belong to this family: its title heads their part of ``vjpcalc ops``.

    ``source`` is where their rules come from, for rows that do not say so themselves.
    """
    global _family, _source
    _family, _source = title, source


def _row(kind: str, signature: str, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> Operator:
    name, parameters = parse_signature(signature)
    values = {**defaults, **given}
    aliases = values.pop("aliases", ())
    samples = values.pop("samples", ())
    values.setdefault("torch", name)
    values.setdefault("source", _source)
    operator = Operator(
        name,
        parameters,
        kind,
        family=_family,
        aliases=tuple(aliases.split()) if isinstance(aliases, str) else tuple(aliases),
        samples=(samples,) if isinstance(samples, str) else tuple(samples),
        **values,
    )
    return register(operator)


def register(operator: Operator) -> Operator:
    """Put a row into the table. Rows of one name are tried in the order in which they came."""
    for name in (operator.name, *operator.aliases):
        REGISTRY.setdefault(name, []).append(operator)
    return operator


def elementwise(signature: str, **row: Any) -> Operator:
    """An operator on each element: NumPy's kernel of that name; ``numexpr="="`` if numexpr has it too."""
    name = signature.partition("(")[0]
    if row.get("numexpr") == "=":
        _, parameters = parse_signature(signature)
        row["numexpr"] = f"{row.get('numpy', name)}({', '.join(p.name for p in parameters)})"
    return _row("elementwise", signature, {"numpy": name}, row)


def composed(signature: str, **row: Any) -> Operator:
    """An operator whose reference is a program in the language."""
    assert row.get("ref"), signature
    return _row("composed", signature, {}, row)


def movement(signature: str, **row: Any) -> Operator:
    """An operator that moves or copies elements."""
    return _row("movement", signature, {"numpy": signature.partition("(")[0], "complex": "numpy"}, row)


def creation(signature: str, **row: Any) -> Operator:
    """An operator that makes a constant; NumPy makes it for both engines."""
    return _row("creation", signature, {"numpy": signature.partition("(")[0], "frozen": True}, row)


def array(signature: str, **row: Any) -> Operator:
    """An operator on whole arrays."""
    return _row("array", signature, {"numpy": signature.partition("(")[0]}, row)


def several(signature: str, **row: Any) -> Operator:
    """An operator with several results: ``fields`` (name → call of a row), or ``count`` and ``part``."""
    return _row("several", signature, {}, row)


def lookup(name: str) -> list[Operator]:
    """The rows that bear a name, hidden ones left out; empty where there is none."""
    return [row for row in REGISTRY.get(name, ()) if not row.hidden]


def table() -> list[Operator]:
    """Every row once, in the order of the table."""
    rows: dict[int, Operator] = {}
    for found in REGISTRY.values():
        for row in found:
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
