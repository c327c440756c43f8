"""Rounding inside of functions: which kernels' results are moved, and by how much."""

from __future__ import annotations

import pytest
import torch

from vjpcalc.engines.inside import is_exact, with_rounding
from vjpcalc.engines.noise import noises

EPS = torch.finfo(torch.float64).eps

KERNELS = {
    "max_pool2d_with_indices": True, "where": True, "index_put_": True, "_to_copy": True, "sort": True,
    "tanh": False, "logsumexp": False, "_softmax": False, "mul_": False, "_log_softmax": False,
    "scatter_add": False, "avg_pool2d": False, "linalg_inv_ex": False,
}  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_that_hands_numbers_on_does_not_round(name: str) -> None:
    assert is_exact(name) == KERNELS[name]


def moved(function, x: torch.Tensor, number: int = 0) -> torch.Tensor:
    return with_rounding(lambda: function(x), noises(number + 1)[-1], torch.float64)


def test_what_is_computed_is_moved_by_an_ulp() -> None:
    x = torch.linspace(0.1, 2, 50, dtype=torch.float64)
    off = (moved(torch.sin, x) - torch.sin(x)).abs() / torch.sin(x)
    assert 0 < off.max() <= 2 * EPS


def test_what_is_selected_stays_equal_to_what_it_was_selected_from() -> None:
    x = torch.linspace(0.1, 2, 50, dtype=torch.float64)
    assert (moved(lambda x: (x * x == (y := x * x)) | (y == y.max()), x) == 0).any()  # products differ …
    assert moved(lambda x: x == x.max(), x).sum() == 1  # … what is the largest does not
    assert torch.equal(moved(lambda x: x.reshape(5, 10).T.contiguous(), x), x.reshape(5, 10).T)


def test_a_cancellation_shows_in_a_backward() -> None:
    """At 20 tanh is 1, and an ulp of it is 1 - tanh² there: 2⁻⁵² or 2⁻⁵³ twice."""

    class Tanh(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = torch.tanh(x)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * (1 - ctx.saved_tensors[0] ** 2)

    def slope(x: torch.Tensor) -> torch.Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(Tanh.apply(x).sum(), x)[0]

    x = torch.full((40,), 20.0, dtype=torch.float64)
    assert EPS <= moved(slope, x).abs().max() <= 4 * EPS


def test_float32_inside_of_float64_is_moved_by_its_own_ulps() -> None:
    x = torch.linspace(0.1, 2, 50, dtype=torch.float64)
    off = (moved(lambda x: torch.sin(x.float()).double(), x) - torch.sin(x)).abs().max()
    assert 1e-7 < off < 1e-5


def test_one_that_does_not_bear_it_runs_as_it_is() -> None:
    calls = []

    def once(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        if len(calls) == 1:
            raise RuntimeError
        return x

    x = torch.ones(3)
    assert torch.equal(moved(once, x), x)
