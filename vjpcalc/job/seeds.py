"""Seeds, the argument of ``backward()``: shaped and typed like their outputs, or a message that teaches."""

from __future__ import annotations

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
        shape, given = node.shape, list(job.seeds.get(name, ()))
        if not given:
            if node.value.numel() != 1:
                raise _missing_seed(name, shape, several)
            matched[name] = [torch.ones_like(node.value.detach())]
            continue
        for seed in given:
            if tuple(seed.shape) != shape:
                raise _misshapen_seed(name, shape, seed, several)
        matched[name] = [_cast(seed, node.value.dtype) for seed in given]
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
    said = "a single number (shape ())" if not shape else f"of shape {shape}"
    given = "a single number (shape ())" if not seed.shape else f"of shape {tuple(seed.shape)}"
    if seed.numel() == torch.Size(shape).numel():
        fixed = seed.reshape(shape)
        how = (
            f"it has the right number of elements: reshaped to {shape} it fits"
            if shape
            else "give it without brackets"
        )
    else:
        try:
            fixed = seed.broadcast_to(shape)
            how = f"repeated to {shape} it would fit; vjpcalc does not guess that"
        except RuntimeError:
            fixed = None
            wanted = torch.Size(shape).numel()
            how = f"it has {count(seed.numel(), 'element')}, the output {count(wanted, 'element')}"
    if fixed is None or fixed.numel() > 64:
        value = _ones(shape)
        how += "; all ones would give the gradient of the sum of the output"
    else:
        value = str(fixed.tolist()).replace(".0,", ",").replace(".0]", "]")
        value = value.removesuffix(".0")
    return Diagnostic(
        "seed",
        f"the seed is {given}, the output '{name}' is {said}: they must have one shape",
        hint="backward(v) computes Jᵀ·v: v has one number for each element of the output, in its shape.\n"
        f"{how[0].upper()}{how[1:]}.",
        arguments=_argument(name, value, several),
    )
