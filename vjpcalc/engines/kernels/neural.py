"""Layers: everything here is linear or copies, so that a complex step goes through."""

from __future__ import annotations

from typing import Any

import numpy as np  # noqa: TID253 (an engine is imported only once it is needed)

Ints = int | tuple[int, ...]


def _per_dim(value: Ints, n: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return values * n if len(values) == 1 else values


def _paddings(padding: Any, size: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    """How much is added before and after each dimension; 'same' puts the odd one after."""
    if padding == "valid":
        return [(0, 0)] * len(size)
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in _per_dim(padding, len(size))]


def windows(
    x: np.ndarray, size: Ints, stride: Ints, padding: Ints, dilation: Ints, n: int, value: float
) -> np.ndarray:
    """What each window over the last n dimensions sees: shape (…, *places, elements of a window)."""
    view = sliding_windows(x, _per_dim(size, n), stride, padding, dilation, value)
    return view.reshape(*view.shape[:-n], -1)


def sliding_windows(
    x: np.ndarray, size: tuple[int, ...], stride: Ints, padding: Any, dilation: Ints, value: float = 0
) -> np.ndarray:
    """The same with the dimensions of a window last, as a view of the padded x."""
    n = len(size)
    strides, dilations = _per_dim(stride, n), _per_dim(dilation, n)
    x = np.pad(x, [(0, 0)] * (x.ndim - n) + _paddings(padding, size, dilations), constant_values=value)
    extent = tuple(d * (k - 1) + 1 for d, k in zip(dilations, size, strict=True))
    view: Any = np.lib.stride_tricks.sliding_window_view(x, extent, axis=tuple(range(-n, 0)))
    return view[..., *(slice(None, None, s) for s in strides), *(slice(None, None, d) for d in dilations)]


def conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Ints,
    padding: Any,
    dilation: Ints,
    groups: int,
) -> np.ndarray:
    """torch's convolution (a correlation): x (batch?, channels, …), weight (outputs, channels/groups, …)."""
    n = weight.ndim - 2
    batched = x if x.ndim == n + 2 else x[None]
    seen = sliding_windows(batched, weight.shape[2:], stride, padding, dilation)
    parts = [
        np.tensordot(channels, kernel, ([1, *range(-n, 0)], [1, *range(-n, 0)]))
        for channels, kernel in zip(np.split(seen, groups, axis=1), np.split(weight, groups), strict=True)
    ]
    y = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
    y = y if bias is None else y + bias.reshape(-1, *(1,) * n)
    return y if x.ndim == n + 2 else y[0]


def conv_input(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Ints, padding: Any, dilation: Ints, groups: int
) -> np.ndarray:
    """What a convolution's input x receives: each element of g, times the kernel, where that stood.

    It is the forward of conv_transpose too, and so stands here: the rule of that is a convolution.
    """
    n = weight.ndim - 2
    strides, dilations = _per_dim(stride, n), _per_dim(dilation, n)
    pads = _paddings(padding, weight.shape[2:], dilations)
    batched = g if g.ndim == n + 2 else g[None]
    shape = x.shape[-n:]
    reach = [size + a + b for size, (a, b) in zip(shape, pads, strict=True)]
    y: Any = np.zeros((batched.shape[0], weight.shape[1] * groups, *reach), np.result_type(g, weight))
    for place in np.ndindex(*weight.shape[2:]):
        target = tuple(
            slice(k * d, k * d + s * size, s)
            for k, d, s, size in zip(place, dilations, strides, batched.shape[2:], strict=True)
        )
        kernel = weight[:, :, *place]
        parts = [
            np.tensordot(outputs, part, ([1], [0]))
            for outputs, part in zip(np.split(batched, groups, axis=1), np.split(kernel, groups), strict=True)
        ]
        added: Any = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
        hit = y[..., *target]
        hit += added[..., *(slice(size) for size in hit.shape[2:])]
    y = y[..., *(slice(a, a + size) for (a, _), size in zip(pads, shape, strict=True))]
    return y if g.ndim == n + 2 else y[0]


def conv_transpose(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    groups: int,
    output_padding: Ints,
) -> np.ndarray:
    n = weight.ndim - 2
    options = (_per_dim(value, n) for value in (stride, padding, dilation, output_padding))
    shape = tuple(
        (size - 1) * s - 2 * p + d * (k - 1) + o + 1
        for size, k, s, p, d, o in zip(x.shape[-n:], weight.shape[2:], *options, strict=True)
    )
    y = conv_input(x, np.empty(shape), weight, stride, padding, dilation, groups)
    return y if bias is None else y + bias.reshape(-1, *(1,) * n)


def averaging(m: int, n: int) -> np.ndarray:
    """torch's adaptive average, shape (n, m): row i is the mean of elements ⌊i·m/n⌋ to ⌈(i+1)·m/n⌉."""
    matrix = np.zeros((n, m))
    for i in range(n):
        start, stop = i * m // n, -(-(i + 1) * m // n)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def additive_mask(x: np.ndarray) -> np.ndarray:
    return np.where(x, 0.0, -np.inf) if x.dtype == bool else x


def pixel_shuffle(x: np.ndarray, upscale_factor: int) -> np.ndarray:
    r = upscale_factor
    *batch, c, h, w = x.shape
    y = x.reshape(*batch, c // r**2, r, r, h, w)
    n = len(batch) + 1
    y = y.transpose(*range(n), n + 2, n, n + 3, n + 1)
    return y.reshape(*batch, c // r**2, h * r, w * r)


def pixel_unshuffle(x: np.ndarray, downscale_factor: int) -> np.ndarray:
    r = downscale_factor
    *batch, c, h, w = x.shape
    y = x.reshape(*batch, c, h // r, r, w // r, r)
    n = len(batch) + 1
    y = y.transpose(*range(n), n + 1, n + 3, n, n + 2)
    return y.reshape(*batch, c * r**2, h // r, w // r)


def interpolate(x: np.ndarray, size: tuple[int, ...] | None, scale_factor: float | None) -> np.ndarray:
    n = x.ndim - 2
    for axis in range(2, x.ndim):
        before = x.shape[axis]
        after = _per_dim(size, n)[axis - 2] if size is not None else int(before * scale_factor)
        step = before / after if size is not None else 1 / scale_factor  # type: ignore[operator]
        x = np.take(x, np.minimum((np.arange(after) * step).astype(int), before - 1), axis=axis)
    return x
