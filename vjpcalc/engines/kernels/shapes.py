"""Elements moved, chosen, replaced and sorted as torch does it, and their dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np  # noqa: TID253 (an engine is imported only once it is needed)


def reshape_as(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    return x.reshape(other.shape)


def flatten(x: np.ndarray, start_dim: int, end_dim: int) -> np.ndarray:
    if x.ndim == 0:
        return x.reshape(1)
    return x.reshape(
        *x.shape[:start_dim], np.prod(x.shape[start_dim : end_dim + 1], dtype=int), *x.shape[end_dim + 1 :]
    )


def unflatten(x: np.ndarray, dim: int, sizes: tuple[int, ...]) -> np.ndarray:
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def squeeze(x: np.ndarray, dim: tuple[int, ...] | None = None) -> np.ndarray:
    axes = range(x.ndim) if dim is None else dim
    return np.squeeze(x, tuple(axis for axis in axes if x.ndim and x.shape[axis] == 1))


def expand(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    new = len(shape) - x.ndim
    return np.broadcast_to(x, [x.shape[i - new] if size == -1 else size for i, size in enumerate(shape)])


def expand_as(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x, other.shape)


def getitem(x: np.ndarray, index: tuple[Any, ...]) -> np.ndarray:
    """x[index] as torch has it: whole numbers are applied first, so that they never count as index arrays."""
    if not any(isinstance(item, np.ndarray) and item.ndim for item in index):
        return x[tuple(int(item) if _is_whole(item) else item for item in index)]
    left = x.ndim - sum(0 if i is None or i is Ellipsis else i.ndim if _is_mask(i) else 1 for i in index)
    first: list[Any] = []
    rest: list[Any] = []
    for item in index:
        if _is_whole(item):
            first.append(int(item))
        else:
            first += [slice(None)] * (
                0 if item is None else left if item is Ellipsis else item.ndim if _is_mask(item) else 1
            )
            rest.append(item)
    return x[tuple(first)][tuple(rest)]


def _is_whole(item: object) -> bool:
    return (isinstance(item, int) and not isinstance(item, bool)) or (
        isinstance(item, np.ndarray) and item.ndim == 0 and item.dtype != bool
    )


def _is_mask(item: object) -> bool:
    return isinstance(item, np.ndarray) and item.dtype == bool


def narrow(x: np.ndarray, dim: int, start: int, length: int) -> np.ndarray:
    size = x.shape[dim]
    start = start + size if start < 0 else start
    if length < 0 or not 0 <= start <= start + length <= size:
        raise ValueError(f"elements {start} to {start + length} of dimension {dim} of size {size}")
    return x[(slice(None),) * dim + (slice(start, start + length),)]


def unfold(x: np.ndarray, dimension: int, size: int, step: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=dimension)
    return windows[(slice(None),) * dimension + (slice(None, None, step),)]


def _along(x: np.ndarray, dim: int, index: np.ndarray) -> tuple[Any, ...]:
    """The index arrays of torch's gather and scatter: ``index`` along ``dim``, elsewhere the own place."""
    if x.ndim == 0:
        return ()
    mesh = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    mesh[dim] = index
    return tuple(mesh)


def gather(x: np.ndarray, dim: int, index: np.ndarray) -> np.ndarray:
    return x[_along(x, dim, index)]


def masked_select(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    x, mask = np.broadcast_arrays(x, mask)
    return x[mask]


def _writable(x: np.ndarray, *others: Any) -> np.ndarray:
    return np.array(x, dtype=np.result_type(x, *others))


def scatter(x: np.ndarray, dim: int, index: np.ndarray, src: np.ndarray | float) -> np.ndarray:
    y = _writable(x, src)
    y[_along(x, dim, index)] = (
        src[tuple(slice(size) for size in index.shape)] if isinstance(src, np.ndarray) else src
    )
    return y


def scatter_add(x: np.ndarray, dim: int, index: np.ndarray, src: np.ndarray) -> np.ndarray:
    y = _writable(x, src)
    np.add.at(y, _along(x, dim, index), src[tuple(slice(size) for size in index.shape)])
    return y


def index_add(x: np.ndarray, dim: int, index: np.ndarray, source: np.ndarray, alpha: float) -> np.ndarray:
    y = _writable(x, source, alpha)
    np.add.at(np.moveaxis(y, dim, 0), index, np.moveaxis(alpha * source, dim, 0))
    return y


def index_copy(x: np.ndarray, dim: int, index: np.ndarray, source: np.ndarray | float) -> np.ndarray:
    y = _writable(x, source)
    y[(slice(None),) * dim + (index,)] = source
    return y


PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(x: np.ndarray, pad: tuple[int, ...], mode: str, value: float) -> np.ndarray:
    """torch's padding: pairs from the last dimension back; a negative one takes elements away."""
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"{len(pad)} numbers for {x.ndim} dimensions")
    pairs = [(pad[2 * i], pad[2 * i + 1]) if 2 * i < len(pad) else (0, 0) for i in reversed(range(x.ndim))]
    if mode != "constant":
        return np.pad(x, pairs, mode=PAD_MODES[mode])  # type: ignore[call-overload]
    x = np.pad(x, [(max(a, 0), max(b, 0)) for a, b in pairs], constant_values=value)
    return x[tuple(slice(max(-a, 0), size - max(-b, 0)) for (a, b), size in zip(pairs, x.shape, strict=True))]


def argsort(x: np.ndarray, dim: int, descending: bool) -> np.ndarray:
    """Stable both ways."""
    if x.ndim == 0:
        return np.zeros((), int)
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    return x.shape[dim] - 1 - np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)


def topk_indices(x: np.ndarray, k: int, dim: int, largest: bool) -> np.ndarray:
    return narrow(argsort(x, dim, largest), dim, 0, k)


def kthvalue_indices(x: np.ndarray, k: int, dim: int, keepdim: bool) -> np.ndarray:
    places = narrow(argsort(x, dim, False), dim, k - 1, 1)
    return places if keepdim else places.squeeze(dim)


def as_float(x: np.ndarray) -> np.ndarray:
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def as_int(x: np.ndarray) -> np.ndarray:
    return x.real.astype(np.int64)


def as_bool(x: np.ndarray) -> np.ndarray:
    return x.astype(bool)


def one_hot(x: np.ndarray, num_classes: int) -> np.ndarray:
    classes = num_classes if num_classes >= 0 else int(x.max(initial=-1)) + 1
    if (x < 0).any() or (x >= classes).any():
        raise ValueError(f"class numbers go from 0 to {classes - 1}")
    return np.eye(classes, dtype=np.int64)[x]
