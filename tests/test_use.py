"""``--use``: whatever a user's own file and functions do, it is said to be theirs, with an exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

FUNCTIONS = """\
from __future__ import annotations

import sys
from dataclasses import dataclass

import torch


@dataclass
class Power:  # looks its module up
    exponent: int = 3


def cube(x):
    return x ** Power().exponent


def faulty(x):
    return x.nothing


def two(x):
    return x, x


def nothing(x):
    return None


def leaves(x):
    sys.exit("bye")


def factor(x):
    return torch.linalg.cholesky((x + x.mT) / 2)


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return g.nothing


class Misshapen(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return g.repeat(7)
"""
MISSING = "AttributeError: 'Tensor' object has no attribute 'nothing'"

FAULTS = {
    "faulty": f"error: 'faulty' raised {MISSING}",
    "two": "error: 'two' returned a tuple, not a tensor",
    "nothing": "error: 'nothing' returned nothing, not a tensor",
    "leaves": "error: 'leaves' raised SystemExit: bye",
    "Wrong": f"error: 'Wrong.backward' raised {MISSING}",
    "Misshapen": "error: 'Misshapen.backward' returns the shape (14,) for 'x', whose shape is (2,)",
}


@pytest.fixture
def functions(tmp_path: Path) -> str:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    return f"{tmp_path}/functions.py"


def test_a_file_is_imported_as_a_module(cli, functions: str) -> None:
    ran = cli("sum(cube(x))", "x=[1,2]", "--use", f"{functions}:cube", "--only", "x")
    assert (ran.status, ran.out) == (0, "[3.0, 12.0]\n")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_function_is_called_its_own(cli, functions: str, name: str) -> None:
    ran = cli(f"sum({name}(x))", "x=[2,3]", "--use", f"{functions}:{name}")
    assert (ran.status, ran.err.split("\n")[0]) == (3, FAULTS[name])


def test_a_fault_of_a_backward_in_a_jacobian(cli, functions: str) -> None:
    ran = cli("jacobian", "Wrong(x)", "x=2", "--use", f"{functions}:Wrong", "--by", "backward")
    assert (ran.status, ran.err.split("\n")[0]) == (3, FAULTS["Wrong"])


def test_a_function_without_a_value_near_the_point_is_inconclusive(cli, functions: str) -> None:
    matrix = "x=[[1,1-1e-14],[1-1e-14,1]]"
    ran = cli("factor((x + x.T) / 2)", matrix, "--seed", "eye(2)", "--use", f"{functions}:factor")
    assert ran.status == 0
    assert "check ? inconclusive" in ran.out


@pytest.mark.parametrize(
    ("code", "said"), [("", "SystemExit"), ("'no'", "SystemExit: no"), ("0", "SystemExit: 0")]
)
def test_a_file_that_leaves(cli, tmp_path: Path, code: str, said: str) -> None:
    (tmp_path / "leaves.py").write_text(f"import sys\nsys.exit({code})\n")
    ran = cli("x", "x=1", "--use", f"{tmp_path}/leaves.py:f")
    assert ran.status == 4
    assert ran.err == f"error: --use: '{tmp_path}/leaves.py' fails: {said}\n"
