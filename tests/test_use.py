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


class Base(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, k, b):
        return a * b.sum() * k


class Misshapen(Base):
    @staticmethod
    def backward(ctx, g):
        return g, None, g.repeat(7, 1)


class Transposed(Base):
    @staticmethod
    def backward(ctx, g):
        return g.T, None, None


class Few(Base):
    @staticmethod
    def backward(ctx, g):
        return g, g.sum()


class Many(Base):
    @staticmethod
    def backward(ctx, g):
        return g, None, None, g


class Listed(Base):
    @staticmethod
    def backward(ctx, g):
        return [g, None, None]


class Numbered(Base):
    @staticmethod
    def backward(ctx, g):
        return g, None, 1.0


class Elsewhere(Base):
    @staticmethod
    def backward(ctx, g):
        return g.to("meta"), None, None


class Complex(Base):
    @staticmethod
    def backward(ctx, g):
        return g * 1j, None, None


class Leaves(Base):
    @staticmethod
    def backward(ctx, g):
        sys.exit(3)


class Helped(Base):
    @staticmethod
    def backward(ctx, g):
        return helper({}, g)


def helper(slopes, g):
    return torch.stack(
        slopes["a"],
    )


class Modern(torch.autograd.Function):  # its forward has no context
    @staticmethod
    def forward(a, k, b):
        return a * b.sum() * k

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return g, None, g


class Any(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *tensors):
        return tensors[0] * 1

    @staticmethod
    def backward(ctx, g):
        return g, None, g[:1].sum(1)


def inside(a, k, b):
    return Misshapen.apply(a, 3, torch.cat([b, b]))


def hooked(a, k, b):
    y = a * b.sum()
    y.register_hook(lambda g: g.nothing)
    return y


class Sparse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return (2 * g).to_sparse()


class Nothing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return None


modern = Modern.apply
"""
MISSING = "AttributeError: 'Tensor' object has no attribute 'nothing'"


def at(text: str, after: str = "") -> str:
    """Where in FUNCTIONS a text stands, below another: ``functions.py:12``."""
    start = FUNCTIONS.index(text, FUNCTIONS.index(after))
    return f"functions.py:{FUNCTIONS.count(chr(10), 0, start) + 1}"


def backward(name: str) -> str:
    return at("def backward", f"class {name}(")


def here(text: str, after: str = "") -> str:
    """What is said of a line on which something was raised."""
    return f" ({at(text, after)})\n%shint: {at(text, after)} is  {text}\n"


FAULTS = {
    "faulty": f"'faulty' raised {MISSING}" + here("return x.nothing") % "  sum(faulty(x))\n      ^^^^^^^^^\n",
    "two": "'two' returned a tuple, not a tensor",
    "nothing": "'nothing' returned nothing, not a tensor",
    "leaves": f"'leaves' raised SystemExit: bye ({at('sys.exit')})",
    "Wrong": f"'Wrong.backward' raised {MISSING}" + here("return g.nothing") % "",
}

# What is said of f(a, k, b), where a has the shape (2, 3) and b (4,): in a file, a number is a tensor too.
BACKWARDS = {
    "Misshapen": f"gives 'b' a gradient of shape (14, 3), not (4,) ({backward('Misshapen')})\n"
    "hint: a gradient has one number for each element of its argument, in its shape",
    "Transposed": f"gives 'a' a gradient of shape (3, 2), not (2, 3) ({backward('Transposed')})\n"
    "hint: the shape of 'a' in reverse: transpose it, .T",
    "Few": f"returns 2 gradients, not 3 ({backward('Few')})\n"
    "hint: backward returns one for each argument of forward, in order (a, k, b): None for one that is no "
    "tensor",
    "Many": f"returns 4 gradients, not 3 ({backward('Many')})",
    "Listed": f"returns a list, not a tuple ({backward('Listed')})\nhint: return a, b, … without brackets",
    "Numbered": f"gives 'b' a float for a gradient, not a tensor ({backward('Numbered')})",
    "Elsewhere": f"gives 'a' a gradient on the device meta, not cpu ({backward('Elsewhere')})",
    "Complex": f"gives 'a' a gradient of dtype complex128, not float64 ({backward('Complex')})",
    "Leaves": "raised SystemExit: 3" + here("sys.exit(3)") % "",
    "Helped": "raised KeyError: 'a'" + here('slopes["a"],') % "",
    "Modern": f"gives 'b' a gradient of shape (2, 3), not (4,) ({backward('Modern')})",
    "Any": f"gives 'tensors[2]' a gradient of shape (1,), not (4,) ({backward('Any')})",
}
# The same through something else: what is called, and who is at fault.
THROUGH = {
    "modern": ("Modern.backward", BACKWARDS["Modern"]),
    "inside": ("Misshapen.backward", BACKWARDS["Misshapen"].replace("(4,)", "(8,)")),
    "hooked": ("hooked", f"raised {MISSING} ({at('lambda g: g.nothing')})"),
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
    assert ran.status == 3
    assert ran.err.startswith(f"error: {FAULTS[name]}")


@pytest.mark.parametrize("name", [*BACKWARDS, *THROUGH])
def test_a_fault_of_a_backward_names_function_argument_and_line(cli, functions: str, name: str) -> None:
    inputs = ("a=[[1,2,3],[4,5,6]]", "b=[1,2,3,4]")
    ran = cli(f"sum({name}(a, 2, b))", *inputs, "--use", f"{functions}:{name}")
    function, said = THROUGH.get(name) or (f"{name}.backward", BACKWARDS[name])
    assert ran.status == 3
    assert ran.err.startswith(f"error: '{function}' {said}"), ran.err


@pytest.mark.parametrize("command", ["jacobian", "explain"])
def test_it_does_so_in_every_command(cli, functions: str, command: str) -> None:
    ran = cli(command, "Wrong(x)", "x=2", "--use", f"{functions}:Wrong")
    assert ran.status == 3
    assert ran.err.startswith(f"error: {FAULTS['Wrong']}")


def test_a_gradient_that_is_none_is_noted(cli, functions: str) -> None:
    ran = cli("sum(Nothing(x * x))", "x=[1,2]", "--use", f"{functions}:Nothing")
    assert ran.status == 5
    assert (
        "note  x: the gradient is zero: nothing came back through 'Nothing(x * x)' "
        "(its backward returned None, or cuts the graph)"
    ) in ran.out


def test_a_gradient_may_be_sparse(cli, functions: str) -> None:
    ran = cli("sum(Sparse(x * x))", "x=[1,2]", "--use", f"{functions}:Sparse", "--only", "x")
    assert (ran.status, ran.out) == (0, "[4.0, 8.0]\n")


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
