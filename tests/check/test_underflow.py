"""Numbers near the smallest of their dtype: what underflows on the way is no mistake, and no digit either."""

from __future__ import annotations

import pytest
import torch

import vjpcalc

# (expression, dtype, x, seed): right gradients all, of which float32 leaves few digits or none
RIGHT = [
    ("sigmoid(x)", torch.float32, [-100.0, 1.0], [1.0, 1.0]),
    ("sigmoid(x)", torch.float32, [-95.0], None),
    ("softmax(x * 50, 0)", torch.float32, [1.0, 2.0, 3.0], [1.0, 0.0, 0.0]),
    ("logsumexp(x * 50, 0)", torch.float32, [1.0, 2.0, 3.0], None),
    ("exp(-x**2)", torch.float32, [9.5, 10.0], [1.0, 1.0]),
    ("exp(-x**2) * 1e20", torch.float32, [11.0], None),
    ("sum(sigmoid(50 * x))", torch.float32, [-2.0, -1.8, 0.1], None),
    ("sum(sigmoid(100 * x))", torch.float32, [0.8, 1.0, -1.0], None),
    ("sum(sigmoid(x))", torch.bfloat16, [-10.0, -90.0, -100.0], None),
    ("sum(softplus(-3 * x))", torch.float32, [30.0, 33.0, 0.5], None),
    ("sum(x * exp(-x))", torch.float16, [9.0, 12.0, 18.0], None),
    ("sum(x**20)", torch.float32, [1e-2, 5e-2, 1.0], None),
    ("sum(abs(x - 0.3)**1.5)", torch.float32, [0.3, 1.0], None),  # 0.3 is another number in float32
    ("sum((x - 0.1)**3 * 1e9)", torch.bfloat16, [0.1, 1.0], None),
]

# Values that torch computes as the difference of much larger terms.
LOOSE = [
    ("sum(w * gelu(x))", torch.float32, [1.5], [-4.0]),
    ("sum(w * tanhshrink(x))", torch.float32, [1.0], [0.125730221]),
    ("sum(w * sinc(x))", torch.float32, [1.0], [-2.0]),
    ("sum(w * gelu(x)**2)", torch.float64, [1.0], [-9.0]),
    ("sum(w * special.ndtr(x))", torch.float32, [2.0], [-5.2]),
]


@pytest.mark.parametrize(("expression", "dtype", "x", "seed"), RIGHT)
def test_underflow_is_not_called_wrong(expression: str, dtype: torch.dtype, x, seed) -> None:
    seed = None if seed is None else torch.tensor(seed, dtype=dtype)
    run = vjpcalc.vjp(expression, {"x": torch.tensor(x, dtype=dtype)}, seed=seed)
    assert run.check.status != "failed", run.check.leaves["x"].reason


@pytest.mark.parametrize(("expression", "dtype", "w", "x"), LOOSE)
def test_a_value_that_torch_computes_loosely_is_not_called_wrong(expression: str, dtype, w, x) -> None:
    run = vjpcalc.vjp(expression, {"w": torch.tensor(w, dtype=dtype), "x": torch.tensor(x, dtype=dtype)})
    assert run.check.status != "failed", run.check.leaves["w"].reason


# (expression, inputs, leaf, its slope): a step beside 1e-300 is so small that products with it underflow
TINY = [
    ("atan2(x, y)", {"x": [1e-300], "y": [-1e-9]}, "x", [-1e9]),
    ("x * y / (x + y)", {"x": [1e-290], "y": [1e-3]}, "x", [1.0]),
    ("log(x)", {"x": [1e-300]}, "x", [1e300]),
    ("x + 1", {"x": [2.3e-308]}, "x", [1.0]),
    ("std(x)", {"x": [1e-300, 3e-8]}, "x", [-(0.5**0.5), 0.5**0.5]),
]


@pytest.mark.parametrize(("expression", "inputs", "leaf", "slope"), TINY)
def test_tiny_numbers_keep_their_slopes(expression: str, inputs, leaf: str, slope: list[float]) -> None:
    run = vjpcalc.vjp(expression, inputs)
    assert run.gradients[leaf].tolist() == pytest.approx(slope)
    assert run.check.leaves[leaf].status == "passed", run.check.leaves[leaf].reason
    assert run.check.leaves[leaf].jt_seed == pytest.approx(slope, rel=1e-6)
