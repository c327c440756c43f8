"""Seeds, the argument of ``backward()``: shaped and typed like their outputs, or a message that teaches."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch  # noqa: TID253 (imported only once there is a seed)

from vjpcalc.diagnostics import Diagnostic, count, unknown
from vjpcalc.job.job import Job
from vjpcalc.language.trace import Node
from vjpcalc.tensors.dtypes import check_fits, dtype_name


def match_seeds(job: Job, outputs: Mapping[str, Node]) -> dict[str, list[torch.Tensor]]:
    """The seeds of each output, shaped and typed like it; a missing one is 1 for an output of one element.

    Raises Diagnostic (seed), with the arguments of a corrected command, where one is missing or misshapen.
    """
    for name in job.seeds:
        if name not in outputs:
            raise unknown("seed", f"--seed {name}=…: there is no output '{name}'", name, outputs)
    several = len(outputs) > 1
    matched = {}
    for name, node in outputs.items():
        value = node.value.detach()
        seeds = job.seeds.get(name) or ([torch.ones_like(value)] if value.numel() == 1 else [])
        if not seeds:
            raise _missing_seed(name, node.shape, several)
        for seed in seeds:
            if tuple(seed.shape) != node.shape:
                raise _misshapen_seed(name, node.shape, seed, several)
        matched[name] = [_cast(seed, value.dtype) for seed in seeds]
    return matched


def _cast(seed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A seed in its output's dtype. Raises Diagnostic (seed) where a number is too large for it."""
    try:
        check_fits(seed, dtype_name(dtype))
    except Diagnostic as diagnostic:
        raise Diagnostic("seed", f"the seed does not fit its output: {diagnostic.message}") from None
    return seed.detach().to(dtype)


def _argument(name: str, value: str, several: bool) -> list[str]:
    return ["--seed", f"{name}={value}" if several else value]


def _ones(shape: Sequence[int]) -> str:
    return "1" if not shape else f"ones({', '.join(map(str, shape))})"


def _missing_seed(name: str, shape: tuple[int, ...], several: bool) -> Diagnostic:
    return Diagnostic(
        "seed",
        f"the output '{name}' has shape {shape}, so backward() needs a seed",
        hint="backward(v) computes Jᵀ·v: v says how much each element of the output counts, and has the\n"
        "output's shape. Only for an output of one element may it be left out: then v is 1. All ones\n"
        "give the gradient of the sum of the output.",
        arguments=_argument(name, _ones(shape), several),
    )


def _misshapen_seed(name: str, shape: tuple[int, ...], seed: torch.Tensor, several: bool) -> Diagnostic:
    value, advice = _repaired(seed, shape)
    given, due = (f"of shape {tuple(s)}" if s else "a single number (shape ())" for s in (seed.shape, shape))
    return Diagnostic(
        "seed",
        f"the seed is {given}, the output '{name}' is {due}: they must have one shape",
        hint="backward(v) computes Jᵀ·v: v has one number for each element of the output, in its shape.\n"
        f"{advice}.",
        arguments=_argument(name, value, several),
    )


def _repaired(seed: torch.Tensor, shape: tuple[int, ...]) -> tuple[str, str]:
    """The text of a seed of this shape, as like the given one as may be, and a sentence about it."""
    size = math.prod(shape)
    try:
        if seed.numel() == size:
            repaired = seed.reshape(shape)
            advice = f"It has the right number of elements: reshaped to {shape} it fits"
            advice = advice if shape else "Give it without brackets"
        else:
            repaired = seed.broadcast_to(shape)
            advice = f"Repeated to {shape} it would fit; vjpcalc does not guess that"
        if size <= 64:
            return re.sub(r"\.0\b", "", str(repaired.tolist())), advice
    except RuntimeError:  # it cannot be repeated
        advice = f"It has {count(seed.numel(), 'element')}, the output {count(size, 'element')}"
    return _ones(shape), f"{advice}; all ones would give the gradient of the sum of the output"
