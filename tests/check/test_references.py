"""``--reference``: what a function of the user's is to be, forward and backward."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import vjpcalc
from vjpcalc import Diagnostic


def function(name: str, forward, backward) -> type:
    """A torch.autograd.Function of x: its value, and what it makes of x and the cotangent."""

    def run(ctx, x):
        ctx.save_for_backward(x)
        return forward(x)

    return type(
        name,
        (torch.autograd.Function,),
        {
            "forward": staticmethod(run),
            "backward": staticmethod(lambda ctx, g: backward(ctx.saved_tensors[0], g)),
        },
    )


def gelu_slope(x, g):
    return g * (0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi))


ROUND = function("Round", torch.round, lambda x, g: g)
DOUBLED = function("Doubled", torch.round, lambda x, g: 2 * g)
SIGN = function("Sign", torch.sign, lambda x, g: g * (x.abs() <= 1))
LEVELS = function("Levels", lambda x: torch.floor(x * 16) / 16, lambda x, g: g)
REVERSED = function("Reversed", torch.clone, lambda x, g: -g)
FUSED = function("Fused", torch.nn.functional.gelu, gelu_slope)
SINGLE = function("Single", lambda x: torch.nn.functional.gelu(x.float()).to(x.dtype), gelu_slope)
HALF = function("Half", lambda x: torch.nn.functional.gelu(x.bfloat16()).to(x.dtype), gelu_slope)
BY_NUMPY = function("ByNumPy", lambda x: torch.from_numpy(np.sign(x.numpy())), lambda x, g: g)
TYPO = function("Typo", lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.0447 * x**3))), gelu_slope)
CUT = function("Cut", lambda x: torch.nn.functional.gelu(x) * (x < 1.5), gelu_slope)
STEEP = function("Steep", torch.nn.functional.gelu, lambda x, g: 1.001 * gelu_slope(x, g))
FORGETS = function("Forgets", torch.round, lambda x, g: torch.ones_like(g))

X = [0.3, 1.7, -2.4]

# What is → the function, its reference, x; then the status, and a word of the reason or the note.
CASES = {
    "a straight-through estimator": (ROUND, {"f": "x"}, X, "passed", "constant around these values"),
    "at its jumps": (ROUND, {"f": "x"}, [0.5, 1.5, 0.0], "passed", "constant around these values"),
    "a wrong one": (DOUBLED, {"f": "x"}, X, "failed", "backward gives 8, Jᵀ·seed is 4"),
    "signs": (SIGN, {"f": "clamp(x, -1, 1)"}, [0.3, 1.7, 0.0], "passed", "constant around these values"),
    "eight bits": (LEVELS, {"f": "x"}, X, "passed", "constant around these values"),
    "one that forgets its cotangent": (FORGETS, {"f": "x"}, X, "failed", "backward gives"),
    "a kernel": (FUSED, {"f": "gelu(x)"}, X, "passed", "judged by its reference, gelu(x)"),
    "a kernel by a formula": (
        FUSED, {"f": "x * 0.5 * (1 + torch.special.erf(x / 2**0.5))"}, X, "passed", "judged by its reference",
    ),
    "a kernel in float32": (SINGLE, {"f": "F.gelu(x)"}, X, "passed", "judged by its reference"),
    "a kernel in bfloat16": (HALF, {"f": "F.gelu(x)"}, X, "passed", "judged by its reference"),
    "signs by NumPy": (BY_NUMPY, {"f": "x"}, X, "passed", "constant around these values"),
    "a wrong constant in the forward": (
        TYPO, {"f": "gelu(x)"}, X, "failed", "its forward is not its reference's, gelu(x)",
    ),
    "a block left out": (CUT, {"f": "gelu(x)"}, X, "failed", "its value[1] is 0, not 1.62424"),
    "a kernel's wrong backward": (STEEP, {"f": "gelu(x)"}, X, "failed", "backward gives"),
    "gradients reversed": (
        REVERSED, {"f": "-x"}, X, "failed", "if only its backward is meant: --reference 'f:backward=-x'",
    ),
    "gradients reversed, as is meant": (
        REVERSED, {"f:backward": "-x"}, X, "passed", "its forward is not compared",
    ),
    "several statements": (
        FUSED, {"f": "c = sqrt(2)\n0.5 * x * (1 + erf(x / c))"}, X, "passed", "c = sqrt(2); 0.5",
    ),
    "a condition": (FUSED, {"f": "gelu(x) if x[0] > 0 else -x"}, X, "passed", "judged by its reference"),
    "another function of the user's": (
        FUSED, {"f": "plain(x)"}, X, "passed", "judged by its reference, plain(x)",
    ),
    "a row of the same name": (FUSED, {"gelu": "gelu(x)"}, X, "passed", "judged by its reference"),
}  # fmt: skip


def plain(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


@pytest.mark.parametrize("what", CASES)
def test_a_function_is_judged_by_its_reference(what: str) -> None:
    own, reference, x, status, words = CASES[what]
    called = "gelu" if "gelu" in reference else "f"
    use = {called: own, "plain": plain}
    result = vjpcalc.vjp(f"sum({called}(x)**2)", {"x": x}, use=use, reference=reference)
    leaf = result.check.leaves["x"]
    assert leaf.status == status, leaf
    assert any(words in text for text in (leaf.reason or "", *result.notes)), (leaf.reason, result.notes)


def test_what_follows_is_computed_of_the_functions_own_values() -> None:
    """d/dx of Σ round(x)³ is 3·round(x)², not 3·x²: (0, 12, 12)."""
    result = vjpcalc.vjp("sum(f(x)**3)", {"x": X}, use={"f": ROUND}, reference={"f": "x"})
    np.testing.assert_allclose(result.check.leaves["x"].jt_seed, [0, 12, 12], atol=1e-12)
    np.testing.assert_array_equal(result.gradients["x"], [0, 12, 12])


def test_a_reference_has_exact_derivatives() -> None:
    """The forward of a function of the user's is differenced; a reference takes complex steps."""
    result = vjpcalc.vjp("sum(f(x))", {"x": X}, use={"f": FUSED}, reference={"f": "gelu(x)"})
    assert result.check.leaves["x"].differentiation == "complex step"


def test_the_explicit_jacobian_is_the_references() -> None:
    matrix = vjpcalc.jacobian("f(x)", {"x": X}, use={"f": ROUND}, reference={"f": "3 * x"})["x"]
    np.testing.assert_allclose(matrix, 3 * np.eye(3))


def test_several_arguments_and_options_are_called_as_the_function_calls_them() -> None:
    def scaled(x, w, k=2.0):
        return k * x @ w

    inputs = {"x": [[1.0, 2.0]], "w": [3.0, 4.0]}
    for reference, status in (("k * sum(x * w, 1)", "passed"), ("2 * sum(x * w, 1)", "failed")):
        result = vjpcalc.vjp("f(x, w, k=3)", inputs, [1], use={"f": scaled}, reference={"f": reference})
        assert result.check.status == status


REFUSED = {
    "another function": ({"g": "x"}, "usage", "--reference: there is no function 'g' of yours"),
    "another part": ({"f:forward": "x"}, "usage", "there is no 'f:forward'; did you mean 'f:backward'?"),
    "no text": ({"f": 3}, "usage", "the reference of 'f' is a text, not 3"),
    "another name": ({"f": "x * y"}, "name", "the reference of 'f' reads 'y'"),
    "no program": ({"f": "x *"}, "syntax", "invalid syntax"),
    "nothing": ({"f": " "}, "syntax", "'reference of f' is empty"),
    "no function of that name": ({"f": "sine(x)"}, "name", "unknown function 'sine'; did you mean 'sin'?"),
    "another shape": ({"f": "sum(x)"}, "shape", "the reference of 'f' gives the shape (), 'f' itself (3,)"),
    "shapes that do not fit": ({"f": "x @ eye(2)"}, "shape", "the reference of 'f': '@' (matmul) does"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_reference_is_refused(what: str) -> None:
    reference, kind, words = REFUSED[what]
    with pytest.raises(Diagnostic) as refused:
        vjpcalc.vjp("sum(f(x))", {"x": X}, use={"f": ROUND}, reference=reference)
    assert refused.value.kind == kind
    assert words in refused.value.message


@pytest.fixture
def functions(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class f(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x):\n"
        "        return torch.round(x)\n"
        "    @staticmethod\n"
        "    def backward(ctx, g):\n"
        "        return g\n"
    )
    return f"{tmp_path}/own.py:f"


def test_the_command_line_takes_it(cli, functions: str) -> None:
    job = ("sum(f(x))", "x=[0.3,1.7]", "--use", functions)
    assert cli(*job).status == 5
    for command in ("vjp", "explain"):
        assert cli(command, *job, "--reference", "f=x").status == 0
    assert "2×2, numeric: complex step" in cli("jacobian", "f(x)", *job[1:], "--reference", "f=x").out
    wrong = cli(*job, "--reference", "f")
    assert (wrong.status, wrong.err.split("\n")[0]) == (2, "error: --reference takes NAME=EXPR, not 'f'")
    alone = cli("sum(x)", "x=1", "--reference", "f=x")
    assert alone.err == (
        "error: --reference: there is no function 'f' of yours\n"
        "hint: --use FILE.py:NAME makes one an operator\n"
    )
    assert cli(*job, "--reference", "f=y").err == (
        "error: the reference of 'f' reads 'y'\n  in reference of f:\n  y\n  ^\n"
        "hint: the parameters of 'f' are x\n"
    )


def test_explain_shows_the_matrix_of_the_reference(cli, functions: str) -> None:
    ran = cli("explain", "sum(f(x))", "x=[0.3,1.7]", "--use", functions, "--reference", "f=2 * x", "--json")
    (handed,) = json.loads(ran.out)["trace"]["backward"][1]["hands"]
    assert ran.status == 5
    assert (handed["status"], handed["value"]["data"], handed["by_rule"]["data"]) == (
        "failed",
        [1, 1],
        [2, 2],
    )


def test_a_job_of_a_batch_has_its_own(cli, functions: str) -> None:
    job = {"expression": "sum(f(x))", "inputs": {"x": [0.3, 1.7]}}
    lines = "\n".join(map(json.dumps, [
        job, {**job, "reference": {"f": "2 * x"}}, {**job, "reference": {"f:backward": "x"}},
        {**job, "reference": {"g": "x"}}, {**job, "reference": "x"},
    ]))  # fmt: skip
    ran = cli("batch", "-", "-q", "--use", functions, "--reference", "f=x", stdin=lines)
    records = list(map(json.loads, ran.out.splitlines()))
    assert ran.status == 6
    assert [record["check"]["status"] for record in records[:3]] == ["passed", "failed", "passed"]
    assert [record["error"]["message"].split(":")[0] for record in records[3:]] == [
        "--reference", "reference is an object of names and texts, not \"x\"",
    ]  # fmt: skip
