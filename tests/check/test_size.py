"""The verdict does not depend on size: an error that is seen in a small leaf is seen in a large one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import vjpcalc
from vjpcalc import VJP
from vjpcalc.check.verdict import check

RNG = np.random.default_rng(11)
LARGE = 20_000


def corrupted(result: VJP, element: int, relative: float) -> VJP:
    """The same with one element of x's gradient wrong by a relative error."""
    gradient = result.gradients["x"].clone()
    gradient.view(-1)[element] *= 1 + relative
    return replace(result, gradients={**result.gradients, "x": gradient})


# (program, the size of a dimension beside the first, the shape of the seed, what is told of n = 20,000)
PROGRAMS = {
    "elementwise": ("tanh(x) * x", 1, "x", "one entry a row"),
    "a scalar loss": ("sum(tanh(x)**2)", 1, "()", "one entry a row, before the last sum"),
    "a norm": ("norm(x - 2)", 1, "()", "one entry a row, before the last sum"),
    "neighbours": ("x[2:] * x[1:-1] - x[:-2]", 1, "x[2:]", "coloured: 3 evaluations for 20,000 columns"),
    "a smoothness penalty": ("mean(diff(x)**2)", 1, "()",
                             "coloured: 2 evaluations for 20,000 columns, before the last sum"),
    "one element in all": ("x[1:] * x[:-1] + x[0]", 1, "x[1:]", "coloured: 3 evaluations for 20,000 columns"),
    "softmax of rows": ("softmax(x, 1)", 8, "x", "coloured: 8 evaluations for 20,000 columns"),
    "a loss of classes": ("cross_entropy(x, arange(numel(x) // 4) % 4)", 4, "()",
                          "coloured: 4 evaluations for 20,000 columns, before the last sum"),
    "a centred vector": ("x - mean(x)", 1, "x", "one entry a row, before the last sum"),
    "by its largest": ("x / max(x)", 1, "x", "coloured: 2 evaluations for 20,000 columns"),
}  # fmt: skip


@pytest.mark.parametrize("n", [200, LARGE])
@pytest.mark.parametrize("what", PROGRAMS)
def test_one_part_in_ten_million_of_one_element_fails(what: str, n: int) -> None:
    expression, wide, like, structure = PROGRAMS[what]
    x = RNG.uniform(0.5, 2, n if wide == 1 else (n // wide, wide))
    seed = None if like == "()" else RNG.uniform(0.5, 2, {"x": x, "x[1:]": x[1:], "x[2:]": x[2:]}[like].shape)
    result = check(vjpcalc.vjp(expression, {"x": x}, seed, check="off"))
    leaf = result.check.leaves["x"]
    assert (leaf.status, result.check.method) == ("passed", "explicit"), leaf.reason
    assert leaf.jacobian_shape == (sum(output.numel() for output in result.outputs.values()), x.size)
    if n == LARGE:
        assert leaf.structure == structure
    wrong = check(corrupted(result, 77, 1e-7)).check.leaves["x"]
    assert (wrong.status, wrong.index) == ("failed", tuple(np.unravel_index(77, x.shape)))


@pytest.mark.parametrize("n", [200, LARGE])
@pytest.mark.parametrize("expression", ["d = sinc(x); d[1:] - d[:-1]", "sum(sinc(x)**2)"])
def test_an_error_of_torchs_own_is_seen_at_any_size(expression: str, n: int) -> None:
    """torch's derivative of sinc near 0 cancels; that of x = 1e-6 is off by 1e-5."""
    x = RNG.uniform(0.5, 2, n)
    x[7] = 1e-6
    seed = None if expression.startswith("sum") else RNG.normal(size=n - 1)
    leaf = vjpcalc.vjp(expression, {"x": x}, seed).check.leaves["x"]
    assert (leaf.status, leaf.index) == ("failed", (7,))


def test_a_tridiagonal_of_200_000_is_checked_entry_by_entry() -> None:
    x = np.linspace(0, 1, 200_000)
    result = vjpcalc.vjp("d = x[2:] - 2*x[1:-1] + x[:-2]; d - exp(x[1:-1])", {"x": x}, np.ones(199_998))
    leaf = result.check.leaves["x"]
    assert (leaf.status, leaf.structure) == ("passed", "coloured: 3 evaluations for 200,000 columns")
    wrong = check(corrupted(result, 123_456, 1e-9)).check.leaves["x"]
    assert (wrong.status, wrong.index) == ("failed", (123_456,))


def test_dense_columns_alone_are_probed() -> None:
    """Every row of the scan may have all of its 1,000 elements; of the other columns each is checked."""
    x = RNG.normal(size=LARGE)
    seed = RNG.normal(size=LARGE + 999)
    result = vjpcalc.vjp("cat([x[1:] * x[:-1], logcumsumexp(x[:1000], 0)])", {"x": x}, seed)
    leaf = result.check.leaves["x"]
    assert (result.check.method, leaf.status, leaf.jt_seed) == ("probe", "passed", None)
    assert "the other" in leaf.structure
    assert leaf.structure.endswith("are probed along 8 random directions")
    (said,) = leaf.sentences("x")
    assert said.startswith("x: in part compared along random directions, which add those elements up")
    wrong = check(corrupted(result, 15_000, 1e-7)).check.leaves["x"]
    assert (wrong.status, wrong.index) == ("failed", (15_000,))
    probed = check(corrupted(result, 999, 1e-2)).check.leaves["x"]
    assert (probed.status, probed.index) == ("failed", None)
    both = check(corrupted(corrupted(result, 15_000, 1e-7), 999, 1e-2)).check.leaves["x"]
    assert (both.status, both.index, both.wrong) == ("failed", (15_000,), 1)


def test_the_limit_still_stops_what_shares_nothing() -> None:
    x = RNG.normal(size=(60, 40))
    result = vjpcalc.vjp("sum(inv(x @ x.T + eye(60)))", {"x": x}, check_limit=1000)
    assert (result.check.method, result.check.leaves["x"].structure) == ("probe", None)


def test_a_kink_beside_is_no_kink_of_its_neighbours() -> None:
    """Columns of one evaluation: only what the kink is in is in doubt."""
    x = np.where(np.arange(300) == 150, 0.0, 1.5)
    result = vjpcalc.vjp("d = relu(x); d[1:] + d[:-1]", {"x": x}, np.ones(299))
    leaf = result.check.leaves["x"]
    assert (leaf.status, leaf.index) == ("inconclusive", (150,))
