"""What the wrong numbers of a gradient have in common, in words: the sign is flipped, transposed, all zero, …

Said is only what fits exactly: a guess is an array that the gradient would be if a certain mistake had been
made, and it must agree with the gradient within rounding, in the whole leaf or in every wrong element. So
that no coincidence is taken for a pattern, a guess counts only where it is far from the right numbers, and
one that takes a number from the gradient itself must then foretell others.

``GUESSES`` are tried in order, the telling ones first; each is a function that yields its guesses.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check.jacobian import Jacobian

FAR = (
    100.0  # times its own rounding: a guess so far from the right number agrees with a wrong one by no chance
)
ROUNDING = 4 * 2.0**-52  # relative; what making a guess costs, beside the tolerance of the numbers in it
FEW = 2  # wrong and right elements at the least, where a pattern is said of the wrong ones alone …
PLACES, ELEMENTS = 3, 10  # … and where their place is all there is to say: of few, chance makes a row
TINY = 1e-300  # beside a tolerance of 0
LARGEST_MATRIX = 1_000_000  # entries of a J that is written out to make guesses of it
LARGEST_DENOMINATOR = 16  # of a factor that is said as a fraction

IGNORED = "the seed is ignored: it equals Jᵀ·ones"

# Factors that a formula forgets, or has once too often.
CONSTANTS = {
    "ln 2": math.log(2), "1/ln 2": 1 / math.log(2), "ln 10": math.log(10), "1/ln 10": 1 / math.log(10),
    "π": math.pi, "1/π": 1 / math.pi, "2π": 2 * math.pi, "1/(2π)": 0.5 / math.pi, "√π": math.sqrt(math.pi),
    "√2": math.sqrt(2), "1/√2": math.sqrt(0.5), "2/√π": 2 / math.sqrt(math.pi),
    "180/π": 180 / math.pi, "π/180": math.pi / 180,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """A gradient that is wrong where ``wrong`` is true; all arrays are shaped like the leaf.

    ``known`` are the elements that have a verdict, wrong or right. See ``pattern`` for the others.
    """

    gradient: np.ndarray
    expected: np.ndarray
    wrong: np.ndarray
    tolerance: np.ndarray
    known: np.ndarray
    name: str = "x"
    values: np.ndarray | None = None
    suspects: Mapping[str, np.ndarray] = field(default_factory=dict)
    others: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.gradient.shape

    @property
    def right(self) -> np.ndarray:
        return np.logical_and(self.known, np.logical_not(self.wrong))


@dataclass(frozen=True, eq=False)
class Guess:
    """What the gradient would be, exact to ``room``, and what is then to be said; NaN where it says nothing.

    ``distinct`` numbers at the least, at ``count`` wrong elements, must bear it out. ``words`` are said of
    the whole leaf, ``there`` of the wrong elements alone; without ``there`` it must hold of the whole.
    """

    words: str
    values: np.ndarray
    room: np.ndarray
    there: str | None = None
    distinct: int = 2
    count: int = 1


def pattern(
    gradient: np.ndarray,
    expected: np.ndarray,
    wrong: np.ndarray,
    tolerance: np.ndarray | float,
    *,
    known: np.ndarray | None = None,
    name: str = "x",
    values: np.ndarray | None = None,
    suspects: Mapping[str, np.ndarray] | None = None,
    others: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> str | None:
    """What the wrong elements of a leaf's gradient have in common, in words; None where nothing fits.

    ``gradient``, ``expected`` (Jᵀ·v) and ``wrong`` (bool) are shaped like the leaf; ``tolerance``, shaped so
    too or one number, is how far apart rounding may put right ones. ``known`` are the elements that have a
    verdict (default: where ``expected`` is finite), ``values`` the leaf itself, called ``name``. ``suspects``
    are arrays that a wrong gradient may be equal to, by what is then to be said (see there), ``others``
    the gradient and Jᵀ·v of each other leaf by name, and ``sizes`` the numbers n that a factor n or 1/n may
    come from, by what they count (see ``dimensions``; default: those of the leaf).
    """
    gradient, expected = np.asarray(gradient, float), np.asarray(expected, float)
    wrong = np.asarray(wrong, bool)
    if not wrong.any():
        return None
    case = Case(
        gradient,
        expected,
        wrong,
        np.broadcast_to(np.asarray(tolerance, float), gradient.shape),
        np.isfinite(expected) if known is None else np.asarray(known, bool),
        name,
        None if values is None else np.asarray(values, float),
        {} if suspects is None else suspects,
        {} if others is None else others,
        dimensions({name: gradient.shape}) if sizes is None else sizes,
    )
    with np.errstate(all="ignore"):
        where = _place(case)
        if np.isfinite(gradient[wrong]).all():
            for guess in itertools.chain.from_iterable(guesses(case) for guesses in GUESSES):
                if words := _said(case, guess, where or "where it is wrong"):
                    return words
    some = min(wrong.sum(), case.right.sum()) >= PLACES and case.known.sum() >= ELEMENTS
    return f"wrong {where} only" if where and some else None


def _said(case: Case, guess: Guess, where: str) -> str | None:
    """The words of a guess that fits; None for one that does not."""
    room = np.maximum(guess.room, ROUNDING * np.abs(guess.values))
    if (np.abs(case.gradient - guess.values) > room)[case.wrong].any():
        return None
    borne_out = case.wrong & (np.abs(guess.values - case.expected) >= FAR * room)
    numbers = guess.values[borne_out]
    if numbers.size < guess.count or _distinct(numbers, room[borne_out]) < guess.distinct:
        return None
    if not (np.abs(case.gradient - guess.values) > room)[case.known].any():
        return guess.words
    return f"{where}, {guess.there}" if guess.there and case.wrong.sum() >= FEW else None


def _distinct(numbers: np.ndarray, room: np.ndarray) -> int:
    """How many numbers there are that rounding does not make equal."""
    order = np.argsort(numbers)
    return int(numbers.size > 0) + int(np.sum(np.diff(numbers[order]) > 2 * room[order][1:]))


def dimensions(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The sizes of arrays, by what they count: ``{"rows of x": 4, "columns of x": 3, …}``."""
    counted: dict[str, int] = {}
    for name, shape in shapes.items():
        if len(shape) == 2:
            counted |= {f"rows of {name}": shape[0], f"columns of {name}": shape[1]}
        elif len(shape) > 2:
            counted |= {f"slices of {name} along dimension {d}": size for d, size in enumerate(shape)}
        counted[f"elements of {name}"] = math.prod(shape)
    return counted


def suspects(
    jacobian: Jacobian, seeds: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """What a wrong gradient is often equal to, by what is then to be said of it; for ``pattern``.

    ``seeds`` are the outputs' by name, in the order of J's rows; ``shape`` is the leaf's.
    """
    v = np.concatenate([np.ravel(seed).astype(float) for seed in seeds.values()])
    m, n = jacobian.shape
    right = jacobian.transposed(v)
    made = {
        IGNORED: jacobian.transposed(np.ones(m)),
        "the seed counts twice: it equals Jᵀ·v²": jacobian.transposed(v * v),
    }
    if m == n:
        made["it equals the seed: handed on as it came"] = v
        if m * n <= LARGEST_MATRIX:
            matrix = jacobian.dense()
            with np.errstate(all="ignore"):  # a slope elsewhere may be infinite
                made["it equals J·v, not Jᵀ·v: a transpose is missing"] = matrix @ v
                made["the diagonal of J alone counts"] = np.diagonal(matrix) * v
    start = 0
    for name, seed in seeds.items():
        place = np.arange(seed.size).reshape(seed.shape) + start
        start += seed.size
        for d, size in enumerate(seed.shape):
            for k in (0, size - 1) if size > 1 else ():
                kept = np.zeros(m)
                kept[place.take(k, d)] = v[place.take(k, d)]
                alone = jacobian.transposed(kept)
                if ((alone != 0) | (right == 0)).all():  # else it would be zeros, and no missing sum
                    index = ", ".join(str(k) if i == d else ":" for i in range(seed.ndim))
                    made[f"{name}[{index}] alone counts: a sum over the others is missing"] = alone
    return {words: values.reshape(shape) for words, values in made.items()}


# ---- the guesses -------------------------------------------------------------------------------------------


def _zero(case: Case) -> Iterator[Guess]:
    words = "zero, as where None is returned, or .item() or .detach() cuts the graph"
    all_ = "all " if case.gradient.size > 1 else ""
    yield Guess(all_ + words, np.zeros(case.shape), case.tolerance, "zero", distinct=1)


def _suspected(case: Case) -> Iterator[Guess]:
    for words, values in case.suspects.items():
        yield Guess(words, values, case.tolerance, words, distinct=1, count=1 if words == IGNORED else 2)


def _times(case: Case, factor: float, words: str, distinct: int = 1, spread: float = 0.0) -> Guess:
    room = max(1.0, abs(factor)) * case.tolerance + spread * np.abs(case.expected)
    return Guess(words, factor * case.expected, room, words, distinct)


def _simple_factor(case: Case) -> Iterator[Guess]:
    yield _times(case, -1.0, "the sign is flipped")
    yield _times(case, 2.0, "2 × what it should be")
    yield _times(case, 0.5, "1/2 of what it should be")


def _size_factor(case: Case) -> Iterator[Guess]:
    for what, n in case.sizes.items():
        if n > 2:
            number = f"{n} is the number of {what}"
            words = f"1/{n} of what it should be, and {number}: a mean in place of a sum?"
            yield _times(case, 1 / n, words)
            yield _times(case, n, f"{n} × what it should be, and {number}: a sum in place of a mean?")


def _swapped(case: Case) -> Iterator[Guess]:
    for other, (gradient, expected) in case.others.items():
        if gradient.shape != case.shape:
            continue
        both = Case(
            gradient=np.stack([case.gradient, gradient]),
            expected=np.stack([case.expected, expected]),
            wrong=np.stack([case.wrong, case.wrong]),
            tolerance=np.stack([case.tolerance, case.tolerance]),
            known=np.stack([case.known, case.known]),
        )
        if _said(both, Guess("swapped", both.expected[::-1], both.tolerance), ""):
            words = f"the gradients of {case.name} and {other} are swapped"
            yield Guess(words, expected, case.tolerance, distinct=1)
        yield Guess(f"it equals Jᵀ·v of {other}", expected, case.tolerance)


def _moved(case: Case) -> Iterator[Guess]:
    """The right numbers at other places."""
    shape, e, room = case.shape, case.expected, case.tolerance
    for a, b in itertools.combinations(range(len(shape)), 2):
        if shape[a] == shape[b] > 1:
            words = "transposed" if len(shape) == 2 else f"dimensions {a} and {b} are swapped"
            yield Guess(words, np.swapaxes(e, a, b), np.swapaxes(room, a, b))
    if len(shape) == 2 and shape[0] != shape[1]:
        yield Guess("transposed, then reshaped", e.T.reshape(shape), room.T.reshape(shape))
        back = shape[::-1]
        yield Guess("reshaped where a transpose is due", e.reshape(back).T, room.reshape(back).T)
    for d in range(len(shape)):
        along = "" if len(shape) == 1 else f" along dimension {d}"
        yield Guess(f"reversed{along}", np.flip(e, d), np.flip(room, d))
        for step in (1, -1) if shape[d] > 2 else ():
            shifted = np.roll(e, step, d)
            np.moveaxis(shifted, d, 0)[0 if step == 1 else -1] = np.nan
            yield Guess(f"shifted by one{along}", shifted, np.roll(room, step, d), count=3)
    order, by_size = np.argsort(case.gradient, axis=None), np.argsort(e, axis=None)
    permuted, rooms = np.empty(e.size), np.empty(e.size)
    permuted[order], rooms[order] = e.ravel()[by_size], room.ravel()[by_size]
    words, half = "the right numbers in another order", int(case.wrong.sum()) // 2
    yield Guess(words, permuted.reshape(shape), rooms.reshape(shape), distinct=max(2, half))


def _summed(case: Case) -> Iterator[Guess]:
    """Summed, or averaged, where every element has a number of its own."""
    shape = case.shape
    axes: list[tuple[int, ...]] = [(d,) for d in range(len(shape)) if shape[d] > 1]
    if len(axes) > 1:
        axes.append(tuple(range(len(shape))))
    for axis in axes:
        over = "" if len(axis) == len(shape) else f" over dimension {axis[0]}"
        for what, reduce in (("sum", np.sum), ("mean", np.mean)):
            values, room = (
                np.broadcast_to(reduce(array, axis=axis, keepdims=True), shape)
                for array in (case.expected, case.tolerance)
            )
            yield Guess(f"each is the {what}{over} of what they should be", values, room, distinct=1, count=2)


def _any_factor(case: Case) -> Iterator[Guess]:
    """A factor that is taken from the wrong number that shows it best, and foretells the others."""
    k = int(np.argmax(np.where(case.wrong, np.abs(case.expected) / (case.tolerance + TINY), -1)))
    if not case.expected.flat[k]:
        return
    factor = float(case.gradient.flat[k] / case.expected.flat[k])
    spread = float(max(1.0, abs(factor)) * case.tolerance.flat[k] / abs(case.expected.flat[k]))
    text = _factor(factor, spread + ROUNDING * abs(factor))
    yield _times(case, factor, f"{text} × what it should be", distinct=2, spread=spread)


def _factor(factor: float, spread: float) -> str:
    """A factor known to ``spread``: a whole number, a fraction, a constant with its name, or its digits."""
    near = Fraction(factor).limit_denominator(LARGEST_DENOMINATOR)
    if near and abs(factor - near) <= 2 * spread:
        return str(near)
    away = -math.log10(abs(factor - 1)) if 0 < abs(factor - 1) < 1 else 0.0
    text = f"{factor:.{min(max(4, math.ceil(away) + 3), 16)}g}"
    for constant, value in CONSTANTS.items():
        for sign in (1, -1):
            if abs(factor - sign * value) <= 2 * spread:
                return f"{'-' * (sign < 0)}{constant} ({text})"
    return text


def _own_factor(case: Case) -> Iterator[Guess]:
    """The leaf's own values as a factor: x² in place of x³."""
    if case.values is None:
        return
    x, e, room = case.values, case.expected, case.tolerance
    missing, extra = f"a factor {case.name} is missing", f"a factor {case.name} too many"
    yield Guess(missing, np.where(x == 0, np.nan, e / x), np.where(x == 0, 0, room / np.abs(x)), missing)
    yield Guess(extra, e * x, np.maximum(room, room * np.abs(x)), extra)


def _offset(case: Case) -> Iterator[Guess]:
    """Something that is added, or is not: one number everywhere, or one for each line along a dimension."""
    shape, apart = case.shape, case.gradient - case.expected
    room = 2 * case.tolerance
    k = int(np.argmax(np.where(case.wrong, np.abs(apart) / (case.tolerance + TINY), -1)))
    by = float(apart.flat[k])
    words = f"too {'large' if by > 0 else 'small'} by {abs(by):.6g} everywhere"
    yield Guess(words, case.expected + by, room + case.tolerance.flat[k], count=3)
    for d in range(len(shape)) if len(shape) > 1 else ():
        if shape[d] > 2:
            line = np.mean(apart, axis=d, keepdims=True)
            words = f"off by the same number along dimension {d}: is a mean not subtracted?"
            yield Guess(words, case.expected + line, room, distinct=3, count=3)


def _constant(case: Case) -> Iterator[Guess]:
    """The same number along a dimension along which the right ones differ."""
    shape, g = case.shape, case.gradient
    axes = [tuple(range(len(shape))), *((d,) for d in range(len(shape)) if len(shape) > 1)]
    for axis in axes:
        most, least = (reduce(case.expected, axis=axis) for reduce in (np.max, np.min))
        if not (most - least > FAR * np.max(case.tolerance, axis=axis)).any():
            continue
        whole = len(axis) == len(shape)
        words = f"{g.flat[0]:.6g} everywhere" if whole else f"constant along dimension {axis[0]}"
        first = g[tuple(slice(0, 1) if d in axis else slice(None) for d in range(len(shape)))]
        yield Guess(words, np.broadcast_to(first, shape), case.tolerance, distinct=1, count=3)


GUESSES = (
    _zero,
    _suspected,
    _simple_factor,
    _size_factor,
    _swapped,
    _moved,
    _summed,
    _any_factor,
    _own_factor,
    _offset,
    _constant,
)


# ---- where the wrong ones are ------------------------------------------------------------------------------


def _place(case: Case) -> str | None:
    """Where all wrong elements are, and no right ones: ``in row 2``, ``where x < 0``; None: no such place."""
    wrong, right = case.wrong, case.right
    if min(wrong.sum(), right.sum()) < FEW:
        return None
    places = _lines(wrong) | _triangles(wrong.shape) | _conditions(case)
    fit = (words for words, place in places.items() if place[wrong].all() and not place[right].any())
    return next(fit, None)


def _lines(wrong: np.ndarray) -> dict[str, np.ndarray]:
    """The rows, columns or slices with wrong elements in them, where it is one, or the two at the ends."""
    places = {}
    for d, size in enumerate(wrong.shape) if wrong.ndim > 1 else ():
        others = tuple(other for other in range(wrong.ndim) if other != d)
        some = wrong.any(axis=others)
        at = np.flatnonzero(some).tolist()
        what = ("row", "column")[d] if wrong.ndim == 2 else f"slice along dimension {d}"
        place = np.broadcast_to(np.expand_dims(some, others), wrong.shape)
        if len(at) == 1:
            places[f"in {what} {at[0]}" if wrong.ndim == 2 else f"at index {at[0]} of dimension {d}"] = place
        elif at == [0, size - 1]:
            places[f"in the first and the last {what}"] = place
    return places


def _triangles(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    if len(shape) != 2 or shape[0] != shape[1]:
        return {}
    row, column = np.arange(shape[0])[:, None], np.arange(shape[1])
    return {
        "on the diagonal": row == column,
        "off the diagonal": row != column,
        "above the diagonal": row < column,
        "below the diagonal": row > column,
    }


def _conditions(case: Case) -> dict[str, np.ndarray]:
    places = {}
    if case.values is not None:
        x, name = case.values, case.name
        places = {
            f"where {name} < 0": x < 0,
            f"where {name} ≤ 0": x <= 0,
            f"where {name} > 0": x > 0,
            f"where {name} ≥ 0": x >= 0,
            f"where |{name}| < 1": np.abs(x) < 1,
            f"where |{name}| > 1": np.abs(x) > 1,
        }
    negative, positive = case.expected < 0, case.expected > 0
    return {**places, "where Jᵀ·seed is negative": negative, "where Jᵀ·seed is positive": positive}
