"""What a failure says, end to end: mistakes planted in functions of the user's own, as they come up."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from backwards import own
from conftest import validate

import vjpcalc


def cube(handed: Any) -> type:
    """x³ with another backward."""
    return own("Cube", lambda x: x**3, handed)


class Ramp(torch.autograd.Function):
    """relu(x), whose backward is four times too large and takes 0 for positive."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        return 4 * g * (ctx.saved_tensors[0] >= 0)


class Product(torch.autograd.Function):
    """W @ x, whose gradient of W is transposed: right in its shape where W is square."""

    @staticmethod
    def forward(ctx, W, x):  # noqa: N803
        ctx.save_for_backward(W, x)
        return W @ x

    @staticmethod
    def backward(ctx, g):
        W, x = ctx.saved_tensors  # noqa: N806
        return torch.outer(x, g), W.T @ g


def leaf(
    function: Any, expression: str, inputs: Any, seed: Any = None, name: str = "x", **options: Any
) -> Any:
    """The verdict on a leaf of a program with the function f."""
    return vjpcalc.vjp(expression, inputs, seed, use={"f": function}, **options).check.leaves[name]


X = {"x": [0.5, -2.0, 1.5]}
# the mistake: its backward, the program, the seed; the kind of the fault, and what is said of the pattern
MISUSES = {
    "forgotten": (
        lambda x, g: 3 * x**2, "sum(f(x))", None, "ignored",
        "it does not depend on its cotangent v: it equals Jᵀ·ones",
    ),
    "averaged": (
        lambda x, g: 3 * x**2 * g.mean(), "sum(f(x))", None, "seed only",
        "its cotangent v is averaged: it equals Jᵀ·mean(v)",
    ),
    "used twice": (
        lambda x, g: 3 * x**2 * g * g, "sum(f(x))", None, "seed only",
        "its cotangent v counts twice: it equals Jᵀ·v²",
    ),
    "clipped": (
        lambda x, g: 3 * x**2 * g.clamp(-1, 1), "sum(f(x))", None, "seed only",
        "its cotangent v is clipped: it equals Jᵀ·clamp(v, -1, 1)",
    ),
    "its sign alone": (
        lambda x, g: 3 * x**2 * g.sign(), "sum(f(x))", None, "seed only",
        "only the sign of its cotangent v counts: it equals Jᵀ·sign(v)",
    ),
    "its sign lost": (
        lambda x, g: 3 * x**2 * g.abs(), "sum(f(x))", None, "seed only",
        "the sign of its cotangent v is lost: it equals Jᵀ·|v|",
    ),
    # wrong for this seed as well: a mean hands 1/3, and 3 × what it should be is not all that can be said
    "forgotten before a mean": (
        lambda x, g: 3 * x**2, "mean(f(x))", None, "wrong",
        "'f(x)': it does not depend on its cotangent v: it equals Jᵀ·ones",
    ),
    "forgotten, where the seed is 0": (
        lambda x, g: 3 * x**2, "f(x)", [1.0, 0.0, 0.0], "wrong",
        "'f(x)': it does not depend on its cotangent v: it equals Jᵀ·ones",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MISUSES)
def test_how_a_backward_misuses_its_cotangent_is_told(what: str) -> None:
    backward, expression, seed, kind, words = MISUSES[what]
    told = leaf(cube(backward), expression, X, seed)
    assert (told.status, told.fault.kind, told.fault.argument) == ("failed", kind, "x")
    assert told.pattern == words


def test_a_fault_is_told_in_json_with_the_cotangent_that_shows_it() -> None:
    """2·mean(v) in place of v: what was asked is there, so anybody can ask it again."""
    result = vjpcalc.vjp("sum(f(x))", X, use={"f": cube(lambda x, g: 3 * x**2 * g.mean())})
    document = json.loads(json.dumps(result.to_dict()))
    validate(document)
    told = document["check"]["leaves"]["x"]
    fault = told["fault"]
    v = np.array(fault["cotangent"]["data"])
    (k,) = fault["index"]
    slope = 3 * np.array(X["x"])[k] ** 2
    assert (fault["node"], fault["kind"], fault["argument"], fault["wrong"]) == (
        "'f(x)'",
        "seed only",
        "x",
        3,
    )
    assert fault["got"] == pytest.approx(slope * v.mean(), rel=1e-12)
    assert fault["expected"] == pytest.approx(slope * v[k], rel=1e-8)
    assert (told["wrong"], told["index"], told["digits"]) == (0, None, None)
    assert (told["got"], told["expected"]) == (fault["got"], fault["expected"])
    assert told["reason"] == fault["reason"]
    assert "for another cotangent, v = [" in told["reason"]


def test_of_a_long_cotangent_the_first_elements_are_shown() -> None:
    reason = leaf(cube(lambda x, g: 3 * x**2), "sum(f(x))", {"x": np.ones((3, 50))}).reason
    assert reason.count(",") < 15
    assert ", …] of shape (3, 50), it hands" in reason


def test_a_wrong_gradient_has_the_fault_beside_it() -> None:
    """W is in no way the last argument: what is transposed inside is no transposed gradient outside."""
    inputs = {"W": [[1.0, 2.0], [3.0, 5.0]], "x": [0.5, -1.5], "A": [[2.0, 1.0], [0.0, 3.0]]}
    told = leaf(Product, "sum(exp(f(A @ W, x)))", inputs, name="W")
    assert (told.status, told.fault.kind, told.fault.argument) == ("failed", "wrong", "W")
    assert told.pattern == "'f(A @ W, x)': transposed"
    assert told.index is not None


def test_a_check_with_a_fault_survives_being_pickled() -> None:
    run = vjpcalc.vjp("sum(f(x))", {"x": [1.0, -2.0]}, use={"f": cube(lambda x, g: 3 * x**2 * g.mean())})
    again = pickle.loads(pickle.dumps(run.check))
    assert [fault.reason for fault in again.faults] == [run.check.leaves["x"].reason]


def test_what_a_fault_has_in_common_survives_being_pickled() -> None:
    told = leaf(cube(lambda x, g: 6 * x**2 * g), "sum(tanh(f(x)))", X)
    assert pickle.loads(pickle.dumps(told)).fault.pattern == told.fault.pattern == "2 × what it should be"


class Times(torch.autograd.Function):
    """a·b, whose two gradients are in each other's place."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        return tuple(g * saved for saved in ctx.saved_tensors)


@pytest.mark.parametrize(("a", "b"), [([1.0, 2.0, 3.0], [4.0, 5.0, -6.0]), (2.0, 7.0)])
def test_gradients_in_each_others_place(a: Any, b: Any) -> None:
    leaves = vjpcalc.vjp("sum(f(a, b))", {"a": a, "b": b}, use={"f": Times}).check.leaves
    assert leaves["a"].pattern == "the gradients of a and b are swapped"
    assert leaves["b"].pattern == "the gradients of b and a are swapped"


class Biased(torch.autograd.Function):
    """x + b for rows of x, whose gradient of b is that of the first row alone."""

    @staticmethod
    def forward(ctx, x, b):
        return x + b

    @staticmethod
    def backward(ctx, g):
        return g, g[0]


def test_a_sum_that_is_missing_is_told_from_a_mean_by_another_cotangent() -> None:
    """For a seed of ones the first of four rows is a fourth of their sum."""
    inputs = {"x": np.arange(12.0).reshape(4, 3), "b": [1.0, 2.0, 3.0]}
    told = leaf(Biased, "sum(f(x, b))", inputs, name="b")
    assert told.pattern == (
        "'f(x, b)': v[0, :] of its cotangent v alone counts: a sum over the others is missing"
    )


def test_no_digits_are_told_of_what_failed_or_cannot_be_judged() -> None:
    assert leaf(cube(lambda x, g: 6 * x**2 * g), "sum(f(x))", X).digits is None
    assert vjpcalc.vjp("abs(x)", {"x": 0.0}).check.leaves["x"].digits is None
    assert vjpcalc.vjp("(exp(x) - 1) / x", {"x": 1e-9}).check.leaves["x"].digits == 0
    assert vjpcalc.vjp("x**2", {"x": 3.0}).check.leaves["x"].digits == 16


def test_at_a_kink_no_factor_is_told() -> None:
    """4 is the nearest slope's 1 by 4, and 4 is the number of elements: that means nothing there."""
    told = leaf(Ramp, "sum(f(x))", {"x": [0.0, -1.0, -2.0, -3.0]})
    assert (told.status, told.wrong, told.pattern) == ("failed", 1, None)
    assert told.reason == (
        "x[0]: a kink: the slope is 0 from the left and 1 from the right; your backward's 4 does not lie "
        "between them"
    )
    told = leaf(Ramp, "sum(f(x))", {"x": [0.0, 1.0, 2.0, -3.0]})
    assert told.pattern.startswith("4 × what it should be")  # of those that have a slope
    straight = vjpcalc.vjp("sum(relu(x) - relu(-x))", {"x": [0.0, 0.0, 1.0]}).check.leaves["x"]
    assert (straight.wrong, straight.expected, straight.pattern) == (2, 1.0, "where it is wrong, zero")


def test_a_kink_of_torchs_is_not_the_users() -> None:
    """A function that torch differentiates is no backward of anybody's own."""
    inside = leaf(lambda x: 2 * x.abs(), "sum(f(x))", {"x": [0.0, 1.0]})
    assert "torch's 0 lies between them" in inside.reason


ZEROS = {
    "torch's own operator": ("det(x)", {"x": [[1.0, 2.0], [2.0, 4.0]]}, "all zero"),
    "a function of the user's that is elsewhere": (
        "det(x) + f(w)", {"x": [[1.0, 2.0], [2.0, 4.0]], "w": 1.0}, "all zero",
    ),
    "the user's": (
        "sum(f(x))", X, "all zero, as where None is returned, or .item() or .detach() cuts the graph",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ZEROS)
def test_only_what_the_user_wrote_is_suspected_of_returning_none(what: str) -> None:
    expression, inputs, words = ZEROS[what]
    assert leaf(cube(lambda x, g: None), expression, inputs).pattern == words


def test_the_largest_error_is_the_one_that_is_named() -> None:
    """The adjugate of a singular matrix, whose largest entry is named first: torch gives 0 for all of it."""
    x = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 1.0, 5.0]]  # ∂det/∂x = [[14, -4, -2], [-7, 2, 1], [0, 0, 0]]
    told = vjpcalc.vjp("det(x)", {"x": x}).check.leaves["x"]
    assert (told.index, told.got, round(told.expected, 9)) == ((0, 0), 0.0, 14.0)
    told = leaf(cube(lambda x, g: 3 * x**2 * g + torch.tensor([1e-3, 2.0, -1.5])), "sum(f(x))", X)
    assert told.index == (1,)


# ---- what cannot be told -----------------------------------------------------------------------------------

# (expression, x, what takes the digits)
ROUNDED_AWAY = [
    ("log(1 + x) / x", 1e-12, "'1 + x'"),
    ("log(1 + x**2) / x", 1e-9, "'1 + x**2'"),
    ("(exp(x) - 1) / x", 1e-9, "'exp(x) - 1'"),
    ("(1 - cos(x)) / x**2", 1e-8, "'1 - cos(x)'"),
    ("log(1 + x) / x", 1e-13, "'1 + x'"),
]


@pytest.mark.parametrize(("expression", "x", "culprit"), ROUNDED_AWAY)
def test_what_takes_the_digits_is_named(expression: str, x: float, culprit: str) -> None:
    told = vjpcalc.vjp(expression, {"x": x}).check.leaves["x"]
    assert told.status == "inconclusive"
    assert f"0 digits of the derivative: {culprit} " in told.reason


POLES = {
    "a matrix that is nearly singular": (torch.linalg.inv, "sum(f(x))", [[1.0, 2.0], [2.0, 4.0 + 4e-12]]),
    "its determinant": (torch.logdet, "f(x)", [[1.0, 2.0], [2.0, 4.0 + 4e-12]]),
    "a tangent": (torch.tan, "sum(f(x))", [np.pi / 2 + 1e-12]),
}


@pytest.mark.parametrize("what", POLES)
def test_beside_a_pole_there_is_no_kink(what: str) -> None:
    function, expression, x = POLES[what]
    told = leaf(function, expression, {"x": x})
    assert told.status == "inconclusive"
    assert "kink" not in told.reason
    assert "show no slope: it jumps or has a pole here" in told.reason


INFINITE = {
    "1 / x": ("x", 0.0, "x: the gradient is minus infinity: first made by '1 / x'"),
    "-1 / x": ("x", 0.0, "x: the gradient is infinite: first made by '-1 / x'"),
    "sqrt(x)": ("x", 0.0, "x: the gradient is infinite: first made by the backward of 'sqrt(x)'"),
}


@pytest.mark.parametrize("expression", INFINITE)
def test_infinity_in_english(expression: str) -> None:
    name, x, reason = INFINITE[expression]
    assert vjpcalc.vjp(expression, {name: x}).check.leaves[name].reason == reason


# ---- in Python ---------------------------------------------------------------------------------------------


def test_a_check_that_is_off_is_no_pass() -> None:
    result = vjpcalc.vjp("x**2", {"x": 3.0}, check="off")
    assert (result.check.status, bool(result.check), dict(result.check.leaves)) == ("off", False, {})
    for strict in (True, False):
        with pytest.raises(vjpcalc.CheckFailed, match="nothing was checked"):
            result.check.require(strict=strict)
    assert result.to_dict()["check"] == {"status": "off", "method": "off"}
    validate(result.to_dict())
