"""The explicit Jacobian of the outputs with respect to one leaf: an evaluation a column, or one for many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np  # noqa: TID253 (imported only once there is something to differentiate)

from vjpcalc.check.derivative import (
    CEILING,
    COMPLEX_STEP,
    DIFFERENCES,
    Derivative,
    Sided,
    relative_scale,
)
from vjpcalc.check.directional import directional
from vjpcalc.check.fuse import as_numexpr, compiled
from vjpcalc.check.replay import Replay
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.job.result import Forward
from vjpcalc.language.trace import Decision
from vjpcalc.limits import DEFAULT_LIMIT
from vjpcalc.operators.row import numel

EVALUATIONS = 8  # of a function, for one derivative by differences
OVERHEAD = 500  # element operations that starting one operator is worth
# So many evaluations are made at any size where columns share them, unless the limit is lowered: four times
# as many as a probe's, enough for a 5×5 stencil. An error seen at n = 200 is then seen at n = 20,000.
FEW = 32
ALIKE = 6  # binary orders of magnitude; no step suits numbers farther apart (sin at 1 and 1e12)
AT_ONCE = 64  # columns, between two reports of progress
# A step of a number below this may be so small that what is computed of it underflows: it is tried once more,
# WIDER (atan2 at 1e-300 and -1e-9 lost half of its digits).
UNDERFLOWS = 2.0**-600
WIDER = 2.0**10
# More summands than this are added up pairwise: one after the other, 100,000 lose two digits.
CROWDED = 64


@dataclass(frozen=True, eq=False)
class Layout:
    """Which numbers a Jacobian of ``shape`` (m, n) holds, and which of its columns share an evaluation.

    It has a column for each of the leaf's ``elements`` (None: all n), and after them one for each of the
    ``directions`` (n, k), if there are any: J·u. Entry e stands in row ``rows[e]`` and column ``columns[e]``,
    and all others are 0; both are None where every entry is held, (m, width). Columns of one of ``colours``,
    numbered from 0, share an evaluation; None: each has its own. ``scale``, shaped like the leaf, is how far
    each element is moved.
    """

    shape: tuple[int, int]
    scale: np.ndarray
    rows: np.ndarray | None = None
    columns: np.ndarray | None = None
    colours: np.ndarray | None = None
    elements: np.ndarray | None = None
    directions: np.ndarray | None = None

    @functools.cached_property
    def compared(self) -> int:
        """How many of the columns are a leaf element's."""
        return self.shape[1] if self.elements is None else len(self.elements)

    @functools.cached_property
    def width(self) -> int:
        """The number of columns."""
        return self.compared + (0 if self.directions is None else self.directions.shape[1])

    @property
    def evaluations(self) -> int:
        """How many evaluations yield all entries."""
        return self.width if self.colours is None else int(self.colours.max(initial=-1)) + 1

    @functools.cached_property
    def shares(self) -> list[tuple[np.ndarray, np.ndarray | slice]]:
        """For each evaluation the columns that it yields, and which entries these are."""
        if self.colours is None or self.columns is None:
            return [(np.array([k]), slice(None)) for k in range(self.width)]
        if self.evaluations == 1:
            return [(np.arange(self.width), slice(None))]
        entries = classes(self.colours[self.columns], self.evaluations)
        return list(zip(classes(self.colours, self.evaluations), entries, strict=True))

    @functools.cached_property
    def summands(self) -> np.ndarray:
        """How many entries each column has, (width,)."""
        assert self.columns is not None
        return np.bincount(self.columns, minlength=self.width)

    @functools.cached_property
    def by_column(self) -> np.ndarray:
        """The order of the entries column by column."""
        assert self.columns is not None
        return np.argsort(self.columns, kind="stable")

    def sums(self, entries: np.ndarray) -> np.ndarray:
        """The sum of each column's entries, (width,)."""
        assert self.columns is not None
        if self.summands.max(initial=0) <= CROWDED:
            return np.bincount(self.columns, weights=entries, minlength=self.width)
        filled = np.flatnonzero(self.summands)
        starts = np.cumsum(self.summands[filled]) - self.summands[filled]
        sums = np.zeros(self.width)
        sums[filled] = np.add.reduceat(entries[self.by_column], starts)
        return sums

    def empty(self, dtype: np.dtype) -> np.ndarray:
        """An array for the entries, of zeros."""
        return np.zeros((self.shape[0], self.width) if self.columns is None else len(self.columns), dtype)

    def by_length(self, entries: np.ndarray) -> np.ndarray:
        """Derivatives by the length of their column's direction, which makes them the entries of J."""
        lengths = self.scale.ravel()
        lengths = lengths if self.elements is None else lengths[self.elements]
        if self.directions is not None:
            lengths = np.append(lengths, np.ones(self.directions.shape[1]))
        with np.errstate(all="ignore"):
            return entries / (lengths if self.columns is None else lengths[self.columns])


def classes(numbers: np.ndarray, count: int) -> list[np.ndarray]:
    """For each number below ``count`` where it stands."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.searchsorted(numbers[order], np.arange(1, count)))


@dataclass(frozen=True, eq=False)
class Jacobian:
    """∂outputs/∂leaf, both flattened in row-major order: m outputs by n leaf elements.

    ``entries``, ``errors`` and ``kinks`` are laid out as ``layout`` says; so are ``left`` and ``right``, the
    one-sided derivatives, which are None where no kink made them necessary.
    """

    leaf: str
    layout: Layout
    entries: np.ndarray
    errors: np.ndarray
    method: str
    kinks: np.ndarray | None = None
    left: np.ndarray | None = None
    right: np.ndarray | None = None
    flipped: Decision | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout.shape

    @property
    def colours(self) -> np.ndarray | None:
        """The colour of each column, from 0 up, shape (width,); None where each is evaluated alone."""
        return self.layout.colours

    @property
    def crowded(self) -> np.ndarray | float:
        """How many entries each column of a sparse J has, (width,); 0 where that is not more than CROWDED."""
        if self.layout.columns is None:
            return 0.0
        return np.where(self.layout.summands > CROWDED, self.layout.summands, 0)

    def transposed(self, v: np.ndarray, entries: np.ndarray | None = None) -> np.ndarray:
        """Jᵀ·v, shape (width,), for v of shape (m,). The products are made by numexpr."""
        entries = as_numexpr(self.entries if entries is None else entries)
        v, layout = as_numexpr(v), self.layout
        if layout.columns is not None:
            return layout.sums(compiled("v0 * v1", ("f", "f"))(entries, v[layout.rows]))
        if 0 in entries.shape:
            return np.zeros(entries.shape[1])
        return compiled("sum(v0 * v1, axis=0)", ("f", "f"))(entries, v[:, None])

    def dense(self, entries: np.ndarray | None = None) -> np.ndarray:
        """The (m, width) matrix."""
        entries = self.entries if entries is None else entries
        layout = self.layout
        if layout.columns is None:
            return entries
        matrix = np.zeros((layout.shape[0], layout.width), entries.dtype)
        matrix[layout.rows, layout.columns] = entries
        return matrix


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One ``direction``, shaped like the leaf, and the ``columns`` that the derivative along it yields."""

    layout: Layout
    direction: np.ndarray
    columns: np.ndarray
    entries: np.ndarray | slice

    def put(self, derivative: np.ndarray, entries: np.ndarray) -> None:
        """Put a derivative along the direction, or a mask of what is so there, (m,), into ``entries``."""
        if self.layout.rows is None:
            entries[:, self.columns[0]] = derivative
        else:
            entries[self.entries] = derivative[self.layout.rows[self.entries]]

    def halves(self) -> list[Evaluation]:
        """Two evaluations, each of half of the columns; none where there is but one, or J is not sparse."""
        layout, columns = self.layout, self.columns
        if layout.columns is None or len(columns) < 2:
            return []
        entries = np.arange(len(layout.columns))[self.entries]
        made = []
        for part in (columns[: len(columns) // 2], columns[len(columns) // 2 :]):
            mine = np.zeros(layout.width, bool)
            mine[part] = True
            own = entries[mine[layout.columns[entries]]]
            made.append(Evaluation(layout, _direction(layout, part), part, own))
        return made


def _direction(layout: Layout, columns: np.ndarray) -> np.ndarray:
    """The direction in which the elements, or directions, of these columns are moved together."""
    flat, count = layout.scale.ravel(), layout.compared
    direction = np.zeros(flat.size)
    own = columns if layout.directions is None else columns[columns < count]
    own = own if layout.elements is None else layout.elements[own]
    direction[own] = flat[own]
    if layout.directions is not None:
        direction += layout.directions[:, columns[columns >= count] - count].sum(1)
    return direction.reshape(layout.scale.shape)


def evaluations(layout: Layout, wanted: np.ndarray | None = None) -> Iterator[Evaluation]:
    """The evaluations that yield the columns of a layout, or those that are ``wanted``, a mask (width,)."""
    for columns, entries in layout.shares:
        moved = columns if wanted is None else columns[wanted[columns]]
        if moved.size:
            yield Evaluation(layout, _direction(layout, moved), columns, entries)


def evaluate(
    layout: Layout, along: Callable[[np.ndarray], np.ndarray], wanted: np.ndarray | None = None
) -> np.ndarray:
    """The entries of a Jacobian, laid out so, of which ``along`` gives the derivative (m,) along a direction.

    A direction is shaped like the leaf. Columns that are not ``wanted``, a mask (width,), are 0.
    """
    entries = layout.empty(np.dtype(float))
    for evaluation in evaluations(layout, wanted):
        evaluation.put(along(evaluation.direction), entries)
    return layout.by_length(entries)


def explicit(replay: Replay) -> Layout:
    """The layout of the whole Jacobian of a replay's targets: sparse where columns can share evaluations."""
    scale = relative_scale(np.asarray(replay.leaf.value, dtype=np.float64))
    if replay.analytic:
        scale = np.minimum(scale, CEILING)
    shape = replay.primal.size, scale.size
    pattern = replay.pattern
    colours = None if pattern is None else pattern.colours
    if colours is not None and not replay.analytic:
        with np.errstate(all="ignore"):
            sizes = np.floor(np.log2(scale.ravel()) / ALIKE)
        colours = np.unique(np.stack([colours, sizes]), axis=1, return_inverse=True)[1].ravel()
    if pattern is None or colours is None or not (pattern.single or 2 * int(colours.max()) < scale.size):
        return Layout(shape, scale)
    return Layout(shape, scale, pattern.rows, pattern.columns, colours)


def jacobian(
    replay: Replay, layout: Layout | None = None, progress: Callable[[int, int], None] | None = None
) -> Jacobian:
    """The Jacobian of a replay's targets, joined in order, with respect to its leaf.

    Without a ``layout`` it is the explicit one. ``progress`` is told how many of how many columns are done.
    """
    layout = explicit(replay) if layout is None else layout
    parts: dict[str, np.ndarray] = {"value": layout.empty(np.dtype(float))}
    parts["error"] = parts["value"].copy()
    method, flipped, done = COMPLEX_STEP, None, 0
    for evaluation, derivative in _derivatives(replay, layout):
        names = ["value", "error"]
        if isinstance(derivative, Sided):
            names += ["kink", "left", "right"]
            flipped = flipped or derivative.flipped
        for name in names:
            part = getattr(derivative, name)
            if name not in parts:
                parts[name] = layout.empty(part.dtype)
            evaluation.put(part, parts[name])
        method = DIFFERENCES if derivative.method == DIFFERENCES else method
        done += len(evaluation.columns)
        if progress is not None:
            progress(done, layout.width)
    if "kink" in parts and not parts["kink"].any():
        parts = {name: parts[name] for name in ("value", "error")}
    found = {name: part if name == "kink" else layout.by_length(part) for name, part in parts.items()}
    if method == COMPLEX_STEP:
        found["error"] = np.fmax(found["error"], _underflow(replay, layout, found["value"]))
    return Jacobian(
        leaf=replay.name,
        layout=layout,
        entries=found["value"],
        errors=found["error"],
        method=method,
        kinks=found.get("kink"),
        left=found.get("left"),
        right=found.get("right"),
        flipped=flipped,
    )


def _underflow(replay: Replay, layout: Layout, entries: np.ndarray) -> np.ndarray | float:
    """How far off complex steps are that are as small as the numbers, laid out as ``entries``."""
    x = np.abs(np.asarray(replay.leaf.value, dtype=np.float64))
    tiny = (x > 0) & (x < UNDERFLOWS)
    if not tiny.any():
        return 0.0
    own = tiny.ravel() if layout.elements is None else tiny.ravel()[layout.elements]
    own = np.append(own, np.zeros(layout.width - own.size, bool))
    wider = replace(layout, scale=np.where(tiny, WIDER * layout.scale, layout.scale))
    off = 2 * distance(evaluate(wider, replay.complex_step, own), entries)
    return np.where(own if layout.columns is None else own[layout.columns], off, 0.0)


def _derivatives(replay: Replay, layout: Layout) -> Iterator[tuple[Evaluation, Derivative]]:
    """The derivative of each evaluation.

    A branch that one element flips is in doubt for all that are moved with it: such an element is searched
    for, by halves, in FEW steps.
    """
    kinked = bool(replay.kinks)
    searches = FEW
    waiting = list(evaluations(layout))[::-1]
    while waiting:
        parts = [waiting.pop() for _ in range(min(AT_ONCE, len(waiting)))]
        derivatives = directional(replay, *(part.direction for part in parts), kinked=kinked)
        for part, derivative in zip(parts, derivatives, strict=True):
            in_doubt = isinstance(derivative, Sided) and derivative.flipped and derivative.kink.any()
            halves = part.halves() if in_doubt and searches else []
            if halves:
                waiting += halves
                searches -= 1
            else:
                yield part, derivative


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far apart the numbers of two arrays are; equal infinities are not, nor are two NaNs."""
    with np.errstate(all="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))


def evaluation_cost(replay: Replay) -> int:
    """The element operations of one evaluation."""
    work = sum(numel(node.shape) + OVERHEAD for node in replay.varying.values())
    return work if replay.analytic and not replay.kinks else EVALUATIONS * work


def within(replay: Replay, layout: Layout, limit: int, times: int = 1) -> bool:
    """True if so many Jacobians like this one cost no more than ``limit`` element operations.

    One is also made where its columns share few evaluations: FEW for the default limit, and for another one
    as many more or fewer.
    """
    few = layout.colours is not None and layout.evaluations <= shared(limit)
    return few or times * layout.evaluations * evaluation_cost(replay) <= limit


def shared(limit: int) -> int:
    """How many evaluations that columns share a limit allows at any size."""
    return FEW * limit // DEFAULT_LIMIT


def require_explicit(run: Forward, sparse: Mapping[str, Layout] | None = None) -> None:
    """Raise Diagnostic (limit) where the Jacobian of a leaf is too large to be written out.

    Of those that are kept ``sparse``, by leaf, only what is stored counts.
    """
    m = sum(value.numel() for value in run.outputs.values())
    limit = run.job.limits.max_elements
    for name, leaf in run.leaves.items():
        n = leaf.numel()
        layout = (sparse or {}).get(name)
        stored = m * n if layout is None or layout.rows is None else len(layout.rows)
        if stored > limit:
            of_these = "" if layout is None else f", {stored:,} of them stored"
            raise Diagnostic(
                "limit",
                f"the Jacobian of {name} has {m:,} × {n:,} entries{of_these}; the limit is {limit:,}",
                hint="--max-elements N allows more; --wrt leaves leaves out",
            )
