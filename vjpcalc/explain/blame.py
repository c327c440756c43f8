"""Which nodes a failed check is the fault of, though the walk's own numbers may not show it.

A user's backward that is right for this seed only; a backward that hands on NaN, as its rule says, where the
slope of the whole is finite; a function whose result has lost its graph, so that nothing is handed to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch  # noqa: TID253 (imported only once there is a job to explain)

from vjpcalc.check.functions import Functions
from vjpcalc.check.nodes import node_faults
from vjpcalc.check.nonfinite import backward_origin, forward_origin
from vjpcalc.check.reference import reference_trace
from vjpcalc.check.references import reference_faults
from vjpcalc.job.result import FAILED, OFF, VJP, Fault
from vjpcalc.language.naming import text_of
from vjpcalc.language.trace import Applied, ancestors

CUT = "nothing is handed back: its result has no graph (.item(), .detach(), numpy or whole numbers inside)"


def blamed(vjp: VJP, limit: int) -> Mapping[int, list[str]]:
    """What is wrong with nodes of a job's trace, in words, by index; the words are those of its check.

    Without a check the user's functions are asked for their faults here. ``limit`` bounds the element
    operations that a Jacobian may cost. Raises Diagnostic.
    """
    faults: dict[int, list[str]] = {}
    for fault in _faults(vjp, limit):
        faults.setdefault(fault.place, []).append(fault.reason)
    for node, words in (*_not_finite(vjp), *_cut(vjp)):
        if words not in (own := faults.setdefault(node.index, [])):
            own.append(words)
    return faults


def _faults(vjp: VJP, limit: int) -> list[Fault]:
    if vjp.check.status != OFF:
        return list(vjp.check.faults)
    if not any(node.operator.function for node in vjp.trace.applied):
        return []
    faults, _ = reference_faults(vjp)
    trace, _ = reference_trace(vjp.forward)
    faults += [] if trace is None else node_faults(vjp, Functions(trace, vjp.job.use, limit))
    return [fault.told for fault in faults]


def _failed(vjp: VJP) -> list[str]:
    """The leaves that have failed."""
    return [name for name, leaf in vjp.check.leaves.items() if leaf.status == FAILED]


def _not_finite(vjp: VJP) -> Iterator[tuple[Applied, str]]:
    """Who made what is not finite of the leaves that have failed, and what the check says of that."""
    for name in _failed(vjp):
        leaf, bad = vjp.check.leaves[name], ~torch.isfinite(vjp.gradients[name])
        index = leaf.index
        if index is None and bad.any():  # random directions were compared
            index = tuple(map(int, bad.nonzero()[0]))
        if index is not None and bad[index]:
            origin = backward_origin(vjp, name, index) or forward_origin(vjp.trace)
            if origin is not None and origin.node is not None:
                yield origin.node, leaf.sentences(name)[0]


def _cut(vjp: VJP) -> Iterator[tuple[Applied, str]]:
    """The user's functions that cut the graph on the way to a leaf that has failed."""
    wrong = {vjp.trace.inputs[name] for name in _failed(vjp)}
    reached = ancestors(vjp.trace.outputs.values()) if wrong else set()
    for node in vjp.trace.applied:
        needed = [source for source in node.inputs if source.value.requires_grad]
        if node in reached and is_cut(node) and wrong & ancestors(needed):
            yield node, f"{text_of(node, vjp.trace)}: {CUT}"


def is_cut(node: Applied) -> bool:
    """True if a user's function makes a constant of what requires a gradient."""
    inside = any(source.value.requires_grad for source in node.inputs)
    return node.operator.function is not None and inside and not node.value.requires_grad
