"""Runs the VJP rules of the operator table, on the reference engine: what ``explain`` shows and the tests
compare.

A rule gives one parameter's cotangent in terms of g (the arriving cotangent), y (the output) and the
parameters. Broadcasting is undone here, once for all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a rule to run)

from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.language.run import evaluate
from vjpcalc.operators.operator import Operator


def has_rule(operator: Operator, parameter: str) -> bool:
    """Whether the row's rule for a parameter can be run: prose, marked by a leading ``"``, cannot."""
    return not operator.vjp.get(parameter, '"').startswith('"')


def run_rule(
    operator: Operator, parameter: str, values: Mapping[str, Any], g: np.ndarray, y: np.ndarray
) -> Any:
    """The cotangent that an operator hands to one of its parameters.

    ``values`` are the bound arguments with NumPy arrays for tensors; ``g`` and ``y`` are shaped like the
    output. Returns an array of the parameter's shape (a tuple of them for a parameter that takes several
    tensors).
    """
    found = evaluate_rule(operator.vjp[parameter], {**values, "g": g, "y": y})
    target = values[parameter]
    if isinstance(target, tuple):
        return tuple(sum_to(part, np.shape(own)) for part, own in zip(found, target, strict=True))
    return sum_to(found, np.shape(target))


def evaluate_rule(rule: str, names: Mapping[str, Any]) -> Any:
    """The value of a rule's text: an array, or a tuple of arrays."""
    return evaluate(rule, ReferenceEngine(), names)


def sum_to(cotangent: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Undo broadcasting: sum over the dimensions that an operand of this shape was stretched along."""
    extra = max(cotangent.ndim - len(shape), 0)
    summed = cotangent.sum(axis=tuple(range(extra)))
    stretched = tuple(i for i, size in enumerate(shape) if i < summed.ndim and size == 1 != summed.shape[i])
    return np.broadcast_to(summed.sum(axis=stretched, keepdims=True), shape)
