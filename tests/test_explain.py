"""``explain``: the walk, its names, its rules in symbols and numbers, and which node is wrong."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
import torch

from vjpcalc import vjp
from vjpcalc.explain.simplify import simplified
from vjpcalc.explain.walk import Explanation, explain
from vjpcalc.job.use import operator
from vjpcalc.language.source import width as columns
from vjpcalc.operators.registry import table

LOOP = "y = x * 2\nwhile y.data.norm() < 1000:\n    y = y * 2\ny"


def walk(expression: str, inputs: dict, seed=None, **options) -> Explanation:
    return explain(vjp(expression, inputs, seed, check="off", **options))


def handed(found: Explanation) -> list[str]:
    """The whole walk, a line for each cotangent handed on: ``x.grad += out.grad * 2``."""
    lines = []
    for step in found.steps:
        for one in step.hands:
            sums = f", sum over {one.summed}" if one.summed else ", repeated" if one.repeated else ""
            lines.append(f"{one.to}.grad {'+=' if one.accumulates else '='} {one.symbols}{sums}")
    return lines


# ---- rules, in the order that autograd takes them ----------------------------------------------------------

WALKS = {
    "a product of matrices": (
        "a @ b",
        {"a": [[0, 0], [2, 2]], "b": [[1, 2], [1, 2]]},
        [[1, 2], [3, 4]],
        ["a.grad = out.grad @ b.mT", "b.grad = a.mT @ out.grad"],
    ),
    "a broadcast bias is summed": (
        "a + b",
        {"a": [[1, 2], [3, 4]], "b": [1, 2]},
        [[1, 1], [1, 1]],
        ["a.grad = out.grad", "b.grad = out.grad, sum over (0,)"],
    ),
    "a column is summed over its own dimension": (
        "a * b",
        {"a": [[1, 2], [3, 4]], "b": [[1], [2]]},
        [[1, 1], [1, 1]],
        ["a.grad = out.grad * b", "b.grad = out.grad * a, sum over (1,)"],
    ),
    "used twice, gradients accumulate": (
        "x * x",
        {"x": 3},
        None,
        ["x.grad = out.grad * x", "x.grad += out.grad * x"],
    ),
    "inner nodes are numbered, names are the user's": (
        "h = x * 2\nsum(h * h + 1)",
        {"x": [1, 2]},
        None,
        [
            "%2.grad = out.grad, repeated",
            "%1.grad = %2.grad",
            "h.grad = %1.grad * h",
            "h.grad += %1.grad * h",
            "x.grad = h.grad * 2",
        ],
    ),
    "a name given again": (
        "x = x * 2\nx * 3",
        {"x": 1},
        None,
        ["x′.grad = out.grad * 3", "x.grad = x′.grad * 2"],
    ),
    "nothing flows through a constant": ("x * x.detach()", {"x": 2}, None, ["x.grad = out.grad * %1"]),
    "a mask": ("where(x > 0, x, 0)", {"x": [1, -1]}, [1, 1], ["x.grad = where(%1, out.grad, 0)"]),
    "a power": ("x ** 3", {"x": 2}, None, ["x.grad = out.grad * (3 * x ** 2)"]),
}


@pytest.mark.parametrize("what", WALKS)
def test_the_walk_says_what_is_handed_on(what: str) -> None:
    expression, inputs, seed, expected = WALKS[what]
    found = walk(expression, inputs, seed)
    assert handed(found) == expected
    assert all(step.status == "passed" for step in found.steps)


def test_what_is_handed_to_a_leaf_adds_up_to_its_gradient() -> None:
    found = walk("tanh(x @ W) @ x + sum(x) * x", {"x": [1, 2], "W": [[0.1, 0.2], [0.3, 0.4]]}, [1, 2])
    for name, gradient in found.vjp.gradients.items():
        parts = [one.value for step in found.steps for one in step.hands if one.to == name]
        np.testing.assert_allclose(sum(parts), gradient.numpy(), rtol=1e-14)


def test_loops_are_numbered_by_iteration() -> None:
    found = walk(LOOP, {"x": [0.1, 2.0, 3.0]}, [0.1, 1.0, 0.0001])
    assert [step.name for step in found.steps] == [*(f"y#{i}" for i in range(8, 0, -1)), "y"]
    assert found.steps[-1].hands[0].value.tolist() == pytest.approx([51.2, 512.0, 0.0512])


def test_nested_loops_have_two_numbers() -> None:
    found = walk("y = x\nfor i in range(2):\n    for j in range(2):\n        y = y * 2\ny", {"x": 1})
    assert [step.name for step in found.steps] == ["y#2.2", "y#2.1", "y#1.2", "y#1.1"]


def test_torchs_own_nodes_stand_beside_ours() -> None:
    record = walk("a @ b", {"a": [[1, 2]], "b": [[1], [2]]}).to_dict()["trace"]["forward"]
    assert [node["grad_fn"] for node in record] == [["AccumulateGrad"], ["AccumulateGrad"], ["MmBackward0"]]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_step_is_judged_by_the_precision_of_its_dtype(dtype: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 8, generator=generator).to(getattr(torch, dtype))
    found = walk("softmax(tanh(x @ x) * 3, 1).sum(0).log().sum()", {"x": x}, dtype=dtype)
    assert {step.status for step in found.steps} == {"passed"}


# ---- who is to blame ---------------------------------------------------------------------------------------


class Cube(torch.autograd.Function):
    """x³ with a backward that is a little too large."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x**2 * 1.000001


class Scaled(torch.autograd.Function):
    """a·b, which forgets a's gradient."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, _b = ctx.saved_tensors
        return None, g * a


USE = {"cube": operator("cube", Cube), "scaled": operator("scaled", Scaled)}
BLAME = {
    "deep inside": ("y = exp(x)\nz = cube(y)\nsum(sin(z) * y)", {"x": [0.1, 0.2]}, "z"),
    "of two, the first in backward order": ("y = cube(x)\nz = cube(y)\nz.sum()", {"x": [1.0, 2.0]}, "z"),
    "a forgotten argument": ("scaled(a, b)", {"a": 2.0, "b": 3.0}, "out"),
    "nobody": ("sum(sin(x))", {"x": [1.0]}, None),
}


@pytest.mark.parametrize("what", BLAME)
def test_the_first_wrong_node_is_named(what: str) -> None:
    expression, inputs, expected = BLAME[what]
    wrong = walk(expression, inputs, use=USE).first_wrong
    assert (wrong and wrong.name) == expected


def test_what_lies_behind_a_wrong_node_is_not_blamed() -> None:
    found = walk("sum(cube(exp(x)))", {"x": [0.1, 0.2]}, use=USE)
    assert [(step.text, step.status) for step in found.steps] == [
        ("sum(cube(exp(x)))", "passed"),
        ("cube(exp(x))", "failed"),
        ("exp(x)", "passed"),
    ]
    assert "Jᵀ·v of its forward is" in found.steps[1].hands[0].reason


def test_a_node_too_large_for_its_jacobian_is_compared_along_directions() -> None:
    found = explain(vjp("sum(cube(x))", {"x": np.linspace(1, 2, 50)}, check="off", use=USE), limit=0)
    assert found.first_wrong is not None
    right = operator("right", lambda x: x**3)
    found = explain(
        vjp("sum(right(x) @ x)", {"x": np.linspace(1, 2, 50)}, check="off", use={"right": right}), limit=0
    )
    assert found.first_wrong is None


def test_a_right_function_of_ones_own_passes_even_where_it_is_rounded() -> None:
    own = operator("own", lambda x: torch.softmax(x, 0))
    assert walk("sum(own(x)**2)", {"x": [1.0, 2.0, 30.0]}, use={"own": own}).first_wrong is None


# ---- rules, simplified -------------------------------------------------------------------------------------

X = np.ones((2, 3))
SIMPLER = [
    ("g * where(b == 0, 0, b * a ** where(b == 0, 1, b - 1))", {"a": X, "b": 2}, "g * (2 * a)"),
    ("g * where(b == 0, 0, b * a ** where(b == 0, 1, b - 1))", {"a": X, "b": 0}, "g * 0"),
    ("g if a.ndim == 1 else g.mT", {"a": X}, "g.mT"),
    ("h = g if min == None else where(x < min, 0, g); h", {"x": X, "min": None}, "g"),
    ("restore(g, x, dim, keepdim)", {"x": X, "dim": (1,), "keepdim": False}, "unsqueeze(g, 1)"),
    ("restore(g, x, dim, keepdim)", {"x": X, "dim": (1,), "keepdim": True}, "g"),
    ("n = 1\nfor i in range(len(s)):\n    n = n * s[i]\ng / n", {"s": (2, 3)}, "g / 6"),
    ("g / numel(x)", {"x": X}, "g / 6"),
    ("squeeze(a.mT @ unsqueeze(v, -1), -1)", {"a": X, "v": np.ones(2)}, "a.mT @ v"),
    ("unsqueeze(u, -1) @ unsqueeze(v, -1).mT", {"u": np.ones(2), "v": np.ones(3)}, "outer(u, v)"),
    ("unsqueeze(v, -2) @ a.mT", {"a": X, "v": np.ones(3)}, "v @ a.mT"),
    ("g * a ** b", {"a": -2, "b": X}, "g * (-2) ** b"),
    ("g * -a", {"a": -2}, "g * 2"),
    ("g / x.shape[-1]", {"x": X}, "g / 3"),
]


@pytest.mark.parametrize(("rule", "values", "expected"), SIMPLER, ids=[rule for rule, *_ in SIMPLER])
def test_a_rule_is_simplified_for_its_call(rule: str, values: dict, expected: str) -> None:
    assert simplified(rule, {"g": X, **values}) == expected


EXAMPLES = [row for row in table() if row.example and not row.hidden]


@pytest.mark.parametrize("row", EXAMPLES, ids=str)
def test_every_row_explains_its_example(row, cli) -> None:
    ran = cli("explain", *shlex.split(row.example.partition("->")[0]), "--check", "off", "--json")
    assert ran.status == 0, ran.err
    trace = json.loads(ran.out)["trace"]
    assert [(step["node"], [one["reason"] for one in step["hands"]]) for step in trace["backward"] if
            step["status"] == "failed"] == []  # fmt: skip
    cli("explain", *shlex.split(row.example.partition("->")[0]), "--check", "off")


# ---- the command -------------------------------------------------------------------------------------------

MATMUL = ("a @ b", "a=[[0,0],[2,2]]", "b=[[1,2],[1,2]]", "--seed", "[[1,2],[3,4]]")


def test_the_command_answers_first_and_puts_the_numbers_in(cli) -> None:
    ran = cli("explain", *MATMUL)
    assert ran.status == 0
    assert "so the seed v, the argument of backward(), has shape (2, 2)" in ran.out
    assert re.search(r"a\.grad = out\.grad @ b\.mT = \[\[1 2\]  @ \[\[1 1\]  = \[\[ 5  5\]\n", ran.out)
    assert "1 ✓ out = a @ b   matmul, torch: MmBackward0" in ran.out


def test_arithmetic_shows_the_weighted_sum(cli) -> None:
    out = cli("explain", *MATMUL, "--arithmetic").out
    assert "a.grad = 1 × row 0 + 2 × row 1 + 3 × row 2 + 4 × row 3" in out
    assert re.search(r"= +sum +a\.grad +\[ 5  5 11 11\]", out)


def test_a_scalar_output_shows_why_the_seed_may_be_left_out(cli) -> None:
    out = cli("explain", "sum(x)", "x=[1,2]").out
    assert "backward() is backward(tensor(1.))" in out
    assert "both run and gave the same gradients" in out
    assert "seed out.grad = 1 (left out: then it is 1)" in out


def test_a_long_walk_is_folded_and_a_node_picked(cli) -> None:
    arguments = ("explain", LOOP, "x=[0.1,2,3]", "--seed", "[0.1,1,0.0001]")
    folded = cli(*arguments, "--steps", "4").out
    assert "5 more steps, all ✓" in folded
    assert "5 ✓" not in folded
    picked = cli(*arguments, "--node", "y#3").out
    assert [line.split()[0] for line in picked.splitlines() if "✓" in line] == ["5", "6"]
    missing = cli(*arguments, "--node", "z")
    assert missing.status == 2
    assert "the walk passes no node 'z'" in missing.err


def test_a_wrong_backward_ends_with_exit_5_and_its_name(cli) -> None:
    ran = cli(
        "explain",
        "sum(wrong_swish(x) * exp(x))",
        "x=[0.1,2]",
        "--use",
        "examples/wrong_backward.py:wrong_swish",
    )
    assert ran.status == 5
    assert "✗ first wrong node in backward order: step 4, %1 = wrong_swish(x)" in ran.out


def test_json_gives_the_trace(cli) -> None:
    document = json.loads(cli("explain", *MATMUL, "--json").out)
    assert document["gradients"]["a"]["data"] == [[5.0, 5.0], [11.0, 11.0]]
    (step,) = document["trace"]["backward"]
    assert [(one["to"], one["symbols"]) for one in step["hands"]] == [
        ("a", "out.grad @ b.mT"),
        ("b", "a.mT @ out.grad"),
    ]
    assert document["trace"]["first_wrong"] is None


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_wider_than_the_terminal(cli, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    program = "h = tanh(x @ W + b)\nmean((h - 1)**2)"
    out = cli("explain", program, "x=randn(4,3)", "W=randn(3,5)", "b=randn(5)",
              "--format", "table", "--no-color").out  # fmt: skip
    assert max(columns(line) for line in out.splitlines()) <= width
