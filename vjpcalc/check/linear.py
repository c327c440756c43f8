"""The linear end of a program: sums, and what moves, scales and adds up what they are made of.

sum(tanh(x)**2) has a Jacobian of one full row, which takes an evaluation for each leaf element; what is
summed has one entry a row, and one evaluation yields them all. As Jᵀ·v = Kᵀ·(Lᵀ·v), where K is the Jacobian
of what is summed and L the sum, the seed is taken back through the end, by ones and by the numbers that stand
in the program, and the program is differentiated up to there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

from vjpcalc.check.sparsity import moved
from vjpcalc.engines.kernels.reductions import axes_of
from vjpcalc.language.trace import Applied, Node, Trace, nodes_in
from vjpcalc.operators.row import numel

# A cotangent of a node → that of one of its inputs; with True, of sizes: no two terms cancel.
Back = Callable[[np.ndarray, bool], np.ndarray]
Inputs = tuple[tuple[Node, Back], ...]

SIGNS = {"add": {"a": 1.0, "b": 1.0}, "sub": {"a": 1.0, "b": -1.0}, "neg": {"x": -1.0}}
SUMS = ("sum", "matmul")


@dataclass(frozen=True, eq=False)
class LinearEnd:
    """``outputs`` as a linear function of ``targets``, through the ``steps``, the last one first."""

    outputs: tuple[Node, ...]
    targets: tuple[Node, ...]
    steps: tuple[tuple[Node, Inputs], ...]

    def back(self, v: np.ndarray, *, sizes: bool = False) -> np.ndarray:
        """Lᵀ·v: the seed of the targets, joined, for a seed v of the outputs; for ``sizes`` |L|ᵀ·v."""
        parts = np.split(v, np.cumsum([numel(node.shape) for node in self.outputs])[:-1])
        arriving: dict[int, np.ndarray] = {}

        def add(node: Node, cotangent: np.ndarray) -> None:
            cotangent = cotangent.reshape(node.shape)
            before = arriving.get(node.index)
            arriving[node.index] = cotangent if before is None else before + cotangent

        for node, part in zip(self.outputs, parts, strict=True):
            add(node, part)
        for node, inputs in self.steps:
            for source, back in inputs:
                add(source, back(arriving[node.index], sizes))
        return np.concatenate([arriving[node.index].ravel() for node in self.targets])


def linear_end(trace: Trace, varying: Mapping[int, Node], outputs: Sequence[Node]) -> LinearEnd | None:
    """The linear end of a program in the nodes that are ``varying``; None where it sums nothing.

    It ends with the last sum on each way back: what is only moved or scaled is left to be differentiated.
    """
    linear: dict[int, tuple[Node, Inputs]] = {}
    stack = [node for node in outputs if node.index in varying]
    while stack:
        node = stack.pop()
        inputs = _transposed(node, varying) if isinstance(node, Applied) else None
        if inputs and node.index not in linear:
            linear[node.index] = node, inputs
            stack += [source for source, _ in inputs]
    summed: set[int] = set()  # the linear nodes that lead back to a sum
    for index, (node, inputs) in sorted(linear.items(), key=lambda item: item[0]):
        if _sums(node) or any(source.index in summed for source, _ in inputs):
            summed.add(index)
    if not summed:
        return None
    reached = {node.index: node for node in outputs if node.index in varying}
    steps = []
    for index in sorted(summed, reverse=True):
        if index in reached:
            steps.append(linear[index])
            reached |= {source.index: source for source, _ in linear[index][1]}
    targets = [reached[index] for index in sorted(reached) if index not in summed]
    return LinearEnd(tuple(outputs), tuple(targets), tuple(steps)) if steps else None


def _sums(node: Node) -> bool:
    return isinstance(node, Applied) and node.operator.name in SUMS


def _transposed(node: Applied, varying: Mapping[int, Node]) -> Inputs | None:
    """How a node's cotangent is taken to each of its inputs that vary; None if it is not linear in them."""
    row, arguments = node.operator, node.arguments
    moving = [source for source in node.inputs if source.index in varying]
    if row.function is not None or not moving:
        return None
    if row.kind == "movement" or row.mixes == "moves":
        tensors = [arguments[p.name] for p in row.parameters if p.kind in ("tensor", "tensors")]
        return _moved_back(node, moving) if set(moving) <= set(nodes_in(tensors)) else None
    if row.name == "sum":
        return ((moving[0], functools.partial(_spread, node)),)
    if row.name in SIGNS:
        signs = [(arguments[name], sign) for name, sign in SIGNS[row.name].items()]
        return tuple(
            (source, functools.partial(_scaled, source, sign)) for source, sign in signs if source in moving
        )
    if len(moving) > 1:
        return None
    (source,) = moving
    if row.name in ("mul", "matmul"):
        factor = _number(arguments["b"] if arguments["a"] is source else arguments["a"])
        if row.name == "matmul" and (len(source.shape) != 1 or factor.ndim != 1):
            return None
    elif row.name == "div" and arguments["a"] is source:
        with np.errstate(all="ignore"):
            factor = 1 / _number(arguments["b"])
    else:
        return None
    return ((source, functools.partial(_scaled, source, factor)),) if np.isfinite(factor).all() else None


def _number(operand: Any) -> np.ndarray:
    return np.asarray(operand.value if isinstance(operand, Node) else operand, dtype=np.float64)


def _spread(node: Applied, cotangent: np.ndarray, sizes: bool) -> np.ndarray:
    """Of a sum: each summand has the cotangent of the sum that it is in."""
    x = node.arguments["x"]
    if not node.arguments["keepdim"]:
        cotangent = np.expand_dims(cotangent, axes_of(x.value, node.arguments["dim"]))
    return np.broadcast_to(cotangent, x.shape)


def _scaled(source: Node, factor: np.ndarray | float, cotangent: np.ndarray, sizes: bool) -> np.ndarray:
    """Of a product with a constant, broadcasting undone."""
    product = np.asarray(cotangent * (np.abs(factor) if sizes else factor))
    extra = product.ndim - len(source.shape)
    ones = tuple(i + extra for i, size in enumerate(source.shape) if size == 1)
    return product.sum(axis=(*range(extra), *ones))


def _moved_back(node: Applied, moving: Sequence[Node]) -> Inputs:
    """Of a movement: each element is added to where it came from."""
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

    return tuple(
        (source, functools.partial(back, start, numel(source.shape)))
        for source, start in zip(sources, starts, strict=True)
    )
