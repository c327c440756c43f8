"""Walks the statements and expressions of a Program on the engine it is handed; what it leaves is the Trace.

Loops and branches leave a straight list of operators behind. Conditions that read a tensor are kept too, as
Decisions. How an operator is applied stands in ``scope.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vjpcalc.diagnostics import Diagnostic, Span, count, unknown
from vjpcalc.language import syntax, tree
from vjpcalc.language.host import HOST, METHODS, METHODS_ONLY
from vjpcalc.language.scope import Scope, parsed
from vjpcalc.language.trace import Fields, Node, Trace
from vjpcalc.language.values import CONSTANTS, SCALAR, is_number
from vjpcalc.limits import Limits
from vjpcalc.operators import registry
from vjpcalc.operators.row import DTYPES, Operator, numel

if TYPE_CHECKING:
    from vjpcalc.language.engine import Engine

# Prefixes that an expression pasted from PyTorch, NumPy or JAX code may carry: accepted and dropped.
PREFIXES = frozenset(
    """
    torch linalg torch.linalg torch.special torch.nn torch.nn.functional torch.fft torch.Tensor F nn
    nn.functional np np.linalg numpy numpy.linalg jnp jnp.linalg jax jax.numpy jax.nn jax.lax
    scipy.special special math
    """.split()  # noqa: SIM905 (it reads better)
)

# Signs that take masks only: in Python they are bitwise, and what people mean by them differs.
MASK_SIGNS = ("&", "|", "^", "~")


class _Break(Exception):  # noqa: N818 (a jump, not an error)
    pass


class _Continue(Exception):  # noqa: N818
    pass


def run(
    program: tree.Program,
    engine: Engine,
    inputs: Mapping[str, Any],
    *,
    outputs: Sequence[str] = (),
    limits: Limits | None = None,
    use: Mapping[str, Operator] | None = None,
) -> Trace:
    """Run a program on an engine. ``inputs`` are arrays of that engine by name; ``use`` adds operators.

    ``outputs`` names the outputs (default: the program's last statement). Raises Diagnostic with the span at
    fault.
    """
    trace = Trace(program.source)
    walk = Interpreter(engine, trace, program.source, limits or Limits(), use or {})
    for name, value in inputs.items():
        trace.inputs[name] = walk.names[name] = walk.input(value, name=name)
    result = walk.run(program.statements)
    for name in outputs or (program.output,):
        if name == "out" == program.output:
            value, span = result, program.statements[-1].span
        elif name in program.assigned and name in walk.names:
            value, span = walk.names[name], None
        else:
            hint = "--output takes a name that the program assigns"
            raise unknown("name", f"the program assigns no '{name}'", name, program.assigned, hint)
        trace.outputs[name] = walk.tensor(value, span)
    trace.names = dict(walk.names)
    return trace


def evaluate(
    text: str, engine: Engine, names: Mapping[str, Any], use: Mapping[str, Operator] | None = None
) -> Any:
    """A row's text (a VJP rule, say) on arrays of the engine: the resulting array, or tuple of arrays.

    ``names`` maps names to arrays (anything with a ``shape``) and options.
    """
    program = parsed(text)
    walk = Interpreter(engine, Trace(program.source), program.source, Limits(), use or {}, hidden=True)
    for name, value in names.items():
        walk.names[name] = walk.wrap(value)
    result = walk.run(program.statements)
    if isinstance(result, tuple):
        return tuple(walk.tensor(item, None).value for item in result)
    return walk.tensor(result, None).value


class Interpreter(Scope):
    """Walks the statements and expressions of a Program."""

    # -- statements

    def run(self, statements: Sequence[tree.Statement]) -> Any:
        """Run a block; the value of its last statement where that is an expression or an assignment."""
        result = None
        for statement in statements:
            try:
                result = self.statement(statement)
            except Diagnostic as diagnostic:
                raise diagnostic.at(statement.span, self.source) from None
            except RecursionError:
                raise Diagnostic(
                    "limit", "nested too deeply", span=statement.span, source=self.source
                ) from None
        return result

    def statement(self, statement: tree.Statement) -> Any:
        self.step(statement.span)
        match statement:
            case tree.Evaluate(value):
                return self.expression(value)
            case tree.Assign(names, value, span):
                return self.assign(names, self.expression(value), span)
            case tree.If(condition, body, otherwise):
                return self.run(body if self.truth(condition) else otherwise)
            case tree.While(condition, body):
                self.loop(body, self.while_true(condition))
            case tree.For(name, bounds, body, span):
                self.loop(body, self.count_through(name, [self.expression(b) for b in bounds], span))
            case tree.Jump("break"):
                raise _Break
            case tree.Jump("continue"):
                raise _Continue
        return None

    def assign(self, names: tuple[str, ...], value: Any, span: Span) -> Any:
        if len(names) == 1:
            values: list[Any] = [value]
        elif isinstance(value, Fields):
            values = list(value.items.values())
        elif isinstance(value, tuple | list):
            values = list(value)
        elif isinstance(value, Node) and value.shape:
            values = [
                self.call("getitem", [value, i], {}, span) for i in range(min(value.shape[0], len(names) + 1))
            ]
        else:
            values = []
        if len(values) != len(names):
            raise Diagnostic(
                "type", f"{len(names)} names cannot take {count(len(values), 'value')} apart", span=span
            )
        for name, item in zip(names, values, strict=True):
            self.names[name] = item
            if isinstance(item, Node) and not self.hidden:
                self.trace.labels.setdefault(item.index, name)
        return value

    def loop(self, body: Sequence[tree.Statement], turns: Iterator[None]) -> None:
        self.iterations.append(0)
        try:
            for _ in turns:
                self.iterations[-1] += 1
                try:
                    self.run(body)
                except _Continue:
                    continue
                except _Break:
                    break
        finally:
            self.iterations.pop()

    def while_true(self, condition: tree.Expression) -> Iterator[None]:
        while True:
            self.step(condition.span)
            try:
                goes_on = self.truth(condition)
            except Diagnostic as diagnostic:
                raise diagnostic.at(condition.span, self.source) from None
            if not goes_on:
                return
            yield

    def count_through(self, name: str, bounds: list[Any], span: Span) -> Iterator[None]:
        if not all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds):
            raise Diagnostic(
                "type", "range takes whole numbers", span=span, hint="for i in range(x.shape[0]):"
            )
        if len(bounds) == 3 and bounds[2] == 0:
            raise Diagnostic("value", "range: the step is 0", span=span)
        for number in range(*bounds):
            self.step(span)
            self.names[name] = number
            yield

    # -- expressions

    def expression(self, expression: tree.Expression) -> Any:
        try:
            return self._expression(expression)
        except Diagnostic as diagnostic:
            raise diagnostic.at(expression.span, self.source) from None

    def _expression(self, expression: tree.Expression) -> Any:
        match expression:
            case tree.Literal(value):
                return value
            case tree.Name(name):
                return self.lookup(name)
            case tree.Items(items, is_list):
                values = [self.expression(item) for item in items]
                return values if is_list else tuple(values)
            case tree.Apply():
                return self.apply(expression)
            case tree.Member(base, name):
                return self.member(expression, base, name)
            case tree.Logical(sign, items):
                return self.logical(sign, items)
            case tree.Choice(condition, yes, no):
                return self.expression(yes if self.truth(condition) else no)
            case tree.Slice(start, stop, step):
                return slice(*(None if part is None else self.whole(part) for part in (start, stop, step)))
        raise AssertionError(expression)

    def lookup(self, name: str) -> Any:
        if name in self.names:
            return self.names[name]
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in self.use or registry.lookup(name):
            raise Diagnostic("name", f"'{name}' is an operator: call it, {name}(…)")
        hint = f"give it one: {name}='[1, 2, 3]'"
        raise unknown("name", f"'{name}' has no value", name, [*self.names, *CONSTANTS], hint)

    def whole(self, expression: tree.Expression) -> int:
        value = self.expression(expression)
        if isinstance(value, Node) and numel(value.shape) == 1:
            value = self.decide(value, expression.span)
        if isinstance(value, int):
            return int(value)
        raise Diagnostic("type", "a slice is made of whole numbers", span=expression.span)

    def truth(self, expression: tree.Expression) -> bool:
        return self.truth_of(self.expression(expression), expression.span)

    def truth_of(self, value: Any, span: Span) -> bool:
        if isinstance(value, Node):
            if numel(value.shape) != 1:
                raise Diagnostic(
                    "type",
                    f"a condition needs one value, and this has {count(numel(value.shape), 'element')}",
                    span=span,
                    hint="reduce it with any(…) or all(…), or choose elementwise with where(condition, a, b)",
                )
            return bool(self.decide(value, span))
        if isinstance(value, Fields):
            raise Diagnostic("type", f"a condition needs one value, not {value!r}", span=span)
        return bool(value)

    def logical(self, sign: str, items: Sequence[tree.Expression]) -> Any:
        value: Any = None
        for item in items:
            value = self.expression(item)
            if self.truth_of(value, item.span) == (sign == "or"):
                return value
        return value

    def dotted(self, expression: tree.Expression) -> str | None:
        """``torch.linalg`` for a chain of names whose first is no tensor of the program, else None."""
        if isinstance(expression, tree.Name):
            return None if expression.name in self.names else expression.name
        if isinstance(expression, tree.Member):
            base = self.dotted(expression.base)
            return base and f"{base}.{expression.name}"
        return None

    def member(self, expression: tree.Member, base: tree.Expression, name: str) -> Any:
        prefix = self.dotted(base)
        if prefix in PREFIXES:
            return name if name in DTYPES else self.lookup(name)
        value = self.expression(base)
        if isinstance(value, Fields) and name in value.items:
            return value.items[name]
        if isinstance(value, Node | list):
            if name == "shape":
                return self.tensor(value, expression.span).shape
            if name == "ndim":
                return len(self.tensor(value, expression.span).shape)
            if name in ("data", "T", "mT", "H", "mH"):
                return self.call("detach" if name == "data" else name, [value], {}, expression.span)
        known = list(value.items) if isinstance(value, Fields) else ["T", "mT", "shape", "ndim", "data"]
        hint = (
            f"call it: .{name}(…)"
            if registry.lookup(name) or name in METHODS
            else "known are ." + " .".join(known)
        )
        raise unknown("type", f"there is no '.{name}' here", name, known, hint)

    def apply(self, expression: tree.Apply) -> Any:
        name, arguments = expression.function, expression.arguments
        if name == "not":
            return not self.truth(arguments[0])
        method = expression.method
        if method and (prefix := self.dotted(arguments[0])) in PREFIXES:
            arguments, method = arguments[1:], False
            qualified = f"{str(prefix).rpartition('.')[2]}_{name}"
            name = qualified if qualified in HOST else name
        positional = [self.expression(argument) for argument in arguments]
        keywords = {key: self.expression(value) for key, value in expression.keywords}
        if method and not isinstance(positional[0], Node | list | int | float):
            raise Diagnostic("type", f"'.{name}()' is a method of tensors, and this is {positional[0]!r}")
        if name in HOST and (method or name not in METHODS_ONLY):
            return self.host(name, expression.span, positional, keywords)
        if expression.sign or name in SCALAR:
            enough = len(positional) > 1 or name not in ("min", "max")
            if positional and enough and all(map(is_number, positional)) and name in SCALAR and not keywords:
                return self.scalar(name, positional, expression)
            tensors = any(isinstance(p, Node | list) for p in positional)
            if name in ("eq", "ne") and (None in positional or not tensors):
                return SCALAR[name](*positional)
        if expression.sign in MASK_SIGNS:
            self.need_masks(expression.sign, positional)
        if name == "getitem" and name not in self.use and len(positional) == 2 and not keywords:
            return self.subscript(positional[0], positional[1], expression.span)
        return self.call(
            name, positional, keywords, expression.span, expression, "method" if method else "function"
        )

    def host(self, name: str, span: Span, positional: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        signature = inspect.signature(HOST[name])
        try:
            bound = signature.bind(self, span, *positional, **keywords)
        except TypeError as error:
            own = list(signature.parameters.values())[2:]
            shown = ", ".join(str(p.replace(annotation=p.empty)) for p in own)
            called = name.replace("linalg_", "linalg.")
            hint = f"its signature is {called}({shown})"
            raise Diagnostic("type", f"{called}: {error}", hint=hint) from None
        return HOST[name](*bound.args, **bound.kwargs)

    def need_masks(self, sign: str, operands: Sequence[Any]) -> None:
        for operand in operands:
            value = self.tensor(operand, None)
            if not self.engine.is_mask(value.value):
                hint = "a power is written with '**'" if sign == "^" else "compare first: (x > 0) & (x < 1)"
                raise Diagnostic("type", f"'{sign}' joins masks, not numbers", hint=hint)

    def scalar(self, name: str, operands: list[Any], expression: tree.Apply) -> Any:
        try:
            value = SCALAR[name](*operands)
        except ZeroDivisionError:
            raise Diagnostic("value", "division of a number by zero") from None
        except OverflowError:
            if any(isinstance(operand, float) for operand in operands):
                raise Diagnostic("limit", "a number too large for a float") from None
            raise Diagnostic(
                "limit", f"a number larger than {syntax.MAX_BITS} bits", hint="write it as a float: 1e30"
            ) from None
        except TypeError:
            if expression.sign not in MASK_SIGNS:  # the operator's row knows what it takes
                return self.call(name, operands, {}, expression.span, expression)
            raise Diagnostic(
                "type", f"'{expression.sign}' joins masks, not numbers", hint="a power is written with '**'"
            ) from None
        if isinstance(value, complex):
            raise Diagnostic("value", "a root of a negative number is complex")
        if isinstance(value, int) and value.bit_length() > syntax.MAX_BITS:
            raise Diagnostic(
                "limit",
                f"a whole number of more than {syntax.MAX_BITS} bits",
                hint="write it as a float: 1e30",
            )
        return value

    def subscript(self, base: Any, index: Any, span: Span) -> Any:
        if isinstance(base, Fields):
            base = tuple(base.items.values())
        if isinstance(base, tuple) or (isinstance(base, list) and isinstance(index, int | slice)):
            if not isinstance(index, int | slice):
                raise Diagnostic("type", "this is indexed with a whole number")
            try:
                return base[index]
            except IndexError:
                raise Diagnostic("value", f"index {index} is out of range: there are {len(base)}") from None
        if not isinstance(base, Node | list):
            raise Diagnostic("type", f"only a tensor can be indexed, not {base!r}")
        items = [self.index_item(item, span) for item in (index if isinstance(index, tuple) else (index,))]
        if any(isinstance(item, slice) and (item.step or 1) < 0 for item in items):
            base = self.tensor(base, span)
            base = self.flip_backward(base, items, span)
        return self.call("getitem", [base, tuple(items)], {}, span)

    def flip_backward(self, base: Node, items: list[Any], span: Span) -> Node:
        """The tensor with the dimensions flipped that are sliced backward, and these slices made to run
        forward.
        """

        def taken(item: Any) -> int:
            is_mask = isinstance(item, Node) and self.engine.is_mask(item.value)
            return 0 if item is None or item is Ellipsis else len(item.shape) if is_mask else 1

        left = len(base.shape) - sum(map(taken, items))
        dim, flipped = 0, []
        for position, item in enumerate(items):
            if isinstance(item, slice) and (item.step or 1) < 0 and dim < len(base.shape):
                size = base.shape[dim]
                start, stop, step = item.indices(size)
                items[position] = slice(size - 1 - start, size - 1 - stop, -step)
                flipped.append(dim)
            dim += left if item is Ellipsis else taken(item)
        return self.call("flip", [base, tuple(flipped)], {}, span)

    def index_item(self, item: Any, span: Span) -> Any:
        if item is None or item is Ellipsis or isinstance(item, Node | slice | int):
            return item
        if isinstance(item, list):
            return self.tensor(item, span, whole=True)
        raise Diagnostic(
            "type", f"an index is a whole number, a slice, '...', None, a list or a mask, not {item!r}"
        )
