"""The check: Jᵀ·seed from the reference engine's Jacobian against the gradient that ``backward`` gave.

A gradient element g is compared with (Jᵀ·v)ⱼ = Σᵢ Jᵢⱼ·vᵢ. How far apart may two right values be?

1. The rounding model: each operator on the way rounds once forward and once backward, so
   tolerance = eps · (2 + operators) · (|J|ᵀ·|v|)ⱼ + the differences' own error estimate.
   eps is that of the gradient's dtype: the reference always runs in float64.
2. Where that does not hold, the program may amplify rounding (cancellation, a near-singular matrix). That is
   measured, not guessed: torch and the reference are run again in stochastic arithmetic (engines/noise.py),
   every value and every cotangent moved at random by one unit in the last place, and the spread of the
   gradients, times SPREAD_FACTOR, is added to the tolerance.
3. A gradient within that is right as far as can be known; if the spread leaves less than half of the digits,
   the verdict is *inconclusive: ill-conditioned*. Beyond it, a second witness (differences in place of the
   complex step) must agree that the gradient is wrong before it is called *failed*.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check.derivative import (
    Derivative,
    Jacobian,
    differences,
    directional,
    jacobian,
    relative_scale,
)
from vjpcalc.check.replay import EPS, Replay
from vjpcalc.diagnostics import Diagnostic, element_name
from vjpcalc.engines.noise import noises
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.job.autograd import VJP, Forward, Job, backward, forward
from vjpcalc.language.trace import Node, Trace
from vjpcalc.limits import DEFAULT_LIMIT, require_method
from vjpcalc.operators.row import numel

PROBES = 8  # random directions of a probe
DIRECTIONS = 2  # random directions in which a kink is looked for
SPREAD_FACTOR = 10.0  # a few runs see less than the whole spread, and torch's formula may lose more than ours
DOUBT = 1e-7  # relative error estimate of the differences beyond which they cannot judge …
FAR = 100.0  # times what rounding explains: wrong, though differences are too coarse to see it
BEYOND = 10.0  # … unless the gradient is this many times their error away
ASKED = 200  # elements at the most whose noise inside of operators is measured
OVERHEAD = 500  # element operations that starting one operator is worth

PASSED, FAILED, INCONCLUSIVE, OFF = "passed", "failed", "inconclusive", "off"


@dataclass(frozen=True)
class LeafCheck:
    """The verdict on one leaf.

    ``jt_seed`` is shaped like the leaf (None where it was not computed element by element). ``max_rel_error``
    is ``max_abs_error`` relative to the largest element of the gradient (or to what flows through the
    program, where that cancels). ``index`` is where the reason applies.
    """

    status: str
    jacobian_shape: tuple[int, int]
    jt_seed: np.ndarray | None
    max_abs_error: float | None
    max_rel_error: float | None
    tolerance: float | None
    reason: str | None = None
    index: tuple[int, ...] | None = None
    differentiation: str | None = None
    structure: str | None = None

    @property
    def digits(self) -> int | None:
        """To how many decimal digits gradient and Jᵀ·seed agree; 16 is all of float64's."""
        if self.max_rel_error is None or not math.isfinite(self.max_rel_error):
            return None
        return (
            16 if self.max_rel_error < 1e-16 else max(0, min(16, math.floor(-math.log10(self.max_rel_error))))
        )

    def to_dict(self) -> dict[str, Any]:
        from vjpcalc.tensors.json import to_list, to_record

        def number(value: float | None) -> Any:
            return None if value is None else to_list(np.asarray(value))

        return {
            "status": self.status,
            "jacobian_shape": list(self.jacobian_shape),
            "jt_seed": None if self.jt_seed is None else to_record(self.jt_seed),
            "max_abs_error": number(self.max_abs_error),
            "max_rel_error": number(self.max_rel_error),
            "tolerance": number(self.tolerance),
            "reason": self.reason,
            "index": None if self.index is None else list(self.index),
            "differentiation": self.differentiation,
            "structure": self.structure,
        }


@dataclass(frozen=True)
class Check:
    """The verdict: the worst of the leaves'. ``method``: explicit, probe or forward; ``engine``: whose J."""

    status: str
    method: str
    engine: str
    leaves: Mapping[str, LeafCheck] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        leaves = {name: leaf.to_dict() for name, leaf in self.leaves.items()}
        return {"status": self.status, "method": self.method, "engine": self.engine, "leaves": leaves}


def check(
    vjp: VJP,
    method: str = "auto",
    *,
    limit: int = DEFAULT_LIMIT,
    progress: Callable[[str, int, int], None] | None = None,
) -> VJP:
    """The same VJP with its check.

    ``method`` is one of defaults.METHODS; ``auto`` takes ``explicit`` up to ``limit`` element operations,
    else ``probe``. ``progress`` is told leaf, columns done, columns in all. Raises Diagnostic (usage) for an
    unknown method.
    """
    require_method(method)
    if method == "off":
        return vjp
    noise = _Noise(vjp)
    trace, trouble = reference_trace(vjp)
    leaves: dict[str, LeafCheck] = {}
    methods = []
    for name in vjp.gradients:
        tell = None if progress is None else lambda done, total, name=name: progress(name, done, total)
        if trace is None:
            shape = (sum(t.numel() for t in vjp.outputs.values()), vjp.gradients[name].numel())
            leaves[name] = LeafCheck(INCONCLUSIVE, shape, None, None, None, None, trouble)
            continue
        witness = _witness(vjp, trace, name, method, limit, tell)
        methods.append(witness.method)
        leaves[name] = _judge(vjp, trace, name, witness, noise)
    statuses = [leaf.status for leaf in leaves.values()]
    status = next((s for s in (FAILED, INCONCLUSIVE) if s in statuses), PASSED)
    named = (
        "probe"
        if "probe" in methods
        else methods[0]
        if methods
        else ("explicit" if method == "auto" else method)
    )
    return replace(vjp, check=Check(status, named, "torch" if named == "forward" else "numexpr", leaves))


def reference_trace(vjp: VJP) -> tuple[Trace | None, str | None]:
    """The reference engine's own run of the program on the same inputs, or None and why there is none."""
    job = vjp.job
    inputs = {name: as_float64(value) for name, value in job.inputs.items()}
    try:
        trace = job.run(ReferenceEngine(job.random_seed), inputs)
    except Diagnostic as diagnostic:
        return None, f"the reference engine cannot run the program: {diagnostic.message}"
    if any(node.operator is not None and node.operator.function for node in trace.nodes):
        again = job.run(ReferenceEngine(job.random_seed), inputs)
        if _apart(trace, {name: node.value for name, node in again.outputs.items()}, 0.0):
            return None, "the program is not deterministic: two runs of its forward differ"
    taken = [decision.taken for decision in trace.decisions if isinstance(decision.taken, bool)]
    torch_taken = [decision.taken for decision in vjp.trace.decisions if isinstance(decision.taken, bool)]
    if taken != torch_taken:
        return None, "a branch is taken otherwise in float64: rounding decides a condition of the program"
    for name, node in trace.outputs.items():
        if node.shape != tuple(vjp.outputs[name].shape):
            return None, f"the reference engine gives '{name}' the shape {node.shape}"
    eps = max(torch.finfo(output.dtype).eps for output in vjp.outputs.values())
    different = _apart(
        trace, {name: as_float64(value) for name, value in vjp.outputs.items()}, math.sqrt(eps)
    )
    return (None, different) if different else (trace, None)


def required_reference(vjp: VJP) -> Trace:
    """``reference_trace`` where nothing can be done without it. Raises Diagnostic (value)."""
    trace, trouble = reference_trace(vjp)
    if trace is None:
        raise Diagnostic("value", trouble or "the reference engine cannot run the program")
    return trace


def _apart(trace: Trace, values: Mapping[str, np.ndarray], relative: float) -> str | None:
    """Where the outputs of a reference trace are not these values, in words; non-finite ones are left out."""
    for name, node in trace.outputs.items():
        mine, other = np.ravel(node.value).astype(float), np.ravel(values[name]).astype(float)
        if mine.shape != other.shape:
            return f"the output '{name}' changes its shape"
        with np.errstate(all="ignore"):
            finite = np.isfinite(mine) & np.isfinite(other)
            error = np.where(finite, np.abs(mine - other), 0.0)
            scale = float(np.max(np.abs(np.where(finite, mine, 0.0)), initial=0.0))
        if (error > relative * scale + 1e-300).any():
            k = int(np.argmax(error))
            said = f"torch computes {other[k]:.6g} for '{name}', the reference engine {mine[k]:.6g}"
            return f"{said}: ill-conditioned in this dtype, or a whole number that wrapped around"
    return None


def smallest(dtype: torch.dtype) -> float:
    """What counts as 0 in a dtype: its smallest subnormal, or 2⁻⁵¹¹, the square root of float64's smallest
    number:
    below that, products that stand inside of a gradient underflow.
    """
    info = torch.finfo(dtype)
    return max(info.smallest_normal * info.eps, 2.0**-511)


def as_float64(value: torch.Tensor) -> np.ndarray:
    """A tensor as the reference engine takes it: float64, int64 or bool."""
    value = value.detach()
    if value.is_floating_point():
        return value.to(torch.float64).numpy()
    return value.numpy() if value.dtype == torch.bool else value.to(torch.int64).numpy()


# ---- the witness -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Witness:
    """A Jacobian to compare with. A probe's has a column for each of its ``directions`` (n, directions)."""

    jacobian: Jacobian
    method: str
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


def _witness(
    vjp: VJP, trace: Trace, leaf: str, method: str, limit: int, progress: Callable[[int, int], None] | None
) -> _Witness:
    if method == "forward":
        return _Witness(forward_jacobian(vjp, leaf, progress), "forward", None)
    replay = Replay(trace, leaf, trace.outputs.values())
    if method == "auto":
        method = "explicit" if explicit_cost(replay) <= limit else "probe"
    if method == "explicit":
        return _Witness(jacobian(trace, leaf, replay=replay, progress=progress), "explicit", replay)
    return _probe(leaf, replay)


def explicit_cost(replay: Replay) -> int:
    """The element operations that the explicit Jacobian of a leaf costs: evaluations × elements in each."""
    if replay.single_source is not None:
        return 0  # one direction yields every entry, at any size
    work = sum(numel(node.shape) + OVERHEAD for node in replay.varying.values())
    evaluations = 1 if replay.analytic and not replay.kinks else 30
    return evaluations * numel(replay.leaf.shape) * work


def _probe(leaf: str, replay: Replay) -> _Witness:
    """J·u for a few random directions, scaled to the size of each element."""
    generator = np.random.default_rng(0)
    x = np.asarray(replay.leaf.value)
    kinked = bool(replay.kinks)
    directions = generator.choice([-1.0, 1.0], (PROBES, *x.shape)) * generator.uniform(
        0.5, 1.0, (PROBES, *x.shape)
    )
    directions *= relative_scale(x)
    found = [directional(replay, direction, kinked) for direction in directions]

    def columns(get: Callable[[Derivative], Any]) -> Any:
        parts = [get(derivative) for derivative in found]
        return None if parts[0] is None else np.stack(parts, axis=1)

    probed = Jacobian(
        leaf,
        (replay.primal.size, numel(x.shape)),
        columns(lambda d: d.value),
        columns(lambda d: d.error),
        None,
        found[0].method,
        "numexpr",
        columns(lambda d: d.kink),
        columns(lambda d: d.left),
        columns(lambda d: d.right),
    )
    return _Witness(probed, "probe", replay, directions.reshape(PROBES, -1).T)


def forward_jacobian(vjp: VJP, leaf: str, progress: Callable[[int, int], None] | None) -> Jacobian:
    """torch's own forward mode, column by column. No independent witness: see DESIGN; kept for comparison."""
    import torch.autograd.forward_ad as forward_ad

    job = vjp.job
    engine = TorchEngine(job.dtype, job.random_seed)
    value = job.inputs[leaf].detach()
    columns = []
    for index in range(value.numel()):
        tangent = torch.zeros_like(value)
        tangent.view(-1)[index] = 1
        try:
            with warnings.catch_warnings(), forward_ad.dual_level(), engine.session():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # torch's own, at its first use of forward mode
                inputs = {**job.inputs, leaf: forward_ad.make_dual(value, tangent)}
                trace = job.run(engine, inputs)
                parts = []
                for node in trace.outputs.values():
                    moved = forward_ad.unpack_dual(node.value).tangent
                    parts.append(np.zeros(numel(node.shape)) if moved is None else as_float64(moved).ravel())
        except Diagnostic as diagnostic:
            raise Diagnostic(
                "value", f"forward mode: {diagnostic.message}", hint=diagnostic.hint or "use --check explicit"
            ) from None
        columns.append(np.concatenate(parts))
        if progress is not None:
            progress(index + 1, value.numel())
    m = sum(output.numel() for output in vjp.outputs.values())
    entries = np.stack(columns, axis=1) if columns else np.zeros((m, 0))
    eps = torch.finfo(value.dtype).eps
    return Jacobian(leaf, (m, value.numel()), entries, eps * np.abs(entries), None, "forward mode", "torch")


# ---- the verdict -------------------------------------------------------------------------------------------


class _Noise:
    """The rounding noise of the gradients, measured once for all leaves and only when somebody asks."""

    def __init__(self, vjp: VJP) -> None:
        self.vjp = vjp
        self._spreads: dict[str, np.ndarray] | None = None
        self._flow: float | None = None

    def spread(self, leaf: str) -> np.ndarray:
        """The width of the range that a leaf's gradient takes in stochastic arithmetic, shaped (n,)."""
        if self._spreads is None:
            self._spreads = self._measure()
        return self._spreads[leaf]

    def flow(self, leaf: str) -> float:
        """The size of a gradient that nothing cancels in: the largest |value · cotangent| / |leaf|.

        The gradient of sum(softmax(x)) is 0, and its rounding error is small beside this, not beside 0.
        """
        if self._flow is None:
            again, cotangents = cotangents_of(self.vjp.job, self.vjp.seeds)
            with np.errstate(all="ignore"):
                products = [
                    as_float64(again.trace.nodes[i].value) * as_float64(g) for i, g in cotangents.items()
                ]
            self._flow = max((_largest(np.abs(product)) for product in products), default=0.0)
        largest = _largest(np.abs(as_float64(self.vjp.job.inputs[leaf])))
        return self._flow / largest if largest > 0 and math.isfinite(self._flow) else 0.0

    def _measure(self) -> dict[str, np.ndarray]:
        job = self.vjp.job
        low: dict[str, np.ndarray] = {}
        high: dict[str, np.ndarray] = {}
        for one in noises():
            engine = TorchEngine(job.dtype, job.random_seed, noise=one)
            try:
                noisy = forward(job, engine)
                seeds = {name: [engine.perturb(seed.clone())] for name, seed in self.vjp.seeds.items()}
                gradients, _ = backward(job, noisy, seeds)
            except Diagnostic:
                continue  # a branch that rounding decides: this run measures something else
            for name, gradient in gradients.items():
                values = as_float64(gradient).ravel()
                low[name] = np.fmin(low.get(name, values), values)
                high[name] = np.fmax(high.get(name, values), values)
        with np.errstate(all="ignore"):
            return {name: high[name] - low[name] for name in low} or {
                name: np.full(gradient.numel(), np.inf) for name, gradient in self.vjp.gradients.items()
            }


def _judge(vjp: VJP, trace: Trace, name: str, witness: _Witness, noise: _Noise) -> LeafCheck:
    found = witness.jacobian
    gradient = vjp.gradients[name]
    eps = torch.finfo(gradient.dtype).eps
    v = np.concatenate([as_float64(vjp.seeds[output]).ravel() for output in vjp.outputs])
    with np.errstate(all="ignore"):
        own = witness.projected(as_float64(gradient).ravel())
        other = found.transposed(v)
        size = np.fmax(found.transposed(np.abs(v), np.abs(found.entries)), np.abs(own))
        doubt = found.transposed(np.abs(v), found.errors)
        error = np.abs(own - other)
        depth = 2 + (len(witness.replay.varying) if witness.replay is not None else len(trace.nodes))
        size = np.fmax(size, witness.projected_size(np.abs(as_float64(gradient).ravel())))
        floor = depth * smallest(gradient.dtype)
        tolerance = (eps * depth + _accuracy(vjp.trace, name)) * size + doubt + floor
        scale = max(_largest(np.abs(own)), _largest(np.abs(other)))
    element = _Elements(vjp, name, witness)
    report = LeafCheck(
        PASSED,
        found.shape,
        other.reshape(tuple(gradient.shape)) if witness.directions is None else None,
        _largest(error),
        _relative(_largest(error), scale),
        _largest(tolerance),
        differentiation=found.method,
        structure="one entry a row" if found.columns is not None else None,
    )

    broken = _non_finite(vjp, name, own, other)
    if broken is not None:
        return replace(report, status=INCONCLUSIVE, reason=broken[0], index=broken[1])
    kinks = [] if witness.replay is None else witness.replay.kinks
    kinked = _kinked(found, v)
    # differences that cannot judge, unless the gradient is far beyond their doubt
    unsure = (
        ~kinked & (doubt > DOUBT * size + floor) & (error > eps * depth * size) & (error <= BEYOND * doubt)
    )
    apart = ~kinked & ~unsure & ~(error <= tolerance)

    if apart.any():
        # what rounding does inside of operators is cheap to measure; torch runs again where that is not
        # enough
        spread = (eps / EPS) * _reference_spread(witness, v, apart)
        if (apart & ~(error <= tolerance + SPREAD_FACTOR * spread)).any():
            spread = spread + witness.projected_size(noise.spread(name))
            if _mixes(trace, witness):
                # an algorithm on whole matrices errs by the size of the largest element, not of each one
                tolerance = tolerance + eps * depth * _largest(size)
        measured = tolerance + SPREAD_FACTOR * spread
        wrong = apart & ~(error <= measured)
        if wrong.any() and (reason := _hidden_kink(witness, v, other)):
            return replace(report, status=INCONCLUSIVE, reason=reason)
        if wrong.any() and not _second_witness(witness, v, wrong, own, other, measured):
            return replace(
                report,
                status=INCONCLUSIVE,
                reason=_undecided(element, wrong, error, own, other),
            )
        if wrong.any():
            worst = int(np.argmax(np.where(wrong, error / measured, -1)))
            reason = (
                f"{element.name(worst)}: backward gives {own[worst]:.17g}, Jᵀ·seed is {other[worst]:.17g}"
            )
            return replace(
                report,
                status=FAILED,
                reason=reason,
                index=element.index(worst),
                tolerance=float(measured[worst]),
            )
        if scale <= SPREAD_FACTOR * _largest(spread):
            scale = max(scale, noise.flow(name))  # a gradient that cancels to nothing but rounding
        report = replace(
            report, tolerance=_largest(measured), max_rel_error=_relative(_largest(error), scale)
        )
        drowned = apart & (spread > math.sqrt(eps) * scale)
        if drowned.any():
            worst = int(np.argmax(np.where(drowned, spread, -1)))
            reason = (
                f"ill-conditioned: {element.name(worst)}: one-ulp changes of the values move the gradient "
                f"{own[worst]:.6g} by up to {spread[worst]:.2g}"
            )
            return replace(report, status=INCONCLUSIVE, reason=reason, index=element.index(worst))
    if kinked.any():
        worst = int(np.flatnonzero(kinked)[0])
        return replace(
            report,
            status=INCONCLUSIVE,
            reason=_kink_reason(witness, v, worst, own, element),
            index=element.index(worst),
        )
    if kinks and (reason := _hidden_kink(witness, v, other)):
        return replace(report, status=INCONCLUSIVE, reason=reason)
    if unsure.any():
        worst = int(np.argmax(np.where(unsure, doubt, -1)))
        reason = (
            f"{element.name(worst)}: the differences do not converge: {other[worst]:.6g} "
            f"± {doubt[worst]:.2g} (backward gives {own[worst]:.6g})"
        )
        return replace(report, status=INCONCLUSIVE, reason=reason, index=element.index(worst))
    return report


def _undecided(
    element: _Elements, wrong: np.ndarray, error: np.ndarray, own: np.ndarray, other: np.ndarray
) -> str:
    worst = int(np.argmax(np.where(wrong, error, -1)))
    return (
        f"{element.name(worst)}: backward gives {own[worst]:.17g}, Jᵀ·seed is {other[worst]:.17g}: farther "
        "apart than rounding explains, but a second way to differentiate does not confirm it"
    )


@dataclass(frozen=True)
class _Elements:
    """How to speak of the k-th number compared: an element of the leaf, or a direction of a probe."""

    vjp: VJP
    leaf: str
    witness: _Witness

    def index(self, k: int) -> tuple[int, ...] | None:
        if self.witness.directions is not None:
            return None
        return tuple(int(i) for i in np.unravel_index(k, tuple(self.vjp.gradients[self.leaf].shape)))

    def name(self, k: int) -> str:
        index = self.index(k)
        if index is None:
            return f"{self.leaf} along random direction {k + 1}"
        return element_name(self.leaf, index)


def _relative(error: float, scale: float) -> float:
    return error / scale if scale > 0 else error


def _largest(values: np.ndarray) -> float:
    return float(np.max(values, initial=0.0))


def _kinked(found: Jacobian, v: np.ndarray) -> np.ndarray:
    """Which compared numbers have a kink in a part that the seed counts, shape (n,)."""
    if found.kinks is None:
        return np.zeros(found.shape[1] if found.columns is not None else found.entries.shape[1], bool)
    return found.transposed((v != 0).astype(float), found.kinks.astype(float)) > 0


def _kink_reason(witness: _Witness, v: np.ndarray, k: int, own: np.ndarray, element: _Elements) -> str:
    found = witness.jacobian
    kinks = witness.replay.kinks if witness.replay is not None else []
    named = sorted({f"{kink.operator.infix or kink.operator.name}" for kink in kinks})
    reason = f"{element.name(k)}: a kink" + (f" of {', '.join(named)}" if named else "")
    if found.flipped is not None and not named:
        reason = f"{element.name(k)}: a branch that flips: the condition is decided at this very point"
    assert found.left is not None
    assert found.right is not None
    with np.errstate(all="ignore"):
        low, high = (found.transposed(v, side)[k] + 0.0 for side in (found.left, found.right))
    if np.isfinite([low, high]).all():
        between = min(low, high) - 1e-6 <= own[k] <= max(low, high) + 1e-6
        where = "lies between them" if between else "does not lie between them"
        reason += f": the slope is {low:.6g} from the left and {high:.6g} from the right; "
        reason += f"torch's {own[k] + 0.0:.6g} {where}"
    return reason


def _mixes(trace: Trace, witness: _Witness) -> bool:
    """Whether a leaf's elements meet in an operator on whole arrays."""
    nodes = trace.nodes if witness.replay is None else witness.replay.varying.values()
    return any(node.operator is not None and node.operator.kind == "array" for node in nodes)


def _hidden_kink(witness: _Witness, v: np.ndarray, other: np.ndarray) -> str | None:
    """A kink that no single element shows, in words: each of three equal numbers may move, the median stays.

    Looked for where an operator says that it is at a kink, or where nothing is known of it: along random
    directions, in which all elements move at once, the slope must be the same from both sides, and be what
    ``other``, Jᵀ·v, foretells.
    """
    replay = witness.replay
    if replay is None:
        return None
    kinks = replay.kinks
    if not kinks and witness.jacobian.method == "complex step":
        return None
    generator = np.random.default_rng(0)
    scale = relative_scale(np.asarray(replay.leaf.value))
    for _ in range(DIRECTIONS):
        direction = (
            scale * generator.uniform(0.5, 1.0, scale.shape) * generator.choice([-1.0, 1.0], scale.shape)
        )
        found = differences(replay, direction)
        assert found.kink is not None
        assert found.reach is not None
        bent = bool((found.kink & (v != 0)).any())
        if witness.directions is None and not bent:
            with np.errstate(all="ignore"):
                foretold = np.ravel(direction) @ other
                size = np.abs(np.ravel(direction)) @ np.abs(other) + np.abs(v) @ np.fmax(
                    np.abs(found.value), found.reach
                )
                doubt = 16 * (np.abs(v) @ found.error) + 1e-5 * size
                bent = bool(np.abs(v @ found.value - foretold) > doubt)
        if bent:
            named = sorted({kink.operator.name for kink in kinks})
            of = f" of {', '.join(named)}" if named else ""
            return f"a kink{of}: the slopes differ where several elements of the leaf move at once"
    return None


def _accuracy(trace: Trace, leaf: str) -> float:
    """The relative error that torch's own operators between a leaf and the outputs are known to have."""
    reached = {trace.inputs[leaf]}
    worst = 0.0
    for node in trace.nodes:
        if node.operator is not None and any(source in reached for source in node.inputs):
            reached.add(node)
            worst = max(worst, node.operator.accuracy)
    return worst


def _reference_spread(witness: _Witness, v: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far Jᵀ·v moves where the values inside of the reference's operators move by one ulp, shape (n,).

    torch's noise goes around its operators; a softmax or a gelu cancels inside of one. Measured for the
    elements that are ``wanted``, a few hundred at the most.
    """
    replay = witness.replay
    spread = np.zeros(wanted.shape)
    if replay is None or witness.jacobian.method != "complex step":
        return spread
    scale = relative_scale(np.asarray(replay.leaf.value))
    columns = witness.jacobian.columns
    if columns is not None:
        unit = np.where(columns >= 0, np.ravel(scale)[columns], 1.0)
        moved = [
            witness.jacobian.transposed(v, replay.complex_step(scale, noise) / unit) for noise in noises()
        ]
        return np.ptp(moved, axis=0)
    for k in np.flatnonzero(wanted)[:ASKED]:
        direction, factor = _direction(witness, scale, k)
        spread[k] = np.ptp([v @ replay.complex_step(direction, noise) for noise in noises()]) / factor
    return spread


def _direction(witness: _Witness, scale: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """The direction that the k-th compared number belongs to, shaped like the leaf, and its length."""
    if witness.directions is not None:
        return witness.directions[:, k].reshape(scale.shape), 1.0
    return np.where(np.arange(scale.size).reshape(scale.shape) == k, scale, 0.0), scale.flat[k]


def _second_witness(
    witness: _Witness,
    v: np.ndarray,
    wrong: np.ndarray,
    own: np.ndarray,
    other: np.ndarray,
    measured: np.ndarray,
) -> bool:
    """Whether a second way to differentiate, too, calls the worst few wrong elements wrong.

    It is differences, for a complex step; for differences, others with steps of other sizes. Where they
    cannot tell the two apart, the gradient must be FAR times farther away than rounding explains.
    """
    replay = witness.replay
    if replay is None:
        return True
    scale = relative_scale(np.asarray(replay.leaf.value))
    shift = 1.0 if witness.jacobian.method == "complex step" else math.sqrt(1 / 3)
    with np.errstate(all="ignore"):
        error = np.abs(own - other)
    for k in np.argsort(np.where(wrong, -error, 0))[: min(PROBES, int(wrong.sum()))]:
        direction, factor = _direction(witness, scale, k)
        found = differences(replay, direction * shift)
        with np.errstate(all="ignore"):
            value = float(v @ found.value) / (factor * shift)
            doubt = float(np.abs(v) @ found.error) / (factor * shift)
        if abs(value - own[k]) <= doubt:
            if error[k] > FAR * measured[k] and abs(value - other[k]) <= doubt:
                return True  # too close together for differences: neither is contradicted
        elif abs(value - other[k]) < abs(value - own[k]):
            return True
    return False


# ---- non-finite values -------------------------------------------------------------------------------------


def _non_finite(
    vjp: VJP, name: str, own: np.ndarray, other: np.ndarray
) -> tuple[str, tuple[int, ...] | None] | None:
    """Why a leaf cannot be judged for a value that is not finite, and where; None if all are finite."""
    for output, tensor in vjp.outputs.items():
        bad = ~torch.isfinite(tensor)
        if bad.any():
            index = tuple(int(i) for i in bad.nonzero()[0])
            place = element_name("", index)
            made = first_non_finite(vjp.trace)
            return f"the output {output}{place} is {_said(tensor[index])}" + (
                f": {made}" if made else ""
            ), None
    bad_gradient = ~torch.isfinite(vjp.gradients[name])
    if bad_gradient.any():
        index = tuple(int(i) for i in bad_gradient.nonzero()[0])
        place = element_name(name, index)
        made = first_non_finite(vjp.trace) or non_finite_backward(vjp)
        value = _said(vjp.gradients[name][index])
        return f"{place}: the gradient is {value}" + (f": {made}" if made else ""), index
    if not np.isfinite(other).all():
        return "Jᵀ·seed is not finite in the reference engine", None
    return None


def _said(value: torch.Tensor) -> str:
    return {"inf": "infinite", "-inf": "-infinite", "nan": "NaN"}[str(float(value))]


def first_non_finite(trace: Trace) -> str | None:
    """The first operator of a torch trace that made a non-finite value out of finite ones, in words."""
    for node in trace.nodes:
        if node.operator is None or not node.value.is_floating_point():
            continue
        if bool(torch.isfinite(node.value).all()) or node.operator.kind == "creation":
            continue
        if all(bool(torch.isfinite(source.value).all()) for source in node.inputs):
            where = (~torch.isfinite(node.value)).nonzero()[0].tolist()
            place = f" at {where}" if where else ""
            return f"first made by {text_of(node, trace)}{place}"
    return None


def text_of(node: Node, trace: Trace) -> str:
    """A node as its source text, or its operator's name."""
    assert node.operator is not None
    if node.span is None:
        return node.operator.name
    return f"'{trace.source.text[node.span.start : node.span.stop]}'"


def non_finite_backward(vjp: VJP) -> str | None:
    """The first operator whose backward made a non-finite cotangent of a finite one, in words."""
    again, cotangents = cotangents_of(vjp.job, vjp.seeds)
    for node in reversed(again.trace.nodes):
        if node.operator is None or node.index not in cotangents:
            continue
        if not bool(torch.isfinite(cotangents[node.index]).all()):
            continue
        for source in node.inputs:
            handed = cotangents.get(source.index)
            if handed is not None and not bool(torch.isfinite(handed).all()):
                return f"first made by the backward of {text_of(node, again.trace)}"
    return None


def cotangents_of(job: Job, seeds: Mapping[str, torch.Tensor]) -> tuple[Forward, dict[int, torch.Tensor]]:
    """Run a job again and keep the cotangent of every node, by node index: what ``explain`` walks."""
    again = forward(job)
    for node in again.trace.nodes:
        if node.value.requires_grad and not node.value.is_leaf:
            node.value.retain_grad()
    backward(job, again, {name: [seed] for name, seed in seeds.items()})
    return again, {
        node.index: node.value.grad
        for node in again.trace.nodes
        if node.value.requires_grad and node.value.grad is not None
    }
