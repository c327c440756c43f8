"""Jᵀ·v to DIGITS decimals, by mpmath: what tells a gradient that has no digit left from a right one.

The text of an expression is evaluated on arrays of mpmath numbers, and differenced with a step that leaves
hundreds of digits. No rule is involved, and no rounding worth the name.
"""

from __future__ import annotations

import types
from collections.abc import Mapping

import mpmath
import numpy as np

DIGITS = 600
STEP = mpmath.mpf(10) ** -40  # of the central differences, relative to |x|: their error is its square
mpmath.mp.dps = DIGITS


def _each(function):  # one number to one number → arrays to arrays
    return np.frompyfunc(function, 1, 1)


def _sum(x, dim=None, keepdim=False):
    return np.sum(x, axis=dim, keepdims=keepdim)


def _mean(x, dim=None, keepdim=False):
    return _sum(x, dim, keepdim) / (np.size(x) if dim is None else np.shape(x)[dim])


def _var(x):
    return _sum((x - _mean(x)) ** 2) / (np.size(x) - 1)


def _softmax(x, dim):
    weights = exp(x)
    return weights / _sum(weights, dim, True)


def _det(a):
    return mpmath.det(mpmath.matrix(a.tolist()))


def _inv(a):
    inverse = mpmath.matrix(a.tolist()) ** -1
    return np.array(inverse.tolist(), dtype=object)


exp, log, sqrt = _each(mpmath.exp), _each(mpmath.log), _each(mpmath.sqrt)
log1p = _each(lambda x: mpmath.log1p(x))
sigmoid = _each(lambda x: 1 / (1 + mpmath.exp(-x)))
softplus = _each(lambda x: mpmath.log1p(mpmath.exp(x)))
tanh, erf = _each(mpmath.tanh), _each(mpmath.erf)
NAMES = {
    **{
        name: _each(getattr(mpmath, name))
        for name in ("sin", "cos", "cosh", "atan", "asinh", "erfc", "expm1")
    },
    "exp": exp,
    "log": log,
    "sqrt": sqrt,
    "log1p": log1p,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "erf": erf,
    "lgamma": _each(mpmath.loggamma),
    "sum": _sum,
    "mean": _mean,
    "prod": lambda x: np.prod(x),
    "norm": lambda x: mpmath.sqrt(_sum(x * x)),
    "var": _var,
    "std": lambda x: mpmath.sqrt(_var(x)),
    "cumsum": lambda x, dim: np.cumsum(x, axis=dim),
    "softmax": _softmax,
    "logsumexp": lambda x, dim: log(_sum(exp(x), dim)),
    "log_softmax": lambda x, dim: x - log(_sum(exp(x), dim, True)),
    "det": _det,
    "inv": _inv,
    "logdet": lambda a: mpmath.log(_det(a)),
    "F": types.SimpleNamespace(
        softplus=softplus,
        logsigmoid=_each(lambda x: -mpmath.log1p(mpmath.exp(-x))),
        gelu=_each(lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2),
        silu=lambda x: x * sigmoid(x),
        mish=lambda x: x * tanh(softplus(x)),
    ),
}


def gradients(expression: str, inputs: Mapping[str, np.ndarray], seed: np.ndarray) -> dict[str, np.ndarray]:
    """Jᵀ·seed for each input, as float64: shaped like it."""
    exactly = np.vectorize(lambda number: mpmath.mpf(float(number)), otypes=[object])
    values = {name: exactly(value) for name, value in inputs.items()}
    code, v = compile(expression, expression, "eval"), exactly(seed).ravel()

    def output(name: str, index: tuple[int, ...], step: mpmath.mpf) -> np.ndarray:
        moved = values[name].copy()
        moved[index] += step
        return np.ravel(eval(code, NAMES, {**values, name: moved}))

    result = {}
    for name, value in values.items():
        gradient = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            h = STEP * (abs(value[index]) or 1)
            change = output(name, index, h) - output(name, index, -h)
            gradient[index] = float(np.dot(v, change) / (2 * h))
        result[name] = gradient
    return result
