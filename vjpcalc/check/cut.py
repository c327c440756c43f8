"""A program cut at its narrow sums: what is left of a full Jacobian once a mean or a norm is held.

x / norm(x) has a full Jacobian, for every output depends on all elements through one number, c. With c held,
each depends on one; and what is summed into c does, too. So the outputs y and all that is summed, t, are
differentiated side by side: K = ∂(y, t)/∂x with every such number held is sparse. The seed of t comes of the
chain rule: w = (∂(y, t)/∂c)ᵀ·s is what arrives at c, and a sum hands it to each summand. Numbers further down
come first. Then Jᵀ·v = Kᵀ·s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

from vjpcalc.check.derivative import relative_scale
from vjpcalc.check.ending import Part, part_of, scaling, size_of
from vjpcalc.check.jacobian import Jacobian, Layout, jacobian
from vjpcalc.check.replay import Replay
from vjpcalc.check.sparsity import OTHER
from vjpcalc.diagnostics import count
from vjpcalc.language.trace import Applied, Input, Node, ancestors
from vjpcalc.operators.row import numel

NARROW = 8  # numbers that one sum may have
HELD = 32  # … and all of them: each takes an evaluation
# How many times as much as a sum its rounding may count in what is computed of it. Inside of torch's kernels
# a mean rounds once for all elements, which noise of these does not show: 2,900 times for the layer_norm of
# numbers around 9 that differ by 0.003. For the mean of 20,000 numbers around 0 it is 100.
STEADY = 256.0


@dataclass(frozen=True, eq=False)
class Cut:
    """``parts`` are the sums, in order, and ``slopes`` what all targets have for slopes in each of them.

    ``targets`` are the outputs, of ``size`` numbers, and what is summed, each once.
    """

    targets: tuple[Node, ...]
    size: int
    parts: tuple[Part, ...]
    slopes: tuple[Jacobian, ...]

    def back(self, v: np.ndarray, *, sizes: bool = False) -> np.ndarray:
        """The seed of the targets, joined, for a seed v of the outputs; for ``sizes``, nothing cancels."""
        return self._back(v, [np.abs(own.entries) if sizes else own.entries for own in self.slopes], sizes)

    def doubt(self, v: np.ndarray) -> np.ndarray:
        """How far off that may be, for sizes v: what the errors of the slopes make of it."""
        entries = [np.abs(own.entries) for own in self.slopes]
        larger = [size + own.errors for size, own in zip(entries, self.slopes, strict=True)]
        return self._back(v, larger, True) - self._back(v, entries, True)

    def _back(self, v: np.ndarray, slopes: Sequence[np.ndarray], sizes: bool) -> np.ndarray:
        ends = np.cumsum([numel(node.shape) for node in self.targets])
        seed = np.concatenate([v, np.zeros(ends[-1] - self.size)])
        places = {node.index: slice(end - numel(node.shape), end)
                  for node, end in zip(self.targets, ends, strict=True) if end > self.size}  # fmt: skip
        for part, slope in zip(self.parts[::-1], slopes[::-1], strict=True):
            used = seed != 0  # what the seed leaves out counts for nothing, even if it is not finite
            arriving = (slope[used].T @ seed[used]).reshape(part.node.shape)
            for source, back in part.backs:
                seed[places[source.index]] += back(arriving, sizes).ravel()
        return seed

    @property
    def words(self) -> str:
        """What was done, after what is said of the columns."""
        return f", {count(sum(numel(part.node.shape) for part in self.parts), 'sum')} apart"


def cut(whole: Replay) -> tuple[Replay, Cut] | None:
    """The replay of the outputs and of what is summed, with the sums held; None where there are none to hold.

    None as well where a slope in one of them is not a plain number: at a kink, or where it is not finite.
    """
    trace, varying = whole.trace, whole.varying
    if not whole.analytic:
        return None
    needed = ancestors(whole.targets, through=lambda node: node.index in varying)
    narrow = [
        node for node in varying.values()
        if isinstance(node, Applied) and node in needed and numel(node.shape) <= NARROW
    ]  # fmt: skip
    parts = [part for node in narrow if (part := _sum(node, whole)) is not None]
    if not parts or sum(numel(part.node.shape) for part in parts) > HELD:
        return None
    held = {part.node.index: f"sum {number}" for number, part in enumerate(parts, 1)}
    inputs: dict[str, Node] = {
        held[part.node.index]: Input(index=part.node.index, value=part.node.value) for part in parts
    }
    summed = {source.index: source for part in parts for source, _ in part.backs}
    targets = (*whole.targets, *summed.values())
    apart = replace(
        trace,
        nodes=[node for node in trace.nodes if node.index not in held],
        inputs={**trace.inputs, **inputs},
    )
    size, total = whole.primal.size, sum(numel(node.shape) for node in targets)
    slopes = []
    for part in parts:
        replay = Replay(apart, held[part.node.index], targets, whole.differentiate)
        if not replay.analytic or replay.kinks:
            return None
        value = np.asarray(part.node.value, np.float64)
        slope = jacobian(replay, Layout((total, value.size), relative_scale(value)))
        if not np.isfinite(slope.entries + slope.errors).all() or not _steady(part, targets, slope.entries):
            return None
        slopes.append(slope)
    return (
        Replay(apart, whole.name, targets, whole.differentiate),
        Cut(targets, size, tuple(parts), tuple(slopes)),
    )


def _steady(part: Part, targets: Sequence[Node], slopes: np.ndarray) -> bool:
    """True if the rounding of a sum counts for no more than STEADY times as much in any of the targets."""
    moved = np.abs(slopes) @ np.ravel(size_of(part, {}))
    start = 0
    for target in targets:
        end = start + numel(target.shape)
        if np.max(moved[start:end], initial=0.0) > STEADY * np.max(np.abs(target.value), initial=0.0):
            return False
        start = end
    return True


def _sum(node: Applied, replay: Replay) -> Part | None:
    """How the cotangent of a sum, or of a product of two vectors, goes back to its operands."""
    if node.operator.name == "matmul" and all(source.value.ndim == 1 for source in node.inputs):
        names = tuple(name for name, value in node.arguments.items() if value.index in replay.varying)
        return scaling(node, names, lambda name: node.arguments[OTHER[name]].value)
    return part_of(node, replay.varying) if node.operator.name == "sum" else None
