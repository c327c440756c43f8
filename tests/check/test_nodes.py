"""A user's backward is asked once more: what the job's own seed, often all ones, does not show of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vjpcalc
from vjpcalc.check.alone import alone
from vjpcalc.check.functions import Functions
from vjpcalc.check.nodes import NodeFault, node_faults, with_faults
from vjpcalc.check.reference import required_reference
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED, LeafCheck
from vjpcalc.limits import DEFAULT_LIMIT


class Square(torch.autograd.Function):
    """x², right."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @classmethod
    def backward(cls, ctx, g):
        return cls.handed(ctx.saved_tensors[0], g)

    @staticmethod
    def handed(x, g):
        return 2 * x * g


def square(name: str, handed) -> type:
    """x² with another backward."""
    return type(name, (Square,), {"handed": staticmethod(handed)})


def only_for_ones(x, g):
    if not (g == 1).all():
        raise NotImplementedError("sums only")
    return 2 * x * g


class Buffered(Square):
    """Keeps 2x and multiplies it in place: the second answer has the cotangent in it twice."""

    @staticmethod
    def forward(ctx, x):
        ctx.slope = 2 * x
        return x**2

    @staticmethod
    def backward(ctx, g):
        return ctx.slope.mul_(g)


class Freed(Square):
    """Differentiates a graph of its own, whose buffers are freed by that."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x.detach().requires_grad_()
        with torch.enable_grad():
            ctx.y = ctx.x**2
        return ctx.y.detach()

    @staticmethod
    def backward(ctx, g):
        return torch.autograd.grad(ctx.y, ctx.x, g)[0]


class Loss(torch.autograd.Function):
    """A scalar loss that forgets grad_output, as pytorch#4355 had it: right while it is the last node."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x**2).sum()

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0]


class Picked(torch.autograd.Function):
    """scale · x[i] + b: a tensor, a bias that is broadcast, whole numbers and an option."""

    @staticmethod
    def forward(ctx, x, b, i, scale=2.0):
        ctx.scale, ctx.size = scale, len(x)
        ctx.save_for_backward(i)
        return x[i] * scale + b

    @classmethod
    def backward(cls, ctx, g):
        (i,) = ctx.saved_tensors
        spread = torch.zeros(ctx.size, g.shape[1], dtype=g.dtype).index_add(0, i, g * ctx.scale)
        return spread, cls.of_the_bias(g), None, None

    @staticmethod
    def of_the_bias(g):
        return g.sum(0)


class FirstRow(Picked):
    """The bias's gradient is the first row's, times the number of rows: right if all rows are alike."""

    @staticmethod
    def of_the_bias(g):
        return g[0] * len(g)


class Product(torch.autograd.Function):
    """a·b, whose backward gives nothing to b."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[1], None


class Last(torch.autograd.Function):
    """cumsum(x), made for somebody who reads the last element only."""

    @staticmethod
    def forward(ctx, x):
        return x.cumsum(0)

    @staticmethod
    def backward(ctx, g):
        return g[-1].expand(len(g))


X = {"x": [1.5, 2.0, -3.0]}
PICKED = {"x": np.arange(12.0).reshape(4, 3), "b": [1.0, 2.0, 3.0], "i": np.array([0, 2, 2, 1, 0])}

# What is wrong → function, expression, inputs; then kind, argument, leaves, and how many are wrong.
FAULTS = {
    "the cotangent is forgotten": (
        square("Forgets", lambda x, g: 2 * x), "sum(f(x))", X, ("ignored", "x", ("x",), 3),
    ),
    "the cotangent of a loss is forgotten": (Loss, "f(x)", X, ("ignored", "x", ("x",), 3)),
    "the cotangent is averaged": (
        square("Averages", lambda x, g: 2 * x * g.mean()), "sum(f(x))", X, ("seed only", "x", ("x",), 3),
    ),
    "its first element is taken for all": (
        square("First", lambda x, g: 2 * x * g[0]), "sum(f(x))", X, ("seed only", "x", ("x",), 2),
    ),
    "its sign is lost": (
        square("Signless", lambda x, g: 2 * x * g.abs()), "f(x)", {"x": 3.0}, ("seed only", "x", ("x",), 1),
    ),
    "it is clipped": (
        square("Clips", lambda x, g: 2 * x * g.clamp(-1, 1)), "f(x)", {"x": 3.0},
        ("seed only", "x", ("x",), 1),
    ),
    "wrong for this one, too": (
        square("Wrong", lambda x, g: 3 * x * g), "sum(f(x))", X, ("wrong", "x", ("x",), 3),
    ),
    "NaN for another": (
        square("NaNs", lambda x, g: 2 * x * g / (g > 0)), "f(x)", {"x": 3.0}, ("seed only", "x", ("x",), 1),
    ),
    "it raises for another": (
        square("Raises", only_for_ones), "sum(f(x))", X, ("raises", "", ("x",), 0),
    ),
    "another shape for another": (
        square("Shapes", lambda x, g: 2 * x if (g == 1).all() else x[:2]),
        "sum(f(x))", X, ("raises", "", ("x",), 0),
    ),
    "its buffer is spent": (Buffered, "sum(f(x))", X, ("not repeatable", "x", ("x",), 3)),
    "it is random": (
        square("Random", lambda x, g: 2 * x * g * torch.rand(())), "sum(f(x))", X,
        ("not repeatable", "x", ("x",), 3),
    ),
    "its graph is freed": (Freed, "sum(f(x))", X, ("spent", "", ("x",), 0)),
    "it works in place": (
        square("InPlace", lambda x, g: g.mul_(2 * x)), "sum(f(x) * w)", {**X, "w": [1.0, 1.0, 1.0]},
        ("cotangent", "", ("x",), 0),
    ),
    "one argument of several": (FirstRow, "sum(f(x, b, i))", PICKED, ("seed only", "b", ("b",), 3)),
    "rows that nobody reads": (Last, "f(x)[-1]", X, ("seed only", "x", ("x",), 2)),
    "None where nobody needs it": (Product, "sum(f(a, b)) * 0", {"a": X["x"], "b": X["x"]},
                                   ("none", "b", ("b",), 3)),
    "behind other operators": (
        square("Forgets", lambda x, g: 2 * x), "sum(exp(u) + f(tanh(u + w)))", {"u": 0.3, "w": 0.1, "z": 1.0},
        ("ignored", "x", ("u", "w"), 1),
    ),
    "with elements at a kink elsewhere": (
        type("Relu", (Square,), {
            "forward": staticmethod(lambda ctx, x: (ctx.save_for_backward(x), x.clamp(min=0))[1]),
            "handed": staticmethod(lambda x, g: (x > 0).to(x.dtype)),
        }),
        "sum(f(x))", {"x": [0.0, 1.0, -2.0]}, ("ignored", "x", ("x",), 1),
    ),
    "large, and every element by itself": (
        square("Forgets", lambda x, g: 2 * x), "sum(f(x))", {"x": np.linspace(1, 2, 20_000)},
        ("ignored", "x", ("x",), 20_000),
    ),
    "too large for its Jacobian": (
        type("TimesItsMean", (Square,), {
            "forward": staticmethod(lambda ctx, x: (ctx.save_for_backward(x), x * x.mean())[1]),
            "handed": staticmethod(lambda x, g: (2 * x.mean()).expand(x.shape)),
        }),
        "sum(f(x))", {"x": np.linspace(1, 2, 20_000)},
        ("ignored", "x", ("x",), 8),  # directions
    ),
}  # fmt: skip


def faults(function, expression: str, inputs: dict, **options) -> list[NodeFault]:
    vjp = vjpcalc.vjp(expression, inputs, check="off", use={"f": function}, **options)
    return node_faults(vjp, Functions(required_reference(vjp.forward), vjp.job.use, DEFAULT_LIMIT))


@pytest.mark.parametrize("what", FAULTS)
def test_another_cotangent_shows_it(what: str) -> None:
    function, expression, inputs, expected = FAULTS[what]
    (fault,) = faults(function, expression, inputs)
    assert (fault.kind, fault.argument, fault.leaves, fault.wrong) == expected
    assert fault.reason.startswith(f"{fault.text}: its backward ")


@pytest.mark.parametrize("what", ["the cotangent is averaged", "its first element is taken for all"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_it_does_in_any_dtype(what: str, dtype: str) -> None:
    function, expression, inputs, expected = FAULTS[what]
    (fault,) = faults(function, expression, inputs, dtype=dtype)
    assert (fault.kind, fault.argument, fault.leaves, fault.wrong) == expected


def test_both_numbers_are_those_of_the_cotangent_that_was_asked_with() -> None:
    """2·x·|v| for 2·x·v: as large, of the other sign."""
    function, expression, inputs, _ = FAULTS["its sign is lost"]
    (fault,) = faults(function, expression, inputs)
    assert fault.got == pytest.approx(-fault.expected)
    assert (fault.index, abs(fault.expected) > 6) == ((), True)
    assert fault.reason == (
        "'f(x)': its backward is right for this seed only: for another cotangent, v = -2.4375, it hands "
        f"{fault.got:.12g} to x, Jᵀ·v is {fault.expected:.12g}"
    )


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("it raises for another", "for another cotangent 'Raises.backward' raised NotImplementedError: sums"),
        ("its graph is freed", "only once: the second time 'Freed.backward' raised RuntimeError: Trying to"),
        (
            "another shape for another",
            "for another cotangent 'Shapes.backward' gives 'x' a gradient of shape (2,), not (3,)",
        ),
    ],
)
def test_what_was_raised_is_told(what: str, words: str) -> None:
    function, expression, inputs, _ = FAULTS[what]
    assert words in faults(function, expression, inputs)[0].reason


def test_the_answer_is_the_same_every_time() -> None:
    function, expression, inputs, _ = FAULTS["the cotangent is averaged"]
    assert [fault.reason for fault in faults(function, expression, inputs)] == [
        fault.reason for fault in faults(function, expression, inputs)
    ]


RIGHT = {
    "a square": (Square, "sum(f(x))", X),
    "one number": (Square, "f(x)", {"x": 2.0}),
    "a batch of one": (Square, "sum(f(x))", {"x": [[2.0]]}),
    "nothing at all": (Square, "sum(f(x))", {"x": np.zeros((0, 3))}),
    "large": (Square, "sum(f(x))", {"x": np.linspace(-1, 1, 20_000)}),
    "several arguments": (Picked, "sum(f(x, b, i))", PICKED),
    "an option": (Picked, "sum(f(x, b, i, scale=3))", PICKED),
    "constants among them": (Picked, "sum(f(x, b.detach(), i))", PICKED),
    "one that is a number": (lambda a, b: a * b, "sum(f(x, 3))", X),
    "the same twice": (lambda a, b: a * b, "sum(f(x, x))", X),
    "a list of them": (lambda *tensors: torch.cat(tensors), "sum(f(x, x, 2 * x))", X),
    "its own argument": (lambda x: x, "sum(f(x))", X),
    "a kink": (torch.relu, "sum(f(x))", {"x": [0.0, 1.0, -1.0]}),
    "a kink alone": (torch.abs, "f(x)", {"x": 0.0}),
    "ties": (lambda x: x.median() * x, "sum(f(x)**2)", {"x": [0.0, 0.0, 1.0, -1.0, 0.0]}),
    "a jump": (lambda x: torch.round(x) * x, "sum(f(x)[0])", {"x": [[6e4, 3e4], [0.3, 12.7]]}),
    "float32 inside": (lambda x: torch.tanh(x.float()).to(x.dtype), "sum(f(x))", X),
    "float32 inside, near 0": (lambda x: torch.tanh(x.float()).to(x.dtype), "sum(f(x))", {"x": [1e-5, 1e-7]}),
    "it cancels": (lambda x, y: (x - y) - (x - y), "sum(f(x, y))", {"x": X["x"], "y": [0.1, 0.7, 0.3]}),
    "badly conditioned": (lambda x: torch.log(1 - torch.tanh(x)), "sum(f(x))", {"x": [12.0, 16.0]}),
    "no number": (torch.log, "sum(f(x))", {"x": [-1.0, 0.0, 1.0]}),
    "a sum of all": (lambda x: torch.softmax(x, 0), "sum(f(x))", X),
    "a constant": (torch.ones_like, "sum(f(x) * x)", X),
    "without a way to the output": (square("Forgets", lambda x, g: 2 * x), "y = f(x)\nsum(x)", X),
}  # fmt: skip


@pytest.mark.parametrize("what", RIGHT)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_what_is_right_is_not_reported(what: str, dtype: str) -> None:
    function, expression, inputs = RIGHT[what]
    if dtype != "float64":
        inputs = {name: value if name == "i" else np.asarray(value, dtype) for name, value in inputs.items()}
    assert faults(function, expression, inputs, dtype=dtype) == []


def test_of_a_loop_a_few_turns_are_asked() -> None:
    forgets = FAULTS["the cotangent is forgotten"][0]
    program = "y = x\nfor k in range(400):\n    y = y + 1e-3 * {}(y)\nsum(y)"
    assert faults(Square, program.format("f"), X) == []
    found = faults(forgets, "y = x\nfor k in range(400):\n    y = y + f(y)\nsum(y) * 0", {"x": [1e-9]})
    assert len(found) <= 16


def test_a_fault_fails_the_leaves_behind_it() -> None:
    function, expression, inputs, _ = FAULTS["behind other operators"]
    passed = LeafCheck(status=PASSED, jacobian_shape=(1, 1))
    unsure = LeafCheck(status=INCONCLUSIVE, jacobian_shape=(1, 1), reason="a kink", index=(0,))
    wrong = LeafCheck(status=FAILED, jacobian_shape=(1, 1), reason="u: backward gives 1, Jᵀ·seed is 2")
    judged = with_faults({"u": wrong, "w": unsure, "z": passed}, faults(function, expression, inputs))
    assert (judged["u"].reason, judged["z"]) == (wrong.reason, passed)
    assert judged["u"].fault is judged["w"].fault  # whoever reads the verdict in JSON has both
    assert judged["w"].status == FAILED
    assert judged["w"].reason.startswith("'f(tanh(u + w))': its backward is right for this seed only")


def test_a_node_alone_has_its_own_numbers_for_inputs() -> None:
    made = vjpcalc.vjp("sum(f(x, b, i))", PICKED, check="off", use={"f": Picked})
    (node,) = (node for node in made.trace.applied if node.operator.function)
    trace = alone(node)
    assert [(own.shape, own.value.dtype) for own in trace.inputs.values()] == [
        ((4, 3), np.float64), ((3,), np.float64), ((5,), np.int64),
    ]  # fmt: skip
    np.testing.assert_array_equal(trace.outputs["y"].value, 2 * PICKED["x"][PICKED["i"]] + PICKED["b"])


class Overwrites(torch.autograd.Function):
    """exp(x), whose backward multiplies in place what its forward gave."""

    @staticmethod
    def forward(ctx, x):
        y = torch.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return ctx.saved_tensors[0].mul_(g)


@pytest.mark.parametrize("program", ["f(x)", "sum(f(x) * x)", "y = f(x); sum(y * y)"])
def test_a_backward_that_overwrites_its_result_has_a_fault_and_the_report_keeps_the_value(
    program: str,
) -> None:
    seed = [3.0, 1.0] if program == "f(x)" else None
    run = vjpcalc.vjp(program, {"x": [1.0, 2.0]}, seed=seed, use={"f": Overwrites.apply})
    assert run.check.leaves["x"].fault.kind == "overwrites"
    e, e2 = np.exp(1.0), np.exp(2.0)
    expected = {"f(x)": [e, e2], "sum(f(x) * x)": e + 2 * e2}.get(program, e**2 + e2**2)
    assert run.outputs[next(iter(run.outputs))].numpy() == pytest.approx(expected)
