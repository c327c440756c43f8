"""Every limit and default, and the methods of the check: light enough for a tab."""

from __future__ import annotations

from dataclasses import dataclass

from vjpcalc.diagnostics import Diagnostic, unknown

METHODS = ("auto", "explicit", "probe", "forward", "off")  # of the check

DEFAULT_LIMIT = 50_000_000  # element operations that an explicit Jacobian may cost
DIGITS = 17  # that may be asked of a gradient: no float64 has more
MAX_STEPS = 100_000  # statements and operators that a program may run
MAX_ELEMENTS = 50_000_000  # of one tensor
STEPS = 24  # shown of a longer walk


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a program is stopped: ``max_steps`` statements and operators, ``max_elements`` of one tensor."""

    max_steps: int = MAX_STEPS
    max_elements: int = MAX_ELEMENTS


def require_method(method: str) -> None:
    """Raise Diagnostic (usage) where the check has no such method."""
    if method not in METHODS:
        raise unknown("usage", f"unknown check '{method}'", method, METHODS)


def require_digits(digits: int | None) -> None:
    """Raise Diagnostic (usage) where no gradient can be asked to have so many digits."""
    if digits is not None and (type(digits) is not int or not 1 <= digits <= DIGITS):
        raise Diagnostic("usage", f"digits is a whole number from 1 to {DIGITS}, not {digits!r}")
