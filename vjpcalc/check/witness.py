"""What a gradient is compared with: a leaf's explicit Jacobian, or its products with a few directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check.derivative import directional, random_directions
from vjpcalc.check.forward import forward_jacobian
from vjpcalc.check.jacobian import Jacobian, assembled, explicit_cost, jacobian
from vjpcalc.check.replay import Replay
from vjpcalc.diagnostics import element_name
from vjpcalc.job.result import Forward
from vjpcalc.language.trace import Trace
from vjpcalc.stages import stage

PROBES = 8  # random directions of a probe


@dataclass(frozen=True)
class Witness:
    """A Jacobian to compare with, of a leaf of ``shape``. The numbers compared are the leaf's elements.

    A probe's has a column for each of its ``directions`` (n, directions), and these are compared instead.
    ``replay`` is None where the Jacobian is torch's own.
    """

    jacobian: Jacobian
    method: str
    shape: tuple[int, ...]
    replay: Replay | None
    directions: np.ndarray | None = None

    def projected(self, gradient: np.ndarray) -> np.ndarray:
        """What the gradient is compared as: its elements, or its products with the directions."""
        if self.directions is None:
            return gradient
        with np.errstate(all="ignore"):
            return self.directions.T @ gradient

    def projected_size(self, size: np.ndarray) -> np.ndarray:
        """The same for sizes, none of which may cancel another."""
        if self.directions is None:
            return size
        with np.errstate(all="ignore"):
            return np.abs(self.directions).T @ size

    def direction(self, scale: np.ndarray, k: int) -> tuple[np.ndarray, float]:
        """The direction that the k-th number belongs to, shaped like the leaf, and its length."""
        if self.directions is not None:
            return self.directions[:, k].reshape(scale.shape), 1.0
        return np.where(np.arange(scale.size).reshape(scale.shape) == k, scale, 0.0), scale.flat[k]

    def index(self, k: int) -> tuple[int, ...] | None:
        """Where in the leaf the k-th number stands; None for a direction."""
        return None if self.directions is not None else tuple(map(int, np.unravel_index(k, self.shape)))

    def name(self, k: int) -> str:
        """What to call the k-th number."""
        index, leaf = self.index(k), self.jacobian.leaf
        return f"{leaf} along random direction {k + 1}" if index is None else element_name(leaf, index)


@stage("witness")
def witness(
    run: Forward,
    trace: Trace,
    leaf: str,
    method: str,
    limit: int,
    progress: Callable[[int, int], None] | None = None,
) -> Witness:
    """The witness of a leaf by a method of the check, ``trace`` being the reference engine's."""
    if method == "forward":
        return Witness(forward_jacobian(run, leaf, progress), method, tuple(run.leaves[leaf].shape), None)
    return replayed(Replay(trace, leaf), method, limit, progress)


def replayed(
    replay: Replay,
    method: str,
    limit: int,
    progress: Callable[[int, int], None] | None = None,
    *,
    probes: int = PROBES,
) -> Witness:
    """The witness of a replay's leaf: explicit, or a probe; ``auto`` is explicit as far as ``limit`` goes."""
    if method == "explicit" or (method == "auto" and explicit_cost(replay) <= limit):
        return Witness(jacobian(replay, progress), "explicit", replay.leaf.shape, replay)
    return _probe(replay, probes)


def _probe(replay: Replay, probes: int) -> Witness:
    """J·u for a few random directions, scaled to the size of each element."""
    x = np.asarray(replay.leaf.value)
    directions = random_directions(x, probes)
    derivatives = [directional(replay, direction, bool(replay.kinks)) for direction in directions]
    probed = assembled(replay, derivatives)
    return Witness(probed, "probe", x.shape, replay, directions.reshape(probes, -1).T)
