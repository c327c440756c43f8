"""The explicit Jacobian of the outputs with respect to one leaf: column by column, or all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.derivative import (
    COMPLEX_STEP,
    DIFFERENCES,
    Derivative,
    Sided,
    directional,
    relative_scale,
)
from vjpcalc.check.replay import Replay
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.job.result import Forward
from vjpcalc.language.trace import Decision
from vjpcalc.operators.row import numel

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
    kinks: np.ndarray | None = None
    left: np.ndarray | None = None
    right: np.ndarray | None = None
    flipped: Decision | None = None

    def transposed(self, v: np.ndarray, entries: np.ndarray | None = None) -> np.ndarray:
        """Jᵀ·v, shape (n,), for v of shape (m,). The products are summed by numexpr."""
        import numexpr

        entries = self.entries if entries is None else entries
        if self.columns is not None:
            weighted = numexpr.evaluate("j * v", {"j": entries, "v": v}, {})
            used = self.columns >= 0
            return np.bincount(self.columns[used], weights=weighted[used], minlength=self.shape[1])
        if 0 in entries.shape:
            return np.zeros(entries.shape[1])
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
    n = x.size
    scale = relative_scale(x)
    columns = replay.single_source
    derivatives: list[Derivative] = []
    if columns is not None:
        derivatives.append(directional(replay, scale, kinked).scaled(1.0 / unit(scale, columns)))
    else:
        for column in range(n):
            direction = np.zeros(n)
            direction[column] = scale.flat[column]
            along = directional(replay, direction.reshape(x.shape), kinked)
            derivatives.append(along.scaled(1.0 / scale.flat[column]))
            if progress is not None:
                progress(column + 1, n)
    return assembled(replay, derivatives, columns)


def assembled(
    replay: Replay, derivatives: Sequence[Derivative], columns: np.ndarray | None = None
) -> Jacobian:
    """The Jacobian whose columns these are, or with ``columns`` the one derivative that holds every entry."""
    m, n = replay.primal.size, numel(replay.leaf.shape)
    sided = [derivative for derivative in derivatives if isinstance(derivative, Sided)]

    def laid_out(parts: list[np.ndarray]) -> np.ndarray:
        if columns is not None:
            return np.where(columns >= 0, parts[0], parts[0].dtype.type(0))
        return np.stack(parts, axis=1) if parts else np.zeros((m, n))

    differenced = any(derivative.method == DIFFERENCES for derivative in derivatives)
    return Jacobian(
        leaf=replay.name,
        shape=(m, n),
        entries=laid_out([derivative.value for derivative in derivatives]),
        errors=laid_out([derivative.error for derivative in derivatives]),
        columns=columns,
        method=DIFFERENCES if differenced else COMPLEX_STEP,
        kinks=laid_out([derivative.kink for derivative in sided]) if sided else None,
        left=laid_out([derivative.left for derivative in sided]) if sided else None,
        right=laid_out([derivative.right for derivative in sided]) if sided else None,
        flipped=next((derivative.flipped for derivative in sided if derivative.flipped), None),
    )


def unit(scale: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The scale of the one leaf element that each output depends on, 1 for an output that depends on none."""
    return np.append(scale, 1.0)[columns]  # -1 is the last


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far apart the numbers of two arrays are; equal infinities are not, nor are two NaNs."""
    with np.errstate(all="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))


def explicit_cost(replay: Replay) -> int:
    """The element operations that the explicit Jacobian of a leaf costs: evaluations × elements in each."""
    if replay.single_source is not None:
        return 0  # one direction yields every entry, at any size
    work = sum(numel(node.shape) + OVERHEAD for node in replay.varying.values())
    evaluations = 1 if replay.analytic and not replay.kinks else 30
    return evaluations * numel(replay.leaf.shape) * work


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
