"""Two hand-written autograd functions for x·sigmoid(x): one is right, one forgets a term, by a little."""

import torch


class Swish(torch.autograd.Function):
    """x·σ(x), whose derivative is σ(x) + x·σ(x)·(1 - σ(x))."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s + x * s * (1 - s))


class WrongSwish(Swish):
    """The same with a slip in backward: (1 - σ(x)) has become (1.000001 - σ(x))."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s + x * s * (1.000001 - s))


swish = Swish.apply
wrong_swish = WrongSwish.apply
