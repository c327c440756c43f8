"""What a function of the user's own depends on, as its values show.

Arithmetic hands on a NaN: an output that has its value where some elements are NaN has nothing to do with
them, if it has its value also where these are far away, up and down: a function may swallow a NaN, as
nansum and nan_to_num do. So the elements of a tensor are moved by halves, one binary digit of each index at a
time: some log₂ n runs for all of its n elements. What an output depends on is then known one dimension at a
time, and in each as what some digits have in common: no less than what it depends on, as far as such moves
show it, and just that for what works element by element, or along the last dimensions.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.sets import LARGE_SHARE, MOST

Function = Callable[[np.ndarray], np.ndarray]
KINDS = 64  # different forms that what an output depends on may have


class _Mixed(Exception):  # noqa: N818 (an answer, not an error)
    """Nothing is to be told apart."""


def dependence(at: Function, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Where ∂y/∂x may have entries, y being at(x): rows and columns; None where that is most of it."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = _seen(at, x, y.ravel(), [np.full(x.shape, np.nan)], _open(x.shape, y.size))
            if _entries(found, x.shape) > min(MOST, LARGE_SHARE * x.size * y.size):
                return None
            away = 1.37 * np.abs(x) + 0.71
            found = _seen(at, x, y.ravel(), [x + away, x - away], found)
            return _listed(found, x.shape)
    except _Mixed:
        return None


# For each dimension, and each digit of its indices: which outputs depend on indices with a 0 there, and
# which on indices with a 1; None where all do, as far as is known.
Seen = list[list[tuple[np.ndarray, np.ndarray] | None]]


def _open(shape: tuple[int, ...], outputs: int) -> Seen:
    """Nothing is known to depend on anything."""
    return [[(np.zeros(outputs, bool), np.zeros(outputs, bool)) for _ in range((size - 1).bit_length())]
            for size in shape]  # fmt: skip


def _seen(at: Function, x: np.ndarray, y: np.ndarray, others: Sequence[np.ndarray], seen: Seen) -> Seen:
    """What is seen once elements are what they are in ``others`` as well. Raises _Mixed."""
    made: Seen = []
    for axis, digits in enumerate(seen):
        shown = [-1 if other == axis else 1 for other in range(x.ndim)]
        index = np.arange(x.shape[axis]).reshape(shown)
        mixed = False
        made.append([])
        for bit, before in enumerate(digits):
            if mixed or before is None:
                made[-1].append(None)
                continue
            touched = []
            for digit, known in enumerate(before):
                changed = known
                for other in others:
                    changed = changed | _changed(at, np.where((index >> bit) & 1 == digit, other, x), y)
                touched.append(changed)
            mixed = bool(touched[0].all() and touched[1].all())  # the other digits would show it, too
            made[-1].append(None if mixed else (touched[0], touched[1]))
    return made


def _changed(at: Function, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    try:
        values = np.ravel(at(x))
    except Exception as error:  # a function may refuse such numbers
        raise _Mixed from error
    if values.shape != y.shape:
        raise _Mixed
    return values != y


def _forms(seen: Seen, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """For each output and dimension the digits that are known, as an index, and which are free: (m, ndim).

    An output that depends on nothing has -1 as an index.
    """
    fixed, free = np.zeros((outputs, len(seen)), np.intp), np.zeros((outputs, len(seen)), np.intp)
    for axis, digits in enumerate(seen):
        nothing = np.zeros(outputs, bool)
        for bit, pair in enumerate(digits):
            zero, one = (np.ones(outputs, bool),) * 2 if pair is None else pair
            fixed[:, axis] |= np.where(one & ~zero, 1 << bit, 0)
            free[:, axis] |= np.where(one & zero, 1 << bit, 0)
            nothing |= ~(one | zero)
        fixed[nothing, axis] = -1
    return fixed, free


def _outputs(seen: Seen) -> int:
    return next(pair[0].size for digits in seen for pair in digits if pair is not None)


def _entries(seen: Seen, shape: tuple[int, ...]) -> float:
    """How many entries there may be, at the most. Raises _Mixed."""
    if all(pair is None for digits in seen for pair in digits):
        raise _Mixed
    _, free = _forms(seen, _outputs(seen))
    counts = np.array([[1 << int(bits).bit_count() for bits in row] for row in np.unique(free, axis=0)])
    largest = np.minimum(counts, shape).prod(axis=1).max()
    return float(largest) * len(free)


def _listed(seen: Seen, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All of them, by rows and columns. Raises _Mixed."""
    if _entries(seen, shape) > MOST:
        raise _Mixed
    fixed, free = _forms(seen, _outputs(seen))
    forms, which = np.unique(free, axis=0, return_inverse=True)
    if len(forms) > KINDS:
        raise _Mixed
    rows, columns = [], []
    for number, form in enumerate(forms):
        own = np.flatnonzero((which.ravel() == number) & (fixed >= 0).all(axis=1))
        ways = [list(_submasks(int(bits))) for bits in form]
        for way in itertools.product(*ways):
            index = fixed[own] + np.array(way, np.intp)
            inside = (index < shape).all(axis=1)
            rows.append(own[inside])
            columns.append(np.ravel_multi_index(tuple(index[inside].T), shape))
    row, column = np.concatenate(rows), np.concatenate(columns)
    order = np.lexsort((column, row))
    return row[order], column[order]


def _submasks(bits: int) -> Iterator[int]:
    """Every number with no other digits than these."""
    part = 0
    while True:
        yield part
        if part == bits:
            return
        part = (part - bits) & bits
