"""A reference trace as a function of one leaf.

A trace has run once, with all its values; what does not depend on the leaf keeps its value, and what does is
computed anew in steps (``fuse.py``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

from vjpcalc.check.fuse import Step, as_numexpr, compiled, steps
from vjpcalc.check.linear import Linear
from vjpcalc.check.rounding import EPS, rounding, rounding_inside
from vjpcalc.check.sparsity import Pattern, pattern
from vjpcalc.engines.noise import Noise, accumulates, slope_is_exact, value_is_exact
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.language.trace import Applied, Decision, Kink, Node, Trace, with_values

if TYPE_CHECKING:
    from vjpcalc.engines.yours import Precision

# The relative errors of the user's functions in a row, added up, with which their chain is still believed:
# 800 times tanh, each rounded to bfloat16, amplify theirs beyond all measure.
OFF = 0.1
# The complex step, relative to |x|. A power of 2 is exact, and even this one's square root vanishes beside 1.
STEP = 2.0**-300


class BranchFlip(Exception):  # noqa: N818 (an event, not an error)
    """A condition of the program came out otherwise than in the trace; ``decision`` is None for a mask."""

    def __init__(self, decision: Decision | None) -> None:
        self.decision = decision


class Replay:
    """The outputs of a trace, or other ``targets`` in it, as a function of one leaf.

    ``linear`` gives the derivative of a node, a user's function, with respect to one of its tensors, by which
    a complex step may go through it.
    """

    def __init__(
        self,
        trace: Trace,
        leaf: str,
        targets: Iterable[Node] | None = None,
        linear: Callable[[Applied, int], Linear | None] | None = None,
    ) -> None:
        self.name, self.leaf = leaf, trace.inputs[leaf]
        self.targets = tuple(trace.outputs.values() if targets is None else targets)
        self._engine = ReferenceEngine()
        self._decisions = trace.decisions
        self.varying = varying(trace, self.leaf, through_constants=True)
        self.smooth = varying(trace, self.leaf, through_constants=False)
        self.differentiate = linear
        self.trace = trace

    @functools.cached_property
    def analytic(self) -> bool:
        """Whether a complex step may be taken: every operator on the way has an exact complex kernel, or is a
        function of the user's own whose derivative is known, by differences.
        """
        without = [
            node for node in self.smooth.values() if isinstance(node, Applied) and not node.operator.complex
        ]
        return not without or (
            all(node.operator.function is not None for node in without) and bool(self.linear)
        )

    @functools.cached_property
    def linear(self) -> dict[int, list[tuple[Node, Linear]]]:
        """The derivatives of the user's functions on the way, by the nodes' indices and for each argument on
        the way; empty where there are none, one of them is not known, or they err too much one after another.
        """
        known: dict[int, list[tuple[Node, Linear]]] = {}
        off = 0.0
        for node in self.smooth.values():
            if not isinstance(node, Applied) or node.operator.function is None:
                continue
            if self.differentiate is None:
                return {}
            known[node.index] = own = []
            for number, source in enumerate(node.inputs):
                if source.index in self.smooth:
                    linear = self.differentiate(node, number)
                    if linear is None:
                        return {}
                    own.append((source, linear))
                    off += linear.relative
        return known if off <= OFF else {}

    @functools.cached_property
    def _real_steps(self) -> list[Step]:
        needed = [*self.targets, *(decision.node for decision in self._decisions)]
        return steps(self.trace, self.varying, needed, complex_=False)

    @functools.cached_property
    def _complex_steps(self) -> list[Step]:
        return steps(self.trace, self.smooth, self.targets, complex_=True) if self.analytic else []

    @functools.cached_property
    def kinks(self) -> list[Kink]:
        """The kinks of the trace that the leaf has a part in."""
        kinks = self.trace.kinks
        return [kink for kink in kinks if any(node.index in self.varying for node in kink.inputs)]

    @functools.cached_property
    def pattern(self) -> Pattern | None:
        """Where the Jacobian may have entries; None where it is full, or no pattern is worth finding.

        Masks, and what an operator chooses by its value, count as fixed; where a kink may move them, or where
        differences are taken, they count as moving.
        """
        fixed = self.analytic and not self.kinks
        varying = self.smooth if fixed else self.varying
        linear = self.linear if fixed else {}
        return pattern(self.trace, self.leaf, self.targets, varying, smooth=fixed, linear=linear)

    @property
    def primal(self) -> np.ndarray:
        """The outputs of the trace itself, flattened and joined: shape (m,)."""
        return self._join(lambda node: node.value)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The outputs at ``x`` (shaped like the leaf), flattened and joined: shape (m,).

        Raises BranchFlip where a condition of the program comes out otherwise there.
        """
        if self._one_call is not None:
            try:
                result = self._one_call(x)
            except Exception:
                return np.full(self.targets[0].value.size, np.nan)
            if result.size != self.targets[0].value.size:
                raise BranchFlip(None)
            return result
        values: dict[int, np.ndarray] = {self.leaf.index: x}
        for step in self._real_steps:
            values[step.node.index] = self._run(step, values)
        self.require_decisions(values)
        for node in self.targets:
            if node.index in values and values[node.index].shape != node.shape:
                raise BranchFlip(None)  # a mask selected other elements
        return self._join(lambda node: values.get(node.index, node.value))

    def elsewhere(self, x: np.ndarray) -> np.ndarray:
        """The outputs at an ``x`` that has nothing to do with the leaf's value: NaN where there are none."""
        try:
            return self(x)
        except Exception:  # a branch flips, or a function of the user's own refuses such numbers
            return np.full_like(self.primal, np.nan)

    @functools.cached_property
    def _one_call(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """A program that is nothing but one function of the user's own, called without ado."""
        nodes = [node for node in self.varying.values() if isinstance(node, Applied)]
        if self._decisions or len(nodes) != 1 or self.targets != (nodes[0],):
            return None
        operator, moved = nodes[0].operator, object()
        if operator.function is None:
            return None
        values = self._values(nodes[0], lambda node: moved if node is self.leaf else node.value)
        return self._engine.of_one(operator, values, moved)

    def session(self) -> AbstractContextManager[None]:
        """To be entered for many calls in a row: what they need is then made ready once."""
        if self._one_call is None:
            return nullcontext()
        (node,) = (node for node in self.varying.values() if isinstance(node, Applied))
        return self._engine.session(node.operator)

    def require_decisions(self, values: Mapping[int, np.ndarray]) -> None:
        """Raise BranchFlip where a condition of the program comes out otherwise with ``values``, by node."""
        for decision in self._decisions:
            value = values.get(decision.node.index)
            if (
                value is not None
                and isinstance(decision.taken, bool)
                and bool(value.item()) != decision.taken
            ):
                raise BranchFlip(decision)

    def complex_step(
        self,
        direction: np.ndarray,
        noise: Noise | None = None,
        doubt: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> np.ndarray:
        """J·direction by a complex step, shape (m,): exact to rounding, but for the user's functions.

        Im f(x + ih·direction) / h with h = 2⁻³⁰⁰ (Squire and Trapp, SIAM Review 40, 1998). After each step
        the real part is set back to the traced value: it cannot have moved, and some complex kernels are
        careless with it. ``noise`` moves every value and derivative on the way at random by one unit in the
        last place; ``doubt`` says of the slopes of a user's function by how much of their errors they move.
        """
        values: dict[int, np.ndarray] = {self.leaf.index: self.leaf.value + 1j * STEP * direction}
        for step in self._complex_steps if noise is None else self._single_steps:
            result = self._run(step, values) if noise is None else self._run_noisy(step, values, noise)
            if np.iscomplexobj(result):
                result = np.array(result)
                if noise is None:
                    result.real = step.node.value
                if doubt is not None and step.node.index in self.linear:
                    result.imag += self._chained(step.node, values, Linear.doubt) * doubt(result.imag)
                result.imag[np.isnan(step.node.value)] = np.nan  # sqrt(-1): a number only to a complex kernel
            values[step.node.index] = result
        return self._join(
            lambda node: np.imag(values[node.index]) / STEP if node.index in values else 0.0 * node.value
        )

    def _run_noisy(self, step: Step, values: Mapping[int, np.ndarray], noise: Noise) -> np.ndarray:
        """One operator with its result moved by an ulp, and what each of its inputs contributes to the slope.

        What has moved already moves what is computed of it; what the leaf has no part in keeps its value.
        """
        row = step.node.operator
        inside, edges, moves = accumulates(row), not slope_is_exact(row), not value_is_exact(row)

        def get(node: Node) -> np.ndarray:
            value = values.get(node.index)
            if value is None or value.dtype.kind not in "fc":
                return node.value if value is None else value
            if inside:
                value = value * (1 + EPS * noise(value.shape))
            if edges and value.dtype.kind == "c":
                value = value.real + 1j * (value.imag * (1 + EPS * noise(value.shape)))
            return value

        result = self.apply(step.node, get)
        if np.iscomplexobj(result):
            real = result.real
            if not inside:  # some complex kernels are careless with it
                real = self.apply(step.node, lambda node: np.real(values.get(node.index, node.value)))
            result = (real * (1 + EPS * noise(real.shape)) if moves else real) + 1j * result.imag
        return result

    @functools.cached_property
    def eps(self) -> float:
        """The largest eps that numbers on the way have: float64's, but for functions of the user's own."""
        return max((precision.eps for precision in self._precisions), default=EPS)

    @property
    def seen(self) -> bool:
        """False where a part of the way is out of sight, so that the eps is a guess."""
        return all(precision.seen for precision in self._precisions)

    @functools.cached_property
    def stepped(self) -> bool:
        """Whether something on the way takes whole steps, a quantiser say."""
        rows = (node.operator for node in self.varying.values() if isinstance(node, Applied))
        return any(row.complex == "constant" for row in rows) or any(
            precision.stepped for precision in self._precisions
        )

    @functools.cached_property
    def _precisions(self) -> list[Precision]:
        return [
            self._engine.precision(node.operator, self._values(node, lambda source: source.value))
            for node in self.varying.values()
            if isinstance(node, Applied) and node.operator.function is not None
        ]

    @functools.cached_property
    def rounding(self) -> np.ndarray:
        """The rounding of the outputs, shape (m,), as it is measured: see rounding.py."""
        x = np.asarray(self.leaf.value, dtype=np.float64)
        return rounding(self.elsewhere, x, self.primal, self.eps, seen=self.seen)

    @functools.cached_property
    def inside(self) -> np.ndarray:
        """How far one ulp of float64 inside of the user's functions moves the outputs, shape (m,).

        It is what log(1 + exp(x)) loses where exp(x) is no more than an ulp of 1, whatever follows.
        """
        if not self._precisions or self.eps > EPS:
            return np.zeros(self.primal.shape)
        return rounding_inside(lambda: self(np.array(self.leaf.value)), self.primal)

    @functools.cached_property
    def _single_steps(self) -> list[Step]:
        """The complex steps with every operator on its own, so that each result can be moved."""
        nodes = (self.smooth[index] for index in sorted(self.smooth))
        return [Step(node, node.inputs, None) for node in nodes if isinstance(node, Applied)]

    def _join(self, get: Callable[[Node], np.ndarray]) -> np.ndarray:
        with np.errstate(all="ignore"):
            parts = [np.ravel(get(node)) for node in self.targets]
            return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def _values(self, node: Applied, get: Callable[[Node], Any]) -> dict[str, Any]:
        return {key: with_values(value, get) for key, value in node.arguments.items()}

    def _run(self, step: Step, values: Mapping[int, np.ndarray]) -> np.ndarray:
        def get(node: Node) -> np.ndarray:
            return values.get(node.index, node.value)

        if step.text is None:
            return self.apply(step.node, get)
        arrays = [as_numexpr(get(node)) for node in step.inputs]
        return compiled(step.text, tuple(array.dtype.kind for array in arrays))(*arrays)

    def _chained(
        self,
        node: Applied,
        values: Mapping[int, np.ndarray],
        product: Callable[[Linear, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """The sum of such products of a node's derivatives and the slopes of its arguments."""
        total = np.zeros(node.shape)
        for source, linear in self.linear[node.index]:
            if source.index in values:
                total += product(linear, np.imag(values[source.index]).ravel()).reshape(node.shape)
        return total

    def apply(self, node: Applied, get: Callable[[Node], np.ndarray]) -> np.ndarray:
        """A node's own kernel; NaN where it has no value near the point, a singular matrix, say."""
        if node.operator.function is not None and any(np.iscomplexobj(get(source)) for source in node.inputs):
            slopes = {source.index: get(source) for source in node.inputs}
            real = node.value
            if any((np.real(slopes[source.index]) != source.value).any() for source in node.inputs):
                real = self.apply(node, lambda source: np.real(slopes[source.index]))
            return real + 1j * self._chained(node, slopes, Linear.along)
        try:
            return self._engine.apply(node.operator, self._values(node, get))
        except Exception as error:
            if node.operator.function is None and not isinstance(error, np.linalg.LinAlgError):
                raise
            is_complex = any(np.iscomplexobj(get(source)) for source in node.inputs)
            return np.full(node.shape, complex(np.nan, np.nan) if is_complex else np.nan)


def varying(trace: Trace, leaf: Node, *, through_constants: bool) -> dict[int, Node]:
    """The nodes that depend on a leaf; ``through_constants``: masks, indices and rounded values, too.

    What the program detaches from its graph is a constant either way.
    """
    dependent = {leaf.index: leaf}
    for node in trace.applied:
        if node.operator.name == "detach" and node.operator.function is None:
            continue
        if not through_constants and (
            node.operator.frozen or node.operator.complex == "constant" or node.value.dtype.kind != "f"
        ):
            continue
        if any(source.index in dependent for source in node.inputs):
            dependent[node.index] = node
    return dependent
