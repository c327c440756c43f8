"""What slopes go to that were taken at ever smaller distances from a point."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

CONVERGED = 1e-12  # relative: slopes that are no farther apart for another ε do not depend on it
FALLS = 0.998  # of the change before: what changes by more goes nowhere (log ε), by less to a limit (ε^0.01)
SAME = 1e-9  # relative: slopes from both sides that are one
NOTHING = 1e-9  # of the slope for the largest ε: a limit that is so much smaller is 0


def limit(slopes: Sequence[np.ndarray]) -> np.ndarray:
    """The limit of three slopes, or of one, at ε, ε·r and ε·r²: Aitken's formula, exact for a + b·εᵖ.

    They may be infinite for the smallest, or 0, which underflows.
    """
    if len(slopes) == 1:
        return slopes[0]
    before, last = (b - a for a, b in itertools.pairwise(slopes))
    size = np.fmax(np.abs(slopes[0]), np.abs(slopes[-1]))
    settled = np.abs(last) <= CONVERGED * np.abs(slopes[-1])
    limit = slopes[-1] - last**2 / (last - before)
    limit = np.where(np.abs(limit) <= NOTHING * size, 0.0, limit)
    falls = np.abs(last) <= FALLS * np.abs(before)
    infinite = np.sign(np.where(np.isfinite(last), last, slopes[-1])) * np.inf
    return np.where(settled, slopes[-1], np.where(falls, limit, infinite))
