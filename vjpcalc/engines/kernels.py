"""NumPy kernels of our own: for operators that NumPy and SciPy lack, or whose complex kernel is not exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def fmod(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a - n·b, exactly, for the whole number n = a/b rounded toward 0."""
    return _modulo(np.fmod, a, b)


def remainder(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a - n·b, exactly, for the whole number n = a/b rounded down."""
    return _modulo(np.remainder, a, b)


def _modulo(kernel: np.ufunc, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    value = kernel(np.real(a), np.real(b))
    if not (np.iscomplexobj(a) or np.iscomplexobj(b)):
        return value
    n = np.round((np.real(a) - value) / np.real(b))
    return value + 1j * (np.imag(a) - n * np.imag(b))


# ---- special functions: analytic for complex arguments, as SciPy's are not ---------------------------------


def zeta(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Hurwitz's zeta: the sum of (q + k)^-s over k = 0, 1, …; Euler and Maclaurin's sum (DLMF 25.11.28)."""
    s, q = np.broadcast_arrays(s, q)
    lowest = float(np.min(q.real, initial=20.0))
    shift = int(np.clip(np.ceil(20 - lowest), 0, 10_000))
    total = np.zeros(q.shape, np.result_type(s, q))
    for k in range(shift):
        total = total + power(q + k, -s)
    q = q + shift
    total = total + power(q, 1 - s) / (s - 1) + power(q, -s) / 2
    factor = s / 2  # s (s + 1) … (s + 2j - 2) / (2j)!
    for j, bernoulli in enumerate((1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6), 1):
        total = total + bernoulli * factor * power(q, 1 - s - 2 * j)
        factor = factor * (s + 2 * j - 1) * (s + 2 * j) / ((2 * j + 1) * (2 * j + 2))
    return total


def polygamma(n: int, x: np.ndarray) -> np.ndarray:
    import scipy.special

    if n == 0:
        return scipy.special.psi(x)
    return (-1.0) ** (n + 1) * float(scipy.special.factorial(n)) * zeta(np.asarray(n + 1.0), x)


def i0(x: np.ndarray) -> np.ndarray:
    return _bessel(0, x, scaled=False)


def i1(x: np.ndarray) -> np.ndarray:
    return _bessel(1, x, scaled=False)


def i0e(x: np.ndarray) -> np.ndarray:
    return _bessel(0, x, scaled=True)


def i1e(x: np.ndarray) -> np.ndarray:
    return _bessel(1, x, scaled=True)


def _bessel(order: int, x: np.ndarray, scaled: bool) -> np.ndarray:
    """I_order(x), times exp(-|x|) where ``scaled``: a power series; above 30 DLMF 10.40.1, asymptotic."""
    x = np.asarray(x)
    z = np.where(x.real < 0, -x, x)
    small = np.where(np.abs(z) > 30, 1.0, z)
    term = total = (small / 2) ** order
    for k in range(1, 80):
        term = term * (small / 2) ** 2 / (k * (k + order))
        total = total + term
    large = np.where(np.abs(z) > 30, z, 100.0)
    term = series = 1 / np.sqrt(2 * np.pi * large)
    for k in range(1, 31):
        term = term * -(4 * order**2 - (2 * k - 1) ** 2) / (8 * k * large)
        series = series + term
    if scaled:
        total = total * np.exp(-small)
    else:
        series = series * np.exp(large)
    sign = np.where((x.real < 0) & (order == 1), -1.0, 1.0)
    return sign * np.where(np.abs(z) > 30, series, total)


# ---- reductions --------------------------------------------------------------------------------------------

Dim = int | tuple[int, ...] | None


def _axes(x: np.ndarray, dim: Dim) -> tuple[int, ...]:
    """The dimensions to reduce: all of them for None and for (), as in torch."""
    if dim is None or dim == () or x.ndim == 0:
        return tuple(range(x.ndim))
    return (dim,) if isinstance(dim, int) else dim


def restore(g: np.ndarray, x: np.ndarray, dim: Dim, keepdim: bool) -> np.ndarray:
    """g with the dimensions of x that a reduction took away put back with size 1."""
    return g if keepdim else np.expand_dims(g, _axes(x, dim))


def total(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return np.sum(x, axis=_axes(x, dim), keepdims=keepdim)


def prod(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return np.prod(x, axis=_axes(x, dim), keepdims=keepdim)


def any_(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return np.any(x, axis=_axes(x, dim), keepdims=keepdim)


def all_(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return np.all(x, axis=_axes(x, dim), keepdims=keepdim)


def _lines(x: np.ndarray, dim: Dim) -> np.ndarray:
    """x with the dimensions to reduce joined into one, the last."""
    axes = _axes(x, dim)
    return np.moveaxis(x, axes, range(-len(axes), 0)).reshape(
        *(n for i, n in enumerate(x.shape) if i not in axes), -1
    )


def _choose(x: np.ndarray, dim: Dim, keepdim: bool, place: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """One element of each line: the one whose place ``place`` finds from the real parts."""
    axes = _axes(x, dim)
    if x.size == 0 and any(x.shape[axis] == 0 for axis in axes):
        raise ValueError("there is no element to choose from")
    lines = _lines(x, dim) if x.size else np.zeros([*(n for i, n in enumerate(x.shape) if i not in axes), 1])
    chosen = np.take_along_axis(lines, np.asarray(place(lines.real))[..., None], axis=-1)[..., 0]
    return np.expand_dims(chosen, axes) if keepdim else chosen


def amax(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return _choose(x, dim, keepdim, lambda lines: np.argmax(lines, axis=-1))


def amin(x: np.ndarray, dim: Dim = None, keepdim: bool = False) -> np.ndarray:
    return _choose(x, dim, keepdim, lambda lines: np.argmin(lines, axis=-1))


def argmax(x: np.ndarray, dim: int | None = None, keepdim: bool = False) -> np.ndarray:
    return np.argmax(x, axis=dim, keepdims=keepdim) if x.ndim else np.zeros((), int)


def argmin(x: np.ndarray, dim: int | None = None, keepdim: bool = False) -> np.ndarray:
    return np.argmin(x, axis=dim, keepdims=keepdim) if x.ndim else np.zeros((), int)


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
    found = _middle(np.moveaxis(x, dim, -1)) if x.ndim else np.zeros((), int)
    return np.expand_dims(found, _axes(x, dim)) if keepdim else found


def nanmedian_indices(x: np.ndarray, dim: int, keepdim: bool) -> np.ndarray:
    found = _middle_number(np.moveaxis(x, dim, -1)) if x.ndim else np.zeros((), int)
    return np.expand_dims(found, _axes(x, dim)) if keepdim else found


def quantile(
    x: np.ndarray, q: float, dim: Dim = None, keepdim: bool = False, interpolation: str = "linear"
) -> np.ndarray:
    place = q * (_lines(x, dim).shape[-1] - 1)
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


def prod_of_others(x: np.ndarray, dim: Dim) -> np.ndarray:
    """For each element the product of all others in its line."""
    axes = _axes(x, dim)
    lines = _lines(x, dim)
    ones = np.ones_like(lines[..., :1])
    before = np.cumprod(np.concatenate([ones, lines[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([ones, lines[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    joined = (before * after).reshape(
        [n for i, n in enumerate(x.shape) if i not in axes] + [x.shape[i] for i in axes]
    )
    return np.moveaxis(joined, range(-len(axes), 0), axes)


# ---- scans -------------------------------------------------------------------------------------------------


def cumsum(x: np.ndarray, dim: int) -> np.ndarray:
    return np.cumsum(x, axis=dim) if x.ndim else x


def cumprod(x: np.ndarray, dim: int) -> np.ndarray:
    return np.cumprod(x, axis=dim) if x.ndim else x


def cumprod_rule(g: np.ndarray, x: np.ndarray, dim: int) -> np.ndarray:
    """Σ_{k≥i} g_k · (the product of x_0 … x_k without x_i), for each i."""
    if x.ndim == 0:
        return g
    g, lines = np.moveaxis(g, dim, -1), np.moveaxis(x, dim, -1)
    found = np.zeros_like(g)
    for i in range(lines.shape[-1]):
        others = lines.copy()
        others[..., i] = 1
        found[..., i] = np.sum((g * np.cumprod(others, axis=-1))[..., i:], axis=-1)
    return np.moveaxis(found, -1, dim)


def cummax_indices(x: np.ndarray, dim: int) -> np.ndarray:
    return _running(np.maximum, x, dim)


def cummin_indices(x: np.ndarray, dim: int) -> np.ndarray:
    return _running(np.minimum, x, dim)


def _running(kernel: np.ufunc, x: np.ndarray, dim: int) -> np.ndarray:
    """The place of the extremum so far: the last one of several."""
    if x.ndim == 0:
        return np.zeros((), int)
    lines = np.moveaxis(x.real, dim, -1)
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


# ---- elements moved and chosen -----------------------------------------------------------------------------


def positions(x: np.ndarray) -> np.ndarray:
    """The number of each element of x, in row-major order, shaped like x."""
    return np.arange(x.size).reshape(x.shape)


def accumulate(g: np.ndarray, p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Each element of g added to the one of a tensor like x whose number is in p (none where it is < 0)."""
    total = np.zeros(x.size, g.dtype)
    np.add.at(total, p[p >= 0], g[p >= 0])
    return total.reshape(x.shape)


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


def repeat(x: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    if len(sizes) < x.ndim:
        raise ValueError(f"there are {x.ndim} dimensions and {len(sizes)} numbers of copies")
    return np.tile(x, sizes)


def getitem(x: np.ndarray, index: tuple) -> np.ndarray:
    """x[index] as torch has it: whole numbers are applied first, so that they never count as index arrays."""
    if not any(isinstance(item, np.ndarray) and item.ndim for item in index):
        return x[tuple(int(item) if _is_whole(item) else item for item in index)]
    left = x.ndim - sum(0 if i is None or i is Ellipsis else i.ndim if _is_mask(i) else 1 for i in index)
    first: list = []
    rest: list = []
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


def _along(x: np.ndarray, dim: int, index: np.ndarray) -> tuple:
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
    np.add.at(y, _at(*[slice(None)] * dim, index), alpha * source)
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
    x = x.real
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    return x.shape[dim] - 1 - np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)


def topk_indices(x: np.ndarray, k: int, dim: int, largest: bool) -> np.ndarray:
    return narrow(argsort(x, dim, largest), dim, 0, k)


def kthvalue_indices(x: np.ndarray, k: int, dim: int, keepdim: bool) -> np.ndarray:
    found = narrow(argsort(x, dim, False), dim, k - 1, 1)
    return found if keepdim else found.squeeze(dim)


def as_float(x: np.ndarray) -> np.ndarray:
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def as_int(x: np.ndarray) -> np.ndarray:
    return x.real.astype(np.int64)


def as_bool(x: np.ndarray) -> np.ndarray:
    return x.astype(bool)


def arange(start: float, end: float | None, step: float, dtype: str | None = None) -> np.ndarray:
    options: Any = {"dtype": dtype}
    return np.arange(0, start, step, **options) if end is None else np.arange(start, end, step, **options)


def one_hot(x: np.ndarray, num_classes: int) -> np.ndarray:
    classes = num_classes if num_classes >= 0 else int(x.max(initial=-1)) + 1
    if (x < 0).any() or (x >= classes).any():
        raise ValueError(f"class numbers go from 0 to {classes - 1}")
    return np.eye(classes, dtype=np.int64)[x]


# ---- linear algebra: analytic algorithms, so that a complex step goes through (transposes, never conjugates)


def _labels(equation: str, ndims: list[int]) -> tuple[list[list[int]], list[int]]:
    """The dimensions of each operand and of the result of an einsum as numbers, ellipses spelled out."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    letters = sorted(set(inputs) - set(".,"))
    number = {letter: position for position, letter in enumerate(letters)}
    widths = [ndim - len(term.replace("...", "")) for term, ndim in zip(terms, ndims, strict=True)]
    widest = max([width for term, width in zip(terms, widths, strict=True) if "..." in term], default=0)
    dots = [len(letters) + i for i in range(widest)]

    def numbered(term: str, width: int) -> list[int]:
        before, found, after = term.partition("...")
        middle = dots[widest - width :] if found else []
        return [number[c] for c in before] + middle + [number[c] for c in after]

    if not arrow:
        output = "..." + "".join(letter for letter in letters if inputs.count(letter) == 1)
    return [numbered(t, w) for t, w in zip(terms, widths, strict=True)], numbered(output, widest)


def _cotangent(
    g: np.ndarray, arrays: tuple, labels: list[list[int]], output: list[int], i: int
) -> np.ndarray:
    """What operand i of an einsum receives: the einsum of g and the other operands."""
    fresh = 1 + max([label for term in [*labels, output] for label in term], default=0)
    operands: list = [g, output]
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


def einsum(equation: str, *operands: np.ndarray) -> np.ndarray:
    """NumPy's, with torch's ellipsis: dimensions under one that the result lacks are summed."""
    labels, output = _labels(equation, [operand.ndim for operand in operands])
    return np.einsum(*(part for pair in zip(operands, labels, strict=True) for part in pair), output)


def einsum_cotangent(g: np.ndarray, operands: tuple, equation: str, i: int) -> np.ndarray:
    labels, output = _labels(equation, [operand.ndim for operand in operands])
    return _cotangent(g, operands, labels, output, i)


def tensordot_cotangent(g: np.ndarray, a: np.ndarray, b: np.ndarray, dims: Any, which: int) -> np.ndarray:
    if isinstance(dims, int):
        pairs = [(a.ndim - dims + k, k) for k in range(dims)]
    else:
        left, right = ([part] if isinstance(part, int) else list(part) for part in dims)
        pairs = [(p % a.ndim, q % b.ndim) for p, q in zip(left, right, strict=True)]
    of_a, of_b = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    for p, q in pairs:
        of_b[q] = of_a[p]
    output = [n for n in of_a if n not in of_b] + [n for n in of_b if n not in of_a]
    return _cotangent(g, (a, b), [of_a, of_b], output, which)


def diag_embed(x: np.ndarray, offset: int, dim1: int, dim2: int) -> np.ndarray:
    size = x.shape[-1] + abs(offset)
    y = np.zeros((*x.shape[:-1], size, size), x.dtype)
    steps = np.arange(x.shape[-1])
    y[..., steps + max(-offset, 0), steps + max(offset, 0)] = x
    return np.moveaxis(y, (-2, -1), (dim1, dim2))


def block_diag(*tensors: np.ndarray) -> np.ndarray:
    blocks = [np.atleast_2d(tensor) for tensor in tensors]
    y = np.zeros(np.sum([block.shape for block in blocks], axis=0), np.result_type(*blocks))
    m = n = 0
    for block in blocks:
        y[m : m + block.shape[0], n : n + block.shape[1]] = block
        m, n = m + block.shape[0], n + block.shape[1]
    return y


def solve(a: np.ndarray, b: np.ndarray, left: bool) -> np.ndarray:
    """torch's solve: b of one dimension, or of the batch and size of a, is a vector or a batch of them."""
    if not left:
        return np.swapaxes(np.linalg.solve(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)
    if b.ndim == 1 or b.shape == a.shape[:-1]:
        return np.linalg.solve(a, b[..., None])[..., 0]
    return np.linalg.solve(a, b)


def solve_triangular(
    a: np.ndarray, b: np.ndarray, upper: bool, left: bool, unitriangular: bool
) -> np.ndarray:
    a = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        eye = np.eye(a.shape[-1])
        a = a * (1 - eye) + eye
    if not left:
        a, b, upper = np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), not upper
    # by substitution: pivoting would leave rounding errors where a derivative is exactly 0
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x = np.zeros((*batch, *b.shape[-2:]), np.result_type(a, b, 1.0))
    n = a.shape[-1]
    for i in reversed(range(n)) if upper else range(n):
        rest = b[..., i, :] - np.einsum("...k,...kj->...j", a[..., i, :], x)
        x[..., i, :] = rest / a[..., i, i, None]
    return x if left else np.swapaxes(x, -1, -2)


def qr(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q and R of a complex matrix with QᵀQ = 1 (m ≥ n, full rank): Gram and Schmidt, orthogonalized twice."""
    q = np.array(x)
    n = x.shape[-1]
    r = np.zeros((*x.shape[:-2], n, n), x.dtype)
    for j in range(n):
        for _ in range(2):
            part = np.einsum("...mk,...m->...k", q[..., :j], q[..., j])
            r[..., :j, j] += part
            q[..., j] -= np.einsum("...mk,...k->...m", q[..., :j], part)
        r[..., j, j] = np.sqrt(np.sum(q[..., j] ** 2, axis=-1))
        q[..., j] /= r[..., j, j][..., None]
    return q, r


def pinv(x: np.ndarray) -> np.ndarray:
    """The pseudo-inverse of a matrix of full rank."""
    if not np.iscomplexobj(x):
        return np.linalg.pinv(x)
    if x.shape[-2] < x.shape[-1]:
        return np.swapaxes(pinv(np.swapaxes(x, -1, -2)), -1, -2)
    q, r = qr(x)
    return np.linalg.solve(r, np.swapaxes(q, -1, -2))


def cofactors(x: np.ndarray) -> np.ndarray:
    """The derivative of det(x), of a singular matrix too."""
    u, s, vh = np.linalg.svd(x)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    n = s.shape[-1]
    others = np.stack([np.prod(np.delete(s, i, axis=-1), axis=-1) for i in range(n)], axis=-1) if n else s
    return sign[..., None, None] * (u * others[..., None, :]) @ vh


def logabsdet(x: np.ndarray) -> np.ndarray:
    sign, value = np.linalg.slogdet(x)
    return value + 1j * (sign.imag / sign.real) if np.iscomplexobj(x) else value


def slogdet_sign(x: np.ndarray) -> np.ndarray:
    return np.linalg.slogdet(x.real)[0]


def logdet(x: np.ndarray) -> np.ndarray:
    return np.where(slogdet_sign(x) < 0, np.nan, logabsdet(x))


def matrix_exp(x: np.ndarray) -> np.ndarray:
    """Taylor's series of x/2ⁿ, squared n times (scaling and squaring)."""
    size = np.max(np.abs(x.real).sum(axis=-1), initial=0.0)
    halvings = max(0, int(np.ceil(np.log2(size))) + 2) if 0 < size < np.inf else 0
    x = x / 2.0**halvings
    term = total = np.broadcast_to(np.eye(x.shape[-1]), x.shape)
    for k in range(1, 18):
        term = term @ x / k
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


def cholesky(x: np.ndarray) -> np.ndarray:
    """The lower factor: L Lᵀ = x, column by column."""
    if not np.iscomplexobj(x):
        return np.linalg.cholesky(x)
    y = np.zeros_like(x)
    for j in range(x.shape[-1]):
        y[..., j, j] = np.sqrt(x[..., j, j] - np.sum(y[..., j, :j] ** 2, axis=-1))
        below = x[..., j + 1 :, j] - np.einsum("...ik,...k->...i", y[..., j + 1 :, :j], y[..., j, :j])
        y[..., j + 1 :, j] = below / y[..., j, j][..., None]
    return y


def eigenvectors(x: np.ndarray, uplo: Any) -> np.ndarray:
    return np.linalg.eigh(x, uplo)[1]


def svdvals(x: np.ndarray) -> np.ndarray:
    return np.linalg.svd(x, compute_uv=False)


def left_vectors(x: np.ndarray) -> np.ndarray:
    return np.linalg.svd(x, full_matrices=False)[0]


def right_vectors(x: np.ndarray) -> np.ndarray:
    return np.linalg.svd(x, full_matrices=False)[2]


# ---- layers: everything here is linear or copies, so that a complex step goes through ----------------------


Ints = int | tuple[int, ...]


def _at(*index: Any) -> tuple[Any, ...]:
    return index


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
    view = _windows(x, _per_dim(size, n), stride, padding, dilation, value)
    return view.reshape(*view.shape[:-n], -1)


def _windows(
    x: np.ndarray, size: tuple[int, ...], stride: Ints, padding: Any, dilation: Ints, value: float = 0
) -> np.ndarray:
    n = len(size)
    strides, dilations = _per_dim(stride, n), _per_dim(dilation, n)
    x = np.pad(x, [(0, 0)] * (x.ndim - n) + _paddings(padding, size, dilations), constant_values=value)
    extent = tuple(d * (k - 1) + 1 for d, k in zip(dilations, size, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, extent, axis=tuple(range(-n, 0)))
    return view[
        _at(..., *(slice(None, None, s) for s in strides), *(slice(None, None, d) for d in dilations))
    ]


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
    seen = _windows(batched, weight.shape[2:], stride, padding, dilation)
    parts = [
        np.tensordot(channels, kernel, ([1, *range(-n, 0)], [1, *range(-n, 0)]))
        for channels, kernel in zip(np.split(seen, groups, axis=1), np.split(weight, groups), strict=True)
    ]
    y = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
    y = y if bias is None else y + bias.reshape(-1, *(1,) * n)
    return y if x.ndim == n + 2 else y[0]


def conv_weight(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Ints, padding: Any, dilation: Ints, groups: int
) -> np.ndarray:
    """What the weight of a convolution of x receives."""
    n = weight.ndim - 2
    if x.ndim < n + 2:
        g, x = g[None], x[None]
    seen = _windows(x, weight.shape[2:], stride, padding, dilation)
    seen = seen[_at(slice(None), slice(None), *(slice(size) for size in g.shape[2:]))]
    places = [0, *range(2, n + 2)]
    parts = [
        np.tensordot(outputs, channels, (places, places))
        for outputs, channels in zip(np.split(g, groups, axis=1), np.split(seen, groups, axis=1), strict=True)
    ]
    return np.concatenate(parts)


def conv_input(
    g: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Ints, padding: Any, dilation: Ints, groups: int
) -> np.ndarray:
    """What a convolution's input x receives: each element of g, times the kernel, where that stood."""
    n = weight.ndim - 2
    strides, dilations = _per_dim(stride, n), _per_dim(dilation, n)
    pads = _paddings(padding, weight.shape[2:], dilations)
    batched = g if g.ndim == n + 2 else g[None]
    shape = x.shape[-n:]
    reach = [size + a + b for size, (a, b) in zip(shape, pads, strict=True)]
    y = np.zeros((batched.shape[0], weight.shape[1] * groups, *reach), np.result_type(g, weight))
    for place in np.ndindex(*weight.shape[2:]):
        target: tuple[Any, ...] = tuple(
            slice(k * d, k * d + s * size, s)
            for k, d, s, size in zip(place, dilations, strides, batched.shape[2:], strict=True)
        )
        kernel = weight[_at(slice(None), slice(None), *place)]
        parts = [
            np.tensordot(outputs, part, ([1], [0]))
            for outputs, part in zip(np.split(batched, groups, axis=1), np.split(kernel, groups), strict=True)
        ]
        added = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
        hit = y[_at(..., *target)]
        hit += added[_at(..., *(slice(size) for size in hit.shape[2:]))]
    y = y[_at(..., *(slice(a, a + size) for (a, _), size in zip(pads, shape, strict=True)))]
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
