"""The graph of a run in torch: its nodes from leaves to outputs, our names beside torch's."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vjpcalc.language.naming import expression_of, names_of
from vjpcalc.language.trace import Applied, Node, Trace, ancestors
from vjpcalc.tensors.dtypes import dtype_of


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes that the outputs of a trace were computed from, themselves too."""

    trace: Trace

    @functools.cached_property
    def names(self) -> Mapping[int, str]:
        """What each node is called, by index."""
        return names_of(self.trace)

    @functools.cached_property
    def nodes(self) -> tuple[Node, ...]:
        """In the order in which they were computed."""
        reached = ancestors(self.trace.outputs.values())
        return tuple(node for node in self.trace.nodes if node in reached)

    @property
    def edges(self) -> list[tuple[Node, Node]]:
        return [(source, node) for node in self.nodes for source in node.inputs]

    def text(self, node: Node) -> str:
        """A node as the user wrote it."""
        return expression_of(node, self.trace, self.names)

    def record(self, node: Node) -> dict[str, Any]:
        """A node as JSON: what it is, what it was computed from, what torch calls it."""
        return {
            "name": self.names[node.index],
            "kind": kind_of(node),
            "operator": node.operator.name if isinstance(node, Applied) else None,
            "expression": self.text(node),
            "inputs": [self.names[source.index] for source in node.inputs],
            "shape": list(node.shape),
            "dtype": dtype_of(node.value),
            "requires_grad": bool(node.value.requires_grad),
            "grad_fn": list(torch_nodes(node)),
            "iterations": list(node.iterations),
        }


def kind_of(node: Node) -> str:
    """``operator``, ``leaf`` or ``constant``."""
    if isinstance(node, Applied):
        return "operator"
    return "leaf" if node.value.requires_grad else "constant"


def torch_nodes(node: Node) -> tuple[str, ...]:
    """The names of torch's own nodes that make up this one, the last one first: ``("MmBackward0",)``."""
    start = node.value.grad_fn
    if not isinstance(node, Applied) or start is None:
        return ("AccumulateGrad",) if kind_of(node) == "leaf" else ()
    ends = {source.value.grad_fn for source in node.inputs if source.value.grad_fn is not None}
    names: list[str] = []
    seen = set()
    stack = [start]
    while stack and len(names) < 32:
        function = stack.pop()
        if function is None or function in seen or function in ends:
            continue
        seen.add(function)
        name = function.name().rpartition("::")[2]
        if name != "AccumulateGrad":
            names.append(name)
            stack.extend(following for following, _ in reversed(function.next_functions))
    return tuple(names)
