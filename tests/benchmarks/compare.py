"""Each figure beside a rival's from the same run, and their ratio: ``python tests/benchmarks/compare.py``

Runs alternate (ours, the rival's, ours, …), so that a machine that changes speed does so for both; the median
counts. Nothing here is asserted: a test must not depend on how busy a machine is.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import vjpcalc

SCRIPT = """
import torch
a = torch.tensor([[0., 0], [2, 2]], dtype=torch.float64, requires_grad=True)
b = torch.tensor([[1., 2], [1, 2]], dtype=torch.float64, requires_grad=True)
(a @ b).backward(torch.tensor([[1., 2], [3, 4]], dtype=torch.float64))
print(a.grad, b.grad)
"""
MATRICES = ["a=[[0,0],[2,2]]", "b=[[1,2],[1,2]]", "--seed", "[[1,2],[3,4]]"]


Function = Callable[[], object]


def process(*command: str) -> Function:
    return lambda: subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)


def compare(title: str, ours: Function, rival: Function, name: str, runs: int = 7) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for function in (ours, rival):
        function()  # warm up
    for _ in range(runs):
        for function, taken in zip((ours, rival), times, strict=True):
            started = time.perf_counter()
            function()
            taken.append(time.perf_counter() - started)
    mine, other = (statistics.median(taken) * 1e3 for taken in times)
    print(f"{title:<52} {mine:9.2f} ms   {name:<28} {other:9.2f} ms   ratio {mine / other:5.2f}")


def gradcheck(function: Callable[..., torch.Tensor], *shapes: tuple[int, ...]) -> Callable[[], object]:
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    return lambda: torch.autograd.gradcheck(function, inputs)


def main() -> None:
    print("whole processes")
    checked, script = process("-m", "vjpcalc", "a @ b", *MATRICES), process("-c", SCRIPT)
    compare("vjpcalc 'a @ b', checked", checked, script, "a torch script, unchecked", 5)
    helping, importing = process("-m", "vjpcalc", "--help"), process("-c", "import torch")
    compare("vjpcalc --help", helping, importing, "import torch", 5)

    print("\nthe gradients and their check, in process")
    x, w = np.random.default_rng(0).normal(size=(20, 10)), np.random.default_rng(1).normal(size=(10, 5))
    compare(
        "sum(tanh(x @ w)**2), 250 leaf elements",
        lambda: vjpcalc.vjp("sum(tanh(x @ w)**2)", {"x": x, "w": w}),
        gradcheck(lambda x, w: (torch.tanh(x @ w) ** 2).sum(), (20, 10), (10, 5)),
        "torch.autograd.gradcheck",
    )
    ones = np.ones((30, 30))
    compare(
        "tanh(x) * exp(-x**2), J of 900 by 900",
        lambda: vjpcalc.vjp("tanh(x) * exp(-x**2)", {"x": ones}, ones),
        gradcheck(lambda x: torch.tanh(x) * torch.exp(-(x**2)), (30, 30)),
        "torch.autograd.gradcheck",
        3,
    )
    matrix = np.random.default_rng(2).normal(size=(12, 12)) + 20 * np.eye(12)
    compare(
        "inv(x), J of 144 by 144",
        lambda: vjpcalc.vjp("inv(x)", {"x": matrix}, np.ones((12, 12))),
        gradcheck(lambda x: torch.linalg.inv(x + 20 * torch.eye(12)), (12, 12)),
        "torch.autograd.gradcheck",
    )
    big = np.random.default_rng(0).normal(size=1_000_000)
    compare(
        "tanh(x), a million elements, every entry checked",
        lambda: vjpcalc.vjp("tanh(x)", {"x": big}, big),
        lambda: vjpcalc.vjp("tanh(x)", {"x": big}, big, check="off"),
        "the same, --check off",
        3,
    )
    stencil, x, ones = "d = x[2:] - 2*x[1:-1] + x[:-2]; d - exp(x[1:-1])", big[:200_000], np.ones(199_998)
    compare(
        "three diagonals of 200,000, every entry checked",
        lambda: vjpcalc.vjp(stencil, {"x": x}, ones),
        lambda: vjpcalc.vjp(stencil, {"x": x}, ones, check="probe"),
        "the same, --check probe",
        3,
    )


if __name__ == "__main__":
    main()
