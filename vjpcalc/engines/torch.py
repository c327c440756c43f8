"""The torch engine: builds the autograd graph, one torch function an operator."""

from __future__ import annotations

import functools
import operator as python
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch  # noqa: TID253 (an engine is imported only once it is needed)

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.noise import Noise
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.yours import default_dtype
from vjpcalc.operators.row import Call, Operator


class TorchEngine:
    """torch. ``dtype`` is that of numbers typed in; ``seed`` starts the stream of ``rand`` and ``randn``.

    ``noise`` turns this into stochastic arithmetic: every value and every cotangent is moved at random by one
    unit in the last place, so that the spread of the gradients over a few runs measures their rounding error.
    """

    name = "torch"
    expands = False

    def __init__(self, dtype: torch.dtype = torch.float64, seed: int = 0, noise: Noise | None = None) -> None:
        self.dtype, self.noise = dtype, noise
        self._creation = ReferenceEngine(seed)  # both engines draw the same random numbers

    def apply(self, operator: Operator, values: Mapping[str, Any]) -> torch.Tensor:
        if operator.kind == "creation":
            return self.constant(self._creation.apply(operator, values), whole=True)
        function = operator.function or resolve(operator.torch)
        positional, keywords = operator.arguments("torch", values)
        result = function(*positional, **keywords)
        field = Call.parse(operator.torch).field if operator.function is None else None
        result = getattr(result, field) if field else result
        if operator.frozen and isinstance(result, torch.Tensor):
            result = result.detach()
        if not isinstance(result, torch.Tensor):
            what = "nothing" if result is None else f"a {type(result).__name__}"
            raise Diagnostic("value", f"'{operator.name}' returned {what}, not a tensor")
        if self.noise is None:
            return result
        copied = operator.kind == "movement" or any(_shares(result, value) for value in positional)
        return self.perturb(result, values=not copied)

    def constant(self, data: Any, *, whole: bool = False) -> torch.Tensor:
        tensor = torch.tensor(data)
        kept = tensor.dtype == torch.bool or (whole and not tensor.is_floating_point())
        return tensor if kept else tensor.to(self.dtype)

    def item(self, array: torch.Tensor) -> float | int | bool:
        return array.item()

    def is_mask(self, array: torch.Tensor) -> bool:
        return array.dtype == torch.bool

    def perturb(self, tensor: torch.Tensor, *, values: bool = True) -> torch.Tensor:
        """The tensor, each element, and later each element of its cotangent, moved by up to one ulp.

        It is changed in place and behind autograd's back, so that what the operator saved for its backward
        moves with it: many a gradient is sensitive to the rounding error of a saved result (1 - tanh²).
        """
        if tensor.is_floating_point():
            if values:
                tensor.data.add_(self._ulps(tensor.data))
            if tensor.requires_grad:
                tensor.register_hook(lambda cotangent: cotangent + self._ulps(cotangent))
        return tensor

    def _ulps(self, tensor: torch.Tensor) -> torch.Tensor:
        assert self.noise is not None
        signs = torch.from_numpy(self.noise(tensor.shape)).to(tensor.dtype)
        info = torch.finfo(tensor.dtype)
        smallest = (tensor != 0).to(tensor.dtype) * (info.smallest_normal * info.eps)
        return (signs * torch.maximum(tensor.abs() * info.eps, smallest)).nan_to_num(0.0, 0.0, 0.0)

    @contextmanager
    def session(self) -> Iterator[None]:
        """While it lasts, torch's own default dtype is this engine's (it is what int / int gives).

        torch's warnings are about its own interface: they are not shown.
        """
        with default_dtype(self.dtype), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


def _shares(result: torch.Tensor, value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return result.untyped_storage().data_ptr() == value.untyped_storage().data_ptr()
    return isinstance(value, tuple | list) and any(_shares(result, item) for item in value)


@functools.cache
def resolve(call: str) -> Callable[..., Any]:
    """The function behind a row's ``torch`` text: a name below ``torch``, or Python's own ``operator.…``."""
    path = Call.parse(call).path
    name = path.removeprefix("operator.")
    return python.attrgetter(name)(torch if name == path else python)
