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

from vjpcalc.check.derivative import directional, relative_scale
from vjpcalc.check.jacobian import explicit_cost, jacobian
from vjpcalc.check.kinks import kinked
from vjpcalc.check.noise import SPREAD_FACTOR, smallest, spread
from vjpcalc.check.replay import Replay
from vjpcalc.diagnostics import Source, element_name
from vjpcalc.engines.noise import Noise
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED
from vjpcalc.language.interpret import Interpreter
from vjpcalc.language.trace import Applied, Node, Trace, with_arrays, with_values
from vjpcalc.limits import Limits
from vjpcalc.tensors.dtypes import as_float64

ROUNDINGS = 16  # units in the last place by which one node's two backwards may differ
DIRECTIONS = 4  # along which a node without a rule is compared where its Jacobian would cost too much


@dataclass(frozen=True, eq=False)
class Judgement:
    """``value`` is what torch should hand on; ``reason`` follows the name of what it is handed to."""

    value: np.ndarray
    status: str
    max_abs_error: float
    reason: str | None = None


def by_rule(
    handed: np.ndarray,
    expected: np.ndarray,
    noisy: Callable[[Noise], np.ndarray],
    dtype: torch.dtype,
    accuracy: float,
) -> Judgement:
    """torch's cotangent against what the rule gives; ``noisy`` runs that with every number in it moved."""
    with np.errstate(all="ignore"):
        error = np.where(_same(handed, expected), 0.0, np.abs(handed - expected))
        relative = ROUNDINGS * torch.finfo(dtype).eps + accuracy
        tolerance = relative * np.maximum(np.abs(handed), np.abs(expected)) + smallest(dtype)
        if not np.all(error <= tolerance):
            tolerance = tolerance + SPREAD_FACTOR * spread(noisy)
    return _judged(handed, expected, error, tolerance, "the rule says")


def moved(value: Any, eps: float, noise: Noise) -> Any:
    """A value with each number in it moved by ``eps`` of itself, in the direction that ``noise`` draws."""

    def move(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return array
        with np.errstate(all="ignore"):
            return array + noise(array.shape) * np.where(np.isfinite(array), array, 0.0) * eps

    return with_arrays(value, move)


def by_differences(
    alone: Trace, leaf: str, handed: np.ndarray, g: np.ndarray, dtype: torch.dtype, limit: int
) -> Judgement:
    """torch's cotangent against Jᵀ·g of one node, ``alone``, whose forward is differentiated numerically."""
    eps = torch.finfo(dtype).eps
    (output,) = alone.outputs.values()
    if output.shape != g.shape:
        return Judgement(handed, INCONCLUSIVE, 0.0, f": its forward alone gives the shape {output.shape}")
    replay = Replay(alone, leaf)
    v = g.ravel()
    with np.errstate(all="ignore"):
        if explicit_cost(replay) <= limit:
            J = jacobian(replay)  # noqa: N806 (it is the field's name for it)
            expected, size, doubt = (
                part.reshape(handed.shape)
                for part in (
                    J.transposed(v),
                    J.transposed(np.abs(v), np.abs(J.entries)),
                    J.transposed(np.abs(v), J.errors),
                )
            )
            error = np.where(_same(handed, expected), 0.0, np.abs(handed - expected))
            tolerance = ROUNDINGS * eps * np.maximum(size, np.abs(handed)) + doubt + smallest(dtype)
            judgement = _judged(handed, expected, error, tolerance, "its forward's derivative is")
            if judgement.status == FAILED and kinked(J, v).any():
                reason = ": the forward has a kink here"
                return Judgement(expected, INCONCLUSIVE, judgement.max_abs_error, reason)
            return judgement
        generator = np.random.default_rng(0)
        worst = 0.0
        for _ in range(DIRECTIONS):
            u = generator.choice([-1.0, 1.0], handed.shape) * relative_scale(np.asarray(replay.leaf.value))
            along = directional(replay, u, bool(replay.kinks))
            mine, other = float(v @ along.value), float(np.sum(handed * u))
            length = float(np.abs(v) @ np.abs(along.value)) + float(np.sum(np.abs(handed * u)))
            apart = abs(mine - other)
            worst = max(worst, apart)
            if apart > ROUNDINGS * eps * length + float(np.abs(v) @ along.error) + smallest(dtype):
                status = INCONCLUSIVE if replay.kinks else FAILED
                reason = f" along a random direction: torch gives {other:.6g}, its forward {mine:.6g}"
                return Judgement(handed, status, worst, reason)
    return Judgement(handed, PASSED, worst)


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))


def _judged(
    handed: np.ndarray, expected: np.ndarray, error: np.ndarray, tolerance: np.ndarray, source: str
) -> Judgement:
    if handed.shape != expected.shape:
        reason = f": torch hands on the shape {handed.shape}, {source} {expected.shape}"
        return Judgement(expected, FAILED, float("inf"), reason)
    with np.errstate(all="ignore"):
        wrong = ~(error <= tolerance)
    finite = np.isfinite(error)
    largest = float(np.max(error[finite], initial=0.0))
    if not wrong.any():
        return Judgement(expected, PASSED, largest)
    ratio = np.where(wrong, np.where(finite, error / np.where(tolerance > 0, tolerance, 1.0), np.inf), -1.0)
    worst = np.unravel_index(int(np.argmax(ratio)), handed.shape)
    status = FAILED if np.isfinite(expected[worst]) else INCONCLUSIVE
    place = element_name("", tuple(map(int, worst)))
    reason = f"{place}: torch hands on {handed[worst]:.12g}, {source} {expected[worst]:.12g}"
    return Judgement(expected, status, largest, reason)


def alone(node: Applied) -> Trace:
    """This node alone on the reference engine; its tensors are the inputs ``argument 0``, ``argument 1``"""
    source = Source("", "one node")
    trace = Trace(source)
    operator = node.operator
    walk = Interpreter(ReferenceEngine(), trace, source, Limits(), {operator.name: operator})

    def lift(argument: Node) -> Node:
        name = f"argument {len(trace.inputs)}"
        trace.inputs[name] = walk.input(as_float64(argument.value), name=name)
        return trace.inputs[name]

    arguments: Mapping[str, Any] = {
        p.name: with_values(node.arguments[p.name], lift) for p in operator.parameters
    }
    if operator.kinks:
        walk.note_kinks(operator, arguments, None)
    if operator.ref:
        trace.outputs["y"] = walk.expand(operator, arguments, None)
    else:
        made = walk.compute(operator, arguments, None)
        trace.outputs["y"] = walk.applied(operator, arguments, made, None)
    return trace
