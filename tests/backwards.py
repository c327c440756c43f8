"""Functions of a user's own, with whatever backward a test is about."""

from __future__ import annotations

from collections.abc import Callable

import torch

Forward = Callable[[torch.Tensor], torch.Tensor]
Backward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor | None]


def own(name: str, value: Forward, handed: Backward) -> type[torch.autograd.Function]:
    """A torch.autograd.Function of x: ``handed`` is given x and the cotangent of ``value(x)``."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return value(x)

        @staticmethod
        def backward(ctx, g):
            return handed(ctx.saved_tensors[0], g)

    Own.__name__ = Own.__qualname__ = name
    return Own


def torchs(value: Forward) -> Backward:
    """What torch itself hands on."""

    def handed(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(value(x), x, g)[0]

    return handed
