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

from vjpcalc.check.jacobian import distance
from vjpcalc.check.kinks import kinked
from vjpcalc.check.nodes import ROUNDINGS
from vjpcalc.check.noise import SPREAD_FACTOR, smallest, spread
from vjpcalc.check.replay import Replay
from vjpcalc.check.witness import replayed
from vjpcalc.diagnostics import Diagnostic, element_name
from vjpcalc.engines.noise import Noise
from vjpcalc.explain.rules import has_rule, run_rule
from vjpcalc.explain.simplify import simplified
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED
from vjpcalc.language.trace import Trace, with_arrays
from vjpcalc.operators.row import Operator


@dataclass(frozen=True, eq=False)
class Judgement:
    """``value`` is what torch should hand on; ``reason`` follows the name of what it is handed to."""

    value: np.ndarray
    status: str
    max_abs_error: float
    reason: str | None = None


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
    error = distance(handed, expected)
    with np.errstate(all="ignore"):
        relative = ROUNDINGS * torch.finfo(dtype).eps + accuracy
        tolerance = relative * np.maximum(np.abs(handed), np.abs(expected)) + smallest(dtype)
        if not np.all(error <= tolerance):
            tolerance = tolerance + SPREAD_FACTOR * spread(noisy)

    def place(k: int) -> str:
        return element_name("", tuple(map(int, np.unravel_index(k, handed.shape))))

    return Judgement(expected, *_verdict(handed, expected, error, tolerance, "the rule says", place))


def by_differences(
    alone: Trace, leaf: str, handed: np.ndarray, g: np.ndarray, dtype: torch.dtype, limit: int
) -> Judgement:
    """torch's cotangent against Jᵀ·g of one node, ``alone``, whose forward is differentiated numerically."""
    (output,) = alone.outputs.values()
    if output.shape != g.shape:
        return Judgement(handed, INCONCLUSIVE, 0.0, f": its forward alone gives the shape {output.shape}")
    witness, v, flat = replayed(Replay(alone, leaf), "auto", limit), g.ravel(), handed.ravel()
    J = witness.jacobian  # noqa: N806 (it is the field's name for it)
    own, expected = witness.projected(flat), J.transposed(v)
    error = distance(own, expected)
    with np.errstate(all="ignore"):
        size = np.maximum(J.transposed(np.abs(v), np.abs(J.entries)), witness.projected_size(np.abs(flat)))
        doubt = J.transposed(np.abs(v), J.errors)
        tolerance = ROUNDINGS * torch.finfo(dtype).eps * size + doubt + smallest(dtype)

    def place(k: int) -> str:
        return witness.name(k).removeprefix(leaf)

    status, largest, reason = _verdict(own, expected, error, tolerance, "its forward's derivative is", place)
    if status == FAILED and kinked(J, v).any():
        status, reason = INCONCLUSIVE, ": the forward has a kink here"
    value = expected.reshape(handed.shape) if witness.directions is None else handed
    return Judgement(value, status, largest, reason)


def _verdict(
    handed: np.ndarray,
    expected: np.ndarray,
    error: np.ndarray,
    tolerance: np.ndarray,
    source: str,
    place: Callable[[int], str],
) -> tuple[str, float, str | None]:
    """Status, largest error and reason; the k-th number stands at ``place(k)``."""
    with np.errstate(all="ignore"):
        wrong = ~(error <= tolerance)
    finite = np.isfinite(error)
    largest = float(np.max(error[finite], initial=0.0))
    if not wrong.any():
        return PASSED, largest, None
    ratio = np.where(finite, error / np.where(tolerance > 0, tolerance, 1.0), np.inf)
    worst = int(np.argmax(np.where(wrong, ratio, -1.0)))
    status = FAILED if np.isfinite(expected.flat[worst]) else INCONCLUSIVE
    reason = f"{place(worst)}: torch hands on {handed.flat[worst]:.12g}, {source} {expected.flat[worst]:.12g}"
    return status, largest, reason
