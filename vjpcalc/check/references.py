"""The references that a user gave for functions of the user's own (``--reference NAME=EXPR``).

The backward of such a function is judged by the reference: in the reference engine's run its value is its
own, and its slope the reference's. The forwards are compared as well, here: they are to be the same.
An exception is seen and told: where the function is constant around the values that it is given, as
rounding and signs are, it is a straight-through estimator, whose forward is another one by design.
``NAME:backward=EXPR`` says so of any function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check.alone import alone, arguments_of
from vjpcalc.check.derivative import random_directions
from vjpcalc.check.jacobian import distance
from vjpcalc.check.nodes import NodeFault, evenly, leaves_before
from vjpcalc.check.noise import USUAL, half_range
from vjpcalc.engines.inside import with_rounding
from vjpcalc.engines.noise import Noise, noises
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.job.result import VJP
from vjpcalc.language.naming import text_of
from vjpcalc.language.trace import Applied, Node, with_values
from vjpcalc.operators.row import Operator
from vjpcalc.tensors.dtypes import as_float64

EXACT = (
    2.0**-44
)  # relative: two formulas of one function in float64 are rarely farther apart (gelu by erf, by tanh)
ROUNDINGS = 8.0  # of the function's own precision: a kernel in float32 is this close to its formula
NOISES = 10.0  # times what an ulp of the arguments moves a value: it may round more often than once inside
CANCELLED = 2.0**-40  # of the largest value: what may be left of it where another is 0 (the tails of gelu)
NEARBY = 2.0**-16  # of an element: a step that float32 sees, and round(x) mostly does not

Step = Callable[[np.ndarray], np.ndarray]  # how far an argument is moved


def reference_faults(vjp: VJP) -> tuple[list[NodeFault], list[str]]:
    """Forwards of the user's functions that are not their references'; and what a reader is to be told.

    Raises BadReference.
    """
    faults: list[NodeFault] = []
    notes: dict[str, str] = {}
    for node in evenly([node for node in vjp.trace.applied if node.operator.function and node.operator.ref]):
        name, text = node.operator.name, "; ".join(node.operator.ref.split("\n"))
        if node.operator.slope_only:
            notes[name] = f"{name}: its backward is judged by {text}; its forward is not compared"
            continue
        notes.setdefault(name, f"{name}: judged by its reference, {text}")
        own, expected = forwards(node, vjp.job.use)
        precision = ReferenceEngine().precision(node.operator, _arguments(node))
        unit = max(precision.eps, EXACT)
        if not apart(own, expected, unit).any():
            continue
        if (precision.stepped or precision.eps < NEARBY) and is_constant(node):
            notes[name] = (
                f"{name}: its backward is judged by {text}; its forward is constant around these values, as "
                "a straight-through estimator's is, and not compared"
            )
            continue
        wrong = apart(own, expected, unit, NOISES * _noise(node, unit))
        if wrong.any():
            error = np.where(wrong, np.nan_to_num(distance(own, expected), nan=np.inf), -1.0)
            k = np.unravel_index(int(np.argmax(error)), error.shape)
            fault = NodeFault(
                node=node.index, operator=name, text=text_of(node, vjp.trace), kind="forward",
                argument="its value", detail=text,
                index=tuple(map(int, k)), got=float(own[k]), expected=float(expected[k]),
                wrong=int(wrong.sum()), leaves=leaves_before(node.inputs, vjp.trace),
            )  # fmt: skip
            faults.append(fault)
    return faults, list(notes.values())


def forwards(node: Applied, use: Mapping[str, Operator]) -> tuple[np.ndarray, np.ndarray]:
    """What a function makes of a node's arguments and what its reference does, in float64.

    Raises BadReference.
    """
    forward = alone(node, use)  # refuses another shape
    walk, arguments = arguments_of(node, use)
    expected = np.asarray(walk.referred(node.operator, arguments, None).value, float)
    own = _moved(node, np.zeros_like)
    return np.asarray(forward.outputs["y"].value if own is None else own, float), expected


def apart(own: np.ndarray, expected: np.ndarray, unit: float, noise: np.ndarray | float = 0.0) -> np.ndarray:
    """Where two forwards differ by more than rounding to ``unit``, relative, and ``noise`` explain."""
    with np.errstate(all="ignore"):
        error = distance(own, expected)
        size = np.where(np.isfinite(error), np.fmax(np.abs(own), np.abs(expected)), 0.0)
        return ~(error <= ROUNDINGS * unit * size + CANCELLED * np.max(size, initial=0.0) + noise)


def is_constant(node: Applied) -> bool:
    """True if each element of a function's value stays as it is, at least to one side of its arguments."""

    def moved(steps: int) -> np.ndarray | None:
        return _moved(node, lambda x: steps * NEARBY * random_directions(x, 1)[0])

    def same(near: np.ndarray | None, far: np.ndarray | None) -> np.ndarray:
        return np.asarray(False if near is None or far is None else distance(near, far) == 0)

    return bool((same(moved(1), moved(2)) | same(moved(-1), moved(-2))).all())


def _noise(node: Applied, unit: float) -> np.ndarray:
    """How far a function's values move where each number that it is given moves by ``unit`` of itself, and
    each that it computes by an ulp.
    """

    def moved(noise: Noise) -> np.ndarray | None:
        return with_rounding(lambda: _moved(node, lambda x: x * noise(x.shape) * unit), noise, torch.float64)

    return half_range(map(moved, noises(*USUAL)))


def _moved(node: Applied, step: Step) -> np.ndarray | None:
    """A function's values where each argument that requires a gradient is moved; None where it has none."""
    try:
        return np.asarray(ReferenceEngine().apply(node.operator, _arguments(node, step)), float)
    except (Exception, SystemExit):
        return None


def _arguments(node: Applied, step: Step = np.zeros_like) -> dict[str, Any]:
    """A node's arguments in float64, each that requires a gradient moved by a step."""

    def exact(source: Node) -> np.ndarray:
        value = as_float64(source.value)
        return value + step(value) if source.value.requires_grad else value

    return {p.name: with_values(node.arguments[p.name], exact) for p in node.operator.parameters}
