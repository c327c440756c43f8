"""Random signs for stochastic arithmetic: which way each number is moved by one unit in the last place.

The idea is CESTAC's (Vignes, Mathematics and Computers in Simulation 35, 1993): what a result loses to
rounding shows in its spread over a few runs. Runs come in pairs of opposite signs, so that no single number's
effect is missed by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np  # noqa: TID253 (imported only once noise is measured)

PAIRS = 3  # of runs in opposite directions

Noise = Callable[[Sequence[int]], np.ndarray]


def noises() -> list[Noise]:
    """One source of signs for each run: called with a shape, it gives an array of that shape of -1 and 1."""
    return [_noise(seed, sign) for seed in range(PAIRS) for sign in (1.0, -1.0)]


def _noise(seed: int, sign: float) -> Noise:
    generator = np.random.default_rng(seed)

    def signs(shape: Sequence[int]) -> np.ndarray:
        return np.asarray(sign * (2.0 * generator.integers(0, 2, tuple(shape), dtype=np.int8) - 1.0))

    return signs
