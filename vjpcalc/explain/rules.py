"""Runs the VJP rules of the operator table on the reference engine: what ``explain`` shows, tests compare.

A rule gives one parameter's cotangent in terms of g (the arriving cotangent), y (the output) and the
parameters. Broadcasting is undone here, once for all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a rule to run)

from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.language.interpret import evaluate
from vjpcalc.language.scope import row_program
from vjpcalc.operators.row import Operator


def has_rule(operator: Operator, parameter: str) -> bool:
    """True if the row's rule for a parameter can be run: prose, marked by a leading ``"``, cannot.

    Raises RowError where the rule does not parse.
    """
    rule = operator.vjp.get(parameter, '"')
    return not rule.startswith('"') and bool(row_program(operator, rule).statements)


def run_rule(
    rule: str, parameter: str, values: Mapping[str, Any]
) -> list[tuple[np.ndarray, tuple[int, ...]]]:
    """The cotangent that a rule hands to each tensor of a parameter, and the shape that it had at first.

    ``values`` are the bound arguments, with NumPy arrays for tensors, and ``g`` and ``y``, which are shaped
    like the output. A cotangent has its tensor's shape. Raises Diagnostic where the rule cannot be run.
    """
    given = evaluate(rule, ReferenceEngine(), values)
    target = values[parameter]
    pairs = zip(given, target, strict=True) if isinstance(target, tuple) else [(given, target)]
    with np.errstate(all="ignore"):
        return [(sum_to(np.asarray(part, float), np.shape(own)), np.shape(part)) for part, own in pairs]


def sum_to(cotangent: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Undo broadcasting: sum over the dimensions that an operand of this shape was stretched along."""
    kept = cotangent.sum(axis=stretched(cotangent.shape, shape), keepdims=True)
    return np.broadcast_to(kept.reshape(kept.shape[max(kept.ndim - len(shape), 0) :]), shape)


def stretched(shape: tuple[int, ...], operand: tuple[int, ...]) -> tuple[int, ...]:
    """The dimensions of ``shape`` along which an operand of another shape was stretched."""
    new = max(len(shape) - len(operand), 0)
    sizes = zip(operand, shape[new:], strict=False)
    return (*range(new), *(i for i, (own, size) in enumerate(sizes, new) if own == 1 != size))
