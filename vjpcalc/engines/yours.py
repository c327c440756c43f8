"""A function of the user's own (--use): one default dtype wherever it runs, and how precisely it computes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np  # noqa: TID253 (imported only once a function is called)
import torch  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253
from torch.utils._pytree import tree_leaves, tree_map  # noqa: TID253

from vjpcalc.language.trace import with_arrays

EPS = torch.finfo(torch.float64).eps
UNSEEN = torch.finfo(torch.float32).eps  # what may well be the eps of a computation that nobody sees
STEPS = {"round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside", "floor_divide"}

_default = threading.RLock()


class default_dtype:  # noqa: N801 (used like a function)
    """While it lasts, torch's default dtype is this one; then it is again what it was.

    torch has one for the whole process, so another thread that wants one waits.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __enter__(self) -> None:
        _default.acquire()
        self.before = torch.get_default_dtype()
        if self.before != self.dtype:
            torch.set_default_dtype(self.dtype)

    def __exit__(self, *_: object) -> None:
        if torch.get_default_dtype() != self.before:  # asking is cheaper than setting
            torch.set_default_dtype(self.before)
        _default.release()


class Precision(NamedTuple):
    """How precisely something is computed: the largest eps on the way, and whether it takes whole steps.

    ``seen`` is false where a part of the way was out of sight.
    """

    eps: float
    stepped: bool
    seen: bool


class Yours:
    """A function of the user's own, which runs under the default ``dtype`` of the job whoever calls it.

    ``torch.tensor(0.1)`` inside of it is one number in the forward, in the check and in ``explain``. torch's
    engine calls it as it is, the reference by ``in_float64``.
    """

    def __init__(self, function: Callable[..., Any], dtype: torch.dtype) -> None:
        functools.update_wrapper(self, function)
        if hasattr(function, "__self__"):
            self.__self__ = function.__self__  # the class whose apply this is: an emitted script imports it
        self.function, self.dtype = function, dtype
        self._own: list[torch.dtype] = []  # of its tensors, in torch's run
        self._way: Callable[..., Any] | None = None  # one of the ways to run it on float64 that it takes
        self._session: int | None = None  # the thread that has one

    def __call__(self, *positional: Any, **keywords: Any) -> Any:
        self._own = [tensor.dtype for tensor in _tensors([positional, keywords])]
        with default_dtype(self.dtype):
            return self.function(*positional, **keywords)

    def in_float64(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> np.ndarray:
        """Its value for float64 arrays, as float64: without autograd. Raises what the function raises.

        It is computed in float64 as far as it can be. A float32 kernel that it convolves with is widened;
        what refuses that too is given the dtypes that it has in torch's run.
        """
        return _as_float64(self._run(*_as_tensors(positional, keywords)))

    def of_one(self, positional: Sequence[Any], moved: object) -> Callable[[np.ndarray], np.ndarray]:
        """The same as a function of one array, which is ``moved`` among its arguments, flattened.

        It is called some thousand times for one derivative.
        """

        others = {k: value for k, value in enumerate(positional) if isinstance(value, np.ndarray)}
        tensors = [torch.from_numpy(others[k].copy()) if k in others else v for k, v in enumerate(positional)]
        place = [k for k, value in enumerate(positional) if value is moved]

        def at(x: np.ndarray) -> np.ndarray:
            for k in place:
                tensors[k] = torch.from_numpy(np.array(x))
            value = np.array(_as_float64(self._run(tensors, {}))).ravel()
            for k, array in others.items():
                if tensors[k]._version:  # it was changed in place
                    tensors[k] = torch.from_numpy(array.copy())
            return value

        return at

    def precision(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> Precision:
        """How precise all is on the way from its tensors to its value.

        The eps is at least UNSEEN where a part of the way is out of sight: numbers leave torch, or come in.
        """
        return self._seen(self._run, *_as_tensors(positional, keywords))

    @contextmanager
    def session(self) -> Iterator[None]:
        """While it lasts, the function runs without autograd and under its dtype: for many calls in a row."""
        with torch.no_grad(), default_dtype(self.dtype):
            before, self._session = self._session, threading.get_ident()
            try:
                yield
            finally:
                self._session = before

    def _run(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> torch.Tensor:
        if self._session != threading.get_ident():
            with self.session():
                return self._run(positional, keywords)
        if self._way is not None:
            return self._way(positional, keywords)
        ways = [self._plain, self._widened, self._narrow]
        if self.dtype != torch.float64 and self._seen(self._plain, positional, keywords).eps > EPS:
            ways = [self._widened, self._plain, self._narrow]  # a buffer of its own would round
        first: Exception | None = None
        for way in ways:
            try:
                result = way(positional, keywords)
            except Exception as error:
                first = first or error
            else:
                self._way = way
                return result
        assert first is not None
        raise first

    def _plain(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        return self.function(*positional, **keywords)

    def _widened(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        with _Widen():  # type: ignore[no-untyped-call]
            return self.function(*positional, **keywords)

    def _narrow(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        own = iter(self._own)
        positional, keywords = _converted(lambda tensor: tensor.to(next(own)), positional, keywords)
        return self.function(*positional, **keywords)

    def _seen(
        self, way: Callable[..., Any], positional: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Precision:
        watch = _Watch([positional, keywords])
        try:
            with watch:
                result = way(positional, keywords)
        except Exception:  # there are functions that do not bear being watched
            return Precision(UNSEEN, stepped=True, seen=False)
        seen = watch.whole(result)
        return Precision(max(watch.eps, EPS if seen else UNSEEN), watch.stepped, seen)


class _Widen(TorchDispatchMode):
    """Has every operator below autograd take and make float64 wherever it would another float dtype.

    The numbers that a function makes stay what they are: ``torch.tensor(0.1)`` is float32's 0.1, in float64.
    """

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        args, kwargs = tree_map(_wide, (args, kwargs or {}))
        return tree_map(_wide, function(*args, **kwargs))


def _wide(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


class _Watch(TorchDispatchMode):
    """Sees every operator below autograd, and follows what is computed from some tensors."""

    def __init__(self, arguments: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.eps, self.stepped = EPS, False
        self._kept = list(_tensors(arguments))  # as long as a tensor lives, its address is its own
        self._followed = {_address(tensor) for tensor in self._kept if tensor.is_floating_point()}
        self._known = {_address(tensor) for tensor in self._kept}
        self._lost = False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        # torch.tensor(0.1) arrives as a number that is lifted
        lifted = function.overloadpacket.__name__ == "lift_fresh"
        inputs = set() if lifted else {_address(tensor) for tensor in _tensors([args, kwargs])}
        made = _tensors(result)
        followed = bool(inputs & self._followed)
        self._lost |= not inputs <= self._known or (followed and not made)
        self.stepped |= followed and _steps(function, made)
        self._kept += made
        for tensor in made:
            self._known.add(_address(tensor))
            if followed and (tensor.is_floating_point() or tensor.is_complex()):
                self._followed.add(_address(tensor))
                self.eps = max(self.eps, torch.finfo(tensor.dtype).eps)
        return result

    def whole(self, result: Any) -> bool:
        """True if all of the way to a result was seen."""
        return not self._lost and {_address(tensor) for tensor in _tensors(result)} <= self._followed


def _steps(function: Any, made: list[torch.Tensor]) -> bool:
    """True if the results of an operator below autograd are steps: whole numbers, of whatever dtype."""
    name = function.overloadpacket.__name__.rstrip("_")
    # a sort gives numbers as well, and where they stood
    whole = bool(made) and not any(
        tensor.is_floating_point() or tensor.dtype == torch.bool for tensor in made
    )
    return whole or name in STEPS or name.startswith("fake_quantize")


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _as_float64(result: torch.Tensor) -> np.ndarray:
    if result.dtype == torch.float64 and not result.requires_grad and result.is_cpu:
        return result.numpy()
    result = result.detach()
    return (result.double() if result.is_floating_point() else result).cpu().numpy()


def _converted(
    convert: Callable[[Any], Any], positional: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments with each array in them converted, in order."""
    return (
        [with_arrays(value, convert) for value in positional],
        {name: with_arrays(value, convert) for name, value in keywords.items()},
    )


def _as_tensors(positional: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    return _converted(lambda array: torch.from_numpy(np.array(array)), positional, keywords)
