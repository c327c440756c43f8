"""Random numbers for stochastic arithmetic: how far each value is moved, in units in its last place.

The idea is CESTAC's (Vignes, Mathematics and Computers in Simulation 35, 1993): what a result loses to
rounding shows in its spread over a few runs. Runs come in pairs of opposite signs, so that no single number's
effect is missed by chance, and of unequal sizes, so that that of an even function is not missed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np  # noqa: TID253 (imported only once noise is measured)

from vjpcalc.operators.row import Operator, numel

DRAWN = 4093  # drawn for a run, and used over and over; a prime, so that no dimension is in step with it

# These hand one of their inputs on as it is: nothing is rounded, neither the result nor its derivative.
SELECTING = frozenset(
    {"neg", "positive", "abs", "relu", "where", "maximum", "minimum", "fmax", "fmin", "clamp"}
)
# The derivative of these is exact: `x - x` has the gradient 0, and no rounding makes it anything else.
EXACT_SLOPE = SELECTING | {"add", "sub", "rsub", "sum"}
# Operators that add up many terms, or work on whole matrices: they err by what rounding of their inputs does,
# which is more than an ulp of the result where the terms cancel (`var` of numbers far from 0).
ON_MATRICES = frozenset({"Linear algebra", "Spectra"})
ACCUMULATING = ON_MATRICES | {
    "Reductions", "Statistics", "Norms and distances", "Softmax", "Scans", "Products", "Layers",
    "Convolutions", "Normalization", "Attention",
}  # fmt: skip
# float16 and bfloat16 are added up in float32, but for what torch composes of several kernels.
NARROW = frozenset({"Statistics"})

# What torch's kernels lose beside an ulp of a value: an ulp of this, for the first argument x. gelu is
# computed from 1 + erf, which is 0 far to the left: in float32 it is 0 at -8.4, not -4.6e-16; tanhshrink at
# 3e-4 is 0, not 1e-11, and sinc at -1 is -2.8e-8. What log_softmax saves is taken the exponential of: at
# [40, 0] its slope is 1 - 1.
LOOSE_VALUE: dict[str, Callable[[Any], Any]] = {
    "gelu": lambda x: x,
    "tanhshrink": lambda x: x,
    "sinc": lambda x: x**0,
    "ndtr": lambda x: x**0,
    "log_softmax": lambda x: x**0,
}
# And beside an ulp of what they hand on, which is ``handed`` where ``g`` arrived. The slope of gelu at -11 is
# 3.67e-31, not 3.64e-31; that of erfcx is 2·x·y - 2/√π, that of i1e i0e - y·(sign(x) + 1/x), in float32 113
# ulps off at -7; and the square of x is rounded before that of erf takes the exponential of it.
LOOSE_SLOPE: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "gelu": lambda x, y, g, handed: g,
    "erfcx": lambda x, y, g, handed: g,
    "i0e": lambda x, y, g, handed: g * y,
    "i1e": lambda x, y, g, handed: g * y,
    "erf": lambda x, y, g, handed: handed * x * x,
    "erfc": lambda x, y, g, handed: handed * x * x,
}
# Near their poles these reduce their argument, π·x, which is rounded: in float32 the slope of digamma at
# -7.0024 is 4e-4 off.
REDUCING = frozenset({"digamma", "polygamma", "lgamma"})

WIDE = 1e-6  # the eps of a dtype in which a few ulps are not little: float16, bfloat16
SIGNS = (1.125, -0.875)  # of the runs of a pair: gelu(x)**2 at -9, which torch has 0 for

Noise = Callable[[Sequence[int]], np.ndarray]


def noises(number: int, ulps: float = 1.0, *, skip: int = 0) -> list[Noise]:
    """One source for each run: called with a shape, it gives an array of it, of sizes from 0.5 to 1, ±,
    times one of SIGNS.

    The sizes are of ``ulps``. The first ``skip`` runs are left out: whoever has made them asks for the rest.
    """
    return [_noise(run // 2, SIGNS[run % 2] * ulps) for run in range(skip, number)]


def value_is_exact(row: Operator) -> bool:
    """True if a result of the operator is not rounded."""
    return row.kind == "movement" or row.name in SELECTING


def slope_is_exact(row: Operator) -> bool:
    """True if the derivative of the operator is not rounded."""
    return row.kind == "movement" or row.name in EXACT_SLOPE


def accumulates(row: Operator, narrow: bool = False) -> bool:
    """True if the rounding error of an operator's result is that of its inputs, not of the result.

    ``narrow`` is for float16 and bfloat16. One that selects is none: moving its inputs would break ties. What
    a function of the user's own does inside is not known.
    """
    if row.function is not None:
        return not narrow
    if row.name in REDUCING:
        return not narrow
    families = NARROW if narrow else ACCUMULATING
    return row.family in families and not row.name.startswith(("cummax", "cummin"))


@functools.cache
def _drawn(seed: int) -> np.ndarray:
    """DRAWN numbers, twice over; of unequal sizes: two effects of one size must not cancel."""
    generator = np.random.default_rng(seed)
    return np.tile(generator.choice([-1.0, 1.0], DRAWN) * generator.uniform(0.5, 1.0, DRAWN), 2)


def _noise(seed: int, factor: float) -> Noise:
    drawn = factor * _drawn(seed)
    at = 0

    def moves(shape: Sequence[int]) -> np.ndarray:
        nonlocal at
        size = numel(shape)
        at = (at + 1 + size) % DRAWN
        start = (at - size) % DRAWN
        flat = drawn[start : start + size] if size <= DRAWN else np.resize(drawn[start : start + DRAWN], size)
        return flat.reshape(shape)

    return moves
