"""Linear algebra by analytic algorithms, for a complex step to go through: transposes, never conjugates."""

from __future__ import annotations

from typing import Any

import numpy as np  # noqa: TID253 (an engine is imported only once it is needed)


def einsum_labels(equation: str, ndims: list[int]) -> tuple[list[list[int]], list[int]]:
    """The dimensions of each operand and of the result of an einsum as numbers, ellipses spelled out."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    letters = sorted(set(inputs) - set(".,"))
    number = {letter: position for position, letter in enumerate(letters)}
    widths = [ndim - len(term.replace("...", "")) for term, ndim in zip(terms, ndims, strict=True)]
    widest = max([width for term, width in zip(terms, widths, strict=True) if "..." in term], default=0)
    dots = [len(letters) + i for i in range(widest)]

    def numbered(term: str, width: int) -> list[int]:
        before, ellipsis, after = term.partition("...")
        middle = dots[widest - width :] if ellipsis else []
        return [number[c] for c in before] + middle + [number[c] for c in after]

    if not arrow:
        output = "..." + "".join(letter for letter in letters if inputs.count(letter) == 1)
    return [numbered(t, w) for t, w in zip(terms, widths, strict=True)], numbered(output, widest)


def tensordot_labels(dims: Any, ndims: list[int]) -> tuple[list[list[int]], list[int]]:
    """The same for a tensordot: two dimensions that are contracted have one number."""
    of_a, of_b = list(range(ndims[0])), list(range(ndims[0], sum(ndims)))
    if isinstance(dims, int):
        pairs = [(ndims[0] - dims + k, k) for k in range(dims)]
    else:
        left, right = ([part] if isinstance(part, int) else list(part) for part in dims)
        pairs = [(p % ndims[0], q % ndims[1]) for p, q in zip(left, right, strict=True)]
    for p, q in pairs:
        of_b[q] = of_a[p]
    return [of_a, of_b], [n for n in of_a if n not in of_b] + [n for n in of_b if n not in of_a]


def einsum(equation: str, *operands: np.ndarray) -> np.ndarray:
    """NumPy's, with torch's ellipsis: dimensions under one that the result lacks are summed."""
    labels, output = einsum_labels(equation, [operand.ndim for operand in operands])
    return np.einsum(*(part for pair in zip(operands, labels, strict=True) for part in pair), output)


def diag_embed(x: np.ndarray, offset: int, dim1: int, dim2: int) -> np.ndarray:
    size = x.shape[-1] + abs(offset)
    y = np.zeros((*x.shape[:-1], size, size), x.dtype)
    steps = np.arange(x.shape[-1])
    y[..., steps + max(-offset, 0), steps + max(offset, 0)] = x
    return np.moveaxis(y, (-2, -1), (dim1, dim2))


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


def logabsdet(x: np.ndarray) -> np.ndarray:
    sign, value = np.linalg.slogdet(x)
    return value + 1j * (sign.imag / sign.real) if np.iscomplexobj(x) else value


def logdet(x: np.ndarray) -> np.ndarray:
    return np.where(np.linalg.slogdet(x.real).sign < 0, np.nan, logabsdet(x))


def matrix_exp(x: np.ndarray) -> np.ndarray:
    """Taylor's series of x/2ⁿ, squared n times (scaling and squaring).

    Ours, since a complex step does not go through scipy.linalg.expm: the powers of a nilpotent matrix, whose
    norms choose the approximant, vanish, and the derivative at 100 · eye(4, k=-1) toward ones((4, 4)) is off
    by 4%. Its values at norms from 2 to 8 are off by up to 9e-13, ours by 2e-14.
    """
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
