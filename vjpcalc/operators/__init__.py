"""The operator table: importing this package fills the registry, a module a family or two, in this order.

Neither torch nor NumPy is imported by it.
"""

from importlib import import_module, util

MODULES = ("elementwise", "activations", "reductions", "linalg", "shapes", "neural", "creation")

for _module in MODULES:
    if util.find_spec(f"{__name__}.{_module}"):
        import_module(f"{__name__}.{_module}")
