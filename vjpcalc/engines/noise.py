"""Random signs for stochastic arithmetic: which way each number is moved by one unit in the last place.

The idea is CESTAC's (Vignes, Mathematics and Computers in Simulation 35, 1993): what a result loses to
rounding shows in its spread over a few runs. Runs come in pairs of opposite signs, so that no single number's
effect is missed by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np  # noqa: TID253 (imported only once noise is measured)

from vjpcalc.operators.row import Operator, numel

SIGNS = 4093  # drawn for a run, and used over and over; a prime, so that no dimension is in step with it

# These hand one of their inputs on as it is: nothing is rounded, neither the result nor its derivative.
SELECTING = frozenset(
    {"neg", "positive", "abs", "relu", "where", "maximum", "minimum", "fmax", "fmin", "clamp"}
)
# The derivative of these is exact: `x - x` has the gradient 0, and no rounding makes it anything else.
EXACT_SLOPE = SELECTING | {"add", "sub", "rsub", "sum"}
# Operators that add up many terms, or work on whole matrices: they err by what rounding of their inputs does,
# which is more than an ulp of the result where the terms cancel.
ACCUMULATING = frozenset({"Reductions", "Scans", "Products", "Convolutions"})
ON_MATRICES = frozenset({"Linear algebra", "Spectra"})

Noise = Callable[[Sequence[int]], np.ndarray]


def noises(pairs: int, skip: int = 0) -> list[Noise]:
    """One source of signs for each run: called with a shape, it gives an array of that shape of -1 and 1.

    The first ``skip`` pairs are left out: whoever has used them asks for the rest.
    """
    return [_noise(seed, sign) for seed in range(skip, pairs) for sign in (1.0, -1.0)]


def value_is_exact(row: Operator) -> bool:
    """True if a result of the operator is not rounded."""
    return row.kind == "movement" or row.name in SELECTING


def slope_is_exact(row: Operator) -> bool:
    """True if the derivative of the operator is not rounded."""
    return row.kind == "movement" or row.name in EXACT_SLOPE


def accumulates(row: Operator) -> bool:
    """True if the rounding error of an operator's result is that of its inputs, not of the result.

    One that selects (it has kinks) is none: moving its inputs would break ties.
    """
    if row.kind != "array":
        return False
    return row.family in ON_MATRICES or (row.family in ACCUMULATING and not row.kinks)


def _noise(seed: int, sign: float) -> Noise:
    drawn = sign * np.random.default_rng(seed).choice([-1.0, 1.0], SIGNS)
    drawn = np.concatenate([drawn, drawn])
    at = 0

    def signs(shape: Sequence[int]) -> np.ndarray:
        nonlocal at
        size = numel(shape)
        at = (at + 1 + size) % SIGNS
        start = (at - size) % SIGNS
        flat = drawn[start : start + size] if size <= SIGNS else np.resize(drawn[start : start + SIGNS], size)
        return flat.reshape(shape)

    return signs
