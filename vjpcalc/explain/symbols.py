"""A rule in the symbols of one step: ``g @ b.mT`` at ``out = x @ W`` becomes ``out.grad @ W.mT``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vjpcalc.language.code import code
from vjpcalc.language.scope import parsed
from vjpcalc.language.trace import Applied, Node, nodes_in
from vjpcalc.language.tree import Apply, Evaluate, Name
from vjpcalc.operators.registry import table

# What the rules of rows that move elements say, in words.
IN_WORDS = {row.name: row.in_words for row in table() if row.in_words}


def in_symbols(rule: str, node: Applied, names: Mapping[int, str]) -> str:
    """A rule on one line, with the names of a node and of its arguments in place of g, y and the parameters.

    ``names`` are the nodes' by index. Names that the rule itself assigns stay.
    """
    program = parsed(rule)
    own = names[node.index]
    match program.statements:
        case (Evaluate(Apply(function, (Name("g"), *_))),) if function in IN_WORDS:
            return f"{own}.grad, {IN_WORDS[function]}"
    symbols = {parameter: _symbol(value, names) for parameter, value in node.arguments.items()}
    symbols |= {"g": f"{own}.grad", "y": own}

    def named(name: str) -> str:
        symbol = symbols.get(name, name)
        return f"({symbol})" if symbol.startswith("-") else symbol

    return "; ".join(line.strip() for line in code(program, named).split("\n"))


def _symbol(value: Any, names: Mapping[int, str]) -> str:
    """An argument: a tensor by its node's name, an option as it is written."""
    if isinstance(value, Node):
        return names[value.index]
    if isinstance(value, tuple | list):
        inner = ", ".join(_symbol(item, names) for item in value)
        return f"[{inner}]" if any(True for _ in nodes_in(value)) else f"({inner}{',' * (len(value) == 1)})"
    if isinstance(value, slice):
        return ":".join("" if part is None else str(part) for part in (value.start, value.stop))
    return "..." if value is Ellipsis else str(value)
