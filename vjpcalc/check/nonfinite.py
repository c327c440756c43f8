"""Values that are not finite, and the operator that made the first of them."""

from __future__ import annotations

import torch  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check import words
from vjpcalc.diagnostics import element_name
from vjpcalc.job.autograd import cotangents
from vjpcalc.job.result import VJP
from vjpcalc.language.naming import text_of
from vjpcalc.language.trace import Trace


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
            made = f": first made by {origin}" if origin else ""
            return f"the output {element_name(name, index)} is {words.not_finite(float(tensor[index]))}{made}"
    return None


def forward_origin(trace: Trace) -> str | None:
    """The first operator of a torch trace that made a non-finite value out of finite ones, in words."""
    for node in trace.applied:
        if not node.value.is_floating_point() or node.operator.kind == "creation":
            continue
        index = _first(node.value)
        if index is not None and all(_first(source.value) is None for source in node.inputs):
            return text_of(node, trace) + (f" at {list(index)}" if index else "")
    return None


def backward_origin(vjp: VJP) -> str | None:
    """The first operator whose backward made a non-finite cotangent of a finite one, in words."""
    again, arriving = cotangents(vjp.job, vjp.seeds)
    for node in reversed(again.trace.applied):
        if node.index not in arriving or _first(arriving[node.index]) is not None:
            continue
        handed = [arriving[source.index] for source in node.inputs if source.index in arriving]
        if any(_first(cotangent) is not None for cotangent in handed):
            return f"the backward of {text_of(node, again.trace)}"
    return None
