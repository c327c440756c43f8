"""The explicit Jacobian of each leaf, made in up to three ways, with its rank and the structure of its zeros.

numeric    the reference engine's forward values differentiated: no derivative rule is involved
backward   torch, row by row: one backward for each element of the output
forward    torch's forward mode, column by column

A large matrix whose columns can share evaluations is kept sparse: see ``is_sparse``. Its rows then share
backward passes as its columns do evaluations.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a Jacobian to make)
import torch  # noqa: TID253

from vjpcalc.check.colouring import colouring
from vjpcalc.check.forward import forward_jacobian
from vjpcalc.check.jacobian import (
    Layout,
    classes,
    distance,
    explicit,
    jacobian,
    require_explicit,
)
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.check.sets import Sets
from vjpcalc.check.verdict import check
from vjpcalc.diagnostics import FORMAT_VERSION, Diagnostic, count, element_names, listed, unknown
from vjpcalc.engines.yours import default_dtype
from vjpcalc.job.autograd import compute, dense, fault, forward
from vjpcalc.job.job import Job
from vjpcalc.job.result import FAILED, PASSED, VJP, Forward
from vjpcalc.rank import rank
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64
from vjpcalc.tensors.json import encode_number, to_record

WAYS = ("numeric", "backward", "forward")
SPARSE_FROM = 1_000_000  # entries from which a matrix is kept, compared and written sparse …
SPARSE_SHARE = 0.1  # … if it stores at most this share of them
TOEPLITZ_FROM = 4  # rows and columns: in fewer it is an accident
DIAGONALS = 9  # up to which they are named: a 3×3 kernel has as many
NEARLY_ALL = 99.5  # per cent of zeros, from which the others are counted
AGREE = 1e-12  # relative to a row's largest entry: nearer than this the ways agree, and nothing is judged
NAMED = 6  # elements that are called by their names

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class LeafJacobian:
    """∂outputs/∂leaf as ``matrix``, (m, n); ``outputs`` (m) name its rows, ``elements`` (n) its columns.

    A sparse matrix is a SciPy csr_array. ``rank`` is None where it is not known, ``rank_limit`` what it
    cannot exceed; both are None where an entry is not finite. ``structure`` is in words, ``differences`` has
    the largest difference to each other way, and ``places`` where it is.
    """

    leaf: str
    by: str
    matrix: Any
    outputs: tuple[str, ...]
    elements: tuple[str, ...]
    rank: int | None
    rank_limit: int | None
    structure: tuple[str, ...]
    differences: Mapping[str, float]
    places: Mapping[str, str]
    method: str = ""
    kinks: tuple[str, ...] = ()  # leaf elements at which the derivatives from the two sides differ


@dataclass(frozen=True, eq=False)
class Jacobians:
    """The explicit Jacobian of every leaf of a job.

    ``suspect`` is the checked product with a seed of 1 at one output element, the row in which ``backward``
    is farthest from the ``numeric`` matrix; None where they agree.
    """

    forward: Forward
    leaves: Mapping[str, LeafJacobian]
    suspect: VJP | None = None

    @property
    def failed(self) -> bool:
        """True if backward gives a wrong row of a Jacobian."""
        return self.status == FAILED

    @property
    def status(self) -> str:
        """Passed where backward and the reference agree, or a seed at the row where they do not says so."""
        return PASSED if self.suspect is None else self.suspect.check.status

    def dense(self, leaf: str) -> np.ndarray:
        """A leaf's matrix (m, n), every 0 of it. Raises Diagnostic (limit) where there are too many."""
        matrix = self.leaves[leaf].matrix
        m, n = matrix.shape
        limit = self.forward.job.limits.max_elements
        if m * n > limit:
            message = (
                f"the Jacobian of {leaf} has {m:,} × {n:,} entries with its zeros; the limit is {limit:,}"
            )
            raise Diagnostic("limit", message, hint="-o J.npz or -o J.mtx writes it sparse")
        return as_dense(matrix)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document. Raises Diagnostic (limit)."""
        return {
            "format_version": FORMAT_VERSION,
            "expression": self.forward.job.program.text,
            "outputs": {name: to_record(value) for name, value in self.forward.outputs.items()},
            "jacobians": {name: to_record(self.dense(name)) for name in self.leaves},
            "by": next(iter(self.leaves.values())).by,
            "status": self.status,
            "findings": {
                name: {
                    "rank": leaf.rank,
                    "rank_limit": leaf.rank_limit,
                    "structure": list(leaf.structure),
                    "differences": {way: encode_number(value) for way, value in leaf.differences.items()},
                }
                for name, leaf in self.leaves.items()
            },
        }


def parse_ways(text: str) -> tuple[str, ...]:
    """The ways in ``numeric,backward``: the first is shown, the others compared. Raises Diagnostic."""
    ways = tuple(dict.fromkeys(way.strip() for way in text.split(",") if way.strip()))
    for way in ways:
        if way not in WAYS:
            raise unknown("usage", f"--by: unknown way '{way}'", way, WAYS)
    if not ways:
        raise Diagnostic("usage", "--by: a way is missing", hint="one or more of " + ", ".join(WAYS))
    return ways


@dataclass(frozen=True, eq=False)
class Matrix:
    """A leaf's Jacobian (m, n), sparse or not, made in one way, ``method``; ``kinks`` (n,) where it tells."""

    entries: Any
    method: str
    kinks: np.ndarray | None = None


def jacobians(
    job: Job, ways: Sequence[str] = ("numeric", "backward"), progress: Progress | None = None
) -> Jacobians:
    """The Jacobian of each leaf by the first of ``ways``, and what others differ by. Raises Diagnostic."""
    run = forward(job)
    reference = Reference(run)
    made = {way: matrices(run, way, progress, reference) for way in ways}
    rows = tuple(row for name, value in run.outputs.items() for row in element_names(name, value.shape))
    leaves: dict[str, LeafJacobian] = {}
    for leaf, value in run.leaves.items():
        matrix = made[ways[0]][leaf]
        kinks = next((by[leaf].kinks for by in made.values() if by[leaf].kinks is not None), None)
        elements = tuple(element_names(leaf, value.shape))
        differences, places = {}, {}
        for way in ways[1:]:
            other = made[way][leaf].entries
            differences[way], places[way] = _difference(matrix.entries, other, rows, elements)
        leaves[leaf] = LeafJacobian(
            leaf, ways[0], matrix.entries, rows, elements,
            *rank(_stored(matrix.entries), matrix.entries.shape),
            tuple(structure(matrix.entries, rows, elements)), differences, places, matrix.method,
            () if kinks is None else tuple(name for name, has in zip(elements, kinks, strict=True) if has),
        )  # fmt: skip
    both = {"numeric", "backward"} <= made.keys()
    return Jacobians(run, leaves, _suspect(run, made["numeric"], made["backward"]) if both else None)


def _suspect(run: Forward, numeric: Mapping[str, Matrix], backward: Mapping[str, Matrix]) -> VJP | None:
    """The row in which backward is farthest from the numeric matrices, as a product with a seed, checked."""
    worst, row = AGREE, None
    for leaf in run.leaves:
        far, place = _worst_row(numeric[leaf].entries, backward[leaf].entries)
        if far > worst:
            worst, row = far, place
    if row is None:
        return None
    seeds = {}
    for name, output in run.outputs.items():
        seed = torch.zeros_like(output)
        if 0 <= row < output.numel():
            seed.view(-1)[row] = 1
        row -= output.numel()
        seeds[name] = [seed]
    return check(compute(replace(run.job, seeds=seeds)))


def _worst_row(one: Any, other: Any) -> tuple[float, int]:
    """How far apart two matrices are, relative to the largest entry of the row, and in which row."""
    i, _, a, b = _in_step(one, other)
    if not i.size:
        return 0.0, 0
    apart = distance(a, b)
    largest = np.zeros(one.shape[0])
    np.fmax.at(largest, i, np.where(np.isfinite(a), np.abs(a), 0.0))
    with np.errstate(all="ignore"):
        far = np.nan_to_num(apart / np.where(largest > 0, largest, 1.0)[i], nan=np.inf)
    k = int(np.argmax(far))
    return float(far[k]), int(i[k])


# ---- the three ways ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class Reference:
    """The reference engine's replays of a run, made when they are first asked for."""

    run: Forward

    @functools.cached_property
    def replays(self) -> Mapping[str, Replay]:
        """A replay for each leaf. Raises Diagnostic (value) where the reference engine cannot run the job."""
        trace = required_reference(self.run)
        return {leaf: Replay(trace, leaf) for leaf in self.run.leaves}

    @functools.cached_property
    def sparse(self) -> Mapping[str, Layout]:
        """The layouts of the leaves whose matrices are kept sparse; asks only where one is large."""
        m = sum(value.numel() for value in self.run.outputs.values())
        if all(m * leaf.numel() <= SPARSE_FROM for leaf in self.run.leaves.values()):
            return {}
        try:
            layouts = {leaf: explicit(replay) for leaf, replay in self.replays.items()}
        except Diagnostic:
            return {}
        return {leaf: layout for leaf, layout in layouts.items() if is_sparse(layout)}


def is_sparse(layout: Layout) -> bool:
    """True for a matrix of more than SPARSE_FROM entries that stores SPARSE_SHARE of them at the most."""
    entries = math.prod(layout.shape)
    return layout.rows is not None and entries > SPARSE_FROM and len(layout.rows) <= SPARSE_SHARE * entries


def as_dense(matrix: Any) -> np.ndarray:
    """A matrix with every 0 of it."""
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


@stage("matrices")
def matrices(
    run: Forward, way: str, progress: Progress | None = None, reference: Reference | None = None
) -> Mapping[str, Matrix]:
    """The Jacobian of each leaf, made in one of WAYS. Raises Diagnostic."""
    return MAKERS[way](run, reference or Reference(run), progress)


def _numeric(run: Forward, reference: Reference, progress: Progress | None) -> Mapping[str, Matrix]:
    require_explicit(run, reference.sparse)
    made = {}
    for leaf, replay in reference.replays.items():
        J = jacobian(replay, reference.sparse.get(leaf), _of(leaf, progress))  # noqa: N806 (the field's name)
        columns = J.layout.columns
        if J.kinks is None:
            kinks = None
        elif columns is None:
            kinks = np.asarray(J.kinks.any(0))
        else:
            kinks = np.bincount(columns[J.kinks], minlength=J.layout.width) > 0
        entries = _csr(J.layout, J.entries) if leaf in reference.sparse else J.dense()
        made[leaf] = Matrix(entries, J.method, kinks)
    return made


def _backward(run: Forward, reference: Reference, progress: Progress | None) -> Mapping[str, Matrix]:
    require_explicit(run, reference.sparse)
    made = {leaf: _shared(run, leaf, layout, progress) for leaf, layout in reference.sparse.items()}
    rest = [leaf for leaf in run.leaves if leaf not in made]
    total = sum(value.numel() for value in run.outputs.values())
    rows: dict[str, list[np.ndarray]] = {leaf: [] for leaf in rest}
    for row in range(total if rest else 0):
        for leaf, gradient in zip(rest, _pulled(run, np.array([row]), rest), strict=True):
            rows[leaf].append(gradient)
        if progress is not None:
            progress(f"{', '.join(rest)} by backward", row + 1, total)
    for leaf in rest:
        matrix = np.array(rows[leaf]).reshape(total, run.leaves[leaf].numel())
        made[leaf] = Matrix(matrix, "one backward for each row")
    return {leaf: made[leaf] for leaf in run.leaves}


def _shared(run: Forward, leaf: str, layout: Layout, progress: Progress | None) -> Matrix:
    """A sparse matrix by backward: rows that have no column in common share one, as columns do."""
    from scipy.sparse import coo_array

    assert layout.rows is not None
    assert layout.columns is not None
    m, n = layout.shape
    by_column = np.argsort(layout.columns, kind="stable")
    starts = np.searchsorted(layout.columns[by_column], np.arange(n + 1))
    found = colouring(Sets(m, starts, layout.rows[by_column]))
    colours = np.arange(m) if found is None else found
    passes = classes(colours, int(colours.max(initial=-1)) + 1)
    entries = np.zeros(len(layout.rows))
    stray = []
    for done, (rows, own) in enumerate(
        zip(passes, classes(colours[layout.rows], len(passes)), strict=True), 1
    ):
        gradient = np.array(_pulled(run, rows, [leaf])[0])
        entries[own] = gradient[layout.columns[own]]
        gradient[layout.columns[own]] = 0.0
        # what is none of theirs: of which row is not known, and the first is as good as any
        stray += [(gradient[column], rows[0], column) for column in np.flatnonzero(gradient)]
        if progress is not None:
            progress(f"{leaf} by backward", done, len(passes))
    matrix = _csr(layout, entries)
    if stray:
        beside, i, j = zip(*stray, strict=True)
        matrix = matrix + coo_array((beside, (i, j)), shape=layout.shape).tocsr()
    return Matrix(matrix, f"{count(len(passes), 'backward')} for all rows")


def _pulled(run: Forward, rows: np.ndarray, leaves: Sequence[str]) -> list[np.ndarray]:
    """What one backward from these output elements, counted through all outputs, gives to each leaf, flat."""
    nodes, seeds = [], []
    start = 0
    for node in run.trace.outputs.values():
        own = rows[(rows >= start) & (rows < start + node.value.numel())] - start
        start += node.value.numel()
        if own.size and node.value.requires_grad:
            seed = torch.zeros(node.shape, dtype=node.value.dtype)
            seed.view(-1)[torch.from_numpy(own)] = 1
            nodes.append(node.value)
            seeds.append(seed)
    values = [run.leaves[leaf] for leaf in leaves]
    if not nodes:
        return [np.zeros(value.numel()) for value in values]
    try:
        with default_dtype(run.job.dtype):
            gradients = torch.autograd.grad(nodes, values, seeds, retain_graph=True, materialize_grads=True)
    except (Exception, SystemExit) as error:
        names = [name for name, node in run.trace.outputs.items() if any(node.value is one for one in nodes)]
        raise fault(run, error, dict(zip(names, seeds, strict=True))) from error
    return [as_float64(dense(gradient)).ravel() for gradient in gradients]


def _forward(run: Forward, reference: Reference, progress: Progress | None) -> Mapping[str, Matrix]:
    require_explicit(run)
    made = {leaf: forward_jacobian(run, leaf, _of(f"{leaf} by forward", progress)) for leaf in run.leaves}
    return {leaf: Matrix(J.dense(), "column by column") for leaf, J in made.items()}


def _csr(layout: Layout, entries: np.ndarray) -> Any:
    from scipy.sparse import coo_array

    return coo_array((entries, (layout.rows, layout.columns)), shape=layout.shape).tocsr()


def _of(what: str, progress: Progress | None) -> Callable[[int, int], None] | None:
    return None if progress is None else functools.partial(progress, what)


MAKERS: dict[str, Callable[[Forward, Reference, Progress | None], Mapping[str, Matrix]]] = {
    "numeric": _numeric, "backward": _backward, "forward": _forward,
}  # fmt: skip


def _difference(one: Any, other: Any, rows: Sequence[str], columns: Sequence[str]) -> tuple[float, str]:
    """The largest difference between two matrices, and where it is; inf where just one of two is NaN."""
    i, j, a, b = _in_step(one, other)
    apart = distance(a, b)
    apart[np.isnan(apart)] = np.inf
    if not apart.size:
        return 0.0, ""
    k = int(np.argmax(apart))
    return float(apart[k]), f"∂{rows[i[k]]}/∂{columns[j[k]]}: {a[k]:.6g} and {b[k]:.6g}"


def _in_step(one: Any, other: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns at which either of two matrices has an entry, and the entries of both there."""
    n = one.shape[1]
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return *np.divmod(np.arange(one.size), max(n, 1)), one.ravel(), other.ravel()
    stored = [_stored(matrix) for matrix in (one, other)]
    keys = [i * n + j for i, j, _ in stored]
    every = np.sort(np.concatenate(keys), kind="stable")
    every = every[np.append(True, every[1:] != every[:-1])] if every.size else every
    entries = [np.zeros(every.size), np.zeros(every.size)]
    for entry, key, (_, _, values) in zip(entries, keys, stored, strict=True):
        entry[np.searchsorted(every, key)] = values
    return every // n, every % n, entries[0], entries[1]


def _stored(matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and values of the entries that are not 0, row by row."""
    if isinstance(matrix, np.ndarray):
        i, j = np.nonzero(matrix)
        return i, j, matrix[i, j]
    entries = matrix.tocoo()
    used = entries.data != 0
    return entries.row[used].astype(np.intp), entries.col[used].astype(np.intp), entries.data[used]


# ---- structure ---------------------------------------------------------------------------------------------


def structure(matrix: Any, rows: Sequence[str], columns: Sequence[str]) -> list[str]:
    """What there is to say of the zeros of a matrix, in words; nothing for one without any."""
    m, n = matrix.shape
    i, j, values = _stored(matrix)
    if not m * n:
        return ["empty"]
    if not len(values):
        return ["zero"]
    words = _of_one_each(i, j, values, m, n)
    placed = bool(words)  # the words say where all zeros are
    if not words:
        band = _band(i, j, m, n)
        words = _of_a_square(i, j, values) if m == n > 1 else []
        if not words or words == ["symmetric"]:
            blocks, in_place = _blocks(i, j, m, n)
            full_band = bool(band) and not blocks and _fills(i, j, m, n)
            diagonals = [] if in_place or full_band else _diagonals(i, j, m, n)
            words += diagonals or blocks or band
            placed = full_band or bool(diagonals)
        elif band:
            words, placed = band, _fills(i, j, m, n)
        words += ["Toeplitz"] * _is_toeplitz(i, j, values, m, n)
    for names, used, noun in ((rows, i, "zero row"), (columns, j, "zero column")):
        empty = np.bincount(used, minlength=len(names)) == 0
        unused = [name for name, is_empty in zip(names, empty, strict=True) if is_empty]
        if unused:
            words.append(f"{f'a {noun}' if len(unused) == 1 else f'{noun}s'}: {listed(unused, NAMED)}")
    zeros = 100 * (1 - len(values) / (m * n))
    if zeros >= NEARLY_ALL and not placed:
        words.append(f"{len(values):,} of {m * n:,} entries are not 0")
    elif zeros and not placed:
        words.append(f"{zeros:.3g}% zeros")
    return words


def _of_one_each(i: np.ndarray, j: np.ndarray, values: np.ndarray, m: int, n: int) -> list[str]:
    """Of a matrix with one entry in each row and column at the most."""
    down, across = np.bincount(i, minlength=m), np.bincount(j, minlength=n)
    if min(m, n) < 2 or down.max() > 1 or across.max() > 1:
        return []
    alike = bool(np.all(values == values[0]))
    times = "" if values[0] == 1 else f"{values[0]:.6g} times "
    if np.all(j - i == j[0] - i[0]):
        if m != n or i[0] != j[0]:
            return [f"banded: diagonal {j[0] - i[0]} alone", *["Toeplitz"] * _is_toeplitz(i, j, values, m, n)]
        return [f"{times}the identity" if alike and len(values) == n else "diagonal"]
    if m == n == len(values):
        return [f"{times}a permutation" if alike else "one entry in each row and column"]
    if m == len(values) and alike:
        return [f"{times}a selection of elements"]
    return ["one entry in each row and column at the most"]


def _of_a_square(i: np.ndarray, j: np.ndarray, values: np.ndarray) -> list[str]:
    if np.all(i >= j):
        return ["lower triangular"]
    if np.all(i <= j):
        return ["upper triangular"]
    mirrored = np.lexsort((i, j))
    same = all(np.array_equal(a, b[mirrored]) for a, b in ((i, j), (j, i), (values, values)))
    return ["symmetric"] if same else []


def _band(i: np.ndarray, j: np.ndarray, m: int, n: int) -> list[str]:
    """Of a matrix whose entries stand on a few diagonals around one."""
    low, high = int((j - i).min()), int((j - i).max())
    wide, small = high - low + 1, min(m, n)
    if wide >= small or wide > max(3, small // 2):
        return []
    if m != n or low > 0 or high < 0:
        return [f"banded: diagonals {low} to {high}" if wide > 1 else f"banded: diagonal {low} alone"]
    named = {(1, 1): "tridiagonal", (1, 0): "lower bidiagonal", (0, 1): "upper bidiagonal"}
    return [named.get((-low, high), f"banded: {-low} below and {high} above the diagonal")]


def _fills(i: np.ndarray, j: np.ndarray, m: int, n: int) -> bool:
    """True if most of the diagonals from the first to the last one that has an entry are not 0."""
    offsets = np.arange((j - i).min(), (j - i).max() + 1)
    return 2 * len(i) > int((np.minimum(m, n - offsets) - np.maximum(0, -offsets)).sum())


def _diagonals(i: np.ndarray, j: np.ndarray, m: int, n: int) -> list[str]:
    """Of a matrix whose entries stand on a few diagonals, wherever these are."""
    offsets = np.flatnonzero(np.bincount(j - i + m)) - m
    if not 1 < len(offsets) <= DIAGONALS or 2 * len(offsets) >= min(m, n):
        return []
    return [f"on {len(offsets)} diagonals: {listed(map(str, offsets.tolist()), DIAGONALS)}"]


def _is_toeplitz(i: np.ndarray, j: np.ndarray, values: np.ndarray, m: int, n: int) -> bool:
    """True if each diagonal has one value, and not all have the same."""
    if min(m, n) < TOEPLITZ_FROM or (np.all(values == values[0]) and len(values) == m * n):
        return False
    order = np.argsort(j - i, kind="stable")
    diagonal, along = (j - i)[order], values[order]
    starts = np.flatnonzero(np.append(True, diagonal[1:] != diagonal[:-1]))
    lengths = np.diff(np.append(starts, len(along)))
    at = diagonal[starts]
    full = np.minimum(m, n - at) - np.maximum(0, -at)
    return bool(
        np.array_equal(lengths, full)
        and np.array_equal(np.minimum.reduceat(along, starts), np.maximum.reduceat(along, starts))
    )


def _blocks(i: np.ndarray, j: np.ndarray, m: int, n: int) -> tuple[list[str], bool]:
    """Groups of rows that share no column with another group: the components of the graph of the entries.

    Whether they stand along the diagonal as they are, too.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(i)), (i, j + m)), shape=(m + n, m + n))
    _, labels = connected_components(graph, directed=False)
    blocks = set(labels[i].tolist())
    if len(blocks) < 2:
        return [], False
    down, across = labels[:m].tolist(), labels[m:].tolist()
    heights, widths = Counter(down), Counter(across)
    shapes = {(heights[block], widths[block]) for block in blocks}
    words = count(len(blocks), "block")
    if len(shapes) == 1:
        words += " of {}×{}".format(*shapes.pop())
    # each block as it is come upon down the rows and across the columns: once, and in one order
    orders = [[block for block, _ in itertools.groupby(side) if block in blocks] for side in (down, across)]
    in_place = orders[0] == orders[1] and len(orders[0]) == len(blocks)
    words = f"block diagonal: {words}" if in_place else f"{words}, once rows and columns are put in order"
    return [words], in_place
