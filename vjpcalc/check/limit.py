"""What slopes go to that were taken at ever smaller distances from a point."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

CONVERGED = 1e-12  # relative: slopes that are no farther apart for another ε do not depend on it
FALLS = 0.998  # of the change before: what changes by more goes nowhere (log ε), by less to a limit (ε^0.01)
SAME = 1e-9  # relative: slopes from both sides that are one
NOTHING = 1e-9  # of the slope for the largest ε: a limit that is so much smaller is 0 …
FAST, FEW = 0.01, 0.05  # … and where slopes fall so fast, one that is this part of the last: of x·log x


def limit(slopes: Sequence[np.ndarray]) -> np.ndarray:
    """The limit of three slopes, or of one, at ε, ε·r and ε·r²: Aitken's formula, exact for a + b·εᵖ.

    NaN where they go nowhere. They may be infinite for the smallest, or 0, which underflows.
    """
    if len(slopes) == 1:
        return slopes[0]
    before, last = (b - a for a, b in itertools.pairwise(slopes))
    size = np.fmax(np.abs(slopes[0]), np.abs(slopes[-1]))
    settled = np.abs(last) <= CONVERGED * np.abs(slopes[-1])
    limit = slopes[-1] - last**2 / (last - before)
    nothing = np.abs(limit) <= NOTHING * size
    # a logarithm in it is no power
    nothing |= (np.abs(slopes[-1]) <= FAST * np.abs(slopes[0])) & (np.abs(limit) <= FEW * np.abs(slopes[-1]))
    limit = np.where(nothing, 0.0, limit)
    falls = np.abs(last) <= FALLS * np.abs(before)
    sizes = np.abs(slopes)
    grows = (sizes[0] < sizes[1]) & (sizes[1] < sizes[2]) & (before * last > 0)
    infinite = np.where(grows | np.isinf(slopes[-1]), np.copysign(np.inf, slopes[-1]), np.nan)
    return np.where(settled, slopes[-1], np.where(falls, limit, infinite))
