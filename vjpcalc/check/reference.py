"""The reference engine's own run of a job, where it can be one: what the check differentiates."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check import words
from vjpcalc.check.judge import KERNEL
from vjpcalc.diagnostics import Diagnostic, raised
from vjpcalc.engines.noise import WIDE
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.job.result import Forward
from vjpcalc.language.naming import text_of
from vjpcalc.language.scope import BadReference
from vjpcalc.language.trace import Applied, Node, Trace, with_values
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64, dtype_of

LEAST = 1e-300  # what is closer together is the same
NOISY = 4.0  # times what one-ulp changes move an output: two engines may differ by as much


@stage("reference run")
def reference_trace(run: Forward) -> tuple[Trace | None, str | None]:
    """The reference engine's own run of the program on the same inputs, or None and why there is none.

    Raises BadReference where that is a reference's fault that the user gave.
    """
    job = run.job
    inputs = {name: as_float64(value) for name, value in job.inputs.items()}
    try:
        trace = job.run(ReferenceEngine(job.random_seed), inputs)
    except BadReference:
        raise
    except Diagnostic as diagnostic:
        return None, f"the reference engine cannot run the program: {diagnostic.message}"
    for applied in trace.applied:
        if applied.operator.function and (trouble := _unlike(applied)):
            return None, trouble
    decisions = [decision for decision in trace.decisions if not decision.of_reference]
    taken = [decision.taken for decision in decisions if isinstance(decision.taken, bool)]
    torch_taken = [decision.taken for decision in run.trace.decisions if isinstance(decision.taken, bool)]
    if taken != torch_taken:
        return None, "the reference engine takes another branch: rounding decides a condition of the program"
    outputs = run.outputs
    for name, node in trace.outputs.items():
        if node.shape != tuple(outputs[name].shape):
            return None, f"the reference engine gives '{name}' the shape {node.shape}"
    return trace, None


def _unlike(node: Applied) -> str | None:
    """What is wrong with a function of the user's own that does not give the same once more, in words."""
    values = {name: with_values(value, lambda source: source.value) for name, value in node.arguments.items()}
    try:
        again = ReferenceEngine().apply(node.operator, values)
    except Exception as error:
        return f"the reference engine cannot run the program: {node.operator.name} raised {raised(error)}"
    if np.array_equal(again, node.value, equal_nan=True):
        return None
    return "the program is not deterministic: two runs of its forward differ"


def differs(trace: Trace, run: Forward, noise: Callable[[str], np.ndarray]) -> str | None:
    """Where the outputs of a reference trace are not torch's, in words.

    They may differ by the root of eps of each element, and by some ulps of what is computed on the way to it
    (torch's gelu at -7 is off by an ulp of 7): in the lower precisions, in which these would be all of it, by
    the root of eps of the largest. Beyond that, by no more than rounding moves them: ``noise(output)``.
    """
    for name, output in run.outputs.items():
        mine, others = np.asarray(trace.outputs[name].value, float), np.asarray(as_float64(output), float)
        eps = torch.finfo(output.dtype).eps
        room = math.sqrt(eps) * np.abs(mine)
        if _differing(mine, others, room) is None:
            continue
        if eps < WIDE:
            room = room + KERNEL * eps * _sizes(trace)[trace.outputs[name]]
        else:
            room = np.full(room.shape, np.max(room, where=np.isfinite(room), initial=0.0))
        if _differing(mine, others, room) is None:
            continue
        index = _differing(mine, others, room + NOISY * noise(name).reshape(mine.shape))
        if index is not None:
            place = f"'{name}'" + (f" at {list(index)}" if others.size > 1 else "")
            dtype, why = dtype_of(output), _overflow(run.trace, trace)
            return words.forwards_differ(place, float(others[index]), float(mine[index]), dtype, why)
    return None


def required_reference(run: Forward) -> Trace:
    """``reference_trace`` where nothing can be done without it. Raises Diagnostic (value)."""
    trace, trouble = reference_trace(run)
    if trace is not None:
        trouble = differs(trace, run, lambda name: np.zeros(trace.outputs[name].shape))
    if trace is None or trouble:
        raise Diagnostic("value", trouble or "the reference engine cannot run the program")
    return trace


def _differing(mine: np.ndarray, other: np.ndarray, room: np.ndarray) -> tuple[int, ...] | None:
    """Where two outputs of one shape are farthest apart, if that is more than there is room for, or None.

    What is not finite is left out.
    """
    with np.errstate(all="ignore"):
        error = np.where(np.isfinite(mine) & np.isfinite(other), np.abs(mine - other), 0.0)
        beyond = np.where(error > room + LEAST, error, -1.0)
    if (beyond >= 0).any():
        return tuple(map(int, np.unravel_index(np.argmax(beyond), error.shape)))
    return None


def _sizes(trace: Trace) -> dict[Node, np.ndarray]:
    """How large the numbers are that each element of each node is computed of, without signs.

    Element by element where an argument has the node's shape, else the largest of the argument.
    """
    sizes: dict[Node, np.ndarray] = {}
    for node in trace.nodes:
        size = np.where(np.isfinite(node.value), np.abs(node.value), 0.0).astype(float)
        if isinstance(node, Applied):
            by_element = node.operator.kind == "elementwise"
            for source in node.inputs:
                same = by_element and source.shape == node.shape
                size = np.fmax(size, sizes[source] if same else np.max(sizes[source], initial=0.0))
        sizes[node] = size
    return sizes


def _overflow(by_torch: Trace, by_reference: Trace) -> str | None:
    """The first whole number that its dtype in torch does not hold, in words; the reference's are int64."""
    exact = {(node.span, node.iterations): node.value for node in by_reference.applied}
    for node in by_torch.applied:
        value = exact.get((node.span, node.iterations))
        if node.value.is_floating_point() or node.value.dtype == torch.bool or value is None:
            continue
        limits = torch.iinfo(node.value.dtype)
        if np.shape(value) == node.shape:
            over = (np.asarray(value) > limits.max) | (np.asarray(value) < limits.min)
            if over.any():
                first = float(np.asarray(value)[over].flat[0])
                return words.wrapped_around(text_of(node, by_torch), first, dtype_of(node.value))
    return None
