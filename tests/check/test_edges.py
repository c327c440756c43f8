"""Zeros, edges of a domain and jumps: what the check says of a point where powers of 0 meet.

The slopes are those of calculus, worked out by hand: that of |x|^p at 0 is 0 for p > 1, and where a function
has values on one side only, the slope is that of this side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import vjpcalc
from vjpcalc import Diagnostic
from vjpcalc.check.germ import NEAR, germ
from vjpcalc.check.limit import limit
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.check.vanishing import by_large_steps, by_tiny_steps
from vjpcalc.job.autograd import forward
from vjpcalc.job.job import make_job
from vjpcalc.report.vjp import expected_marks

INF, NAN = math.inf, math.nan


def replay(expression: str, x: Any) -> Replay:
    return Replay(required_reference(forward(make_job(expression, {"x": x}))), "x")


def shown(leaf: Any) -> list[str]:
    """What stands in the check's column: numbers, intervals, or a dash."""
    marks = expected_marks(leaf, 6)
    return [
        f"{number + 0.0:.6g}" if np.isfinite(number) else marks.instead(k)
        for k, number in enumerate(leaf.jt_seed.flat)
    ]


# ---- the slopes of both sides ------------------------------------------------------------------------------

# What goes to a limit, for three distances each a thousandth of the one before: a + b·εᵖ, and what has none.
EPSILONS = np.array([1e-3, 1e-6, 1e-9])
LIMITS = {
    "the same for all": (7 + 0 * EPSILONS, 7),
    "ε": (EPSILONS, 0),
    "ε²": (EPSILONS**2, 0),
    "ε^0.01": (EPSILONS**0.01, 0),
    "ε log ε": (np.array(NEAR) * np.log(NEAR), 0),
    "back and forth": (np.array([1.0, -2.0, 3.0]), NAN),
    "less and less, but without end": (100 + np.log(EPSILONS), NAN),
    "2 + ε^0.1": (2 + EPSILONS**0.1, 2),
    "-3 + 5√ε": (-3 + 5 * EPSILONS**0.5, -3),
    "1/√ε": (EPSILONS**-0.5, INF),
    "1 - ε^-0.1": (1 - EPSILONS**-0.1, -INF),
    "log ε": (np.log(EPSILONS), -INF),
    "5 - log ε": (5 - np.log(EPSILONS), INF),
    "what underflows": (np.array([1e-300, 0, 0]), 0),
}


@pytest.mark.parametrize("what", LIMITS)
def test_the_limit_of_slopes(what: str) -> None:
    slopes, expected = LIMITS[what]
    with np.errstate(all="ignore"):
        assert limit(slopes.reshape(3, 1)) == pytest.approx([expected], rel=1e-12, nan_ok=True)


# expression, x, the slope to the left, to the right; NaN: it jumps
SIDES = {
    "|x|": ("abs(x)", 0.0, -1, 1),
    "|x|³": ("abs(x)**3", 0.0, 0, 0),
    "|x|^1.01 + 2x": ("abs(x)**1.01 + 2*x", 0.0, 2, 2),
    "|x|^0.9": ("abs(x)**0.9", 0.0, -INF, INF),
    "√x², which is |x|": ("sqrt(x**2)", 0.0, -1, 1),
    "the fourth root of x⁴": ("(x**4)**0.25", 0.0, -1, 1),
    "the third root of |x|³": ("norm(reshape(x, (1,)), 3)", 0.0, -1, 1),
    "√(1 - cos x), about |x|/√2": ("sqrt(1 - cos(x))", 0.0, -math.sqrt(0.5), math.sqrt(0.5)),
    "√(x + 1 - 1)² away from 0": ("sqrt(((x + 1) - 1)**2)", 0.0, -1, 1),
    "in one sum, which loses x": ("abs(dot(cat([ones(2), x * ones(1)]), [1., -1., 3.]))", 0.0, -3, 3),
    "∛x³": ("cbrt(x)**3", 0.0, 1, 1),
    "√x: nothing on the left": ("sqrt(x)", 0.0, INF, INF),
    "√(1 - x): nothing on the right": ("sqrt(1 - x)", 1.0, -INF, -INF),
    "x^1.5": ("x**1.5", 0.0, 0, 0),
    "x√x + x": ("x*sqrt(x) + x", 0.0, 1, 1),
    "arccos at its edge": ("acos(x)", 1.0, -INF, -INF),
    "its square, which is 2(1 - x) there": ("acos(x)**2", 1.0, -2, -2),
    "arcosh": ("acosh(x)", 1.0, INF, INF),
    "x log x": ("where(x > 0, x*log(x), 0)", 0.0, 0, -INF),
    "x² log x": ("where(x > 0, x**2*log(x), 0)", 0.0, 0, 0),
    "exp(-1/x)": ("where(x > 0, exp(-1/x), 0)", 0.0, 0, 0),
    "smooth where a branch changes": ("where(x > 1, x**2, 2*x - 1)", 1.0, 2, 2),
    "a denominator that is kept from 0": ("x**2 / (abs(x) + 1e-30)", 0.0, 0, 0),
    "large beside it": ("abs(x - 1e8)", 1e8, -1, 1),
}  # fmt: skip


@pytest.mark.parametrize("what", SIDES)
def test_the_slopes_of_both_sides(what: str) -> None:
    expression, x, left, right = SIDES[what]
    found = germ(replay(expression, x), np.array(1.0))
    assert found.left == pytest.approx([left], rel=1e-12, abs=0)
    assert found.right == pytest.approx([right], rel=1e-12, abs=0)
    assert not found.jump.any()


JUMPS = {
    "floor": ("floor(x)", 2.0, INF, 0),
    "ceil": ("ceil(x)", 2.0, 0, INF),
    "a half": ("round(x)", 0.5, 0, INF),
    "sign": ("x + sign(x)", 0.0, INF, INF),
    "a remainder": ("x % 3", 6.0, -INF, 1),
    "fmod": ("fmod(x, 3)", 6.0, -INF, 1),
    "a branch": ("where(x >= 1, 3*x, x)", 1.0, INF, 3),
    "to 1, so near that it looks like one": ("x / (1e-60 + abs(x))", 0.0, INF, INF),
    "-∞ beside 0": ("where(x > 0, log(x), 0)", 0.0, 0, -INF),
    "of arctan, by π": ("atan2(0, x)", 0.0, -INF, 0),
}


@pytest.mark.parametrize("what", JUMPS)
def test_a_jump_is_none_of_the_slopes(what: str) -> None:
    expression, x, left, right = JUMPS[what]
    found = germ(replay(expression, x), np.array(1.0))
    assert found.jump.all()
    assert found.left == pytest.approx([left])
    assert found.right == pytest.approx([right])
    leaf = vjpcalc.vjp(expression, {"x": x}).check.leaves["x"]
    assert leaf.status == "inconclusive"
    assert shown(leaf) == ["–"]


# ---- the verdict -------------------------------------------------------------------------------------------

ORDINARY = [1.5, 0.7]
FLAT = [
    "abs(x)**3", "relu(x)**3", "abs(x)*x**2", "abs(x)**1.1", "abs(x)**1.5", "x**1.5", "x**1.2", "pow(x, 3.5)",
    "x**2.5", "x**3 * sign(x)", "exp(abs(x)**3)", "abs(sin(x))**1.5", "maximum(x, 0)**1.5",
    "maximum(x, 0) * x",
    "where(x > 0, x**3, 0)", "where(x > 0, x**1.5, 0)", "where(x > 0, x**2, x**3)", "abs(x)**3 * relu(x)",
    "x * relu(x) - x * relu(-x)", "tanh(relu(x)**2)", "abs(x)**1.01", "x**4", "1 + abs(x)**3", "x * abs(x)",
    "relu(x)**7", "abs(x)**2.5 * 1e-6", "1e6 * relu(x)**3",
]  # fmt: skip


@pytest.mark.parametrize("expression", FLAT)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_slope_of_0_at_0_passes(expression: str, dtype: str) -> None:
    for x, seed in (
        ([0.0], [2.5]),
        ([0.0, *ORDINARY], [1.0, 2.0, -1.0]),
        ([*ORDINARY, 0.0], [1.0, 1.0, 2.5]),
    ):
        result = vjpcalc.vjp(expression, {"x": x}, seed, dtype=dtype)
        leaf = result.check.leaves["x"]
        assert result.check, leaf.reason
        assert leaf.jt_seed[x.index(0.0)] == 0


@pytest.mark.parametrize(
    "expression", ["norm(x)**3", "norm(x)**1.5", "norm(x, 1)**3", "norm(x, 3)**2", "dist(x, 0*x)**2"]
)
@pytest.mark.parametrize("x", [[0.0], [0.0, 0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]]])
def test_a_power_of_a_norm_is_smooth_at_0(expression: str, x: Any) -> None:
    result = vjpcalc.vjp(expression, {"x": x})
    assert result.check, result.check.leaves["x"].reason
    assert not result.check.leaves["x"].jt_seed.any()


def test_a_norm_is_not() -> None:
    for p in (2, 3, 4, 1.5):
        leaf = vjpcalc.vjp(f"norm(x, {p})", {"x": [0.0, 0.0]}).check.leaves["x"]
        assert leaf.status == "inconclusive"
        assert shown(leaf) == ["[-1, 1]", "[-1, 1]"]


def test_a_kink_beside_a_power_of_it_is_the_kink_alone() -> None:
    leaf = vjpcalc.vjp("cat([relu(x)**2, relu(x[:1])])", {"x": [0.0, 1.0]}, [1, 1, 1]).check.leaves["x"]
    assert shown(leaf) == ["[0, 1]", "2"]
    leaf = vjpcalc.vjp("cat([relu(x)**2, relu(x[:1])])", {"x": [0.0, 1.0]}, [1, 1, 0]).check.leaves["x"]
    assert leaf.status == "passed"


NONE, KINKED = ("–", "inconclusive"), ("[-1, 1]", "inconclusive")
# expression, inputs → leaf: what stands in the column, and the status
COLUMN = {
    "nothing on one side, and infinite": ("sqrt(x)", {"x": 0.0}, {"x": NONE}),
    "in float32 as well": ("log(x)", {"x": 0.0}, {"x": NONE}),
    "a pole": ("1 / x", {"x": 0.0}, {"x": NONE}),
    "infinite on both sides": ("sqrt(abs(x - 1))", {"x": 1.0}, {"x": ("[-inf, inf]", "inconclusive")}),
    "NaN where there is a slope": ("sqrt(x) * x", {"x": 0.0}, {"x": ("0", "failed")}),
    "and where both sides have it": ("sqrt(abs(x))**3", {"x": 0.0}, {"x": ("0", "failed")}),
    "but not at a kink": ("acos(cos(x))", {"x": 0.0}, {"x": KINKED}),
    "two leaves at once": ("abs(x - y)", {"x": 1.0, "y": 1.0}, dict.fromkeys("xy", KINKED)),
    "a cone": ("sqrt(x**2 + y**2)", {"x": 0.0, "y": 0.0}, dict.fromkeys("xy", KINKED)),
    "a cone, from its side": (
        "hypot(x, y)", {"x": 0.0, "y": 2.0}, {"x": ("0", "passed"), "y": ("1", "passed")},
    ),
    "arctan at the origin": ("atan2(x, y)", {"x": 0.0, "y": 0.0}, dict.fromkeys("xy", NONE)),
    "0⁰": ("x**x", {"x": 0.0}, {"x": NONE}),
    "bounds": ("clamp(x, 0, 1)", {"x": 1.0}, {"x": ("[0, 1]", "inconclusive")}),
    "a threshold": ("hardshrink(x)", {"x": 0.5}, {"x": NONE}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("what", COLUMN)
def test_the_column_shows_what_has_a_meaning(what: str, dtype: str) -> None:
    expression, inputs, expected = COLUMN[what]
    leaves = vjpcalc.vjp(expression, inputs, dtype=dtype).check.leaves
    assert {name: (*shown(leaf), leaf.status) for name, leaf in leaves.items()} == expected


def test_a_jacobian_holds_no_step_to_a_power() -> None:
    for expression in ("x**3", "x**2.5", "abs(x)**1.5", "x*x*x"):
        assert vjpcalc.jacobian(expression, {"x": [0.0]})["x"].tolist() == [[0.0]]
    assert vjpcalc.jacobian("x**3", {"x": [1e-60]})["x"].item() == pytest.approx(3e-120)


# ---- functions of the user's own ---------------------------------------------------------------------------

Forward = Callable[[torch.Tensor], torch.Tensor]
Backward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def own(function: Forward, slope: Forward, wrong: float = 0.0) -> Forward:
    """A function with a backward by hand, whose slope at 0 is off by so much."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return function(x)

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return g * (slope(x) + wrong * (x == 0))

    return Own.apply


# a function whose slope at 0 is 0, and its slope
POWERS: dict[str, tuple[Forward, Forward]] = {
    "x·x·x": (lambda x: x * x * x, lambda x: 3 * x * x),
    "x⁵": (lambda x: x**5, lambda x: 5 * x**4),
    "relu(x)²": (lambda x: torch.relu(x) ** 2, lambda x: 2 * torch.relu(x)),
    "x·|x|": (lambda x: x * x.abs(), lambda x: 2 * x.abs()),
    "x⁴": (lambda x: x**4, lambda x: 4 * x**3),
    "tanh(x)³": (
        lambda x: torch.tanh(x) ** 3,
        lambda x: 3 * torch.tanh(x) ** 2 * (1 - torch.tanh(x) ** 2),
    ),
    "x - sin x, which cancels": (lambda x: x - torch.sin(x), lambda x: 1 - torch.cos(x)),
    "eˣ - 1 - x, which cancels more": (lambda x: torch.exp(x) - 1 - x, lambda x: torch.exp(x) - 1),
    "1 + x³, whose steps are rounded away": (lambda x: 1 + x**3, lambda x: 3 * x * x),
    "x² log|x|": (
        lambda x: torch.where(x == 0, 0, x * x * torch.log(x.abs())),
        lambda x: torch.where(x == 0, 0, 2 * x * torch.log(x.abs()) + x),
    ),
    "x^1.5, on one side only": (lambda x: x**1.5, lambda x: 1.5 * x**0.5),
}  # fmt: skip


@pytest.mark.parametrize("what", POWERS)
@pytest.mark.parametrize("x", [[0.0], [0.0, 1.5, 0.7], [0.0, 1e-3]])
def test_a_function_of_ones_own_whose_slope_is_0(what: str, x: list[float]) -> None:
    function, slope = POWERS[what]
    for expression in ("sum(f(x))", "2.5 * sum(f(x))", "sum(sin(f(x)))"):
        right = vjpcalc.vjp(expression, {"x": x}, use={"f": own(function, slope)})
        assert right.check, right.check.leaves["x"].reason
        assert right.check.leaves["x"].jt_seed[0] == 0
        for wrong in (1.0, -1e-3):
            result = vjpcalc.vjp(expression, {"x": x}, use={"f": own(function, slope, wrong)})
            assert result.check.status == "failed"


def test_powers_that_are_nearly_1() -> None:
    """|x|^1.1 looks like a kink to all steps that are usual: its quotient is 0.28 even at 3e-6."""
    function = own(lambda x: x.abs() ** 1.1, lambda x: 1.1 * x.abs() ** 0.1 * x.sign())
    assert vjpcalc.vjp("sum(f(x))", {"x": [0.0, 0.7]}, use={"f": function}).check
    function = own(lambda x: x.abs() ** 1.1, lambda x: 1.1 * x.abs() ** 0.1 * x.sign(), 0.1)
    assert vjpcalc.vjp("sum(f(x))", {"x": [0.0, 0.7]}, use={"f": function}).check.status == "failed"


# what is not 0, though it may look so; with a backward that says 0
LOOK_FLAT: dict[str, Forward] = {
    "a line beside a cube": lambda x: x**3 + 1e-6 * x,
    "a faint one": lambda x: x**3 + 1e-12 * x,
    "beside 1": lambda x: 1 + x**3 + 1e-12 * x,
    "log(1 + x), which tiny steps do not move": lambda x: torch.log(1 + x),
    "1 - e⁻ˣ": lambda x: 1 - torch.exp(-x),
    "beside a square": lambda x: torch.log(1 + x) + x * x,
}


@pytest.mark.parametrize("what", LOOK_FLAT)
def test_a_slope_that_is_not_0_is_not_taken_for_0(what: str) -> None:
    function = own(LOOK_FLAT[what], lambda x: 0 * x)
    assert vjpcalc.vjp("sum(f(x))", {"x": [0.0]}, use={"f": function}).check.status == "failed"


def test_what_may_not_be_0_does_not_pass_as_0() -> None:
    """x·|x| + 1e-9·x: steps in x see 1e-8 and more, tiny ones see the line."""
    function = own(lambda x: x * x.abs() + 1e-9 * x, lambda x: 2 * x.abs())
    assert vjpcalc.vjp("sum(f(x))", {"x": [0.0]}, use={"f": function}).check.status == "inconclusive"


def test_a_kink_hides_behind_no_power_of_the_step() -> None:
    """|x| by way of (1 + x) - 1, which tiny steps do not move, and x² beside it, which they do."""
    function = own(lambda x: ((1 + x) - 1).abs() + x * x, lambda x: x.sign() + 2 * x)
    leaf = vjpcalc.vjp("sum(f(x))", {"x": [0.0]}, use={"f": function}).check.leaves["x"]
    assert leaf.status == "inconclusive"
    assert shown(leaf) == ["[-1, 1]"]


def test_a_jump_of_ones_own_has_no_interval() -> None:
    function = own(lambda x: (x > 0).double() + x, torch.ones_like)
    leaf = vjpcalc.vjp("sum(f(x))", {"x": [0.0, 2.0]}, use={"f": function}).check.leaves["x"]
    assert leaf.status == "inconclusive"
    assert shown(leaf) == ["–", "1"]


def test_the_edge_of_a_domain_of_ones_own() -> None:
    """x√x + x has the slope 1 at 0, to the right, which is all that there is."""
    right = own(lambda x: x * x.sqrt() + x, lambda x: 1.5 * x.sqrt() + 1)
    assert vjpcalc.vjp("sum(f(x))", {"x": [0.0, 0.7]}, use={"f": right}).check
    wrong = own(lambda x: x * x.sqrt() + x, lambda x: 1.5 * x.sqrt() + 1, -1.0)
    assert vjpcalc.vjp("sum(f(x))", {"x": [0.0, 0.7]}, use={"f": wrong}).check.status == "failed"


# quotients at four steps, the first a usual one; to the right, to the left → zero, and the slope
FIRST, TINY = 3e-6, (2.0**-60, 2.0**-80, 2.0**-100)
TINY_STEPS = {
    "x³": (lambda t: t**3, True, 0),
    "relu(x)²": (lambda t: max(t, 0) ** 2, True, 0),
    "x^1.5": (lambda t: t**1.5 if t >= 0 else NAN, True, 0),
    "3x + x|x|": (lambda t: 3 * t + t * abs(t), False, 3),
    "|x|": (abs, False, NAN),
    "what does not move": (lambda t: 0.0, False, NAN),
    "what moves by larger steps alone": (lambda t: (1 + t) - 1, False, NAN),
    "what has no value beside it": (lambda t: NAN, False, NAN),
}


@pytest.mark.parametrize("what", TINY_STEPS)
def test_tiny_steps(what: str) -> None:
    function, zero, slope = TINY_STEPS[what]
    with np.errstate(all="ignore"):
        tiny = by_tiny_steps(
            lambda t: np.array([function(t)]),
            FIRST,
            np.array([function(FIRST)]),
            np.array([function(-FIRST)]),
        )
    assert tiny.zero.tolist() == [zero]
    assert tiny.slope == pytest.approx([slope], rel=1e-12, nan_ok=True)


def test_large_steps_show_a_power_where_the_slope_is_within_its_error() -> None:
    h = np.array([1e-2, 3e-3, 1e-3])
    quotients = np.stack([h**2, h, 1e-4 + h**2, h**2, np.array([1e-15, -2e-15, 1e-15])], axis=1)
    value, error = np.array([1e-16, 1e-16, 1e-4, 1e-9, 1e-16]), np.array([1e-14, 1e-14, 1e-14, 1e-14, 1e-14])
    with np.errstate(all="ignore"):
        assert by_large_steps(h, quotients, value, error).tolist() == [True, True, False, False, False]


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", ["abs(f(x))", "sum(abs(f(x)))", "norm(f(x))", "f(x) * 2", "f(x)"])
@pytest.mark.parametrize("x", [[0.0], [0.0, 1.5, 0.7]])
def test_a_function_that_gives_complex_numbers_is_refused(expression: str, x: list[float]) -> None:
    with pytest.raises(Diagnostic, match=r"'f' returned complex numbers \(complex128\)"):
        vjpcalc.vjp(expression, {"x": x}, use={"f": torch.fft.fft})


def test_an_index_that_is_left_out() -> None:
    with pytest.raises(Diagnostic, match="unknown function 'getitem'"):
        vjpcalc.vjp("getitem(x)", {"x": [1.0]})


def test_a_function_of_ones_own_may_be_called_as_the_table_calls_another() -> None:
    for name in ("getitem", "detach"):
        result = vjpcalc.vjp(f"sum({name}(x))", {"x": [0.5, 2.0]}, use={name: lambda x: x**2})
        assert result.gradients["x"].tolist() == [1, 4]
        assert result.check
