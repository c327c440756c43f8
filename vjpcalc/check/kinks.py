"""Where the program has no slope: kinks that single elements show, and kinks that only several show."""

from __future__ import annotations

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check import words
from vjpcalc.check.derivative import COMPLEX_STEP, differences, random_directions
from vjpcalc.check.jacobian import Jacobian
from vjpcalc.check.witness import Witness

DIRECTIONS = 2  # random directions in which a kink is looked for


def kinked(jacobian: Jacobian, v: np.ndarray) -> np.ndarray:
    """Which compared numbers have a kink in a part that the seed counts, shape (n,)."""
    if jacobian.kinks is None:
        return np.zeros(jacobian.layout.width, bool)
    return jacobian.transposed((v != 0).astype(float), jacobian.kinks.astype(float)) > 0


def kink_reason(witness: Witness, v: np.ndarray, k: int, gradient: float) -> str:
    """What there is to say of a kink at the k-th number."""
    jacobian = witness.jacobian
    kinks = witness.replay.kinks if witness.replay is not None else []
    operators = sorted({kink.operator.infix or kink.operator.name for kink in kinks})
    if jacobian.flipped is not None and not operators:
        what = "a branch that flips: the condition is decided at this very point"
    else:
        what = "a kink" + words.of(operators)
    slopes = [
        float(jacobian.transposed(v, side)[k]) for side in (jacobian.left, jacobian.right) if side is not None
    ]
    return words.kink(witness.name(k), what, slopes, gradient)


def hidden_kink(witness: Witness, v: np.ndarray, expected: np.ndarray) -> str | None:
    """A kink that no single element shows, in words: each of three equal numbers may move, the median stays.

    Looked for where an operator says that it is at a kink, or where nothing is known of it: along random
    directions, in which all elements move at once, the slope must be the same from both sides, and be what
    ``expected``, Jᵀ·v, foretells.
    """
    replay = witness.whole
    if replay is None:
        return None
    kinks = replay.kinks
    if not kinks and witness.jacobian.method == COMPLEX_STEP:
        return None
    for direction in random_directions(np.asarray(replay.leaf.value), DIRECTIONS):
        moved = differences(replay, direction)
        bent = bool((moved.kink & (v != 0)).any())
        if witness.directions is None and not bent:
            with np.errstate(all="ignore"):
                foretold = np.ravel(direction) @ expected
                size = np.abs(np.ravel(direction)) @ np.abs(expected) + np.abs(v) @ np.fmax(
                    np.abs(moved.value), moved.reach
                )
                doubt = 16 * (np.abs(v) @ moved.error) + 1e-5 * size
                bent = bool(np.abs(v @ moved.value - foretold) > doubt)
        if bent:
            of = words.of(sorted({kink.operator.name for kink in kinks}))
            return f"a kink{of}: the slopes differ where several elements of the leaf move at once"
    return None
