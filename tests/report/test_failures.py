"""What a report says of a gradient that is wrong or cannot be judged: in a pipe, on a terminal, in Python.

The verdicts are made by hand, so that what is shown of one does not hang on who judges.
"""

from __future__ import annotations

import io
import pickle
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import validate

import vjpcalc
from vjpcalc.explain.walk import explain
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED, VJP, Cause, Check, LeafCheck
from vjpcalc.job.use import operator
from vjpcalc.report.explain import explain_report
from vjpcalc.report.pictures import svg
from vjpcalc.report.plain import plain
from vjpcalc.report.terminal import console, show
from vjpcalc.report.vjp import vjp_report

OK, UNSURE, KINK, ILL, WRONG = Cause.PASSED, Cause.UNSURE, Cause.KINK, Cause.ILL_CONDITIONED, Cause.WRONG
nan = np.nan


def judged(gradient: Any, jt_seed: Any, causes: Any, dtype: str = "float64", **more: Any) -> VJP:
    """The result of a job with one leaf x that has this gradient and this verdict."""
    gradient, jt_seed = np.asarray(gradient, float), np.asarray(jt_seed, float)
    more |= {side: np.asarray(more[side], float) for side in ("left", "right") if side in more}
    causes = np.broadcast_to(np.asarray(causes, np.int8), gradient.shape)
    gravest = Cause(int(causes.max(initial=0)))
    nothing = (causes == KINK) | (causes == ILL) | ((causes == UNSURE) & (not more.get("digits")))
    jt_seed = np.where(nothing, nan, jt_seed)
    words = more.pop("pattern", None)
    more.setdefault("index", tuple(map(int, np.unravel_index(np.argmax(causes), causes.shape))))
    leaf = LeafCheck(
        status=gravest.status, jacobian_shape=(1, gradient.size), jt_seed=jt_seed, causes=causes,
        wrong=int((causes == WRONG).sum()), differentiation="complex step",
        look_for_pattern=lambda: words, **more,
    )  # fmt: skip
    result = vjpcalc.vjp("sum(x)", {"x": np.zeros(gradient.shape)}, dtype=dtype, check="off")
    gradients = {"x": torch.from_numpy(gradient).to(getattr(torch, dtype))}
    check = Check(leaf.status, "explicit", "numexpr", {"x": leaf})
    return replace(result, gradients=gradients, check=check)


def table(result: VJP, width: int | None = None) -> list[str]:
    """The lines of the plain report's last table, without its headers."""
    return plain(vjp_report(result, width=width)).split("\n\n")[2].split("\n")[1:]


def sentences(result: VJP) -> list[str]:
    """What stands below the verdict."""
    return plain(vjp_report(result)).rstrip().split("\n\n")[3].split("\n")[1:]


# ---- the wrong numbers and the right ones ------------------------------------------------------------------

REASON = {"reason": "x[1, 0]: backward gives 12, Jᵀ·seed is 8"}
TABLES = {
    "one of six": (
        judged([[2, 4, 6], [12, 10, 13]], [[2, 4, 6], [8, 10, 13]], [[OK] * 3, [WRONG, OK, OK]], **REASON),
        [
            "x       [[ 2   4  6]         [[ 2   4  6]   ✗ failed",
            "(2, 3)   [12✗ 10 13]]         [ 8✓ 10 13]]  1 of 6",
        ],
    ),
    "decimals stay below each other": (
        judged([[0.5, 2], [1.25, -3]], [[0.5, -2], [1.25, 3]], [[OK, WRONG], [OK, WRONG]]),
        [
            "x       [[ 0.5   2.✗  ]      [[ 0.5  -2.✓  ]   ✗ failed",
            "(2, 2)   [ 1.25 -3.✗  ]]      [ 1.25  3.✓  ]]  2 of 4",
        ],
    ),
    "a single number": (judged(2, 1, WRONG), ["x     2✗                   1✓            ✗ failed", "()"]),
    "an interval at a kink": (
        judged([0, 1, 4], [0.5, 1, 4], [KINK, OK, OK], left=[0, nan, nan], right=[1, nan, nan]),
        ["x     [0 1 4]              [[0, 1] 1 4]  ? inconclusive", "(3,)"],
    ),
    "the slopes in the order of their size": (
        judged([0.0], [0.25], [KINK], left=[1], right=[-1]),
        ["x     [0]                  [[-1, 1]]     ? inconclusive", "(1,)"],
    ),
    "a kink that no element shows alone": (
        judged([1, 0], [0.5, 0.5], KINK, left=[nan, nan], right=[nan, nan]),
        ["x     [1 0]                [– –]         ? inconclusive", "(2,)"],
    ),
    "nothing is known of the slopes": (
        judged([1.0], [0.5], KINK), ["x     [1]                  [–]           ? inconclusive", "(1,)"],
    ),
    "no digit is left": (
        judged([1.5, 2], [2e45, 2], [ILL, OK]),
        ["x     [1.5 2. ]            [– 2]         ? inconclusive", "(2,)"],
    ),
    "the witness cannot tell": (
        judged([1, 2], [1.07, 2], [UNSURE, OK], digits=0),
        ["x     [1 2]                [– 2]         ? inconclusive", "(2,)"],
    ),
    "the witness has a few digits": (
        judged([1, 2], [1.25, 2], [UNSURE, OK], digits=3),
        ["x     [1 2]                [1.25 2.  ]   ? inconclusive", "(2,)"],
    ),
    "the witness is not finite": (
        judged([1, 2, 3], [nan, np.inf, 3], UNSURE, digits=3),
        ["x     [1 2 3]              [– – 3]       ? inconclusive", "(3,)"],
    ),
    "nothing is wrong": (
        judged([1, 2], [1, 2], OK, digits=16),
        [
            "x     [1 2]                [1 2]         ✓ passed",
            "(2,)                                     all digits",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLES)
def test_numbers_are_marked_and_meaningless_ones_are_not_shown(what: str) -> None:
    result, lines = TABLES[what]
    assert [line.rstrip() for line in table(result)] == lines


DIGITS = {
    ("float64", 16): "all digits", ("float64", 13): "13 digits", ("float64", 1): "1 digit",
    ("float32", 7): "all digits", ("float32", 6): "6 digits", ("float16", 3): "all digits",
    ("bfloat16", 2): "all digits", ("bfloat16", 1): "1 digit", ("float64", 0): "", ("float64", None): "",
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "digits"), DIGITS, ids=str)
def test_all_digits_are_those_of_the_dtype(dtype: str, digits: int | None) -> None:
    label = table(judged([1.0, 2.0], [1.0, 2.0], OK, dtype, digits=digits))[1]
    assert label.removeprefix("(2,)").strip() == DIGITS[dtype, digits]


def test_the_worst_number_is_shown_of_a_gradient_that_is_shortened() -> None:
    expected = np.arange(1000.0)
    causes = np.zeros(1000, np.int8)
    causes[517] = WRONG
    gradient = np.where(causes == WRONG, -1, expected)
    lines = table(judged(gradient, expected, causes))
    assert "[  0   1   2 ...  -1✗ ... 997 998 999]" in lines[0]
    assert "[  0   1   2 ... 517✓ ... 997 998 999]" in lines[0]
    matrix = table(judged(*(part.reshape(5, 200) for part in (gradient, expected, causes))), width=100)
    assert "[400 401 402 ...  -1✗ ... 597 598 599]" in " ".join(matrix)
    assert "[400 401 402 ... 517✓ ... 597 598 599]" in " ".join(matrix)


# ---- how many, which, and what they have in common ---------------------------------------------------------

APART = "backward gives 2, Jᵀ·seed is 1"
SENTENCES = {
    "one number": (judged(2, 1, WRONG, reason=f"x: {APART}"), [f"x: {APART}"]),
    "a leaf of one element": (judged([2], [1], WRONG, reason=f"x[0]: {APART}"), [f"x[0]: {APART}"]),
    "one of two": (
        judged([2, 1], [1, 1], [WRONG, OK], reason=f"x[0]: {APART}"),
        [f"x: 1 of 2 elements is wrong, x[0]: {APART}"],
    ),
    "both, with a pattern": (
        judged([2, 4], [1, 2], WRONG, reason=f"x[0]: {APART}", pattern="2 × what it should be"),
        [f"x: both elements are wrong, the worst x[0]: {APART}", "  pattern: 2 × what it should be"],
    ),
    "some of many": (
        judged(np.ones(2000), np.ones(2000), [WRONG] * 1500 + [OK] * 500, reason=f"x[0]: {APART}"),
        [f"x: 1,500 of 2,000 elements are wrong, the worst x[0]: {APART}"],
    ),
    "all": (
        judged([2, 4, 6], [1, 2, 3], WRONG, reason=f"x[0]: {APART}"),
        [f"x: all 3 elements are wrong, the worst x[0]: {APART}"],
    ),
    "a reason that names no element": (
        judged([2, 4, 6], [1, 2, 3], WRONG, reason="the backward of 'f(x)' is right for this seed only"),
        ["x: all 3 elements are wrong: the backward of 'f(x)' is right for this seed only"],
    ),
    "a name that begins like the leaf's": (
        judged([2], [1], UNSURE, reason="xylophone: no"), ["x: xylophone: no"],
    ),
    "no failure": (judged([0, 1], [0, 1], [KINK, OK], reason="x[0]: a kink"), ["x[0]: a kink"]),
    "a pass with what there is to say of it": (
        judged([1.0], [1.0], OK, digits=3, reason="3 digits: the forward is rounded to 6e-8"),
        ["x: 3 digits: the forward is rounded to 6e-8"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SENTENCES)
def test_a_verdict_says_how_many_and_what_they_have_in_common(what: str) -> None:
    result, lines = SENTENCES[what]
    assert sentences(result) == [" " * 6 + line for line in lines]


def test_random_directions_are_counted_as_such() -> None:
    reason = "x along random direction 3: backward gives 2, Jᵀ·seed is 1"
    leaf = LeafCheck(status=FAILED, jacobian_shape=(1, 900), wrong=8, reason=reason)
    assert leaf.sentences("x") == [f"x: wrong along 8 random directions, the worst {reason}"]


def test_of_a_leaf_that_was_added_up_in_part_a_bound_is_said() -> None:
    reason = "x[7]: backward gives 2, Jᵀ·seed is 1"
    leaf = LeafCheck(status=FAILED, jacobian_shape=(1, 900), wrong=800, index=(7,), reason=reason)
    assert leaf.sentences("x") == [f"x: at least 800 of 900 elements are wrong, the worst {reason}"]


# ---- on a terminal and in a picture ------------------------------------------------------------------------

FAILURE = judged(
    [[0.5, -2.0, 3.0], [1.0, 1.0, 4.0]],
    [[0.5, 2.0, 2e99], [1.0, 1.0, 4.0]],
    [[OK, WRONG, ILL], [OK, OK, KINK]],
    left=[[nan] * 3, [nan, nan, -4]],
    right=[[nan] * 3, [nan, nan, 4]],
    reason="x[0, 1]: backward gives -2, Jᵀ·seed is 2",
    pattern="the sign is flipped",
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_marks_are_coloured_on_a_terminal_of_any_width(width: int) -> None:
    screen = io.StringIO()
    terminal = console(screen, color=True, width=width, force_terminal=True, color_system="standard")
    show(vjp_report(FAILURE, width=width), terminal)
    text = screen.getvalue()
    red, green, yellow, dim = "\x1b[1;31m", "\x1b[1;32m", "\x1b[1;33m", "\x1b[2m"
    for mark in (f"{red}-2.✗", f"{green}2.✓", f"{yellow}[-4, 4]", f"{dim}–"):
        assert mark in text
    bare = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert max(map(len, bare.split("\n"))) <= width
    for line in ("[[ 0.5 -2.✗   3. ]", "[ 1.   1.    4. ]]", "[[0.5 2.✓        –]", "[1.  1.   [-4, 4]]]"):
        assert line in bare


def test_the_marks_are_coloured_in_a_picture() -> None:
    picture = svg(lambda width: vjp_report(FAILURE, width=width))
    for mark, role in (("-2.✗", "bad"), ("2.✓", "good")):
        (name,) = re.findall(rf'<text class="(\w+)"[^>]*>{mark}</text>', picture)
        (status,) = re.findall(r'<text class="(\w+)"[^>]*>✗ failed</text>', picture)[:1]
        assert (name == status) == (role == "bad")


# ---- in explain --------------------------------------------------------------------------------------------


def walked(expression: str, x: Any, by_torch: Any, right: Any, causes: Any, **more: Any) -> list[str]:
    """The first step of a walk in which torch hands on something wrong to x, as lines of the report."""
    double = operator("double", lambda x: 2 * x)
    inputs, seed = {"x": np.asarray(x, float)}, np.ones(np.shape(x))
    walk = explain(vjpcalc.vjp(expression, inputs, seed, use={"double": double}, check="off"))
    (step,) = walk.steps
    hand = replace(
        step.hands[0], torch=np.asarray(by_torch, float), value=np.asarray(right, float), status=FAILED,
        causes=np.asarray(causes, np.int8), reason="x.grad[0]: torch hands on 9, …", **more,
    )  # fmt: skip
    walk = replace(walk, steps=(replace(step, hands=(hand,)),))
    return plain(explain_report(walk, node="x", width=80)).rstrip().split("\n")[1:]


def test_a_wrong_step_has_what_is_right_beside_it() -> None:
    wrong = [WRONG, OK]
    assert walked("double(x)", [1, 2], [9, 2], [2, 2], wrong, pattern="9/2 × what it should be") == [
        "    x.grad = [9✗ 2] should be [2✓ 2]",
        "    checked by differencing its forward",
        "    x.grad[0]: torch hands on 9, …",
        "    pattern: 9/2 × what it should be",
    ]
    assert walked("3 * x", [1, 2], [9, 3], [3, 3], wrong) == [
        "    x.grad = out.grad * 3 = [1 1] * 3 = [3✓ 3]",
        "    x.grad by torch = [9✗ 3]",
        "    x.grad[0]: torch hands on 9, …",
    ]


def test_a_wrong_step_that_is_too_wide_has_it_below() -> None:
    numbers = 1 + np.arange(9) / 7
    lines = walked("double(x)", numbers, -numbers, numbers, [WRONG] * 9)
    assert [line.split("[")[0].strip() for line in lines[:2]] == ["x.grad =", "should be"]
    assert max(map(len, lines)) <= 80


def test_a_step_that_is_only_known_along_directions_has_no_second_matrix() -> None:
    assert walked("double(x)", [1, 2], [9, 2], [9, 2], [OK, OK])[0] == "    x.grad = [9 2]"


# ---- in JSON -----------------------------------------------------------------------------------------------


def test_a_leaf_in_json_has_both_numbers_how_many_are_wrong_and_the_pattern() -> None:
    result = judged(
        [nan, 4.0], [1.0, 2.0], WRONG, got=nan, expected=1.0, digits=0, pattern="2 × what it should be"
    )
    document = result.to_dict()
    validate(document)
    leaf = document["check"]["leaves"]["x"]
    assert {key: leaf[key] for key in ("got", "expected", "wrong", "pattern", "digits", "index")} == {
        "got": "NaN",
        "expected": 1.0,
        "wrong": 2,
        "pattern": "2 × what it should be",
        "digits": 0,
        "index": [0],
    }
    right = judged([1.0], [1.0], OK).to_dict()["check"]["leaves"]["x"]
    assert [right[key] for key in ("got", "expected", "wrong", "pattern")] == [None, None, 0, None]


# ---- in Python ---------------------------------------------------------------------------------------------

VERDICTS = {PASSED: (True, True), INCONCLUSIVE: (False, True), FAILED: (False, False)}


@pytest.mark.parametrize("status", VERDICTS)
def test_a_check_is_true_only_if_it_passed(status: str) -> None:
    strictly, loosely = VERDICTS[status]
    check = Check(status, "explicit", "numexpr", {"x": LeafCheck(status=status, jacobian_shape=(1, 1))})
    assert bool(check) is strictly
    for strict, fine in ((True, strictly), (False, loosely)):
        if fine:
            assert check.require(strict=strict) is check
        else:
            with pytest.raises(vjpcalc.CheckFailed) as raised:
                check.require(strict=strict)
            assert raised.value.check is check
            assert isinstance(raised.value, AssertionError)


def test_require_raises_with_the_report() -> None:
    with pytest.raises(vjpcalc.CheckFailed) as raised:
        FAILURE.check.require()
    expected = (
        "check failed: explicit J (x 1×6) by complex step, engine numexpr\n"
        "  x: 1 of 6 elements is wrong, x[0, 1]: backward gives -2, Jᵀ·seed is 2\n"
        "    pattern: the sign is flipped"
    )
    assert str(raised.value) == str(FAILURE.check) == expected
    assert str(pickle.loads(pickle.dumps(raised.value))) == expected


def test_a_right_result_needs_no_more_than_a_condition() -> None:
    assert vjpcalc.vjp("sum(x**2)", {"x": [1.0, 2.0]}).check
    assert not vjpcalc.vjp("relu(x)", {"x": 0.0}).check


def test_a_diagnostic_as_text_has_its_hint() -> None:
    with pytest.raises(vjpcalc.Diagnostic) as raised:
        vjpcalc.vjp("abs(x, 1, 2)", {"x": 1.0})
    assert str(raised.value) == f"{raised.value.message}\nhint: {raised.value.hint}"
    assert str(vjpcalc.Diagnostic("value", "no hint")) == "no hint"
