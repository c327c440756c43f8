"""Numbers far out: where a function of the user's own is flat but for its rounding, and where x is huge."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from backwards import own, torchs
from torch.nn import functional

import vjpcalc

Function = Callable[[torch.Tensor], torch.Tensor]

# Forwards that cancel inside, and where little or nothing is left of them: what is left goes in steps of one
# ulp of 1, which has no slope, or another. torch's own backward does not cancel.
TAILS: dict[str, tuple[Function, list[float]]] = {
    "gelu": (functional.gelu, [-8.1, -8.3, -8.375, -9.0]),
    "1 + erf(x)": (lambda x: 1 + torch.erf(x), [-5.6, -5.8, -8.1]),
    "1 + tanh(x)": (lambda x: 1 + torch.tanh(x), [-17.0, -18.4, -19.3]),
    "log(1 + exp(x))": (lambda x: torch.log(1 + torch.exp(x)), [-30.0, -36.5, -40.0]),
    "mish": (lambda x: x * torch.tanh(torch.log(1 + torch.exp(x))), [-30.0, -36.5, -37.5]),
    "1 - sigmoid(-x)": (lambda x: 1 - torch.sigmoid(-x), [-30.0, -36.5]),
}


def causes(function: Function, x: list[float], dtype: torch.dtype) -> tuple[str, int]:
    """The status of a check, and the cause of the first element's."""
    inputs = {"x": torch.tensor(x, dtype=dtype)}
    seed = torch.ones(len(x), dtype=dtype)
    check = vjpcalc.vjp("f(x)", inputs, seed, dtype=dtype, use={"f": function}).check
    found = check.leaves["x"].causes
    return check.status, 0 if found is None else int(found[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("factor", [1.0, 24.18, 1e6, 1e-5])
@pytest.mark.parametrize("name", TAILS)
def test_steps_of_rounding_are_no_structure(name: str, factor: float, dtype: torch.dtype) -> None:
    function, places = TAILS[name]
    for x in places:
        assert causes(lambda x: factor * function(x), [x], dtype)[0] != "failed", x


@pytest.mark.parametrize("name", TAILS)
def test_nor_beside_larger_slopes(name: str) -> None:
    function, places = TAILS[name]
    for x in places:
        assert causes(function, [x, 2.0, 4.0], torch.float64)[0] != "failed", x
    x = torch.linspace(-40.0, 5.0, 91, dtype=torch.float64)
    assert vjpcalc.vjp("sum(f(x))", {"x": x}, use={"f": function}).check.status != "failed"


@pytest.mark.parametrize("name", TAILS)
def test_a_wrong_backward_is_seen_there_all_the_same(name: str) -> None:
    function, _ = TAILS[name]

    wrong = own("Wrong", function, lambda x, g: (1 + 1e-6) * torchs(function)(x, g))
    for x in (-3.0, -1.0, 0.7):
        assert causes(wrong.apply, [x, -36.5], torch.float64)[0] == "failed", x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: torch.exp(-(x.float() ** 2)).to(x.dtype), 12.0),
        (lambda x: torch.exp(x.float()).to(x.dtype), -120.0),
        (lambda x: torch.sigmoid(x.float()).to(x.dtype), -110.0),
    ],
    ids=["exp(-x²)", "exp", "sigmoid"],
)
def test_what_a_function_converts_to_float32_underflows(
    function: Function, x: float, dtype: torch.dtype
) -> None:
    assert causes(function, [x, -0.5], dtype)[0] != "failed"


@pytest.mark.parametrize("x", [1e20, 1e60, 1e90, -1e155, 1e200, 1e300, 1.7e308])
@pytest.mark.parametrize(
    ("expression", "slope"),
    [
        ("sin(x)", math.cos),
        ("cos(x)", lambda x: -math.sin(x)),
        ("sin(x) + abs(x)", lambda x: math.cos(x) + math.copysign(1.0, x)),
        ("3 * x", lambda x: 3.0),
    ],
)
def test_a_complex_step_is_no_larger_than_a_wave(
    expression: str, slope: Callable[[float], float], x: float
) -> None:
    check = vjpcalc.vjp(expression, {"x": [x, 0.5]}, [1, 1]).check
    assert check.status == "passed", check.leaves["x"].reason
    assert check.leaves["x"].jt_seed[0] == pytest.approx(slope(x), rel=1e-12)


@pytest.mark.parametrize(
    ("expression", "x"),
    [("x / (1 + x)", 1e300), ("x / (1 + x)", 1e200), ("cos(x)", 1e-200), ("1 / x", 1e300)],
)
def test_curvatures_that_no_number_holds(expression: str, x: float) -> None:
    assert vjpcalc.vjp(expression, {"x": x}).check.status != "failed"


@pytest.mark.parametrize("x", [1e-320, 5e-324, 1e-310])
def test_a_slope_that_no_number_holds_is_not_zero(x: float) -> None:
    result = vjpcalc.vjp("log(x)", {"x": x})  # 1/x is larger than any number
    assert result.gradients["x"].item() == math.inf
    assert result.check.status == "inconclusive"
    assert "is 0" not in result.check.leaves["x"].reason
