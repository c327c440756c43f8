"""What the check has to say of a number, as sentences; ``name`` is what the number is called: ``x[0, 1]``.

A ``node`` is called as ``text_of`` calls it: by its source text in quotes, or by its operator's name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.diagnostics import count

LEAST, MOST = 6, 17  # significant digits of a number in a sentence
SEEN = 3  # digits of a difference that are shown
YOURS = "your backward's"  # number, in place of torch's
SHOWN = 6  # elements of a cotangent in a sentence
SIDED = 1e-6  # relative; one-sided differences are not better than this at a kink of order one


# ---- a gradient that is wrong ------------------------------------------------------------------------------


def apart(name: str, gradient: float, expected: float) -> str:
    own, right = told_apart(gradient, expected)
    return f"{name}: backward gives {own}, Jᵀ·seed is {right}"


def not_finite_gradient(
    name: str, gradient: float, expected: float, origin: str | None = None, remedy: str | None = None
) -> str:
    """A gradient that is NaN or infinite where the slope is finite; ``origin`` says where that comes from."""
    made = f": {origin}" if origin else ""
    hint = f"; {remedy}" if remedy else ""
    return f"{name}: backward gives {_spelled(gradient)}, Jᵀ·seed is {_spelled(expected)}{made}{hint}"


# What helps where a backward makes NaN or infinity of a slope that is finite, by operator.
REMEDIES = {
    ("sqrt", "rsqrt", "pow", "float_power"): "keep what is under the root away from 0: sqrt(x + 1e-12)",
    ("norm", "vector_norm", "hypot", "dist"): "a norm has no slope at 0: sqrt(sum(x**2) + 1e-12)",
    ("log", "log2", "log10", "xlogy", "logit"): "keep its argument away from 0: log(clamp(x, min=1e-12))",
    ("div", "reciprocal"): "keep the denominator away from 0",
    ("atan2",): "x² + y² leaves the range of this dtype: compute it in a wider one",
    ("softmax", "log_softmax", "logsumexp"): "a row that is -inf throughout has no softmax",
    ("asin", "acos", "acosh", "atanh", "erfinv"): "keep its argument inside of the domain, by clamp",
}


def remedy(operator: str, choice: str | None = None) -> str | None:
    """The usual way out where the backward of an operator makes NaN or infinity; None: none is known.

    ``choice`` is the where(…) that does not choose the operator's result there, called as a node is.
    """
    if choice:
        return (
            f"{choice} sends 0 into it, and 0 · infinity is NaN: choose its argument as well, "
            f"{operator}(where(condition, x, 1))"
        )
    return next((words for operators, words in REMEDIES.items() if operator in operators), None)


# ---- what cannot be told -----------------------------------------------------------------------------------


def undecided(name: str, gradient: float, expected: float) -> str:
    return (
        f"{apart(name, gradient, expected)}: farther apart than rounding explains, but a second way to "
        "differentiate does not confirm it"
    )


def ill_conditioned(name: str, gradient: float, spread: float) -> str:
    return (
        f"{name}: ill-conditioned: one-ulp changes of the values move the gradient {gradient + 0.0:.6g} "
        f"by up to {spread:.2g}"
    )


def few_digits(name: str, digits: int = 0, node: str | None = None) -> str:
    """So few digits that there is nothing to judge; ``node`` is what cancels, where it is known."""
    why = f"{node} cancels" if node else "rounding on the way leaves no more"
    return f"{name}: {count(digits, 'digit')} of the derivative: {why}"


def rounded_away(name: str, node: str) -> str:
    """No digit is left: what a node's own rounding changes is all that there is to see behind it."""
    return f"{name}: 0 digits of the derivative: {node} rounds them away"


def not_enough_digits(name: str, digits: int) -> str:
    """Fewer digits than a pass was asked to have."""
    return f"{name}: right to {count(digits, 'digit')}, fewer than were asked for"


def rounded_forward(digits: int, unit: float) -> str:
    """A forward that is rounded inside to ``unit``: ``3 digits: the forward is rounded to 6e-8``."""
    return f"{count(digits, 'digit')}: the forward is rounded to {f'{unit:.1g}'.replace('e-0', 'e-')}"


def too_small(name: str, gradient: float, expected: float) -> str:
    return f"{apart(name, gradient, expected)}: too small to judge, since products of such numbers underflow"


def unsure(name: str, gradient: float, expected: float, doubt: float) -> str:
    return (
        f"{name}: the differences do not converge: {expected:.6g} ± {doubt:.2g} "
        f"(backward gives {gradient:.6g})"
    )


def no_slope(name: str, gradient: float) -> str:
    return (
        f"{name}: differences of the forward show no slope: its values scatter there by more than rounding "
        f"does (backward gives {gradient + 0.0:.6g})"
    )


def no_step(name: str, gradient: float) -> str:
    """A slope that differences cannot see, since they leave the values around the point at any step."""
    return (
        f"{name}: differences of the forward show no slope: it jumps or has a pole here, nearer than the "
        f"smallest step (backward gives {gradient + 0.0:.6g})"
    )


def kink(name: str, what: str, slopes: Sequence[float], gradient: float, whose: str = "torch's") -> str:
    """A point with two slopes, from the left and from the right, and where the number lies that is torch's.

    ``whose`` it is else: that of a backward of the user's own.
    """
    if not all(map(math.isfinite, slopes)):
        return f"{name}: {what}"
    left, right = slopes
    room = SIDED * max(abs(left), abs(right))
    from_left, from_right, own = told_apart(left, right, gradient, room=room)
    if abs(left - right) <= room:
        same = f", and {whose} too" if abs(gradient - left) <= room else f"; {whose} {own} differs"
        return f"{name}: {what}: the slope is {from_left} from either side{same}"
    if abs(gradient - left) <= room:
        where = "equals the left one"
    elif abs(gradient - right) <= room:
        where = "equals the right one"
    else:
        between = min(left, right) < gradient < max(left, right)
        where = "lies between them" if between else "does not lie between them"
    return (
        f"{name}: {what}: the slope is {from_left} from the left and {from_right} from the right; "
        f"{whose} {own} {where}"
    )


def hidden_kink(operators: Sequence[str], elements: int) -> str:
    """A kink of a leaf of so many elements that no one of them shows when it is moved alone."""
    if elements == 1:
        return f"a kink{of(operators)}: another step gives another slope"
    several = "both elements" if elements == 2 else "several elements"
    return f"a kink{of(operators)}: the slopes differ where {several} of the leaf move at once"


# ---- torch's forward and the reference's -------------------------------------------------------------------


def forwards_differ(name: str, by_torch: float, by_reference: float, dtype: str, why: str | None) -> str:
    """Outputs of this dtype that differ by more than rounding; ``why``, where that is known."""
    one, other = told_apart(by_torch, by_reference)
    both = f"torch computes {one} for {name}, the reference engine {other}"
    if why is None and dtype != "float64":
        why = f"ill-conditioned in {dtype}"
    return f"{both}: {why}" if why else both


def wrapped_around(node: str, exact: float, dtype: str) -> str:
    """A whole number that its dtype does not hold."""
    return f"{node} is {exact:.6g}, more than {dtype} holds: it wrapped around"


# ---- a cotangent -------------------------------------------------------------------------------------------


def cotangent(v: np.ndarray) -> str:
    """``v = [1.5, -2]``; of one with more than a few elements the first ones and its shape."""
    if v.size <= SHOWN:
        return f"v = {_nested(v)}"
    first = ", ".join(_short(number) for number in v.ravel()[:SHOWN].tolist())
    return f"v = [{first}, …] of shape {v.shape}"


def _nested(v: np.ndarray) -> str:
    return _short(float(v)) if v.ndim == 0 else f"[{', '.join(map(_nested, v))}]"


def _short(number: float) -> str:
    return f"{number + 0.0:.{LEAST + 1}g}"


# ---- parts of sentences ------------------------------------------------------------------------------------


def of(operators: Sequence[str]) -> str:
    """`` of abs, max and relu``, or nothing."""
    *first, last = operators or [""]
    return f" of {', '.join(first)} and {last}" if first else f" of {last}" if last else ""


def not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "infinite" if value > 0 else "minus infinity"


def told_apart(*numbers: float, room: float = 0.0) -> list[str]:
    """Numbers with as many digits as show how far they are apart, where that is more than ``room``."""
    digits = LEAST
    scale = max(map(abs, numbers))
    for a, b in itertools.combinations(numbers, 2):
        if math.isfinite(scale) and abs(a - b) > room:
            digits = max(digits, math.ceil(math.log10(scale / abs(a - b))) + SEEN)
    return [_spelled(number, min(digits, MOST)) for number in numbers]


def _spelled(number: float, digits: int = LEAST) -> str:
    """A number in a sentence."""
    if math.isfinite(number):
        return f"{number + 0.0:.{digits}g}"
    return "NaN" if math.isnan(number) else "infinity" if number > 0 else "-infinity"
