"""A Program, or an expression of one, as code, its blanks and brackets as Python's own printer sets them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vjpcalc.language import tree

# From what binds loosely to what binds tightly: an operand that binds less tightly than its place asks for
# gets brackets. (A number gets them before a dot.)
LEVELS = (
    "if", "or", "and", "not", "< <= > >= == !=", "|", "^", "&", "+ -", "* / // % @", "prefix", "**", "number",
)  # fmt: skip
PRECEDENCE = {sign: level for level, signs in enumerate(LEVELS) for sign in signs.split()}
ATOM = len(LEVELS)  # a name, a call: never in brackets


def code(part: tree.Program | tree.Expression, named: Callable[[str], str] = str) -> str:
    """The code of a program or an expression, a statement a line.

    ``named`` says what to write for each name that the program does not assign itself.
    """
    if isinstance(part, tree.Program):
        assigned = part.assigned
        printer = _Printer(lambda name: name if name in assigned else named(name))
        return "\n".join(printer.block(part.statements))
    return _Printer(named).expression(part)


class _Printer:
    def __init__(self, named: Callable[[str], str]) -> None:
        self.named = named

    def block(self, statements: Iterable[tree.Statement], indent: str = "") -> list[str]:
        return [indent + line for statement in statements for line in self.statement(statement)]

    def statement(self, statement: tree.Statement) -> list[str]:
        """The lines of a statement."""
        indent = "    "
        match statement:
            case tree.Evaluate(value):
                return [self.expression(value)]
            case tree.Assign(names, value):
                return [f"{', '.join(names)} = {self.expression(value)}"]
            case tree.While(condition, body):
                return [f"while {self.expression(condition)}:", *self.block(body, indent)]
            case tree.For(name, bounds, body):
                return [f"for {name} in range({self.listed(bounds)}):", *self.block(body, indent)]
            case tree.If(condition, body, otherwise):
                lines = [f"if {self.expression(condition)}:", *self.block(body, indent)]
                match otherwise:
                    case ():
                        return lines
                    case (tree.If() as other,):
                        test, *rest = self.statement(other)
                        return [*lines, f"el{test}", *rest]
                return [*lines, "else:", *self.block(otherwise, indent)]
            case tree.Jump(kind):
                return [kind]
        raise AssertionError(statement)

    def expression(self, expression: tree.Expression, place: int = 0) -> str:
        """An expression, in brackets where it binds less tightly than its place asks for."""
        text, level = self.with_level(expression)
        return f"({text})" if level < place else text

    def listed(self, expressions: Iterable[tree.Expression]) -> str:
        return ", ".join(map(self.expression, expressions))

    def with_level(self, expression: tree.Expression) -> tuple[str, int]:
        """An expression without brackets around it, and how tightly it binds."""
        match expression:
            case tree.Literal(value):
                text = "..." if value is Ellipsis else repr(value)
                if not isinstance(value, int | float):
                    return text, ATOM
                return text, PRECEDENCE["prefix" if text.startswith("-") else "number"]
            case tree.Name(name):
                return self.named(name), ATOM
            case tree.Items(items, is_list):
                inner = self.listed(items)
                return f"[{inner}]" if is_list else f"({inner}{',' * (len(items) == 1)})", ATOM
            case tree.Slice(start, stop, step):
                start_text, stop_text, step_text = (
                    "" if part is None else self.expression(part) for part in (start, stop, step)
                )
                return f"{start_text}:{stop_text}" + (f":{step_text}" if step else ""), ATOM
            case tree.Member(base, name):
                return f"{self.expression(base, ATOM)}.{name}", ATOM
            case tree.Logical(sign, items):
                level = PRECEDENCE[sign]
                return f" {sign} ".join(self.expression(item, level + 1) for item in items), level
            case tree.Choice(condition, yes, no):
                level = PRECEDENCE["if"]
                chosen, test = self.expression(yes, level + 1), self.expression(condition, level + 1)
                return f"{chosen} if {test} else {self.expression(no, level)}", level
            case tree.Apply():
                return self.applied(expression)
        raise AssertionError(expression)

    def applied(self, call: tree.Apply) -> tuple[str, int]:
        """An operator as it was written: as an index, with a sign, or as a call."""
        match call:
            case tree.Apply("getitem", (base, index)):
                inner = self.expression(index)
                if isinstance(index, tree.Items) and index.items and not index.is_list:
                    inner = inner[1:-1]
                return f"{self.expression(base, ATOM)}[{inner}]", ATOM
            case tree.Apply("not", (operand,)):
                level = PRECEDENCE["not"]
                return f"not {self.expression(operand, level)}", level
            case tree.Apply(arguments=(operand,), sign=str(sign)):
                level = PRECEDENCE["prefix"]
                return f"{sign}{self.expression(operand, level)}", level
            case tree.Apply(arguments=(left, right), sign=str(sign)) if sign != "and":
                level = PRECEDENCE[sign]
                left_place, right_place = level, level + 1
                if sign == "**":  # a ** b ** c is a ** (b ** c)
                    left_place, right_place = level + 1, level
                elif level == PRECEDENCE["=="]:  # a < b == c is not (a < b) == c
                    left_place = level + 1
                text = f"{self.expression(left, left_place)} {sign} {self.expression(right, right_place)}"
                return text, level
        name, arguments = call.function, call.arguments
        if call.method:
            name, arguments = f"{self.expression(arguments[0], ATOM)}.{name}", arguments[1:]
        texts = [self.expression(argument) for argument in arguments]
        texts += [f"{key}={self.expression(value)}" for key, value in call.keywords]
        return f"{name}({', '.join(texts)})", ATOM
