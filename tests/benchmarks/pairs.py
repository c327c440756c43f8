"""The corpus made into pairs: what each of the three is asked, and what its verdict should be.

An error is planted in one of four places. ``own``: in the backward of a user's own function, which is the
whole expression. ``front``, ``behind``: in a user's function that returns what it gets, before a leaf or
after the output. ``after``: in the gradient itself, once backward has given it, so that the whole program
stays of the language (gradcheck, which cannot be given a gradient, gets the ``front`` one).

What the verdict should be is worked out, not assumed. The right gradient is known to more digits than torch's
(``exact.py`` for what is badly scaled, else float64 for a lower precision), so it is known what rounding did
to each element. A right gradient with no digit left should not pass; and an error is owed a detection only
where it stands out of what rounding does here and nearby.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import corpus
import exact
import numpy as np
import torch
from corpus import Function

from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED

Tensor = torch.Tensor
Tensors = dict[str, Tensor]
Arrays = dict[str, np.ndarray]
Plant = Callable[[Tensor], Tensor | None]  # a gradient → the wrong one

DTYPES = ("float64", "float32", "float16", "bfloat16")
SIZES = {  # of the relative errors that are planted: those that should be detected, and one that need not be
    "float64": ((1e-2, 1e-4, 1e-6, 1e-8), ()),
    "float32": ((1e-2, 1e-4), (1e-6,)),
    "float16": ((1e-1, 2e-2), (2e-3,)),
    "bfloat16": ((3e-1, 1e-1), (1e-2,)),
}
COMPOSED = 40  # compositions made at random
DIGIT = 0.1  # a gradient whose relative error is beyond this has no digit left
FEW = 1e-3  # … and beyond this so few that inconclusive is as right as passed
STANDS_OUT = 4.0  # an error is owed a detection if it is this many times what rounding does here and nearby
AMPLIFIED = 45.0  # in eps: what is well scaled amplifies rounding to no more than this (1e-14 in float64)
POINTS = 4  # where rounding is measured: here, and nearby
NEARBY = 1e-3  # relative, in a well scaled function; in a badly scaled one, so little that it stays so
BARELY = 1e-9
EXACTLY_RIGHT = 1e-10  # two right float64 gradients of a well scaled function are this close together
ROUNDED = 8  # in eps: two right ways to compute a gradient at a kink are this close together
SMOOTH = 1e-3  # an element is away from kinks if its slope changes by less than this when it moves by ASIDE
ASIDE = 1e-6
SHOWN = {
    "well": "well scaled",
    "badly": "badly scaled",
    "kink": "at kinks",
    "rounded": "float32 inside",
    "infinite": "not finite",
}

NAMES = {
    **vars(torch),
    "F": torch.nn.functional,
    **{name: getattr(torch.linalg, name) for name in ("solve", "inv", "det", "pinv", "cholesky")},
}

# ---- what is asked for -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Error:
    """What is done to a gradient.

    ``size`` is its relative size, where it has one, of all elements or of ``one``; ``program`` a backward
    program in place of the right one; else ``name`` is one of STRUCTURAL.
    """

    name: str
    size: float | None = None
    one: bool = False
    program: str | None = None

    @property
    def of_cotangent(self) -> bool:
        return self.name in (FORGOTTEN, AVERAGED)

    def plant(self, index: int) -> Plant:
        if self.size is None:
            return STRUCTURAL[self.name]
        return lambda d: d + self.size * d * (_only(d, index) if self.one else 1)


def _only(d: Tensor, index: int) -> Tensor:
    mask = torch.zeros(d.numel(), dtype=d.dtype)
    mask[index] = 1
    return mask.reshape(d.shape)


def _unchanged(d: Tensor | None) -> Tensor | None:
    return d


def _square(d: Tensor) -> bool:
    return d.ndim == 2 and d.shape[0] == d.shape[1]


FORGOTTEN, AVERAGED = "cotangent forgotten", "cotangent averaged"  # what a seed of ones does not show
STRUCTURAL: dict[str, Plant] = {
    "sign": lambda d: -d,
    "factor 2": lambda d: 2 * d,
    "factor 1/n": lambda d: d / max(d.numel(), 2),
    "zero": lambda d: torch.zeros_like(d),
    "None": lambda d: None,
    "transposed": lambda d: d.T if _square(d) else d,
    "mean everywhere": lambda d: d.mean().expand(d.shape).clone(),
    "the neighbour's": lambda d: d.roll(1, -1) if d.ndim else d,
}
KINDS = list(STRUCTURAL)
STRUCTURAL |= {
    FORGOTTEN: lambda g: torch.ones_like(g),
    AVERAGED: lambda g: g.mean().expand(g.shape).clone(),
}


def relative(sizes: Sequence[float]) -> list[Error]:
    return [Error(f"{size:g} on {where}", size, where == "one") for size in sizes for where in ("all", "one")]


@dataclass(frozen=True)
class Spec:
    """A pair before anything is computed. A right one has no error, and stands in ``language`` or ``own``."""

    function: Function
    scale: str  # well, badly, kink
    dtype: str
    place: str  # language, own, front, behind, after
    number: int = 0  # varies the inputs, the leaf and the element
    error: Error | None = None

    def __str__(self) -> str:
        own = f" as one own function [{self.function.backward}]" if self.place == "own" else ""
        error = f": {self.error.name}, {self.place}" if self.error else ""
        return f"{self.function.family}, {self.dtype}: {self.function.expression}{own}{error}"


def specs() -> Iterator[Spec]:
    """The whole corpus, the same each time."""
    for n, function in enumerate([*corpus.WELL, *composed()]):
        for dtype in ("float64", DTYPES[1 + n % 3]):
            yield from _well(function, dtype, n)
    for n, (family, expression, inputs) in enumerate(corpus.BADLY):
        backward = corpus.BADLY_OWN.get(expression, "")
        function = Function(family, expression, _named(inputs, expression), backward)
        errors = _some([*relative((1e-2, 1e-6)), Error("sign"), Error("factor 2")], n, 2)
        for place in ("language", "own") if backward else ("language",):
            yield Spec(function, "badly", "float32", place, n)
            yield Spec(function, "badly", "float64", place, n)
            for i, error in enumerate(errors):
                where = "own" if place == "own" else ("after", "front")[(n + i) % 2]
                yield Spec(function, "badly", "float64", where, n, error)
        for name, program in corpus.BADLY_WRONG.get(expression, {}).items():
            yield Spec(function, "badly", "float64", "own", n, Error(name, program=program))
    for n, row in enumerate(corpus.ROUNDED):
        for error in (None, *relative((3e-2,)), Error("sign"), Error("zero")):
            yield Spec(Function("rounded", *row), "rounded", "float64", "own", n, error)
    for n, (expression, inputs) in enumerate(corpus.NOT_FINITE):
        function = Function("not finite", expression, _named(inputs, expression))
        for dtype in ("float64", "float32"):
            yield Spec(function, "infinite", dtype, "language", n)
    for n, (expression, inputs, backward, wrong) in enumerate(corpus.AT_KINKS):
        function = Function("kinks", expression, _named(inputs, expression), backward)
        for dtype in DTYPES:
            errors = relative((1e-2, 1e-4, 1e-6)) if dtype == "float64" else []
            # 1.01 and 1e-4 are too little for the lower precisions
            programs = [name for name in wrong if dtype == "float64" or not name.startswith("1")]
            for error in [None, *(Error(name, program=wrong[name]) for name in programs), *errors]:
                yield Spec(function, "kink", dtype, "own", n, error)
    for n, (expression, inputs) in enumerate(corpus.KINKED):
        function = Function("kinks", expression, _named(inputs, expression))
        for dtype in DTYPES:
            sizes = SIZES[dtype][0] if dtype == "float64" else SIZES[dtype][0][:1]
            yield Spec(function, "kink", dtype, "language", n)
            for i, error in enumerate([*relative(sizes), Error("sign")]):
                yield Spec(function, "kink", dtype, ("front", "after")[(n + i) % 2], n, error)


def _well(function: Function, dtype: str, n: int) -> Iterator[Spec]:
    """All errors in float64; in the lower precisions, whose cases are many, some of each kind."""
    full = dtype == "float64"
    owed, smaller = SIZES[dtype]
    spec = Spec(function, "well", dtype, "language", n)
    yield spec
    errors = relative(owed if full else _some(owed, n, 1))
    errors += [Error(name) for name in _some(KINDS, 3 * n, 2 if full else 1)]
    for i, error in enumerate(errors):
        places = ("front", "after") if error.one else ("front", "behind", "after")
        yield replace(spec, error=error, place=places[(i + n) % len(places)], number=n + i)
    if full:
        yield replace(spec, error=Error((FORGOTTEN, AVERAGED)[n % 2]), place="behind")
    for error in _some(relative(smaller), n, 1):
        yield replace(spec, error=error, place="after")
    if not function.backward:
        return
    spec = replace(spec, place="own")
    yield spec
    errors = relative(owed if full else _some(owed, n + 1, 1))
    errors += [Error(name) for name in _some(KINDS, 3 * n + 2, 2 if full else 1)]
    mistakes = list(function.mistakes.items())[: None if full else 1]
    errors += [Error(name, program=function.backward.replace(*edit)) for name, edit in mistakes]
    errors += [Error((AVERAGED, FORGOTTEN)[n % 2])] if full else []
    for i, error in enumerate(errors):
        yield replace(spec, error=error, number=n + i)
    for error in _some(relative(smaller), n + 1, 1):
        yield replace(spec, error=error)


def composed() -> Iterator[Function]:
    """Compositions made at random, the same each time."""
    random = np.random.default_rng(7)

    def pick(items: Sequence[str]) -> str:
        return items[random.integers(len(items))]

    def inner(depth: int) -> str:
        if depth == 0:
            return pick(corpus.LEAVES)
        if random.random() < 0.35:
            return pick(corpus.BINARY).format(inner(depth - 1), inner(depth - 1))
        return pick(corpus.UNARY).format(f"({inner(depth - 1)})")

    for _ in range(COMPOSED):
        text = pick(corpus.LAST).format(f"({inner(int(random.integers(2, 4)))})")
        used = [part for part in corpus.COMPOSED.split("; ") if part[0] in _letters(text)]
        yield Function("compositions", text, "; ".join(used))


def _some(items: Sequence[Any], start: int, number: int) -> list[Any]:
    """So many of the items, from a place that goes round."""
    return [items[(start + i) % len(items)] for i in range(min(number, len(items)))]


def _letters(text: str) -> set[str]:
    """The names of one letter in an expression."""
    return {word for word in "".join(c if c.isalnum() else " " for c in text).split() if len(word) == 1}


def _named(inputs: str, expression: str) -> str:
    """The inputs, with the name that the expression has for its only one."""
    return inputs if "=" in inputs else f"{'a' if 'a' in _letters(expression) else 'x'} = {inputs}"


# ---- functions and inputs ----------------------------------------------------------------------------------


def draw(text: str, random: np.random.Generator) -> Arrays:
    """The inputs that a text speaks of: ``x = near(2, 3); k = classes(3, 4)``, or ``x = 1 2, 3 4``."""

    def near(*shape: int) -> np.ndarray:
        return random.uniform(0.3, 1.5, shape) * random.choice([-1.0, 1.0], shape)

    ways = {
        "near": near,
        "positive": lambda *shape: random.uniform(0.4, 2.0, shape),
        "unit": lambda *shape: random.uniform(0.2, 0.8, shape),
        "classes": lambda n, classes: random.integers(0, classes, n),
        "eye": np.eye,
    }
    values = {}
    for statement in text.split(";"):
        name, _, value = (part.strip() for part in statement.partition("="))
        if "(" in value:
            values[name] = eval(value, ways)
        else:
            rows = [[float(number) for number in row.split()] for row in value.split(",")]
            values[name] = np.array(rows if len(rows) > 1 else rows[0])
    return values


@contextlib.contextmanager
def default(dtype: str) -> Iterator[None]:
    """As in vjpcalc, numbers made inside are of this dtype. Warnings are not shown."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)


def cast(values: Mapping[str, Tensor], dtype: str) -> Tensors:
    """The floating ones in this dtype."""
    kind = getattr(torch, dtype)
    return {name: t.to(kind) if t.is_floating_point() else t for name, t in values.items()}


@functools.cache
def torch_function(function: Function) -> Callable[..., Tensor]:
    return eval(f"lambda {', '.join(function.names)}: {function.expression}", NAMES)


def identity(plant: Plant) -> Callable[[Tensor], Tensor]:
    """What returns its argument, with ``plant`` as its backward."""

    class Identity(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor | None:
            return plant(g)

    return lambda x: Identity.apply(x)


def own(function: Function, program: str, plants: Mapping[str, Plant]) -> Callable[..., Tensor]:
    """The whole expression as one function with a backward of its own.

    ``plants`` change what it gives, by the input's name, or the ``cotangent`` that it gets.
    """
    names, code, expression = function.names, compile(program, program, "exec"), torch_function(function)

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> Tensor:
            y = expression(*tensors)
            ctx.save_for_backward(*tensors, y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
            *tensors, y = ctx.saved_tensors
            g = plants["cotangent"](g) if "cotangent" in plants else g
            scope = dict(zip(names, tensors, strict=True), y=y, g=g)
            exec(code, NAMES, scope)
            given = [scope.get(f"d{name}") for name in names]
            return tuple(plants.get(name, _unchanged)(d) for name, d in zip(names, given, strict=True))

    arguments = ", ".join(names)
    return eval(f"lambda {arguments}: apply({arguments})", {"apply": Own.apply})


def gradients(call: Callable[..., Tensor], inputs: Tensors, seed: Tensor | None) -> Tensors:
    """What torch gives, for each floating input."""
    arguments = {name: t.clone().requires_grad_(t.is_floating_point()) for name, t in inputs.items()}
    leaves = {name: t for name, t in arguments.items() if t.requires_grad}
    given = torch.autograd.grad(
        call(*arguments.values()), list(leaves.values()), seed, allow_unused=True, materialize_grads=True
    )
    return dict(zip(leaves, given, strict=True))


def arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: t.detach().double().numpy() for name, t in tensors.items()}


# ---- how right a gradient is -------------------------------------------------------------------------------


def apart(mine: Arrays, other: Arrays, dtype: str) -> Arrays:
    """The distance of each element from the other's, relative to the other; underflow is no distance."""
    info = torch.finfo(getattr(torch, dtype))
    with np.errstate(all="ignore"):
        distance = {name: np.abs(mine[name] - value) for name, value in other.items()}
        return {
            name: np.where(d <= info.smallest_normal * info.eps, 0.0, d / np.abs(other[name]))
            for name, d in distance.items()
        }


def worst(distances: Arrays) -> float:
    """The largest; infinite for what is no number."""
    return max(
        float(np.max(np.nan_to_num(d, nan=np.inf, posinf=np.inf), initial=0.0)) for d in distances.values()
    )


def finite(values: Arrays) -> bool:
    return all(np.isfinite(value).all() for value in values.values())


@functools.lru_cache(maxsize=16)
def drawn(function: Function, parity: int, dtype: str) -> tuple[Tensors, Tensor | None]:
    """Inputs, and a seed where the output is no single number. Raises where torch cannot in this dtype."""
    random = np.random.default_rng([parity, len(function.expression)])
    inputs = cast({name: torch.from_numpy(v) for name, v in draw(function.inputs, random).items()}, dtype)
    with default(dtype):
        shape = torch_function(function)(*inputs.values()).shape
    seed = torch.from_numpy(random.uniform(0.5, 1.5, shape)).to(getattr(torch, dtype)) if shape else None
    return inputs, seed


def truth(function: Function, inputs: Tensors, seed: Tensor | None, scale: str) -> Arrays:
    """The gradients at exactly these inputs, as good as float64 has them."""
    if scale == "badly":
        ones = np.ones(1) if seed is None else seed.double().numpy()
        return exact.gradients(function.expression, arrays(inputs), ones)
    with default("float64"):
        double = None if seed is None else seed.double()
        return arrays(gradients(torch_function(function), cast(inputs, "float64"), double))


@functools.lru_cache(maxsize=16)
def truth_here(function: Function, parity: int, dtype: str, scale: str) -> Arrays:
    return truth(function, *drawn(function, parity, dtype), scale)


@functools.lru_cache(maxsize=16)
def rounding(function: Function, parity: int, dtype: str, scale: str) -> Arrays:
    """The relative error that rounding makes in each element of torch's own gradient, here and nearby.

    A well scaled float64 gradient has no better one to be compared with: float32's error is scaled down.
    """
    proxy = "float32" if scale != "badly" and dtype == "float64" else dtype
    eps = _eps(proxy)
    inputs, seed = drawn(function, parity, dtype)
    random = np.random.default_rng(3)
    aside = BARELY if scale == "badly" else max(NEARBY, 2 * eps)
    errors = []
    for point in range(POINTS):
        moved = {
            name: t * (1 + torch.from_numpy(random.uniform(-aside, aside, t.shape)) * (point > 0))
            if t.is_floating_point()
            else t
            for name, t in cast(inputs, "float64").items()
        }
        moved, v = cast(moved, proxy), None if seed is None else seed.to(getattr(torch, proxy))
        with default(proxy):
            given = arrays(gradients(torch_function(function), moved, v))
        errors.append(apart(given, truth(function, moved, v, scale), proxy))
    scaled = _eps(dtype) / eps
    return {
        name: scaled * np.maximum(eps, np.fmax.reduce([error[name] for error in errors]))
        for name in errors[0]
    }


@functools.lru_cache(maxsize=16)
def slopes(function: Function, dtype: str, leaf: str) -> np.ndarray:
    """Each element's gradient here, and with this element a little larger and smaller: shape (3, n)."""
    inputs, seed = drawn(function, 0, dtype)
    inputs, seed = cast(inputs, "float64"), None if seed is None else seed.double()

    def slope(index: int, step: float) -> float:
        moved = {**inputs, leaf: inputs[leaf].clone()}
        moved[leaf].view(-1)[index] += step
        return float(gradients(torch_function(function), moved, seed)[leaf].view(-1)[index])

    with default("float64"):
        return np.array([[slope(i, s) for i in range(inputs[leaf].numel())] for s in (0.0, ASIDE, -ASIDE)])


def bent(function: Function, dtype: str, leaf: str) -> np.ndarray:
    """Which elements of a leaf have another slope on either side, shape (n,)."""
    here, above, below = slopes(function, dtype, leaf)
    return np.maximum(np.abs(above - here), np.abs(below - here)) > SMOOTH * np.abs(here)


def is_excused(function: Function, dtype: str, right: Arrays, given: Arrays) -> bool:
    """Whether a gradient at a kink is right away from it, and at it within the slopes from both sides."""
    for leaf, value in given.items():
        _, above, below = slopes(function, dtype, leaf)
        slack = max(SMOOTH, ROUNDED * _eps(dtype)) * np.maximum(np.abs(above), np.abs(below))
        low, high = np.minimum(above, below) - slack, np.maximum(above, below) + slack
        within = (value.ravel() >= low) & (value.ravel() <= high)
        distance = apart({leaf: value.ravel()}, {leaf: right[leaf].ravel()}, dtype)[leaf]
        if not np.where(bent(function, dtype, leaf), within, distance <= ROUNDED * _eps(dtype)).all():
            return False
    return True


def _eps(dtype: str) -> float:
    return torch.finfo(getattr(torch, dtype)).eps


# ---- pairs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Pair:
    """What is asked of all three, and what should come of it.

    vjpcalc gets ``text``, ``inputs``, ``seed``, ``use``, and where ``tamper`` names a leaf, its gradient is
    changed before it is checked; gradcheck gets ``call``. ``accepted`` are the verdicts that are right, and
    ``group`` is the row of the table in which the pair counts.
    """

    spec: Spec
    text: str
    inputs: Tensors
    seed: Tensor | None
    call: Callable[..., Tensor]
    use: Mapping[str, Callable[..., Tensor]]
    tamper: tuple[str, Plant] | None
    group: str = ""
    accepted: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        return self.spec.error is None and self.spec.scale != "infinite"


def build(spec: Spec) -> Pair | None:
    """The pair; None where the error changes nothing, or torch has no finite gradient.

    Raises ValueError for a backward in the corpus that should be right, and is not.
    """
    function, parity = spec.function, spec.number % 2 if spec.scale == "well" else 0
    try:
        inputs, seed = drawn(function, parity, spec.dtype)
        with default(spec.dtype):
            right = arrays(gradients(torch_function(function), inputs, seed))
    except (RuntimeError, NotImplementedError):
        return None  # linear algebra in float16
    if spec.scale == "infinite":
        assert not finite(right), f"{spec} is finite"
        pair = planted(spec, inputs, seed, "", 0)
        return replace(pair, group=f"{spec.dtype}, {SHOWN['infinite']}: error", accepted=(FAILED,))
    if not finite(right):
        return None
    leaves = list(right)
    leaf = leaves[spec.number % len(leaves)]
    elements = np.flatnonzero(right[leaf])
    if spec.scale == "kink" and spec.error and spec.error.one:
        elements = np.intersect1d(elements, np.flatnonzero(~bent(function, spec.dtype, leaf)))
    if spec.error and spec.error.one and not len(elements):
        return None
    element = int(elements[(7 * spec.number + 3) % len(elements)]) if len(elements) else 0
    if spec.error and spec.error.of_cotangent and seed is not None:
        seed = torch.ones_like(seed)
    pair = planted(spec, inputs, seed, leaf, element)
    try:
        with default(spec.dtype):
            given = arrays(gradients(pair.call, inputs, seed))
    except torch.linalg.LinAlgError:
        return None  # a backward that inverts, of a singular matrix
    if not finite(given):
        return None
    if spec.error and spec.error.name == AVERAGED and seed is None:
        return None  # of one element
    labelled = label(spec, parity, right, given)
    return labelled and replace(pair, group=labelled[0], accepted=labelled[1])


def planted(spec: Spec, inputs: Tensors, seed: Tensor | None, leaf: str, element: int) -> Pair:
    """The pair, with the error in its place: in a leaf, or in one element of it."""
    function, error = spec.function, spec.error
    names, right = ", ".join(function.names), torch_function(function)
    plant = error.plant(element) if error and not error.program else None
    pair = Pair(spec, function.expression, inputs, seed, right, {}, None)
    if spec.place == "own":
        program = (error and error.program) or function.backward
        key = "cotangent" if error and error.of_cotangent else leaf
        call = own(function, program, {key: plant} if plant else {})
        return replace(pair, text=f"own({names})", call=call, use={"own": call})
    if plant is None:
        return pair
    wrong = identity(plant)
    if spec.place == "behind":
        text = f"wrong({function.expression})"
        return replace(pair, text=text, call=lambda *tensors: wrong(right(*tensors)), use={"wrong": wrong})

    def call(*tensors: Tensor) -> Tensor:
        named = zip(function.names, tensors, strict=True)
        return right(*(wrong(t) if name == leaf else t for name, t in named))

    if spec.place == "after":
        return replace(pair, call=call, tamper=(leaf, plant))
    return replace(
        pair, text=f"{leaf} = wrong({leaf}); {function.expression}", call=call, use={"wrong": wrong}
    )


# The row of the table that a pair counts in, and the verdicts that are right.
Label = tuple[str, tuple[str, ...]]


def label(spec: Spec, parity: int, right: Arrays, given: Arrays) -> Label | None:
    """What comes of ``given``, where torch's own gradient is ``right``; None if an error changes nothing."""
    function, dtype, error = spec.function, spec.dtype, spec.error
    if error and not error.of_cotangent and worst(apart(given, right, dtype)) == 0:
        return None
    if spec.scale == "rounded":
        group = f"{dtype}, {SHOWN['rounded']}"
        return (f"{group}: error {_size(error)}", (FAILED,)) if error else (f"{group}: right", (PASSED,))
    if spec.scale == "kink":
        return _at_kink(spec, right, given)
    noise = rounding(function, parity, dtype, spec.scale)
    badly = spec.scale == "badly" or worst(noise) > AMPLIFIED * _eps(dtype)
    group = f"{dtype}, {SHOWN['badly' if badly else 'well']}"
    if error is None:
        return _right(spec, parity, right, given, group)
    if error.of_cotangent:
        return f"{group}: cotangent ignored", (FAILED,)
    change = apart(given, right, dtype)
    stands_out = any((change[name] > STANDS_OUT * noise[name]).any() for name in change)
    if not stands_out or error.size in SIZES[dtype][1]:
        return f"{group}: error within rounding", (FAILED, INCONCLUSIVE, PASSED)
    if badly:
        return f"{group}: error", (FAILED, INCONCLUSIVE)
    return f"{group}: error {_size(error)}", (FAILED,)


def _at_kink(spec: Spec, right: Arrays, given: Arrays) -> Label:
    group, excused = f"{spec.dtype}, {SHOWN['kink']}", is_excused(spec.function, spec.dtype, right, given)
    if spec.error is None and not excused:
        if spec.place == "own":
            raise ValueError(f"the backward of {spec.function.expression} is wrong: {spec.function.backward}")
        return f"{group}: torch is wrong", (FAILED, INCONCLUSIVE)  # relu(x) - relu(-x) at 0
    if spec.error is None:
        return f"{group}: right", (PASSED, INCONCLUSIVE)
    if excused:
        return f"{group}: error within the slopes", (FAILED, INCONCLUSIVE, PASSED)
    return f"{group}: error {_size(spec.error)}", (FAILED,)


def _right(spec: Spec, parity: int, right: Arrays, given: Arrays, group: str) -> Label:
    """A right one, by the digits that are left of its worst element."""
    if spec.scale == "well" and spec.dtype == "float64":
        if worst(apart(given, right, spec.dtype)) > EXACTLY_RIGHT:
            raise ValueError(f"the backward of {spec.function.expression} is wrong: {spec.function.backward}")
        return f"{group}: right", (PASSED,)
    exactly = truth_here(spec.function, parity, spec.dtype, spec.scale)
    here, nearby = (
        worst(apart(given, exactly, spec.dtype)),
        rounding(spec.function, parity, spec.dtype, spec.scale),
    )
    if here > DIGIT:
        return f"{group}: no digit left", (INCONCLUSIVE, FAILED)
    least = min(float(np.min(np.abs(value), initial=np.inf)) for value in exactly.values())
    tiny = torch.finfo(getattr(torch, spec.dtype)).smallest_normal
    few = FEW if spec.scale == "badly" else DIGIT
    if max(here, worst(nearby)) > few or least < tiny:
        return f"{group}: few digits left", (PASSED, INCONCLUSIVE)
    return f"{group}: right", (PASSED,)


def _size(error: Error) -> str:
    return "of structure" if error.size is None else f"{error.size:g}"
