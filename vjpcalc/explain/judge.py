"""Whether one step of the walk is right: torch's backward of one node against its rule, or its forward.

A step is right within a few roundings of each element, and within what its rule loses to rounding, which is
measured only where a step is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a step to judge)
import torch  # noqa: TID253

from vjpcalc.check.compared import ONE_NODE, numbers_of
from vjpcalc.check.jacobian import distance
from vjpcalc.check.judge import Numbers, judge
from vjpcalc.check.noise import in_doubt
from vjpcalc.check.pattern import pattern
from vjpcalc.check.replay import Replay
from vjpcalc.check.witness import replayed
from vjpcalc.diagnostics import Diagnostic, element_name
from vjpcalc.engines.noise import Noise
from vjpcalc.engines.torch import smallest_subnormal
from vjpcalc.explain.rules import has_rule, run_rule
from vjpcalc.explain.simplify import simplified
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED, Cause
from vjpcalc.language.trace import Trace, with_arrays
from vjpcalc.operators.row import Operator


@dataclass(frozen=True, eq=False)
class Judgement:
    """``value`` is what torch should hand on; ``reason`` follows the name of what it is handed to."""

    value: np.ndarray
    status: str
    max_abs_error: float
    reason: str | None = None
    causes: np.ndarray | None = None
    pattern: str | None = None


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule at one node: its text, simplified, over ``values``, the arguments with g and y.

    ``cotangents`` are what it hands to each tensor of the parameter, with the shape before broadcasting was
    undone.
    """

    text: str
    parameter: str
    values: Mapping[str, Any]
    cotangents: list[tuple[np.ndarray, tuple[int, ...]]]

    @classmethod
    def of(cls, operator: Operator, parameter: str, values: Mapping[str, Any]) -> Rule | None:
        """The row's rule for a parameter; None where it cannot be run."""
        if not has_rule(operator, parameter):
            return None
        text = simplified(operator.vjp[parameter], values)
        try:
            return cls(text, parameter, values, run_rule(text, parameter, values))
        except Diagnostic:
            return None

    def noisy(self, place: int, eps: float, noise: Noise) -> np.ndarray:
        """What it hands to one tensor where each number that it sees is moved by up to ``eps`` of itself."""

        def move(array: np.ndarray) -> np.ndarray:
            if array.dtype.kind != "f":
                return array
            with np.errstate(all="ignore"):
                return array + noise(array.shape) * np.where(np.isfinite(array), array, 0.0) * eps

        moved = {name: with_arrays(value, move) for name, value in self.values.items()}
        return run_rule(self.text, self.parameter, moved)[place][0]


def by_rule(
    handed: np.ndarray,
    expected: np.ndarray,
    noisy: Callable[[Noise], np.ndarray],
    dtype: torch.dtype,
    accuracy: float,
) -> Judgement:
    """torch's cotangent against what the rule gives; ``noisy`` runs that with every number in it moved."""
    if handed.shape != expected.shape:
        reason = f": torch hands on the shape {handed.shape}, the rule says {expected.shape}"
        return Judgement(expected, FAILED, float("inf"), reason)

    info = torch.finfo(dtype)
    own, by_rule = handed.ravel(), expected.ravel()
    numbers = Numbers(
        gradient=own, expected=by_rule, size=np.fmax(np.abs(own), np.abs(by_rule)),
        doubt=np.zeros(own.shape), bent=np.zeros(own.shape, bool), eps=info.eps, depth=ONE_NODE,
        accuracy=accuracy, smallest=smallest_subnormal(dtype), largest=info.max,
        noise=in_doubt(lambda noise: noisy(noise).ravel()),
    )  # fmt: skip

    def place(k: int) -> str:
        return element_name("", tuple(map(int, np.unravel_index(k, handed.shape))))

    return _judgement(expected, numbers, "the rule says", place)


def by_differences(
    alone: Trace,
    leaf: str,
    handed: np.ndarray,
    g: np.ndarray,
    dtype: torch.dtype,
    limit: int,
    source: str = "its forward",
) -> Judgement:
    """torch's cotangent against Jᵀ·g of one node, ``alone``, whose ``source`` is differentiated."""
    (output,) = alone.outputs.values()
    if output.shape != g.shape:
        return Judgement(handed, INCONCLUSIVE, 0.0, f": its forward alone gives the shape {output.shape}")
    witness = replayed(Replay(alone, leaf), "auto", limit)
    numbers = numbers_of(witness, handed.ravel(), g.ravel(), dtype)
    value = numbers.expected.reshape(handed.shape) if witness.directions is None else handed

    def place(k: int) -> str:
        return witness.name(k).removeprefix(leaf)

    return _judgement(value, numbers, f"{source}'s derivative is", place)


def _judgement(value: np.ndarray, numbers: Numbers, source: str, place: Callable[[int], str]) -> Judgement:
    """The verdict on a step; the k-th number stands at ``place(k)``."""
    verdict = judge(numbers)
    error = distance(numbers.gradient, verdict.expected)
    largest = float(np.max(error[np.isfinite(error)], initial=0.0))
    k = verdict.worst(numbers)
    if k is None:
        return Judgement(value, PASSED, largest)
    cause = Cause(int(verdict.causes[k]))
    reason = f"{place(k)}: torch hands on {numbers.gradient[k]:.12g}, {source} {verdict.expected[k]:.12g}"
    if cause == Cause.KINK:
        reason = ": the forward has a kink here"
    if verdict.causes.size != value.size:
        return Judgement(value, cause.status, largest, reason)
    causes = verdict.causes.reshape(value.shape)
    words = pattern(
        numbers.gradient.reshape(value.shape),
        verdict.expected.reshape(value.shape),
        causes == Cause.WRONG,
        verdict.tolerance.reshape(value.shape),
    )
    return Judgement(value, cause.status, largest, reason, causes, words)
