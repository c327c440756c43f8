"""The slopes from both sides of a kink, exactly: a complex step in which comparisons see the step.

Beside x stands an infinitesimal, x + iεu, and a number is less than another if its real part is, or if these
are equal and its imaginary part is: NumPy orders complex numbers so, and sorts by it. Then every choice that
a program makes at a kink (a branch of `where`, the larger of two equals) comes out as it does a little to the
right of x, or for -u a little to the left, and no step is so large that it leaps over something.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.replay import STEP, BranchFlip, Replay
from vjpcalc.language.trace import Applied, Decision, Node

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "argmax", "argmin", "argsort"})
# A slope beyond this is infinite: that of sqrt at 0 comes out as 1/√ε.
INFINITE = 2.0**100
JUMP = 1e-9  # relative: rounding moves no value so far
SMALL = 2.0**-100  # and a value that is as near as this to another has not jumped: |x|·x is -ε² beside 0


class NoGerm(Exception):  # noqa: N818 (an answer, not an error)
    """An operator on the way has no kernel that sees an infinitesimal."""


def germ(replay: Replay, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, Decision | None]:
    """The slopes of the outputs (m,) to the left and to the right of x along a direction.

    They are infinite at a jump, and NaN where a condition of the program comes out otherwise on that side:
    the Decision is then what did. Raises NoGerm.
    """
    left, flipped_left = _to_the_right(replay, -direction)
    right, flipped_right = _to_the_right(replay, direction)
    return -left, right, flipped_left or flipped_right


def _to_the_right(replay: Replay, direction: np.ndarray) -> tuple[np.ndarray, Decision | None]:
    values: dict[int, np.ndarray] = {replay.leaf.index: replay.leaf.value + 1j * STEP * direction}
    for node in replay.varying.values():
        if isinstance(node, Applied):
            values[node.index] = _germ_of(replay, node, values)
    try:
        replay.require_decisions(values)
    except BranchFlip as flip:
        return np.full(replay.primal.shape, np.nan), flip.decision
    return np.concatenate([_slope(node, values) for node in replay.targets]), None


def _germ_of(replay: Replay, node: Applied, values: Mapping[int, np.ndarray]) -> np.ndarray:
    """A node's value with its infinitesimal; a mask or an index, as it is beside the point."""
    row = node.operator

    def get(source: Node) -> np.ndarray:
        value = values.get(source.index)
        if value is None or value.dtype.kind != "c" or row.complex != "constant" or row.name in COMPARISONS:
            return source.value if value is None else value
        with np.errstate(all="ignore"):  # rounding and the like: a little to the side
            beside = np.copysign(np.inf, value.imag)
            return np.where(value.imag == 0, value.real, np.nextafter(value.real, beside))

    if node.index in replay.linear:  # its derivative is known here, and nowhere else
        if any((np.real(get(source)) != source.value).any() for source in node.inputs):
            raise NoGerm
    elif not row.complex and row.kind != "movement":
        raise NoGerm
    try:
        result = np.asarray(replay.apply(node, get))
    except (TypeError, ValueError, np.linalg.LinAlgError) as error:
        raise NoGerm from error
    if result.shape != node.shape:
        raise NoGerm  # a mask that selects other elements
    if result.dtype.kind == "c":
        result = np.array(result)
        result.real = _settled(result.real, node)
        result.imag[np.isnan(node.value)] = np.nan
    return result


def _settled(real: np.ndarray, node: Applied) -> np.ndarray:
    """The real part of a result: what was traced where only rounding made it another.

    ε² is no rounding (the root of it is ε), and neither is a jump.
    """
    sizes = [
        np.abs(node.value),
        *(np.abs(source.value) for source in node.inputs if source.value.dtype.kind == "f"),
    ]
    largest = max((np.max(size[np.isfinite(size)], initial=0.0) for size in sizes), default=0.0)
    with np.errstate(all="ignore"):
        off = np.abs(real - node.value)
        rounded = (off <= JUMP * largest) & (off >= SMALL * largest)
    return np.where(rounded | ~np.isfinite(node.value), node.value, real)


def _slope(node: Node, values: Mapping[int, np.ndarray]) -> np.ndarray:
    value = values.get(node.index)
    if value is None:
        return np.zeros(node.value.size)
    with np.errstate(all="ignore"):
        slope = np.imag(value) / STEP
        jump = np.real(value) - node.value
        jumped = np.abs(jump) > JUMP * np.abs(node.value) + SMALL
        slope = np.where(jumped, np.where(np.isfinite(jump), np.sign(jump) * np.inf, slope), slope)
        return np.ravel(np.where(np.abs(slope) > INFINITE, np.sign(slope) * np.inf, slope))
