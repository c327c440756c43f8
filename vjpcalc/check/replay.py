"""A reference trace as a function of one leaf.

A trace has run once, with all its values; what does not depend on the leaf keeps its value, and what does is
computed anew in steps (``fuse.py``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

from vjpcalc.check.fuse import Step, as_numexpr, compiled, steps
from vjpcalc.check.sparsity import Pattern, pattern
from vjpcalc.engines.noise import Noise
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.language.trace import Applied, Decision, Kink, Node, Trace, with_values

EPS = float(np.finfo(np.float64).eps)
# The complex step, relative to |x|. A power of 2 is exact, and even this one's square root vanishes beside 1.
STEP = 2.0**-300


class BranchFlip(Exception):  # noqa: N818 (an event, not an error)
    """A condition of the program came out otherwise than in the trace; ``decision`` is None for a mask."""

    def __init__(self, decision: Decision | None) -> None:
        self.decision = decision


class Replay:
    """The outputs of a trace, or other ``targets`` in it, as a function of one leaf.

    ``analytic`` says whether a complex step may be taken: every operator on the way has an exact complex
    kernel.
    """

    def __init__(self, trace: Trace, leaf: str, targets: Iterable[Node] | None = None) -> None:
        self.name, self.leaf = leaf, trace.inputs[leaf]
        self.targets = tuple(trace.outputs.values() if targets is None else targets)
        self._engine = ReferenceEngine()
        self._decisions = trace.decisions
        self.varying = varying(trace, self.leaf, through_constants=True)
        self.smooth = varying(trace, self.leaf, through_constants=False)
        self.analytic = all(
            node.operator.complex for node in self.smooth.values() if isinstance(node, Applied)
        )
        self._trace = trace

    @functools.cached_property
    def _real_steps(self) -> list[Step]:
        needed = [*self.targets, *(decision.node for decision in self._decisions)]
        return steps(self._trace, self.varying, needed, complex_=False)

    @functools.cached_property
    def _complex_steps(self) -> list[Step]:
        return steps(self._trace, self.smooth, self.targets, complex_=True) if self.analytic else []

    @functools.cached_property
    def kinks(self) -> list[Kink]:
        """The kinks of the trace that the leaf has a part in."""
        kinks = self._trace.kinks
        return [kink for kink in kinks if any(node.index in self.varying for node in kink.inputs)]

    @functools.cached_property
    def pattern(self) -> Pattern | None:
        """Where the Jacobian may have entries; None where it is full, or no pattern is worth finding.

        Masks, and what an operator chooses by its value, count as fixed; where a kink may move them, or where
        differences are taken, they count as moving if that leaves a pattern.
        """
        fixed = functools.partial(pattern, self._trace, self.leaf, self.targets, self.smooth, smooth=True)
        if self.analytic and not self.kinks:
            return fixed()
        moving = pattern(self._trace, self.leaf, self.targets, self.varying, smooth=False)
        return fixed() if moving is None else moving

    @property
    def primal(self) -> np.ndarray:
        """The outputs of the trace itself, flattened and joined: shape (m,)."""
        return self._join(lambda node: node.value)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The outputs at ``x`` (shaped like the leaf), flattened and joined: shape (m,).

        Raises BranchFlip where a condition of the program comes out otherwise there.
        """
        values: dict[int, np.ndarray] = {self.leaf.index: x}
        for step in self._real_steps:
            values[step.node.index] = self._run(step, values)
        for decision in self._decisions:
            if decision.node.index in values:
                value = values[decision.node.index].item()
                taken = bool(value) if isinstance(decision.taken, bool) else value
                if isinstance(decision.taken, bool) and taken != decision.taken:
                    raise BranchFlip(decision)
        for node in self.targets:
            if node.index in values and values[node.index].shape != node.shape:
                raise BranchFlip(None)  # a mask selected other elements
        return self._join(lambda node: values.get(node.index, node.value))

    def complex_step(self, direction: np.ndarray, noise: Noise | None = None) -> np.ndarray:
        """J·direction by a complex step, shape (m,): exact to rounding.

        Im f(x + ih·direction) / h with h = 2⁻³⁰⁰ (Squire and Trapp, SIAM Review 40, 1998). After each step
        the real part is set back to the traced value: it cannot have moved, and some complex kernels are
        careless with it. ``noise`` moves every value and derivative on the way at random by one unit in the
        last place.
        """
        values: dict[int, np.ndarray] = {self.leaf.index: self.leaf.value + 1j * STEP * direction}
        for step in self._complex_steps if noise is None else self._single_steps:
            result = self._run(step, values)
            if np.iscomplexobj(result):
                real = step.node.value
                if noise is not None:
                    # what has moved already moves what is computed of it
                    real = self._run(step, {index: np.real(value) for index, value in values.items()})
                    real = real * (1 + EPS * noise(result.shape))
                result = np.array(result)
                result.real = real
                result.imag[np.isnan(step.node.value)] = np.nan  # sqrt(-1): a number only to a complex kernel
                if noise is not None:
                    result.imag *= 1 + EPS * noise(result.shape)
            values[step.node.index] = result
        return self._join(
            lambda node: np.imag(values[node.index]) / STEP if node.index in values else 0.0 * node.value
        )

    @functools.cached_property
    def rounding(self) -> np.ndarray:
        """The rounding error of the outputs, shape (m,): eps·|f|, or what is measured where that is more.

        Measured at points so close together that only rounding tells them apart, by the sixth differences
        (the noise level of Moré and Wild, SIAM Journal on Scientific Computing 33, 2011): a program may
        cancel, and a user's own function may work in float32.
        """
        usual = EPS * np.abs(self.primal)
        if self.kinks:
            return usual  # a kink or a jump would look like noise
        far, near = self._jitter(2.0**-12), self._jitter(2.0**-20)
        # rounding does not care how far apart the points are; a kink's bend does
        return np.where(np.isfinite(far) & (far <= 16 * near), np.fmax(usual, far), usual)

    def _jitter(self, spacing: float) -> np.ndarray:
        """The noise of the outputs at points a relative ``spacing`` apart, (m,); NaN across a branch."""
        order = 6
        x = np.asarray(self.leaf.value, dtype=np.float64)
        step = spacing * np.where(x == 0, 1.0, x)
        try:
            values = np.stack([self(x + k * step) for k in range(-order, order + 1)])
        except BranchFlip:
            return np.full_like(self.primal, np.nan)
        with np.errstate(all="ignore"):
            sixth = np.diff(values, order, axis=0)
            return np.sqrt(np.mean(sixth**2, axis=0) / math.comb(2 * order, order))

    @functools.cached_property
    def _single_steps(self) -> list[Step]:
        """The complex steps with every operator on its own, so that each result can be moved."""
        nodes = (self.smooth[index] for index in sorted(self.smooth))
        return [Step(node, node.inputs, None) for node in nodes if isinstance(node, Applied)]

    def _join(self, get: Callable[[Node], np.ndarray]) -> np.ndarray:
        parts = [np.ravel(get(node)) for node in self.targets]
        with np.errstate(all="ignore"):
            return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def _run(self, step: Step, values: Mapping[int, np.ndarray]) -> np.ndarray:
        def get(node: Node) -> np.ndarray:
            return values.get(node.index, node.value)

        if step.text is None:
            arguments = {key: with_values(value, get) for key, value in step.node.arguments.items()}
            try:
                return self._engine.apply(step.node.operator, arguments)
            except Exception as error:
                if step.node.operator.function is None and not isinstance(error, np.linalg.LinAlgError):
                    raise
                # a singular matrix near the point, say: no value there
                is_complex = any(np.iscomplexobj(get(node)) for node in step.node.inputs)
                return np.full(step.node.shape, complex(np.nan, np.nan) if is_complex else np.nan)
        arrays = [as_numexpr(get(node)) for node in step.inputs]
        return compiled(step.text, tuple(array.dtype.kind for array in arrays))(*arrays)


def varying(trace: Trace, leaf: Node, *, through_constants: bool) -> dict[int, Node]:
    """The nodes that depend on a leaf, with ``through_constants`` masks and rounded values among them."""
    dependent = {leaf.index: leaf}
    for node in trace.applied:
        if node.operator.frozen:
            continue
        if not through_constants and (node.operator.complex == "constant" or node.value.dtype.kind != "f"):
            continue
        if any(source.index in dependent for source in node.inputs):
            dependent[node.index] = node
    return dependent
