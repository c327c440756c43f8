"""The language: Python's own parser, an allowlist over its tree, and a Program of a few frozen dataclasses.

    program     = statement { (newline | ";") statement }       the last one is the output
    statement   = expression | target "=" expression | name OP"=" expression
                | "if" … "elif" … "else" | "while" … | "for" name "in" "range(" … ")"
                | "break" | "continue" | "pass"
    target      = name | name "," name { "," name }
    expression  = number | "True" | "False" | "None" | text | name
                | "[" … "]" | "(" … ")"
                | ("-" | "+" | "~" | "not") expression
                | expression ("+" | "-" | "*" | "/" | "//" | "%" | "**" | "@" | "&" | "|" | "^") expression
                | expression ("<" | "<=" | ">" | ">=" | "==" | "!=") expression
                | expression ("and" | "or") expression
                | expression "if" expression "else" expression
                | expression "[" index { "," index } "]"         index = expression | a:b:c | "..." | "None"
                | expression "." name                            .T  .mT  .shape  .ndim  .data  .values …
                | name "(" arguments ")" | expression "." name "(" arguments ")"

Nothing here is ever evaluated by Python: ``interpret.py`` walks the Program (``tree.py``).
"""

from __future__ import annotations

import ast
import functools
import re
from typing import Any

from vjpcalc.diagnostics import Diagnostic, Source, Span
from vjpcalc.language import tree
from vjpcalc.language.source import Positions, clean

MAX_LENGTH = 100_000  # characters of a program
MAX_BRACKETS = 150  # brackets within brackets: Python's own parser gives up at 200
MAX_DEPTH = 150  # operators within operators: the walk is recursive
MAX_BITS = 64  # of a whole number that is written out or computed

BINARY: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("+", "add"),
    ast.Sub: ("-", "sub"),
    ast.Mult: ("*", "mul"),
    ast.Div: ("/", "div"),
    ast.FloorDiv: ("//", "floor_divide"),
    ast.Mod: ("%", "remainder"),
    ast.Pow: ("**", "pow"),
    ast.MatMult: ("@", "matmul"),
    ast.BitAnd: ("&", "logical_and"),
    ast.BitOr: ("|", "logical_or"),
    ast.BitXor: ("^", "logical_xor"),
    ast.Lt: ("<", "lt"),
    ast.LtE: ("<=", "le"),
    ast.Gt: (">", "gt"),
    ast.GtE: (">=", "ge"),
    ast.Eq: ("==", "eq"),
    ast.NotEq: ("!=", "ne"),
}
UNARY: dict[type[ast.AST], tuple[str, str]] = {
    ast.USub: ("-", "neg"),
    ast.UAdd: ("+", "positive"),
    ast.Invert: ("~", "logical_not"),
    ast.Not: ("not", "not"),
}

# What is not in the language, and what to say of it.
REFUSED: dict[str, str] = {
    "Lambda": "lambda is not part of the language",
    "ListComp": "comprehensions are not part of the language; use a for loop or a tensor operator",
    "GeneratorExp": "comprehensions are not part of the language; use a for loop or a tensor operator",
    "Import": "import is not part of the language; every operator is there already (see 'vjpcalc ops')",
    "ImportFrom": "import is not part of the language; every operator is there already (see 'vjpcalc ops')",
    "FunctionDef": "functions cannot be defined here; put it into a file and pass --use FILE.py:NAME",
    "Dict": "dictionaries are not part of the language",
    "JoinedStr": "f-strings are not part of the language",
    "NamedExpr": "':=' is not part of the language; write the assignment as a statement of its own",
    "Starred": "'*' before an argument is not part of the language",
    "Return": "there is no return: the last statement is the output",
    "Delete": "del is not part of the language",
    "LShift": "'<<' is not part of the language",
    "RShift": "'>>' is not part of the language",
    "Is": "'is' is not part of the language; use '=='",
    "IsNot": "'is not' is not part of the language; use '!='",
    "In": "'in' is not part of the language",
    "NotIn": "'not in' is not part of the language",
}


def parse(text: str, name: str = "expression") -> tree.Program:
    """Parse a text into a Program.

    Raises Diagnostic: ``syntax`` for what is not in the language, ``limit`` for what is too long or too deep.
    """
    source = Source(clean(text), name)
    if not source.text:
        raise Diagnostic("syntax", f"{_spoken(name)} is empty", hint="write one, such as 'sum(x**2)'")
    _check_size(source)
    try:
        module = ast.parse(source.text)
    except SyntaxError as error:
        raise _syntax_error(error, source) from None
    except (RecursionError, MemoryError):
        raise _too_deep(source) from None
    except ValueError:
        raise Diagnostic("syntax", f"{_spoken(name)} holds a character that cannot be in a program") from None
    try:
        return _Parser(source).program(module)
    except RecursionError:
        raise _too_deep(source) from None


def _spoken(name: str) -> str:
    return f"the {name}" if name == "expression" else f"'{name}'"


def _too_deep(source: Source) -> Diagnostic:
    return Diagnostic(
        "limit",
        f"{_spoken(source.name)} is nested too deeply",
        hint="split it into several statements: y = …; z = …",
    )


def _check_size(source: Source) -> None:
    if len(source.text) > MAX_LENGTH:
        raise Diagnostic(
            "limit",
            f"{_spoken(source.name)} has {len(source.text):,} characters; the limit is {MAX_LENGTH:,}",
            hint="numbers belong into an input file: x=@x.npy",
        )
    depth = 0
    for position, character in enumerate(source.text):
        depth += character in "([{"
        depth -= character in ")]}"
        if depth > MAX_BRACKETS:
            raise Diagnostic(
                "limit",
                f"brackets are nested more than {MAX_BRACKETS} deep",
                span=Span(position, position + 1),
                source=source,
                hint="split it into several statements: y = …; z = …",
            )


def _syntax_error(error: SyntaxError, source: Source) -> Diagnostic:
    lines = source.text.split("\n")
    number = min(max(error.lineno or 1, 1), len(lines))
    start = sum(len(line) + 1 for line in lines[: number - 1])
    column = min(max((error.offset or 1) - 1, 0), len(lines[number - 1]))
    stop = column + 1
    if error.end_lineno == error.lineno and error.end_offset and error.end_offset - 1 > column:
        stop = error.end_offset - 1
    message, hint = error.msg or "invalid syntax", None
    if "cannot assign to" in message or "Maybe you meant '=='" in message:
        message, hint = "this cannot be assigned to", "'=' gives a name a value; '==' compares"
    elif "leading zeros" in message:
        message = "a number cannot begin with 0"
    message = message.replace(". Perhaps you forgot a comma?", "; is a comma or an operator missing?")
    message = re.sub(r" \((detected at|<unknown>).*\)", "", message)
    return Diagnostic(
        "syntax",
        message[:1].lower() + message[1:],
        span=Span(start + column, start + stop),
        source=source,
        hint=hint,
    )


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.span = Positions(source.text).span
        self.assigned: dict[str, None] = {}
        self.depth = 0
        self.loops = 0

    def program(self, module: ast.Module) -> tree.Program:
        statements = tuple(self.statement(node) for node in module.body)
        if not statements:
            raise Diagnostic(
                "syntax", f"{_spoken(self.source.name)} holds no statement", hint="write one: 'sum(x**2)'"
            )
        last = statements[-1]
        if isinstance(last, tree.Evaluate):
            output = "out"
        elif isinstance(last, tree.Assign) and len(last.names) == 1:
            output = last.names[0]
        else:
            raise Diagnostic(
                "syntax",
                "the last statement must be the output: an expression or an assignment to one name",
                span=last.span,
                source=self.source,
                hint="end the program with the name of the result",
            )
        return tree.Program(self.source, statements, output, tuple(self.assigned))

    def refuse(self, node: ast.AST, message: str | None = None, hint: str | None = None) -> Diagnostic:
        message = message or REFUSED.get(type(node).__name__, "this is not part of the language")
        place = self.span(node) if hasattr(node, "lineno") else None
        return Diagnostic("syntax", message, span=place, source=self.source, hint=hint)

    # -- statements

    def block(self, nodes: list[ast.stmt]) -> tuple[tree.Statement, ...]:
        return tuple(self.statement(node) for node in nodes)

    def statement(self, node: ast.stmt) -> tree.Statement:
        span = self.span(node)
        match node:
            case ast.Expr(value):
                return tree.Evaluate(self.expression(value), span)
            case ast.Assign(targets=[target], value=value):
                if isinstance(target, ast.Name):
                    return tree.Assign((self.target(target),), self.expression(value), span)
                if isinstance(target, ast.Tuple) and all(isinstance(t, ast.Name) for t in target.elts):
                    return tree.Assign(
                        tuple(self.target(t) for t in target.elts), self.expression(value), span
                    )
                raise self.refuse(
                    target,
                    "only names can be assigned to",
                    "tensors are not changed in place; build a new one (where, cat, stack)",
                )
            case ast.AugAssign(target, op, value):
                if not isinstance(target, ast.Name):
                    raise self.refuse(target, "only names can be assigned to")
                current = tree.Name(target.id, self.span(target))
                return tree.Assign(
                    (self.target(target),),
                    self.infix(op, (current, self.expression(value)), span, node),
                    span,
                )
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                return tree.Assign((self.target(target),), self.expression(value), span)
            case ast.If(test, body, orelse):
                return tree.If(self.expression(test), self.block(body), self.block(orelse), span)
            case ast.While(test, body, []):
                condition = self.expression(test)
                return tree.While(condition, self.loop(body), span)
            case ast.For(ast.Name() as target, ast.Call(ast.Name("range"), bounds, []), body, []):
                if not 1 <= len(bounds) <= 3:
                    raise self.refuse(node.iter, "range takes one to three whole numbers")
                name = self.target(target)
                return tree.For(name, tuple(self.expression(b) for b in bounds), self.loop(body), span)
            case ast.For():
                raise self.refuse(node.iter, "a for loop goes over range(…)", "for i in range(3):")
            case ast.While():
                raise self.refuse(node.orelse[0], "a loop has no else")
            case ast.Break() | ast.Continue():
                kind = type(node).__name__.lower()
                if not self.loops:
                    raise self.refuse(node, f"'{kind}' stands outside of a loop")
                return tree.Jump(kind, span)
            case ast.Pass():
                return tree.Jump("pass", span)
        raise self.refuse(node)

    def loop(self, body: list[ast.stmt]) -> tuple[tree.Statement, ...]:
        self.loops += 1
        try:
            return self.block(body)
        finally:
            self.loops -= 1

    def target(self, node: ast.AST) -> str:
        assert isinstance(node, ast.Name)
        if node.id.startswith("__"):
            raise self.refuse(node, "a name cannot begin with two underscores")
        self.assigned.setdefault(node.id)
        return node.id

    # -- expressions

    def expression(self, node: ast.expr) -> tree.Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Diagnostic(
                "limit",
                f"operators are nested more than {MAX_DEPTH} deep",
                span=self.span(node),
                source=self.source,
                hint="split it into several statements: y = …; z = …",
            )
        try:
            return self._expression(node)
        finally:
            self.depth -= 1

    def _expression(self, node: ast.expr) -> tree.Expression:
        span = self.span(node)
        match node:
            case ast.Constant(value):
                return tree.Literal(self.constant(node, value), span)
            case ast.Name(name):
                if name.startswith("__"):
                    raise self.refuse(node, f"'{name}' is not part of the language")
                return tree.Name(name, span)
            case ast.List(items) | ast.Tuple(items):
                return tree.Items(
                    tuple(self.expression(item) for item in items), isinstance(node, ast.List), span
                )
            case ast.UnaryOp(op, operand):
                sign, function = UNARY[type(op)]
                if sign == "-" and isinstance(operand, ast.Constant) and type(operand.value) in (int, float):
                    return tree.Literal(-self.constant(operand, operand.value), span)
                return tree.Apply(function, (self.expression(operand),), (), span, sign)
            case ast.BinOp(left, op, right):
                return self.infix(op, (self.expression(left), self.expression(right)), span, node)
            case ast.Compare(left, ops, comparators):
                operands = [self.expression(operand) for operand in (left, *comparators)]
                pairs = zip(ops, operands, operands[1:], strict=False)
                links = [self.infix(op, (a, b), Span(a.span.start, b.span.stop), node) for op, a, b in pairs]
                return functools.reduce(
                    lambda chain, link: tree.Apply("logical_and", (chain, link), (), span, "and"), links
                )
            case ast.BoolOp(op, values):
                sign = "and" if isinstance(op, ast.And) else "or"
                return tree.Logical(sign, tuple(self.expression(value) for value in values), span)
            case ast.IfExp(test, body, orelse):
                return tree.Choice(
                    self.expression(test), self.expression(body), self.expression(orelse), span
                )
            case ast.Subscript(value, index):
                return tree.Apply("getitem", (self.expression(value), self.index(index)), (), span)
            case ast.Attribute(value, name):
                return tree.Member(self.expression(value), self.attribute(node, name), span)
            case ast.Call(function, arguments, keywords):
                return self.call(node, function, arguments, keywords, span)
        raise self.refuse(node)

    def infix(
        self, op: ast.AST, operands: tuple[tree.Expression, ...], span: Span, node: ast.AST
    ) -> tree.Apply:
        if type(op) not in BINARY:
            raise self.refuse(node, REFUSED.get(type(op).__name__))
        sign, function = BINARY[type(op)]
        return tree.Apply(function, operands, (), span, sign)

    def call(
        self,
        node: ast.expr,
        function: ast.expr,
        arguments: list[ast.expr],
        keywords: list[ast.keyword],
        span: Span,
    ) -> tree.Apply:
        for argument in arguments:
            if isinstance(argument, ast.Starred):
                raise self.refuse(argument)
        named = []
        for keyword in keywords:
            if keyword.arg is None:
                raise self.refuse(keyword, "'**' before an argument is not part of the language")
            named.append((keyword.arg, self.expression(keyword.value)))
        positional = tuple(self.expression(argument) for argument in arguments)
        if isinstance(function, ast.Name):
            if function.id.startswith("__"):
                raise self.refuse(function, f"'{function.id}' is not part of the language")
            return tree.Apply(function.id, positional, tuple(named), span, name_span=self.span(function))
        if isinstance(function, ast.Attribute):
            name = self.attribute(function, function.attr)
            receiver = self.expression(function.value)
            stop = self.span(function).stop
            place = Span(stop - len(name), stop)
            return tree.Apply(name, (receiver, *positional), tuple(named), span, method=True, name_span=place)
        raise self.refuse(function, "only an operator can be called", "did you forget a '*' before the '('?")

    def attribute(self, node: ast.AST, name: str) -> str:
        if name.startswith("_"):
            stop = self.span(node).stop
            raise Diagnostic(
                "syntax",
                f"'.{name}' is not part of the language",
                span=Span(stop - len(name) - 1, stop),
                source=self.source,
            )
        return name

    def index(self, node: ast.expr) -> tree.Expression:
        if isinstance(node, ast.Tuple):
            return tree.Items(tuple(self.index(item) for item in node.elts), False, self.span(node))
        if isinstance(node, ast.Slice):
            lower, upper, step = (
                None if part is None else self.expression(part)
                for part in (node.lower, node.upper, node.step)
            )
            return tree.Slice(lower, upper, step, self.span(node))
        return self.expression(node)

    def constant(self, node: ast.expr, value: Any) -> Any:
        if isinstance(value, complex):
            raise self.refuse(node, "complex numbers are not part of the language")
        if isinstance(value, bytes):
            raise self.refuse(node, "bytes are not part of the language")
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise Diagnostic(
                "limit",
                f"a whole number of more than {MAX_BITS} bits",
                span=self.span(node),
                source=self.source,
                hint="write it as a float: 1e30",
            )
        return value
