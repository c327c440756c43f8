"""The Python API: the same job as the command line, without the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch  # noqa: TID253 (imported only once vjp or jacobian is used)

from vjpcalc.check.jacobian import require_explicit
from vjpcalc.check.verdict import check as _check
from vjpcalc.jacobians import as_dense, matrices
from vjpcalc.job.autograd import compute, forward
from vjpcalc.job.job import Use, make_job
from vjpcalc.job.result import VJP
from vjpcalc.language.tree import Program
from vjpcalc.limits import DEFAULT_LIMIT, Limits


def vjp(
    expression: str | Program,
    inputs: Mapping[str, Any],
    seed: Any = None,
    *,
    wrt: Sequence[str] | str | None = None,
    outputs: Sequence[str] | str = (),
    dtype: str | torch.dtype | None = None,
    check: str = "auto",
    check_limit: int = DEFAULT_LIMIT,
    digits: int | None = None,
    limits: Limits | None = None,
    use: Use | None = None,
    reference: Mapping[str, str] | None = None,
    random_seed: int = 0,
) -> VJP:
    """The gradient Jᵀ·seed of an expression with respect to each leaf, and its check.

    ``inputs`` maps names to array-likes. Numbers and lists of them become ``dtype`` (default float64; True
    and False stay bool). Arrays keep their own: NumPy's, torch's, any library's that has ``__array__``, and
    records of vjpcalc's JSON. What lives on another device is copied: everything is computed on the CPU.
    ``seed`` has the output's shape (it may be left out for an output of one element), or maps output names to
    seeds; a tuple of seeds means as many ``backward`` calls, whose gradients accumulate. ``wrt`` names the
    leaves (default: every floating-point input), ``outputs`` the outputs (default: the last statement).
    ``use`` adds functions of torch tensors to the language, by name. ``digits`` is how many decimal digits a
    gradient must be right to, to pass the check (default: at least one). ``reference`` maps the name of such
    a function to an expression in its parameters that it is judged by (``{"fast_gelu": "gelu(x)"}``), or
    ``NAME:backward`` to one whose derivative alone is meant (``{"ste:backward": "x"}``).

    ``bool(result.check)`` is True only if the check passed, and ``result.check.require()`` raises CheckFailed
    with the report where it did not (or where it is "off"); ``result.check.leaves`` are the verdicts by leaf.

    Raises Diagnostic, whose ``kind`` tells an expression at fault from an input or a seed.

    >>> result = vjp("a @ b", {"a": [[0, 0], [2, 2]], "b": [[1, 2], [1, 2]]}, [[1, 2], [3, 4]])
    >>> result.gradients["a"].tolist()
    [[5.0, 5.0], [11.0, 11.0]]
    >>> result.check.require().status
    'passed'
    """
    job = make_job(
        expression, inputs, seed=seed, wrt=wrt, outputs=outputs, dtype=dtype, limits=limits, use=use,
        reference=reference, random_seed=random_seed,
    )  # fmt: skip
    return _check(compute(job), check, limit=check_limit, digits=digits)


def jacobian(
    expression: str | Program,
    inputs: Mapping[str, Any],
    *,
    wrt: Sequence[str] | str | None = None,
    outputs: Sequence[str] | str = (),
    dtype: str | torch.dtype | None = None,
    limits: Limits | None = None,
    use: Use | None = None,
    reference: Mapping[str, str] | None = None,
    random_seed: int = 0,
) -> dict[str, torch.Tensor]:
    """The explicit Jacobian of each leaf, of shape (output elements, leaf elements), float64.

    The reference engine's forward values are differentiated: see ``check/directional.py``. The arguments are
    those of ``vjp``. Several outputs are joined in order. Raises Diagnostic.

    >>> jacobian("x**2", {"x": [1, 2, 3]})["x"].tolist()
    [[2.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 6.0]]
    """
    job = make_job(
        expression, inputs, wrt=wrt, outputs=outputs, dtype=dtype, limits=limits, use=use,
        reference=reference, random_seed=random_seed,
    )  # fmt: skip
    run = forward(job)
    require_explicit(run)
    return {leaf: torch.from_numpy(as_dense(J.entries)) for leaf, J in matrices(run, "numeric").items()}
