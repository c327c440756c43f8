"""vjpcalc: a vector-Jacobian product calculator. ``vjp`` and ``jacobian`` are the API, ``VJP`` its result.

What is wrong with the arguments is a ``Diagnostic``; ``result.check.require()`` raises ``CheckFailed``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vjpcalc.api import jacobian as jacobian
    from vjpcalc.api import vjp as vjp
    from vjpcalc.diagnostics import Diagnostic as Diagnostic
    from vjpcalc.job.result import VJP as VJP
    from vjpcalc.job.result import CheckFailed as CheckFailed

__version__ = "0.1.0"
__all__ = ["VJP", "CheckFailed", "Diagnostic", "__version__", "jacobian", "vjp"]

_HOMES = {
    "vjp": "api",
    "jacobian": "api",
    "VJP": "job.result",
    "CheckFailed": "job.result",
    "Diagnostic": "diagnostics",
}


def __getattr__(name: str) -> Any:
    """Import torch only once somebody asks for something that needs it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vjpcalc' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"vjpcalc.{_HOMES[name]}"), name)
