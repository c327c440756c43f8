"""The Python API: the same job as the command line, without the terminal."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch  # noqa: TID253 (imported only once somebody asks for vjp or jacobian)

from vjpcalc import operators  # noqa: F401 (fills the operator table)
from vjpcalc.check.derivative import jacobian as _jacobian
from vjpcalc.check.verdict import check as _check
from vjpcalc.check.verdict import required_reference
from vjpcalc.diagnostics import Diagnostic, reason, unknown
from vjpcalc.job.autograd import VJP, Job, compute, forward, require_explicit
from vjpcalc.language.syntax import Program, parse
from vjpcalc.limits import DEFAULT_LIMIT, Limits
from vjpcalc.operators.row import Operator
from vjpcalc.tensors.dtypes import FLOATS, Loaded, canonical, dtype_name
from vjpcalc.tensors.json import from_json, from_list, is_record

Use = Mapping[str, Operator | Callable[..., torch.Tensor]]


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
    limits: Limits | None = None,
    use: Use | None = None,
    random_seed: int = 0,
) -> VJP:
    """The gradient Jᵀ·seed of an expression with respect to each leaf, and its check.

    ``inputs`` maps names to array-likes. Numbers and lists of them become ``dtype`` (default float64; True
    and False stay bool). Arrays keep their own: NumPy's, torch's, any library's that has ``__array__``, and
    records of vjpcalc's JSON. What lives on another device is copied: everything is computed on the CPU.
    ``seed`` has the output's shape (it may be left out for an output of one element), or maps output names to
    seeds; a tuple of seeds means as many ``backward`` calls, whose gradients accumulate. ``wrt`` names the
    leaves (default: every floating-point input), ``outputs`` the outputs (default: the last statement).
    ``use`` adds functions of torch tensors to the language, by name.

    Raises Diagnostic, whose ``kind`` tells an expression at fault from an input or a seed.

    >>> vjp("a @ b", {"a": [[0, 0], [2, 2]], "b": [[1, 2], [1, 2]]}, [[1, 2], [3, 4]]).gradients["a"].tolist()
    [[5.0, 5.0], [11.0, 11.0]]
    """
    job = make_job(expression, inputs, seed, wrt, outputs, dtype, limits, use, random_seed)
    return _check(compute(job), check, limit=check_limit)


def jacobian(
    expression: str | Program,
    inputs: Mapping[str, Any],
    *,
    wrt: Sequence[str] | str | None = None,
    outputs: Sequence[str] | str = (),
    dtype: str | torch.dtype | None = None,
    limits: Limits | None = None,
    use: Use | None = None,
    random_seed: int = 0,
) -> dict[str, torch.Tensor]:
    """The explicit Jacobian of each leaf, of shape (output elements, leaf elements), float64.

    It is differentiated numerically on the reference engine: see ``differentiate``. The arguments are those
    of ``vjp``. Several outputs are joined in order. Raises Diagnostic.

    >>> jacobian("x**2", {"x": [1, 2, 3]})["x"].tolist()
    [[2.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 6.0]]
    """
    job = make_job(expression, inputs, None, wrt, outputs, dtype, limits, use, random_seed)
    traced = forward(job)
    values = {name: node.value.detach() for name, node in traced.trace.outputs.items()}
    require_explicit(job, values)
    unseeded = VJP(job.program.text, values, {}, {}, 0, (), job=job, trace=traced.trace)
    trace = required_reference(unseeded)
    return {leaf: torch.from_numpy(_jacobian(trace, leaf).dense()) for leaf in job.leaves}


def make_job(
    expression: str | Program,
    inputs: Mapping[str, Any],
    seed: Any = None,
    wrt: Sequence[str] | str | None = None,
    outputs: Sequence[str] | str = (),
    dtype: str | torch.dtype | None = None,
    limits: Limits | None = None,
    use: Use | None = None,
    random_seed: int = 0,
) -> Job:
    """A Job from what a caller has: texts, lists, arrays. Raises Diagnostic."""
    program = parse(expression) if isinstance(expression, str) else expression
    kind = parse_dtype(dtype)
    tensors = {checked_name(name): as_tensor(value, kind, f"'{name}'") for name, value in inputs.items()}
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    names = outputs or (program.output,)
    if seed is None:
        given: Mapping[str, Any] = {}
    elif isinstance(seed, Mapping) and not is_record(seed):
        given = seed
    elif len(names) == 1:
        given = {names[0]: seed}
    else:
        raise Diagnostic(
            "seed",
            "there are several outputs: say which one the seed belongs to",
            hint=f"give seeds by name: {{'{names[0]}': …}}",
        )
    seeds = {
        name: tuple(
            as_tensor(one, kind, "the seed", "seed")
            for one in (value if isinstance(value, tuple) else (value,))
        )
        for name, value in given.items()
    }
    return Job(
        program,
        tensors,
        seeds,
        [wrt] if isinstance(wrt, str) else wrt,
        outputs,
        kind,
        limits or Limits(),
        {name: _operator(name, function) for name, function in (use or {}).items()},
        random_seed,
    )


def _operator(name: str, function: Operator | Callable[..., torch.Tensor]) -> Operator:
    if isinstance(function, Operator):
        return function
    from vjpcalc.job.use import operator

    return operator(name, function)


def checked_name(name: str) -> str:
    """An input's name as Python reads it in an expression. Raises Diagnostic (input) where it can be none."""
    normal = unicodedata.normalize("NFKC", name) if isinstance(name, str) else ""
    if not normal.isidentifier() or keyword.iskeyword(normal) or normal.startswith("__"):
        raise Diagnostic(
            "input",
            f"{name!r} cannot be a name",
            hint="letters, digits and _ make one, it begins with no digit, and it is no word of the language",
        )
    return normal


def parse_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """A floating-point torch dtype by name or alias (default float64). Raises Diagnostic (usage)."""
    name = "float64" if dtype is None else canonical(str(dtype), "usage")
    if name not in FLOATS:
        raise unknown("usage", f"'{name}' is no floating-point dtype", name, FLOATS)
    return getattr(torch, name)


def as_tensor(value: Any, dtype: torch.dtype, what: str, kind: str = "input") -> torch.Tensor:
    """An array-like as a torch tensor on the CPU: numbers and lists in ``dtype``, arrays in their own.

    It may share memory with the array. Raises Diagnostic of ``kind``, which calls the value ``what``.
    """
    try:
        return _loaded(value).tensor(dtype_name(dtype))
    except Diagnostic as diagnostic:
        raise Diagnostic(kind, f"{what}: {diagnostic.message}", hint=diagnostic.hint) from None


def _loaded(value: Any) -> Loaded:
    import numpy as np

    if isinstance(value, Loaded):
        return value
    if isinstance(value, Mapping):
        return from_json(dict(value))
    if hasattr(value, "__array__"):
        try:
            return Loaded.of(value if isinstance(value, torch.Tensor) else np.asarray(value))
        except (TypeError, ValueError, RuntimeError) as error:
            raise Diagnostic("input", f"not an array: {reason(error)}") from None
    try:
        return Loaded(from_list(value))
    except (RuntimeError, TypeError):  # NumPy does not take tensors that require a gradient apart
        return Loaded(from_list(_plain(value)))


def _plain(value: Any) -> Any:
    """Lists that hold arrays or their numbers, as lists of Python's numbers."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
