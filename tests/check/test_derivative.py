"""Differences of functions whose slope is known in closed form: what they claim to be off by, they are.

Slopes are written in mpmath, and taken at 40 digits. The functions are the user's own, so that no complex
step can be taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import torch

from vjpcalc.check.derivative import Sided, relative_scale
from vjpcalc.check.differences import differences
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.job.autograd import forward
from vjpcalc.job.job import make_job

Function = Callable[[torch.Tensor], torch.Tensor]


class Counted(Replay):
    """A replay that counts its evaluations."""

    calls = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.calls += 1
        return super().__call__(x)


def replay(function: Function, x: Any, dtype: str = "float64") -> Counted:
    job = make_job("f(x)", {"x": x}, use={"f": function}, dtype=dtype)
    return Counted(required_reference(forward(job)), "x")


def slope(function: Function, x: float) -> tuple[Sided, int]:
    """The slope of a function of one number, and the number of evaluations."""
    again = replay(function, x)
    scale = relative_scale(np.asarray(x, dtype=float))
    return differences(again, scale)[0].scaled(1 / scale), again.calls


def through_numpy(function: Callable[[np.ndarray], np.ndarray]) -> Function:
    """A function that leaves torch on its way: what it computes in is not seen."""
    return lambda x: torch.from_numpy(np.asarray(function(x.detach().numpy()), dtype=np.float64))


def single(function: Function) -> Function:
    """The function, rounded to float32 before and after."""
    return lambda x: function(x.float().double()).float().double()


PI2 = 2 * np.pi

# what: the function, its slope, the points, and the digits that are claimed at least
SLOPES: dict[str, tuple[Function, Callable[[Any], Any], list[float], float]] = {
    # well scaled
    "sin(x)": (torch.sin, mp.cos, [0.3, -0.7, 1.0, 1.9999, 5.0], 8),
    "x**3": (lambda x: x**3, lambda x: 3 * x**2, [0.3, -0.7, 1.0, 5.0], 8),
    "tanh(x)": (torch.tanh, lambda x: mp.sech(x) ** 2, [0.3, -0.7, 2.5], 8),
    "log(x)": (torch.log, lambda x: 1 / x, [1e-300, 1e-100, 1e-10, 1e-3, 2.2, 1e3, 1e100], 8),
    "x * exp(-x²/2)": (
        lambda x: x * torch.exp(-(x**2) / 2),
        lambda x: (1 - x**2) * mp.exp(-(x**2) / 2),
        [0.3, -0.7, 2.5],
        8,
    ),
    "3x": (lambda x: 3 * x, lambda x: 3, [1e-310, 1e-30, 0.1, 1e30, 1e300], 8),
    # a scale that is not |x|: numbers that are large, tiny or 0
    "sin(x) far out": (torch.sin, mp.cos, [30.0, 100.0, 1e3, 12345.678, 1e6], 7),
    "sin(x) as far as it goes": (torch.sin, mp.cos, [1e8, 1e12], 5),
    "x + sin(x)": (lambda x: x + torch.sin(x), lambda x: 1 + mp.cos(x), [1e6, 1e8], 4),
    "exp(x)": (torch.exp, mp.exp, [0.0, 1e-3, -1e-5, 1e-10, 1e-17, 1e-100, 1e-300], 7),
    "1000 + x": (lambda x: 1000 + x, lambda x: 1, [0.3, 1e-10, 1e-30], 7),
    "1e10 + x": (lambda x: 1e10 + x, lambda x: 1, [0.3, 42.0], 3),
    # narrow, or fast: no step of a power of two may be in step with it
    "sin(1000x)": (lambda x: torch.sin(1000 * x), lambda x: 1000 * mp.cos(1000 * x), [0.37, 1.0, 2.7], 8),
    "x + sin(2π·1024x)": (
        lambda x: x + torch.sin(PI2 * 1024 * x),
        lambda x: 1 + PI2 * 1024 * mp.cos(mp.mpf(PI2) * 1024 * x),
        [0.37, 1.0, 2.7],
        8,
    ),
    "x + sin(2π·65536x)": (
        lambda x: x + torch.sin(PI2 * 65536 * x),
        lambda x: 1 + PI2 * 65536 * mp.cos(mp.mpf(PI2) * 65536 * x),
        [0.37, 1.0],
        6,
    ),
    "a bump of width 1e-3": (
        lambda x: torch.exp(-(((x - 1) / 1e-3) ** 2)),
        lambda x: -2e6 * (x - 1) * mp.exp(-(((x - 1) * 1000) ** 2)),
        [1.0005, 0.99999, 1.003],
        8,
    ),
    "a bump of width 1e-5": (
        lambda x: torch.exp(-(((x - 1) / 1e-5) ** 2)),
        lambda x: -2e10 * (x - 1) * mp.exp(-(((x - 1) * 100000) ** 2)),
        [1.0000041, 0.99999],
        7,
    ),
    "a bump on a line, far out": (
        lambda x: x + torch.exp(-(((x - 1000) / 1e-3) ** 2)),
        lambda x: 1 - 2e6 * (x - 1000) * mp.exp(-(((x - 1000) * 1000) ** 2)),
        [1000.0005, 1000.1],
        6,
    ),
    "a soft step of width 1e-4": (
        lambda x: torch.tanh((x - 1) / 1e-4),
        lambda x: 1e4 * mp.sech((x - 1) * 10000) ** 2,
        [1.0, 1.00003, 0.9999],
        7,
    ),
    "a ripple on a parabola": (
        lambda x: x**2 + 1e-6 * torch.sin(1e4 * x),
        lambda x: 2 * x + 0.01 * mp.cos(10000 * x),
        [1.0, 1.5],
        7,
    ),
    # a kink beside the point
    "|x - 1|": (
        lambda x: torch.abs(x - 1),
        lambda x: mp.sign(x - 1),
        [1.01, 1 - 1e-3, 1 + 1e-4, 1 + 1e-6],
        7,
    ),
    "relu(x - 1)²": (lambda x: torch.relu(x - 1) ** 2, lambda x: 2 * (x - 1), [1.01, 1 + 1e-3, 1 + 1e-5], 7),
    "a jump at 1": (lambda x: x + (x > 1).double(), lambda x: 1, [1.01, 1 + 1e-4, 1 - 1e-6], 7),
    "floor(1000x) / 1000 + x": (
        lambda x: torch.floor(1000 * x) / 1000 + x,
        lambda x: 1,
        [0.49999, 1.00051],
        7,
    ),
    # what cancels
    "(x + 1e8) - 1e8": (lambda x: (x + 1e8) - 1e8, lambda x: 1, [0.3, 1.0, 30.0], 5),
    "(x² + 1e6) - 1e6": (lambda x: (x**2 + 1e6) - 1e6, lambda x: 2 * x, [0.3, 30.0], 7),
    # rounded to float32 on the way
    "float32 exp": (single(torch.exp), mp.exp, [0.01, 0.3, 1.0, 5.3], 3),
    "float32 cos": (single(torch.cos), lambda x: -mp.sin(x), [0.3, 1.0, 5.3], 4),
    "float32 cos where it hardly moves": (single(torch.cos), lambda x: -mp.sin(x), [1e-3, 0.01, 0.05], 1),
    "x · float32 sin": (
        lambda x: x * single(torch.sin)(x),
        lambda x: mp.sin(x) + x * mp.cos(x),
        [0.3, 1.0, 100.0],
        2,
    ),
    "float32 tanh in NumPy": (
        through_numpy(lambda x: np.tanh(np.float32(x))),
        lambda x: mp.sech(x) ** 2,
        [0.01, 0.3, 1.0],
        4,
    ),
    "sin(x) in NumPy": (through_numpy(np.sin), mp.cos, [0.3, 1.0, 1e-10, 100.0], 7),
    # rounded to float16: hardly a digit, but an honest one
    "float16 exp": (lambda x: x.half().exp().double(), mp.exp, [0.3, 1.0, 1.7], 0.5),
    "x + float16 square": (lambda x: x + x.half().double() ** 2, lambda x: 1 + 2 * x, [0.3, 1.0, 1.7], 0.5),
}


def digits(error: float, of: float) -> float:
    return -np.log10(error / of) if error else 16.0


@pytest.mark.parametrize(("what", "x"), [(what, x) for what, (_, _, xs, _) in SLOPES.items() for x in xs])
def test_the_claimed_error_bounds_the_real_one(what: str, x: float) -> None:
    function, by_hand, _, least = SLOPES[what]
    with mp.workdps(40):
        expected = float(by_hand(mp.mpf(x)))
    found, _ = slope(function, x)
    assert not found.kink.any()
    assert abs(found.value[0] - expected) <= found.error[0] + 4e-16 * abs(expected)
    assert digits(found.error[0], abs(expected) or 1.0) >= least


@pytest.mark.parametrize("function", [torch.sin, torch.tanh, torch.exp, lambda x: x**3, lambda x: 3 * x + 1])
@pytest.mark.parametrize("x", [0.3, -0.7, 1.0, 2.5])
def test_the_usual_case_is_cheap(function: Function, x: float) -> None:
    """gradcheck takes one pair of points; a second scale, and to know the error, take two or three more."""
    found, calls = slope(function, x)
    assert calls <= 8
    assert digits(found.error[0], abs(found.value[0])) > 8.9


# ---- kinks -------------------------------------------------------------------------------------------------

INF, NAN = np.inf, np.nan  # NaN: no slope, for the values do not come nearer
KINKS: dict[str, tuple[Function, float, tuple[float, float]]] = {
    "|x|": (torch.abs, 0.0, (-1, 1)),
    "relu(x)": (torch.relu, 0.0, (0, 1)),
    "relu(x) + sin(x)": (lambda x: torch.relu(x) + torch.sin(x), 0.0, (1, 2)),
    "|x - 1|": (lambda x: torch.abs(x - 1), 1.0, (-1, 1)),
    "max(x, x²) at 1": (lambda x: torch.maximum(x, x**2), 1.0, (1, 2)),
    "a small kink in a steep line": (lambda x: 100 * x + 0.01 * torch.abs(x - 1), 1.0, (99.99, 100.01)),
    "√|x|: no slope on either side": (lambda x: torch.sqrt(torch.abs(x)), 0.0, (-INF, INF)),
    "√x: no value on the left": (torch.sqrt, 0.0, (INF, INF)),
    "x^0.9": (lambda x: torch.abs(x) ** 0.9, 0.0, (-INF, INF)),
    "∛x: upright, and the same on both sides": (
        lambda x: torch.sign(x) * torch.abs(x) ** (1 / 3), 0.0, (INF, INF),
    ),
    "a jump": (lambda x: (x >= 1).double(), 1.0, (NAN, 0)),
    "a jump at a whole number": (lambda x: torch.floor(x) * x, 2.0, (NAN, 2)),
}  # fmt: skip


@pytest.mark.parametrize("what", KINKS)
def test_a_kink_is_seen_with_the_slopes_of_both_sides(what: str) -> None:
    function, x, (left, right) = KINKS[what]
    found, _ = slope(function, x)
    assert found.kink.all()
    for got, expected in ((found.left, left), (found.right, right)):
        assert got == pytest.approx([expected], rel=1e-6, abs=1e-7, nan_ok=True)


SMOOTH_AT_0 = {
    "x|x|": (lambda x: x * torch.abs(x), 0.0),
    "|x|^1.5": (lambda x: torch.abs(x) ** 1.5, 0.0),
    "relu(x)² + sin(x)": (lambda x: torch.relu(x) ** 2 + torch.sin(x), 1.0),
    "huber's joint": (lambda x: torch.nn.functional.huber_loss(x + 1, torch.zeros_like(x)), 1.0),
}


@pytest.mark.parametrize("what", SMOOTH_AT_0)
def test_what_has_the_same_slope_on_both_sides_has_no_kink(what: str) -> None:
    function, expected = SMOOTH_AT_0[what]
    found, _ = slope(function, 0.0)
    assert not found.kink.any()
    assert abs(found.value[0] - expected) <= found.error[0] <= 1e-3


def test_each_output_has_its_own_kink_and_its_own_scale() -> None:
    """All elements of x move at once; every output depends on one of them."""
    x = np.array([0.0, 1e-9, 0.3, 7e5, 1.0, -2.0])
    again = replay(
        lambda x: torch.stack([x[0].abs(), x[1].exp(), (1e3 * x[2]).sin(), x[3].sin(), x[4], x[5].relu()]), x
    )
    scale = relative_scale(x)
    found = differences(again, scale)[0].scaled(1 / scale)
    assert found.kink.tolist() == [True, False, False, False, False, False]
    expected = [1.0, np.exp(1e-9), 1e3 * np.cos(300), np.cos(7e5), 1.0, 0.0]
    assert found.right[0] == pytest.approx(1)
    error = np.abs(found.value - expected)[1:]
    assert (error <= found.error[1:] + 1e-12 * np.abs(expected[1:])).all()
    assert (found.error[1:] <= 1e-5).all()


# ---- what does not move ------------------------------------------------------------------------------------


def test_an_output_that_has_nothing_to_do_with_the_element_is_known_to_have_no_slope() -> None:
    """Its rounding, that of 1e12, must not stand beside the slope of the other, 1e-9."""
    again = replay(lambda x: torch.stack([1e-9 * x[0], 1e12 + x[1].exp(), 1e12 * x[1]]), np.array([1.0, 2.0]))
    found = differences(again, np.array([1.0, 0.0]))[0]
    assert found.value == pytest.approx([1e-9, 0, 0], rel=1e-8)
    assert found.error[1:].tolist() == [0, 0]


@pytest.mark.parametrize("function", [torch.linalg.inv, lambda x: torch.linalg.inv(x.clone()) * 1.0])
def test_where_a_nan_spoils_everything_a_far_move_tells_what_depends_on_what(function: Function) -> None:
    """An inverse of 1e8 must not stand beside the slope of the other, -1e-16."""
    again = replay(function, np.diag([1e-8, 1e8]))
    direction = np.array([[0.0, 0.0], [0.0, 2.0**26]])
    found = differences(again, direction)[0].scaled(1 / 2.0**26)
    assert found.value == pytest.approx([0, 0, 0, -1e-16], rel=1e-8, abs=1e-30)
    assert found.error[0] <= 1e-20


def test_a_sum_of_numbers_of_all_sizes_moves_by_large_steps_where_small_ones_are_lost() -> None:
    """1 beside 1e8: x² is known to 2 only."""
    x = np.array([1e8, 1.0, -1e4])
    again = replay(lambda x: (x**2).sum(), x)
    for k, size in enumerate(relative_scale(x)):
        found = differences(again, np.where(np.arange(3) == k, size, 0.0))[0].scaled(1 / size)
        assert abs(found.value[0] - 2 * x[k]) <= found.error[0] <= 1e-4 * abs(2 * x[k])


SATURATED = {
    "a relu whose dead side is nearer than rounding sees": (
        lambda x: torch.relu(x) - torch.exp(-(x**2)), -2.7e-9, -5.4e-9,
    ),
    "log(1 + tanh²)": (lambda x: torch.log(1 + torch.tanh(2 * x) ** 2), -2.94e-6, -2.352e-5),
    "sqrt(1 + x²)": (lambda x: torch.sqrt(1 + (10 * x) ** 2), -9.38e-11, -9.38e-9),
    "sigmoid": (torch.sigmoid, 40.0, 4.2e-18),
    "sigmoid in NumPy": (through_numpy(lambda x: 1 / (1 + np.exp(-x))), 40.0, 4.2e-18),
    "softplus": (lambda x: torch.log(1 + torch.exp(x)), -40.0, 4.2e-18),
    "float32 cosine": (single(torch.cos), 1e-9, -1e-9),
    "a term too small to see": (lambda x: 1 + 1e-18 * x, 3.0, 1e-18),
    "1 + x²": (lambda x: 1 + x**2, 1e-100, 2e-100),
    "tanh(|x|)": (lambda x: torch.tanh(torch.abs(x)), -18.19, -8.9e-16),
}  # fmt: skip


@pytest.mark.parametrize("what", SATURATED)
def test_a_slope_that_rounding_swallows_is_not_believed_to_be_0(what: str) -> None:
    function, x, expected = SATURATED[what]
    found, _ = slope(function, x)
    assert abs(found.value[0] - expected) <= found.error[0]


def test_a_value_that_stays_infinite_has_no_slope() -> None:
    """A masked logit: -inf at x, and wherever x moves."""
    mask = torch.tensor([0.0, -torch.inf], dtype=torch.float64)
    again = replay(lambda x: torch.cat([x + mask, torch.softmax(x + mask, 0)]), np.array([0.3, 0.7]))
    found = differences(again, np.array([0.25, 0.5]))[0]
    assert found.value == pytest.approx([0.25, 0, 0, 0], abs=1e-12)
    assert np.isfinite(found.error).all()
    assert not found.kink.any()


def test_a_step_function_is_flat_unless_it_may_be_rounding() -> None:
    """A quantiser's slope is 0: torch is seen to round. Of steps out of sight nobody knows what they are."""
    seen, _ = slope(lambda x: torch.round(x * 512) / 512, 0.3)
    assert (seen.value[0], seen.error[0] < 1e-6) == (0, True)
    for function in (through_numpy(lambda x: np.round(x * 512) / 512), lambda x: (x + 1e12) - 1e12):
        unseen, _ = slope(function, 0.3)
        assert abs(unseen.value[0] - 1) <= unseen.error[0] < 3


# ---- how precisely a function computes ---------------------------------------------------------------------

ROUNDED = {
    "float64": (torch.exp, 1e-17, 5e-16),
    "float32": (single(torch.exp), 1e-8, 2e-7),
    "float32 in NumPy": (through_numpy(lambda x: np.exp(np.float32(x))), 1e-8, 2e-7),
    "cancels eight digits": (lambda x: (torch.exp(x) + 1e8) - 1e8, 1e-9, 2e-8),
    "float16": (lambda x: x.half().exp().double(), 1e-4, 1e-3),
}


@pytest.mark.parametrize("what", ROUNDED)
def test_the_rounding_of_the_forward_is_measured(what: str) -> None:
    function, least, most = ROUNDED[what]
    again = replay(function, [0.3, 0.9])
    relative = again.rounding / np.abs(again.primal)
    assert (relative >= least).all()
    assert (relative <= most).all()


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (1.03, False), (-1.0, False)])
def test_float32_inside_tells_three_percent_from_right(factor: float, right: bool) -> None:
    found, _ = slope(single(torch.tanh), 0.4)
    gradient = factor * (1 - np.tanh(0.4) ** 2)
    assert bool(abs(gradient - found.value[0]) <= found.error[0]) is right


# ---- the smallest numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [5e-324, 1e-310, 2.3e-308, 1e-300, 1e-233, 1e-217, 1e-100])
def test_the_scale_of_the_smallest_numbers_never_underflows(x: float) -> None:
    scale = float(relative_scale(np.array(x)))
    assert scale * 2.0**-300 > 0  # the complex step
    assert scale * 2.0**-300 <= max(x * 2.0**-26, 2.0**-1070)  # whose square is nothing beside x


@pytest.mark.parametrize("x", [2.3e-308, 1e-300, 1e-250, 1e-220])
@pytest.mark.parametrize(
    ("expression", "expected"),
    [("x + 1", lambda x: 1.0), ("log(x)", lambda x: 1 / x), ("3 * x", lambda x: 3.0)],
)
def test_the_smallest_numbers_have_gradients_that_pass(expression: str, expected: Any, x: float) -> None:
    import vjpcalc

    leaf = vjpcalc.vjp(expression, {"x": x}).check.leaves["x"]
    assert leaf.status == "passed"
    assert leaf.jt_seed == pytest.approx(expected(x), rel=1e-8)
