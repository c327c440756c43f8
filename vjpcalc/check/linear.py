"""The derivative of one node with respect to one of its arguments, as a linear map that knows its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

if TYPE_CHECKING:
    from vjpcalc.check.jacobian import Jacobian

SPARSE = 0.25  # of all entries: with no more than these, the others are not stored


@dataclass(frozen=True, eq=False)
class Linear:
    """∂result/∂argument, both flattened: m by n. ``values`` may be off by ``errors``.

    These are matrices, or with ``rows`` and ``columns`` the entries there, all others being 0.
    """

    shape: tuple[int, int]
    values: np.ndarray
    errors: np.ndarray
    rows: np.ndarray | None = None
    columns: np.ndarray | None = None

    @classmethod
    def of(cls, jacobian: Jacobian) -> Self:
        """The map that a Jacobian is, without its zeros where these are most of it."""
        shape, values, errors = jacobian.shape, jacobian.entries, jacobian.errors
        zero = (values == 0) & (errors == 0)
        rows, columns = jacobian.layout.rows, jacobian.layout.columns
        if rows is not None and columns is not None:
            kept = ~zero
            return cls(shape, values[kept], errors[kept], rows[kept], columns[kept])
        if np.count_nonzero(~zero) > SPARSE * values.size:
            return cls(shape, values, errors)
        rows, columns = np.nonzero(~zero)
        return cls(shape, values[rows, columns], errors[rows, columns], rows, columns)

    @property
    def relative(self) -> float:
        """The largest error of an entry, relative to the largest entry."""
        largest = float(np.max(np.abs(self.values), initial=0.0))
        return float(np.max(self.errors, initial=0.0)) / largest if largest > 0 else 0.0

    def along(self, direction: np.ndarray) -> np.ndarray:
        """The derivative of the result along a direction (n,), shape (m,)."""
        return self._product(self.values, direction)

    def doubt(self, direction: np.ndarray) -> np.ndarray:
        """How far off that may be."""
        return self._product(self.errors, np.abs(direction))

    def _product(self, entries: np.ndarray, direction: np.ndarray) -> np.ndarray:
        if self.rows is None or self.columns is None:
            return entries @ direction
        return np.bincount(self.rows, entries * direction[self.columns], self.shape[0])
