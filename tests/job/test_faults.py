"""A function of the user's own that fails: which, where, and what it should have returned."""

from __future__ import annotations

from typing import Any

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
        "it has the right number of elements: .reshape((2, 3)) puts them in place",
    ),
    "a vector that is summed over the wrong dimension": (
        lambda ctx, g: (2 * g, g.sum(1)),
        "'Affine.backward' gives 'b' a gradient of shape (2,), not (3,) (test_faults.py:",
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
