"""What a function of the user's own depends on, as NaN shows.

Arithmetic hands on a NaN: an output that has its value where some elements are NaN has nothing to do with
them. So the elements of a tensor are made NaN by halves, one binary digit of each index at a time: 2·log₂ n
runs for all of its n elements. What an output depends on is then known one dimension at a time, and in each
as what some digits have in common: no less than what it depends on, and just that for what works element by
element, or along the last dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)


def dependence(
    at: Callable[[np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray
) -> list[np.ndarray] | None:
    """Which indices of each dimension of x the outputs y = at(x) depend on: (outputs, size) each, of bools.

    Of an output, no element matters that is not in all of them. None where a run fails.
    """
    y = y.ravel()
    tables = []
    for axis, size in enumerate(x.shape):
        table = np.ones((y.size, size), bool)
        index = np.arange(size)
        for bit in range(math.ceil(math.log2(size)) if size > 1 else 0):
            touched = []
            for digit in (0, 1):
                chosen = (index >> bit) & 1 == digit
                shown = [1] * x.ndim
                shown[axis] = size
                try:
                    moved = np.ravel(at(np.where(chosen.reshape(shown), np.nan, x)))
                except Exception:  # a function may refuse such numbers
                    return None
                if moved.shape != y.shape:
                    return None
                touched.append(moved != y)
                table &= touched[-1][:, None] | ~chosen
            if touched[0].all() and touched[1].all():
                break  # one that mixes this dimension: the other digits will show it, too
        tables.append(table)
    return tables
