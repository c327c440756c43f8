"""The row of the operator table: what an operator is, as pure data.

A row's constructor says what kind of operator it is:

    elementwise(…)  one NumPy kernel applied to each element, with broadcasting; numexpr runs it where it can
    composed(…)     defined by a program in vjpcalc's own language (``ref``), in its numerically stable form;
                    with ``torch=""``, for what torch lacks, torch runs that program too
    movement(…)     elements are moved or copied, never computed: its Jacobian holds only 0 and 1
    creation(…)     makes a constant, by NumPy for both engines
    array(…)        anything else: one NumPy kernel on whole arrays
    several(…)      returns several tensors, each by the operator of another row: a named tuple (``fields``),
                    or a tuple of ``count`` items, item ``i`` of which is the program ``part``

A row's signature is text, ``softmax(x, dim: axis)``. A bare parameter is a differentiable tensor; one with a
kind (see KINDS) is an option. ``name|other`` gives a second spelling, ``*name`` takes all that follow.

Names in scope in the texts of a row: every text sees the parameters by name; ``vjp`` rules see ``g`` (the
arriving cotangent, shaped like the output) and ``y`` (the output) too. A rule may leave broadcasting alone:
it is undone for all rows in one place. ``kinks`` is a mask, true where the operator is not differentiable.

``torch`` and ``numpy`` name the function that each engine calls, with a call template where its arguments
differ from the row's: ``sum(x, axis=dim, keepdims=keepdim)``. ``numexpr`` is the text of one expression.

``domain`` says where the operator is defined and smooth, for one parameter or, as a dict, for each by name:
an interval such as ``(0, inf)`` or ``[-1, 1]``, or ``nonzero``; empty where that is everywhere.
``convention`` is torch's choice at a kink; a row with kinks and none leaves it to torch, and its rule need
not agree there.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vjpcalc.diagnostics import Diagnostic, count, unknown

# The kinds of an option, and how a message speaks of one.
KINDS = {
    "tensor": "a tensor",
    "tensors": "tensors",
    "constant": "a tensor (a constant)",
    "indices": "whole numbers",
    "target": "a tensor (whole numbers stay whole)",
    "axis": "a dimension",
    "newaxis": "a dimension",
    "axes": "a dimension or a tuple of dimensions",
    "flag": "True or False",
    "shape": "a shape",
    "int": "a whole number",
    "ints": "a whole number or a tuple of them",
    "number": "a number",
    "text": "a text",
    "dtype": "a dtype, such as torch.float64",
    "index": "an index",
    "any": "a value",
}

# Every dtype's name, and the one that it means: all whole numbers are int64.
DTYPES = {
    **dict.fromkeys(("float16", "half"), "float16"),
    **dict.fromkeys(("float32", "float"), "float32"),
    **dict.fromkeys(("float64", "double"), "float64"),
    **dict.fromkeys(("int64", "long", "int", "int8", "int16", "int32", "uint8"), "int64"),
    "bool": "bool",
}

# Kinds that hold tensors: their values become nodes of the graph. Constants and indices get no gradient.
TENSOR_KINDS = ("tensor", "tensors", "constant", "indices", "target")

# Second spellings that every row understands, since torch and NumPy disagree on them everywhere.
SPELLINGS = {
    "dim": ("axis",),
    "keepdim": ("keepdims",),
    "correction": ("ddof",),
    "x": ("input", "a", "self"),
    "a": ("input", "x", "x1", "self"),
    "b": ("other", "y", "x2"),
}

# What a row's ``complex`` says of the operator away from its kinks: whether a complex step may go through it.
COMPLEX = {
    "numexpr": "analytic; the complex kernels of NumPy and of numexpr are both exact",
    "numpy": "analytic; only NumPy's complex kernel is exact",
    "constant": "constant: its derivative is 0",
    "": "no exact complex kernel: differences are taken",
}

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    kind: str = "tensor"
    default: Any = REQUIRED
    variadic: bool = False
    spellings: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = ("*" if self.variadic else "") + self.name
        if self.kind not in ("tensor", "tensors"):
            text += f": {self.kind}"
        return text if self.default is REQUIRED else f"{text} = {self.default!r}"


@dataclass(frozen=True, slots=True)
class Call:
    """A call template: the dotted name of a function and which parameter goes where."""

    path: str
    arguments: tuple[tuple[str | None, str, bool], ...] | None = None  # (keyword, parameter, starred)
    field: str | None = None

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> Call:
        """Read ``name``, or ``name(x, *shape, axis=dim)``, or that with ``.field`` of the result after it."""
        matched = re.fullmatch(r"([\w.]+)(?:\((.*)\)(?:\.(\w+))?)?", text, re.DOTALL)
        assert matched, f"not a call template: {text!r}"
        path, inside, result = matched.groups()
        if inside is None:
            return cls(path)
        arguments = []
        for part in filter(None, (piece.strip() for piece in inside.split(","))):
            keyword, _, name = part.rpartition("=")
            arguments.append((keyword or None, name.lstrip("*"), name.startswith("*")))
        return cls(path, tuple(arguments), result)


@dataclass(frozen=True, slots=True)
class Operator:
    """A row of the table. Everything is data; see the head of this file for what each text means."""

    name: str
    parameters: tuple[Parameter, ...]
    kind: str
    family: str = ""
    aliases: tuple[str, ...] = ()
    infix: str | None = None
    torch: str = ""
    numpy: str = ""
    numexpr: str = ""
    complex: str = ""  # its complex kernel: see COMPLEX
    ref: str = ""
    vjp: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    count: str = ""  # how many results a row of kind "several" has, where they have no names
    part: str = ""  # and the program of result i
    domain: str | Mapping[str, str] = ""
    requires: Mapping[str, str] = field(
        default_factory=dict
    )  # condition on the arguments → what to say if it fails
    kinks: str = ""
    convention: str = ""
    note: str = ""
    formula: str = ""
    source: str = ""
    example: str = ""  # "tanh(x) x=0.5 -> x = 0.7864477": a command's arguments, and the gradients it prints
    samples: tuple[str, ...] = ()  # "sum(x, dim=1) | x(2,3)": calls for the tests, inputs from the domain
    accuracy: float = 0.0  # of torch's own derivative, relative, where it is worse than its dtype's; measured
    size: str = ""  # elements of the result, where it can be far larger than the inputs
    frozen: bool = False  # no gradient flows through: the result is a constant
    hidden: bool = False  # a part of another row: reached by that row, not by name
    function: Callable[..., Any] | None = None  # a user's own (--use): called as it is, by both engines

    def __str__(self) -> str:
        return self.signature

    @property
    def signature(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"

    @property
    def tensors(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.kind in TENSOR_KINDS)

    @property
    def options(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.kind not in TENSOR_KINDS)

    def arguments(self, engine: str, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments for the function that ``engine`` ("torch" or "numpy") calls."""
        call = Call.parse(getattr(self, engine) or self.name)
        if call.arguments is None:
            positional: list[Any] = []
            keywords = {}
            for parameter in self.parameters:
                value = values[parameter.name]
                if parameter.variadic:
                    positional.extend(value)
                elif parameter.kind in TENSOR_KINDS:
                    positional.append(value)
                elif value is not None:
                    keywords[parameter.name] = value
            return positional, keywords
        positional, keywords = [], {}
        for keyword, name, starred in call.arguments:
            value = values[name] if name in values else ast.literal_eval(name)
            if keyword is not None:
                if value is not None or keyword == "axis":
                    keywords[keyword] = value
            elif starred:
                positional.extend(value)
            else:
                positional.append(value)
        return positional, keywords


def parse_signature(text: str) -> tuple[str, tuple[Parameter, ...]]:
    """``"sum(x, dim|axis: axes = None)"`` → the operator's name and its parameters."""
    matched = re.fullmatch(r"(\w+)\((.*)\)", text.strip(), re.DOTALL)
    assert matched, f"not a signature: {text!r}"
    parameters = []
    for part in _split_commas(matched.group(2)):
        found = re.fullmatch(r"(\*?)(\w+)((?:\|\w+)*)\s*(?::\s*(\w+))?\s*(?:=\s*(.+))?", part.strip())
        assert found, f"not a parameter: {part!r} in {text!r}"
        star, name, others, kind, default = found.groups()
        kind = kind or ("tensors" if star else "tensor")
        assert kind in KINDS, f"unknown kind {kind!r} in {text!r}"
        spellings = tuple(filter(None, others.split("|"))) + SPELLINGS.get(name, ())
        value = REQUIRED if default is None else ast.literal_eval(default)
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


# ---- the registry ------------------------------------------------------------------------------------------

REGISTRY: dict[
    str, list[Operator]
] = {}  # every name and alias → the rows that bear it, in the order of the table
INFIX: dict[str, str] = {}  # the sign → the operator's name
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
    if operator.infix:
        INFIX[operator.infix] = operator.name
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
        found = tuple(_axis(operator, parameter, axis, ndim) for axis in axes)
        if len(set(found)) != len(found):
            raise Diagnostic(
                "value", f"{operator.name}: a dimension stands twice in {parameter.name}={value!r}"
            )
        return found
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
    found = f"a tensor of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
    return Diagnostic(
        "type",
        f"{operator.name}: '{parameter.name}' takes {KINDS[parameter.kind]}, not {found}",
        hint=_usage(operator),
    )


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


def numel(shape: Sequence[int]) -> int:
    """How many elements a tensor of this shape has (1 for ``()``)."""
    return math.prod(shape)
