"""What the check has to say of a number, as sentences; ``name`` is what the number is called: ``x[0, 1]``."""

from __future__ import annotations

import math
from collections.abc import Sequence


def apart(name: str, gradient: float, expected: float) -> str:
    return f"{name}: backward gives {gradient:.17g}, Jᵀ·seed is {expected:.17g}"


def undecided(name: str, gradient: float, expected: float) -> str:
    return (
        f"{apart(name, gradient, expected)}: farther apart than rounding explains, but a second way to "
        "differentiate does not confirm it"
    )


def ill_conditioned(name: str, gradient: float, spread: float) -> str:
    return (
        f"ill-conditioned: {name}: one-ulp changes of the values move the gradient {gradient:.6g} "
        f"by up to {spread:.2g}"
    )


def unsure(name: str, gradient: float, expected: float, doubt: float) -> str:
    return (
        f"{name}: the differences do not converge: {expected:.6g} ± {doubt:.2g} "
        f"(backward gives {gradient:.6g})"
    )


def too_small(name: str, gradient: float, expected: float) -> str:
    return f"{apart(name, gradient, expected)}: too small to judge"


def kink(name: str, what: str, slopes: Sequence[float], gradient: float) -> str:
    if not all(map(math.isfinite, slopes)):
        return f"{name}: {what}"
    left, right = (slope + 0.0 for slope in slopes)
    between = min(left, right) - 1e-6 <= gradient <= max(left, right) + 1e-6
    where = "lies between them" if between else "does not lie between them"
    return (
        f"{name}: {what}: the slope is {left:.6g} from the left and {right:.6g} from the right; "
        f"torch's {gradient + 0.0:.6g} {where}"
    )


def of(operators: Sequence[str]) -> str:
    """`` of relu, abs``, or nothing."""
    return f" of {', '.join(operators)}" if operators else ""


def not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "infinite" if value > 0 else "-infinite"
