"""NumPy kernels of our own: for operators that NumPy and SciPy lack, or whose complex kernel is not exact."""

from __future__ import annotations

import numpy as np  # noqa: TID253 (an engine is imported only once it is needed)


def power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a**b elementwise. A complex base with a negative real part keeps its sign apart.

    exp(b·log(a)) would turn the rounding of π·b into an imaginary part that drowns a complex step.
    """
    a, b = np.asarray(a), np.asarray(b)
    if not (np.iscomplexobj(a) or np.iscomplexobj(b)):
        return np.power(a, b)
    flip = (a.real < 0) & (b.imag == 0) & (b.real == np.round(b.real))
    sign = np.where(flip & (b.real % 2 != 0), -1.0, 1.0)
    return sign * np.power(np.where(flip, -a, a), b)


def restore(g: np.ndarray, x: np.ndarray, dim: tuple[int, ...] | None, keepdim: bool) -> np.ndarray:
    """g with the dimensions of x that a reduction took away put back with size 1."""
    if keepdim:
        return g
    axes = range(x.ndim) if dim is None else dim
    return np.expand_dims(g, tuple(axes)) if x.ndim else g
