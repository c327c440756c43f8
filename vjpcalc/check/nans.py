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
from dataclasses import dataclass

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.sets import LARGE_SHARE, MOST

Function = Callable[[np.ndarray], np.ndarray]
ENDS = 2  # digits of a dimension that are tried before the others
MOSTLY = 0.95  # of the outputs: those at the ends may reach round the corner
# Neighbours that an output may seem to depend on: of a 3×3 kernel it may be 64, and so many evaluations of a
# convolution take a minute where a probe takes a second.
WIDEST = 16
UNEVEN = 4  # times the median of what outputs seem to depend on
KINDS = 64  # different forms that what an output depends on may have


class _Mixed(Exception):  # noqa: N818 (an answer, not an error)
    """Nothing is to be told apart."""


def dependence(at: Function, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Where ∂y/∂x may have entries, y being at(x): rows and columns; None where that is most of it."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            none, away = np.full(x.shape, np.nan), 1.37 * np.abs(x) + 0.71
            points = [(x, y.ravel())]
            if np.isnan(y).any():  # a value that is NaN shows nothing at x: log(-1)
                points.append((ordinary(x), np.ravel(at(ordinary(x)))))
                if points[1][1].shape != (y.size,) or np.isnan(points[1][1]).any():
                    return None

            def seen(*, shifted: bool) -> _Seen:
                found = _open(x.shape, y.size, shifted=shifted)
                for point, value in points:
                    found = _seen(at, point, value, [none], found)
                return found

            found = [seen(shifted=False)]
            if _uneven(found[0], x.shape):
                found.append(seen(shifted=True))
                if np.quantile(_counts(_best(found)[1], x.shape), MOSTLY) > WIDEST:
                    return None
            if _entries(found, x.shape) > min(MOST, LARGE_SHARE * x.size * y.size):
                return None
            found = [_seen(at, x, y.ravel(), [x + away, x - away], one) for one in found]
            return _listed(found, x.shape)
    except _Mixed:
        return None


def ordinary(x: np.ndarray) -> np.ndarray:
    """Numbers near those of x at which most functions have a value."""
    return np.where(np.isfinite(x), 0.37 * np.abs(x) / (1 + np.abs(x)) + 0.31, 0.57)


@dataclass(frozen=True)
class _Seen:
    """For each dimension, and each digit of its indices: which outputs depend on indices with a 0 there, and
    which on indices with a 1; None where all do, as far as is known.

    The indices are counted from ``shifts``, one for each dimension.
    """

    digits: list[list[tuple[np.ndarray, np.ndarray] | None]]
    shifts: tuple[int, ...]


def _open(shape: tuple[int, ...], outputs: int, *, shifted: bool) -> _Seen:
    """Nothing is known to depend on anything.

    Neighbours may differ in all digits, 7 and 8 in four. Counted from a third of a power of two on, 0101…,
    just those do that do not when counted from 0: one of both tells what a few neighbours have in common.
    """
    shifts = tuple((1 << (size - 1).bit_length()) // 3 if shifted else 0 for size in shape)
    digits: list[list[tuple[np.ndarray, np.ndarray] | None]] = [
        [(np.zeros(outputs, bool), np.zeros(outputs, bool)) for _ in range((size + shift - 1).bit_length())]
        for size, shift in zip(shape, shifts, strict=True)
    ]
    return _Seen(digits, shifts)


def _seen(at: Function, x: np.ndarray, y: np.ndarray, others: Sequence[np.ndarray], seen: _Seen) -> _Seen:
    """What is seen once elements are what they are in ``others`` as well. Raises _Mixed."""
    made: list[list[tuple[np.ndarray, np.ndarray] | None]] = []
    for axis, digits in enumerate(seen.digits):
        shown = [-1 if other == axis else 1 for other in range(x.ndim)]
        index = np.arange(seen.shifts[axis], seen.shifts[axis] + x.shape[axis]).reshape(shown)
        made.append([None] * len(digits))
        mixed = 0
        # the first digit and the last: where all outputs depend on both values of both, the rest is alike
        for turn, bit in enumerate([len(digits) - 1, *range(len(digits) - 1)][: len(digits)]):
            before = digits[bit]
            if before is None or (turn >= ENDS and mixed == ENDS):
                mixed += turn < ENDS
                continue
            touched = []
            for digit, known in enumerate(before):
                changed = known
                for other in others:
                    changed = changed | _changed(at, np.where((index >> bit) & 1 == digit, other, x), y)
                touched.append(changed)
            if touched[0].all() and touched[1].all():
                mixed += turn < ENDS
            else:
                made[-1][bit] = touched[0], touched[1]
    return _Seen(made, seen.shifts)


def _changed(at: Function, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    try:
        values = np.ravel(at(x))
    except Exception as error:  # a function may refuse such numbers
        raise _Mixed from error
    if values.shape != y.shape:
        raise _Mixed
    return (values != y) & ~np.isnan(y)


def _forms(seen: _Seen, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """For each output and dimension the digits that are known, as an index, and which are free: (m, ndim).

    An output that depends on nothing has -1 as an index.
    """
    fixed, free = (
        np.zeros((outputs, len(seen.digits)), np.intp),
        np.zeros((outputs, len(seen.digits)), np.intp),
    )
    for axis, digits in enumerate(seen.digits):
        nothing = np.zeros(outputs, bool)
        for bit, pair in enumerate(digits):
            zero, one = (np.ones(outputs, bool),) * 2 if pair is None else pair
            fixed[:, axis] |= np.where(one & ~zero, 1 << bit, 0)
            free[:, axis] |= np.where(one & zero, 1 << bit, 0)
            nothing |= ~(one | zero)
        fixed[nothing, axis] = -1
    return fixed, free


def _best(several: Sequence[_Seen]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same by whichever numbering leaves fewer digits free, and its shifts, (m, ndim)."""
    outputs = _outputs(several[0])
    (fixed, free), *others = (_forms(seen, outputs) for seen in several)
    shifts = np.zeros_like(fixed) + np.array(several[0].shifts, np.intp)
    for seen, (index, digits) in zip(several[1:], others, strict=True):
        fewer = (np.bitwise_count(digits) < np.bitwise_count(free)) | (index < 0)
        fixed, free = np.where(fewer, index, fixed), np.where(fewer, digits, free)
        shifts = np.where(fewer, np.array(seen.shifts, np.intp), shifts)
    return fixed, free, shifts


def _outputs(seen: _Seen) -> int:
    for digits in seen.digits:
        for pair in digits:
            if pair is not None:
                return pair[0].size
    raise _Mixed


def _counts(free: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """How many elements there may be with such digits, for each row: (m,)."""
    return np.minimum(2.0 ** np.bitwise_count(free), shape).prod(axis=1)


def _uneven(seen: _Seen, shape: tuple[int, ...]) -> bool:
    """True if some outputs seem to depend on far more than most do. Raises _Mixed."""
    counts = _counts(_forms(seen, _outputs(seen))[1], shape)
    return bool(counts.max(initial=0) > UNEVEN * np.median(counts))


def _entries(several: Sequence[_Seen], shape: tuple[int, ...]) -> float:
    """How many entries there may be, at the most. Raises _Mixed."""
    return float(_counts(_best(several)[1], shape).sum())


def _listed(several: Sequence[_Seen], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All of them, by rows and columns. Raises _Mixed."""
    if _entries(several, shape) > MOST:
        raise _Mixed
    fixed, free, shifts = _best(several)
    every = [(seen, _forms(seen, len(fixed))) for seen in several[1:] and several]
    forms, which = np.unique(free, axis=0, return_inverse=True)
    if len(forms) > KINDS:
        raise _Mixed
    rows, columns = [], []
    for number, form in enumerate(forms):
        own = np.flatnonzero((which.ravel() == number) & (fixed >= 0).all(axis=1))
        ways = [list(_submasks(int(bits))) for bits in form]
        for way in itertools.product(*ways):
            index = fixed[own] + np.array(way, np.intp) - shifts[own]
            inside = ((index >= 0) & (index < shape)).all(axis=1)
            for seen, (known, open_) in every:
                inside &= ((index + np.array(seen.shifts) & ~open_[own]) == known[own]).all(axis=1)
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
