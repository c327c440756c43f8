"""The reference engine: NumPy in float64, with SciPy's special functions. It shares no code with torch.

Composed rows are run as the program that they are, so that a trace made by this engine holds kernels only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 (an engine is imported only once it is needed)

from vjpcalc.engines.kernels import kernel
from vjpcalc.operators.row import Call, Operator

if TYPE_CHECKING:
    from vjpcalc.engines.yours import Precision, Yours

MODULES = {"": "numpy", "linalg": "numpy.linalg", "scipy": "scipy.special"}  # how a row's texts call them


class ReferenceEngine:
    """NumPy. Floats are float64 whatever dtype torch works in; masks are bool, indices int64.

    ``seed``, one whole number or several, starts the stream that ``rand`` and ``randn`` draw from.
    """

    name = "numpy"
    expands = True

    def __init__(self, seed: int | Sequence[int] = 0) -> None:
        self._seed = seed

    @functools.cached_property
    def random(self) -> np.random.Generator:
        return np.random.default_rng(self._seed)  # made only for a program that draws from it

    def apply(self, operator: Operator, values: Mapping[str, Any]) -> np.ndarray:
        if operator.function is not None:
            return _yours(operator).in_float64(*operator.arguments("torch", values))
        function = self.resolve(operator.numpy)
        positional, keywords = operator.arguments("numpy", values)
        with np.errstate(all="ignore"):
            result = function(*positional, **keywords)
        field = Call.parse(operator.numpy).field
        result = np.asarray(getattr(result, field) if field else result)
        created = operator.kind == "creation" and result.dtype.kind == "f"
        return result.astype(np.float64) if created else result

    def of_one(
        self, operator: Operator, values: Mapping[str, Any], moved: object
    ) -> Callable[[np.ndarray], np.ndarray] | None:
        """A user's function of one array, ``moved`` among the values; None if it has lists or keywords."""
        positional, keywords = operator.arguments("torch", values)
        if keywords or any(isinstance(value, list | tuple) for value in positional):
            return None
        return _yours(operator).of_one(positional, moved)

    def session(self, operator: Operator) -> AbstractContextManager[None]:
        """What a user's function needs is made ready once, for many calls in a row."""
        return _yours(operator).session()

    def precision(self, operator: Operator, values: Mapping[str, Any]) -> Precision:
        """How precise all is on the way through a function of the user's own."""
        return _yours(operator).precision(*operator.arguments("torch", values))

    def resolve(self, call: str) -> Callable[..., Any]:
        """The function behind a row's ``numpy`` text."""
        root, _, name = Call.parse(call).path.rpartition(".")
        return getattr(self.random, name) if root == "random" else _function(root, name)

    def constant(self, data: Any, *, whole: bool = False) -> np.ndarray:
        array = np.asarray(data)
        kept = array.dtype.kind == "b" or (whole and array.dtype.kind == "i")
        return array if kept else array.astype(np.float64)

    def item(self, array: np.ndarray) -> float | int | bool:
        return array.item()

    def is_mask(self, array: np.ndarray) -> bool:
        return array.dtype == bool


@functools.cache
def _function(root: str, name: str) -> Callable[..., Any]:
    return kernel(name) if root == "kernels" else getattr(import_module(MODULES.get(root, root)), name)


def _yours(operator: Operator) -> Yours:
    """A user's torch function, as the job has it; by itself, it is one of a float64 job."""
    import torch  # here alone must torch be asked

    from vjpcalc.engines.yours import Yours

    function = operator.function
    assert function is not None
    return function if isinstance(function, Yours) else Yours(function, torch.float64)
