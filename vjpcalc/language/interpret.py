"""Walks a Program on the engine it is handed, and writes down every operator that it applied: the Trace.

Python numbers stay Python numbers until they meet a tensor; tensors live in Nodes, so that loops and branches
leave a straight list of operators behind. Conditions that read a tensor are kept too, as Decisions.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vjpcalc.diagnostics import Diagnostic, Source, Span, count, raised, reason, unknown
from vjpcalc.language import syntax
from vjpcalc.language.host import HOST, METHODS, METHODS_ONLY
from vjpcalc.language.trace import Applied, Decision, Fields, Input, Kink, Node, Trace, nodes_in, with_values
from vjpcalc.language.values import CONSTANTS, SCALAR, broadcast, is_number, list_shape, spoken
from vjpcalc.limits import Limits
from vjpcalc.operators import registry
from vjpcalc.operators.row import DTYPES, TENSOR_KINDS, Operator, Parameter, RowError, numel
from vjpcalc.operators.signature import bind

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
    program: syntax.Program,
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
    result = walk.block_result(program.statements)
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


@functools.cache
def parsed(text: str) -> syntax.Program:
    """A text of the table as a Program."""
    return syntax.parse(text, "operator table")


def row_program(row: Operator, text: str) -> syntax.Program:
    """A text of a row as a Program. Raises RowError: that it does not parse is no fault of the user's."""
    try:
        return parsed(text)
    except Diagnostic as diagnostic:
        raise RowError(row, f"{diagnostic.message}: {text}") from None


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
    result = walk.block_result(program.statements)
    if isinstance(result, tuple):
        return tuple(walk.tensor(item, None).value for item in result)
    return walk.tensor(result, None).value


class Interpreter:
    """One scope: names, and a trace that it shares with the scopes of the composed operators that it runs."""

    def __init__(
        self,
        engine: Engine,
        trace: Trace,
        source: Source,
        limits: Limits,
        use: Mapping[str, Operator],
        hidden: bool = False,
    ) -> None:
        self.engine, self.trace, self.source, self.limits, self.use = engine, trace, source, limits, use
        self.hidden = (
            hidden  # this scope runs a text of the table: hidden rows are within reach, kinks are noted above
        )
        self.call_site: tuple[Span | None, tuple[int, ...]] | None = (
            None  # of that row: where its nodes belong
        )
        self.names: dict[str, Any] = {}
        self.iterations: list[int] = []
        self.steps = 0

    # -- nodes

    def input(self, value: Any, span: Span | None = None, name: str | None = None) -> Input:
        """A new node for an array that no operator of the program made."""
        span, iterations = self.call_site or (span, tuple(self.iterations))
        node = Input(index=len(self.trace.nodes), value=value, span=span, iterations=iterations, name=name)
        self.trace.nodes.append(node)
        return node

    def applied(
        self, operator: Operator, arguments: Mapping[str, Any], value: Any, span: Span | None
    ) -> Applied:
        """A new node for what an operator made of its arguments."""
        span, iterations = self.call_site or (span, tuple(self.iterations))
        node = Applied(
            index=len(self.trace.nodes), value=value, span=span, iterations=iterations,
            operator=operator, arguments=arguments,
        )  # fmt: skip
        self.trace.nodes.append(node)
        return node

    def wrap(self, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(self.wrap(item) for item in value)
        is_array = hasattr(value, "shape") and not isinstance(value, Node)
        return self.input(value) if is_array else value

    def tensor(self, value: Any, span: Span | None, whole: bool = False) -> Node:
        """A number, or a nested list of numbers and tensors, as a Node."""
        if isinstance(value, Node):
            return value
        if isinstance(value, Fields):
            names = list(value.items)
            raise Diagnostic(
                "type", f"this is {value!r} that {value.operator} returns, not a tensor",
                span=span, hint=f"take one part: .{names[0]} or [0]",
            )  # fmt: skip
        if isinstance(value, list | tuple):
            if any(True for _ in nodes_in(value)):
                return self.call(
                    "stack", [tuple(self.tensor(item, span, whole) for item in value), 0], {}, span
                )
            shape = list_shape(value, span)
            if numel(shape) > self.limits.max_elements:
                raise self.too_large("this list", shape)
        elif not is_number(value):
            what = "a text" if isinstance(value, str) else repr(value)
            raise Diagnostic("type", f"a tensor is needed here, not {what}", span=span)
        if isinstance(value, int) and value.bit_length() > 63:
            value = float(value)
        return self.input(self.engine.constant(value, whole=whole), span)

    # -- statements

    def block_result(self, statements: Sequence[syntax.Statement]) -> Any:
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

    def step(self, span: Span) -> None:
        self.steps += 1
        if self.steps > self.limits.max_steps:
            raise Diagnostic(
                "limit",
                f"the program did not end within {self.limits.max_steps:,} steps",
                span=span,
                source=self.source,
                hint="does its loop end? --max-steps N allows more",
            )

    def statement(self, statement: syntax.Statement) -> Any:
        self.step(statement.span)
        match statement:
            case syntax.Evaluate(value):
                return self.expression(value)
            case syntax.Assign(names, value, span):
                return self.assign(names, self.expression(value), span)
            case syntax.If(condition, body, otherwise):
                return self.block_result(body if self.truth(condition) else otherwise)
            case syntax.While(condition, body):
                self.loop(body, self.while_true(condition))
            case syntax.For(name, bounds, body, span):
                self.loop(body, self.count_through(name, [self.expression(b) for b in bounds], span))
            case syntax.Jump("break"):
                raise _Break
            case syntax.Jump("continue"):
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

    def loop(self, body: Sequence[syntax.Statement], turns: Iterator[None]) -> None:
        self.iterations.append(0)
        try:
            for _ in turns:
                self.iterations[-1] += 1
                try:
                    self.block_result(body)
                except _Continue:
                    continue
                except _Break:
                    break
        finally:
            self.iterations.pop()

    def while_true(self, condition: syntax.Expression) -> Iterator[None]:
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

    def expression(self, expression: syntax.Expression) -> Any:
        try:
            return self._expression(expression)
        except Diagnostic as diagnostic:
            raise diagnostic.at(expression.span, self.source) from None

    def _expression(self, expression: syntax.Expression) -> Any:
        match expression:
            case syntax.Literal(value):
                return value
            case syntax.Name(name):
                return self.lookup(name)
            case syntax.Items(items, is_list):
                values = [self.expression(item) for item in items]
                return values if is_list else tuple(values)
            case syntax.Apply():
                return self.apply(expression)
            case syntax.Member(base, name):
                return self.member(expression, base, name)
            case syntax.Logical(sign, items):
                return self.logical(sign, items)
            case syntax.Choice(condition, yes, no):
                return self.expression(yes if self.truth(condition) else no)
            case syntax.Slice(start, stop, step):
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

    def whole(self, expression: syntax.Expression) -> int:
        value = self.expression(expression)
        if isinstance(value, Node) and numel(value.shape) == 1:
            value = self.decide(value, expression.span)
        if isinstance(value, int):
            return int(value)
        raise Diagnostic("type", "a slice is made of whole numbers", span=expression.span)

    def truth(self, expression: syntax.Expression) -> bool:
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

    def decide(self, node: Node, span: Span) -> Any:
        """Read the one number in a tensor: from here on the program depends on it as on a constant."""
        value = self.engine.item(node.value)
        taken = bool(value) if self.engine.is_mask(node.value) else value
        self.trace.decisions.append(Decision(node, taken, span))
        return taken

    def logical(self, sign: str, items: Sequence[syntax.Expression]) -> Any:
        value: Any = None
        for item in items:
            value = self.expression(item)
            if self.truth_of(value, item.span) == (sign == "or"):
                return value
        return value

    def dotted(self, expression: syntax.Expression) -> str | None:
        """``torch.linalg`` for a chain of names whose first is no tensor of the program, else None."""
        if isinstance(expression, syntax.Name):
            return None if expression.name in self.names else expression.name
        if isinstance(expression, syntax.Member):
            base = self.dotted(expression.base)
            return base and f"{base}.{expression.name}"
        return None

    def member(self, expression: syntax.Member, base: syntax.Expression, name: str) -> Any:
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

    def apply(self, expression: syntax.Apply) -> Any:
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
        if (found := HOST.get(name)) and (method or name not in METHODS_ONLY):
            return self.host(name, found, expression.span, positional, keywords)
        if expression.sign or name in SCALAR:
            enough = len(positional) > 1 or name not in ("min", "max")
            if positional and enough and all(map(is_number, positional)) and name in SCALAR and not keywords:
                return self.scalar(name, positional, expression)
            tensors = any(isinstance(p, Node | list) for p in positional)
            if name in ("eq", "ne") and (None in positional or not tensors):
                return SCALAR[name](*positional)
        if expression.sign in MASK_SIGNS:
            self.need_masks(expression.sign, positional)
        if name == "getitem":
            return self.subscript(positional[0], positional[1], expression.span)
        return self.call(
            name, positional, keywords, expression.span, expression, "method" if method else "function"
        )

    def host(
        self,
        name: str,
        function: Callable[..., Any],
        span: Span,
        positional: Sequence[Any],
        keywords: Mapping[str, Any],
    ) -> Any:
        signature = inspect.signature(function)
        try:
            signature.bind(self, span, *positional, **keywords)
        except TypeError as error:
            own = list(signature.parameters.values())[2:]
            shown = ", ".join(str(p.replace(annotation=p.empty)) for p in own)
            called = name.replace("linalg_", "linalg.")
            raise Diagnostic(
                "type", f"{called}: {error}", hint=f"its signature is {called}({shown})"
            ) from None
        return function(self, span, *positional, **keywords)

    def need_masks(self, sign: str, operands: Sequence[Any]) -> None:
        for operand in operands:
            value = self.tensor(operand, None)
            if not self.engine.is_mask(value.value):
                hint = "a power is written with '**'" if sign == "^" else "compare first: (x > 0) & (x < 1)"
                raise Diagnostic("type", f"'{sign}' joins masks, not numbers", hint=hint)

    def scalar(self, name: str, operands: list[Any], expression: syntax.Apply) -> Any:
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

    # -- operators

    def call(
        self,
        name: str,
        positional: Sequence[Any],
        keywords: Mapping[str, Any],
        span: Span | None,
        expression: syntax.Apply | None = None,
        what: str = "function",
    ) -> Any:
        """Apply the operator of that name: a Node, or Fields."""
        if name in self.use:
            operator = self.use[name]
            arguments = bind(operator, positional, keywords)
        elif registry.lookup(name) or ((self.hidden or expression is None) and name in registry.REGISTRY):
            operator, arguments = registry.resolve(name, positional, keywords)
        else:
            raise self.unknown(name, expression, what)
        arguments = {p.name: self.argument(operator, p, arguments[p.name], span) for p in operator.parameters}
        for condition, message in operator.requires.items():
            if self.aside(operator, condition, arguments) is not True:
                raise Diagnostic("value", f"{operator.name}: {message}")
        self.check_size(operator, arguments, span)
        if operator.kinks and self.engine.expands and not self.hidden:
            self.note_kinks(operator, arguments, span)
        if operator.kind == "several":
            return self.parts(operator, arguments, span)
        if operator.ref and (self.engine.expands or not operator.torch):
            return self.expand(operator, arguments, span)
        return self.applied(operator, arguments, self.compute(operator, arguments, expression), span)

    def unknown(self, name: str, expression: syntax.Apply | None, what: str) -> Diagnostic:
        place = expression.name_span if expression else None
        if name in self.names:
            return Diagnostic(
                "name",
                f"'{name}' is a value, not an operator",
                span=place,
                hint=f"a product is written {name} * (…)",
            )
        if name.endswith("_") and registry.lookup(name.rstrip("_")):
            return Diagnostic(
                "name",
                f"'{name}' works in place, which is not part of the language",
                span=place,
                hint=f"use {name.rstrip('_')}",
            )
        known = [*self.use, *(n for n in registry.REGISTRY if registry.lookup(n)), *HOST]
        hint = "'vjpcalc ops' lists them all"
        return unknown("name", f"unknown {what} '{name}'", name, known, hint, place)

    def argument(self, operator: Operator, parameter: Parameter, value: Any, span: Span | None) -> Any:
        """A bound argument as the engine takes it: tensors as Nodes, numbers beside tensors as numbers."""
        if parameter.kind == "tensors" or (parameter.variadic and parameter.kind in TENSOR_KINDS):
            return tuple(self.tensor(item, span) for item in value)
        if parameter.kind not in TENSOR_KINDS or value is None:
            return value
        if is_number(value) and operator.infix and operator.infix != "@":
            return value
        return self.tensor(value, span, whole=parameter.kind in ("indices", "target"))

    def compute(
        self, operator: Operator, arguments: Mapping[str, Any], expression: syntax.Apply | None
    ) -> Any:
        values = {key: with_values(value, lambda node: node.value) for key, value in arguments.items()}
        if operator.infix and all(map(is_number, values.values())):
            first = operator.parameters[0].name
            values[first] = self.engine.constant(values[first])
        try:
            return self.engine.apply(operator, values)
        except Diagnostic:
            raise
        except MemoryError:
            raise Diagnostic("limit", f"{operator.name}: not enough memory for the result") from None
        except (
            RuntimeError,
            ValueError,
            TypeError,
            IndexError,
            ArithmeticError,
            NotImplementedError,
        ) as error:
            raise _engine_error(operator, arguments, error, expression) from error
        except (Exception, SystemExit) as error:
            if operator.function is None:
                raise
            raise _engine_error(operator, arguments, error, expression) from error

    def expand(self, operator: Operator, arguments: Mapping[str, Any], span: Span | None) -> Node:
        return self.tensor(self.run_text(operator, operator.ref, arguments, span), span)

    def parts(self, operator: Operator, arguments: Mapping[str, Any], span: Span | None) -> Any:
        """The results of a row that has several: Fields, or a tuple where their number depends on the
        arguments.
        """
        if operator.fields:
            fields = operator.fields.items()
            items = {name: self.run_text(operator, text, arguments, span) for name, text in fields}
            return Fields(operator.name, items)
        number = self.run_text(operator, operator.count, arguments)
        part = operator.part
        return tuple(self.run_text(operator, part, {**arguments, "i": i}, span) for i in range(number))

    def run_text(
        self, operator: Operator, text: str, arguments: Mapping[str, Any], span: Span | None = None
    ) -> Any:
        """The value of a text of a row that is called with these arguments at ``span``.

        The text is no concern of the user's, so what goes wrong in it is told of the call.
        """
        program = row_program(operator, text)
        scope = Interpreter(self.engine, self.trace, program.source, self.limits, {}, hidden=True)
        scope.call_site = self.call_site or (span, tuple(self.iterations))
        scope.names.update(arguments)
        try:
            return scope.block_result(program.statements)
        except Diagnostic as diagnostic:
            raise Diagnostic(
                diagnostic.kind, f"{operator.name}: {diagnostic.message}", hint=diagnostic.hint
            ) from None

    def note_kinks(self, operator: Operator, arguments: Mapping[str, Any], span: Span | None) -> None:
        mask = self.aside(operator, operator.kinks, arguments)
        if isinstance(mask, Node) and mask.value.any():
            self.trace.kinks.append(
                Kink(operator, mask.value, tuple(nodes_in(tuple(arguments.values()))), span)
            )

    def aside(self, operator: Operator, text: str, arguments: Mapping[str, Any]) -> Any:
        """The value of a row's text that is no part of the program: it leaves nothing behind in the trace."""
        nodes, decisions = len(self.trace.nodes), len(self.trace.decisions)
        try:
            return self.run_text(operator, text, arguments)
        finally:
            del self.trace.nodes[nodes:], self.trace.decisions[decisions:]

    def check_size(self, operator: Operator, arguments: Mapping[str, Any], span: Span | None) -> None:
        self.step(span or Span(0, 0))
        elements, shape = 0, None
        if operator.size:
            size = self.aside(operator, operator.size, arguments)
            elements, shape = (numel(size), size) if isinstance(size, tuple) else (size, None)
        elif operator.kind == "elementwise" or (operator.kind == "composed" and not operator.options):
            shapes = [node.shape for node in nodes_in(tuple(arguments.values()))]
            if len(shapes) > 1:
                shape = broadcast(shapes, operator)
                elements = numel(shape)
        if elements > self.limits.max_elements:
            raise self.too_large(operator.name, shape or (elements,))

    def too_large(self, what: str, shape: Sequence[int]) -> Diagnostic:
        return Diagnostic(
            "limit",
            f"{what}: a tensor of {numel(shape):,} elements; the limit is {self.limits.max_elements:,}",
            hint="--max-elements N allows more",
        )


def _engine_error(
    operator: Operator, arguments: Mapping[str, Any], error: BaseException, expression: syntax.Apply | None
) -> Diagnostic:
    if operator.function is not None:
        return fault_of(operator.name, error)
    shapes = [str(node.shape) for node in nodes_in(tuple(arguments.values()))]
    said = " and ".join(shapes)
    why = reason(error)
    if not shapes:
        return Diagnostic("value", f"{spoken(operator)} cannot be made of these arguments", hint=why)
    if re.search(r"\bLong\b|\blong\b|IntTensor|integer", why):
        hint = f"indices and classes need a dtype of whole numbers, t:int64='[0, 2]' (torch: {why})"
        return Diagnostic("type", f"{spoken(operator)} takes whole numbers here", hint=hint)
    tensor = "the shape" if len(shapes) == 1 else "the shapes"
    return Diagnostic("shape", f"{spoken(operator)} does not fit {tensor} {said}", hint=why)


def fault_of(name: str, error: BaseException) -> Diagnostic:
    """What went wrong in a function of the user's own."""
    return Diagnostic("value", f"'{name}' raised {raised(error)}")
