"""How far off a function's values are, measured from the values alone."""

from __future__ import annotations

import numpy as np
import pytest

from vjpcalc.check.rounding import EPS, rounding

SINGLE, HALF = float(np.finfo(np.float32).eps), float(np.finfo(np.float16).eps)


def single(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)


# (function of x, x, what its values are rounded to, relative to themselves)
ROUNDED = {
    "float64": (np.sin, 0.7, EPS),
    "float32": (lambda x: np.sin(single(x)).astype(float), 0.7, SINGLE),
    "float32 at the end": (lambda x: single(np.exp(x)).astype(float), 0.3, SINGLE),
    "float32 on the way": (lambda x: 3.0 * single(np.tanh(x)).astype(float), 0.3, SINGLE),
    "cancelled": (lambda x: (x + 1e8) - 1e8, 0.7, 1e8 / 0.7 * EPS),
}


@pytest.mark.parametrize("what", ROUNDED)
def test_it_is_seen(what: str) -> None:
    """A uniformly distributed error of half a unit has a standard deviation of 0.29 units."""
    function, x, unit = ROUNDED[what]
    at = np.array([x, 1.1 * x])
    seen = rounding(function, at, function(at), SINGLE if "32" in what else EPS, seen=False) / np.abs(
        function(at)
    )
    assert (seen >= 0.1 * unit).all()
    assert (seen <= 2.0 * unit).all()


SMOOTH = {
    "a bump": lambda x: np.exp(-(((x - 0.7) / 1e-3) ** 2)),
    "a wave": lambda x: np.sin(2 * np.pi * 1024 * x),
    "a cube root": np.cbrt,
    "steps": lambda x: np.floor(x * 1e3) / 1e3,
    "a kink": lambda x: np.abs(x - 0.7),
}


@pytest.mark.parametrize("what", SMOOTH)
def test_structure_is_not_taken_for_it(what: str) -> None:
    function = SMOOTH[what]
    x = np.array([0.7001, 0.55])
    seen = rounding(function, x, function(x), EPS, seen=True)
    assert (seen <= 1e-11).all()  # the wave rounds its argument: 4500 · EPS
