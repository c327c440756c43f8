"""Python values in a program: numbers, nested lists, shapes. They need no tensor and no engine."""

from __future__ import annotations

import math
import operator as python
from collections.abc import Callable, Sequence
from typing import Any

from vjpcalc.diagnostics import Diagnostic, Span
from vjpcalc.language.syntax import MAX_BITS
from vjpcalc.operators.row import Operator

CONSTANTS: dict[str, Any] = {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan, "newaxis": None}


def _power(a: Any, b: Any) -> Any:
    is_whole = isinstance(a, int) and isinstance(b, int)
    if is_whole and b > 0 and abs(a) > 1 and a.bit_length() * b > 2 * MAX_BITS:
        raise OverflowError
    return a**b


# What signs do to two Python numbers: no tensor, no engine.
SCALAR: dict[str, Callable[..., Any]] = {
    "add": python.add,
    "sub": python.sub,
    "mul": python.mul,
    "div": python.truediv,
    "floor_divide": python.floordiv,
    "remainder": python.mod,
    "pow": _power,
    "neg": python.neg,
    "positive": python.pos,
    "lt": python.lt,
    "le": python.le,
    "gt": python.gt,
    "ge": python.ge,
    "eq": python.eq,
    "ne": python.ne,
    "logical_and": python.and_,
    "logical_or": python.or_,
    "logical_xor": python.xor,
    "abs": abs,
    "min": min,
    "max": max,
}


def is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def list_shape(value: Any, span: Span | None = None) -> tuple[int, ...]:
    """The shape of a nested list of numbers. Raises Diagnostic where it is ragged or holds anything else."""
    if is_number(value):
        return ()
    if not isinstance(value, list | tuple):
        raise Diagnostic("type", f"a list of numbers holds {value!r}", span=span)
    shapes = [list_shape(item, span) for item in value]
    for position, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise Diagnostic(
                "value",
                f"a ragged list: item 0 has shape {shapes[0]}, item {position} has shape {shape}",
                span=span,
                hint="all rows of a tensor have one length",
            )
    return (len(value), *(shapes[0] if shapes else ()))


def broadcast(shapes: Sequence[Sequence[int]], operator: Operator) -> tuple[int, ...]:
    """The common shape of elementwise operands. Raises Diagnostic (shape) where there is none."""
    result: list[int] = [1] * max(map(len, shapes))
    for shape in shapes:
        for position, size in enumerate(reversed(shape), 1):
            if size != 1:
                if result[-position] not in (1, size):
                    both = " and ".join(str(tuple(s)) for s in shapes)
                    raise Diagnostic(
                        "shape",
                        f"{spoken(operator)}: the shapes {both} do not broadcast",
                        hint="sizes are compared from the right: each pair must be equal, or one of them 1",
                    )
                result[-position] = size
    return tuple(result)


def spoken(operator: Operator) -> str:
    """An operator in a message: ``'@' (matmul)``, ``softmax``, ``the index``."""
    if operator.name == "getitem":
        return "the index"
    return f"'{operator.infix}' ({operator.name})" if operator.infix else operator.name
