"""Slopes of functions that round to float16 and bfloat16, by least squares."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from vjpcalc.check.coarse import fitted

# function in torch, its slope by hand, x
SLOPES: dict[str, tuple[Callable, Callable[[float], float], list[float]]] = {
    "tanh": (torch.tanh, lambda x: 1 / math.cosh(x) ** 2, [0.3, -1.1, 0.02]),
    "exp": (torch.exp, math.exp, [0.3, -2.0, 1e-3]),
    "square": (torch.square, lambda x: 2 * x, [3.0, -0.2]),
    "log": (torch.log, lambda x: 1 / x, [0.7, 20.0]),
    "sine, of several periods": (lambda x: torch.sin(3 * x), lambda x: 3 * math.cos(3 * x), [0.5, 2.0]),
    "a step": (lambda x: torch.tanh(20 * x), lambda x: 20 / math.cosh(20 * x) ** 2, [0.05, -0.1]),
}


def fit(function: Callable, x: float, dtype: torch.dtype):
    def at(x: np.ndarray) -> np.ndarray:
        return function(torch.from_numpy(x).to(dtype)).double().numpy()

    point = np.array([x])
    direction = np.array([2.0 ** math.floor(math.log2(abs(x))) if x else 1.0])
    found = fitted(at, point, direction, at(point), torch.finfo(dtype).eps)
    return found.value[0] / direction[0], found.error[0] / direction[0], found.bend[0] / direction[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("what", "x"), [(what, x) for what, (_, _, xs) in SLOPES.items() for x in xs])
def test_the_claimed_error_is_the_real_one(what: str, x: float, dtype: torch.dtype) -> None:
    function, by_hand, _ = SLOPES[what]
    value, error, bend = fit(function, x, dtype)
    expected = by_hand(x)
    assert abs(value - expected) <= 3 * error
    assert bend == 0
    assert error <= (0.06 if what not in ("a step", "sine, of several periods") else 0.5) * abs(expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_kink_has_two_sides(dtype: torch.dtype) -> None:
    value, _, bend = fit(torch.relu, 0.0, dtype)
    assert value - bend == pytest.approx(0, abs=0.02)
    assert value + bend == pytest.approx(1, abs=0.02)
