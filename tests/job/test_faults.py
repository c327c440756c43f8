"""A function of the user's own that fails: which, where, and what it should have returned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import vjpcalc
from vjpcalc.job.use import operator


def function(backward: Any) -> type[torch.autograd.Function]:
    """2x + b as a function of autograd with this backward."""

    class Affine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, b):
            return 2 * x + b

    Affine.backward = staticmethod(backward)
    return Affine


X, B = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1.0, 2.0, 3.0]
IN_ORDER = (
    "backward returns one for each argument of forward, in order (x, b): None for one that is no tensor"
)
RETURNS = {
    "a matrix that is transposed": (
        lambda ctx, g: (2 * g.T, g.sum(0)),
        "'Affine.backward' gives 'x' a gradient of shape (3, 2), not (2, 3) (test_faults.py:",
        "the shape of 'x' in reverse: transpose it, .T",
    ),
    "a vector that is summed over the wrong dimension": (
        lambda ctx, g: (2 * g, g.sum(1)),
        "'Affine.backward' gives 'b' a gradient of shape (2,), not (3,) (test_faults.py:",
        "a gradient has one number for each element of its argument, in its shape",
    ),
    "a vector with a dimension too many": (
        lambda ctx, g: (2 * g, g.sum(0)[:, None]),
        "'Affine.backward' gives 'b' a gradient of shape (3, 1), not (3,) (test_faults.py:",
        "only dimensions of size 1 are in the way: .reshape((3,)) takes them out",
    ),
    "a matrix that is flattened": (
        lambda ctx, g: (2 * g.flatten(), g.sum(0)),
        "'Affine.backward' gives 'x' a gradient of shape (6,), not (2, 3) (test_faults.py:",
        "a gradient has one number for each element of its argument, in its shape",
    ),
    "a number": (
        lambda ctx, g: (g.sum(), g.sum(0)),
        "'Affine.backward' gives 'x' a gradient of shape (), not (2, 3) (test_faults.py:",
        "a gradient has one number for each element of its argument, in its shape",
    ),
    "one for two": (lambda ctx, g: 2 * g, "'Affine.backward' returns 1 gradient, not 2 (", IN_ORDER),
    "three for two": (lambda ctx, g: (g, g, g), "'Affine.backward' returns 3 gradients, not 2 (", IN_ORDER),
}


@pytest.mark.parametrize("what", RETURNS)
def test_a_backward_that_returns_the_wrong_thing(what: str) -> None:
    backward, message, hint = RETURNS[what]
    affine = operator("affine", function(backward))
    with pytest.raises(vjpcalc.Diagnostic) as raised:
        vjpcalc.vjp("sum(affine(x, b))", {"x": X, "b": B}, use={"affine": affine})
    assert raised.value.message.startswith(message)
    assert raised.value.hint == hint


PERMUTED = {
    "channels last": ((0, 2, 1), "the dimensions of 'x' in another order: permute it, .permute(0, 2, 1)"),
    "around": ((1, 2, 0), "the dimensions of 'x' in another order: permute it, .permute(2, 0, 1)"),
    "in reverse": ((2, 1, 0), "the shape of 'x' in reverse: permute it, .permute(2, 1, 0)"),
}


@pytest.mark.parametrize("what", PERMUTED)
def test_what_is_advised_makes_it_right(what: str) -> None:
    """No reshape: it would put the right numbers in wrong places, and nobody would see it."""
    order, hint = PERMUTED[what]
    back = tuple(map(int, hint.partition("permute(")[2].strip(")").split(",")))
    x, b = torch.arange(24.0, dtype=torch.float64).reshape(2, 3, 4), torch.zeros(4, dtype=torch.float64)
    for advised in (False, True):
        undone = (lambda g: g.permute(back)) if advised else (lambda g: g)
        own = function(lambda ctx, g, undone=undone: (undone(2 * g.permute(order)), g.sum((0, 1))))
        if advised:
            vjpcalc.vjp("sum(f(x, b)**2)", {"x": x, "b": b}, use={"f": own}).check.require()
        else:
            with pytest.raises(vjpcalc.Diagnostic) as raised:
                vjpcalc.vjp("sum(f(x, b)**2)", {"x": x, "b": b}, use={"f": own})
            assert raised.value.hint == hint


KERNEL = torch.ones(3, dtype=torch.float32)
DTYPES = {
    "a module": (
        torch.nn.Linear(3, 2), {"x": np.ones((4, 3))},
        "x is float64, and a tensor that 'f' brings along is float32: --dtype float32, or .double() on that "
        "tensor or module",
    ),
    "a module that tells less": (
        torch.nn.LayerNorm(3), {"x": np.ones((4, 3))},
        "x is float64, and a tensor that 'f' brings along is not: --dtype float32, or .double() on that "
        "tensor or module",
    ),
    "a kernel": (
        lambda x: x @ KERNEL, {"x": np.ones((4, 3), np.float16)},
        "x is float16, and a tensor that 'f' brings along is float32: --dtype float32, or .half() on that "
        "tensor or module; test_faults.py:",
    ),
    "a table of rows": (
        torch.nn.Embedding(4, 3), {"x": np.ones(2)},
        "'f' needs a dtype of whole numbers there: x:int64='[0, 2]'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DTYPES)
def test_what_a_function_brings_along_has_a_dtype(what: str) -> None:
    own, inputs, hint = DTYPES[what]
    with pytest.raises(vjpcalc.Diagnostic) as raised:
        vjpcalc.vjp("sum(f(x))", inputs, use={"f": own})
    assert (raised.value.kind, raised.value.hint[: len(hint)]) == ("value", hint)


def test_what_is_advised_about_a_dtype_works() -> None:
    module = torch.nn.Linear(3, 2)
    numbers = {"x": [[0.5, 1.0, -2.0]]}
    vjpcalc.vjp("sum(f(x))", numbers, use={"f": module}, dtype="float32").check.require()
    vjpcalc.vjp("sum(f(x))", numbers, use={"f": module.double()}).check.require()


FILE = """\
import torch


def helper(g):
    return g.nothing  # here


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return helper(g)


def singular(x):
    return torch.linalg.inv(x * 0)  # here
"""


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        ("sum(Wrong(x))", "own.py:5 is  return g.nothing  # here"),
        ("singular(x)", "own.py:19 is  return torch.linalg.inv(x * 0)  # here"),
    ],
)
@pytest.mark.parametrize("command", [[], ["explain"], ["jacobian", "--by", "backward"]], ids=str)
def test_an_error_in_a_users_file_keeps_its_line(
    cli, tmp_path, monkeypatch, expression, line, command
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(FILE)
    name = expression.removeprefix("sum(").partition("(")[0]
    ran = cli(*command[:1], expression, "x=[[1,2],[3,4]]", *command[1:], "--use", f"own.py:{name}")
    assert ran.status == 3
    assert ran.err.rstrip().endswith(f"hint: {line}")
