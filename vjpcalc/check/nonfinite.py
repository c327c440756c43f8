"""Values that are not finite, and the operator that made the first of them."""

from __future__ import annotations

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check import words
from vjpcalc.diagnostics import element_name
from vjpcalc.job.autograd import cotangents
from vjpcalc.job.result import VJP
from vjpcalc.language.naming import text_of
from vjpcalc.language.trace import Trace

Reason = tuple[str, tuple[int, ...] | None]  # in words, and where in the leaf


def non_finite(vjp: VJP, leaf: str, expected: np.ndarray) -> Reason | None:
    """Why a leaf cannot be judged for a value that is not finite; None if all are finite."""
    for name, tensor in vjp.outputs.items():
        index = _first(tensor)
        if index is not None:
            what = f"the output {element_name(name, index)} is {words.not_finite(float(tensor[index]))}"
            return what + _made(forward_origin(vjp.trace)), None
    gradient = vjp.gradients[leaf]
    index = _first(gradient)
    if index is not None:
        what = f"{element_name(leaf, index)}: the gradient is {words.not_finite(float(gradient[index]))}"
        return what + _made(forward_origin(vjp.trace) or backward_origin(vjp)), index
    if not np.isfinite(expected).all():
        return "Jᵀ·seed is not finite in the reference engine", None
    return None


def _first(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """The index of the first element that is not finite."""
    bad = ~torch.isfinite(tensor)
    return tuple(map(int, bad.nonzero()[0])) if bad.any() else None


def _made(origin: str | None) -> str:
    return f": first made by {origin}" if origin else ""


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
