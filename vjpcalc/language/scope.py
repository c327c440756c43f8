"""A scope of a run: the names in it, and how an operator is applied to their values.

Python numbers stay Python numbers until they meet a tensor; tensors live in Nodes, and every operator that is
applied is written down in the Trace. A composed operator is the program that its row holds: that runs in a
scope of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vjpcalc.diagnostics import Diagnostic, Source, Span, raised, raised_at, reason, unknown
from vjpcalc.language import syntax, tree
from vjpcalc.language.host import HOST
from vjpcalc.language.trace import (
    Applied,
    Decision,
    Fields,
    Input,
    Kink,
    Node,
    Trace,
    nodes_in,
    with_values,
)
from vjpcalc.language.values import broadcast, is_number, list_shape, spoken
from vjpcalc.limits import Limits
from vjpcalc.operators import registry
from vjpcalc.operators.row import TENSOR_KINDS, Operator, Parameter, RowError, numel
from vjpcalc.operators.signature import bind

if TYPE_CHECKING:
    from vjpcalc.language.engine import Engine


@functools.lru_cache(4096)  # the table's own texts, and rules simplified for one call: these have no end
def parsed(text: str) -> tree.Program:
    """A text of the table as a Program."""
    return syntax.parse(text, "operator table")


def row_program(row: Operator, text: str) -> tree.Program:
    """A text of a row as a Program. Raises RowError: that it does not parse is no fault of the user's."""
    try:
        return parsed(text)
    except Diagnostic as diagnostic:
        raise RowError(row, f"{diagnostic.message}: {text}") from None


class BadReference(Diagnostic):
    """What a user gave as the reference of a function is none: it does not run, or has another shape."""


@functools.lru_cache(1024)
def reference_program(name: str, text: str) -> tree.Program:
    """The reference that a user gave for a function, as a Program. Raises Diagnostic."""
    return syntax.parse(text, f"reference of {name}")


@dataclass(eq=False)
class Scope(ABC):
    """``use`` are a user's own operators by name; ``iterations`` says which turn of each loop runs.

    A ``hidden`` scope runs a text of the table: hidden rows are within reach, kinks are noted above, and its
    nodes belong to the ``call_site`` of its row.
    """

    engine: Engine
    trace: Trace
    source: Source
    limits: Limits
    use: Mapping[str, Operator]
    hidden: bool = False
    call_site: tuple[Span | None, tuple[int, ...]] | None = None
    names: dict[str, Any] = field(default_factory=dict)
    iterations: list[int] = field(default_factory=list)
    steps: int = 0

    @abstractmethod
    def run(self, statements: Sequence[tree.Statement]) -> Any:
        """Run statements; the value of the last one where that is an expression or an assignment."""

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

    def decide(self, node: Node, span: Span) -> Any:
        """Read the one number in a tensor: from here on the program depends on it as on a constant."""
        value = self.engine.item(node.value)
        taken = bool(value) if self.engine.is_mask(node.value) else value
        self.trace.decisions.append(Decision(node, taken, span))
        return taken

    # -- operators

    def call(
        self,
        name: str,
        positional: Sequence[Any],
        keywords: Mapping[str, Any],
        span: Span | None,
        expression: tree.Apply | None = None,
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

    def unknown(self, name: str, expression: tree.Apply | None, what: str) -> Diagnostic:
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
        known = [*self.use, *registry.names(), *HOST]
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

    def compute(self, operator: Operator, arguments: Mapping[str, Any], expression: tree.Apply | None) -> Any:
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
        if operator.function is None:
            return self.tensor(self.run_text(operator, operator.ref, arguments, span), span)
        slope = self.referred(operator, arguments, span)
        frozen = dataclasses.replace(operator, ref="", frozen=True)
        value = self.applied(frozen, arguments, self.compute(frozen, arguments, None), span)
        if value.shape != slope.shape:
            raise BadReference(
                "shape",
                f"the reference of '{operator.name}' gives the shape {slope.shape}, "
                f"'{operator.name}' itself {value.shape}",
                span=span, source=self.source,
            )  # fmt: skip
        # what follows is computed of the function's own value, and differentiated along its reference
        text = "slope + detach(value - slope)"
        return self.tensor(self.run_text(operator, text, {"slope": slope, "value": value}, span), span)

    def referred(self, operator: Operator, arguments: Mapping[str, Any], span: Span | None) -> Node:
        """The value of the reference that a user gave for a function. Raises BadReference."""
        program = reference_program(operator.name, operator.ref)
        site = self.call_site or (span, tuple(self.iterations))
        use = {name: own for name, own in self.use.items() if name != operator.name}
        scope = type(self)(
            self.engine, self.trace, program.source, self.limits,
            {name: dataclasses.replace(own, ref="") for name, own in use.items()},
            call_site=site, names=dict(arguments),
        )  # fmt: skip
        before = len(self.trace.decisions)
        try:
            result = scope.tensor(scope.run(program.statements), None)
        except Diagnostic as diagnostic:
            raise BadReference(
                diagnostic.kind, f"the reference of '{operator.name}': {diagnostic.message}",
                hint=diagnostic.hint, span=diagnostic.span, source=diagnostic.source,
            ) from None  # fmt: skip
        self.trace.decisions[before:] = [
            dataclasses.replace(decision, of_reference=True) for decision in self.trace.decisions[before:]
        ]
        return result

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
        site = self.call_site or (span, tuple(self.iterations))
        scope = type(self)(
            self.engine, self.trace, program.source, self.limits, {}, True, site, dict(arguments)
        )
        try:
            return scope.run(program.statements)
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


# What an engine says where an argument has the wrong shape, or where an index or a dimension leaves it.
ABOUT_SHAPES = re.compile(
    r"\b(shape|size|dim|length|axis|axes|square|broadcast|subscript|\dD|out of (bounds|range))",
    re.IGNORECASE,
)


# … and where it needs whole numbers.
WHOLE = re.compile(r"\bLong(Tensor)?\b|\blong\b|IntTensor|int64|integer")


def _engine_error(
    operator: Operator, arguments: Mapping[str, Any], error: BaseException, expression: tree.Apply | None
) -> Diagnostic:
    if operator.function is not None:
        return fault_of(operator.name, error, dtypes(arguments))
    shapes = [str(node.shape) for node in nodes_in(tuple(arguments.values()))]
    why = reason(error)
    if not shapes:
        return Diagnostic("value", f"{spoken(operator)} cannot be made of these arguments", hint=why)
    if WHOLE.search(why):
        hint = f"indices and classes need a dtype of whole numbers, t:int64='[0, 2]' (torch: {why})"
        return Diagnostic("type", f"{spoken(operator)} takes whole numbers here", hint=hint)
    if type(error).__name__.endswith("LinAlgError"):  # torch's, NumPy's, SciPy's: a singular matrix, say
        return Diagnostic("value", f"{spoken(operator)} cannot be computed of these numbers", hint=why)
    if not ABOUT_SHAPES.search(why):
        return Diagnostic("value", f"{spoken(operator)} cannot be computed of these arguments", hint=why)
    what = ("the shape " if len(shapes) == 1 else "the shapes ") + " and ".join(shapes)
    return Diagnostic("shape", f"{spoken(operator)} does not fit {what}", hint=why)


# How torch calls the dtypes of floating-point numbers in its messages.
DTYPES = {"double": "float64", "float": "float32", "half": "float16", "bfloat16": "bfloat16"} | {
    name: name for name in ("float64", "float32", "float16")
}
ABOUT_DTYPES = re.compile(r"dtype|data ?type|scalar type|input type", re.IGNORECASE)


def dtypes(arguments: Mapping[str, Any]) -> dict[str, str]:
    """The dtypes of a call's tensors, by what they are called: an input by its name, else the parameter."""
    named = {}
    for parameter, value in arguments.items():
        for node in nodes_in((value,)):
            name = node.name if isinstance(node, Input) and node.name else parameter
            named[name] = str(node.value.dtype).removeprefix("torch.")
    return named


def fault_of(name: str, error: BaseException, given: Mapping[str, str] | None = None) -> Diagnostic:
    """What went wrong in a function of the user's own, and on which line of which file.

    ``given`` are the dtypes of its tensors by name: a module's weights, or a kernel of its own, are often of
    another, and torch says no more than that there are two.
    """
    place, text = raised_at(error) or ("", "")
    where = f" ({place})" if place else ""
    hints = [_about_dtypes(name, str(error), given or {}), f"{place} is  {text}" if text else None]
    hint = "; ".join(hint for hint in hints if hint)
    return Diagnostic("value", f"'{name}' raised {raised(error)}{where}", hint=hint or None)


def _about_dtypes(name: str, message: str, given: Mapping[str, str]) -> str | None:
    """What to do where torch's message is about tensors of two dtypes; None where it is not."""
    if not ABOUT_DTYPES.search(message):
        return None
    if WHOLE.search(message):
        return f"'{name}' needs a dtype of whole numbers there: x:int64='[0, 2]'"
    words = (word.lower() for word in re.findall(r"[a-zA-Z0-9]+", message.split("\n")[0]))
    told = list(dict.fromkeys(DTYPES[word] for word in words if word in DTYPES))
    if len(told) > 2 or (len(told) < 2 and "mixed" not in message):
        return None
    floats = [dtype for dtype in given.values() if dtype in DTYPES.values()]
    own = next((dtype for dtype in told or floats if dtype in floats), None)
    if own is None:
        both = " and ".join(told) or "two dtypes"
        return f"it mixes {both}: make the tensor that it brings along like the others, .to(g.dtype)"
    named = [argument for argument, dtype in given.items() if dtype == own]
    other = next((dtype for dtype in told if dtype != own), None)
    cast = next(method for method, dtype in DTYPES.items() if dtype == own)
    are = "is" if len(named) == 1 else "are"
    return (
        f"{' and '.join(named)} {are} {own}, and a tensor that '{name}' brings "
        f"along is {other or 'not'}: --dtype {other or 'float32'}, or .{cast}() on that tensor or module"
    )
