"""How often the verdict is right, and its price, beside gradcheck's: ``python tests/benchmarks/verdict.py``

Some thousands of pairs of a function and an input (``corpus.py``), right ones and planted errors, go through
vjpcalc and through ``torch.autograd.gradcheck``, slow and fast, one after the other in the same run.

An error is planted in one of four places. ``own``: in the backward of a user's own function, which is the
whole expression. ``front``, ``behind``: in a user's function that returns what it gets, before a leaf or
after the output. ``after``: in the gradient itself, once backward has given it, so that the whole program
stays of the language (gradcheck, which cannot be given a gradient, gets the ``front`` one).

What the verdict should be is worked out, not assumed: a right pair of badly scaled input whose gradient by
torch has no digit (``exact.py``) should be inconclusive, and an error in a low precision counts as missed
only where it stands out of what rounding alone does to that gradient.

Nothing here is asserted: what the figures should be stands beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

import corpus
import exact
from corpus import Function

import vjpcalc
from vjpcalc.check.verdict import check
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.job.autograd import compute
from vjpcalc.job.job import make_job

Tensor = torch.Tensor
Gradients = dict[str, Tensor]

DTYPES = ("float64", "float32", "float16", "bfloat16")
ERRORS = {  # the relative errors that are planted; each dtype's that are owed a detection, then smaller ones
    "float64": ((1e-2, 1e-4, 1e-6, 1e-8), ()),
    "float32": ((1e-2, 1e-4), (1e-6,)),
    "float16": ((1e-1, 2e-2), (2e-3,)),
    "bfloat16": ((3e-1, 1e-1), (1e-2,)),
}
DIGIT = 0.1  # a gradient whose relative error is beyond this has no digit left
TINY = 1e-290  # and so has a number below this, where float64 ends
STANDS_OUT = 4.0  # a planted error is owed a detection if it is this many times what rounding does here
SMOOTH = 1e-3  # an element is away from kinks if its slope changes by less than this when it moves by NEARBY
NEARBY = 1e-6
CONDITION = 1e-3  # a well scaled float64 gradient is this close to the same in float32

NAMES = {
    **vars(torch),
    "F": torch.nn.functional,
    **{name: getattr(torch.linalg, name) for name in ("solve", "inv", "det", "pinv", "cholesky")},
}

# ---- functions and inputs ----------------------------------------------------------------------------------


def draw(text: str, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The inputs that a text speaks of: ``x = near(2, 3); k = classes(3, 4)``, or ``1 2, 3 4`` for x or a."""

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


@functools.cache
def function_of(expression: str, names: tuple[str, ...]) -> Callable[..., Tensor]:
    return eval(f"lambda {', '.join(names)}: {expression}", NAMES)


Plant = Callable[[Tensor], Tensor | None]


def identity(plant: Plant) -> Callable[[Tensor], Tensor]:
    """What returns its argument, with ``plant`` in its backward."""

    class Identity(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor | None:
            return plant(g)

    return lambda x: Identity.apply(x)


def own(function: Function, program: str, plants: Mapping[str, Plant]) -> Callable[..., Tensor]:
    """The whole expression as one function with a backward of its own; ``plants`` change what it gives."""
    names, code = function.names, compile(program, program, "exec")
    forward_ = function_of(function.expression, tuple(names))

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> Tensor:
            y = forward_(*tensors)
            ctx.save_for_backward(*tensors, y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
            *tensors, y = ctx.saved_tensors
            if "cotangent" in plants:
                g = plants["cotangent"](g)
            scope = dict(zip(names, tensors, strict=True), y=y, g=g)
            exec(code, NAMES, scope)
            return tuple(plants.get(name, lambda d: d)(scope["d" + name]) if "d" + name in scope else None
                         for name in names)  # fmt: skip

    arguments = ", ".join(names)
    return eval(f"lambda {arguments}: apply({arguments})", {"apply": Own.apply})


# ---- errors ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Error:
    """What is done to a gradient. ``size``: its relative size, where it has one; ``one``: to one element."""

    name: str
    size: float | None = None
    one: bool = False
    program: str | None = None  # a backward program in place of the right one

    def plant(self, index: int) -> Plant:
        if self.size is not None and self.one:
            return lambda d: d * (1 + self.size * _at(d, index))
        if self.size is not None:
            return lambda d: d * (1 + self.size)
        return STRUCTURAL[self.name]


def _at(d: Tensor, index: int) -> Tensor:
    mask = torch.zeros(d.numel(), dtype=d.dtype)
    mask[index] = 1
    return mask.reshape(d.shape)


STRUCTURAL: dict[str, Plant] = {
    "sign": lambda d: -d,
    "factor 2": lambda d: 2 * d,
    "factor 1/n": lambda d: d / max(d.numel(), 2),
    "zero": lambda d: torch.zeros_like(d),
    "None": lambda d: None,
    "transposed": lambda d: d.T if d.ndim == 2 and d.shape[0] == d.shape[1] else d,
    "mean everywhere": lambda d: d.mean().expand(d.shape).clone(),
    "neighbour's": lambda d: d.roll(1, -1) if d.ndim else d,
    "cotangent forgotten": lambda g: torch.ones_like(g),
}


def _relative(sizes: Sequence[float]) -> list[Error]:
    return [Error(f"{size:g} on {where}", size, where == "one") for size in sizes for where in ("all", "one")]


# ---- pairs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spec:
    """A pair before anything is computed. ``place`` is where the error stands, or what a right one is."""

    function: Function
    scale: str  # well, badly, kink
    dtype: str
    place: str  # language, own, front, behind, after
    error: Error | None = None
    number: int = 0  # varies inputs, leaf and element

    def __str__(self) -> str:
        own = f" as one own function [{self.function.backward}]" if self.place == "own" else ""
        error = f": {self.error.name}, {self.place}" if self.error else ""
        return f"{self.function.family}, {self.dtype}: {self.function.expression}{own}{error}"


@dataclass(frozen=True, eq=False)
class Pair:
    """What is asked of all three, and what should come of it.

    ``accepted`` are the verdicts that are right, the first of them the one hoped for; ``group`` is the row of
    the table that it counts in.
    """

    spec: Spec
    text: str
    inputs: dict[str, Tensor]
    seed: Tensor | None
    use: dict[str, Callable[..., Tensor]]
    tamper: tuple[str, Plant] | None
    call: Callable[..., Tensor]
    group: str
    accepted: tuple[str, ...]


def rotate(items: Sequence[Any], start: int, number: int) -> list[Any]:
    return [items[(start + i) % len(items)] for i in range(min(number, len(items)))] if items else []


def composed(number: int) -> Iterator[Function]:
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

    for _ in range(number):
        text = pick(corpus.LAST).format(f"({inner(int(random.integers(2, 4)))})")
        used = [part for part in corpus.COMPOSED.split("; ") if part[0] in _letters(text)]
        if used:
            yield Function("compositions", text, "; ".join(used))


def _letters(text: str) -> set[str]:
    return {word for word in "".join(c if c.isalnum() else " " for c in text).split() if len(word) == 1}


def named(text: str, expression: str) -> str:
    """The inputs with the name that the expression has for its only one."""
    return text if "=" in text else f"{'a' if 'a' in _letters(expression) else 'x'} = {text}"


def specs() -> Iterator[Spec]:
    """The corpus, in an order in which any stretch has a bit of everything of its kind."""
    well = [*corpus.WELL, *composed(60)]
    kinds = [name for name in STRUCTURAL if name != "cotangent forgotten"]
    for n, function in enumerate(well):
        for dtype in ("float64", DTYPES[1 + n % 3], DTYPES[1 + (n + 1) % 3]):
            owed, smaller = ERRORS[dtype]
            full = dtype == "float64"
            spec = Spec(function, "well", dtype, "language", None, n)
            errors = _relative(owed if full else owed[n % 2 :][:1])
            errors += [Error(name) for name in rotate(kinds, 3 * n, 2 if full else 1)]
            yield spec
            for i, error in enumerate(errors):
                places = ("front", "after") if error.one else ("front", "behind", "after")
                yield replace(spec, error=error, place=places[(i + n) % len(places)], number=n + i)
            if full:
                yield replace(spec, error=Error("cotangent forgotten"), place="behind")
            for error in rotate(_relative(smaller), n, 1):
                yield replace(spec, error=error, place="after")
            if not function.backward:
                continue
            spec = replace(spec, place="own")
            yield spec
            errors = _relative(owed if full else rotate(owed, n, 1))
            errors += [Error(name) for name in rotate(kinds, 3 * n + 2, 2 if full else 1)]
            errors += [
                Error(name, program=function.backward.replace(*edit))
                for name, edit in list(function.mistakes.items())[: None if full else 1]
            ]
            errors += [Error("cotangent forgotten")] if full else []
            for i, error in enumerate(errors):
                yield replace(spec, error=error, number=n + i)
            for error in rotate(_relative(smaller), n + 1, 1):
                yield replace(spec, error=error)

    badly = [*_relative((1e-2, 1e-6)), Error("sign"), Error("factor 2")]
    for n, (family, expression, inputs) in enumerate(corpus.BADLY):
        backward = corpus.BADLY_OWN.get(expression, "")
        function = Function(family, expression, named(inputs, expression), backward)
        for dtype in ("float64", "float32"):
            for place in ("language", "own") if backward else ("language",):
                spec = Spec(function, "badly", dtype, place, None, n)
                yield spec
                if dtype == "float32":
                    continue
                for i, error in enumerate(rotate(badly, n, 2)):
                    where = "own" if place == "own" else ("after", "front")[(n + i) % 2]
                    yield replace(spec, error=error, place=where)

    for n, (expression, inputs, backward, wrong) in enumerate(corpus.AT_KINKS):
        function = Function("at kinks", expression, named(inputs, expression), backward)
        for dtype in DTYPES:
            spec = Spec(function, "kink", dtype, "own", None, n)
            yield spec
            for name, program in wrong.items():
                if dtype == "float64" or not name.startswith("1"):
                    yield replace(spec, error=Error(name, program=program))
            if dtype == "float64":
                for error in _relative((1e-2, 1e-4, 1e-6)):
                    yield replace(spec, error=error)
    for n, (expression, inputs) in enumerate(corpus.KINKED):
        function = Function("at kinks", expression, named(inputs, expression))
        for dtype in DTYPES:
            spec = Spec(function, "kink", dtype, "language", None, n)
            yield spec
            errors = _relative(ERRORS[dtype][0] if dtype == "float64" else ERRORS[dtype][0][:1])
            for i, error in enumerate([*errors, Error("sign")]):
                yield replace(spec, error=error, place=("front", "after")[(n + i) % 2])


@contextlib.contextmanager
def default(dtype: str) -> Iterator[None]:
    """As ``vjpcalc --dtype`` has it: numbers made inside are of this dtype too. Warnings are not shown."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)


def tensors(inputs: Mapping[str, np.ndarray], dtype: str) -> Gradients:
    made = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
    return {n: t.to(getattr(torch, dtype)) if t.is_floating_point() else t for n, t in made.items()}


def torch_gradients(call: Callable[..., Tensor], inputs: Gradients, seed: Tensor | None) -> Gradients:
    leaves = {name: t.clone().requires_grad_() if t.is_floating_point() else t for name, t in inputs.items()}
    out = call(*leaves.values())
    asked = {name: t for name, t in leaves.items() if t.requires_grad}
    given = torch.autograd.grad(out, list(asked.values()), seed, allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if g is None else g
        for (name, leaf), g in zip(asked.items(), given, strict=True)
    }


def as_numpy(gradients: Gradients) -> dict[str, np.ndarray]:
    return {name: gradient.detach().double().numpy() for name, gradient in gradients.items()}


def finite(gradients: Mapping[str, np.ndarray]) -> bool:
    return all(np.isfinite(value).all() for value in gradients.values())


def apart(mine: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The relative distance of each element from the other's; 0 where both are 0, infinite beside a 0."""
    with np.errstate(all="ignore"):
        return {
            name: np.where(mine[name] == value, 0.0, np.abs(mine[name] - value) / np.abs(value))
            for name, value in other.items()
        }


def worst(distances: Mapping[str, np.ndarray]) -> float:
    return max(
        float(np.max(np.nan_to_num(d, nan=np.inf, posinf=np.inf), initial=0.0)) for d in distances.values()
    )


@functools.lru_cache(maxsize=64)
def drawn(function: Function, number: int, dtype: str) -> tuple[Gradients, Tensor | None, Gradients]:
    """The inputs of a function in a dtype, a seed, and the right gradients: torch's, of the expression."""
    random = np.random.default_rng([number, len(function.expression)])
    inputs = tensors(draw(function.inputs, random), dtype)
    call = function_of(function.expression, tuple(function.names))
    with default(dtype):
        shape = call(*inputs.values()).shape
        seed = (
            None
            if not shape
            else torch.from_numpy(random.uniform(0.5, 1.5, shape)).to(inputs[function.names[0]].dtype)
        )
        return inputs, seed, torch_gradients(call, inputs, seed)


@functools.lru_cache(maxsize=64)
def truth(function: Function, number: int, dtype: str, scale: str) -> dict[str, np.ndarray] | None:
    """The gradients at exactly these inputs; None for well scaled float64, which rounding leaves alone."""
    inputs, seed, _ = drawn(function, number, dtype)
    if scale == "badly":
        values = {name: value.double().numpy() for name, value in inputs.items()}
        return exact.gradients(
            function.expression, values, np.ones(1) if seed is None else seed.double().numpy()
        )
    other = "float64" if dtype != "float64" else "float32"
    call = function_of(function.expression, tuple(function.names))
    kind = getattr(torch, other)
    with default(other):
        again = {n: t.to(kind) if t.is_floating_point() else t for n, t in inputs.items()}
        return as_numpy(torch_gradients(call, again, None if seed is None else seed.to(kind)))


def smooth(function: Function, inputs: Gradients, seed: Tensor | None, leaf: str) -> np.ndarray:
    """Which elements of a leaf have the same slope on either side."""
    call = function_of(function.expression, tuple(function.names))
    with default("float64"):
        inputs = {name: t.double() if t.is_floating_point() else t for name, t in inputs.items()}
        seed = None if seed is None else seed.double()

        def slope(index: int, step: float) -> float:
            moved = {**inputs, leaf: inputs[leaf].clone()}
            moved[leaf].view(-1)[index] += step
            return float(torch_gradients(call, moved, seed)[leaf].view(-1)[index])

        sides = [(slope(i, NEARBY), slope(i, -NEARBY), slope(i, 0.0)) for i in range(inputs[leaf].numel())]
    return np.array([max(s) - min(s) <= SMOOTH * abs(s[2]) for s in sides])


def build(spec: Spec) -> Pair | None:
    """The pair, with what its verdict should be; None where the error changes nothing, or torch cannot."""
    function, error = spec.function, spec.error
    try:
        inputs, seed, right = drawn(function, spec.number % 2, spec.dtype)
    except (RuntimeError, NotImplementedError):
        return None  # linear algebra in float16
    given = as_numpy(right)
    if not finite(given):
        return None
    exactly = truth(function, spec.number % 2, spec.dtype, spec.scale)
    floating = list(right)
    leaf = floating[spec.number % len(floating)]
    eligible = np.flatnonzero(given[leaf])
    if spec.scale == "kink" and error and error.one:
        eligible = np.intersect1d(eligible, np.flatnonzero(smooth(function, inputs, seed, leaf)))
    if not len(eligible):
        return None
    index = int(eligible[(spec.number * 7 + 3) % len(eligible)])
    call_right = function_of(function.expression, tuple(function.names))
    text, use, tamper = function.expression, {}, None
    names = ", ".join(function.names)
    plant = error.plant(index) if error and not error.program else (lambda d: d)
    forgotten = error is not None and error.name == "cotangent forgotten"
    if forgotten and seed is not None:
        seed = torch.ones_like(seed)
    if spec.place == "own":
        program = (error and error.program) or function.backward
        plants = {("cotangent" if forgotten else leaf): plant} if error else {}
        call = own(function, program, plants)
        text, use = f"own({names})", {"own": call}
    elif error is None:
        call = call_right
    elif spec.place == "behind":
        wrong = identity(plant)

        def call(*arguments: Tensor) -> Tensor:
            return wrong(call_right(*arguments))

        text, use = f"wrong({text})", {"wrong": wrong}
    else:
        wrong = identity(plant)

        def call(*arguments: Tensor) -> Tensor:
            return call_right(
                *(wrong(t) if n == leaf else t for n, t in zip(function.names, arguments, strict=True))
            )

        if spec.place == "front":
            text, use = f"{leaf} = wrong({leaf}); {text}", {"wrong": wrong}
        else:
            tamper = leaf, plant

    with default(spec.dtype):
        planted = as_numpy(torch_gradients(call, inputs, seed))
    if not finite(planted):
        return None
    labelled = label(spec, given, planted, exactly, forgotten)
    if labelled is None:
        return None
    return Pair(spec, text, inputs, seed, use, tamper, call, *labelled)


def label(
    spec: Spec, given: Mapping, planted: Mapping, exactly: Mapping, forgotten: bool
) -> tuple[str, tuple[str, ...]] | None:
    """The row of the table that a pair counts in, and the verdicts that are right."""
    rounding = worst(apart(given, exactly)) if spec.scale != "kink" else 0.0
    where = {"well": "well scaled", "badly": "badly scaled", "kink": "at kinks"}[spec.scale]
    group = f"{spec.dtype}, {where}"
    if spec.scale == "well" and spec.dtype == "float64":
        if rounding > CONDITION:
            return None  # not well scaled after all
        rounding = 0.0
    if spec.error is None:
        off = worst(apart(planted, exactly)) if spec.scale == "badly" else rounding
        small = min(float(np.min(np.abs(value), initial=np.inf)) for value in exactly.values())
        if spec.scale == "badly" and (off > DIGIT or small < TINY):
            return f"{group}: no digit left", ("inconclusive",)
        if spec.scale == "kink":
            return f"{group}: right", ("passed", "inconclusive")
        if off > DIGIT:
            return f"{group}: no digit left", ("inconclusive",)
        return f"{group}: right", ("passed",)
    if forgotten:
        return f"{group}: cotangent forgotten", ("failed",)
    change = worst(apart(planted, given))
    if change == 0:
        return None
    size = spec.error.size
    smaller = size is not None and size in ERRORS[spec.dtype][1]
    floor = {"float64": 1e-9}.get(spec.dtype, 0.0)
    if smaller or change < max(STANDS_OUT * rounding, floor):
        return f"{group}: error too small to be owed", ("failed", "inconclusive", "passed")
    if spec.scale == "badly":
        return f"{group}: error", ("failed", "inconclusive")
    named = f"{size:g}" if size is not None else "of structure"
    return f"{group}: error {named}", ("failed",)


# ---- the three that are asked ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    verdict: str
    reason: str
    seconds: float


def ours(pair: Pair) -> Answer:
    started = time.perf_counter()
    try:
        seed = pair.seed
        if pair.tamper is None:
            result = vjpcalc.vjp(pair.text, pair.inputs, seed, use=pair.use, dtype=pair.spec.dtype)
        else:
            leaf, plant = pair.tamper
            vjp = compute(make_job(pair.text, pair.inputs, seed=seed, dtype=pair.spec.dtype))
            changed = plant(vjp.gradients[leaf])
            changed = torch.zeros_like(vjp.gradients[leaf]) if changed is None else changed
            result = check(replace(vjp, gradients={**vjp.gradients, leaf: changed}))
    except Diagnostic as diagnostic:
        return Answer("error", str(diagnostic), time.perf_counter() - started)
    except Exception as error:
        return Answer("crash", f"{type(error).__name__}: {error}", time.perf_counter() - started)
    taken = time.perf_counter() - started
    reasons = [f"{name}: {leaf.reason}" for name, leaf in result.check.leaves.items() if leaf.reason]
    return Answer(result.check.status, "; ".join(reasons), taken)


def gradcheck(pair: Pair, fast: bool) -> Answer:
    with default(pair.spec.dtype):
        inputs = [t.clone().requires_grad_() if t.is_floating_point() else t for t in pair.inputs.values()]
        started = time.perf_counter()
        try:
            passed = torch.autograd.gradcheck(pair.call, inputs, fast_mode=fast, raise_exception=False)
            verdict, reason = ("passed" if passed else "failed"), ""
        except Exception as error:
            verdict, reason = "failed", f"{type(error).__name__}: {error}"
        return Answer(verdict, reason, time.perf_counter() - started)


ASKED = {
    "vjpcalc": ours,
    "slow": lambda pair: gradcheck(pair, False),
    "fast": lambda pair: gradcheck(pair, True),
}
Answers = list[tuple[Pair, dict[str, Answer]]]


def measure(pairs: list[Pair]) -> Answers:
    for pair in pairs[:3]:
        for ask in ASKED.values():
            ask(pair)  # warm up
    return [(pair, {name: ask(pair) for name, ask in ASKED.items()}) for pair in pairs]


# ---- tables ------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> str:
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] + ["---:"] * (len(head) - 1), *rows)]
        return "\n".join(lines)
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in (head, *rows))
    )


def share(count: int, of: int) -> str:
    return "–" if not of else f"{100 * count / of:.1f} %" if count % of else f"{100 * count // of} %"


def verdicts(answers: Answers, markdown: bool) -> str:
    groups: dict[str, Answers] = {}
    for pair, answer in answers:
        groups.setdefault(pair.group, []).append((pair, answer))
    rows = []
    for group in sorted(groups, key=order):
        members = groups[group]

        def count(name: str, verdict: str, members: Answers = members) -> str:
            return share(sum(answer[name].verdict == verdict for _, answer in members), len(members))

        mine = [count("vjpcalc", verdict) for verdict in ("failed", "inconclusive", "passed")]
        wrong = sum(answer["vjpcalc"].verdict not in pair.accepted for pair, answer in members)
        rival = [count(name, "failed") for name in ("slow", "fast")]
        rows.append([group, str(len(members)), *mine, str(wrong or ""), *rival])
    head = ["pairs", "number", "failed", "inconclusive", "passed", "misjudged", "gradcheck failed", "… fast"]
    return table(head, rows, markdown)


def order(group: str) -> tuple[int, ...]:
    kind = ["right", "no digit", "cotangent", "error 0.", "error 1e-", "error of", "error", "error too"]
    place = ["well", "badly", "kinks"]
    return (
        [dtype in group.split(",")[0].split() for dtype in DTYPES].index(True),
        [word in group for word in place].index(True),
        [f": {word}" in group for word in kind].index(True),
    )


def goals(answers: Answers, markdown: bool) -> str:
    """The figures that have a goal."""

    def of(test: Callable[[Pair], bool]) -> Answers:
        return [(pair, answer) for pair, answer in answers if test(pair)]

    def rate(name: str, verdict: str, members: Answers) -> str:
        hits = sum(answer[name].verdict == verdict for _, answer in members)
        return f"{hits} of {len(members)} ({share(hits, len(members))})"

    right = lambda pair: pair.spec.error is None  # noqa: E731
    owed = lambda pair: pair.accepted == ("failed",)  # noqa: E731
    well = lambda pair, dtype: pair.spec.scale == "well" and pair.spec.dtype == dtype  # noqa: E731
    figures = [
        ("false alarms", "0", "failed", of(lambda p: right(p) and "no digit" not in p.group)),
        ("false alarms, float64 only", "0", "failed",
         of(lambda p: right(p) and "no digit" not in p.group and p.spec.dtype == "float64")),
        ("no digit left, yet passed", "0", "passed", of(lambda p: "no digit" in p.group)),
        *((f"{dtype} well scaled, detected", "100 %", "failed", of(lambda p, d=dtype: owed(p) and well(p, d)))
          for dtype in DTYPES),
        ("errors at kinks, detected", "≥ 95 %", "failed", of(lambda p: owed(p) and p.spec.scale == "kink")),
        ("badly scaled float64 right ones, inconclusive", "≤ 5 %", "inconclusive",
         of(lambda p: right(p) and p.group == "float64, badly scaled: right")),
        ("well scaled right ones, inconclusive", "0", "inconclusive",
         of(lambda p: right(p) and p.spec.scale == "well" and "no digit" not in p.group)),
    ]  # fmt: skip
    rows = []
    for title, goal, verdict, members in figures:
        rivals = [
            rate(name, verdict, members) if verdict != "inconclusive" else "–" for name in ("slow", "fast")
        ]
        if members:
            rows.append([title, goal, rate("vjpcalc", verdict, members), *rivals])
    return table(["", "goal", "vjpcalc", "gradcheck", "gradcheck, fast"], rows, markdown)


def times(answers: Answers, markdown: bool) -> str:
    kinds: dict[str, Callable[[Pair], bool]] = {
        "all pairs": lambda pair: True,
        "right, well scaled, float64": lambda pair: pair.group == "float64, well scaled: right",
        "right, badly scaled, float64": lambda pair: pair.group.startswith("float64, badly scaled: right"),
        "right, at kinks": lambda pair: pair.group.endswith("at kinks: right"),
        "right, of the language": lambda pair: pair.spec.place == "language",
        "right, own functions": lambda pair: pair.spec.place == "own" and pair.spec.error is None,
        "with an error": lambda pair: pair.spec.error is not None,
    }
    rows = []
    for title, test in kinds.items():
        members = [
            {name: a.seconds * 1e3 for name, a in answer.items()} for pair, answer in answers if test(pair)
        ]
        if not members:
            continue
        taken = [[member[name] for member in members] for name in ASKED]
        ratios = [[member["vjpcalc"] / member[name] for member in members] for name in ("slow", "fast")]
        each = [f"{statistics.median(ms):.1f} / {statistics.mean(ms):.1f}" for ms in taken]
        rows.append(
            [title, str(len(members)), *each, *(f"{statistics.median(ratio):.2f}" for ratio in ratios)]
        )
    head = ["median / mean, ms", "number", *ASKED, "median ratio to slow", "… to fast"]
    return table(head, rows, markdown)


def misjudged(answers: Answers) -> Iterator[str]:
    def written(tensor: Tensor) -> str:
        text = np.array2string(tensor.double().numpy(), separator=",", max_line_width=10**6, threshold=20)
        return text.replace("\n", "")

    for pair, answer in answers:
        mine = answer["vjpcalc"]
        if mine.verdict in pair.accepted:
            continue
        values = " ".join(f"{name}={written(tensor)}" for name, tensor in pair.inputs.items())
        yield f"{mine.verdict}, not {' or '.join(pair.accepted)} [{pair.group}]"
        yield f"    {pair.spec}"
        yield f"    {pair.text} | {values}"
        yield f"    reason: {mine.reason or '–'}"
        yield f"    gradcheck: {answer['slow'].verdict}, fast {answer['fast'].verdict}"


# ---- the command -------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", metavar="WORD", help="pairs whose description contains this, as 'linear' or 'float16'"
    )
    parser.add_argument("--pairs", metavar="N", type=int, help="about as many, spread over the corpus")
    parser.add_argument(
        "--list-wrong", action="store_true", help="every pair whose verdict is not what it should be"
    )
    parser.add_argument("--time-only", action="store_true", help="right pairs only, and the times only")
    parser.add_argument("--markdown", action="store_true", help="tables as README has them")
    options = parser.parse_args()

    chosen = [
        spec for spec in specs()
        if (options.only is None or options.only in str(spec)) and not (options.time_only and spec.error)
    ]  # fmt: skip
    if options.pairs and options.pairs < len(chosen):
        chosen = [chosen[i * len(chosen) // options.pairs] for i in range(options.pairs)]
    started = time.perf_counter()
    pairs = [pair for pair in map(build, chosen) if pair is not None]
    built = time.perf_counter()
    answers = measure(pairs)
    if not options.time_only:
        print(f"{len(pairs)} pairs, {sum(pair.spec.error is None for pair in pairs)} of them right\n")
        print(verdicts(answers, options.markdown), "\n")
        print(goals(answers, options.markdown), "\n")
    print(times(answers, options.markdown))
    if options.list_wrong:
        print("\n".join(["", *misjudged(answers)]))
    print(
        f"\n{built - started:.0f} s to make the pairs, {time.perf_counter() - built:.0f} s to judge them",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
