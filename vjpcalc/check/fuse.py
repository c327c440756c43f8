"""The steps of a replay: a NumPy kernel each, connected elementwise operators fused into one numexpr call.

The texts are made from the rows of our own table and from names of our own (``v0``, ``v1``, …): nothing of
the user's. numexpr takes up to 63 inputs, about 250 operations and 200 nested parentheses in one text, so
pieces are cut short of that.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

from vjpcalc.language.trace import Applied, Node, Trace

MAX_INPUTS = 60
MAX_OPERATIONS = 200
MAX_NESTING = 60
# In these a mask is an operand; elsewhere a mask is none, and numexpr would not mix the two as NumPy does.
MASK_OPERATORS = frozenset({"logical_and", "logical_or", "logical_xor", "logical_not"})


@dataclass(frozen=True, slots=True)
class Step:
    """Computes one node from the values of others."""

    node: Applied
    inputs: tuple[Node, ...]
    text: str | None  # the numexpr text with v0, v1, … for the inputs; None: the operator's NumPy kernel


@functools.lru_cache(4096)
def compiled(text: str, kinds: tuple[str, ...]) -> Callable[..., np.ndarray]:
    """A numexpr text over v0, v1, … as a function; ``kinds`` are the inputs' NumPy kinds: b, f or c."""
    import numexpr

    types = {"b": bool, "f": numexpr.necompiler.double, "c": complex}
    signature = [(f"v{i}", types[kind]) for i, kind in enumerate(kinds)]
    return numexpr.NumExpr(text, signature=signature, optimization="moderate", truediv=True)


def as_numexpr(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array if array.dtype.kind in "bc" else array.astype(np.float64, copy=False)


def steps(
    trace: Trace, varying: Mapping[int, Node], targets: Iterable[Node], *, complex_: bool
) -> list[Step]:
    """The steps that compute ``targets``, in order; an elementwise node with one user is printed into it."""
    wanted = {node.index for node in targets}
    users: dict[int, list[Applied]] = {}
    for node in reversed(trace.applied):
        if node.index in varying and (node.index in wanted or node.index in users):
            for source in node.inputs:
                if source.index in varying:
                    users.setdefault(source.index, []).append(node)
    waiting: dict[int, tuple[Applied, _Text]] = {}  # printed, to stand inside of their one user
    made = []

    def emit(node: Applied, text: _Text) -> None:
        made.append(Step(node, text.inputs, text.numbered()))

    for node in trace.applied:
        if node.index not in varying or not (node.index in wanted or node.index in users):
            continue
        operands = {
            source.index: waiting.pop(source.index) for source in node.inputs if source.index in waiting
        }
        text = _print(node, {index: printed for index, (_, printed) in operands.items()}, complex_)
        if text is None:
            for operand, printed in operands.values():
                emit(operand, printed)
            text = _print(node, {}, complex_)
        used = users.get(node.index, [])
        if text is None:
            made.append(Step(node, node.inputs, None))
        elif node.index not in wanted and len(used) == 1 and _fusable(used[0], complex_):
            waiting[node.index] = node, text
        else:
            emit(node, text)
    return made


@dataclass(frozen=True, slots=True)
class _Text:
    """A numexpr text whose inputs stand in it as ``#index#``."""

    text: str
    inputs: tuple[Node, ...]
    operations: int
    nesting: int

    def numbered(self) -> str:
        numbers = {node.index: f"v{i}" for i, node in enumerate(self.inputs)}
        return re.sub(r"#(\d+)#", lambda index: numbers[int(index.group(1))], self.text)


def _fusable(node: Applied, complex_: bool) -> bool:
    row = node.operator
    return bool(row.numexpr) and (not complex_ or row.complex in ("numexpr", "constant"))


def _print(node: Applied, texts: Mapping[int, _Text], complex_: bool) -> _Text | None:
    """The node as numexpr text, the ``texts`` of its operands printed into it; None if it cannot be one."""
    if not _fusable(node, complex_):
        return None
    parts: dict[str, str] = {}
    inputs: dict[int, Node] = {}
    operations, nesting = 1, 0
    for parameter, value in node.arguments.items():
        if isinstance(value, Node):
            # masks and numbers do not mix in numexpr as they do in NumPy
            if (value.value.dtype.kind == "b") != _takes_mask(node, parameter):
                return None
            inner = texts.get(value.index) or _Text(f"#{value.index}#", (value,), 0, 0)
            parts[parameter] = inner.text
            inputs.update((source.index, source) for source in inner.inputs)
            operations += inner.operations
            nesting = max(nesting, inner.nesting)
        elif isinstance(value, int | float) and np.isfinite(value) and (value or not _divides(node)):
            parts[parameter] = f"({float(value)!r})"
        else:
            return None
    if len(inputs) > MAX_INPUTS or operations > MAX_OPERATIONS or nesting >= MAX_NESTING:
        return None
    body = re.sub(
        r"\b[a-z]\w*\b(?!\s*\()", lambda name: parts.get(name.group(0), name.group(0)), node.operator.numexpr
    )
    return _Text(f"({body})", tuple(inputs.values()), operations, nesting + 1)


def _divides(node: Applied) -> bool:
    """True for an operator that numexpr folds by Python's rules, by which 1 / 0.0 is an error."""
    return node.operator.name in ("div", "reciprocal", "pow")


def _takes_mask(node: Applied, parameter: str) -> bool:
    name = node.operator.name
    return name in MASK_OPERATORS or (name == "where" and parameter == "condition")
