"""What rounding inside of a function of the user's own does: stochastic arithmetic below autograd.

A function whose backward gives 1 - tanh(x)² cancels there, and nothing that it is given tells how much: at 20
an ulp of x moves nothing at all. So while it runs, forward and backward, every number that one of torch's
kernels computes is moved by an ulp of its own dtype, which may be float32 where all around it is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np  # noqa: TID253 (imported only once noise is measured)
import torch  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253

from vjpcalc.engines.noise import LOOSE_VALUE, WIDE, Noise

T = TypeVar("T")

# Kernels that hand on numbers as they are, by the words of their names: what they give is not rounded, and
# may be compared with what they were given (`x == x.max()` in a backward). Views are known by their storage.
EXACT = {
    "clone", "copy", "detach", "to", "lift", "full", "zeros", "ones", "empty", "zero", "fill", "cat", "stack",
    "where", "max", "min", "amax", "amin", "aminmax", "maximum", "minimum", "fmax", "fmin", "sort", "topk",
    "median", "nanmedian", "kthvalue", "mode", "cummax", "cummin", "index", "gather", "scatter", "take",
    "masked", "select", "slice", "unfold", "abs", "neg", "sgn", "sign", "relu", "threshold", "clamp",
    "hardtanh", "round", "floor", "ceil", "trunc", "flip", "roll", "repeat", "tril", "triu", "pad", "diag",
    "embedding", "heaviside", "bernoulli", "rand", "randn", "pool", "unique",
}  # fmt: skip
# … but for those that do more (`log_softmax`, `scatter_add`, `avg_pool2d`).
ROUNDED = {"log", "softmax", "exp", "reduce", "add", "avg", "average", "adaptive", "linear"}
# What a kernel of float32 may err by, inside of a job in float64: a layer_norm's backward is 8 ulps off. Of a
# WIDE eps that would be a few per cent.
KERNEL = 16.0
# What kernels lose beside, an ulp of this of the first that they are given: gelu's slope is made of 1 + erf.
LOOSE: dict[str, Callable[[Any], Any]] = {**LOOSE_VALUE, "gelu_backward": lambda g: g}


class _Rounding(TorchDispatchMode):
    """Moves what every kernel computes of floating-point numbers by some ulps; all around is of ``dtype``."""

    def __init__(self, noise: Noise, dtype: torch.dtype, ulps: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.noise, self.eps, self.ulps = noise, torch.finfo(dtype).eps, ulps

    def factors(self, tensor: torch.Tensor) -> torch.Tensor:
        """1 ± a few ulps of its dtype for each element."""
        eps = torch.finfo(tensor.dtype).eps
        step = self.ulps * eps * (KERNEL if self.eps < eps < WIDE else 1.0)
        moved = torch.from_numpy(np.asarray(1.0 + step * self.noise(tensor.shape)))
        return moved.to(tensor.device, tensor.dtype)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        given = [*_floating(args), *_floating(tuple(kwargs.values()) if kwargs else ())]
        if not given:
            return result
        finest = min(torch.finfo(tensor.dtype).eps for tensor in given)
        exact = is_exact(function.overloadpacket.__name__)
        kept = set() if function._schema.is_mutable else {_address(tensor) for tensor in given}
        for made in _floating(result):
            narrowed = torch.finfo(made.dtype).eps > finest  # float() of float64 rounds, too
            if _address(made) not in kept and (narrowed or not exact):
                made.mul_(self.factors(made))
                loose = LOOSE.get(function.overloadpacket.__name__)
                if loose is not None:
                    made.add_(loose(given[0]) * (self.factors(given[0]) - 1.0))
        return result


def is_exact(name: str) -> bool:
    """True if a kernel of this name (``max_pool2d_with_indices``, ``where``) hands numbers on as they are."""
    parts = set(name.strip("_").split("_"))
    return bool(parts & EXACT) and not parts & ROUNDED


def with_rounding(run: Callable[[], T], noise: Noise, dtype: torch.dtype, ulps: float = 1.0) -> T:
    """What ``run`` gives where each number computed on the way is moved by some ulps.

    ``dtype`` is what there is all around. There are functions that do not bear being watched: they run as
    they are.
    """
    try:
        with _Rounding(noise, dtype, ulps):
            return run()
    except Exception:
        return run()


def _floating(value: Any) -> Iterator[torch.Tensor]:
    """The floating-point tensors among what a kernel is given, or gives: in lists at the most."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _floating(item)


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
