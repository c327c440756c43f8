"""A slope that comes out as 0 on both sides: 0 it is, or all of it has cancelled."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import vjpcalc

# Each slope in comments, by its series or in closed form.
CANCELLED = [
    ("tan(x) / x", 1e-9),  # 2x/3 = 6.7e-10
    ("sin(x) / x", 1e-8),  # -x/3
    ("log1p(x) / x * 1.0", 1e-17),  # -1/2
    ("x - sin(x)", 1e-8),  # x²/2 = 5e-17
    ("cosh(x) - sinh(x)", 20.0),  # -exp(-20) = -2e-9
    ("sqrt(x**2 + 1) - x", 1e9),  # -1/(2x²)
    ("exp(x) / (1 + exp(x))", 40.0),  # exp(-40) = 4e-18
    ("x**2 / (x**2 + 1)", 1e10),  # 2/x³
]

# Which of the leaf's slopes are 0, whatever is rounded.
TRUE = [
    ("x / x", [0.45, 3.0], [0, 1]),
    ("x / abs(x)", [0.7, -0.3], [0, 1]),
    ("softmax(x, 0)", [1.5], [0]),
    ("x**2 - 2*x", [1.0, 3.0], [0]),
    ("x**2 - x", [0.5], [0]),
    ("cos(x) + x * sin(1.0)", [1.0], [0]),
    ("sum((x - 3)**2)", [3.0, 1.0], [0]),
    ("sigmoid(x)", [1000.0, 0.5], [0]),  # exp(-1000) is 0 in float64
    ("tanh(x)", [400.0], [0]),
    ("where(x > 0, x, 0)", [-1.0, 2.0], [0]),
    ("prod(x)", [2.0, 0.0, 0.0], [0, 1, 2]),
    ("tanhshrink(x)", [0.0, 0.5], [0]),
    ("x - tanh(x)", [0.0], [0]),
    ("sin(x) - x * exp(-x**2 / 6)", [0.0], [0]),
]


@pytest.mark.parametrize(("expression", "at"), CANCELLED)
def test_what_has_cancelled_has_no_digit(expression: str, at: float) -> None:
    result = vjpcalc.vjp(expression, {"x": at})
    leaf = result.check.leaves["x"]
    assert (leaf.status, leaf.digits, bool(leaf.jt_seed == leaf.jt_seed)) == ("inconclusive", 0, False)


@pytest.mark.parametrize(("expression", "x", "zero"), TRUE)
def test_what_is_zero_passes(expression: str, x: list[float], zero: list[int]) -> None:
    seed: Any = None if expression.startswith(("sum", "prod")) else torch.linspace(1.0, 1.5, len(x)).double()
    run = vjpcalc.vjp(expression, {"x": x}, seed=seed)
    assert run.check.leaves["x"].status == "passed", run.check.leaves["x"].reason
    assert [k for k, slope in enumerate(run.gradients["x"]) if slope == 0] == zero


def test_the_first_row_of_a_causal_attention_passes() -> None:
    """Its only weight is 1, whatever the query: its gradient is 0."""
    q, k, v = (torch.randn(3, 2, dtype=torch.float64, generator=torch.manual_seed(n)) for n in range(3))
    text = "scaled_dot_product_attention(q, k, v, is_causal=True)"
    run = vjpcalc.vjp(text, {"q": q, "k": k, "v": v}, seed=torch.arange(6.0).reshape(3, 2).double())
    assert run.check.status == "passed"
    assert run.gradients["q"][0].abs().max() == 0
