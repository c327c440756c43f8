"""Tensors as aligned text, large ones elided the NumPy way."""

from __future__ import annotations

from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a tensor to show)

PRECISION = 6  # significant digits shown
THRESHOLD = 200  # elements up to which a tensor is shown whole
ROWS = 12  # a matrix of so few rows keeps them all; only columns are elided
EDGE_ITEMS = (6, 5, 4, 3, 2, 1)  # how many items at each edge an elided dimension keeps, the first that fits


def number(value: float, precision: int = PRECISION) -> str:
    """One number, without a trailing ``.0``."""
    return f"{value:.{precision}g}"


def tensor(array: Any, precision: int = PRECISION, width: int | None = None) -> str:
    """An array or torch tensor as lines of aligned numbers, elided where ``width`` columns ask for it."""
    values = np.asarray(array.detach().double() if hasattr(array, "detach") else array, dtype=np.float64)
    if values.ndim == 0:
        return number(float(values), precision)
    if np.all(np.isfinite(values)) and np.all(values == np.round(values)) and np.all(np.abs(values) < 1e15):
        values = values.astype(np.int64)
    scattered = _scattered(values)

    def text(threshold: int, edge_items: int, shown: np.ndarray = values) -> str:
        def aligned(columns: int = 0) -> str:
            own = {"float_kind": lambda value: f"{value:{columns}.{precision}g}"}
            return np.array2string(
                shown,
                max_line_width=10**9,
                precision=precision,
                threshold=threshold,
                edgeitems=edge_items,
                floatmode="maxprec",
                formatter=own if scattered else None,  # type: ignore[arg-type]
            )

        return aligned(max(map(len, aligned().translate(BRACKETS).split()))) if scattered else aligned()

    whole = text(THRESHOLD, 3)
    if width is None or _width(whole) <= width:
        return whole
    few_rows = values.ndim == 2 and values.shape[0] <= ROWS
    for edge_items in EDGE_ITEMS:
        if few_rows and 2 * edge_items < values.shape[1]:
            edges = np.concatenate([values[:, :edge_items], values[:, -edge_items:]], axis=1)
            elided = _with_gap(text(10**9, 3, edges), edge_items)
        else:
            elided = text(0, edge_items)
        if _width(elided) <= width:
            break
    return elided


def _with_gap(text: str, left: int) -> str:
    """Rows of numbers of one width, with ``...`` after the first ``left`` of each."""
    lines = text.split("\n")
    wide = (len(lines[0].rstrip("]")) - 1) // (2 * left)  # of a number and the blank after it
    cut = 2 + left * wide
    return "\n".join(f"{row[:cut]}... {row[cut:]}" for row in lines)


BRACKETS = str.maketrans("[]", "  ")


def _scattered(values: Any) -> bool:
    """True if the sizes are so far apart that a common number of decimals would hide some."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)]).astype(float)
    if values.dtype.kind != "f" or not sizes.size:
        return False
    return bool(sizes.max() >= 1e8 or sizes.min() < 1e-4 or sizes.max() > 1e3 * sizes.min())


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))


def shape(sizes: Any) -> str:
    """``(2, 3)``."""
    return str(tuple(int(size) for size in sizes))
