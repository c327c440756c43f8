"""The ending of a program: sums, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest

from vjpcalc.check.ending import ending
from vjpcalc.check.jacobian import Layout, explicit, jacobian
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.job.autograd import forward
from vjpcalc.job.job import make_job

RNG = np.random.default_rng(4)
X = RNG.normal(size=40)


def found(expression: str, x: object = X, outputs: tuple[str, ...] = (), **others: object):
    """The whole program as a function of x, the same up to its ending, and the ending."""
    job = make_job(expression, {"x": x, **others}, wrt="x", outputs=outputs)
    trace = required_reference(forward(job))
    whole = Replay(trace, "x")
    end = ending(trace, whole.varying, whole.targets)
    return whole, None if end is None else Replay(trace, "x", end.targets), end


# (program, other inputs, evaluations up to the ending)
ENDINGS = {
    "a sum": ("sum(tanh(x) ** 2)", {}, 1),
    "a mean": ("mean((x - t) ** 2)", {"t": X**2}, 1),
    "sums of rows": ("sum(reshape(x, (4, 10)) ** 3, 1)", {}, 1),
    "kept dimensions": ("sum(reshape(x, (4, 10)) ** 3, 1, True) * ones(1, 3)", {}, 1),
    "of what has two neighbours": ("sum(x[1:] * x[:-1])", {}, 2),
    "weighted": ("w @ tanh(x)", {"w": X[::-1].copy()}, 1),
    "of two sums": ("2 * sum(exp(x)) - sum(x * x) / 3", {}, 1),
    "moved": ("s = sum(x * x); t = mean(tanh(x)); flip(stack([s, t, s - t]), 0)", {}, 1),
    "beside what is not summed": ("cat([sum(x * x)[None], diff(x)])", {}, 2),
    "subtracted from each": ("x - mean(x)", {}, 1),
    "a norm": ("norm(x)", {}, 1),
    "a root mean square": ("sqrt(mean((x - 1) ** 2))", {}, 1),
    "a logarithm of a sum": ("logsumexp(x, 0)", {}, 1),
    "a quotient of sums": ("sum(exp(x)) / sum(x * x)", {}, 1),
    "norms of rows": ("sum(norm(reshape(x, (4, 10)), dim=1))", {}, 1),
    "a product of sums, one twice": ("s = sum(exp(x)); s * s * sum(x * x)", {}, 1),
    "a softmax that is summed": ("sum(softmax(reshape(x, (10, 4)), 1) ** 2)", {}, 4),
    "a loss": ("cross_entropy(reshape(x, (10, 4)), t)", {"t": np.arange(10) % 4}, 4),
}


@pytest.mark.parametrize("what", ENDINGS)
def test_the_seed_is_taken_back_to_what_is_summed(what: str) -> None:
    """Jᵀ·v column by column, of the whole program, is Kᵀ·(Lᵀ·v)."""
    expression, others, evaluations = ENDINGS[what]
    whole, inner, end = found(expression, **others)
    layout = explicit(inner)
    assert layout.evaluations == evaluations
    v = RNG.normal(size=whole.primal.size)
    column_by_column = jacobian(whole, Layout(explicit(whole).shape, explicit(whole).scale))
    expected = column_by_column.transposed(v)
    np.testing.assert_allclose(jacobian(inner).transposed(end.back(v)), expected, rtol=1e-12, atol=1e-14)
    # sizes: at least as large, for nothing cancels in them
    size = jacobian(inner).transposed(end.back(np.abs(v), sizes=True), np.abs(jacobian(inner).entries))
    assert (size >= np.abs(expected) * (1 - 1e-12)).all()


def test_several_outputs_are_taken_back_together() -> None:
    """c = Σx², d = (x₁, …): the gradient is 2x·v₀ + v₁."""
    _, inner, end = found("c = sum(x * x); d = 1 * x", [1.0, 2.0, 3.0], ("c", "d"))
    seed = end.back(np.array([10.0, 1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(jacobian(inner).transposed(seed), [21.0, 42.0, 63.0])


def test_sizes_do_not_cancel() -> None:
    _, _, end = found("sum(x) - sum(x)", [1.0, 2.0])
    assert end.back(np.ones(1)).tolist() == [0.0, 0.0]
    assert end.back(np.ones(1), sizes=True).tolist() == [2.0, 2.0]


NONE = {
    "nothing is summed": ("tanh(x) * 3", X),
    "a matrix product": ("reshape(x, (4, 10)) @ ones(10, 2)", X),
    "a sum of more than sums": ("x / sum(exp(x))", X),
    "a sum inside": ("tanh(x - mean(x))", X),
    "at a kink": ("abs(sum(x))", [1.0, -1.0]),
    "at a root of 0": ("sqrt(sum(x * x))", [0.0, 0.0]),
    "a logarithm of a sum that cancels": ("log(sum(x))", [1e3, -1e3, 0.5]),
    "a slope that is not there": ("1 / sum(x)", [1.0, -1.0, 1e-300]),
    "what rounding decides": ("log(1 - tanh(sum(x)))", [6.0, 6.0]),
}


@pytest.mark.parametrize("what", NONE)
def test_what_amplifies_or_mixes_is_no_ending(what: str) -> None:
    """It is differentiated with the rest."""
    _, _, end = found(*NONE[what])
    assert end is None
