"""The functions of the user's own that a program calls, each differentiated by itself where it is called.

Nothing is known of such a function but its values, so its derivative is found by differences; that of all
around it is known exactly, and the chain rule joins the two (``Replay.linear``). What is judged of each
backward alone (nodes.py) and what its program is judged by come of the same evaluations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check.alone import alone
from vjpcalc.check.jacobian import explicit, within
from vjpcalc.check.linear import Linear
from vjpcalc.check.replay import Replay
from vjpcalc.check.rounding import EPS
from vjpcalc.check.witness import Witness, replayed
from vjpcalc.language.trace import Applied, Trace
from vjpcalc.operators.row import Operator

UNIFORM = 3**0.5  # times its standard deviation: the most that a uniformly distributed rounding is off by


@dataclass(eq=False)
class Functions:
    """Those of a reference ``trace``, ``use`` by name.

    ``limit`` bounds the element operations that their derivatives may cost.
    """

    trace: Trace
    use: Mapping[str, Operator]
    limit: int

    def __post_init__(self) -> None:
        self.nodes = [node for node in self.trace.applied if node.operator.function is not None]
        self._replays: dict[tuple[int, int], Replay] = {}
        self._witnesses: dict[tuple[int, int], Witness] = {}
        self._linear: dict[tuple[int, int], Linear | None] = {}
        self._alone = functools.cache(lambda node: alone(node, self.use))

    def beside(self, by_torch: Trace) -> dict[Applied, Applied]:
        """The nodes of torch's own trace that are here too, with what they are here.

        One that has a reference of its own is another program here.
        """
        waiting: dict[tuple[Any, ...], list[Applied]] = {}
        for node in self.nodes:
            waiting.setdefault(_place(node), []).append(node)
        found = {}
        for node in by_torch.applied:
            if node.operator.function and not node.operator.ref and (same := waiting.get(_place(node))):
                found[node] = same.pop(0)
        return found

    def replay(self, node: Applied, number: int) -> Replay:
        """One of these nodes alone, as a function of its ``number``-th tensor."""
        if (node.index, number) not in self._replays:
            self._replays[node.index, number] = Replay(self._alone(node), f"argument {number}")
        return self._replays[node.index, number]

    def witness(
        self, node: Applied, number: int, progress: Callable[[int, int], None] | None = None
    ) -> Witness:
        """What a gradient of that tensor is compared with."""
        if (node.index, number) not in self._witnesses:
            self._witnesses[node.index, number] = replayed(
                self.replay(node, number), "auto", self.limit, progress
            )
        return self._witnesses[node.index, number]

    def whole(self, leaf: str, progress: Callable[[int, int], None] | None = None) -> Witness | None:
        """The witness of a leaf where its program is nothing but one of these nodes."""
        if not self.nodes:
            return None
        replay = Replay(self.trace, leaf, linear=self.linear)
        nodes = [node for node in replay.varying.values() if isinstance(node, Applied)]
        if len(nodes) != 1 or nodes[0] not in self.nodes or replay.targets != tuple(nodes):
            return None
        numbers = [number for number, source in enumerate(nodes[0].inputs) if source is replay.leaf]
        if len(numbers) != 1:
            return None
        witness = self.witness(nodes[0], numbers[0], progress)
        return replace(witness, jacobian=replace(witness.jacobian, leaf=replay.name), replay=replay)

    def rounded_to(self, replay: Replay) -> float:
        """The largest part of themselves to which those on a leaf's way round their values; 0 without any.

        It is known of those that could be watched, and measured of the rest.
        """
        units = [0.0]
        for (index, _), own in self._replays.items():
            if index in replay.varying and own.eps > EPS:
                values = np.abs(own.primal)
                with np.errstate(all="ignore"):
                    measured = UNIFORM * np.max(own.rounding / values, where=values > 0, initial=0.0)
                units.append(own.eps / 2 if own.seen else float(measured))
        return max(units)

    def linear(self, node: Applied, number: int) -> Linear | None:
        """The derivative of one of these nodes; None at a kink, or where it would cost too much."""
        if (node.index, number) not in self._linear:
            self._linear[node.index, number] = self._found(node, number)
        return self._linear[node.index, number]

    def _found(self, node: Applied, number: int) -> Linear | None:
        replay = self.replay(node, number)
        if not within(replay, explicit(replay), self.limit, len(self.nodes)):
            return None
        witness = self.witness(node, number)
        jacobian = witness.jacobian
        bent = jacobian.kinks is not None and jacobian.kinks.any()
        if (
            witness.directions is not None
            or bent
            or not np.isfinite(jacobian.entries + jacobian.errors).all()
        ):
            return None
        return Linear.of(jacobian)


def _place(node: Applied) -> tuple[Any, ...]:
    """Where in a program a node stands."""
    return node.operator.name, node.span, node.iterations
