"""The reference engine's own run of a job, where it can be one: what the check differentiates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.job.result import Forward
from vjpcalc.language.trace import Trace
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64

NOISY = 4.0  # times what one-ulp changes move an output: two engines may differ by as much


@stage("reference run")
def reference_trace(run: Forward) -> tuple[Trace | None, str | None]:
    """The reference engine's own run of the program on the same inputs, or None and why there is none."""
    job = run.job
    inputs = {name: as_float64(value) for name, value in job.inputs.items()}
    try:
        trace = job.run(ReferenceEngine(job.random_seed), inputs)
    except Diagnostic as diagnostic:
        return None, f"the reference engine cannot run the program: {diagnostic.message}"
    if any(node.operator.function for node in trace.applied):
        again = job.run(ReferenceEngine(job.random_seed), inputs)
        if _difference(trace, {name: node.value for name, node in again.outputs.items()}, 0.0):
            return None, "the program is not deterministic: two runs of its forward differ"
    taken = [decision.taken for decision in trace.decisions if isinstance(decision.taken, bool)]
    torch_taken = [decision.taken for decision in run.trace.decisions if isinstance(decision.taken, bool)]
    if taken != torch_taken:
        return None, "a branch is taken otherwise in float64: rounding decides a condition of the program"
    outputs = run.outputs
    for name, node in trace.outputs.items():
        if node.shape != tuple(outputs[name].shape):
            return None, f"the reference engine gives '{name}' the shape {node.shape}"
    return trace, None


def differs(
    trace: Trace, outputs: Mapping[str, torch.Tensor], noise: Callable[[str], np.ndarray]
) -> str | None:
    """Where the outputs of a reference trace are not torch's, in words.

    They may differ by the root of eps; beyond that, by no more than ``noise(output)``, which rounding moves it by.
    """
    for name, output in outputs.items():
        by_torch = {name: as_float64(output)}
        eps = torch.finfo(output.dtype).eps
        if _difference(trace, by_torch, math.sqrt(eps)):
            difference = _difference(trace, by_torch, math.sqrt(eps), NOISY * noise(name))
            if difference:
                return difference
    return None


def required_reference(run: Forward) -> Trace:
    """``reference_trace`` where nothing can be done without it. Raises Diagnostic (value)."""
    trace, trouble = reference_trace(run)
    if trace is not None:
        trouble = differs(trace, run.outputs, lambda name: np.zeros(()))
    if trace is None or trouble:
        raise Diagnostic("value", trouble or "the reference engine cannot run the program")
    return trace


def _difference(
    trace: Trace, values: Mapping[str, np.ndarray], relative: float, noise: np.ndarray | float = 0.0
) -> str | None:
    """Where the outputs of a reference trace are not these values, in words; non-finite ones are left out."""
    for name in values:
        node = trace.outputs[name]
        mine, other = np.ravel(node.value).astype(float), np.ravel(values[name]).astype(float)
        if mine.shape != other.shape:
            return f"the output '{name}' changes its shape"
        with np.errstate(all="ignore"):
            finite = np.isfinite(mine) & np.isfinite(other)
            error = np.where(finite, np.abs(mine - other), 0.0)
            scale = float(np.max(np.abs(np.where(finite, mine, 0.0)), initial=0.0))
        if (error > relative * scale + noise + 1e-300).any():
            k = int(np.argmax(error))
            both = f"torch computes {other[k]:.6g} for '{name}', the reference engine {mine[k]:.6g}"
            return f"{both}: ill-conditioned in this dtype, or a whole number that wrapped around"
    return None
