"""A gradient beside what a witness says of it, as numbers that can be judged."""

from __future__ import annotations

import functools

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check.derivative import DIFFERENCES
from vjpcalc.check.jacobian import Jacobian
from vjpcalc.check.judge import DOUBT, Numbers, Verdict
from vjpcalc.check.slopes import kinked, slopes
from vjpcalc.check.witness import Witness
from vjpcalc.engines.torch import smallest_subnormal
from vjpcalc.job.result import Cause

ONE_NODE = 16.0  # roundings by which two backwards of one node may differ (the rows' rules beside torch)


def numbers_of(witness: Witness, gradient: np.ndarray, seed: np.ndarray, dtype: torch.dtype) -> Numbers:
    """A gradient (n,) beside what a witness says for the cotangent ``seed`` (m,), as they are compared."""
    jacobian = witness.jacobian
    info = torch.finfo(dtype)
    v, weight = witness.seed(seed), witness.seed(np.abs(seed), sizes=True)
    with np.errstate(all="ignore"):
        own = witness.projected(gradient)
        doubt = transposed(jacobian, weight, jacobian.errors)
        if (more := witness.seed_doubt(np.abs(seed))) is not None:
            doubt = doubt + transposed(jacobian, more, np.abs(jacobian.entries))
        size = np.fmax(transposed(jacobian, weight, np.abs(jacobian.entries)), np.abs(own))
        return Numbers(
            gradient=own,
            expected=transposed(jacobian, v, jacobian.entries),
            size=np.fmax(size, witness.projected_size(np.abs(gradient))),
            doubt=doubt,
            bent=kinked(jacobian, v),
            left=None if jacobian.left is None else transposed(jacobian, v, jacobian.left),
            right=None if jacobian.right is None else transposed(jacobian, v, jacobian.right),
            coarse=jacobian.method == DIFFERENCES,
            eps=info.eps,
            depth=ONE_NODE,
            smallest=smallest_subnormal(dtype),
            largest=info.max,
            noise=lambda doubtful, runs: np.zeros(own.shape),
            slopes=None if witness.replay is None else functools.partial(slopes, witness, v),
        )


def comparable(numbers: Numbers, verdict: Verdict) -> tuple[np.ndarray, np.ndarray]:
    """Which numbers are wrong, and which are wrong or right, where there is one that each should be.

    At a kink there is none: the nearest slope stands for what is expected, and no factor leads to it.
    """
    wrong, right = verdict.causes == Cause.WRONG, verdict.causes == Cause.PASSED
    bent = numbers.bent & ~right
    bent[[k for k in verdict.slopes if wrong[k]]] = True
    bent[[k for k in np.flatnonzero(bent) if not has_two_slopes(numbers, verdict, int(k))]] = False
    return wrong & ~bent, (wrong | right) & ~bent


def has_two_slopes(numbers: Numbers, verdict: Verdict, k: int) -> bool:
    """True if the k-th number is at a kink whose sides have different slopes."""
    if k in verdict.slopes:
        return verdict.slopes[k].bent
    if not numbers.bent[k] or numbers.left is None or numbers.right is None:
        return False
    with np.errstate(all="ignore"):
        return bool(abs(numbers.left[k] - numbers.right[k]) > DOUBT * abs(numbers.left[k]))


def transposed(jacobian: Jacobian, v: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """entriesᵀ·v; an output that the seed leaves out counts for nothing, even if it is not finite."""
    used = v != 0
    used = used[:, None] if jacobian.layout.rows is None else used[jacobian.layout.rows]
    return jacobian.transposed(v, np.where(used, entries, 0.0))
