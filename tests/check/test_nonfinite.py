"""Who made a gradient that is not finite: the operator whose own backward made it of a finite cotangent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vjpcalc
from vjpcalc.check.nonfinite import backward_origin


class Divides(torch.autograd.Function):
    """x·y, whose backward divides the product by the factor: 0/0 at a zero."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y, x * y)
        return x * y

    @staticmethod
    def backward(ctx, g):
        x, y, product = ctx.saved_tensors
        return g * product / x, g * product / y


class Once(Divides):
    """The same, which cannot be asked twice."""

    called = 0

    @staticmethod
    def backward(ctx, g):
        Once.called += 1
        if Once.called > 2:
            raise RuntimeError("enough")
        return Divides.backward(ctx, g)


LOOP = "y = x\nfor k in range(3):\n    y = y * 2\nsqrt(y) + sum(x) + y * 0"

# Expression, inputs, seed; the leaf and the index that are not finite; the origin, and its operator.
ORIGINS = {
    "not the other summand": ("sqrt(x) + x*3", {"x": 0.0}, None, "x", (), "'sqrt(x)'", "sqrt"),
    "nor another use": (
        "sum(x) + sum(sqrt(x) * w)", {"x": [4.0, 0.0], "w": [1.0, 1.0]}, None, "x", (1,), "'sqrt(x)'", "sqrt",
    ),
    "0 arrives at the branch not taken": (
        "where(x < 1, x, sqrt(x))", {"x": 0.0}, None, "x", (), "'sqrt(x)'", "sqrt",
    ),
    "the outer one of two": ("sqrt(sqrt(x))", {"x": 0.0}, None, "x", (), "'sqrt(sqrt(x))'", "sqrt"),
    "a norm at 0, by hand": (
        "sqrt(sum(x**2))", {"x": [0.0, 0.0]}, None, "x", (0,), "'sqrt(sum(x**2))'", "sqrt",
    ),
    "beside one that torch knows": (
        "norm(x) + sqrt(sum(x**2))", {"x": [0.0, 0.0]}, None, "x", (0,), "'sqrt(sum(x**2))'", "sqrt",
    ),
    "each leaf its own: the first": (
        "sqrt(x) + acos(y)", {"x": 0.0, "y": 1.0}, None, "x", (), "'sqrt(x)'", "sqrt",
    ),
    "each leaf its own: the second": (
        "sqrt(x) + acos(y)", {"x": 0.0, "y": 1.0}, None, "y", (), "'acos(y)'", "acos",
    ),
    "each element its own": (
        "sqrt(x * acos(1 - x))", {"x": [0.0, 1.0]}, [1, 1], "x", (0,), "'sqrt(x * acos(1 - x))'", "sqrt",
    ),
    "other elements have no part in it": (
        "h = sqrt(x)\nacos(h)", {"x": [0.0, 1.0]}, [1, 1], "x", (0,), "'sqrt(x)'", "sqrt",
    ),
    "through a matrix product": (
        "sum(sqrt(a @ b))", {"a": [[0.0, 0.0], [1.0, 1.0]], "b": [1.0, 2.0]},
        None, "b", (0,), "'sqrt(a @ b)'", "sqrt",
    ),
    "deep in a loop": (LOOP, {"x": 0.0}, None, "x", (), "'sqrt(y)'", "sqrt"),
    "a function of the user's": (
        "sum(exp(f(x, y)))", {"x": [0.0, 2.0], "y": [3.0, 1.0]}, None, "x", (0,), "'f(x, y)'", "f",
    ),
    "one that cannot be asked again": (
        "f1(x, y) + x", {"x": 0.0, "y": 3.0}, None, "x", (), "'f1(x, y)'", "f1",
    ),
    "a power": ("x ** 0.5", {"x": 0.0}, None, "x", (), "'x ** 0.5'", "pow"),
    "too large for float16": ("1 / x", {"x": np.float16(1e-3)}, None, "x", (), "'1 / x'", "div"),
    "a sum that overflows": (
        "x * 1e308 + x * 1e308", {"x": 0.5}, None, "x", (), "the sum of the cotangents of x", None,
    ),
    "the seed": ("x * 2", {"x": 0.5}, np.inf, "x", (), "the seed", None),
    "nobody: it was given": (
        "sum(x * y)", {"x": [1.0, np.nan], "y": 2.0}, None, "y", (), "the input x[1] is NaN", None,
    ),
    # where a value is not finite, whoever made the value
    "log of 0, hidden": (
        "sum(nan_to_num(-log(c), nan=0.0, posinf=0.0, neginf=0.0))", {"c": [0.0, 0.5]},
        None, "c", (0,), "'log(c)' at [0]", "log",
    ),
    "log of 0 in the branch not taken": (
        "sum(where(x > 0, x * log(x), 0))", {"x": [0.0, 1.0]}, None, "x", (0,), "'log(x)' at [0]", "log",
    ),
    "a root of a negative number": (
        "sum(where(x > 0, sqrt(x), 0))", {"x": [4.0, -1.0]}, None, "x", (1,), "'sqrt(x)' at [1]", "sqrt",
    ),
    "a value elsewhere has no part in it": (
        "sqrt(exp(log(x)))", {"x": 0.0}, None, "x", (), "'sqrt(exp(log(x)))'", "sqrt",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ORIGINS)
def test_the_operator_is_named_whose_own_backward_made_it(what: str) -> None:
    expression, inputs, seed, leaf, index, text, name = ORIGINS[what]
    Once.called = 0
    result = vjpcalc.vjp(expression, inputs, seed, check="off", use={"f": Divides, "f1": Once})
    assert not torch.isfinite(result.gradients[leaf][index])
    origin = backward_origin(result, leaf, index)
    assert origin is not None
    assert origin.text.removeprefix("first made by ").removeprefix("the backward of ") == text
    assert (origin.operator and origin.operator.name) == name


def test_the_reason_names_it() -> None:
    leaf = vjpcalc.vjp("sqrt(x) + x*3", {"x": 0.0}).check.leaves["x"]
    assert leaf.reason == "x: the gradient is infinite: first made by the backward of 'sqrt(x)'"
