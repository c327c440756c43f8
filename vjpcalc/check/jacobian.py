"""The explicit Jacobian of the outputs with respect to one leaf: column by column, or all of it at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)
import torch  # noqa: TID253

from vjpcalc.check.derivative import Derivative, directional, relative_scale
from vjpcalc.check.replay import Replay
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.job.result import Forward
from vjpcalc.operators.row import numel
from vjpcalc.tensors.dtypes import as_float64

OVERHEAD = 500  # element operations that starting one operator is worth


@dataclass(frozen=True)
class Jacobian:
    """∂outputs/∂leaf, both flattened in row-major order: m outputs by n leaf elements.

    ``entries`` is (m, n). Where each output depends on one leaf element at the most it is (m,) instead, and
    ``columns`` (m,) says on which (-1: on none). ``errors`` and ``kinks`` are laid out like ``entries``; so
    are ``left`` and ``right``, the one-sided derivatives, which are None where no kink made them necessary.
    """

    leaf: str
    shape: tuple[int, int]
    entries: np.ndarray
    errors: np.ndarray
    columns: np.ndarray | None
    method: str
    engine: str
    kinks: np.ndarray | None = None
    left: np.ndarray | None = None
    right: np.ndarray | None = None
    flipped: Any = None

    def transposed(self, v: np.ndarray, entries: np.ndarray | None = None) -> np.ndarray:
        """Jᵀ·v, shape (n,), for v of shape (m,). The products are summed by numexpr."""
        import numexpr

        entries = self.entries if entries is None else entries
        if self.columns is not None:
            weighted = numexpr.evaluate("j * v", {"j": entries, "v": v}, {})
            used = self.columns >= 0
            return np.bincount(self.columns[used], weights=weighted[used], minlength=self.shape[1])
        if 0 in self.shape:
            return np.zeros(self.shape[1])
        return numexpr.evaluate("sum(j * v, axis=0)", {"j": entries, "v": v[:, None]}, {})

    def dense(self, entries: np.ndarray | None = None) -> np.ndarray:
        """The (m, n) matrix."""
        entries = self.entries if entries is None else entries
        if self.columns is None:
            return entries
        matrix = np.zeros(self.shape, entries.dtype)
        rows = np.flatnonzero(self.columns >= 0)
        matrix[rows, self.columns[rows]] = entries[rows]
        return matrix


def jacobian(replay: Replay, progress: Callable[[int, int], None] | None = None) -> Jacobian:
    """The Jacobian of a replay's targets, joined in order, with respect to its leaf.

    ``progress`` is told how many of how many columns are done.
    """
    kinked = bool(replay.kinks)
    x = np.asarray(replay.leaf.value, dtype=np.float64)
    n, m = numel(x.shape), replay.primal.size
    scale = relative_scale(x)
    columns = replay.single_source
    derivatives: list[Derivative] = []
    if columns is not None:
        unit = np.where(columns >= 0, np.ravel(scale)[columns], 1.0) if n else np.ones(m)
        derivatives.append(directional(replay, scale, kinked).scaled(1.0 / unit))
    else:
        for column in range(n):
            direction = np.zeros(n)
            direction[column] = scale.flat[column]
            along = directional(replay, direction.reshape(x.shape), kinked)
            derivatives.append(along.scaled(1.0 / scale.flat[column]))
            if progress is not None:
                progress(column + 1, n)

    def laid_out(name: str) -> np.ndarray | None:
        parts: list[Any] = [getattr(derivative, name, None) for derivative in derivatives]
        if not parts or parts[0] is None:
            return None
        if columns is None:
            return np.stack(parts, axis=1)
        return np.where(columns >= 0, parts[0], parts[0].dtype.type(0))

    entries, errors = laid_out("value"), laid_out("error")
    differenced = any(derivative.method == "central differences" for derivative in derivatives)
    return Jacobian(
        replay.name,
        (m, n),
        np.zeros((m, n)) if entries is None else entries,
        np.zeros((m, n)) if errors is None else errors,
        columns,
        "central differences" if differenced else "complex step",
        "numexpr",
        laid_out("kink"),
        laid_out("left"),
        laid_out("right"),
        next(filter(None, (getattr(derivative, "flipped", None) for derivative in derivatives)), None),
    )


def explicit_cost(replay: Replay) -> int:
    """The element operations that the explicit Jacobian of a leaf costs: evaluations × elements in each."""
    if replay.single_source is not None:
        return 0  # one direction yields every entry, at any size
    work = sum(numel(node.shape) + OVERHEAD for node in replay.varying.values())
    evaluations = 1 if replay.analytic and not replay.kinks else 30
    return evaluations * numel(replay.leaf.shape) * work


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
    return Jacobian(leaf, (m, value.numel()), entries, eps * np.abs(entries), None, "forward mode", "torch")


def require_explicit(run: Forward) -> None:
    """Raise Diagnostic (limit) where the Jacobian of a leaf is too large to be written out."""
    m = sum(value.numel() for value in run.outputs.values())
    for name, leaf in run.leaves.items():
        n, limit = leaf.numel(), run.job.limits.max_elements
        if m * n > limit:
            raise Diagnostic(
                "limit",
                f"the Jacobian of {name} has {m:,} × {n:,} entries; the limit is {limit:,}",
                hint="--max-elements N allows more; --wrt leaves leaves out",
            )
