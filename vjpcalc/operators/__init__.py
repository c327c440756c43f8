"""The operator table: importing this package, or anything in it, fills the registry, in this order.

Neither torch nor NumPy is imported by it.
"""

from importlib import import_module

for _module in ("elementwise", "activations", "reductions", "linalg", "shapes", "neural", "creation"):
    import_module(f"{__name__}.{_module}")
