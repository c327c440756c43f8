"""torch's own forward mode, for comparison: it is no independent witness."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check.jacobian import Jacobian, Layout
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.job.result import Forward
from vjpcalc.operators.row import numel
from vjpcalc.tensors.dtypes import as_float64


def forward_jacobian(run: Forward, leaf: str, progress: Callable[[int, int], None] | None = None) -> Jacobian:
    """torch's own forward mode, column by column; kept for comparison, for it is no independent witness.

    PyTorch derives many of its formulas from the same line of ``derivatives.yaml`` as the backward ones.
    """
    import torch.autograd.forward_ad as forward_ad

    job = run.job
    engine = TorchEngine(job.dtype, job.random_seed)
    value = job.inputs[leaf].detach()
    columns = []
    for index in range(value.numel()):
        tangent = torch.zeros_like(value)
        tangent.view(-1)[index] = 1
        try:
            with warnings.catch_warnings(), forward_ad.dual_level(), engine.session():
                # torch's own, at its first use of forward mode
                warnings.simplefilter("ignore", DeprecationWarning)
                trace = job.run(engine, {**job.inputs, leaf: forward_ad.make_dual(value, tangent)})
                parts = []
                for node in trace.outputs.values():
                    moved = forward_ad.unpack_dual(node.value).tangent
                    parts.append(np.zeros(numel(node.shape)) if moved is None else as_float64(moved).ravel())
        except Diagnostic as diagnostic:
            raise Diagnostic(
                "value", f"forward mode: {diagnostic.message}", hint=diagnostic.hint or "use --check explicit"
            ) from None
        columns.append(np.concatenate(parts))
        if progress is not None:
            progress(index + 1, value.numel())
    m = sum(output.numel() for output in run.outputs.values())
    entries = np.stack(columns, axis=1) if columns else np.zeros((m, 0))
    eps = torch.finfo(value.dtype).eps
    return Jacobian(
        leaf=leaf, layout=Layout((m, value.numel()), np.ones(value.shape)), entries=entries,
        errors=eps * np.abs(entries), method="forward mode",
    )  # fmt: skip
