"""The torch engine: builds the autograd graph, one torch function an operator."""

from __future__ import annotations

import functools
import operator as python
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np  # noqa: TID253 (an engine is imported only once it is needed)
import torch  # noqa: TID253

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.noise import (
    LOOSE_SLOPE,
    LOOSE_VALUE,
    Noise,
    accumulates,
    slope_is_exact,
    value_is_exact,
)
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.yours import default_dtype
from vjpcalc.language.trace import with_arrays
from vjpcalc.operators.row import Call, Operator


class TorchEngine:
    """torch. ``dtype`` is that of numbers typed in; ``seed`` starts the stream of ``rand`` and ``randn``.

    ``noise`` turns this into stochastic arithmetic: every value that is computed and every cotangent that a
    node hands on is moved at random by ``ulps`` units in the last place, so that the spread of the gradients
    over a few runs measures their rounding error. Inputs are what they are, but for those of functions of the
    user's own, where the rounding ``inside`` is to count, which nobody knows.
    """

    name = "torch"
    expands = False

    def __init__(
        self,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
        noise: Noise | None = None,
        ulps: float = 1.0,
        inside: bool = True,
    ) -> None:
        self.dtype, self.noise, self.ulps, self.inside = dtype, noise, ulps, inside
        self._creation = ReferenceEngine(seed)  # both engines draw the same random numbers

    def apply(self, operator: Operator, values: Mapping[str, Any]) -> torch.Tensor:
        if operator.kind == "creation":
            return self.constant(self._creation.apply(operator, values), whole=True)
        function = operator.function or resolve(operator.torch)
        if self.noise is not None:
            values = self._moved_values(operator, values)
        positional, keywords = operator.arguments("torch", values)
        result = function(*positional, **keywords)
        field = Call.parse(operator.torch).field if operator.function is None else None
        result = getattr(result, field) if field else result
        if operator.frozen and isinstance(result, torch.Tensor):
            result = result.detach()
        if not isinstance(result, torch.Tensor):
            what = "nothing" if result is None else f"a {type(result).__name__}"
            raise Diagnostic("value", f"'{operator.name}' returned {what}, not a tensor")
        if result.is_complex():
            dtype = str(result.dtype).removeprefix("torch.")
            message = f"'{operator.name}' returned complex numbers ({dtype}), which are not supported"
            raise Diagnostic(
                "value", message, hint="return their real and imaginary parts: torch.view_as_real"
            )
        if self.noise is None:
            return result
        if not value_is_exact(operator) and not any(_shares(result, value) for value in positional):
            self.perturb(result, operator, positional)
        if result.grad_fn is not None and not slope_is_exact(operator):
            loose = LOOSE_SLOPE.get(operator.name)
            if loose is not None:
                loose = functools.partial(loose, positional[0].detach(), result.detach().clone())
            result.grad_fn.register_hook(functools.partial(self._moved_cotangents, loose))
        return result

    def constant(self, data: Any, *, whole: bool = False) -> torch.Tensor:
        tensor = torch.tensor(data)
        kept = tensor.dtype == torch.bool or (whole and not tensor.is_floating_point())
        return tensor if kept else tensor.to(self.dtype)

    def item(self, array: torch.Tensor) -> float | int | bool:
        return array.item()

    def is_mask(self, array: torch.Tensor) -> bool:
        return array.dtype == torch.bool

    def perturb(self, result: torch.Tensor, operator: Operator, values: Sequence[Any]) -> None:
        """Move each element of a result by an ulp: in place and behind autograd's back.

        So what the operator saved for its backward moves with it: many a gradient is sensitive to the
        rounding error of a saved result (1 - tanh²).
        """
        if not result.is_floating_point():
            return
        data = result.data
        moved = self._by_an_ulp(data)
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        aligned = all(value.shape in (data.shape, ()) for value in tensors)
        if data.dtype != torch.float64 and aligned and (data == 0).any():
            underflowed = functools.reduce(torch.logical_and, (value != 0 for value in tensors), data == 0)
            by = self.ulps * flushed(data.dtype) * self._drawn(data)
            moved = torch.where(underflowed, by.to(data.dtype), moved)
        if loose := LOOSE_VALUE.get(operator.name):
            terms = loose(tensors[0].detach())
            moved = moved + (self._by_an_ulp(terms) - terms)
        data.copy_(moved)

    def _moved_values(self, row: Operator, values: Mapping[str, Any]) -> dict[str, Any]:
        """What an operator is given, moved where its rounding counts.

        A number that is typed in, and that the dtype does not hold, is rounded to it: `x - 0.3` in float32.
        """
        move = functools.partial(self._moved, row)
        moved = {name: with_arrays(value, move) for name, value in values.items()}
        tensors = [value for value in values.values() if isinstance(value, torch.Tensor)]
        narrow = {value.dtype for value in tensors if value.is_floating_point()} - {torch.float64}
        for dtype in narrow if len(narrow) == 1 else ():
            step = self.ulps * torch.finfo(dtype).eps
            for parameter in row.parameters:
                number = values.get(parameter.name)
                if parameter.kind == "tensor" and type(number) is float:
                    exact = torch.tensor(number, dtype=torch.float64)
                    if exact.to(dtype) != exact:
                        moved[parameter.name] = float(exact * (1.0 + step * self._drawn(exact)))
        return moved

    def _moved(self, row: Operator, value: Any) -> Any:
        """What goes into a long sum or a matrix algorithm, moved by an ulp, and its cotangent too."""
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        if row.function is not None and not self.inside:
            return value
        narrow = value.dtype not in (torch.float32, torch.float64)
        return self._by_an_ulp(value) if accumulates(row, narrow) else value

    def _moved_cotangents(
        self,
        loose: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None,
        handed: Sequence[Any],
        arrived: Sequence[Any],
    ) -> tuple[Any, ...]:
        """What a node hands on along each edge, each moved by itself: so terms that cancel show.

        Where the slope is ``loose`` it is moved by an ulp of that as well.
        """
        moved = [None if one is None else self._by_an_ulp(one) for one in handed]
        if loose is not None and moved[0] is not None and arrived[0] is not None:
            terms = loose(arrived[0], handed[0])
            moved[0] = moved[0] + (self._by_an_ulp(terms) - terms)
        return tuple(moved)

    def _by_an_ulp(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor, each element moved by an ulp: by the smallest number there is where it is subnormal."""
        noise, info = self._drawn(tensor), torch.finfo(tensor.dtype)
        step = self.ulps * info.eps
        if tensor.dtype == torch.float64:  # subnormal ones are too small to be judged
            return torch.addcmul(tensor, tensor, noise, value=step)
        moved = tensor * (1.0 + step * noise).to(tensor.dtype)
        subnormal = (tensor != 0) & (tensor.abs() < info.smallest_normal)
        if subnormal.any():
            by = self.ulps * torch.sign(noise) * smallest_subnormal(tensor.dtype)
            moved = torch.where(subnormal, tensor + by.to(tensor.dtype), moved)
        return moved

    def _drawn(self, tensor: torch.Tensor) -> torch.Tensor:
        """Noise shaped like a tensor, in float64."""
        assert self.noise is not None
        return torch.from_numpy(np.asarray(self.noise(tensor.shape)))

    @contextmanager
    def session(self) -> Iterator[None]:
        """While it lasts, torch's own default dtype is this engine's (it is what int / int gives).

        torch's warnings are about its own interface: they are not shown.
        """
        with default_dtype(self.dtype), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


def smallest_subnormal(dtype: torch.dtype) -> float:
    """The smallest number of a dtype that is not 0."""
    info = torch.finfo(dtype)
    return info.smallest_normal * info.eps


def flushed(dtype: torch.dtype) -> float:
    """A size below which a kernel may give 0, since something overflows on the way to such a number.

    sigmoid at -100 is 1/(1 + exp(100)) in float32, in which kernels compute float16 and bfloat16, too.
    """
    return 1 / torch.finfo(dtype if dtype == torch.float64 else torch.float32).max


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
