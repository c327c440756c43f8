"""The check: what is right passes, what is wrong fails, and what cannot be known is said to be so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import vjpcalc
from vjpcalc import VJP, Diagnostic
from vjpcalc.check.verdict import check
from vjpcalc.job.result import Cause
from vjpcalc.job.use import operator as use_operator

RNG = np.random.default_rng(20)


def corrupted(result: VJP, leaf: str, factor: float) -> VJP:
    """The same result with the largest element of one gradient wrong by a factor."""
    gradient = result.gradients[leaf].clone()
    flat = gradient.view(-1)
    flat[flat.abs().argmax()] *= factor
    return replace(result, gradients={**result.gradients, leaf: gradient})


PROGRAMS = {
    "a matrix product": (
        "a @ b",
        {"a": RNG.normal(size=(3, 4)), "b": RNG.normal(size=(4, 2))},
        np.ones((3, 2)),
    ),
    "elementwise, of any size": (
        "tanh(x) * exp(-x**2)",
        {"x": RNG.normal(size=20_000)},
        RNG.normal(size=20_000),
    ),
    "broadcasting": ("sum((x - b)**2)", {"x": RNG.normal(size=(4, 3)), "b": RNG.normal(size=3)}, None),
    "a small network": (
        "h = tanh(x @ W + b); mean((h @ v)**2)",
        {
            "x": RNG.normal(size=(5, 3)),
            "W": RNG.normal(size=(3, 4)),
            "b": RNG.normal(size=4),
            "v": RNG.normal(size=4),
        },
        None,
    ),
    "a softmax": ("exp(x) / sum(exp(x))", {"x": RNG.normal(size=5)}, RNG.normal(size=5)),
    "an inverse": ("inv(x)", {"x": RNG.normal(size=(4, 4)) + 4 * np.eye(4)}, RNG.normal(size=(4, 4))),
    "a loop": (
        "y = x\nfor i in range(20):\n    y = sin(y) + x\ny",
        {"x": RNG.normal(size=4)},
        RNG.normal(size=4),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("method", ["auto", "explicit", "probe", "forward"])
def test_right_passes_and_one_part_in_a_million_fails(name: str, method: str) -> None:
    expression, inputs, seed = PROGRAMS[name]
    if (name, method) == ("elementwise, of any size", "forward"):
        inputs, seed = {"x": inputs["x"][:50]}, seed[:50]
    result = vjpcalc.vjp(expression, inputs, seed, check=method)
    assert result.check.status == "passed", result.check
    for leaf, witness in result.check.leaves.items():
        assert witness.digits >= 10
        wrong = check(corrupted(result, leaf, 1 + 1e-6), method)
        assert wrong.check.leaves[leaf].status == "failed", wrong.check.leaves[leaf]
        assert wrong.check.status == "failed"
        assert leaf in wrong.check.leaves[leaf].reason


def test_a_failure_names_the_element_and_both_numbers() -> None:
    result = vjpcalc.vjp("a * 3", {"a": [[1.0, 2.0], [3.0, 4.0]]}, [[1, 1], [1, 2]])
    leaf = check(corrupted(result, "a", 1.001)).check.leaves["a"]
    assert leaf.index == (1, 1)
    assert leaf.reason.startswith("a[1, 1]: backward gives 6.00")
    assert leaf.reason.endswith("Jᵀ·seed is 6")


class Cube(torch.autograd.Function):
    """x³, its backward right (``factor`` 3) or wrong."""

    factor = 3.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @classmethod
    def backward(cls, ctx, g):
        (x,) = ctx.saved_tensors
        return Cube.factor * x**2 * g


@pytest.mark.parametrize(
    ("factor", "status"), [(3.0, "passed"), (3.0 * (1 + 1e-6), "failed"), (2.0, "failed")]
)
def test_a_users_function_is_checked_by_its_forward_alone(monkeypatch, factor: float, status: str) -> None:
    monkeypatch.setattr(Cube, "factor", factor)
    cube = use_operator("cube", Cube)
    result = vjpcalc.vjp(
        "sum(cube(x) * w)", {"x": [1.0, -2.0, 0.5], "w": [1.0, 2.0, 3.0]}, use={"cube": cube}
    )
    assert result.check.leaves["x"].status == status
    assert result.check.leaves["x"].differentiation == "central differences"
    if status == "passed":
        assert result.check.leaves["x"].max_rel_error < 1e-8
    assert result.check.leaves["w"].status == "passed"


# ---- what cannot be known ----------------------------------------------------------------------------------

INCONCLUSIVE = {
    "relu at 0": (
        "relu(x)", {"x": [-1.0, 0.0, 2.0]}, np.ones(3), ["x[1]", "kink of relu", "torch's 0 equals"], (1,),
    ),
    "maximum of equals": (
        "maximum(x, 0)", {"x": 0.0}, None, ["kink of maximum", "torch's 0.5 lies between"], (),
    ),
    "abs at 0": ("abs(x)", {"x": 0.0}, None, ["kink of abs", "-1 from the left and 1 from the right"], ()),
    "a jump": ("floor(x) * x", {"x": 2.0}, None, ["kink of floor"], ()),
    "four equals": ("median(x)", {"x": [1.0, 1, 1, 1]}, None, ["kink of median", "move at once"], (0,)),
    "where at its edge": ("where(x > 0, x, 0 * x)", {"x": 0.0}, None, ["a kink", ">"], ()),
    "a branch that flips": ("y = 2 * x if x > 1 else x * x\ny", {"x": 1.0}, None, ["kink"], ()),
    "log of a negative number": (
        "log(x)", {"x": [-1.0, 2.0]}, np.ones(2), ["out[0] is NaN", "'log(x)'"], (0,),
    ),
    "an infinite slope": (
        "sqrt(x)", {"x": 0.0}, None, ["the gradient is infinite", "backward of 'sqrt(x)'"], (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INCONCLUSIVE)
def test_what_cannot_be_known_is_inconclusive_with_its_reason(name: str) -> None:
    expression, inputs, seed, words, index = INCONCLUSIVE[name]
    leaf = vjpcalc.vjp(expression, inputs, seed).check.leaves["x"]
    assert leaf.status == "inconclusive"
    assert all(word in leaf.reason for word in words), leaf.reason
    assert leaf.index == index


NO_KINK = {
    "a seed of 0 on the kink": ("relu(x)", {"x": [-1.0, 0.0, 2.0]}, [1, 0, 1]),
    "both sides agree": ("abs(x) * x", {"x": [0.0, 1.0]}, [1, 1]),
    "a branch that joins smoothly": ("where(x > 0, x**2, 0 * x)", {"x": [0.0, 1.0]}, [1, 1]),
    "a hair beside the kink": ("relu(x)", {"x": [1e-12, -1e-12]}, [1, 1]),
    "a hair beside a tie": ("maximum(x, 1)", {"x": [1 + 1e-15, 1 - 1e-15]}, [1, 1]),
}


@pytest.mark.parametrize("name", NO_KINK)
def test_what_only_looks_like_a_kink_passes(name: str) -> None:
    assert vjpcalc.vjp(*NO_KINK[name]).check.status == "passed"


def test_an_ill_conditioned_gradient_is_inconclusive_and_says_by_how_much() -> None:
    """The inverse of a Hilbert matrix, in float32: condition 10¹³ leaves no digit of the gradient."""
    n = 10
    hilbert = 1 / (np.arange(n)[:, None] + np.arange(n) + 1)
    leaf = vjpcalc.vjp("sum(inv(x))", {"x": hilbert.astype(np.float32)}).check.leaves["x"]
    assert leaf.status == "inconclusive"
    assert "ill-conditioned" in leaf.reason


@pytest.mark.parametrize(
    "expression",
    [
        "x - x",
        "(x + 1e8) - 1e8",
        "exp(x) / sum(exp(x)) * 0",
    ],
)
def test_an_exact_zero_passes(expression: str) -> None:
    assert vjpcalc.vjp(expression, {"x": [1.0, 2.0, 3.0]}, [1, 1, 1]).check.status == "passed"


@pytest.mark.parametrize(
    "expression", ["x * sin(1)**2 + x * cos(1)**2 - x", "sum(exp(x) / sum(exp(x)))", "sum(3 * (x / x))"]
)
def test_a_gradient_that_is_nothing_but_rounding_has_no_digit(expression: str) -> None:
    """Each is 0 but for its last bit, and the last bit of that is no digit of anything."""
    seed = None if expression.startswith("sum") else [1, 1, 1]
    leaf = vjpcalc.vjp(expression, {"x": [0.45, 2.0, 3.0]}, seed).check.leaves["x"]
    assert (leaf.status, Cause(leaf.causes.max())) == ("inconclusive", Cause.ILL_CONDITIONED)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_narrow_floats_are_judged_by_their_own_eps(dtype: type) -> None:
    x = np.linspace(0.1, 2, 7).astype(dtype)
    result = vjpcalc.vjp("sum(tanh(x) * exp(x))", {"x": x})
    assert result.check.status == "passed"
    assert check(corrupted(result, "x", 1.25)).check.status == "failed"


@pytest.mark.parametrize("scale", [1e9, 1e-6, 1e-100, 1e100])
def test_steps_are_relative(scale: float) -> None:
    """An absolute step of 1e-6 fails at x = 1e9 and at x = 1e-6."""
    cube = use_operator("square", lambda x: x * x)
    result = vjpcalc.vjp("sum(square(x))", {"x": [scale, 3 * scale]}, use={"square": cube})
    assert result.check.status == "passed"
    assert result.check.leaves["x"].max_rel_error < 1e-8


def test_a_large_jacobian_is_probed_and_says_so() -> None:
    x = RNG.normal(size=(300, 40))
    result = vjpcalc.vjp("sum(tanh(x @ x.T))", {"x": x})
    assert (result.check.method, result.check.status) == ("probe", "passed")
    assert result.check.leaves["x"].jt_seed is None
    assert result.check.leaves["x"].jacobian_shape == (1, 12_000)
    assert check(corrupted(result, "x", 1.01)).check.status == "failed"


def test_the_structure_makes_any_size_explicit() -> None:
    """Elementwise in x (through a transpose and an index): one direction yields every entry."""
    result = vjpcalc.vjp("(tanh(x).T * 3)[1:]", {"x": RNG.normal(size=(200, 300))}, np.ones((299, 200)))
    leaf = result.check.leaves["x"]
    assert (result.check.method, leaf.status, leaf.structure) == ("explicit", "passed", "one entry a row")
    np.testing.assert_allclose(leaf.jt_seed[:, 1:], result.gradients["x"].numpy()[:, 1:], rtol=1e-12)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(Diagnostic, match="unknown check 'often'"):
        vjpcalc.vjp("x", {"x": 1}, check="often")


# ---- what users found --------------------------------------------------------------------------------------

# The digits that rounding of the forward leaves: 1 - tanh(12) is 8e-11 ± 1e-16.
CANCELS = {
    "log(1 - tanh(x)) at 12": ("log(1 - tanh(x))", 12.0, range(5, 8)),
    "log(1 - sigmoid(x)) at 20": ("-log(1 - sigmoid(x))", 20.0, range(6, 9)),
    "logit(sigmoid(x)) at 30": ("logit(sigmoid(x))", 30.0, range(2, 5)),
}


@pytest.mark.parametrize("name", CANCELS)
@pytest.mark.parametrize("neighbour", [None, 0.5, 1e-3])
def test_a_program_that_cancels_has_the_digits_that_are_left(name: str, neighbour: float | None) -> None:
    """The same number alone or beside another has the same verdict."""
    expression, x, digits = CANCELS[name]
    leaf = vjpcalc.vjp(
        f"sum({expression})", {"x": [x] if neighbour is None else [x, neighbour]}
    ).check.leaves["x"]
    assert leaf.status == "passed"
    assert leaf.digits in digits


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("eigvalsh(x + x.T).pow(3).sum()", (3, 3)),
        ("eigvalsh(x @ x.T).log().sum()", (3, 4)),
        ("svdvals(x).log().sum()", (3, 4)),
    ],
)
def test_differences_know_their_own_error(expression: str, shape: tuple[int, ...], seed: int) -> None:
    result = vjpcalc.vjp(expression, {"x": np.random.default_rng(seed).normal(size=shape)})
    assert result.check.status in ("passed", "inconclusive"), result.check


class Square(torch.autograd.Function):
    """x², with a backward that is 1% too large."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, g):
        return 2.02 * ctx.saved_tensors[0] * g


class SingleTanh(torch.autograd.Function):
    """tanh in float32, whatever comes in, with a backward of the wrong sign."""

    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x.float()).to(x.dtype)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return -g * (1 - ctx.saved_tensors[0] ** 2)


@pytest.mark.parametrize("function", [Square, SingleTanh])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_a_wrong_backward_is_not_excused_as_a_kink(function: type, size: int) -> None:
    wrong = use_operator("wrong", function)
    x = np.random.default_rng(3).normal(size=size)
    result = vjpcalc.vjp("sum(wrong(x))", {"x": x}, use={"wrong": wrong})
    assert result.check.status == "failed", result.check


def test_the_size_of_a_gradient_is_no_excuse() -> None:
    wrong = use_operator("wrong", Square)
    assert vjpcalc.vjp("wrong(x) * 1e-50", {"x": 1.0}, use={"wrong": wrong}).check.status == "failed"


def test_what_underflows_is_too_small_to_judge() -> None:
    """1e-5 · 0.001 is below the smallest float16: the gradient is 0."""
    check = vjpcalc.vjp("x * 1e-5", {"x": np.float16(1)}, np.float16(0.001)).check
    assert (check.status, check.leaves["x"].causes) == ("inconclusive", Cause.UNSURE)
    assert "too small" in check.leaves["x"].reason


def test_a_random_function_is_called_that() -> None:
    noisy = use_operator("noisy", lambda x: x * torch.rand(()))
    leaf = vjpcalc.vjp("noisy(x)", {"x": 1.0}, use={"noisy": noisy}).check.leaves["x"]
    assert leaf.status == "inconclusive"
    assert "not deterministic" in leaf.reason


def test_whole_numbers_that_wrap_around_are_seen() -> None:
    leaf = vjpcalc.vjp("(w + w) * x", {"w": np.array([200], np.uint8), "x": [1.0]}).check.leaves["x"]
    assert leaf.status == "inconclusive"
    assert leaf.reason.startswith("torch computes 144 for 'out', the reference engine 400")


@pytest.mark.parametrize("method", ["explicit", "probe"])
def test_a_leaf_without_elements_is_checked(method: str) -> None:
    result = vjpcalc.vjp("sum(x)", {"x": np.zeros((0, 3))}, check=method)
    assert (result.check.status, result.check.method) == ("passed", method)


def test_no_leaf_is_no_check() -> None:
    with pytest.raises(Diagnostic, match="--wrt names no leaf"):
        vjpcalc.vjp("sum(x)", {"x": [1.0]}, wrt=[])


def test_a_seed_too_large_for_its_output_is_refused() -> None:
    with pytest.raises(Diagnostic, match="too large for float16"):
        vjpcalc.vjp("x", {"x": np.float16(1)}, 1e6)


# ---- a thousand programs -----------------------------------------------------------------------------------

UNARY = [
    "sin({})", "cos({})", "tanh({})", "exp({} / 4)", "abs({})", "relu({})", "sigmoid({})", "({})**2", "-({})",
    "log(1 + ({})**2)", "sqrt(1 + ({})**2)", "maximum({}, 0.3)", "({}).T.T", "({})**3",
]  # fmt: skip
BINARY = [
    "({} + {})",
    "({} - {})",
    "({} * {})",
    "({} / (1 + ({})**2))",
    "maximum({}, {})",
    "({} @ {})",
    "where({0} > {1}, {0}, 2 * {1})",
]


def random_expression(rng: np.random.Generator, depth: int) -> str:
    if depth == 0:
        return str(rng.choice(["x", "y", "x", "y", "x[0]", "y.T", "x * 0.7", "x.sum(0)"]))
    if rng.random() < 0.5:
        return str(rng.choice(UNARY)).format(random_expression(rng, depth - 1))
    pattern = str(rng.choice(BINARY))
    left, right = (random_expression(rng, depth - 1) for _ in range(2))
    return pattern.format("x" if "@" in pattern else left, "y" if "@" in pattern else right)


def test_nothing_right_is_called_wrong_over_a_thousand_programs() -> None:
    rng = np.random.default_rng(1)
    verdicts = {"passed": 0, "inconclusive": 0, "failed": 0}
    for _ in range(1000):
        expression = f"sum({random_expression(rng, int(rng.integers(1, 5)))})"
        inputs = {name: rng.normal(size=(3, 3)).round(int(rng.integers(0, 6))) for name in "xy"}
        result = vjpcalc.vjp(expression, inputs, check="explicit")
        verdicts[result.check.status] += 1
        assert result.check.status != "failed", (expression, inputs, result.check)
    assert verdicts["passed"] > 900
