"""Reductions and scans. What chooses an element goes by the real parts: a complex step goes through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np  # noqa: TID253 (an engine is imported only once it is needed)

Dim = int | tuple[int, ...] | None


def axes_of(x: np.ndarray, dim: Dim) -> tuple[int, ...]:
    """The dimensions to reduce: all of them for None and for (), as in torch."""
    if dim is None or dim == () or x.ndim == 0:
        return tuple(range(x.ndim))
    return (dim,) if isinstance(dim, int) else dim


def total(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return np.sum(x, axis=axes_of(x, dim), keepdims=keepdim)


def any_(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return np.any(x, axis=axes_of(x, dim), keepdims=keepdim)


def all_(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return np.all(x, axis=axes_of(x, dim), keepdims=keepdim)


def lines_of(x: np.ndarray, dim: Dim) -> np.ndarray:
    """x with the dimensions to reduce joined into one, the last."""
    axes = axes_of(x, dim)
    return np.moveaxis(x, axes, range(-len(axes), 0)).reshape(
        *(n for i, n in enumerate(x.shape) if i not in axes), -1
    )


def _choose(x: np.ndarray, dim: Dim, keepdim: bool, place: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """One element of each line, at its ``place``. Between equal real parts the imaginary part decides."""
    axes = axes_of(x, dim)
    if x.size == 0 and any(x.shape[axis] == 0 for axis in axes):
        raise ValueError("there is no element to choose from")
    lines = (
        lines_of(x, dim) if x.size else np.zeros([*(n for i, n in enumerate(x.shape) if i not in axes), 1])
    )
    chosen = np.take_along_axis(lines, np.asarray(place(lines))[..., None], axis=-1)[..., 0]
    return np.expand_dims(chosen, axes) if keepdim else chosen


def amax(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return _choose(x, dim, keepdim, lambda lines: np.argmax(lines, axis=-1))


def amin(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return _choose(x, dim, keepdim, lambda lines: np.argmin(lines, axis=-1))


def _middle(lines: np.ndarray) -> np.ndarray:
    """The place of the median, the lower of two; of a NaN where there is one."""
    order = np.argsort(lines, axis=-1, kind="stable")
    place = np.where(np.isnan(lines).any(axis=-1), -1, (lines.shape[-1] - 1) // 2)
    return np.take_along_axis(order, place[..., None], axis=-1)[..., 0]


def _middle_number(lines: np.ndarray) -> np.ndarray:
    """The place of the median of those that are not NaN."""
    order = np.argsort(lines, axis=-1, kind="stable")
    place = np.maximum((~np.isnan(lines)).sum(axis=-1) - 1, 0) // 2
    return np.take_along_axis(order, place[..., None], axis=-1)[..., 0]


def median(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return _choose(x, dim, keepdim, _middle)


def nanmedian(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return _choose(x, dim, keepdim, _middle_number)


def median_indices(x: np.ndarray, dim: int, keepdim: bool) -> np.ndarray:
    places = _middle(np.moveaxis(x, dim, -1)) if x.ndim else np.zeros((), int)
    return np.expand_dims(places, axes_of(x, dim)) if keepdim else places


def nanmedian_indices(x: np.ndarray, dim: int, keepdim: bool) -> np.ndarray:
    places = _middle_number(np.moveaxis(x, dim, -1)) if x.ndim else np.zeros((), int)
    return np.expand_dims(places, axes_of(x, dim)) if keepdim else places


def quantile(
    x: np.ndarray, q: float, dim: Dim = None, keepdim: bool = False, interpolation: str = "linear"
) -> np.ndarray:
    place = q * (lines_of(x, dim).shape[-1] - 1)
    low, high = int(np.floor(place)), int(np.ceil(place))
    nearest = int(np.round(place))
    low, high = {"lower": (low, low), "higher": (high, high), "nearest": (nearest, nearest)}.get(
        interpolation, (low, high)
    )
    weight = 0.5 if interpolation == "midpoint" else place - low

    def ordered(n: int) -> np.ndarray:
        return _choose(x, dim, keepdim, lambda lines: np.argsort(lines, axis=-1, kind="stable")[..., n])

    a, b = ordered(low), ordered(high)
    return a + weight * (b - a) if low != high else a


def cumsum(x: np.ndarray, dim: int) -> np.ndarray:
    return np.cumsum(x, axis=dim) if x.ndim else x


def cumprod(x: np.ndarray, dim: int) -> np.ndarray:
    return np.cumprod(x, axis=dim) if x.ndim else x


def cummax_indices(x: np.ndarray, dim: int) -> np.ndarray:
    return _running(np.maximum, x, dim)


def cummin_indices(x: np.ndarray, dim: int) -> np.ndarray:
    return _running(np.minimum, x, dim)


def _running(kernel: np.ufunc, x: np.ndarray, dim: int) -> np.ndarray:
    """The place of the extremum so far: the last one of several."""
    if x.ndim == 0:
        return np.zeros((), int)
    lines = np.moveaxis(x, dim, -1)
    reached = (lines == kernel.accumulate(lines, axis=-1)) | np.isnan(lines)
    return np.moveaxis(
        np.maximum.accumulate(np.where(reached, np.arange(lines.shape[-1]), 0), axis=-1), -1, dim
    )


def cummax(x: np.ndarray, dim: int) -> np.ndarray:
    return np.take_along_axis(x, cummax_indices(x, dim), axis=dim) if x.ndim else x


def cummin(x: np.ndarray, dim: int) -> np.ndarray:
    return np.take_along_axis(x, cummin_indices(x, dim), axis=dim) if x.ndim else x


def logcumsumexp(x: np.ndarray, dim: int) -> np.ndarray:
    if x.ndim == 0:
        return x
    lines = np.moveaxis(np.array(x), dim, -1)
    for k in range(1, lines.shape[-1]):
        a, b = lines[..., k - 1], lines[..., k]
        high, low = np.where(a.real > b.real, a, b), np.where(a.real > b.real, b, a)
        apart = np.where(np.isinf(high.real) & (high.real == low.real), 0, low - high)
        lines[..., k] = high + np.log1p(np.exp(apart))
    return np.moveaxis(lines, -1, dim)
