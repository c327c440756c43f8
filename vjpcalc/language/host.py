"""What the interpreter answers itself, by name: it concerns shapes and Python values, not elements.

``walk`` is the interpreter, ``span`` the place of the call; the other parameters are the call's arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from vjpcalc.diagnostics import Diagnostic, Span
from vjpcalc.language.trace import Node
from vjpcalc.language.values import is_number
from vjpcalc.operators.row import numel


class Walk(Protocol):
    """What is asked of the interpreter here."""

    def tensor(self, value: Any, span: Span | None) -> Node: ...

    def call(self, name: str, positional: list[Any], keywords: dict[str, Any], span: Span | None) -> Any: ...

    def decide(self, node: Node, span: Span) -> Any: ...


def _numel(walk: Walk, span: Span, x: Any) -> int:
    return numel(walk.tensor(x, span).shape)


def _size(walk: Walk, span: Span, x: Any, dim: int | None = None) -> Any:
    shape = walk.tensor(x, span).shape
    if dim is None:
        return shape
    if not isinstance(dim, int) or not -len(shape) <= dim < len(shape):
        raise Diagnostic("value", f"size: dimension {dim} is out of range for the shape {shape}")
    return shape[dim]


def _ndim(walk: Walk, span: Span, x: Any) -> int:
    return len(walk.tensor(x, span).shape)


def _len(walk: Walk, span: Span, x: Any) -> int:
    if isinstance(x, Node):
        if not x.shape:
            raise Diagnostic("type", "a tensor without dimensions has no length")
        return x.shape[0]
    if isinstance(x, list | tuple):
        return len(x)
    raise Diagnostic("type", "only a tensor or a list has a length")


def _item(walk: Walk, span: Span, x: Any) -> Any:
    node = walk.tensor(x, span)
    if numel(node.shape) != 1:
        raise Diagnostic("type", f"item needs one element, and this has {numel(node.shape)}")
    return walk.decide(node, span)


def _int(walk: Walk, span: Span, x: Any) -> int:
    value = x if is_number(x) else _item(walk, span, x)
    if isinstance(value, float) and not math.isfinite(value):
        raise Diagnostic("value", f"int: {value} has no whole number")
    return int(value)


def _float(walk: Walk, span: Span, x: Any) -> Any:
    """``float('-inf')``, as attention masks are written; of a tensor it is the cast."""
    if not isinstance(x, str | int | float):
        return walk.call("float", [x], {}, span)
    try:
        return float(x)
    except ValueError:
        raise Diagnostic("value", f"float: {x!r} is no number") from None


def _linalg_norm(
    walk: Walk,
    span: Span,
    x: Any,
    ord: Any = None,
    dim: Any = None,
    keepdim: Any = False,
    axis: Any = None,
    keepdims: Any = False,
) -> Any:
    """``linalg.norm``: of a matrix, where ``ord`` says so; ``norm`` takes all elements as one vector."""
    node, dim, keepdim = walk.tensor(x, span), axis if dim is None else dim, keepdim or keepdims
    size = len(node.shape) if dim is None else len(dim) if isinstance(dim, tuple | list) else 1
    if ord is None or size == 1:
        return walk.call("vector_norm", [node, 2 if ord is None else ord, dim, keepdim], {}, span)
    if size != 2:
        raise Diagnostic("value", f"linalg.norm: with ord, x has 1 or 2 dimensions, not {size}",
                         hint="dim says which one or two are meant")  # fmt: skip
    return walk.call("matrix_norm", [node, ord, (-2, -1) if dim is None else tuple(dim), keepdim], {}, span)


HOST: dict[str, Callable[..., Any]] = {
    "linalg_norm": _linalg_norm,
    "numel": _numel,
    "size": _size,
    "dim": _ndim,
    "ndim": _ndim,
    "len": _len,
    "item": _item,
    "int": _int,
    "float": _float,
}
METHODS_ONLY = frozenset({"item", "dim", "ndim"})
METHODS = frozenset(HOST)
