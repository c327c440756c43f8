"""The ending of a program, from its last sums on: what is made of sums, moved, scaled and added up.

sum(tanh(x)**2) has a Jacobian of one full row, which takes an evaluation for each leaf element; what is
summed has one entry a row, and one evaluation yields them all. As Jᵀ·v = Kᵀ·(Lᵀ·v), where K is the Jacobian
of what is summed and L that of the ending, the seed is taken back through the ending and the program is
differentiated up to there. L is plain: a sum hands its cotangent to each summand, a movement to where an
element came from, and an elementwise operator has the slopes of its own complex steps. No rule is asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

from vjpcalc.check.replay import STEP
from vjpcalc.check.sparsity import moved
from vjpcalc.engines.kernels.reductions import axes_of
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.language.trace import Applied, Node, Trace, nodes_in, with_values
from vjpcalc.operators.row import numel

SUMS = ("sum", "matmul")
NUDGE = 2.0**-20  # by which an operand is moved, relative to its size, to see whether a slope is steady
# How many times as much as its operand a slope may change: 1/2 for a square root, 1 for a logarithm; more for
# log(s) where s cancels, and for tanh(s) where 1 - tanh(s)² does. What amplifies rounding by more than this
# is differentiated with the rest, and its noise measured.
STEADY = 64.0

# A cotangent of a node → what one of its inputs receives. With True, of sizes: no two terms cancel, and what
# amplifies rounding is as much larger.
Back = Callable[[np.ndarray, bool], np.ndarray]


@dataclass(frozen=True, eq=False)
class Part:
    """An operator of an ending: the inputs that vary, and how its cotangent goes back to each.

    ``sloped`` names the operands of an elementwise one that vary; ``linear`` is true if it is so in them all,
    else ``amplified`` says by how many times each slope amplifies rounding, once that is known.
    """

    node: Applied
    backs: tuple[tuple[Node, Back], ...]
    sloped: tuple[str, ...] = ()
    linear: bool = True
    amplified: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Ending:
    """``outputs`` as a function of ``targets``, by ``parts``, the last one first."""

    outputs: tuple[Node, ...]
    targets: tuple[Node, ...]
    parts: tuple[Part, ...]

    words = ", before the last sum"  # after what is said of the columns

    def back(self, v: np.ndarray, *, sizes: bool = False) -> np.ndarray:
        """Lᵀ·v: the seed of the targets, joined, for a seed v of the outputs; for ``sizes`` |L|ᵀ·v."""
        arriving: dict[int, np.ndarray] = {}

        def add(node: Node, cotangent: np.ndarray) -> None:
            cotangent = cotangent.reshape(node.shape)
            before = arriving.get(node.index)
            arriving[node.index] = cotangent if before is None else before + cotangent

        ends = np.cumsum([numel(node.shape) for node in self.outputs])
        for node, seed in zip(self.outputs, np.split(v, ends[:-1]), strict=True):
            add(node, seed)
        for part in self.parts:
            for source, back in part.backs:
                add(source, back(arriving[part.node.index], sizes))
        return np.concatenate([arriving[node.index].ravel() for node in self.targets])


def ending(trace: Trace, varying: Mapping[int, Node], outputs: Sequence[Node]) -> Ending | None:
    """The ending of a program in the nodes that are ``varying``; None where it sums nothing.

    A node belongs to it if it sums, if it is linear and something in it leads back to a sum, or if it is an
    elementwise function of nothing but sums, at a point where that is steady.
    """
    parts = _parts(varying, outputs)
    if not parts:
        return None
    kinked = {source.index for kink in trace.kinks for source in kink.inputs}
    summed: set[int] = set()
    sizes: dict[int, np.ndarray] = {}  # what those made of sums alone would be if nothing cancelled
    for index in sorted(parts):
        part = parts[index]
        node = part.node
        from_sums = [source.index in sizes for source, _ in part.backs]
        if node.operator.name in SUMS:
            belongs = True
        elif part.linear:
            belongs = any(source.index in summed for source, _ in part.backs)
        else:
            belongs = all(from_sums) and not any(source.index in kinked for source, _ in part.backs)
            belongs = belongs and _steady(part, sizes)
        if belongs:
            summed.add(index)
            if node.operator.name in SUMS or all(from_sums):
                sizes[index] = size_of(part, sizes)
    reached = {node.index: node for node in outputs if node.index in varying}
    taken = []
    for index in sorted(summed, reverse=True):
        if index in reached:
            taken.append(parts[index])
            reached |= {source.index: source for source, _ in parts[index].backs}
    targets = [reached[index] for index in sorted(reached) if index not in summed]
    return Ending(tuple(outputs), tuple(targets), tuple(taken)) if taken else None


def _parts(varying: Mapping[int, Node], outputs: Sequence[Node]) -> dict[int, Part]:
    """All that may belong to an ending, by index: from the outputs back to what cannot."""
    leading: set[int] = set()  # to a sum
    for node in varying.values():
        if not isinstance(node, Applied):
            continue
        if node.operator.name in SUMS or (leading and any(s.index in leading for s in node.inputs)):
            leading.add(node.index)
    parts: dict[int, Part] = {}
    stack = [node for node in outputs if node.index in leading]
    while stack:
        node = stack.pop()
        part = part_of(node, varying) if isinstance(node, Applied) and node.index not in parts else None
        if part is not None:
            inner = [source for source, _ in part.backs if source.index in leading]
            if part.linear or len(inner) == len(part.backs):
                parts[node.index] = part
                stack += inner
    return parts


def part_of(node: Applied, varying: Mapping[int, Node]) -> Part | None:
    """How the cotangent of a node goes back; None for one that cannot belong to an ending."""
    row, arguments = node.operator, node.arguments
    moving = [source for source in node.inputs if source.index in varying]
    if row.function is not None or not moving:
        return None
    if row.kind == "movement" or row.mixes == "moves":
        tensors = [arguments[p.name] for p in row.parameters if p.kind in ("tensor", "tensors")]
        return _movement(node, moving) if set(moving) <= set(nodes_in(tensors)) else None
    if row.name == "sum":
        return Part(node, ((moving[0], functools.partial(_spread, node)),))
    names = tuple(name for name, value in arguments.items() if value in moving)
    if row.name == "matmul":
        is_dot = len(moving) == 1 and node.inputs[0].value.ndim == node.inputs[1].value.ndim == 1
        other = {"a": "b", "b": "a"}[names[0]]
        return scaling(node, names, lambda name: arguments[other].value) if is_dot else None
    if row.kind != "elementwise" or row.complex not in ("numexpr", "numpy") or len(names) != len(moving):
        return None
    alone = len(names) == 1 and (row.name == "mul" or (row.name == "div" and names[0] == "a"))
    linear = alone or row.name in ("add", "sub", "neg")
    return scaling(node, names, functools.partial(_slope, node), linear=linear)


# ---- what is handed back -----------------------------------------------------------------------------------


def _spread(node: Applied, cotangent: np.ndarray, sizes: bool) -> np.ndarray:
    """Of a sum: each summand receives the cotangent of the sum that it is in."""
    x = node.arguments["x"]
    if not node.arguments["keepdim"]:
        cotangent = np.expand_dims(cotangent, axes_of(x.value, node.arguments["dim"]))
    return np.broadcast_to(cotangent, x.shape)


def _movement(node: Applied, moving: Sequence[Node]) -> Part:
    """Of a movement: what an element receives is added to where it came from."""
    sources = list(dict.fromkeys(moving))
    starts = np.cumsum([1, *(numel(source.shape) for source in sources[:-1])])

    @functools.cache
    def came() -> np.ndarray:
        numbers = {
            source.index: start + np.arange(numel(source.shape)).reshape(source.shape)
            for source, start in zip(sources, starts, strict=True)
        }
        return moved(node, numbers).ravel()

    def back(start: int, size: int, cotangent: np.ndarray, sizes: bool) -> np.ndarray:
        own = came() - start
        mine = (own >= 0) & (own < size)
        return np.bincount(own[mine], weights=cotangent.ravel()[mine], minlength=size)

    backs = (functools.partial(back, start, numel(s.shape)) for s, start in zip(sources, starts, strict=True))
    return Part(node, tuple(zip(sources, backs, strict=True)))


def scaling(
    node: Applied, names: tuple[str, ...], slope: Callable[[str], np.ndarray], *, linear: bool = True
) -> Part:
    """Of an elementwise operator, or a product: the slope times as much, broadcasting undone."""
    slope = functools.cache(slope)
    amplified: dict[str, np.ndarray] = {}

    def back(name: str, source: Node, cotangent: np.ndarray, sizes: bool) -> np.ndarray:
        factor = np.abs(slope(name)) * (1 + amplified.get(name, 0.0)) if sizes else slope(name)
        product = np.asarray(cotangent * factor)
        extra = product.ndim - len(source.shape)
        ones = tuple(i + extra for i, size in enumerate(source.shape) if size == 1)
        return product.sum(axis=(*range(extra), *ones))

    backs = ((node.arguments[name], functools.partial(back, name, node.arguments[name])) for name in names)
    return Part(node, tuple(backs), names, linear, amplified)


def _slope(node: Applied, name: str, sizes: Mapping[int, np.ndarray] | None = None) -> np.ndarray:
    """The slope in one operand by a complex step; with ``sizes``, where those operands are nudged."""

    def value(of: str, operand: Any) -> Any:
        if not isinstance(operand, Node):
            return operand
        there = operand.value
        if sizes is not None and operand.index in sizes:
            size = sizes[operand.index]
            there = there + NUDGE * np.where(size > 0, size, 1.0)
        return there + 1j * STEP if of == name else there

    arguments = {of: value(of, operand) for of, operand in node.arguments.items()}
    return np.imag(ReferenceEngine().apply(node.operator, arguments)) / STEP


# ---- whether it amplifies rounding -------------------------------------------------------------------------


def _steady(part: Part, sizes: Mapping[int, np.ndarray]) -> bool:
    """True if the slopes are finite, and do not amplify the rounding of operands, or of the value, by much.

    torch's formula may be one of the operand or one of the value: 1/s for log(s), 1 - y² for y = tanh(s).
    """
    node = part.node
    for name in part.sloped:
        slope, nudged = np.abs(_slope(node, name)), np.abs(_slope(node, name, sizes))
        with np.errstate(all="ignore"):
            of_operand = np.abs(nudged - slope) / (NUDGE * slope)
            of_value = np.abs(node.value) / (slope * sizes[node.arguments[name].index])
            part.amplified[name] = np.maximum(of_operand, of_value)
        if not (part.amplified[name] <= STEADY).all():
            return False
    return True


def size_of(part: Part, sizes: Mapping[int, np.ndarray]) -> np.ndarray:
    """What a node made of sums would be if nothing cancelled."""

    def size(source: Node) -> np.ndarray:
        return sizes.get(source.index, np.abs(source.value))

    node = part.node
    if node.operator.kind == "elementwise":
        slopes = ((node.arguments[name], _slope(node, name)) for name in part.sloped)
        return np.abs(node.value) + sum(np.abs(slope) * size(source) for source, slope in slopes)
    arguments = {
        p.name: with_values(node.arguments[p.name], size if p.kind in ("tensor", "tensors") else _value)
        for p in node.operator.parameters
    }
    return ReferenceEngine().apply(node.operator, arguments)


def _value(node: Node) -> np.ndarray:
    return node.value
