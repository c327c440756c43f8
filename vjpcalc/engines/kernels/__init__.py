"""NumPy kernels of our own: for operators that NumPy and SciPy lack, or whose complex kernel is not exact.

A file holds a family of the operator table, and rules.py what only VJP rules call. A row writes
``kernels.NAME``, whichever file that is in: no two kernels have one name.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

FAMILIES = ("elementwise", "reductions", "shapes", "linalg", "neural", "rules")


def kernel(name: str) -> Callable[..., Any]:
    """The kernel of that name. Families are imported in their order, none beyond the one that has it."""
    for family in FAMILIES:
        names = vars(import_module(f"{__name__}.{family}"))
        if name in names:
            return names[name]
    raise LookupError(f"no kernel is called {name}")
