"""What a run leaves behind: the Trace, a straight list of Nodes. Loops and branches are gone from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vjpcalc.diagnostics import Source, Span
from vjpcalc.operators.row import Operator


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Node:
    """One tensor of a run: an Input or Applied."""

    index: int
    value: Any
    span: Span | None = None
    iterations: tuple[int, ...] = ()  # which turn of each loop around it made it

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that it was computed from, in order; one that stands twice is there twice."""
        return ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Input(Node):
    """A tensor that the program was given, by ``name``; without one, a number in it that became a tensor."""

    name: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Applied(Node):
    """An operator applied.

    ``arguments`` are the row's parameters by name, with Nodes, Python numbers and options as values.
    """

    operator: Operator
    arguments: Mapping[str, Any]

    @property
    def inputs(self) -> tuple[Node, ...]:
        found: list[Node] = []
        for value in self.arguments.values():  # asked for often: most values are a Node, or a number
            if isinstance(value, Node):
                found.append(value)
            elif isinstance(value, tuple | list):
                found += nodes_in(value)
        return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """A named tuple of nodes, such as the (values, indices) of ``sort``."""

    operator: str
    items: Mapping[str, Node]

    def __repr__(self) -> str:
        return (
            f"the pair ({', '.join(self.items)})"
            if len(self.items) == 2
            else f"the tuple ({', '.join(self.items)})"
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """A condition on the value of a tensor, and how it came out.

    One ``of_reference`` stands in the reference of a user's function: torch, which runs the function, takes
    no such decision.
    """

    node: Node
    taken: Any
    span: Span
    of_reference: bool = False


@dataclass(frozen=True, slots=True)
class Kink:
    """An operator at a point where it is not differentiable: ``mask`` is true at the elements in question."""

    operator: Operator
    mask: Any
    inputs: tuple[Node, ...]
    span: Span | None


@dataclass(slots=True)
class Trace:
    """Everything that one run of a program did, in order."""

    source: Source
    nodes: list[Node] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    kinks: list[Kink] = field(default_factory=list)
    labels: dict[int, str] = field(default_factory=dict)  # node index → the first name it was assigned to
    inputs: dict[str, Node] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)  # every name's value at the end
    outputs: dict[str, Node] = field(default_factory=dict)

    @property
    def applied(self) -> list[Applied]:
        """The operators among the nodes."""
        return [node for node in self.nodes if isinstance(node, Applied)]


def nodes_in(value: Any) -> Iterator[Node]:
    """Every Node in a value: itself, or inside of lists, tuples and slices."""
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from nodes_in(item)


def with_values(value: Any, get: Callable[[Node], Any]) -> Any:
    """The same value with ``get(node)`` in place of each Node."""
    if isinstance(value, Node):
        return get(value)
    if isinstance(value, tuple):
        return tuple(with_values(item, get) for item in value)
    if isinstance(value, list):
        return [with_values(item, get) for item in value]
    return value


def with_arrays(value: Any, convert: Callable[[Any], Any]) -> Any:
    """The same value with each array in it converted."""
    if hasattr(value, "shape"):
        return convert(value)
    if isinstance(value, tuple | list):
        return type(value)(with_arrays(item, convert) for item in value)
    return value


def ancestors(nodes: Iterable[Node], through: Callable[[Node], bool] = lambda node: True) -> set[Node]:
    """The nodes that these were computed from, themselves too, as far as ``through`` admits."""
    seen: set[Node] = set()
    stack = [node for node in nodes if through(node)]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(source for source in node.inputs if through(source))
    return seen
