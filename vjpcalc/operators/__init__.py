"""The operator table: importing this package fills the registry. Neither torch nor NumPy is imported by it."""

from vjpcalc.operators import creation, elementwise, linalg, reductions, shapes

__all__ = ["creation", "elementwise", "linalg", "reductions", "shapes"]
