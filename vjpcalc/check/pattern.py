"""What the wrong numbers of a gradient have in common, in words: the sign is flipped, transposed, all zero, …

Said is only what fits exactly: a guess is an array that the gradient would be if a certain mistake had been
made, and it must agree with the gradient within rounding, in the whole leaf or in every wrong element. So
that no coincidence is taken for a pattern, a guess counts only where it is far from the right numbers, by
far more than it misses, and one that takes a number from the gradient itself must then foretell others.

``GUESSES`` are tried in order, the simple ones first, so that of two that fit the simpler one is said; what
fits the whole leaf is said before what fits the wrong elements alone. Each yields its guesses.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check.jacobian import Jacobian

# To one: the odds that a number which has nothing to do with a guess misses it by more than it does, for each
# number that a guess needs. How far the guess is from the right number, by how far the wrong one misses it.
FAR = 100.0
CLEAR = 4.0  # times what it is missed by: a guess so far from the right number is told from it
SHARP = 1 / 16  # of its room: every guess counts as missed by so much at least (bfloat16 has few numbers)
ROUNDING = 4 * 2.0**-52  # relative; what making a guess costs, beside the tolerance of the numbers in it
FEW = 2  # wrong and right elements at the least, where more than a factor is said of the wrong alone …
PLACES, ELEMENTS = 3, 10  # … and where their place is all there is to say: of few, chance makes a row
TINY = 1e-300  # beside a tolerance of 0
LARGEST_MATRIX = 1_000_000  # entries of a J that is written out to make guesses of it
LARGEST_DENOMINATOR = 16  # of a factor that is said as a fraction
SIMPLE = 0.25  # of all factors: so many fractions of one denominator at the most may lie near one by chance

ZERO = "zero, as where None is returned, or .item() or .detach() cuts the graph"
MOST = 16  # digits of a factor
NAMED = 2  # things that there are n of
CONSTANT = 1e-4  # what a factor must be known to, to be called by the name of a constant
ALONE = ": a sum over the others is missing"
IGNORED = "the seed is ignored: it equals Jᵀ·ones"

# Factors that a formula forgets, or has once too often.
CONSTANTS = {
    "ln 2": math.log(2), "1/ln 2": 1 / math.log(2), "ln 10": math.log(10), "1/ln 10": 1 / math.log(10),
    "π": math.pi, "1/π": 1 / math.pi, "2π": 2 * math.pi, "1/(2π)": 0.5 / math.pi, "√π": math.sqrt(math.pi),
    "√2": math.sqrt(2), "1/√2": math.sqrt(0.5), "2/√π": 2 / math.sqrt(math.pi),
    "180/π": 180 / math.pi, "π/180": math.pi / 180,
}  # fmt: skip


# What a wrong gradient may be equal to, by what is then to be said: the numbers, and how exact they are.
Suspects = Mapping[str, tuple[np.ndarray, np.ndarray]]


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
    suspects: Suspects = field(default_factory=dict)
    others: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    seed: float | None = None
    yours: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.gradient.shape

    @property
    def right(self) -> np.ndarray:
        return np.logical_and(self.known, np.logical_not(self.wrong))


@dataclass(frozen=True, eq=False)
class Guess:
    """What the gradient would be, exact to ``room``, and what is then to be said; NaN where it says nothing.

    ``distinct`` numbers at the least, at ``count`` wrong elements, must bear it out, ``free`` of which were
    taken from the gradient itself; against chance, as ``needed`` would (default: those that are not free).
    ``words`` are said of the whole leaf, ``there`` of the wrong elements alone; without ``there`` it must
    hold of the whole.
    """

    words: str
    values: np.ndarray
    room: np.ndarray
    there: str | None = None
    distinct: int = 2
    count: int = 1
    free: int = 0
    needed: float | None = None


def pattern(
    gradient: np.ndarray,
    expected: np.ndarray,
    wrong: np.ndarray,
    tolerance: np.ndarray | float,
    *,
    known: np.ndarray | None = None,
    name: str = "x",
    values: np.ndarray | None = None,
    suspects: Suspects | None = None,
    others: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    sizes: Mapping[str, int] | None = None,
    seed: float | None = None,
    yours: bool = False,
) -> str | None:
    """What the wrong elements of a leaf's gradient have in common, in words; None where nothing fits.

    ``gradient``, ``expected`` (Jᵀ·v) and ``wrong`` (bool) are shaped like the leaf; ``tolerance``, shaped so
    too or one number, is how far apart rounding may put right ones. ``known`` are the elements that have a
    verdict (default: where ``expected`` is finite), ``values`` the leaf itself, called ``name``. ``suspects``
    are arrays that a wrong gradient may be equal to, by what is then to be said (see there), ``others``
    the gradient and Jᵀ·v of each other leaf by name, and ``sizes`` the numbers n that a factor n or 1/n may
    come from, by what they count (see ``dimensions``; default: those of the leaf). ``seed`` is the number
    that every element of the seed is, if they are all the same, and ``yours`` says that a function of the
    user's own is on the leaf's way: torch's operators return no None.
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
        seed,
        yours,
    )
    with np.errstate(all="ignore"):
        where = _place(case)
        there = None
        if np.isfinite(gradient[wrong]).all():
            for guess in itertools.chain.from_iterable(guesses(case) for guesses in GUESSES):
                if not _fits(case, guess, case.wrong):
                    continue
                if _fits(case, guess, case.known):
                    return guess.words
                there = there or guess.there
        if there is not None:
            return f"{where or 'where it is wrong'}, {there}"
    some = min(wrong.sum(), case.right.sum()) >= PLACES and case.known.sum() >= ELEMENTS
    return f"wrong {where} only" if where and some else None


def _fits(case: Case, guess: Guess, place: np.ndarray) -> bool:
    """True if a guess is what the gradient is at a ``place``, and the wrong elements bear it out."""
    room = np.maximum(guess.room, ROUNDING * np.abs(guess.values))
    missed = np.abs(case.gradient - guess.values)
    if (missed > room)[place].any():
        return False
    odds = np.abs(guess.values - case.expected) / np.maximum(missed, SHARP * room)
    borne_out = case.wrong & (odds >= CLEAR)
    numbers = guess.values[borne_out]
    if numbers.size < guess.count:
        return False
    distinct = _distinct(numbers, room[borne_out])
    needed = guess.distinct - guess.free if guess.needed is None else guess.needed
    proof = (distinct - guess.free) * np.log(np.min(odds[borne_out]))
    return bool(distinct >= guess.distinct and proof >= needed * math.log(FAR))


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
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What a wrong gradient is often equal to, by what is then to be said of it; for ``pattern``.

    ``seeds`` are the outputs' by name, in the order of J's rows, or one without a name, of what the end of
    the program is computed from; ``shape`` is the leaf's. How exact each is comes of the error of J itself:
    an element that the seed leaves out is 0 ± 0, and that of Jᵀ·ones is not.
    """
    v = np.concatenate([np.ravel(seed).astype(float) for seed in seeds.values()])
    m, n = jacobian.shape
    made: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def add(words: str, u: np.ndarray) -> None:
        made[words] = (jacobian.transposed(u), jacobian.transposed(np.abs(u), jacobian.errors))

    if v.size and (v != v[0]).any():  # else these are factors
        add(IGNORED, np.ones(m))
        add("the seed counts twice: it equals Jᵀ·v²", v * v)
    if m == n and "" not in seeds:
        made["it equals the seed: handed on as it came"] = v, np.zeros(n)
        if m * n <= LARGEST_MATRIX:
            matrix, errors = jacobian.dense(), jacobian.dense(jacobian.errors)
            with np.errstate(all="ignore"):  # a slope elsewhere may be infinite
                words = "it equals J·v, not Jᵀ·v: a transpose is missing"
                made[words] = matrix @ v, errors @ np.abs(v)
                words = "the diagonal of J alone counts"
                made[words] = np.diagonal(matrix) * v, np.diagonal(errors) * np.abs(v)
    right = jacobian.transposed(v)
    start = 0
    for name, seed in seeds.items():
        place = np.arange(seed.size).reshape(seed.shape) + start
        start += seed.size
        for d, size in enumerate(seed.shape) if name else ():
            for k in (0, size - 1) if size > 1 else ():
                kept = np.zeros(m)
                kept[place.take(k, d)] = v[place.take(k, d)]
                if ((jacobian.transposed(kept) != 0) | (right == 0)).all():  # else it would be zeros
                    index = ", ".join(str(k) if i == d else ":" for i in range(seed.ndim))
                    add(f"{name}[{index}] alone counts{ALONE}", kept)
    return {words: (values.reshape(shape), room.reshape(shape)) for words, (values, room) in made.items()}


def cotangents(
    jacobian: Jacobian, v: np.ndarray, shape: tuple[int, ...]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What the answer to a cotangent v is equal to, where a backward misuses it; for ``pattern``.

    ``v`` has the shape of the output of the one node whose J this is, ``shape`` is the argument's.
    """
    one = np.ones(v.shape)
    length = float(np.linalg.norm(v))
    misused = {
        "it does not depend on its cotangent v: it equals Jᵀ·ones": one,
        "its cotangent v is averaged: it equals Jᵀ·mean(v)": v.mean() * one if v.size else one,
        "its cotangent v is summed: it equals Jᵀ·sum(v)": v.sum() * one,
        "its cotangent v counts twice: it equals Jᵀ·v²": v * v,
        "the sign of its cotangent v is lost: it equals Jᵀ·|v|": np.abs(v),
        "only the sign of its cotangent v counts: it equals Jᵀ·sign(v)": np.sign(v),
        "its cotangent v is clipped: it equals Jᵀ·clamp(v, -1, 1)": np.clip(v, -1, 1),
        "its cotangent v is clipped: it equals Jᵀ·clamp(v, 0, 1)": np.clip(v, 0, 1),
        "its cotangent v is clipped: it equals Jᵀ·clamp(v, max=1)": np.fmin(v, 1),
        "its cotangent v is clipped: it equals Jᵀ·clamp(v, min=0)": np.fmax(v, 0),
        "its cotangent v is normalised: it equals Jᵀ·v/‖v‖": v / (length or 1.0),
        "the gradient is normalised: it equals Jᵀ·v/‖Jᵀ·v‖": v,
    }
    if v.size:
        misused["the first element of its cotangent v counts for all"] = v.flat[0] * one
        misused["the last element of its cotangent v counts for all"] = v.flat[-1] * one
    for d in range(v.ndim) if v.ndim > 1 else ():
        misused[f"its cotangent v is averaged over dimension {d}"] = v.mean(d, keepdims=True) * one
        misused[f"its cotangent v is summed over dimension {d}"] = v.sum(d, keepdims=True) * one
    for d, size in enumerate(v.shape):
        if size > 1:
            misused["its cotangent v is reversed" + f" along dimension {d}" * (v.ndim > 1)] = np.flip(v, d)
        for k in (0, size - 1) if size > 1 else ():
            index = ", ".join(str(k) if i == d else ":" for i in range(v.ndim))
            kept = np.zeros(v.shape)
            kept[(slice(None),) * d + (k,)] = v.take(k, d)
            misused[f"v[{index}] of its cotangent v alone counts{ALONE}"] = kept
    if v.ndim == 2 and v.shape[0] == v.shape[1] > 1:
        misused["its cotangent v is transposed"] = v.T
    made = {}
    for words, u in misused.items():
        flat = np.ravel(u)
        values, room = jacobian.transposed(flat), jacobian.transposed(np.abs(flat), jacobian.errors)
        if words.startswith("the gradient is normalised"):
            size = float(np.linalg.norm(values)) or 1.0
            values, room = values / size, room / size
        made[words] = values.reshape(shape), room.reshape(shape)
    if v.size == math.prod(shape):
        made["it equals its cotangent v: handed on as it came"] = v.reshape(shape), np.zeros(shape)
    return made


# ---- the guesses -------------------------------------------------------------------------------------------


def _zero(case: Case) -> Iterator[Guess]:
    words = ("all " if case.gradient.size > 1 else "") + (ZERO if case.yours else "zero")
    none = np.zeros(case.shape)
    yield Guess(words, none, none, distinct=1)
    yield Guess(words, none, none, "zero", distinct=1, count=FEW)


def _suspected(case: Case) -> Iterator[Guess]:
    for words, (values, room) in case.suspects.items():
        if not words.endswith(ALONE):
            room = np.fmax(case.tolerance, room)
            yield Guess(words, values, room, distinct=1, needed=2)  # one element alone may have a seed of 2
            yield Guess(words, values, room, words, distinct=1, count=FEW)


def _alone(case: Case) -> Iterator[Guess]:
    """A row or a column of the output alone: it fits as well where all of them are alike."""
    for words, (values, room) in case.suspects.items():
        if words.endswith(ALONE):
            yield Guess(words, values, np.fmax(case.tolerance, room), words, distinct=1, count=FEW)


def _times(case: Case, factor: float, words: str, spread: float = 0.0, **more: Any) -> Guess:
    room = max(1.0, abs(factor)) * case.tolerance + spread * np.abs(case.expected)
    return Guess(words, factor * case.expected, room, **{"there": words, "distinct": 1, **more})


def _seed_factor(case: Case) -> Iterator[Guess]:
    """The seed forgotten, or counted twice, where it is the same number everywhere."""
    if case.seed is not None and case.seed not in (0, 1):
        number = f"{case.seed:.6g} is every element of the seed"
        for factor, question in (
            (1 / case.seed, "is the seed ignored?"),
            (case.seed, "does it count twice?"),
        ):
            words = f"{_factor(factor, ROUNDING)} × what it should be, and {number}: {question}"
            yield _times(case, factor, words, needed=2)


def _simple_factor(case: Case) -> Iterator[Guess]:
    yield _times(case, -1.0, "the sign is flipped")
    yield _times(case, 2.0, "2 × what it should be")
    yield _times(case, 0.5, "1/2 of what it should be")


def _size_factor(case: Case) -> Iterator[Guess]:
    for n in dict.fromkeys(case.sizes.values()):
        if n > 2:
            what = [what for what, size in case.sizes.items() if size == n]
            number = f"{n} is the number of {' and of '.join(what[:NAMED])}"
            for factor, times, question in (
                (1 / n, f"1/{n} of what it should be", "a mean in place of a sum?"),
                (n, f"{n} × what it should be", "a sum in place of a mean?"),
            ):
                yield _times(case, factor, f"{times}, and {number}: {question}", there=times, needed=2)


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
        if _fits(both, Guess("swapped", both.expected[::-1], both.tolerance), both.known):
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
    """A factor that is taken from the wrong numbers that show it best, and foretells the others.

    A whole number, or one part of so many, is said of a single number as well, if it has many digits.
    """
    with np.errstate(all="ignore"):
        factors, spreads = case.gradient / case.expected, case.tolerance / np.abs(case.expected)
    usable = case.wrong & (case.expected != 0) & np.isfinite(factors)
    if not usable.any():
        return
    best = usable & (spreads <= CLEAR * np.min(spreads[usable]))
    factor = float(np.median(factors[best]))
    if not factor:
        return
    spread = float(max(1.0, abs(factor)) * np.max(spreads[best])) + ROUNDING * abs(factor)
    near = _fraction(factor, spread)
    text = _factor(factor, spread)
    exact = near is not None and 1 in (abs(near.numerator), near.denominator)
    if _named(factor, spread) is not None:
        yield _times(case, factor, f"{text} × what it should be", spread, needed=3)
    if near is not None and exact:
        words = f"{text} of what it should be" if near.denominator > 1 else f"{text} × what it should be"
        yield _times(case, float(near), words, needed=2)
    yield _times(case, factor, f"{text} × what it should be", spread, distinct=2, free=1, needed=1.5)


def _fraction(factor: float, spread: float) -> Fraction | None:
    """The simplest fraction that a factor known to ``spread`` may be, where that is no chance."""
    for denominator in range(1, LARGEST_DENOMINATOR + 1):
        near = Fraction(round(factor * denominator), denominator)
        if near not in (0, 1) and abs(factor - near) <= 2 * spread:
            return near if 2 * spread * denominator**2 <= SIMPLE else None
    return None


def _factor(factor: float, spread: float) -> str:
    """A factor known to ``spread``: a whole number, a fraction, a constant with its name, or its digits."""
    near = _fraction(factor, spread)
    if near is not None and near.denominator != 10:
        return str(near)
    away = -math.log10(abs(factor - 1)) if 0 < abs(factor - 1) < 1 else 0.0
    known = 1 + math.floor(math.log10(abs(factor) / spread)) if spread else MOST
    text = f"{factor:.{min(max(4, math.ceil(away) + 3), max(2, math.ceil(away) + 1, known), MOST)}g}"
    constant = _named(factor, spread)
    return text if constant is None else f"{constant} ({text})"


def _named(factor: float, spread: float) -> str | None:
    """What a factor that is a constant of mathematics is called, with its sign."""
    for constant, value in CONSTANTS.items():
        for sign in (1, -1):
            if abs(factor - sign * value) <= 2 * spread <= CONSTANT:
                return f"{'-' * (sign < 0)}{constant}"
    return None


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
    _seed_factor,
    _simple_factor,
    _size_factor,
    _suspected,
    _swapped,
    _any_factor,
    _moved,
    _summed,
    _own_factor,
    _alone,
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
