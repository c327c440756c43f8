"""The explicit Jacobian of each leaf, made in up to three ways, with its rank and the structure of its zeros.

numeric    the reference engine's forward values differentiated: no derivative rule is involved
backward   torch, row by row: one backward for each element of the output
forward    torch's forward mode, column by column
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a Jacobian to make)
import torch  # noqa: TID253

from vjpcalc.check.forward import forward_jacobian
from vjpcalc.check.jacobian import distance, jacobian, require_explicit
from vjpcalc.check.reference import required_reference
from vjpcalc.check.replay import Replay
from vjpcalc.diagnostics import FORMAT_VERSION, Diagnostic, count, element_names, listed, unknown
from vjpcalc.job.autograd import backward_fault, forward
from vjpcalc.job.job import Job
from vjpcalc.job.result import Forward
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64
from vjpcalc.tensors.json import encode_number, to_record

WAYS = ("numeric", "backward", "forward")
RANKED = 4_000_000  # entries up to which the rank is determined
NAMED = 6  # elements that are called by their names

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class LeafJacobian:
    """∂outputs/∂leaf as ``matrix``, (m, n); ``outputs`` (m) name its rows, ``elements`` (n) its columns.

    ``rank`` is None where an entry is not finite, or where there are too many. ``structure`` is in words.
    ``differences`` holds for each other way the largest difference, and ``places`` where it is.
    """

    leaf: str
    by: str
    matrix: np.ndarray
    outputs: tuple[str, ...]
    elements: tuple[str, ...]
    rank: int | None
    structure: tuple[str, ...]
    differences: Mapping[str, float]
    places: Mapping[str, str]
    method: str = ""
    kinks: tuple[str, ...] = ()  # leaf elements at which the derivatives from the two sides differ


@dataclass(frozen=True, eq=False)
class Jacobians:
    """The explicit Jacobian of every leaf of a job."""

    forward: Forward
    leaves: Mapping[str, LeafJacobian]

    def to_dict(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "format_version": FORMAT_VERSION,
            "expression": self.forward.job.program.text,
            "outputs": {name: to_record(value) for name, value in self.forward.outputs.items()},
            "jacobians": {name: to_record(leaf.matrix) for name, leaf in self.leaves.items()},
            "by": next(iter(self.leaves.values())).by,
            "findings": {
                name: {
                    "rank": leaf.rank,
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
    """A leaf's Jacobian (m, n) made in one way, ``method``; ``kinks`` (n,) where it tells."""

    entries: np.ndarray
    method: str
    kinks: np.ndarray | None = None


def jacobians(
    job: Job, ways: Sequence[str] = ("numeric", "backward"), progress: Progress | None = None
) -> Jacobians:
    """The Jacobian of each leaf by the first of ``ways``, and what others differ by. Raises Diagnostic."""
    run = forward(job)
    made = {way: matrices(run, way, progress) for way in ways}
    rows = tuple(row for name, value in run.outputs.items() for row in element_names(name, value.shape))
    leaves = {}
    for leaf, value in run.leaves.items():
        matrix = made[ways[0]][leaf]
        kinks = next((by[leaf].kinks for by in made.values() if by[leaf].kinks is not None), None)
        elements = tuple(element_names(leaf, value.shape))
        differences, places = {}, {}
        for way in ways[1:]:
            other = made[way][leaf].entries
            differences[way], places[way] = _difference(matrix.entries, other, rows, elements)
        leaves[leaf] = LeafJacobian(
            leaf, ways[0], matrix.entries, rows, elements, rank(matrix.entries),
            tuple(structure(matrix.entries, rows, elements)), differences, places, matrix.method,
            () if kinks is None else tuple(name for name, has in zip(elements, kinks, strict=True) if has),
        )  # fmt: skip
    return Jacobians(run, leaves)


# ---- the three ways ----------------------------------------------------------------------------------------


@stage("matrices")
def matrices(run: Forward, way: str, progress: Progress | None = None) -> Mapping[str, Matrix]:
    """The Jacobian of each leaf, made in one of WAYS. Raises Diagnostic."""
    require_explicit(run)
    return MAKERS[way](run, progress)


def _numeric(run: Forward, progress: Progress | None) -> Mapping[str, Matrix]:
    trace = required_reference(run)
    made = {}
    for leaf in run.leaves:
        J = jacobian(Replay(trace, leaf), progress=_of(leaf, progress))  # noqa: N806 (the field's name for it)
        kinks = None if J.kinks is None else np.asarray(J.dense(J.kinks).any(0))
        made[leaf] = Matrix(J.dense(), J.method, kinks)
    return made


def _backward(run: Forward, progress: Progress | None) -> Mapping[str, Matrix]:
    leaves = run.leaves
    rows: dict[str, list[np.ndarray]] = {name: [] for name in leaves}
    total = sum(value.numel() for value in run.outputs.values())
    for node in run.trace.outputs.values():
        for index in range(node.value.numel()):
            if node.value.requires_grad:
                seed = torch.zeros(node.shape, dtype=node.value.dtype)
                seed.view(-1)[index] = 1
                try:
                    gradients = torch.autograd.grad(
                        node.value, list(leaves.values()), seed, retain_graph=True, materialize_grads=True
                    )
                except Exception as error:
                    raise backward_fault(run.job, error) from error
            else:
                gradients = tuple(map(torch.zeros_like, leaves.values()))
            for name, row in zip(leaves, gradients, strict=True):
                rows[name].append(as_float64(row).ravel())
            if progress is not None:
                progress(f"{', '.join(leaves)} by backward", len(rows[name]), total)
    return {
        name: Matrix(np.array(rows[name]).reshape(total, leaf.numel()), "one backward for each row")
        for name, leaf in leaves.items()
    }


def _forward(run: Forward, progress: Progress | None) -> Mapping[str, Matrix]:
    made = {leaf: forward_jacobian(run, leaf, _of(f"{leaf} by forward", progress)) for leaf in run.leaves}
    return {leaf: Matrix(J.dense(), "column by column") for leaf, J in made.items()}


def _of(what: str, progress: Progress | None) -> Callable[[int, int], None] | None:
    return None if progress is None else functools.partial(progress, what)


MAKERS: dict[str, Callable[[Forward, Progress | None], Mapping[str, Matrix]]] = {
    "numeric": _numeric, "backward": _backward, "forward": _forward,
}  # fmt: skip


def _difference(
    one: np.ndarray, other: np.ndarray, rows: Sequence[str], columns: Sequence[str]
) -> tuple[float, str]:
    """The largest difference between two matrices, and where it is; inf where just one of two is NaN."""
    apart = distance(one, other)
    apart[np.isnan(apart)] = np.inf
    if not apart.size:
        return 0.0, ""
    i, j = divmod(int(np.argmax(apart)), apart.shape[1])
    return float(apart[i, j]), f"∂{rows[i]}/∂{columns[j]}: {one[i, j]:.6g} and {other[i, j]:.6g}"


# ---- rank and structure ------------------------------------------------------------------------------------


def rank(matrix: np.ndarray) -> int | None:
    """The number of singular values above max(m, n)·eps of the largest; None where it is not known."""
    if not np.isfinite(matrix).all() or matrix.size > RANKED:
        return None
    return int(np.linalg.matrix_rank(matrix)) if matrix.size else 0


def structure(matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> list[str]:
    """What there is to say of the zeros of a matrix, in words; nothing for one without any."""
    m, n = matrix.shape
    used = matrix != 0
    if not matrix.size:
        return ["empty"]
    if not used.any():
        return ["zero"]
    words = _square(matrix, used) if m == n and m > 1 else []
    if not words or words == ["symmetric"]:
        words += _blocks(used)
    for names, empty, noun in ((rows, ~used.any(1), "zero row"), (columns, ~used.any(0), "zero column")):
        unused = [name for name, is_empty in zip(names, empty, strict=True) if is_empty]
        if unused:
            words.append(f"{f'a {noun}' if len(unused) == 1 else f'{noun}s'}: {listed(unused, NAMED)}")
    if not used.all():
        words.append(f"{100 * (1 - used.mean()):.3g}% zeros")
    return words


def _square(matrix: np.ndarray, used: np.ndarray) -> list[str]:
    diagonal = np.diagonal(matrix)
    if np.count_nonzero(used) == np.count_nonzero(diagonal):
        if np.all(diagonal == diagonal[0]):
            return ["the identity" if diagonal[0] == 1 else f"{diagonal[0]:.6g} times the identity"]
        return ["diagonal"]
    if np.all(used.sum(0) == 1) and np.all(used.sum(1) == 1):
        return ["a permutation" if np.all(matrix[used] == 1) else "one entry in each row and column"]
    if not np.triu(used, 1).any():
        return ["lower triangular"]
    if not np.tril(used, -1).any():
        return ["upper triangular"]
    return ["symmetric"] if np.array_equal(matrix, matrix.T) else []


def _blocks(used: np.ndarray) -> list[str]:
    """Groups of rows that share no column with another group: the components of the graph of the entries."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    m, n = used.shape
    i, j = np.nonzero(used)
    graph = coo_array((np.ones(len(i)), (i, j + m)), shape=(m + n, m + n))
    _, labels = connected_components(graph, directed=False)
    blocks = set(labels[i].tolist())
    if len(blocks) < 2:
        return []
    down, across = labels[:m].tolist(), labels[m:].tolist()
    heights, widths = Counter(down), Counter(across)
    shapes = {(heights[block], widths[block]) for block in blocks}
    words = count(len(blocks), "block")
    if len(shapes) == 1:
        words += " of {}×{}".format(*shapes.pop())
    # each block as it is come upon down the rows and across the columns: once, and in one order
    orders = [[block for block, _ in itertools.groupby(side) if block in blocks] for side in (down, across)]
    in_place = orders[0] == orders[1] and len(orders[0]) == len(blocks)
    return [f"block diagonal: {words}" if in_place else f"{words}, once rows and columns are put in order"]
