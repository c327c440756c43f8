"""A row's signature: read from its text, and bound to the arguments of a call."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vjpcalc.diagnostics import Diagnostic, count, did_you_mean, unknown
from vjpcalc.operators.row import DTYPES, KINDS, REQUIRED, Operator, Parameter, RowError

# Second spellings that every row understands, since torch and NumPy disagree on them everywhere.
SPELLINGS = {
    "dim": ("axis",),
    "keepdim": ("keepdims",),
    "correction": ("ddof",),
    "x": ("input", "a", "self"),
    "a": ("input", "x", "x1", "self"),
    "b": ("other", "y", "x2"),
}


def parse_signature(text: str) -> tuple[str, tuple[Parameter, ...]]:
    """``"sum(x, dim|axis: axes = None)"`` → the operator's name and its parameters. Raises RowError."""
    matched = re.fullmatch(r"(\w+)\((.*)\)", text.strip(), re.DOTALL)
    if matched is None:
        raise RowError(text, "its signature is not of the form name(parameter, …)")
    parameters = []
    for part in _split_commas(matched.group(2)):
        parameter = re.fullmatch(r"(\*?)(\w+)((?:\|\w+)*)\s*(?::\s*(\w+))?\s*(?:=\s*(.+))?", part.strip())
        if parameter is None:
            raise RowError(text, f"'{part.strip()}' is not of the form name: kind = default")
        star, name, others, kind, default = parameter.groups()
        kind = kind or ("tensors" if star else "tensor")
        if kind not in KINDS:
            raise RowError(text, f"unknown kind '{kind}'" + did_you_mean(kind, KINDS))
        spellings = tuple(filter(None, others.split("|"))) + SPELLINGS.get(name, ())
        try:
            value = REQUIRED if default is None else ast.literal_eval(default)
        except (ValueError, SyntaxError):
            raise RowError(text, f"the default of {name} is no literal: {default}") from None
        parameters.append(Parameter(name, kind, value, bool(star), spellings))
    return matched.group(1), tuple(parameters)


def _split_commas(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for position, character in enumerate(text):
        depth += character in "([{"
        depth -= character in ")]}"
        if character == "," and depth == 0:
            yield text[start:position]
            start = position + 1
    if text[start:].strip():
        yield text[start:]


# ---- binding a call to a row -------------------------------------------------------------------------------


def bind(operator: Operator, positional: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name, options checked and normalized: dimensions count from 0, flags are bools.

    Tensors are recognised by their ``shape``. Raises Diagnostic (type, value) where the call does not fit.
    """
    values = _assign(operator, positional, keywords)
    ndim = next((len(v.shape) for p in operator.tensors if hasattr(v := values[p.name], "shape")), None)
    if ndim is None:
        ndim = next((_list_ndim(values[p.name]) for p in operator.tensors), 0)
    return {p.name: _normalize(operator, p, values[p.name], ndim) for p in operator.parameters}


def _list_ndim(value: Any) -> int:
    depth = 0
    while isinstance(value, list | tuple) and value:
        if hasattr(value[0], "shape"):
            return depth + len(value[0].shape)
        value, depth = value[0], depth + 1
    return depth


def _assign(operator: Operator, positional: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    rest = list(positional)
    for parameter in operator.parameters:
        if parameter.variadic:
            # f(x, 2, 3) and f(x, (2, 3)) are both in use for shapes, f(a, b) and f([a, b]) for tensors
            if len(rest) == 1 and isinstance(rest[0], list | tuple):
                values[parameter.name] = tuple(rest[0])
            elif rest or parameter.default is REQUIRED:
                values[parameter.name] = tuple(rest)
            rest = []
        elif rest:
            values[parameter.name] = rest.pop(0)
    if rest:
        most = len(operator.parameters)
        raise Diagnostic(
            "type",
            f"{operator.name} takes at most {count(most, 'argument')}, not {most + len(rest)}",
            hint=_usage(operator),
        )
    spelled = {s: p.name for p in operator.parameters for s in (*reversed(p.spellings), p.name)}
    spelled.update({p.name: p.name for p in operator.parameters})
    for keyword, value in keywords.items():
        name = spelled.get(keyword)
        if name is None:
            message = f"{operator.name} has no argument '{keyword}'"
            raise unknown("type", message, keyword, spelled, _usage(operator))
        if values.get(name, ()) != ():
            raise Diagnostic("type", f"{operator.name} got '{keyword}' twice", hint=_usage(operator))
        variadic = any(p.variadic for p in operator.parameters if p.name == name)
        values[name] = (value,) if variadic and not isinstance(value, list | tuple) else value
    for parameter in operator.parameters:
        if parameter.name not in values or (parameter.variadic and values[parameter.name] == ()):
            if parameter.default is REQUIRED and not (parameter.variadic and parameter.kind == "shape"):
                raise Diagnostic("type", f"{operator.name} needs '{parameter.name}'", hint=_usage(operator))
            values.setdefault(parameter.name, () if parameter.default is REQUIRED else parameter.default)
    return values


def _usage(operator: Operator) -> str:
    return f"its signature is {operator.signature}"


def _normalize(operator: Operator, parameter: Parameter, value: Any, ndim: int) -> Any:
    kind = parameter.kind
    if kind in ("tensor", "constant", "indices", "target"):
        if isinstance(value, str) or (value is None and parameter.default is not None):
            raise _wrong(operator, parameter, value)
        return value
    if value is None and (parameter.default is None or kind == "axes"):
        return None
    if kind == "tensors":
        if not isinstance(value, list | tuple):
            raise _wrong(operator, parameter, value)
        return tuple(value)
    if kind == "axis":
        return _axis(operator, parameter, value, ndim)
    if kind == "newaxis":
        return _axis(operator, parameter, value, ndim + 1)
    if kind == "axes":
        axes = tuple(value) if isinstance(value, list | tuple) else (value,)
        counted = tuple(_axis(operator, parameter, axis, ndim) for axis in axes)
        if len(set(counted)) != len(counted):
            raise Diagnostic(
                "value", f"{operator.name}: a dimension stands twice in {parameter.name}={value!r}"
            )
        return counted
    if kind == "flag" and isinstance(value, bool):
        return value
    if kind == "int" and _whole(value):
        return int(value)
    if kind == "number" and isinstance(value, int | float):
        return value
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "dtype" and isinstance(value, str) and value in DTYPES:
        return DTYPES[value]
    if kind in ("shape", "ints"):
        items = tuple(value) if isinstance(value, list | tuple) else (value,)
        if all(_whole(item) for item in items):
            return tuple(int(item) for item in items)
    if kind == "index" or kind == "any":
        return value
    raise _wrong(operator, parameter, value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _axis(operator: Operator, parameter: Parameter, value: Any, ndim: int) -> int:
    if not _whole(value):
        raise _wrong(operator, parameter, value)
    ndim = max(ndim, 1)  # torch lets a scalar be reduced along dimension 0
    if not -ndim <= value < ndim:
        raise Diagnostic(
            "value",
            f"{operator.name}: dimension {value} is out of range for a tensor of {ndim} dimension"
            + ("s" if ndim != 1 else ""),
            hint=f"{parameter.name} goes from {-ndim} to {ndim - 1}",
        )
    return value % ndim


def _wrong(operator: Operator, parameter: Parameter, value: Any) -> Diagnostic:
    given = f"a tensor of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
    return Diagnostic(
        "type",
        f"{operator.name}: '{parameter.name}' takes {KINDS[parameter.kind]}, not {given}",
        hint=_usage(operator),
    )
