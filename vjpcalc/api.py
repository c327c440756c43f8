"""The Python API: the same job as the command line, without the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch  # noqa: TID253 (imported only once somebody asks for vjp or jacobian)

from vjpcalc import operators  # noqa: F401 (fills the operator table)
from vjpcalc.backward import VJP, Job, compute
from vjpcalc.check import DEFAULT_LIMIT, check as _check, reference_trace
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.differentiate import jacobian as _jacobian
from vjpcalc.engines.engine import Limits
from vjpcalc.language.run import list_shape
from vjpcalc.language.syntax import Program, parse
from vjpcalc.operators.operator import Operator


def vjp(
    expression: str | Program,
    inputs: Mapping[str, Any],
    seed: Any = None,
    *,
    wrt: Sequence[str] | str | None = None,
    outputs: Sequence[str] = (),
    dtype: str | torch.dtype | None = None,
    check: str = "auto",
    check_limit: int = DEFAULT_LIMIT,
    limits: Limits | None = None,
    use: Mapping[str, Operator] | None = None,
    random_seed: int = 0,
) -> VJP:
    """The gradient Jᵀ·seed of an expression with respect to each leaf, and its check.

    ``inputs`` maps names to array-likes: lists and numbers become ``dtype`` (default float64), NumPy arrays and
    torch tensors keep theirs. ``seed`` has the output's shape (it may be left out for an output of one element), or
    maps output names to seeds; a tuple of seeds means as many ``backward`` calls, whose gradients accumulate.
    ``wrt`` names the leaves (default: every floating-point input).

    Raises Diagnostic, whose ``kind`` tells an expression at fault from an input or a seed.

    >>> vjp("a @ b", {"a": [[0, 0], [2, 2]], "b": [[1, 2], [1, 2]]}, [[1, 2], [3, 4]]).gradients["a"].tolist()
    [[5.0, 5.0], [11.0, 11.0]]
    """
    job = make_job(expression, inputs, seed, wrt, outputs, dtype, limits, use, random_seed)
    return _check(compute(job), check, limit=check_limit)


def jacobian(expression: str | Program, inputs: Mapping[str, Any], **options: Any) -> dict[str, torch.Tensor]:
    """The explicit Jacobian of each leaf, of shape (output elements, leaf elements), float64.

    It is differentiated numerically on the reference engine: see ``differentiate``. ``options`` are those of ``vjp``
    except ``seed`` and the check's. Several outputs are joined in order. Raises Diagnostic.
    """
    job = make_job(expression, inputs, None, **{"wrt": None, "outputs": (), "dtype": None, "limits": None, "use": None,
                                                "random_seed": 0, **options})  # fmt: skip
    from vjpcalc.backward import forward

    traced = forward(job)
    outputs = {name: node.value.detach() for name, node in traced.trace.outputs.items()}
    unseeded = VJP(job.program.text, outputs, {}, {}, 0, (), job=job, trace=traced.trace)
    trace, trouble = reference_trace(unseeded)
    if trace is None:
        raise Diagnostic("value", trouble or "the reference engine cannot run the program")
    return {leaf: torch.from_numpy(_jacobian(trace, leaf).dense()) for leaf in job.leaves}


def make_job(
    expression: str | Program,
    inputs: Mapping[str, Any],
    seed: Any,
    wrt: Sequence[str] | str | None,
    outputs: Sequence[str],
    dtype: str | torch.dtype | None,
    limits: Limits | None,
    use: Mapping[str, Operator] | None,
    random_seed: int,
) -> Job:
    """A Job from what a caller has: texts, lists, arrays. Raises Diagnostic."""
    program = parse(expression) if isinstance(expression, str) else expression
    kind = parse_dtype(dtype)
    tensors = {name: as_tensor(value, kind, name) for name, value in inputs.items()}
    names = tuple(outputs) or (program.output,)
    given = seed if isinstance(seed, Mapping) else {} if seed is None else {names[0]: seed}
    if seed is not None and not isinstance(seed, Mapping) and len(names) > 1:
        raise Diagnostic("seed", "there are several outputs: say which one the seed belongs to",
                         hint="give it by name: --seed " + names[0] + "=…")  # fmt: skip
    seeds = {
        name: tuple(as_tensor(one, kind, "the seed") for one in (value if isinstance(value, tuple) else (value,)))
        for name, value in given.items()
    }
    leaves = [wrt] if isinstance(wrt, str) else wrt
    return Job(program, tensors, seeds, leaves, tuple(outputs), kind, limits or Limits(), use or {}, random_seed)


def parse_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """A floating-point torch dtype by name. Raises Diagnostic (usage)."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype if dtype is not None else torch.float64
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise Diagnostic(
            "usage", f"'{dtype}' is no floating-point dtype", hint="float64, float32, float16 or bfloat16"
        )
    return found


def as_tensor(value: Any, dtype: torch.dtype, name: str) -> torch.Tensor:
    """An array-like as a torch tensor: numbers and lists of them in ``dtype``, arrays in their own.

    Raises Diagnostic (input) where it is none, or complex.
    """
    import warnings

    import numpy

    if isinstance(value, torch.Tensor):
        tensor = value.detach()
    elif isinstance(value, numpy.ndarray | numpy.generic):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a read-only (memory-mapped) array: we never write to it
            try:
                array = numpy.asarray(value)
                tensor = torch.from_numpy(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")))
            except (TypeError, ValueError):
                raise Diagnostic("input", f"{name}: an array of {value.dtype} holds no numbers that torch knows") from None
    else:
        try:
            list_shape(value)
        except Diagnostic as diagnostic:
            raise Diagnostic("input", f"{name}: {diagnostic.message}", hint=diagnostic.hint) from None
        tensor = torch.tensor(value, dtype=dtype)
    if tensor.is_complex():
        raise Diagnostic("input", f"{name} is complex: vjpcalc works with real tensors",
                         hint="give the real and the imaginary part as two inputs")  # fmt: skip
    return tensor
