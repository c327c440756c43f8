"""A function of the user's own: its default dtype in every run, the reference's float64, its precision."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

import vjpcalc
from vjpcalc import Diagnostic
from vjpcalc.emit import script
from vjpcalc.engines.yours import EPS, UNSEEN, Yours, default_dtype
from vjpcalc.explain.walk import explain

DTYPES = ["float64", "float32", "float16", "bfloat16"]
Function = Callable[..., torch.Tensor]


def scaled(x):
    return x * torch.tensor(0.1)


def gelu(x):
    c = torch.sqrt(torch.tensor(2.0 / math.pi))
    return 0.5 * x * (1 + torch.tanh(c * (x + 0.044715 * x**3)))


def smoothed(x):
    kernel = torch.tensor([0.25, 0.5, 0.25])
    return torch.nn.functional.conv1d(x.view(1, 1, -1), kernel.view(1, 1, -1)).view(-1)


def placed(x):
    return x + torch.sin(torch.arange(3) / 10)


def buffered(x):
    out = torch.zeros(2)
    out[0] = x[0] * x[1]
    out[1] = x[0]
    return out


def weighted(x):
    return x @ torch.ones(3)


def gelu_slope(x: float) -> float:
    c = math.sqrt(2 / math.pi)
    t = math.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2)


# with a tensor made inside: the function, and the gradient of its sum at [1, 2, 0.5]
MADE_INSIDE: dict[str, tuple[Function, list[float]]] = {
    "a number": (scaled, [0.1, 0.1, 0.1]),
    "a root of one": (gelu, [gelu_slope(1.0), gelu_slope(2.0), gelu_slope(0.5)]),
    "a kernel to convolve with": (smoothed, [0.25, 0.5, 0.25]),
    "whole numbers divided": (placed, [1, 1, 1]),
    "a buffer that is filled": (buffered, [3, 1, 0]),
    "a vector to multiply with": (weighted, [1, 1, 1]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("what", MADE_INSIDE)
def test_what_a_function_makes_inside_has_the_dtype_of_the_job(what: str, dtype: str) -> None:
    function, by_hand = MADE_INSIDE[what]
    result = vjpcalc.vjp("sum(f(x))", {"x": [1.0, 2.0, 0.5]}, use={"f": function}, dtype=dtype)
    eps = torch.finfo(getattr(torch, dtype)).eps
    assert result.gradients["x"].double().numpy() == pytest.approx(by_hand, rel=4 * eps)
    assert result.check.status == "passed", result.check


NETWORK = torch.nn.Linear(3, 2, dtype=torch.float32)
RECURRENT = torch.nn.GRU(3, 2, dtype=torch.float32)


@pytest.mark.parametrize("function", [NETWORK.forward, lambda x: RECURRENT(x.view(1, 1, 3))[0]])
def test_float32_weights_from_elsewhere_are_widened_or_kept(function: Function) -> None:
    result = vjpcalc.vjp("sum(tanh(f(x)))", {"x": [1.0, 2.0, 0.5]}, use={"f": function}, dtype="float32")
    assert result.check.leaves["x"].differentiation == "central differences"
    assert result.check.status != "failed", result.check


CUT = {
    "item": (lambda x: torch.tensor(x.sum().item() ** 2), [6, 6]),
    "item of one element": (lambda x: torch.tensor(x[0].item() ** 2), [2, 0]),
    "item, with a gradient of its own": (
        lambda x: torch.tensor(x.sum().item() ** 2, requires_grad=True),
        [6, 6],
    ),
    "detach": (lambda x: x.detach().sum() ** 2, [6, 6]),
    "NumPy": (lambda x: torch.from_numpy(np.asarray(np.sum(x.detach().numpy()) ** 2)), [6, 6]),
}


@pytest.mark.parametrize("what", CUT)
def test_a_graph_that_is_cut_fails(what: str) -> None:
    """Its forward moves, and no gradient arrives: no kink excuses that."""
    function, by_hand = CUT[what]
    leaf = vjpcalc.vjp("f(x)", {"x": [1.0, 2.0]}, use={"f": function}).check.leaves["x"]
    assert leaf.status == "failed"
    assert leaf.jt_seed == pytest.approx(by_hand, rel=1e-8, abs=1e-12)


# ---- one default dtype -------------------------------------------------------------------------------------


class Asked(torch.autograd.Function):
    """2x; it writes down under which default dtype it is asked, forward and backward."""

    seen: list[torch.dtype] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx, x):
        Asked.seen.append(torch.get_default_dtype())
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        Asked.seen.append(torch.get_default_dtype())
        return 2 * g


RUNS: dict[str, Callable[[str], object]] = {
    "vjp": lambda dtype: vjpcalc.vjp("sum(f(x))", {"x": [1.0]}, use={"f": Asked}, dtype=dtype),
    "explain": lambda dtype: explain(
        vjpcalc.vjp("sum(f(x))", {"x": [1.0]}, use={"f": Asked}, dtype=dtype, check="off"), arithmetic=True
    ),
    "jacobian": lambda dtype: vjpcalc.jacobian("f(x)", {"x": [1.0, 2.0]}, use={"f": Asked}, dtype=dtype),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("run", RUNS)
def test_every_run_has_the_default_dtype_of_the_job(run: str, dtype: str) -> None:
    Asked.seen.clear()
    before = torch.get_default_dtype()
    RUNS[run](dtype)
    assert set(Asked.seen) == {getattr(torch, dtype)}
    assert torch.get_default_dtype() == before


COMMAND_LINES = {
    "explain": ["explain", "sum(scaled(x))", "x=[1,2]"],
    "jacobian": ["jacobian", "scaled(x)", "x=[1,2]", "--by", "numeric,backward,forward"],
    "vjp": ["sum(scaled(x))", "x=[1,2]"],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("command", COMMAND_LINES)
def test_the_command_line_agrees_with_itself(cli, tmp_path, command: str, dtype: str) -> None:
    (tmp_path / "own.py").write_text("import torch\n\ndef scaled(x):\n    return x * torch.tensor(0.1)\n")
    ran = cli(*COMMAND_LINES[command], "--use", f"{tmp_path}/own.py:scaled", "--dtype", dtype)
    assert ran.status == 0, ran.out


def test_a_batch_agrees_with_itself(cli, tmp_path) -> None:
    """One file is loaded once, and its function runs in jobs of every dtype."""
    (tmp_path / "own.py").write_text("import torch\n\ndef scaled(x):\n    return x * torch.tensor(0.1)\n")
    jobs = [{"expression": "sum(scaled(x))", "inputs": {"x": [1, 2]}, "dtype": dtype} for dtype in DTYPES]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs))
    ran = cli("batch", f"{tmp_path}/jobs.jsonl", "--use", f"{tmp_path}/own.py:scaled")
    assert [json.loads(line)["check"]["status"] for line in ran.out.splitlines()] == ["passed"] * len(DTYPES)


def test_the_default_dtype_comes_back_after_a_fault() -> None:
    def faulty(x):
        raise ValueError("no")

    before = torch.get_default_dtype()
    with pytest.raises(Diagnostic, match="'faulty' raised ValueError: no"):
        vjpcalc.vjp("faulty(x)", {"x": 1.0}, use={"faulty": faulty}, dtype="float16")
    assert torch.get_default_dtype() == before


def test_threads_that_want_different_dtypes_wait_for_each_other() -> None:
    """torch has one default dtype for the whole process."""
    wrong = []

    def run(dtype: torch.dtype) -> None:
        for _ in range(50):
            with default_dtype(dtype), default_dtype(dtype):
                wrong.extend(made.dtype for made in [torch.tensor(0.1)] if made.dtype != dtype)

    before = torch.get_default_dtype()
    threads = [threading.Thread(target=run, args=(dtype,)) for dtype in (torch.float64, torch.float16) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, torch.get_default_dtype()) == ([], before)


def test_an_emitted_script_still_knows_where_a_function_comes_from() -> None:
    result = vjpcalc.vjp("sum(Asked(x))", {"x": [1.0]}, use={"Asked": Asked}, check="off")
    text = script(result, "torch")
    assert f"from {__name__} import Asked" in text
    assert "Asked.apply(x)" in text


# ---- how precisely it computes -----------------------------------------------------------------------------

ELSEWHERE = torch.tensor([1.0, 2.0])

# the function, the eps that it works with, and whether it takes whole steps
PRECISE: dict[str, tuple[Function, float, bool]] = {
    "float64 throughout": (lambda x: torch.tanh(x) * 2 + x.sum(), EPS, False),
    "an autograd.Function": (Asked.apply, EPS, False),
    "a mask": (lambda x: torch.where(x > 0, x, 0.1 * x), EPS, False),
    "a number made inside": (lambda x: x * torch.tensor(0.1, dtype=torch.float32), EPS, False),
    "rounded to float32": (lambda x: x.float().exp().double(), UNSEEN, False),
    "a buffer in float32": (lambda x: torch.zeros(2, dtype=torch.float32).copy_(x), UNSEEN, False),
    "rounded to float16": (lambda x: x.half().double(), 2.0**-10, False),
    "rounded to bfloat16": (lambda x: torch.sin(x.bfloat16()).double(), 2.0**-7, False),
    "whole numbers": (lambda x: torch.round(x * 8) / 8, EPS, True),
    "an index": (lambda x: x[x.argmax()], EPS, True),
    "out of sight: NumPy": (lambda x: torch.from_numpy(np.exp(x.numpy())), UNSEEN, False),
    "out of sight: a number": (lambda x: torch.tensor(x.sum().item(), dtype=torch.float64), UNSEEN, False),
    "a tensor from elsewhere": (lambda x: x * ELSEWHERE, UNSEEN, False),
}


@pytest.mark.parametrize("what", PRECISE)
def test_how_precisely_a_function_computes_is_seen(what: str) -> None:
    function, eps, stepped = PRECISE[what]
    precision = Yours(function, torch.float64).precision([np.array([0.3, 0.7])], {})
    assert precision == (eps, stepped, "elsewhere" not in what and "out of sight" not in what)
