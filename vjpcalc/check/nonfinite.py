"""Values that are not finite, and the operator that made the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check import words
from vjpcalc.check.alone import by_itself
from vjpcalc.diagnostics import element_name
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.job.autograd import cotangents
from vjpcalc.job.result import VJP
from vjpcalc.language.naming import names_of, text_of
from vjpcalc.language.trace import Applied, Node, Trace, ancestors
from vjpcalc.operators.row import Operator

SEED = "the seed"


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the first number that is not finite comes from: ``first made by the backward of 'sqrt(x)'``.

    ``node`` is None where it was no operator's forward or backward, but an input, the seed or a sum of
    cotangents.
    """

    text: str
    node: Applied | None = None

    @property
    def operator(self) -> Operator | None:
        return None if self.node is None else self.node.operator


def _first(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """The index of the first element that is not finite."""
    bad = ~torch.isfinite(tensor)
    return tuple(map(int, bad.nonzero()[0])) if bad.any() else None


def output_not_finite(vjp: VJP) -> str | None:
    """The first output that is not finite, and who made it, in words."""
    for name, tensor in vjp.outputs.items():
        index = _first(tensor)
        if index is not None:
            origin = forward_origin(vjp.trace)
            made = f": {origin.text}" if origin else ""
            return f"the output {element_name(name, index)} is {words.not_finite(float(tensor[index]))}{made}"
    return None


def forward_origin(trace: Trace, before: Node | None = None) -> Origin | None:
    """The first operator of a torch trace that made a non-finite value out of finite ones, or a NaN given.

    ``before`` leaves only those that this node was computed from, and itself.
    """
    among = None if before is None else ancestors([before])
    for node in trace.applied:
        if among is not None and node not in among:
            continue
        if not node.value.is_floating_point() or node.operator.kind == "creation":
            continue
        index = _first(node.value)
        if index is not None and all(_first(source.value) is None for source in node.inputs):
            at = f" at {list(index)}" if index else ""
            return Origin(f"first made by {text_of(node, trace)}{at}", node)
    for name, given in trace.inputs.items():
        if (among is None or given in among) and given.value.is_floating_point():
            index = _first(given.value)
            if index is not None and torch.isnan(given.value[index]):
                return Origin(f"the input {element_name(name, index)} is NaN")
    return None


def backward_origin(vjp: VJP, leaf: str, index: tuple[int, ...]) -> Origin | None:
    """What made the gradient of a leaf non-finite at ``index``.

    Followed from there against the direction of backward(), along edges on which a non-finite number came,
    each node asked alone what it hands to whom; up to the operator whose own backward made one of a finite
    cotangent. Where a value that is not finite had a part in that, it is the forward that made that value.
    """
    again, arriving = cotangents(vjp.job, vjp.seeds)
    trace = again.trace
    engine = TorchEngine(vjp.job.dtype, vjp.job.random_seed)
    users: dict[int, dict[int, Applied]] = {}  # by the node that is used, the last one first
    for user in reversed(trace.applied):
        if user.index in arriving:
            for source in user.inputs:
                users.setdefault(source.index, {})[user.index] = user
    node = trace.inputs[leaf]
    bad = torch.zeros(node.shape, dtype=torch.bool)
    bad[index] = True
    while True:
        hands = {
            user: _hands(user, node, bad, arriving, engine) for user in users.get(node.index, {}).values()
        }
        culprit = next((user for answer in (True, None) for user in hands if hands[user] is answer), None)
        if culprit is None:
            return _without_edge(node, bad, trace, vjp.seeds)
        above = ~torch.isfinite(arriving[culprit.index])
        if culprit.operator.kind == "elementwise" and above.shape == bad.shape:
            above &= bad  # the other elements have no part in it
        if not above.any():
            value_made = forward_origin(trace, culprit) if _non_finite_values(culprit) else None
            return value_made or Origin(f"first made by the backward of {text_of(culprit, trace)}", culprit)
        node, bad = culprit, above


def _non_finite_values(node: Applied) -> bool:
    """True if a value that a node's backward may look at is not finite."""
    return any(_first(one.value) is not None for one in (node, *node.inputs))


def _hands(
    user: Applied,
    node: Node,
    bad: torch.Tensor,
    arriving: Mapping[int, torch.Tensor],
    engine: TorchEngine,
) -> bool | None:
    """True if what a user of a node hands back to it is not finite where it is ``bad``; None: unknown."""
    try:
        handed = by_itself(user, engine).backward(arriving[user.index])
    except (Exception, SystemExit):  # a function of the user's own that cannot be asked twice
        return None
    parts = [part for part, source in zip(handed, user.inputs, strict=True) if source is node]
    return any(part is not None and bool((bad & ~torch.isfinite(part)).any()) for part in parts)


def _without_edge(
    node: Node, bad: torch.Tensor, trace: Trace, seeds: Mapping[str, torch.Tensor]
) -> Origin | None:
    """Where no edge has brought what is not finite: the seed has, or finite cotangents overflowed."""
    own = [seeds[name] for name, output in trace.outputs.items() if output is node]
    if any((bad & ~torch.isfinite(seed)).any() for seed in own):
        return Origin(f"first made by {SEED}")
    return Origin(f"first made by the sum of the cotangents of {names_of(trace)[node.index]}")
