"""The rank of a matrix, large sparse ones included, and what it cannot exceed.

A matrix falls into blocks that share neither rows nor columns, and its singular values are theirs. Those of a
small block are computed. A large one has as many as its structural rank at the most: the number of entries of
which no two share a row or a column. Such entries stand on the diagonal of a square part of the block; where
the least singular value of that part can be told from 0, so can as many of the block, which has no fewer
above any bound than its part (they interlace).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np  # noqa: TID253 (imported only once there is a matrix)

from vjpcalc.check.rounding import EPS

DENSE = 4_000_000  # entries of the blocks of one shape up to which their singular values are computed …
SVD_COST = 8e9  # … and multiplications that they may take together: a 2000×2000 matrix
MATCHED = 3_000_000  # entries of which a largest set in different rows and columns is looked for
BAND = 20_000_000  # numbers of a band that is factored
BAND_COST = 2e9  # multiplications that this may take
ITERATIONS = 10  # of inverse iteration: from a random start, the estimate is then less than twice too large
TRIED = 16  # large blocks that are looked at: of more, nothing is known
CLEAR = 4.0  # times the bound: so large must the estimate of a least singular value be

Entries = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, columns and values of all that is not 0


def rank(entries: Entries, shape: tuple[int, int]) -> tuple[int | None, int | None]:
    """The number of singular values above max(m, n)·eps of the largest, and a number that it cannot exceed.

    The first is None where it is not known; both are where an entry is not finite.
    """
    i, j, values = entries
    if not np.isfinite(values).all():
        return None, None
    if not len(values):
        return 0, 0
    if np.bincount(i).max() <= 1 and np.bincount(j).max() <= 1:
        singular, large = [np.abs(values)], list[Entries]()
    else:
        singular, large = _blocks(i, j, values)
    found = np.concatenate([np.zeros(1), *singular])
    # the largest singular value is no less than any row or column, and no more than this product
    sums = np.bincount(i, np.abs(values)), np.bincount(j, np.abs(values))
    high = float(np.sqrt(sums[0].max()) * np.sqrt(sums[1].max()))
    low = float(np.sqrt(np.bincount(i, values**2).max()))
    if not large:
        high = low = float(found.max())
    most = max(shape) * EPS * high
    limit = int((found > max(shape) * EPS * low).sum())
    known = limit == int((found > most).sum()) and len(large) <= TRIED
    for block in large:
        number, clear = _large(block, most) if known else (_smaller_side(block), False)
        limit, known = limit + number, known and clear
    return (limit if known else None), limit


def _smaller_side(block: Entries) -> int:
    return min(int(block[0].max()), int(block[1].max())) + 1


def _blocks(i: np.ndarray, j: np.ndarray, values: np.ndarray) -> tuple[list[np.ndarray], list[Entries]]:
    """The singular values of the small blocks of a matrix, and the large ones with their own indices."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    m, n = int(i.max()) + 1, int(j.max()) + 1
    graph = coo_array((np.ones(len(i), np.int8), (i, j + m)), shape=(m + n, m + n))
    number, labels = connected_components(graph, directed=False)
    (row, heights), (column, widths) = (_within(part, number) for part in (labels[:m], labels[m:]))
    own = labels[i]
    singular, large, cost = [], [], 0.0
    shapes = np.stack([heights, widths], axis=1)
    for h, w in sorted(set(map(tuple, shapes[np.unique(own)].tolist()))):
        of_shape = np.flatnonzero((shapes == (h, w)).all(axis=1))
        cost += len(of_shape) * h * w * min(h, w)
        which = np.full(number, -1)
        which[of_shape] = np.arange(len(of_shape))
        mine = np.flatnonzero(which[own] >= 0)
        if len(of_shape) * h * w <= DENSE and cost <= SVD_COST:
            stack = np.zeros((len(of_shape), h, w))
            stack[which[own[mine]], row[i[mine]], column[j[mine]]] = values[mine]
            singular.append(np.linalg.svd(stack, compute_uv=False).ravel())
            continue
        mine = mine[np.argsort(which[own[mine]], kind="stable")]
        starts = np.flatnonzero(np.diff(which[own[mine]])) + 1
        large += [(row[i[part]], column[j[part]], values[part]) for part in np.split(mine, starts)]
    return singular, large


def _within(labels: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row among those with its label, and how many there are of each label."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=number)
    within = np.empty(len(labels), np.intp)
    within[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return within, counts


def _large(block: Entries, most: float) -> tuple[int, bool]:
    """What the rank of a block cannot exceed; whether as many singular values are clearly above ``most``."""
    i, j, _ = block
    m, n = int(i.max()) + 1, int(j.max()) + 1
    limit = min(m, n)
    for rows, columns in _matchings(block):
        limit = min(limit, len(rows))
        part = _part(block, rows, columns, (m, n))
        solve = _solver(*part, len(rows))
        if solve is not None and _least(solve, len(rows)) > CLEAR * most:
            return limit, True
    return limit, False


def _matchings(block: Entries) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Largest sets of entries in different rows and columns: a diagonal without a gap, or any other."""
    i, j, values = block
    m, n = int(i.max()) + 1, int(j.max()) + 1
    offsets = j - i + m
    weights = np.bincount(offsets, np.abs(values))
    full = np.bincount(offsets, minlength=len(weights)) == min(m, n)
    if full.any():
        offset = int(np.argmax(np.where(full, weights, -1.0))) - m
        number = np.arange(min(m, n))
        yield number + max(0, -offset), number + max(0, offset)
    if len(values) > MATCHED:
        return
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(m, n)).tocsr()
    matched = maximum_bipartite_matching(graph, perm_type="column")
    rows = np.flatnonzero(matched >= 0)
    yield rows, matched[rows]


def _part(
    block: Entries, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The square part of a block with these rows and columns, in this order."""
    numbers = []
    for own, size in ((rows, shape[0]), (columns, shape[1])):
        number = np.full(size, -1)
        number[own] = np.arange(len(own))
        numbers.append(number)
    i, j = numbers[0][block[0]], numbers[1][block[1]]
    inside = (i >= 0) & (j >= 0)
    return i[inside], j[inside], block[2][inside]


# What solves a square system, or with True its transpose.
Solve = Callable[[np.ndarray, bool], np.ndarray]


def _solver(i: np.ndarray, j: np.ndarray, values: np.ndarray, size: int) -> Solve | None:
    """By a factored band, once rows and columns are in a good order; None where that would be too wide."""
    from scipy.linalg.lapack import dgbtrf, dgbtrs
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    if (i - j).max(initial=0) > (j - i).max(initial=0):  # of two triangles the upper one is factored already
        i, j = j, i
    below, above = _reach(i, j)
    if not _narrow(size, below, above):
        graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(size, size)).tocsr()
        place = np.empty(size, np.intp)
        place[reverse_cuthill_mckee(graph)] = np.arange(size)
        i, j = place[i], place[j]
        below, above = _reach(i, j)
        if not _narrow(size, below, above):
            return None
    band = np.zeros((2 * below + above + 1, size))
    band[below + above + i - j, j] = values
    factors, pivots, info = dgbtrf(band, below, above, overwrite_ab=True)
    if info != 0:
        return None
    return lambda b, transposed: dgbtrs(factors, below, above, b, pivots, trans=int(transposed))[0]


def _reach(i: np.ndarray, j: np.ndarray) -> tuple[int, int]:
    return int((i - j).max(initial=0)), int((j - i).max(initial=0))


def _narrow(size: int, below: int, above: int) -> bool:
    return size * (2 * below + above + 1) <= BAND and float(size) * below * (below + above) <= BAND_COST


def _least(solve: Solve, size: int) -> float:
    """The least singular value by inverse iteration, a little too large; 0 where it is out of reach."""
    x = np.random.default_rng(0).normal(size=size)
    with np.errstate(all="ignore"):
        for _ in range(ITERATIONS):
            x = x / np.linalg.norm(x)
            x = solve(solve(x, False), True)
            length = float(np.linalg.norm(x))
            if not 0 < length < np.inf:
                return 0.0
        return length**-0.5
