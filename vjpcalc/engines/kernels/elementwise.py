"""Kernels on each element: powers, remainders, and special functions.

They are analytic for complex arguments where NumPy's and SciPy's are not.
"""

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


def zeta(s: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Hurwitz's zeta: the sum of (q + k)^-s over k = 0, 1, …; Euler and Maclaurin's sum (DLMF 25.11.28)."""
    s, q = np.broadcast_arrays(s, q)
    lowest = float(np.fmin.reduce(np.ravel(q.real), initial=20.0))
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
    """I_order(x), times exp(-|x|) where ``scaled``: a power series; above 30 DLMF 10.40.1, asymptotic.

    Ours, since SciPy's i0 and i1 take no complex number, and its iv is wrong close to the real axis: the
    imaginary part of iv(0, 2.2 + 1e-90j) is 2.63e-90, which should be i1(2.2) · 1e-90 = 1.91e-90.
    """
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
