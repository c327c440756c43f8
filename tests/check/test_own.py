"""Backwards of functions of the user's own, right and wrong, at awkward data: ties, tails, rounding."""

from __future__ import annotations

import math
from collections.abc import Callable

import backwards
import numpy as np
import pytest
import torch
from backwards import torchs
from torch.nn import functional

import vjpcalc

Function = Callable[[torch.Tensor], torch.Tensor]


def own(forward: Function, slope: Function | None = None, factor: float = 1.0) -> Function:
    """A torch.autograd.Function of x. Its backward is g · slope(x), or torch's own of its forward, times a
    factor.
    """
    if slope is None:
        return backwards.own("Own", forward, lambda x, g: factor * torchs(forward)(x, g)).apply
    return backwards.own("Own", forward, lambda x, g: factor * g * slope(x)).apply


def saved(forward: Function, slope: Function, factor: float = 1.0) -> Function:
    """The same with a slope that is a function of the result."""

    class Saved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = forward(x)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return factor * g * slope(ctx.saved_tensors[0])

    return Saved.apply


def beside(forward: Function) -> Function:
    """One whose backward hands each gradient to the element beside."""
    return backwards.own("Beside", forward, lambda x, g: torchs(forward)(x, g).roll(1, -1)).apply


def status(function: Function, x, seed=None, dtype: str = "float64", reference: str | None = None) -> str:
    values = np.array(x, dtype)
    result = vjpcalc.vjp(
        "f(x)",
        {"x": values},
        seed=seed,
        use={"f": function},
        reference={"f": reference} if reference else None,
    )
    return result.check.status


def phi(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def density(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def ordered(x: torch.Tensor) -> torch.Tensor:
    return torch.sort(x, stable=True).values


def windows(x: torch.Tensor) -> torch.Tensor:
    return functional.max_pool1d(x[None, None], 2, 1)[0, 0]


def trimmed(x: torch.Tensor) -> torch.Tensor:
    return torch.sort(x).values[3:-3].mean()


ORDERS: dict[str, Function] = {
    "sort": ordered,
    "median": lambda x: x.median(),
    "the largest three": lambda x: x.topk(3).values,
    "max-pool": windows,
    "running maximum": lambda x: x.cummax(0).values,
    "quantile": lambda x: torch.quantile(x, 0.3),
    "trimmed mean": trimmed,
}
# n numbers at a place, so far apart
NEIGHBOURS = [
    (12, 30.0, 5e-6),
    (25, 30.0, 5e-6),
    (40, 30.0, 5e-6),
    (33, -2e3, 1e-3),
    (40, 0.7, 2e-7),
    (17, 5.0, 1e-2),
]


@pytest.mark.parametrize(("n", "place", "gap"), NEIGHBOURS)
@pytest.mark.parametrize("what", ORDERS)
def test_close_neighbours_are_no_tie(what: str, n: int, place: float, gap: float) -> None:
    generator = np.random.default_rng(n)
    x = place + gap * generator.permutation(n)
    m = ORDERS[what](torch.tensor(x))
    seed = generator.normal(size=tuple(m.shape)).tolist()
    assert status(own(ORDERS[what]), x, seed) == "passed"
    assert status(own(ORDERS[what], factor=1.01), x, seed) == "failed"
    assert status(beside(ORDERS[what]), x, seed) == "failed"


# function, x with equal numbers, seed
TIES = {
    "a sort of equals": (ordered, [2.0, 2, 2], [1.0, 0.7, 4]),
    "a sort of some equals": (ordered, [2.0, 1, 2, 0, 2, 1], [1.0, 0.9, 3, -2, 0.3, 5]),
    "a sort of seven": (ordered, [0.0] * 7, [1.0, -2, 0.5, 3, 0.1, -1, 0.7]),
    "windows of equals": (windows, [1.0, 1, 1, 0, 0, 2], [1.0, 0.9, 3, -2, 0.5]),
    "a running maximum": (lambda x: x.cummax(0).values, [3.0, 3, 3, 1, 3], [1.0, 0.9, 3, 2, -1]),
    "the largest two": (lambda x: x.topk(2).values, [1.0, 1, 1, 0], [1.0, 3]),
    "the largest, shared": (lambda x: x.amax(), [1.0, 1, 0, 1], 1.0),
    "a median of equals": (lambda x: x.median(), [1.0, 0, 0, 0], 1.0),
    "columns": (lambda x: x.max(0).values, [[1.0, 1], [0, 1], [1, 1]], [1.0, -2]),
}


@pytest.mark.parametrize("what", TIES)
def test_any_choice_among_equals_is_as_good_as_another(what: str) -> None:
    function, x, seed = TIES[what]
    assert status(own(function), x, seed) in ("passed", "inconclusive")


@pytest.mark.parametrize("what", [what for what in TIES if "shared" not in what and "median" not in what])
def test_three_times_a_choice_is_none(what: str) -> None:
    """… but of what torch shares among equals: a third to each, three times, is what one may have alone."""
    function, x, seed = TIES[what]
    assert status(own(function, factor=3.0), x, seed) == "failed"


@pytest.mark.parametrize("n", [3, 5, 9])
def test_the_running_maximum_of_the_language_keeps_its_convention(n: int) -> None:
    seed = np.random.default_rng(n).normal(size=n).tolist()
    result = vjpcalc.vjp("cummax(x, 0).values", {"x": np.ones(n)}, seed=seed)
    assert result.check.status == "inconclusive"


TAILS: dict[str, tuple[Function, float]] = {
    "elu": (own(lambda x: torch.where(x > 0, x, torch.expm1(x)), lambda x: torch.exp(x.clamp(max=0))), -40),
    "erf": (own(torch.erf, lambda x: 2 / math.sqrt(math.pi) * torch.exp(-x * x)), 6.1),
    "gelu": (own(lambda x: x * phi(x), lambda x: phi(x) + x * density(x)), -9),
    "tanh": (own(torch.tanh, lambda x: 1 / torch.cosh(x) ** 2), 19.6),
    "sigmoid": (own(torch.sigmoid, lambda x: torch.exp(-x) / (1 + torch.exp(-x)) ** 2), 41),
}


@pytest.mark.parametrize("other", [1.0, -0.4, 7.0])
@pytest.mark.parametrize("what", TAILS)
def test_a_tail_is_judged_alike_alone_and_beside_a_large_slope(what: str, other: float) -> None:
    function, far = TAILS[what]
    alone = status(function, [far], [1.0])
    assert alone in ("passed", "inconclusive")
    assert status(function, [far, other], [1.0, 1.0]) == alone


def test_what_rounding_hides_is_no_zero() -> None:
    """expm1(x) at -40 moves by 4e-18 of x: unseen, the slope may be as large as an ulp of 1 over the step."""
    result = vjpcalc.vjp("f(x)", {"x": np.array([-40.0, 1.0])}, seed=[1.0, 1.0], use={"f": TAILS["elu"][0]})
    assert "0 ± 0" not in (result.check.leaves["x"].reason or "")


@pytest.mark.parametrize("size", [1e-3, 1e-5, 2e-6, 1e-7, 1e-9])
def test_a_function_with_a_scale_of_its_own_near_its_kink(size: float) -> None:
    def softened(x: torch.Tensor) -> torch.Tensor:
        return x / (x.norm() + 0.3)

    x = [0.015 * size, -size]
    assert status(own(softened), x, [1.0, 1.0]) == "passed"
    assert status(own(softened, factor=1.001), x, [1.0, 1.0]) == "failed"


def softmax(x: torch.Tensor) -> torch.Tensor:
    e = torch.exp(x - x.max())
    return e / e.sum()


def single(function: Function) -> Function:
    return lambda x: function(x.float()).to(x.dtype)


# function and its reference, x, what becomes of a right one
REFERENCES = {
    "softmax in its tail": (softmax, "softmax(x, 0)", [23.0, 1, 0], "passed"),
    "softmax farther out": (softmax, "softmax(x, 0)", [36.0, 1, 0], "passed"),
    "logsumexp": (lambda x: torch.logsumexp(x, 0), "logsumexp(x, 0)", [25.0, 1, 0], "passed"),
    "gelu": (lambda x: x * phi(x), "gelu(x)", [-6.0, 1, 2], "passed"),
    "softplus by its formula": (
        lambda x: torch.log(1 + torch.exp(x)),
        "softplus(x)",
        [-21.0, 19, 1],
        "passed",
    ),
    "a softmax in float32": (single(softmax), "softmax(x, 0)", [5.0, -3, 2.2], "passed"),
    "a gelu in float32": (single(functional.gelu), "gelu(x)", [-4.0, 4, 0.1], "passed"),
    "a norm in float32": (
        single(lambda x: functional.layer_norm(x, (3,))),
        "(x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + 1e-5)",
        [5.0, -3, 2.2],
        "passed",
    ),
}


@pytest.mark.parametrize("what", REFERENCES)
def test_a_reference_allows_for_the_rounding_of_what_it_judges(what: str) -> None:
    function, reference, x, expected = REFERENCES[what]
    many = function(torch.tensor(x)).ndim
    seed = [1.0, -2.0, 0.7] if many else None
    assert status(own(function), x, seed, reference=reference) == expected
    wrong = 1.01 if "float32" in what else 1 + 1e-6
    assert status(own(function, factor=wrong), x, seed, reference=reference) == "failed"


@pytest.mark.parametrize("x", [10.0, 17.0, 20.0, 25.0])
def test_one_minus_the_square_of_tanh_is_rounding_in_the_end(x: float) -> None:
    for right in (saved(torch.tanh, lambda y: 1 - y * y), own(torch.tanh, lambda x: 1 - torch.tanh(x) ** 2)):
        found = status(right, [x, 0.8], [1.0, 1.0], reference="tanh(x)")
        assert found == ("passed" if x < 17 else "inconclusive") or (x == 17.0 and found == "passed")
    wrong = saved(torch.tanh, lambda y: 1 - y * y, factor=1 + 1e-6)
    assert status(wrong, [x, 0.8], [1.0, 1.0], reference="tanh(x)") == "failed"


# function, slope by x, an x in its tail and others
SINGLE = {
    "tanh": (torch.tanh, lambda x: 1 - torch.tanh(x) ** 2, [5.5, 1, -0.2]),
    "sigmoid": (torch.sigmoid, lambda x: torch.sigmoid(x) * (1 - torch.sigmoid(x)), [11.0, -2, 0.5]),
    "gelu": (lambda x: x * phi(x), lambda x: phi(x) + x * density(x), [-4.5, 1, 2]),
    "softplus": (functional.softplus, lambda x: 1 - 1 / (1 + torch.exp(x)), [-11.0, 1, 2]),
}


@pytest.mark.parametrize("what", SINGLE)
def test_a_backward_that_cancels_in_float32_is_not_wrong(what: str) -> None:
    forward, slope, x = SINGLE[what]
    assert status(own(forward, slope), x, [1.0] * 3, "float32") in ("passed", "inconclusive")
    assert status(own(forward, slope), x[:1], [1.0], "float32") in ("passed", "inconclusive")
    assert status(own(forward, slope, factor=1.001), x, [1.0] * 3, "float32") == "failed"
    assert status(own(forward, slope, factor=-1.0), x[:1], [1.0], "float32") == "failed"


HALVES: dict[str, Function] = {
    "tanh": torch.tanh,
    "softmax": lambda x: torch.softmax(x, 0),
    "square": lambda x: x * x,
    "logsumexp": lambda x: torch.logsumexp(x, 0),
    "gelu": functional.gelu,
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("what", HALVES)
def test_a_forward_in_half_precision(what: str, dtype: torch.dtype) -> None:
    """A right backward, in float64, passes with few digits; one that is 30 % off does not."""
    function = HALVES[what]

    def slope(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().double().requires_grad_()
            return torch.autograd.grad(function(x), x, g.double())[0]

    def made(factor: float) -> Function:
        class Half(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return function(x.to(dtype)).to(x.dtype)

            @staticmethod
            def backward(ctx, g):
                return factor * slope(ctx.saved_tensors[0], g)

        return Half.apply

    x = [0.4, -0.8, 1.3]
    seed = None if what == "logsumexp" else [1.0, -2.0, 0.7]
    right = vjpcalc.vjp("f(x)", {"x": np.array(x)}, seed=seed, use={"f": made(1.0)})
    assert right.check.status == "passed"
    assert any("the forward is rounded to" in note for note in right.notes)
    for factor in (1.3, 0.7, -1.0):
        assert status(made(factor), x, seed) == "failed"


# function, x where some of its values are not finite, the place of one that is
INFINITE = {
    "exp overflows": (torch.exp, [1.3, 800.0], "x[0]"),
    "log of 0": (torch.log, [0.0, 1.7], "x[1]"),
    "log of less": (torch.log, [2.0, -3.0, 1e-3], "x["),
    "a reciprocal": (lambda x: 1 / x, [0.7, 0.0], "x[0]"),
    "a masked row": (lambda x: torch.softmax(x, 1), [[0.5, 2.0], [-math.inf, -math.inf]], "x[0"),
}


@pytest.mark.parametrize("what", INFINITE)
def test_what_is_infinite_elsewhere_excuses_nothing(what: str) -> None:
    function, x, place = INFINITE[what]
    seed = (0.5 + np.arange(np.size(x)).reshape(np.shape(x))).tolist()
    assert status(own(function), x, seed) == "inconclusive"
    result = vjpcalc.vjp("f(x)", {"x": np.array(x)}, seed=seed, use={"f": own(function, factor=1.1)})
    assert result.check.status == "failed"
    assert place in str(result.check.leaves["x"].reason)


def test_what_reaches_the_infinite_is_not_judged() -> None:
    """x[0] is in a value that is infinite for x[1]'s sake: torch counts it, and nothing can be seen of it."""
    both = own(lambda x: torch.stack([2 * x[0], torch.exp(x[1]) + x[0], torch.log(-x[1]) + x[0]]))
    assert status(both, [1.0, 800.0], [1.0, 1.0, 1.0]) == "inconclusive"
