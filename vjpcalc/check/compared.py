"""A gradient beside what a witness says of it, as numbers that can be judged."""

from __future__ import annotations

import functools

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check.derivative import DIFFERENCES
from vjpcalc.check.judge import Numbers
from vjpcalc.check.noise import smallest
from vjpcalc.check.slopes import kinked, slopes
from vjpcalc.check.witness import Witness

ONE_NODE = 16.0  # roundings by which two backwards of one node may differ (the rows' rules beside torch)


def numbers_of(witness: Witness, gradient: np.ndarray, v: np.ndarray, dtype: torch.dtype) -> Numbers:
    """A gradient (n,) beside what a witness says for the cotangent v (m,), as they are compared."""
    jacobian = witness.jacobian
    info = torch.finfo(dtype)
    with np.errstate(all="ignore"):
        own = witness.projected(gradient)
        size = np.fmax(transposed(witness, np.abs(v), np.abs(jacobian.entries)), np.abs(own))
        return Numbers(
            gradient=own,
            expected=transposed(witness, v, jacobian.entries),
            size=np.fmax(size, witness.projected_size(np.abs(gradient))),
            doubt=transposed(witness, np.abs(v), jacobian.errors),
            bent=kinked(jacobian, v),
            left=None if jacobian.left is None else transposed(witness, v, jacobian.left),
            right=None if jacobian.right is None else transposed(witness, v, jacobian.right),
            coarse=jacobian.method == DIFFERENCES,
            eps=info.eps,
            depth=ONE_NODE,
            smallest=smallest(dtype),
            largest=info.max,
            noise=lambda doubtful, pairs: np.zeros(own.shape),
            slopes=None if witness.replay is None else functools.partial(slopes, witness, v),
        )


def transposed(witness: Witness, v: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """entriesᵀ·v; an output that the seed leaves out counts for nothing, even if it is not finite."""
    return witness.jacobian.transposed(v, np.where(v != 0, entries.T, 0.0).T)
