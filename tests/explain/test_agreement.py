"""``explain`` and the check never contradict each other: whom the one blames, the other does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sampling
import torch
from backwards import own

import vjpcalc
from vjpcalc.check.alone import job_of_one, kinks_of
from vjpcalc.check.verdict import check
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.explain.walk import Explanation, explain
from vjpcalc.job.autograd import compute, forward
from vjpcalc.job.job import make_job
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED
from vjpcalc.operators.registry import table
from vjpcalc.report.explain import explain_report
from vjpcalc.report.plain import plain

DTYPES = ("float64", "float32", "float16", "bfloat16")


def walk(expression: str, inputs: dict, seed: Any = None, **options: Any) -> Explanation:
    return explain(vjpcalc.vjp(expression, inputs, seed, **options))


def contradiction(found: Explanation) -> str | None:
    """What a reader of both could not believe; None if there is nothing."""
    assert found.vjp.check is not None
    status, wrong = found.vjp.check.status, found.first_wrong
    compared = all(leaf.differentiation for leaf in found.vjp.check.leaves.values())
    if status == FAILED and wrong is None and not found.remark:
        return "it failed, and nothing is wrong"
    if (
        status == FAILED
        and any(fault.place == wrong.node.index for fault in found.vjp.check.faults)
        and (not wrong.faults)
        and not any(hand.status == FAILED for hand in wrong.hands)
    ):
        return "a fault of the check's is not told"
    if wrong is not None and (status == PASSED or (status == INCONCLUSIVE and compared)):
        return f"it is {status}, and '{wrong.name}' is wrong"
    return None


# ---- every operator, where rounding and kinks are ----------------------------------------------------------

TAILS = [-7.0, -40.0, 30.0, 12.0, -12.0, 5.4]
POINTS = {
    "mixed": [0.0, 30.0, -7.0, 1e-8, -40.0, 1.0, -1.0, 0.5, 12.0, -12.0, 1.0, -1e-12],
    "tails": TAILS,
    "zeros": [0.0],
    "ties": [0.5, 0.25, 0.5, 0.5],
    "tiny": [1e-8, -1e-9, 1e-12, 3e-8],
    "large": [abs(x) for x in TAILS],
}
ROWS = [(row, sampling.samples(row)[0]) for row in table() if sampling.samples(row)]


def jobs(number: int, sample: sampling.Sample) -> Iterator[Any]:
    """Jobs of a row at three points, in turns: one in float64, two in any dtype; with a seed that leaves
    out an element.
    """
    names = list(POINTS)
    points = [("mixed", "float64")]
    points += [(names[1 + (number + k) % 5], DTYPES[(number // 5 + k) % 4]) for k in range(2)]
    for point, dtype in points:
        inputs = {
            name: torch.tensor(np.resize(POINTS[point], shape)).to(getattr(torch, dtype))
            for name, shape in sample.shapes.items()
        }
        try:
            outputs = forward(make_job(sample.expression, inputs, dtype=dtype)).outputs
            seeds = {name: torch.from_numpy(_seed(output.shape)) for name, output in outputs.items()}
            yield compute(make_job(sample.expression, inputs, seed=seeds, dtype=dtype))
        except Diagnostic:  # a singular matrix, a number that is no index, a kernel that torch has not
            continue


def _seed(shape: tuple[int, ...]) -> np.ndarray:
    seed = np.resize([0.0, -2.0, 1.0, 0.5], shape)
    return seed if seed.size > 1 else np.ones(shape)


@pytest.mark.parametrize(
    ("number", "sample"),
    [(n, sample) for n, (_, sample) in enumerate(ROWS)],
    ids=[str(row) for row, _ in ROWS],
)
def test_of_every_operator(number: int, sample: sampling.Sample) -> None:
    for vjp in jobs(number, sample):
        found = explain(check(vjp))
        assert contradiction(found) is None, vjp.job.inputs


# ---- functions of the user's own ---------------------------------------------------------------------------


class Buffered(torch.autograd.Function):
    """x², which keeps 2x and multiplies it in place."""

    @staticmethod
    def forward(ctx, x):
        ctx.slope = 2 * x
        return x**2

    @staticmethod
    def backward(ctx, g):
        return ctx.slope.mul_(g)


def square(name: str, handed: Any) -> type:
    return own(name, lambda x: x**2, handed)


def slope(x: Any) -> Any:
    return (x > 0).to(x.dtype)


RIGHT = {
    "square": square("Square", lambda x, g: 2 * x * g),
    "relu": own("Relu", lambda x: x.clamp(min=0), lambda x, g: g * slope(x)),
    "relu with half a slope at 0": own(
        "Half", lambda x: x.clamp(min=0), lambda x, g: g * (slope(x) + 0.5 * (x == 0))
    ),
    "tanh": own("Tanh", torch.tanh, lambda x, g: g * (1 - torch.tanh(x) ** 2)),
    "gelu, of torch": torch.nn.functional.gelu,
    "float32 inside": lambda x: torch.tanh(x.float()).to(x.dtype),
}
WRONG = {
    "the cotangent is forgotten": square("Forgets", lambda x, g: 2 * x),
    "it is averaged": square("Averages", lambda x, g: 2 * x * g.mean()),
    "it is clipped": square("Clips", lambda x, g: 2 * x * g.clamp(-1, 1)),
    "its sign is lost": square("Signless", lambda x, g: 2 * x * g.abs()),
    "None is returned": square("Nothing", lambda x, g: None),
    "the buffers are spent": Buffered,
    "another factor": square("Threefold", lambda x, g: 3 * x * g),
    "a little off": square("Off", lambda x, g: 2.1 * x * g),
    "permuted": square("Permuted", lambda x, g: (2 * x * g).roll(1)),
    "NaN for another": square("Divides", lambda x, g: 2 * x * g / (g > 0)),
    "a kink beside it": own("Tenfold", lambda x: x.clamp(min=0), lambda x, g: 10 * g * slope(x)),
    "a sigmoid's tail": own("Approximate", torch.tanh, lambda x, g: g * torch.clamp(1 - x * x, min=0)),
    "the graph is cut": lambda x: (x**2).detach(),
    "half of it is cut": lambda x: x * x.detach(),
}
PROGRAMS = [
    "sum(f(x))",
    "sum(f(x) * w)",
    "sum(exp(x / 10) + tanh(f(x / 3)))",
    "y = x\nfor k in range(3):\n    y = f(y) / 4\nsum(y)",
    "sum(relu(x) * f(x)) + sum(abs(x))",
    "sum(where(x > 0, f(x), x))",
]
PLACES = {
    "anywhere": [1.5, 2.0, -3.0],
    "at 0": [0.0, 1.0, -2.0],
    "ties": [1.0, 1.0, 0.5],
    "tails": [-7.0, 12.0, 30.0],
    "tiny": [1e-8, -1e-12, 1e-160],
    "large": [1e4, -3e3, 60.0],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", [*RIGHT, *WRONG])
def test_of_functions_of_the_users_own(what: str, place: str) -> None:
    function = {**RIGHT, **WRONG}[what]
    for number, program in enumerate(PROGRAMS):
        if (number + len(what)) % 2:  # every second one
            continue
        dtype = DTYPES[(number // 2 + len(place)) % 3]
        inputs = {"x": PLACES[place], "w": [2.0, -1.0, 0.5]}
        inputs = {name: value for name, value in inputs.items() if name in program.replace("where", "")}
        found = walk(program, inputs, use={"f": function}, dtype=dtype)
        assert contradiction(found) is None, (program, dtype)


@pytest.mark.parametrize("what", WRONG)
def test_who_is_wrong_is_named_with_the_words_of_the_check(what: str) -> None:
    job = ("y = f(x)\nsum(y * x)", {"x": [1.5, 2.0, -3.0]})
    found = walk(*job, use={"f": WRONG[what]})
    assert found.first_wrong is not None
    assert found.first_wrong.name == "y"
    assert [step.name for step in found.steps if step.status == FAILED] == ["y"]
    for fault in found.vjp.check.faults:
        assert fault.reason in found.first_wrong.faults
    off = walk(*job, use={"f": WRONG[what]}, check="off")
    assert "cut" in what or (off.first_wrong and off.first_wrong.name) == "y"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (
            "the cotangent is forgotten",
            "'f(x)': its backward is right for this seed only: it does not depend on ",
        ),
        (
            "it is averaged",
            "'f(x)': its backward is right for this seed only: for ",
        ),
        ("the buffers are spent", "'f(x)': its backward is no function of its cotangent: asked twice with "),
        ("None is returned", "'f(x)': its backward hands 0 to x["),
        ("the graph is cut", "'f(x)': nothing is handed back: its result has no graph"),
    ],
)
def test_the_report_says_so(what: str, words: str) -> None:
    found = walk("sum(f(x))", {"x": [1.5, 2.0, -3.0]}, use={"f": WRONG[what]})
    lines = plain(explain_report(found)).split("\n")
    assert any(line.startswith("    " + words) for line in lines), lines
    step = len(found.steps)
    assert f"✗ first wrong node in backward order: step {step}, %1 = f(x)" in lines


# ---- what each step is -------------------------------------------------------------------------------------

X = [1.5, 2.0, -3.0]
Threefold = WRONG["another factor"]
# Program, inputs, seed, options; the check's status, and the marks of the steps in backward order.
MARKS: dict[str, tuple[str, dict, Any, dict, str, str]] = {
    # torch loses digits itself, and the rule does not: at -7 the slope is -6.26633e-11, torch's -6.26632e-11
    "gelu's tail": ("gelu(x)", {"x": [-7, 1]}, [1, 1], {}, PASSED, "✓"),
    "… in float32": ("gelu(x)", {"x": [-4, 1]}, [1, 1], {"dtype": "float32"}, PASSED, "✓"),
    "expm1 at -40": ("expm1(x)", {"x": [-40.0, 1]}, [1, 1], {}, INCONCLUSIVE, "?"),
    "a kink": ("relu(x)", {"x": [0.0, 1]}, [1, 1], {}, INCONCLUSIVE, "?"),
    "a kink that the seed leaves out": ("relu(x)", {"x": [0.0, 1]}, [0, 1], {}, PASSED, "✓"),
    "a kink that nothing flows through": ("sum(abs(x) * x)", {"x": [0.0, 1]}, None, {}, PASSED, "✓✓✓"),
    "ties": ("maximum(a, b)", {"a": [1.0, 2], "b": [1.0, 0]}, [1, 1], {}, INCONCLUSIVE, "?"),
    "ties of several results": ("sort(x).values", {"x": [1.0, 1, 0]}, [1, 2, 3], {}, INCONCLUSIVE, "?"),
    "two kinks that make a slope": (
        "maximum(a, b) + minimum(a, b)", {"a": [1.0, 2], "b": [1.0, 0]}, [1, 1], {}, PASSED, "✓??",
    ),
    "0 · infinity in the branch not taken": (
        "where(x < 1, x, sqrt(x))", {"x": 0.0}, None, {}, FAILED, "✓✗",
    ),
    "0 · infinity that another branch stops": (
        "where(x > 0, sqrt(where(x > 0, x, 0)), 0)", {"x": -1.0}, None, {}, PASSED, "✓?✓",
    ),
    "an output that the seed leaves out": (
        "y = sqrt(x)\nz = f(x)", {"x": [0.0, 4]}, {"y": [0, 1], "z": [1, 1]},
        {"outputs": ["y", "z"], "use": {"f": RIGHT["square"]}}, FAILED, "✓✗",
    ),
    "the wrong argument is a constant": (
        "f(x) + y", {"x": X, "y": X}, [1, 1, 1], {"use": {"f": Threefold}, "wrt": ["y"]}, PASSED, "✓",
    ),
    "the wrong argument is the leaf": (
        "f(x) + y", {"x": X, "y": X}, [1, 1, 1], {"use": {"f": Threefold}, "wrt": ["x"]}, FAILED, "✓✗",
    ),
    "a reference that is right": (
        "sum(f(x))", {"x": X}, None, {"use": {"f": RIGHT["square"]}, "reference": {"f": "x**2"}},
        PASSED, "✓✓",
    ),
    "a reference that the forward is not": (
        "sum(f(x))", {"x": X}, None, {"use": {"f": RIGHT["square"]}, "reference": {"f": "x**3"}},
        FAILED, "✓✗",
    ),
    "a straight-through estimator": (
        "sum(f(x) * x)", {"x": X}, None,
        {"use": {"f": own("Straight", torch.round, lambda x, g: g)}, "reference": {"f": "x"}}, PASSED, "✓✓✓",
    ),
    "what has arrived is not finite": ("x * 2", {"x": 0.5}, np.inf, {}, INCONCLUSIVE, "?"),
    "labels that are probabilities": (
        "cross_entropy(x, t)", {"x": [[0.5, 1]], "t": [[0.25, 0.75]]}, None, {}, PASSED, "✓",
    ),
    "along random directions": (
        "sum(f(x) @ w)", {"x": np.ones((3, 40)), "w": np.ones(40)}, None,
        {"use": {"f": Threefold}, "check_limit": 0}, FAILED, "✓✓✗",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MARKS)
def test_the_marks_of_the_steps(what: str) -> None:
    program, inputs, seed, options, status, marks = MARKS[what]
    found = walk(program, inputs, seed, **options)
    assert found.vjp.check.status == status
    sign = {PASSED: "✓", INCONCLUSIVE: "?", FAILED: "✗"}
    assert "".join(sign[step.status] for step in found.steps) == marks
    assert contradiction(found) is None


def test_what_is_handed_to_labels_is_a_part_of_the_walk() -> None:
    (step,) = walk("cross_entropy(x, t)", {"x": [[0.5, 1]], "t": [[0.25, 0.75]]}).steps
    assert [hand.to for hand in step.hands] == ["x", "t"]


def test_the_origin_of_what_is_not_finite_is_the_checks() -> None:
    found = walk("where(x < 1, x, sqrt(x))", {"x": 0.0})
    assert found.first_wrong is not None
    assert found.first_wrong.name == "%2"
    assert found.first_wrong.faults == (found.vjp.check.leaves["x"].reason,)
    lines = plain(explain_report(found)).split("\n")
    assert "    x.grad += %2.grad / (2 * %2) = 0 / (2 * 0) = nan✗" in lines
    assert "    x.grad should be 0✓" in lines


REMARKS = {
    "conventions that do not add up": (
        "relu(x) - relu(-x)", {"x": 0.0}, {},
        "at the kinks of relu(-x), relu(x) torch takes slopes that do not add up to the slope of the whole",
    ),
    "a value that overflows": (
        "sqrt(x**2)", {"x": 300.0}, {"dtype": "float16"},
        "it begins with a value that is not finite, first made by 'x**2'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REMARKS)
def test_a_failed_check_without_a_wrong_node_is_put_in_words(what: str) -> None:
    program, inputs, options, words = REMARKS[what]
    found = walk(program, inputs, **options)
    assert (found.vjp.check.status, found.first_wrong, found.remark) == (FAILED, None, words)
    assert f"✗ no node is wrong by itself: {words}" in plain(explain_report(found)).split("\n")
    assert found.to_dict()["trace"]["remark"] == words


def test_at_a_kink_the_interval_stands_where_a_number_should_be() -> None:
    """Ten times relu's gradient is wrong at 1; at 0 anything from 0 to 1 would do."""
    found = walk("sum(f(x))", {"x": [0.0, 1.0, -1.0]}, use={"f": WRONG["a kink beside it"]})
    hand = found.steps[1].hands[0]
    assert (hand.left[0], hand.right[0]) == pytest.approx((0, 1), abs=1e-9)
    assert "    x.grad = [ 0 10✗  0] should be [[0, 1] 1.✓ 0.]" in plain(explain_report(found)).split("\n")


class Twice(torch.autograd.Function):
    """x², whose backward works twice: for the gradients and for the walk."""

    called = 0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, g):
        Twice.called += 1
        if Twice.called > 2:
            raise RuntimeError("enough")
        return 2 * ctx.saved_tensors[0] * g


def test_a_backward_that_cannot_be_asked_again_is_no_error() -> None:
    vjp = vjpcalc.vjp("f(x)", {"x": X}, [1, 1, 1], use={"f": Twice}, check="off")
    (step,) = explain(vjp).steps
    assert (step.status, step.hands[0].reason.split(":")[0]) == (INCONCLUSIVE, "x.grad")


# ---- a node as a job of its own ----------------------------------------------------------------------------


def test_a_node_alone_is_a_job_whose_leaves_have_the_names_of_the_whole() -> None:
    vjp = vjpcalc.vjp("h = x * 2\nh * h + detach(h)", {"x": 3.0}, check="off")
    node = vjp.trace.applied[1]
    names = {node.index: "y", node.inputs[0].index: "h"}
    alone = compute(job_of_one(vjp.job, node, torch.tensor(5.0, dtype=torch.float64), names))
    assert {name: float(gradient) for name, gradient in alone.gradients.items()} == {"h": 30.0, "h (b)": 30.0}
    assert {name: float(seed) for name, seed in alone.seeds.items()} == {"y": 5.0}


def test_a_result_of_several_has_the_kinks_of_the_whole() -> None:
    rows = {row.name: row for row in table()}
    assert kinks_of(rows["sort_values"]) is rows["sort"]
    assert kinks_of(rows["relu"]) is rows["relu"]
    assert kinks_of(rows["tanh"]) is None


# ---- the command -------------------------------------------------------------------------------------------

COMMANDS = {
    ("gelu(x)", "x=[-7,1]", "--seed", "[1,1]"): 0,
    ("relu(x)", "x=[0,1]", "--seed", "[1,1]"): 0,
    ("relu(x)", "x=[0,1]", "--seed", "[1,1]", "--strict"): 5,
    ("where(x < 1, x, sqrt(x))", "x=0"): 5,
    ("relu(x) - relu(-x)", "x=0"): 5,
    ("sqrt(where(x > 0, x, 0)) * (x > 0)", "x=-1"): 0,
}


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_both_commands_end_alike(cli, arguments: tuple[str, ...]) -> None:
    for command in ("vjp", "explain"):
        assert cli(command, *arguments).status == COMMANDS[arguments], command
