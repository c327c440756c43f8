"""What a gradient is compared with: a leaf's explicit Jacobian, or its products with a few directions.

Where columns share evaluations, J is explicit as far as few of these suffice, at any size; of columns that
share none, beyond the limit, only what a few random directions see is compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check.cut import Cut, cut
from vjpcalc.check.derivative import random_directions
from vjpcalc.check.ending import Ending, ending
from vjpcalc.check.forward import forward_jacobian
from vjpcalc.check.jacobian import Jacobian, Layout, evaluation_cost, explicit, jacobian, shared, within
from vjpcalc.check.linear import Linear
from vjpcalc.check.replay import Replay
from vjpcalc.diagnostics import element_name
from vjpcalc.job.result import Forward
from vjpcalc.language.trace import Applied, Trace
from vjpcalc.stages import stage

PROBES = 8  # random directions of a probe


@dataclass(frozen=True)
class Witness:
    """A Jacobian to compare with, of a leaf of ``shape``.

    The numbers compared are its columns': elements of the leaf, then products with random directions.
    ``replay`` is None where the Jacobian is torch's own. Its targets are the outputs, or what stands before
    the ``end`` of the program: see ``seed``.
    """

    jacobian: Jacobian
    method: str
    shape: tuple[int, ...]
    replay: Replay | None
    end: Ending | Cut | None = None

    @property
    def directions(self) -> np.ndarray | None:
        """The random directions (n, k) among what is compared."""
        return self.jacobian.layout.directions

    def seed(self, v: np.ndarray, *, sizes: bool = False) -> np.ndarray:
        """A seed (m,) of the outputs as one of the Jacobian's rows; of ``sizes``, none cancels another."""
        return v if self.end is None else self.end.back(v, sizes=sizes)

    def seed_doubt(self, v: np.ndarray) -> np.ndarray | None:
        """How far off a seed of the rows may be, for sizes v (m,) of the outputs; None: not at all."""
        return self.end.doubt(v) if isinstance(self.end, Cut) else None

    def projected(self, gradient: np.ndarray) -> np.ndarray:
        """What the gradient (n,) is compared as: its elements, and its products with the directions."""
        layout = self.jacobian.layout
        own = gradient if layout.elements is None else gradient[layout.elements]
        if layout.directions is None:
            return own
        with np.errstate(all="ignore"):
            return np.concatenate([own, layout.directions.T @ gradient])

    def projected_size(self, size: np.ndarray) -> np.ndarray:
        """The same for sizes, none of which may cancel another."""
        layout = self.jacobian.layout
        own = size if layout.elements is None else size[layout.elements]
        if layout.directions is None:
            return own
        with np.errstate(all="ignore"):
            return np.concatenate([own, np.abs(layout.directions).T @ size])

    def direction(self, scale: np.ndarray, k: int) -> tuple[np.ndarray, float]:
        """The direction that the k-th number belongs to, shaped like the leaf, and its length."""
        element = self._element(k)
        if element is None:
            directions = self.jacobian.layout.directions
            assert directions is not None
            return directions[:, k - self.jacobian.layout.compared].reshape(scale.shape), 1.0
        moved = np.arange(scale.size).reshape(scale.shape) == element
        return np.where(moved, scale, 0.0), scale.flat[element]

    def index(self, k: int) -> tuple[int, ...] | None:
        """Where in the leaf the k-th number stands; None for a direction."""
        element = self._element(k)
        return None if element is None else tuple(map(int, np.unravel_index(element, self.shape)))

    def name(self, k: int) -> str:
        """What to call the k-th number."""
        index, leaf = self.index(k), self.jacobian.leaf
        if index is None:
            return f"{leaf} along random direction {k - self.jacobian.layout.compared + 1}"
        return element_name(leaf, index)

    def _element(self, k: int) -> int | None:
        layout = self.jacobian.layout
        if k >= layout.compared:
            return None
        return int(k if layout.elements is None else layout.elements[k])

    @property
    def structure(self) -> str | None:
        """What was made of J's zeros, in words; None where nothing was."""
        layout = self.jacobian.layout
        if layout.colours is None:
            return None
        if layout.evaluations == 1:
            words = "one entry a row"
        else:
            alone = 0 if layout.directions is None else layout.directions.shape[1]
            words = f"coloured: {layout.evaluations - alone:,} evaluations for {layout.compared:,} columns"
            if alone:
                rest = layout.shape[1] - layout.compared
                words += f"; the other {rest:,} are probed along {alone} random directions"
        return words if self.end is None else words + self.end.words


@stage("witness")
def witness(
    run: Forward,
    trace: Trace,
    leaf: str,
    method: str,
    limit: int,
    progress: Callable[[int, int], None] | None = None,
    linear: Callable[[Applied, int], Linear | None] | None = None,
) -> Witness:
    """The witness of a leaf by a method of the check, ``trace`` being the reference engine's.

    ``linear`` gives the derivatives of the user's functions in it: see Replay.
    """
    if method == "forward":
        return Witness(forward_jacobian(run, leaf, progress), method, tuple(run.leaves[leaf].shape), None)
    replay = Replay(trace, leaf, linear=linear)
    if method != "probe" and (end := ending(trace, replay.varying, replay.targets)):
        inner = Replay(trace, leaf, end.targets, linear)
        layout = explicit(inner)
        if layout.colours is not None:
            found = _within(inner, layout, method, limit, progress)
            if found is not None:
                return dataclasses.replace(found, end=end)
    return replayed(replay, method, limit, progress)


def replayed(
    replay: Replay,
    method: str,
    limit: int,
    progress: Callable[[int, int], None] | None = None,
) -> Witness:
    """The witness of a replay's leaf: explicit, or a probe; ``auto`` is explicit as far as ``limit`` goes."""
    if method != "probe":
        with replay.session():
            layout = explicit(replay)
            too_much = method != "explicit" and not within(replay, layout, limit)
            found = _apart(replay, limit, progress) if too_much else None
            found = found or _within(replay, layout, method, limit, progress)
        if found is not None:
            return found
    m, x = replay.primal.size, np.asarray(replay.leaf.value)
    directions = random_directions(x, PROBES).reshape(PROBES, -1).T
    none = np.zeros(0, np.intp)
    layout = Layout((m, x.size), np.ones(x.shape), elements=none, directions=directions)
    return Witness(jacobian(replay, layout), "probe", x.shape, replay)


def _apart(replay: Replay, limit: int, progress: Callable[[int, int], None] | None = None) -> Witness | None:
    """The explicit Jacobian that is left where sums are held, if that is sparse and within the limit."""
    parted = cut(replay)
    if parted is None:
        return None
    inner, sums = parted
    layout = explicit(inner)
    if layout.colours is None or not within(inner, layout, limit):
        return None
    shape = tuple(replay.leaf.value.shape)
    return Witness(jacobian(inner, layout, progress), "explicit", shape, inner, sums)


def _within(
    replay: Replay,
    layout: Layout,
    method: str,
    limit: int,
    progress: Callable[[int, int], None] | None,
) -> Witness | None:
    """The explicit Jacobian if asked for or within the limit, else most of it; None if that is too much."""
    shape = replay.leaf.shape
    if method == "explicit" or within(replay, layout, limit):
        return Witness(jacobian(replay, layout, progress), "explicit", shape, replay)
    most = max(shared(limit), limit // evaluation_cost(replay)) - PROBES
    if layout.colours is None or most < 1:
        return None
    partial = _partly(layout, np.asarray(replay.leaf.value), most)
    if partial is None:
        return None
    return Witness(jacobian(replay, partial, progress), "probe", shape, replay)


def _partly(layout: Layout, x: np.ndarray, most: int) -> Layout | None:
    """The columns of the ``most`` largest colours, and a probe of all others; None if these are the most."""
    assert layout.rows is not None
    assert layout.columns is not None
    assert layout.colours is not None
    m, n = layout.shape
    kept = np.argsort(-np.bincount(layout.colours), kind="stable")[:most]
    rank = np.full(layout.evaluations, -1)
    rank[kept] = np.arange(len(kept))
    colours = rank[layout.colours]
    elements = np.flatnonzero(colours >= 0)
    if 2 * len(elements) < n:
        return None
    directions = random_directions(x, PROBES).reshape(PROBES, n).T * (colours < 0)[:, None]
    column = np.cumsum(colours >= 0) - 1
    own = colours[layout.columns] >= 0
    touched = np.flatnonzero(np.bincount(layout.rows[~own], minlength=m))
    return Layout(
        (m, n),
        layout.scale,
        rows=np.concatenate([layout.rows[own], np.tile(touched, PROBES)]),
        columns=np.concatenate(
            [column[layout.columns[own]], np.repeat(len(elements) + np.arange(PROBES), len(touched))]
        ),
        colours=np.concatenate([colours[elements], len(kept) + np.arange(PROBES)]),
        elements=elements,
        directions=directions,
    )
