"""What only VJP rules call: the check relies on the forward kernels of the other files alone."""

from __future__ import annotations

from typing import Any

import numpy as np  # noqa: TID253 (an engine is imported only once it is needed)

from vjpcalc.engines.kernels.linalg import einsum_labels, tensordot_labels
from vjpcalc.engines.kernels.neural import Ints, sliding_windows
from vjpcalc.engines.kernels.reductions import Dim, axes_of, lines_of


def positions(x: np.ndarray) -> np.ndarray:
    """The number of each element of x, in row-major order, shaped like x."""
    return np.arange(x.size).reshape(x.shape)


def accumulate(g: np.ndarray, p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Each element of g added to the one of a tensor like x whose number is in p (none where it is < 0)."""
    total = np.zeros(x.size, g.dtype)
    np.add.at(total, p[p >= 0], g[p >= 0])
    return total.reshape(x.shape)


def restore(g: np.ndarray, x: np.ndarray, dim: Dim, keepdim: bool) -> np.ndarray:
    """g with the dimensions of x that a reduction took away put back with size 1."""
    return g if keepdim else np.expand_dims(g, axes_of(x, dim))


def prod_of_others(x: np.ndarray, dim: Dim) -> np.ndarray:
    """For each element the product of all others in its line."""
    axes = axes_of(x, dim)
    lines = lines_of(x, dim)
    ones = np.ones_like(lines[..., :1])
    before = np.cumprod(np.concatenate([ones, lines[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([ones, lines[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    joined = (before * after).reshape(
        [n for i, n in enumerate(x.shape) if i not in axes] + [x.shape[i] for i in axes]
    )
    return np.moveaxis(joined, range(-len(axes), 0), axes)


def cumprod_rule(g: np.ndarray, x: np.ndarray, dim: int) -> np.ndarray:
    """Σ_{k≥i} g_k · (the product of x_0 … x_k without x_i), for each i."""
    if x.ndim == 0:
        return g
    g, lines = np.moveaxis(g, dim, -1), np.moveaxis(x, dim, -1)
    received = np.zeros_like(g)
    for i in range(lines.shape[-1]):
        others = lines.copy()
        others[..., i] = 1
        received[..., i] = np.sum((g * np.cumprod(others, axis=-1))[..., i:], axis=-1)
    return np.moveaxis(received, -1, dim)


def einsum_cotangent(g: np.ndarray, operands: tuple[np.ndarray, ...], equation: str, i: int) -> np.ndarray:
    labels, output = einsum_labels(equation, [operand.ndim for operand in operands])
    return _cotangent(g, operands, labels, output, i)


def tensordot_cotangent(g: np.ndarray, a: np.ndarray, b: np.ndarray, dims: Any, which: int) -> np.ndarray:
    return _cotangent(g, (a, b), *tensordot_labels(dims, [a.ndim, b.ndim]), which)


def _cotangent(
    g: np.ndarray, arrays: tuple[np.ndarray, ...], labels: list[list[int]], output: list[int], i: int
) -> np.ndarray:
    """What operand i of an einsum receives: the einsum of g and the other operands."""
    fresh = 1 + max([label for term in [*labels, output] for label in term], default=0)
    operands: list[Any] = [g, output]
    for j, (array, term) in enumerate(zip(arrays, labels, strict=True)):
        if j != i:
            operands += [array, term]
    known = {label for term in operands[1::2] for label in term}
    target: list[int] = []
    for size, label in zip(arrays[i].shape, labels[i], strict=True):
        if label in target:  # a diagonal: the rest of it is 0
            operands += [np.eye(size), [label, fresh]]
            label, fresh = fresh, fresh + 1
        elif label not in known:  # summed over in this operand alone
            operands += [np.ones(size), [label]]
        target.append(label)
    return np.einsum(*operands, target)


def cofactors(x: np.ndarray) -> np.ndarray:
    """The derivative of det(x), of a singular matrix too."""
    u, s, vh = np.linalg.svd(x)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    n = s.shape[-1]
    others = np.stack([np.prod(np.delete(s, i, axis=-1), axis=-1) for i in range(n)], axis=-1) if n else s
    return sign[..., None, None] * (u * others[..., None, :]) @ vh


def conv_weight(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Ints, padding: Any, dilation: Ints, groups: int
) -> np.ndarray:
    """What the weight of a convolution of x receives."""
    n = weight.ndim - 2
    if x.ndim < n + 2:
        g, x = g[None], x[None]
    seen = sliding_windows(x, weight.shape[2:], stride, padding, dilation)
    seen = seen[:, :, *(slice(size) for size in g.shape[2:])]
    places = [0, *range(2, n + 2)]
    parts = [
        np.tensordot(outputs, channels, (places, places))
        for outputs, channels in zip(np.split(g, groups, axis=1), np.split(seen, groups, axis=1), strict=True)
    ]
    return np.concatenate(parts)
