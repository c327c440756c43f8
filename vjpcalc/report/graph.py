"""The graph of a program, leaves to outputs: as a tree, as text for Graphviz or Mermaid, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vjpcalc.diagnostics import FORMAT_VERSION, count
from vjpcalc.job.graph import Graph, kind_of, torch_nodes
from vjpcalc.language.trace import Applied, Node
from vjpcalc.report import numbers
from vjpcalc.report.document import Block, Text, Tree, line

MOST = 150  # lines of a tree
LONGEST = 48  # characters of an expression


def _text(graph: Graph, node: Node) -> str:
    text = graph.text(node)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _lines(graph: Graph, node: Node) -> list[str]:
    """What stands in a node's box: its name and text, its operator, torch's nodes."""
    name, text, shape = graph.names[node.index], _text(graph, node), numbers.shape(node.shape)
    if not isinstance(node, Applied):
        return [name, f"{kind_of(node)} {shape}"]
    return [
        name if name == text else f"{name} = {text}",
        f"{node.operator.name} {shape}",
        *([_short(torch_nodes(node))] if node.value.requires_grad else []),
    ]


def _short(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


# ---- the tree ----------------------------------------------------------------------------------------------


def graph_report(graph: Graph) -> list[Block]:
    """A tree for each output: what it was computed from hangs below, a node that is used twice only once."""
    drawn: set[int] = set()
    is_whole = True

    def grow(node: Node) -> Tree:
        nonlocal is_whole
        again = node.index in drawn
        drawn.add(node.index)
        parts = _parts(graph, node)
        if not isinstance(node, Applied):
            return Tree(parts)
        if again:
            return Tree((*parts[:1], Text("  see above", "dim")))
        children = []
        for source in node.inputs:
            if len(drawn) < MOST:
                children.append(grow(source))
            else:
                is_whole = False
        return Tree(parts, tuple(children))

    blocks: list[Block] = [grow(node) for node in graph.trace.outputs.values()]
    if not is_whole:
        more = len(graph.nodes) - len(drawn)
        blocks.append(line(Text(f"{count(more, 'more node')}: --format dot, mermaid or json has all", "dim")))
    return blocks


def _parts(graph: Graph, node: Node) -> tuple[Text, ...]:
    name, text = graph.names[node.index], _text(graph, node)
    role = "name" if node.value.requires_grad else "dim"
    shape = numbers.shape(node.shape)
    if not isinstance(node, Applied):
        torch = "  AccumulateGrad" if kind_of(node) == "leaf" else ""
        return (Text(name, role), Text(f"  {kind_of(node)} {shape}", "dim"), Text(torch, "operator"))
    written = [Text(f" = {text}")] if name != text else []
    torch = "  " + " ← ".join(torch_nodes(node)[:4]) if node.value.requires_grad else ""
    return (
        Text(name, role),
        *written,
        Text(f"  {node.operator.name} {shape}", "dim"),
        Text(torch, "operator"),
    )


# ---- texts for other programs ------------------------------------------------------------------------------

FONT = "Helvetica, Arial, sans-serif"
DOT = {
    "leaf": 'shape=box, style="rounded,filled", fillcolor="#cfe4ff", color="#2c6fd2"',
    "constant": 'shape=box, style="rounded,dashed", color="#8a8f98", fontcolor="#5b616b"',
    "operator": 'shape=box, style=filled, fillcolor="#f6f7f9", color="#5b616b"',
    "output": 'shape=box, style="filled,bold", fillcolor="#ffe3d0", color="#e26314"',
}
MERMAID = """\
  classDef leaf fill:#cfe4ff,stroke:#2c6fd2,color:#111
  classDef constant fill:#fff,stroke:#8a8f98,stroke-dasharray:4,color:#5b616b
  classDef operator fill:#f6f7f9,stroke:#5b616b,color:#111
  classDef output fill:#ffe3d0,stroke:#e26314,color:#111
"""


def _look(graph: Graph, node: Node) -> str:
    return "output" if any(node is output for output in graph.trace.outputs.values()) else kind_of(node)


def dot(graph: Graph) -> str:
    """The graph in Graphviz's language. What carries no gradient is dashed."""
    lines = [
        "digraph vjpcalc {",
        f'  graph [rankdir=TB, bgcolor="white", fontname="{FONT}"];',
        f'  node [fontname="{FONT}", fontsize=11, margin="0.14,0.08"];',
        '  edge [color="#5b616b", arrowsize=0.7];',
    ]
    for node in graph.nodes:
        label = "\\n".join(_dot_text(text) for text in _lines(graph, node))
        lines.append(f'  n{node.index} [label="{label}", {DOT[_look(graph, node)]}];')
    for source, node in graph.edges:
        look = "" if source.value.requires_grad else " [style=dashed]"
        lines.append(f"  n{source.index} -> n{node.index}{look};")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart, as GitHub and many editors draw it."""
    lines = ["flowchart TD"]
    for node in graph.nodes:
        label = "<br>".join(_mermaid_text(text) for text in _lines(graph, node))
        left, right = ("[", "]") if isinstance(node, Applied) else ("([", "])")
        lines.append(f'  n{node.index}{left}"{label}"{right}:::{_look(graph, node)}')
    for source, node in graph.edges:
        lines.append(f"  n{source.index} {'-->' if source.value.requires_grad else '-.->'} n{node.index}")
    return "\n".join([*lines, MERMAID])


def _mermaid_text(text: str) -> str:
    """Mermaid writes characters that mean something to it as ``#35;``, their number."""
    return "".join(f"#{ord(c)};" if c in '#"<>&`*_[]{}|\\' else c for c in text)


def graph_document(graph: Graph) -> dict[str, Any]:
    """The graph as JSON."""
    return {
        "format_version": FORMAT_VERSION,
        "expression": graph.trace.source.text,
        "graph": {
            "outputs": {name: graph.names[node.index] for name, node in graph.trace.outputs.items()},
            "nodes": [graph.record(node) for node in graph.nodes],
            "edges": [[graph.names[source.index], graph.names[node.index]] for source, node in graph.edges],
        },
    }
