"""The Python API: the same job for whoever has arrays in hand."""

from __future__ import annotations

import inspect
import json
from array import array
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from conftest import validate

import vjpcalc
from vjpcalc import VJP, Diagnostic, jacobian, vjp
from vjpcalc.limits import Limits

A, B, V = [[0, 0], [2, 2]], [[1, 2], [1, 2]], [[1, 2], [3, 4]]
DA, DB = [[5, 5], [11, 11]], [[6, 8], [6, 8]]  # V·Bᵀ and Aᵀ·V, by hand


class Foreign:
    """What another library's array offers."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype)


# every way in → the dtype that the leaf has
WAYS = {
    "lists": (lambda x: x, "float64"),
    "tuples": (lambda x: [tuple(row) for row in x], "float64"),
    "NumPy, float64": (lambda x: np.array(x, float), "float64"),
    "NumPy, float32": (lambda x: np.array(x, np.float32), "float32"),
    "NumPy, big-endian": (lambda x: np.array(x, ">f8"), "float64"),
    "NumPy, read-only": (lambda x: _read_only(np.array(x, float)), "float64"),
    "NumPy, backward": (lambda x: np.array(x, float)[::-1][::-1], "float64"),
    "torch": (lambda x: torch.tensor(x, dtype=torch.float64), "float64"),
    "torch, float16": (lambda x: torch.tensor(x, dtype=torch.float16), "float16"),
    "torch, bfloat16": (lambda x: torch.tensor(x, dtype=torch.bfloat16), "bfloat16"),
    "torch, a parameter": (lambda x: torch.nn.Parameter(torch.tensor(x, dtype=torch.float32)), "float32"),
    "torch, transposed twice": (lambda x: torch.tensor(x, dtype=torch.float64).T.T, "float64"),
    "a list of arrays": (lambda x: [np.array(row) for row in x], "float64"),
    "a list of tensors": (lambda x: [torch.tensor(row, dtype=torch.float32) for row in x], "float64"),
    "a list of leaves": (lambda x: [torch.tensor(row, dtype=torch.float32, requires_grad=True) for row in x],
                         "float64"),
    "a record": (lambda x: {"dtype": "float32", "shape": [2, 2], "data": x}, "float32"),
    "another library": (lambda x: Foreign(np.array(x, np.float32)), "float32"),
}  # fmt: skip


def _read_only(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in(way: str) -> None:
    make, dtype = WAYS[way]
    found = vjp("a @ b", {"a": make(A), "b": make(B)}, make(V))
    assert found.gradients["a"].tolist() == DA
    assert found.gradients["b"].tolist() == DB
    assert str(found.gradients["a"].dtype) == f"torch.{dtype}"
    assert found.check.status == "passed"


def test_the_caller_keeps_what_is_theirs() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    array_ = np.array([3.0, 4.0])
    vjp("sum(x * y)", {"x": x, "y": array_})
    assert x.grad is None
    assert array_.tolist() == [3, 4]
    vjpcalc_owns = vjp("x", {"x": array_}, [1.0, 1.0]).outputs["out"]
    assert vjpcalc_owns.tolist() == [3, 4]


def test_numbers_without_a_dtype() -> None:
    assert vjp("x**2", {"x": 3}).gradients["x"].dtype == torch.float64
    for name in ("float32", "f32", torch.float32, "torch.float32"):
        assert vjp("x**2", {"x": 3}, dtype=name).gradients["x"].dtype == torch.float32
    assert vjp("sum(x)", {"x": array("d", [1, 2])}).gradients["x"].tolist() == [1, 1]


def test_whole_numbers_and_masks_are_constants() -> None:
    found = vjp("sum(where(m, x, k*x))", {"m": [True, False], "x": [1.0, 1.0], "k": np.array([5, 7])})
    assert {name: gradient.tolist() for name, gradient in found.gradients.items()} == {"x": [1, 7]}


def test_wrt() -> None:
    for wrt in ("b", ["b"]):
        assert list(vjp("sum(a * b)", {"a": 2, "b": 3}, wrt=wrt).gradients) == ["b"]


def test_several_outputs_take_seeds_by_name() -> None:
    found = vjp("c = x * 2\nd = x * 3", {"x": [1, 1]}, {"c": [1, 0], "d": [0, 1]}, outputs=["c", "d"])
    assert found.gradients["x"].tolist() == [2, 3]
    assert {name: seed.tolist() for name, seed in found.seeds.items()} == {"c": [1, 0], "d": [0, 1]}
    assert vjp("c = x * 2\nd = x * 3", {"x": 1}, outputs="c").gradients["x"].item() == 2


def test_a_tuple_of_seeds_is_as_many_backward_calls() -> None:
    found = vjp("x**2", {"x": [1, 2]}, ([1, 0], [0, 1], [1, 1]))
    assert found.backward_calls == 3
    assert found.gradients["x"].tolist() == [4, 8]
    assert found.seeds["out"].tolist() == [2, 2]


def test_a_record_as_seed_is_no_mapping_of_outputs() -> None:
    assert vjp("x**2", {"x": [3]}, {"data": [2]}).gradients["x"].tolist() == [12]


def test_use_adds_a_function() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
            return g * 3 * ctx.saved_tensors[0]  # x, where x² is right

    good = vjp("sum(cube(x))", {"x": [1, 2]}, use={"cube": lambda x: x**3})
    bad = vjp("sum(cube(x))", {"x": [1, 2]}, use={"cube": Wrong})
    assert good.gradients["x"].tolist() == [3, 12]
    assert [v.check.status for v in (good, bad)] == ["passed", "failed"]


def test_random_numbers_repeat() -> None:
    first, again, other = (vjp("sum(x * randn(3))", {"x": [1, 1, 1]}, random_seed=seed) for seed in (1, 1, 2))
    assert first.gradients["x"].tolist() == again.gradients["x"].tolist() != other.gradients["x"].tolist()


def test_the_jacobian() -> None:
    found = jacobian("x**2", {"x": [1, 2, 3]})
    assert found["x"].tolist() == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]
    both = jacobian("W @ x", {"W": np.array(A, float), "x": [1, 2]})
    assert both["x"].tolist() == A
    assert tuple(both["W"].shape) == (2, 4)
    assert list(jacobian("W @ x", {"W": A, "x": [1, 2]}, wrt="x")) == ["x"]


def test_the_document_is_that_of_the_command_line(cli) -> None:
    found = vjp("a @ b", {"a": A, "b": B}, V)
    validate(found.to_dict())
    printed = cli("a @ b", f"a={json.dumps(A)}", f"b={json.dumps(B)}", "--seed", json.dumps(V), "--json")
    assert json.loads(printed.out) == found.to_dict()


ERRORS = {
    "the expression": (lambda: vjp("sine(x)", {"x": 1}), "name", "did you mean 'sin'"),
    "syntax": (lambda: vjp("sin(", {"x": 1}), "syntax", "never closed"),
    "shapes": (lambda: vjp("a @ b", {"a": A, "b": [1, 2, 3]}, [1, 2]), "shape", "(2, 2) and (3,)"),
    "no seed": (lambda: vjp("x", {"x": [1, 2]}), "seed", "needs a seed"),
    "a seed's shape": (lambda: vjp("x", {"x": [1, 2]}, 1), "seed", "they must have one shape"),
    "a ragged seed": (lambda: vjp("x", {"x": [1, 2]}, [[1], 2]), "seed", "the seed: a ragged list"),
    "which output": (lambda: vjp("c = x; d = x", {"x": 1}, 1, outputs=["c", "d"]), "seed", "several outputs"),
    "no such output": (lambda: vjp("x", {"x": 1}, {"y": 1}), "seed", "there is no output 'y'"),
    "a ragged list": (lambda: vjp("x", {"x": [1, [2]]}), "input", "'x': a ragged list"),
    "a text": (lambda: vjp("x", {"x": "1"}), "input", "not a number"),
    "nothing": (lambda: vjp("x", {"x": None}), "input", "not a number"),
    "complex numbers": (lambda: vjp("x", {"x": np.array([1j])}), "input", "complex"),
    "complex torch": (lambda: vjp("x", {"x": torch.tensor(1j)}), "input", "complex"),
    "a complex number": (lambda: vjp("x", {"x": 1j}), "input", "not a number"),
    "a sparse tensor": (lambda: vjp("x", {"x": torch.eye(2).to_sparse()}), "input", "sparse"),
    "objects": (lambda: vjp("x", {"x": np.array([object()])}), "input", "dtype object"),
    "a record that contradicts itself": (
        lambda: vjp("x", {"x": {"shape": [3], "data": [1, 2]}}), "input", "shape says (3,)",
    ),
    "too large": (lambda: vjp("x", {"x": 1e40}, dtype="float32"), "input", "too large for float32"),
    "a name": (lambda: vjp("x", {"2x": 1}), "input", "'2x' cannot be a name"),
    "no such leaf": (lambda: vjp("x", {"x": 1}, wrt="y"), "input", "there is no input 'y'"),
    "no leaf": (lambda: vjp("x", {"x": np.array(1)}), "input", "nothing to differentiate"),
    "an integer dtype": (lambda: vjp("x", {"x": 1}, dtype="int64"), "usage", "no floating-point dtype"),
    "no dtype": (lambda: vjp("x", {"x": 1}, dtype="float31"), "usage", "unknown dtype"),
    "no check": (lambda: vjp("x", {"x": 1}, check="maybe"), "usage", "unknown check"),
    "the jacobian's": (lambda: jacobian("sine(x)", {"x": 1}), "name", "did you mean"),
}  # fmt: skip


@pytest.mark.parametrize("what", ERRORS)
def test_an_error_says_whose_it_is(what: str) -> None:
    call, kind, message = ERRORS[what]
    with pytest.raises(Diagnostic) as raised:
        call()
    assert raised.value.kind == kind
    assert message in raised.value.message
    validate(raised.value.to_dict())


def test_names_are_read_as_python_reads_them() -> None:
    """Python takes µ (U+00B5) and μ (U+03BC) for one name, and so do inputs."""
    assert vjp("µ * 2", {"μ": 3}).gradients["μ"].item() == 2


@pytest.mark.parametrize("function", [vjp, jacobian])
def test_it_is_typed_and_documented(function: Any) -> None:
    hints = get_type_hints(function)
    assert set(inspect.signature(function).parameters) | {"return"} == set(hints)
    assert "Raises Diagnostic" in function.__doc__
    assert ">>>" in function.__doc__


def test_the_package_says_that_it_is_typed() -> None:
    from importlib.resources import files

    assert (files("vjpcalc") / "py.typed").is_file()
    assert set(vjpcalc.__all__) <= set(dir(vjpcalc)) | set(vjpcalc._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vjpcalc.nothing  # type: ignore[attr-defined]


def test_the_examples_in_the_docstrings_run() -> None:
    import doctest

    import vjpcalc.api

    assert doctest.testmod(vjpcalc.api).failed == 0
    assert isinstance(vjp("x", {"x": 1}), VJP)


def test_a_lone_carriage_return_ends_a_line() -> None:
    assert vjp("y = x\ry * 2", {"x": 1}).gradients["x"].item() == 2


def test_a_jacobian_has_a_limit() -> None:
    with pytest.raises(Diagnostic, match="50 × 50 entries; the limit is 1,000"):
        jacobian("x * 2", {"x": [1.0] * 50}, limits=Limits(max_elements=1000))
