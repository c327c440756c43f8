"""Programs cut at a mean, a norm or another narrow sum: J is as if not cut, and explicit at any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import vjpcalc
from vjpcalc import VJP
from vjpcalc.check.cut import cut
from vjpcalc.check.functions import Functions
from vjpcalc.check.jacobian import Layout, explicit, jacobian
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.check.verdict import check
from vjpcalc.job.autograd import forward
from vjpcalc.job.job import make_job
from vjpcalc.limits import DEFAULT_LIMIT

RNG = np.random.default_rng(12)
LARGE = 20_000
USE = {"f": lambda x, s: torch.tanh(x) * s}


def replay(expression: str, x: np.ndarray) -> Replay:
    job = make_job(expression, {"x": x}, use=USE)
    trace = required_reference(forward(job))
    return Replay(trace, "x", linear=Functions(trace, job.use, DEFAULT_LIMIT).linear)


# (program with N for the size of x, how many sums it is cut at, evaluations of what is left)
CUT = {
    "scaled by its mean": ("x * mean(x)", 1, 1),
    "by its norm": ("x / norm(x)", 1, 1),
    "by itself": ("x / (x @ x)", 1, 1),
    "by a product with another": ("x / (x @ exp(x))", 1, 1),
    "standardized": ("(x - mean(x)) / std(x)", 3, 1),
    "layer_norm": ("layer_norm(x, (N,))", 2, 1),
    "softmax": ("softmax(x, 0)", 1, 1),
    "a loss of a softmax": ("sum(softmax(x, 0) ** 2)", 2, 1),
    "a variance": ("var(x)", 2, 1),
    "one after the other": ("y = x / norm(x); softmax(y * sum(y), 0)", 3, 1),
    "of parts": ("cat([x[1:] * mean(x[:5]), x[:1]])", 1, 1),
    "of columns": ("y = x.reshape(-1, 4); y / sum(exp(y), 0)", 4, 1),
    "with neighbours": ("x[1:] * x[:-1] * mean(x ** 2)", 1, 2),
    "the sum is an output, too": ("s = sum(x ** 2); cat([x * s, s.reshape(1)])", 1, 1),
    "nothing but sums": ("stack([sum(x), sum(x ** 2), x @ x])", 3, 1),
    "a function of the user's": ("f(x, mean(x ** 2))", 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("what", CUT)
def test_the_chain_rule_puts_together_what_was_cut(what: str) -> None:
    """Beside the full Jacobian, one evaluation for each column."""
    expression, sums, evaluations = CUT[what]
    whole = replay(expression.replace("N", "60"), RNG.uniform(0.5, 2, 60))
    v = RNG.normal(size=whole.primal.size)
    full = jacobian(whole, Layout(explicit(whole).shape, explicit(whole).scale))
    parted = cut(whole)
    assert parted is not None
    inner, found = parted
    assert found.words == f", {sums} sum{'s' * (sums > 1)} apart"
    layout = explicit(inner)
    assert layout.evaluations == evaluations
    left = jacobian(inner, layout)
    scale = np.abs(v) @ np.abs(full.dense())
    precise = 1e-8 if "f(" in expression else 1e-13  # differences
    np.testing.assert_array_less(
        np.abs(left.transposed(found.back(v)) - full.transposed(v)), precise * scale + 1e-300
    )
    sizes = left.transposed(found.back(np.abs(v), sizes=True), np.abs(left.entries))
    assert (sizes >= scale * (1 - 1e-12)).all()  # of terms that cancel nothing is lost
    assert (found.doubt(np.abs(v)) >= 0).all()


NOT_CUT = {
    "no sum": "cumsum(x, 0)",
    "a sum of many numbers": "y = x.reshape(-1, 20); sum(y, 1)[:, None] * cumsum(y, 0)",
    "at a kink that moves with the sum": "relu(x - mean(x) * 0 - 1)",
    "a slope that is not finite": "x * sqrt(sum(x - x))",
    "differences": "x * mean(erfinv(x / 3))",
    "a mean that cancels": "layer_norm(x * 1e-4 + 9, (400,))",
}


@pytest.mark.parametrize("what", NOT_CUT)
def test_what_cannot_be_cut_is_not(what: str) -> None:
    x = np.where(np.arange(400) == 3, 1.0, RNG.uniform(1.25, 2, 400))
    assert cut(replay(NOT_CUT[what], x)) is None


def corrupted(result: VJP, element: int, relative: float) -> VJP:
    gradient = result.gradients["x"].clone()
    gradient.view(-1)[element] *= 1 + relative
    return replace(result, gradients={"x": gradient})


@pytest.mark.parametrize("n", [200, LARGE])
@pytest.mark.parametrize("what", ["by its norm", "layer_norm", "softmax", "standardized", "with neighbours"])
def test_an_error_of_one_element_is_seen_at_any_size(what: str, n: int) -> None:
    expression = CUT[what][0].replace("N", str(n))
    x = RNG.normal(size=n)
    m = n - 1 if what == "with neighbours" else n
    result = check(vjpcalc.vjp(expression, {"x": x}, RNG.normal(size=m), check="off"))
    assert (result.check.method, result.check.status) == ("explicit", "passed")
    wrong = check(corrupted(result, 77, 1e-7)).check.leaves["x"]
    assert (wrong.status, wrong.index, wrong.wrong) == ("failed", (77,), 1)


def test_so_is_one_of_a_functions_own() -> None:
    """What the function gives to its second argument, a number, is summed over all of its outputs."""
    x = RNG.uniform(0.5, 2, LARGE)
    result = vjpcalc.vjp("f(x, mean(x ** 2))", {"x": x}, np.ones(LARGE), use=USE)
    leaf = result.check.leaves["x"]
    assert (result.check.method, leaf.status) == ("explicit", "passed")
    assert leaf.structure == "one entry a row, 1 sum apart"
    wrong = check(corrupted(result, 5, 1e-5)).check.leaves["x"]
    assert (wrong.status, wrong.index) == ("failed", (5,))


def test_torchs_own_error_is_seen_through_a_norm() -> None:
    """Its derivative of sinc near 0 cancels: at 1e-6 it is off by 1e-5."""
    x = RNG.uniform(0.5, 2, LARGE)
    x[7] = 1e-6
    leaf = vjpcalc.vjp("d = sinc(x); d / norm(x)", {"x": x}, RNG.normal(size=LARGE)).check.leaves["x"]
    assert (leaf.status, leaf.index) == ("failed", (7,))


def test_saturated_elements_are_not_wrong_by_chance() -> None:
    """Of thousands whose slope is rounding alone, the noise of two terms cancels in a few."""
    x = np.random.default_rng(0).normal(size=6000) * 10
    found = vjpcalc.vjp("sqrt(1 + tanh(x*3)**2) + sqrt(1 + tanh(x*3)**2)", {"x": x}, np.ones(6000)).check
    assert found.status == "inconclusive"
