"""What the nodes of a trace are called, and how each reads as the user wrote it."""

from __future__ import annotations

from collections.abc import Mapping

from vjpcalc.language.trace import Applied, Input, Node, Trace, ancestors, with_values
from vjpcalc.operators.row import numel


def names_of(trace: Trace) -> dict[int, str]:
    """What to call each node: as the user named it, ``y#3`` for the y of a loop's third turn, else %1, %2, ….

    A name given again is ``y′``; a number that became a tensor is called by its text.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    outputs = {node.index: name for name, node in trace.outputs.items()}
    reached = ancestors(trace.outputs.values())
    numbered = 0
    for node in trace.nodes:
        name = node.name if isinstance(node, Input) else None
        name = name or trace.labels.get(node.index) or outputs.get(node.index)
        if name is not None:
            if isinstance(node, Applied) and node.iterations:
                name += "#" + ".".join(map(str, node.iterations))
            while name in taken:
                name += "′"
            taken.add(name)
        elif isinstance(node, Input):
            name = _constant_name(node, trace)
        elif node in reached:
            numbered += 1
            name = f"%{numbered}"
        else:
            name = "%"
        names[node.index] = name
    return names


def is_called(own: str, name: str) -> bool:
    """True if ``name`` refers to the node called ``own``: ``y`` means ``y#1``, ``y#2``, … too."""
    return own == name or own.partition("#")[0].rstrip("′") == name


def _constant_name(node: Input, trace: Trace) -> str:
    if numel(node.shape) == 1:
        value = node.value.item()
        return f"{value:g}" if isinstance(value, float) else str(value)
    text = written(node, trace)
    return text if 0 < len(text) <= 16 else "constant"


def written(node: Node, trace: Trace) -> str:
    """A node as the user wrote it, on one line; empty where no text of the user's stands for it."""
    return "" if node.span is None else " ".join(trace.source.text[node.span.start : node.span.stop].split())


def expression_of(node: Node, trace: Trace, names: Mapping[int, str]) -> str:
    """A node as the user wrote it, on one line; where there is no such text, as a call of its operator."""
    if not isinstance(node, Applied):
        return names[node.index]
    if node.span is not None:
        return written(node, trace)
    arguments = with_values(list(node.arguments.values()), lambda source: names[source.index])
    return f"{node.operator.name}({', '.join(map(str, arguments))})"


def text_of(node: Applied, trace: Trace) -> str:
    """A node as a message speaks of it: its source text in quotes, or its operator's name."""
    if node.span is None:
        return node.operator.name
    return f"'{trace.source.text[node.span.start : node.span.stop]}'"
