"""Programs with a function of the user's own, differentiated by the chain rule through it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vjpcalc.check.functions import Functions
from vjpcalc.check.jacobian import Jacobian, explicit, jacobian
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.job.autograd import forward
from vjpcalc.job.job import make_job
from vjpcalc.job.result import Forward
from vjpcalc.limits import DEFAULT_LIMIT

X = np.random.default_rng(5).normal(size=(3, 4))
FUNCTIONS = {
    "f": (lambda x: x * torch.tanh(x), "({0} * tanh({0}))"),
    "soft": (lambda x: torch.softmax(x, -1), "softmax({0}, -1)"),
    "total": (lambda x: (x**3).sum(), "sum({0} ** 3)"),
    "both": (lambda x, y: torch.sin(x) * y, "(sin({0}) * {1})"),
    "cubed": (lambda x: x**3, "({0} ** 3)"),
}


def replay(program: str, x: np.ndarray = X, limit: int = DEFAULT_LIMIT) -> Replay:
    job = make_job(program, {"x": x}, use={name: function for name, (function, _) in FUNCTIONS.items()})
    trace = required_reference(forward(job))
    return Replay(trace, "x", linear=Functions(trace, job.use, limit).linear)


def exact(program: str, x: np.ndarray = X) -> Jacobian:
    """The Jacobian of a program of the language, by complex steps."""
    trace = required_reference(forward(make_job(program, {"x": x})))
    return jacobian(Replay(trace, "x"))


# (program with calls, the same written out, the user's functions being {f} and so on; evaluations it takes)
PROGRAMS = {
    "nothing else": ("f(x)", FUNCTIONS["f"][1].format("x"), 1),
    "behind it": ("f(x) ** 2 + x", FUNCTIONS["f"][1].format("x") + " ** 2 + x", 1),
    "before it": ("f(exp(x))", FUNCTIONS["f"][1].format("exp(x)"), 1),
    "twice": ("y = f(x); f(y)", "y = x * tanh(x); y * tanh(y)", 1),
    "in a loop": (
        "for i in range(3):\n    x = f(x / 2)\nx", "for i in range(3):\n    x = x / 2 * tanh(x / 2)\nx", 1,
    ),
    "one beside another": ("f(x) * both(x, x[0])", "x * tanh(x) * sin(x) * x[0]", 12),
    "two arguments of one": ("both(x, exp(x))", "sin(x) * exp(x)", 12),
    "rows": ("soft(x * x)", "softmax(x * x, -1)", 12),
    "a number": ("log(total(x) + 40) * x", "log(sum(x ** 3) + 40) * x", 12),
    "moved": ("f(x.T)[:2]", "y = x.T; (y * tanh(y))[:2]", 1),
}  # fmt: skip


@pytest.mark.parametrize("what", PROGRAMS)
def test_the_chain_rule_goes_through_it(what: str) -> None:
    program, written_out, evaluations = PROGRAMS[what]
    through = replay(program)
    assert through.analytic
    assert explicit(through).evaluations == evaluations
    found, expected = jacobian(through), exact(written_out).dense()
    off = np.abs(found.dense() - expected)
    assert (off <= found.dense(found.errors) + 1e-15).all()
    assert found.errors.max() <= 1e-8 * np.abs(expected).max()


def test_no_term_drowns_another() -> None:
    """Differences of the whole sum would see nothing of the small one: 1e24 has no digit for it."""
    x = np.array([1.0, 1e8, 1e-3])
    found = jacobian(replay("sum(cubed(x))", x))
    np.testing.assert_allclose(found.dense()[0], 3 * x**2, rtol=1e-9)
    assert (found.dense(found.errors)[0] <= 1e-8 * 3 * x**2).all()


def test_a_function_is_differentiated_once() -> None:
    calls = 0

    def counted(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return x.cumsum(0)

    job = make_job("sum(f(x * y)) * y", {"x": [1.0, 2.0], "y": [3.0, 4.0]}, use={"f": counted})
    trace = required_reference(forward(job))
    functions = Functions(trace, job.use, DEFAULT_LIMIT)
    jacobian(Replay(trace, "x", linear=functions.linear))
    once = calls
    jacobian(Replay(trace, "y", linear=functions.linear))
    assert calls == once


# What is not differentiated by itself: the program is, as a whole.
WITHOUT = {
    "a kink": (lambda x: x.relu(), np.array([0.0, 1.0]), DEFAULT_LIMIT),
    "what would cost too much": (lambda x: x @ x, np.eye(6), 1000),
    "no number": (lambda x: x.log(), np.array([-1.0, 1.0]), DEFAULT_LIMIT),
}


@pytest.mark.parametrize("what", WITHOUT)
def test_what_has_no_derivative_of_its_own(what: str) -> None:
    function, x, limit = WITHOUT[what]
    job = make_job("f(x) * 2", {"x": x}, use={"f": function})
    trace = required_reference(forward(job))
    program = Replay(trace, "x", linear=Functions(trace, job.use, limit).linear)
    assert (program.analytic, program.linear) == (False, {})


def functions_of(program: str, **more: object) -> tuple[Functions, Forward]:
    use = {name: function for name, (function, _) in FUNCTIONS.items()} | more
    run = forward(make_job(program, {"x": X}, use=use))
    return Functions(required_reference(run), run.job.use, DEFAULT_LIMIT), run


def test_each_node_is_known_beside_torchs() -> None:
    """The same call in a loop is one node a turn, in both traces."""
    functions, run = functions_of("for i in range(3):\n    x = f(x / 2)\nsoft(x)")
    beside = functions.beside(run.trace)
    assert [node.operator.name for node in beside] == ["f", "f", "f", "soft"]
    for own, other in beside.items():
        np.testing.assert_allclose(other.value, own.value.detach().numpy(), rtol=1e-14)


@pytest.mark.parametrize(
    ("program", "whole"),
    [("f(x)", True), ("soft(x)", True), ("f(x) * 1", False), ("both(x, x)", False), ("f(f(x))", False)],
)
def test_a_program_that_is_one_function_is_judged_as_one(program: str, whole: bool) -> None:
    functions, _ = functions_of(program)
    witness = functions.whole("x")
    assert (witness is not None) == whole
    if witness is not None:
        written_out = FUNCTIONS[program[:-3]][1].format("x")
        np.testing.assert_allclose(
            witness.jacobian.dense(), exact(written_out).dense(), rtol=1e-7, atol=1e-12
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_function_rounds_to_is_known(dtype: torch.dtype) -> None:
    functions, _ = functions_of("narrow(x)", narrow=lambda x: torch.sin(x.to(dtype)).double())
    witness = functions.whole("x")
    assert witness is not None
    assert functions.rounded_to(witness.replay) == torch.finfo(dtype).eps / 2


def test_what_computes_in_float64_rounds_to_nothing() -> None:
    functions, _ = functions_of("f(x)")
    assert functions.rounded_to(functions.whole("x").replay) == 0.0
