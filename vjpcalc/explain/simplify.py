"""A rule of the operator table, simplified for one call of its operator.

A row's rule covers every case: ``g * where(b == 0, 0, b * a ** where(b == 0, 1, b - 1))``. For ``x ** 2``
that is ``g * (2 * a)``, which is what a reader expects to see. Options and shapes are known, so conditions
on them fall away; what a rule assigns on the way is put in where it is used. Nothing is evaluated that
holds a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from vjpcalc.diagnostics import Span
from vjpcalc.language.code import code
from vjpcalc.language.scope import parsed
from vjpcalc.language.tree import (
    Apply,
    Assign,
    Choice,
    Evaluate,
    Expression,
    For,
    If,
    Items,
    Literal,
    Logical,
    Member,
    Name,
    Slice,
    Statement,
)
from vjpcalc.language.values import SCALAR
from vjpcalc.operators.row import numel

LONGEST = 120  # characters: a longer result is no simplification
COMPUTED = {name: function for name, function in SCALAR.items() if name != "pow"}  # 3 ** -0.5 says more
NOWHERE = Span(0, 0)  # what is made here stands in no text


def simplified(rule: str, values: Mapping[str, Any]) -> str:
    """The rule as one expression over the names of tensors in ``values``, or as it is where that cannot be.

    ``values`` are bound arguments: anything with a ``shape`` is a tensor, everything else is known.
    """
    *statements, last = parsed(rule).statements
    if not isinstance(last, Evaluate):
        return rule
    simplifier = _Simplifier(values)
    try:
        simplifier.run(statements)
        text = code(simplifier.expression(last.value))
    except (_TooHardError, ArithmeticError, TypeError, ValueError, LookupError):
        return rule
    return text if len(text) <= max(LONGEST, len(rule)) else rule


class _TooHardError(Exception):
    pass


class _Simplifier:
    """``values`` are the arguments by name, ``assigned`` what the rule's own names stand for, simplified."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.assigned: dict[str, Expression] = {}

    # -- statements

    def run(self, statements: Iterable[Statement]) -> None:
        for statement in statements:
            match statement:
                case Assign((name,), value):
                    self.assigned[name] = self.expression(value)
                case If(condition, body, otherwise):
                    self.run(body if _value(self.expression(condition)) else otherwise)
                case For(name, bounds, body):
                    turns = range(*(_value(self.expression(bound)) for bound in bounds))
                    if len(turns) > LONGEST:
                        raise _TooHardError
                    for turn in turns:
                        self.assigned[name] = Literal(turn, NOWHERE)
                        self.run(body)
                case _:
                    raise _TooHardError

    # -- expressions

    def expression(self, expression: Expression) -> Expression:
        match expression:
            case Name(name):
                if name in self.assigned:
                    return self.assigned[name]
                is_known = name in self.values and not _holds_tensors(self.values[name])
                return _literal(self.values[name]) if is_known else expression
            case Choice(condition, yes, no):
                condition = self.expression(condition)
                if _is_known(condition):
                    return self.expression(yes if _value(condition) else no)
        expression = _rebuilt(expression, self.expression)
        match expression:
            case Member(base, "ndim" | "shape" as name):
                shape = self.shape(base)
                if shape is None:
                    raise _TooHardError
                return _literal(shape if name == "shape" else len(shape))
            case Logical(sign, items) if all(map(_is_known, items)):
                return _literal((all if sign == "and" else any)(map(_value, items)))
            case Apply(sign=str()):
                return self.signed(expression)
            case Apply(method=False):
                return self.called(expression)
        return expression

    def signed(self, call: Apply) -> Expression:
        """What is written with a sign, its operands simplified."""
        match call.function, call.arguments:
            case function, operands if function in COMPUTED and all(map(_is_known, operands)):
                return _literal(COMPUTED[function](*map(_value, operands)))
            case "not", (operand,) if _is_known(operand):
                return _literal(not _value(operand))
            case "eq" | "ne" as function, (Name(), Literal(None)):
                return _literal(function == "ne")  # a tensor is not None
            case "mul" | "div" | "pow", (left, right) if _is_one(right):
                return left
            case "mul", (left, right) if _is_one(left):
                return right
            case "matmul", (left, right):
                return self.product(call, left, right)
        return call

    def called(self, call: Apply) -> Expression:
        """A function's call or an index, its arguments simplified."""
        match call.function, call.arguments:
            case "getitem", (items, index) if _is_known(items) and _is_known(index):
                return _literal(_value(items)[_value(index)])
            case "where", (condition, yes, no) if _is_known(condition):
                return yes if _value(condition) else no
            case "max" | "min" as function, (_, _, *_) as numbers if all(map(_is_known, numbers)):
                return _literal(SCALAR[function](*map(_value, numbers)))
            case "len", (Items(items, False),):
                return _literal(len(items))
            case "numel", (x,) if (shape := self.shape(x)) is not None:
                return _literal(numel(shape))
            case "restore", (g, Name() as x, dim, keepdim):
                return self.restored(g, x, _value(dim), _value(keepdim))
            case "squeeze", (Apply("matmul", (left, right)) as product, Literal(-1)):
                if (column := self.vector(right, "column")) is not None:
                    return replace(product, arguments=(left, column))
                column, number = self.vector(left, "column"), self.number(right)
                if column is not None and number is not None:
                    return _made("mul", column, number, sign="*")
        return call

    def restored(self, g: Expression, x: Name, dim: Any, keepdim: bool) -> Expression:
        """``restore(g, x, dim, keepdim)``: g with the dimensions put back that a reduction took away."""
        ndim = self.ndim(x)
        if keepdim or dim is None or ndim == 0 or len(dim) == ndim:
            return g  # the rest is broadcasting
        for axis in sorted(dim):
            g = _made("unsqueeze", g, _literal(axis))
        return g

    # -- tensors

    def shape(self, expression: Expression) -> tuple[int, ...] | None:
        """The shape of a tensor that stands there by its name, else None."""
        value = self.values.get(expression.name) if isinstance(expression, Name) else None
        return getattr(value, "shape", None)

    def ndim(self, expression: Expression) -> int | None:
        """How many dimensions such a tensor, or its transpose, has."""
        match expression:
            case Member(base, "mT"):
                return self.ndim(base)
        shape = self.shape(expression)
        return None if shape is None else len(shape)

    def product(self, call: Apply, left: Expression, right: Expression) -> Expression:
        """``left @ right`` without the dimensions of size 1 that made matrices of vectors and numbers."""
        column, row = self.vector(left, "column"), self.vector(right, "row")
        if column is not None and row is not None:
            return _made("outer", column, row)
        number, left_row = self.number(left), self.vector(left, "row")
        if left_row is not None and self.ndim(right) == 2:
            return replace(call, arguments=(left_row, right))
        if number is not None and row is not None:
            return _made("mul", number, row, sign="*")
        return call

    def vector(self, expression: Expression, side: str) -> Expression | None:
        """x, where a vector x stands as a column (``unsqueeze(x, -1)``, ``unsqueeze(x, -2).mT``) or a row."""
        match expression:
            case Member(base, "mT"):
                return self.vector(base, "row" if side == "column" else "column")
            case Apply("unsqueeze", (Name() as x, Literal(dim))) if self.ndim(x) == 1:
                return x if dim == (-1 if side == "column" else -2) else None
        return None

    def number(self, expression: Expression) -> Expression | None:
        """g, where a number g stands there as a matrix: ``unsqueeze(unsqueeze(g, -1), -2)``."""
        match expression:
            case Apply("unsqueeze", (Apply("unsqueeze", (g, _)), _)) if self.ndim(g) == 0:
                return g
        return None


def _rebuilt(expression: Expression, change: Callable[[Any], Any]) -> Expression:
    """The expression with a change made to each of its direct parts."""
    match expression:
        case Items(items) | Logical(_, items):
            return replace(expression, items=tuple(map(change, items)))
        case Slice(start, stop, step):
            start, stop, step = (None if part is None else change(part) for part in (start, stop, step))
            return replace(expression, start=start, stop=stop, step=step)
        case Apply(_, arguments, keywords):
            return replace(
                expression,
                arguments=tuple(map(change, arguments)),
                keywords=tuple((key, change(value)) for key, value in keywords),
            )
        case Member(base):
            return replace(expression, base=change(base))
        case Choice(condition, yes, no):
            return replace(expression, condition=change(condition), yes=change(yes), no=change(no))
    return expression


def _made(function: str, *arguments: Expression, sign: str | None = None) -> Apply:
    return Apply(function, arguments, (), NOWHERE, sign)


def _literal(value: Any) -> Expression:
    if isinstance(value, tuple | list):
        return Items(tuple(map(_literal, value)), False, NOWHERE)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return Literal(int(value), NOWHERE)
    if value is Ellipsis or value is None or isinstance(value, bool | int | float | str):
        return Literal(value, NOWHERE)
    raise _TooHardError


def _is_known(expression: Expression) -> bool:
    match expression:
        case Items(items, False):
            return all(map(_is_known, items))
    return isinstance(expression, Literal)


def _value(expression: Expression) -> Any:
    match expression:
        case Literal(value):
            return value
        case Items(items, False):
            return tuple(map(_value, items))
    raise _TooHardError


def _is_one(expression: Expression) -> bool:
    match expression:
        case Literal(int() | float() as value):
            return value == 1 and value is not True
    return False


def _holds_tensors(value: Any) -> bool:
    return hasattr(value, "shape") or (isinstance(value, tuple | list) and any(map(_holds_tensors, value)))
