"""How numbers are grouped into leaves never matters: alone, or beside others, each has the same verdict."""

from __future__ import annotations

import pytest
import torch

import vjpcalc

# An elementwise function, its dtype, and a number at which little is left of its slope.
ALONE = [
    ("gelu(x)", torch.float64, -7.0),
    ("gelu(x)", torch.float64, -9.0),
    ("gelu(x)", torch.float32, -4.5),
    ("gelu(x, approximate='tanh')", torch.float64, -6.0),
    ("special.ndtr(x)", torch.float64, -9.0),
    ("digamma(x)", torch.float64, 1.4616321449683623),
    ("sigmoid(x)", torch.float32, -100.0),
    ("sigmoid(x)", torch.float32, 17.0),
    ("log(1 - tanh(x))", torch.float64, 12.0),
    ("log(1 - tanh(x))", torch.float64, 18.0),
    ("expm1(x)", torch.float64, -40.0),
    ("tanh(x)", torch.float64, 20.0),
    ("erf(x)", torch.float64, 6.0),
    ("sin(x) / x", torch.float64, 1e-8),
    ("abs(x)", torch.float64, 0.0),
    ("where(x < 1, x, sqrt(x))", torch.float64, 0.0),
]


@pytest.mark.parametrize("beside", [1.0, 300.0, 1e-3])
@pytest.mark.parametrize(("expression", "dtype", "x"), ALONE)
def test_a_neighbour_changes_nothing(expression: str, dtype: torch.dtype, x: float, beside: float) -> None:
    if "log(1" in expression:
        beside = min(beside, 1.0)  # no value farther out
    alone = vjpcalc.vjp(expression, {"x": torch.tensor([x], dtype=dtype)}).check.leaves["x"]
    ones = torch.ones(2, dtype=dtype)
    both = vjpcalc.vjp(expression, {"x": torch.tensor([x, beside], dtype=dtype)}, seed=ones).check.leaves["x"]
    cause = None if alone.causes is None else int(alone.causes[0])
    assert int(both.causes[0]) == cause, (alone.reason, both.reason)
    if cause == 0:
        assert both.jt_seed[0] == pytest.approx(alone.jt_seed[0], rel=1e-12)
