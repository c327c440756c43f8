"""A text of the operator table in mathematical notation: ``g * (1 - y**2)`` becomes ``ȳ·(1 − y²)``.

g is the cotangent of the output, so it is written ȳ; a parameter x's cotangent is x̄.
"""

from __future__ import annotations

from vjpcalc.language import code, tree
from vjpcalc.language.scope import row_program
from vjpcalc.operators.row import Operator

BAR = "\u0304"  # combining macron
SUPERSCRIPTS = str.maketrans("0123456789-+nx", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿˣ")
NAMES = {"g": "y" + BAR, "pi": "π", "inf": "∞", "alpha": "α", "beta": "β", "eps": "ε", "lambd": "λ"}
FUNCTIONS = {"sqrt": "√", "sum": "Σ", "prod": "∏", "log": "ln"}
SIGNS = {
    "+": " + ", "-": " − ", "*": "·", "/": " / ", "@": " ", "<": " < ", "<=": " ≤ ", ">": " > ", ">=": " ≥ ",
    "==": " = ", "!=": " ≠ ", "&": " and ", "|": " or ", "^": " xor ", "//": " // ", "%": " mod ",
}  # fmt: skip
# How tightly a sign binds: as in code, except that masks are joined by words.
PRECEDENCE = code.PRECEDENCE | {
    sign: code.PRECEDENCE[word] for sign, word in (("&", "and"), ("|", "or"), ("^", "or"))
}
SUPERSCRIPT = PRECEDENCE["number"]  # and a root
ATOM = code.ATOM


def mathematics(row: Operator, text: str) -> str:
    """A text of a row in mathematical notation, its statements on one line."""
    return "; ".join(_statement(statement) for statement in row_program(row, text).statements)


def cotangent(parameter: str) -> str:
    """``x̄`` for x; a longer name gets its bar over the first letter's place."""
    return f"{parameter}{BAR}" if len(parameter) == 1 else f"{parameter[0]}{BAR}{parameter[1:]}"


def _statement(statement: tree.Statement) -> str:
    if isinstance(statement, tree.Evaluate):
        return _print(statement.value)[0]
    if isinstance(statement, tree.Assign):
        return f"{', '.join(statement.names)} = {_print(statement.value)[0]}"
    return "…"


def _print(expression: tree.Expression) -> tuple[str, int]:
    """The notation of an expression, and how tightly it binds."""
    match expression:
        case tree.Literal(value):
            text = "∞" if value == float("inf") else str(value)
            return text.replace("-", "−"), PRECEDENCE["prefix"] if text.startswith("-") else ATOM
        case tree.Name(name):
            return NAMES.get(name, name), ATOM
        case tree.Items(items, is_list):
            inner = ", ".join(_print(item)[0] for item in items)
            return (f"[{inner}]" if is_list else f"({inner})"), ATOM
        case tree.Slice(start, stop, step):
            parts = ["" if part is None else _print(part)[0] for part in (start, stop)]
            return ":".join(parts) + (f":{_print(step)[0]}" if step is not None else ""), ATOM
        case tree.Member(base, name):
            inner = _bracket(base, ATOM)
            return (f"{inner}ᵀ" if name in ("T", "mT") else f"{inner}.{name}"), ATOM
        case tree.Choice(condition, yes, no):
            return f"{_print(yes)[0]} if {_print(condition)[0]} else {_print(no)[0]}", PRECEDENCE["if"]
        case tree.Logical(sign, items):
            return f" {sign} ".join(_bracket(item, PRECEDENCE[sign] + 1) for item in items), PRECEDENCE[sign]
        case tree.Apply():
            return _apply(expression)
    raise AssertionError(expression)


def _bracket(expression: tree.Expression, place: int) -> str:
    text, level = _print(expression)
    return f"({text})" if level < place else text


def _apply(call: tree.Apply) -> tuple[str, int]:
    name, arguments = call.function, call.arguments
    if name == "getitem":
        return f"{_bracket(arguments[0], ATOM)}[{_print(arguments[1])[0].strip('()')}]", ATOM
    if name == "neg":
        return f"−{_bracket(arguments[0], PRECEDENCE['*'])}", PRECEDENCE["*"]
    if name in ("not", "logical_not"):
        return f"not {_bracket(arguments[0], PRECEDENCE['prefix'])}", PRECEDENCE["not"]
    if name == "pow" and call.sign:
        exponent = _print(arguments[1])[0].replace("−", "-")
        base = _bracket(arguments[0], ATOM)
        if all(c in "0123456789-+n" for c in exponent):
            return base + exponent.translate(SUPERSCRIPTS), SUPERSCRIPT
        return f"{base}^{_bracket(arguments[1], SUPERSCRIPT)}", PRECEDENCE["**"]
    if call.sign in SIGNS and len(arguments) == 2:
        level = PRECEDENCE[call.sign]
        left, right = _bracket(arguments[0], level), _bracket(arguments[1], level + 1)
        return f"{left}{SIGNS[call.sign]}{right}", level
    if name == "where" and len(arguments) == 3:
        condition, yes, no = (_print(argument)[0] for argument in arguments)
        return f"{{{yes} where {condition}, else {no}}}", ATOM
    if name == "abs" and len(arguments) == 1:
        return f"|{_print(arguments[0])[0]}|", ATOM
    inner = [_print(argument)[0] for argument in arguments]
    inner += [f"{key}={_print(value)[0]}" for key, value in call.keywords]
    if name == "exp" and len(inner) == 1:
        return f"e^{_bracket(arguments[0], ATOM)}", PRECEDENCE["**"]
    if name == "inv" and len(inner) == 1:
        return f"{_bracket(arguments[0], ATOM)}⁻¹", ATOM
    if call.method:
        return f"{_bracket(arguments[0], ATOM)}.{name}({', '.join(inner[1:])})", ATOM
    function = FUNCTIONS.get(name, name)
    if function == "√" and len(arguments) == 1:
        return f"√{_bracket(arguments[0], ATOM)}", SUPERSCRIPT
    return f"{function}({', '.join(inner)})", ATOM
