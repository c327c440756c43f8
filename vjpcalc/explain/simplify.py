"""A rule of the operator table, simplified for one call of its operator.

A row's rule covers every case: ``g * where(b == 0, 0, b * a ** where(b == 0, 1, b - 1))``. For ``x ** 2``
that is ``g * (2 * a)``, which is what a reader expects to see. Options and shapes are known, so conditions
on them fall away; what a rule assigns on the way is put in where it is used. Nothing is evaluated that
holds a tensor.
"""

from __future__ import annotations

import ast
import copy
import operator as python
from collections.abc import Callable, Mapping
from typing import Any

from vjpcalc.operators.row import numel

LONGEST = 120  # characters: a longer result is no simplification
BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: python.add, ast.Sub: python.sub, ast.Mult: python.mul, ast.Div: python.truediv,
    ast.FloorDiv: python.floordiv, ast.Mod: python.mod,
}  # fmt: skip
COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: python.eq, ast.NotEq: python.ne, ast.Lt: python.lt, ast.LtE: python.le, ast.Gt: python.gt,
    ast.GtE: python.ge,
}  # fmt: skip


def simplified(rule: str, values: Mapping[str, Any]) -> str:
    """The rule as one expression over the names of tensors in ``values``, or as it is where that cannot be.

    ``values`` are bound arguments: anything with a ``shape`` is a tensor, everything else is known.
    """
    try:
        names: dict[str, ast.expr] = {}
        statements = ast.parse(rule).body
        for statement in statements[:-1]:
            _assign(statement, values, names)
        last = statements[-1]
        if not isinstance(last, ast.Expr):
            return rule
        text = ast.unparse(ast.fix_missing_locations(_Simplifier(values, names).visit(last.value)))
    except (_TooHardError, ArithmeticError, TypeError, ValueError, LookupError):
        return rule
    return text if len(text) <= max(LONGEST, len(rule)) else rule


class _TooHardError(Exception):
    pass


def _assign(statement: ast.stmt, values: Mapping[str, Any], names: dict[str, ast.expr]) -> None:
    simplifier = _Simplifier(values, names)
    match statement:
        case ast.Assign(targets=[ast.Name(name)], value=value):
            names[name] = simplifier.visit(copy.deepcopy(value))
        case ast.If(test, body, orelse):
            known = simplifier.visit(copy.deepcopy(test))
            if not _known(known):
                raise _TooHardError
            for inner in body if _value(known) else orelse:
                _assign(inner, values, names)
        case ast.AugAssign(target=ast.Name(name), op=op, value=value):
            names[name] = simplifier.visit(ast.BinOp(ast.Name(name, ast.Load()), op, copy.deepcopy(value)))
        case ast.For(target=ast.Name(name), iter=ast.Call(func=ast.Name("range"), args=bounds), body=body):
            known_bounds = [simplifier.visit(copy.deepcopy(bound)) for bound in bounds]
            if (
                not all(map(_known, known_bounds))
                or len(turns := range(*map(_value, known_bounds))) > LONGEST
            ):
                raise _TooHardError
            for turn in turns:
                names[name] = ast.Constant(turn)
                for inner in body:
                    _assign(inner, values, names)
        case _:
            raise _TooHardError


class _Simplifier(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, Any], names: Mapping[str, ast.expr]) -> None:
        self.values, self.names = values, names

    def of(self, name: ast.Name) -> Any:
        return self.values.get(name.id)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.names:
            return copy.deepcopy(self.names[node.id])
        if node.id in self.values and not _holds_tensors(self.values[node.id]):
            return _constant(self.values[node.id])
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        base = self.visit(node.value)
        if isinstance(base, ast.Name) and hasattr(value := self.of(base), "shape"):
            if node.attr == "ndim":
                return ast.Constant(len(value.shape))
            if node.attr == "shape":
                return _constant(tuple(value.shape))
        if node.attr == "ndim" or node.attr == "shape":
            raise _TooHardError
        return ast.Attribute(base, node.attr, ast.Load())

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        test = self.visit(node.test)
        if _known(test):
            return self.visit(node.body if _value(test) else node.orelse)
        return ast.IfExp(test, self.visit(node.body), self.visit(node.orelse))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        left, right = self.visit(node.left), [self.visit(item) for item in node.comparators]
        if len(right) == 1 and _known(left) and _known(right[0]) and type(node.ops[0]) in COMPARE:
            return ast.Constant(bool(COMPARE[type(node.ops[0])](_value(left), _value(right[0]))))
        if len(right) == 1 and isinstance(left, ast.Name) and _known(right[0]) and _value(right[0]) is None:
            return ast.Constant(isinstance(node.ops[0], ast.NotEq))  # a tensor is not None
        return ast.Compare(left, node.ops, right)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        base, index = self.visit(node.value), self.visit(node.slice)
        if isinstance(base, ast.Tuple) and _known(base) and _known(index):
            return _constant(_value(base)[_value(index)])
        return ast.Subscript(base, index, ast.Load())

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        parts = [self.visit(value) for value in node.values]
        if all(map(_known, parts)):
            every = [bool(_value(part)) for part in parts]
            return ast.Constant(all(every) if isinstance(node.op, ast.And) else any(every))
        return ast.BoolOp(node.op, parts)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        if _known(operand) and isinstance(node.op, ast.Not):
            return ast.Constant(not _value(operand))
        if _known(operand) and isinstance(node.op, ast.USub) and isinstance(_value(operand), int | float):
            return _constant(-_value(operand))
        return ast.UnaryOp(node.op, operand)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        known_left, known_right = _known(left), _known(right)
        if isinstance(node.op, ast.BitAnd | ast.BitOr) and (known_left or known_right):
            return self._mask(node.op, left, right)
        if known_left and known_right and type(node.op) in BINARY:
            return _constant(BINARY[type(node.op)](_value(left), _value(right)))
        if known_right and isinstance(node.op, ast.Mult | ast.Div | ast.Pow) and _is_one(right):
            return left
        if known_left and isinstance(node.op, ast.Mult) and _is_one(left):
            return right
        if isinstance(node.op, ast.MatMult):
            return self._product(left, right)
        return ast.BinOp(left, node.op, right)

    def _product(self, left: ast.expr, right: ast.expr) -> ast.expr:
        """``left @ right``, an outer product where a column meets a row that were made of vectors."""
        a, b = self._vector(left, column=True), self._vector(right, column=False)
        if a is not None and b is not None:
            return ast.Call(ast.Name("outer", ast.Load()), [a, b], [])
        row, scalar = self._vector(left, column=False), self._scalar(left)
        if row is not None and self._ndim(right) == 2:
            return ast.BinOp(row, ast.MatMult(), right)
        if scalar is not None and b is not None:
            return ast.BinOp(scalar, ast.Mult(), b)
        return ast.BinOp(left, ast.MatMult(), right)

    def _ndim(self, node: ast.expr) -> int | None:
        if isinstance(node, ast.Attribute) and node.attr == "mT":
            node = node.value
        shape = getattr(self.of(node), "shape", None) if isinstance(node, ast.Name) else None
        return None if shape is None else len(shape)

    def _scalar(self, node: ast.expr) -> ast.expr | None:
        """g, where ``node`` is a number as a matrix: ``unsqueeze(unsqueeze(g, -1), -2)``."""
        match node:
            case ast.Call(
                func=ast.Name("unsqueeze"), args=[ast.Call(func=ast.Name("unsqueeze"), args=[g, _]), _]
            ):
                return g if self._ndim(g) == 0 else None
        return None

    def _vector(self, node: ast.expr, *, column: bool) -> ast.expr | None:
        """x, where ``node`` is a vector x as a column (as a row): ``unsqueeze(x, -1)``, ``unsqueeze(x,
        -2).mT``.
        """
        if isinstance(node, ast.Attribute) and node.attr == "mT":
            return self._vector(node.value, column=not column)
        match node:
            case ast.Call(func=ast.Name("unsqueeze"), args=[ast.Name() as x, dim]):
                if (
                    ast.unparse(dim) == ("-1" if column else "-2")
                    and len(getattr(self.of(x), "shape", ())) == 1
                ):
                    return x
        return None

    def _mask(self, op: ast.operator, left: ast.expr, right: ast.expr) -> ast.expr:
        known, other = (left, right) if _known(left) else (right, left)
        decides = bool(_value(known)) == isinstance(op, ast.BitOr)
        return ast.Constant(_value(known)) if decides else other

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        arguments = [self.visit(argument) for argument in node.args]
        if name == "where" and len(arguments) == 3 and _known(arguments[0]):
            return arguments[1] if _value(arguments[0]) else arguments[2]
        if name in ("max", "min") and len(arguments) > 1 and all(map(_known, arguments)):
            return _constant((max if name == "max" else min)(map(_value, arguments)))
        if name in ("numel", "len") and len(arguments) == 1 and isinstance(arguments[0], ast.Name):
            value = self.of(arguments[0])
            if name == "len" and isinstance(value, tuple):
                return ast.Constant(len(value))
            if name == "numel" and hasattr(value, "shape"):
                return ast.Constant(numel(value.shape))
        if name == "len" and len(arguments) == 1 and isinstance(arguments[0], ast.Tuple):
            return ast.Constant(len(arguments[0].elts))
        if name == "squeeze" and len(arguments) == 2 and ast.unparse(arguments[1]) == "-1":
            match arguments[0]:
                case ast.BinOp(left=matrix, op=ast.MatMult(), right=right):
                    if (x := self._vector(right, column=True)) is not None:
                        return ast.BinOp(matrix, ast.MatMult(), x)
                    vector, scalar = self._vector(matrix, column=True), self._scalar(right)
                    if vector is not None and scalar is not None:
                        return ast.BinOp(vector, ast.Mult(), scalar)
        if name == "restore" and len(arguments) == 4 and isinstance(arguments[1], ast.Name):
            return self._restored(arguments)
        function = node.func if isinstance(node.func, ast.Name) else self.visit(node.func)
        keywords = [ast.keyword(keyword.arg, self.visit(keyword.value)) for keyword in node.keywords]
        return ast.Call(function, arguments, keywords)

    def _restored(self, arguments: list[ast.expr]) -> ast.expr:
        """``restore(g, x, dim, keepdim)``: g, with the dimensions that a reduction took away put back with
        size 1.
        """
        g, x, dim, keepdim = arguments
        assert isinstance(x, ast.Name)
        if not (_known(dim) and _known(keepdim)):
            raise _TooHardError
        ndim, axes = len(self.values[x.id].shape), _value(dim)
        if _value(keepdim) or axes is None or ndim == 0 or len(axes) == ndim:
            return g  # the rest is broadcasting
        for axis in sorted(axes):
            g = ast.Call(ast.Name("unsqueeze", ast.Load()), [g, ast.Constant(axis)], [])
        return g


def _holds_tensors(value: Any) -> bool:
    return hasattr(value, "shape") or (isinstance(value, tuple | list) and any(map(_holds_tensors, value)))


def _constant(value: Any) -> ast.expr:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))  # so that a power of it gets its brackets
    if value is Ellipsis or value is None or isinstance(value, bool | int | float | str):
        return ast.Constant(value)
    if isinstance(value, tuple | list):
        return ast.Tuple([_constant(item) for item in value], ast.Load())
    raise _TooHardError


def _known(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return isinstance(node.operand, ast.Constant)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Tuple) and all(map(_known, node.elts)))


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand)
    assert isinstance(node, ast.Constant)
    return node.value


def _is_one(node: ast.expr) -> bool:
    value = _value(node)
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 1
