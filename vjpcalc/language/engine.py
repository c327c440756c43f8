"""What an engine is: one way to apply an operator to arrays. The interpreter knows no more of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from vjpcalc.operators.row import Operator


class Engine(Protocol):
    """Arrays need only have ``shape``; everything else that the interpreter asks of them is asked here."""

    name: str
    expands: bool  # composed rows are run as the program that their ``ref`` is

    def apply(self, operator: Operator, values: Mapping[str, Any]) -> Any:
        """The operator's result for bound values (arrays where the row has tensors)."""
        ...

    def constant(self, data: Any, *, whole: bool = False) -> Any:
        """A number or nested list as an array: of the default dtype, or int64 where ``whole``."""
        ...

    def item(self, array: Any) -> float | int | bool:
        """The Python number in an array of one element."""
        ...

    def is_mask(self, array: Any) -> bool:
        """Whether the array's elements are bools."""
        ...
