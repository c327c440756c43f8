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

import functools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check import words
from vjpcalc.check.derivative import COMPLEX_STEP, differences, relative_scale
from vjpcalc.check.kinks import hidden_kink, kink_reason, kinked
from vjpcalc.check.noise import SPREAD_FACTOR, GradientNoise, accuracy, reference_spread, smallest
from vjpcalc.check.nonfinite import non_finite
from vjpcalc.check.reference import reference_trace
from vjpcalc.check.replay import EPS
from vjpcalc.check.witness import PROBES, Witness, witness
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED, VJP, Check, LeafCheck
from vjpcalc.language.trace import Applied, Trace
from vjpcalc.limits import DEFAULT_LIMIT, require_method
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64

DOUBT = 1e-7  # relative error estimate of the differences beyond which they cannot judge …
BEYOND = 10.0  # … unless the gradient is this many times their error away
SUMMED = 4.0  # times the root of the summands: torch adds them one after the other where it scatters
FAR = 100.0  # times what rounding explains: wrong, though differences are too coarse to see it


@stage("check")
def check(
    vjp: VJP,
    method: str = "auto",
    *,
    limit: int = DEFAULT_LIMIT,
    progress: Callable[[str, int, int], None] | None = None,
) -> VJP:
    """The same VJP with its check.

    ``method`` is one of limits.METHODS; ``auto`` takes ``explicit`` up to ``limit`` element operations,
    else ``probe``. ``progress`` is told leaf, columns done, columns in all. Raises Diagnostic (usage) for an
    unknown method.
    """
    require_method(method)
    if method == "off":
        return vjp
    noise = GradientNoise(vjp)
    trace, trouble = reference_trace(vjp.forward)
    leaves: dict[str, LeafCheck] = {}
    methods = []
    for name in vjp.gradients:
        tell = None if progress is None else functools.partial(progress, name)
        if trace is None:
            shape = (sum(t.numel() for t in vjp.outputs.values()), vjp.gradients[name].numel())
            leaves[name] = LeafCheck(status=INCONCLUSIVE, jacobian_shape=shape, reason=trouble)
            continue
        compared = witness(vjp.forward, trace, name, method, limit, tell)
        methods.append(compared.method)
        leaves[name] = judge(vjp, trace, compared, noise)
    statuses = {leaf.status for leaf in leaves.values()}
    status = next((status for status in (FAILED, INCONCLUSIVE) if status in statuses), PASSED)
    if methods:
        method = "probe" if "probe" in methods else methods[0]
    elif method == "auto":
        method = "explicit"
    return replace(vjp, check=Check(status, method, "torch" if method == "forward" else "numexpr", leaves))


@stage("judge")
def judge(vjp: VJP, trace: Trace, witness: Witness, noise: GradientNoise) -> LeafCheck:
    """The verdict on one leaf; ``trace`` is the reference engine's."""
    jacobian = witness.jacobian
    name = jacobian.leaf
    gradient = vjp.gradients[name]
    eps = torch.finfo(gradient.dtype).eps
    seed = np.concatenate([as_float64(vjp.seeds[output]).ravel() for output in vjp.outputs])
    v, weight = witness.seed(seed), witness.seed(np.abs(seed), sizes=True)
    flat = as_float64(gradient).ravel()
    depth = 2 + (len(witness.replay.varying) if witness.replay is not None else len(trace.nodes))
    with np.errstate(all="ignore"):
        own = witness.projected(flat)
        expected = jacobian.transposed(v)
        size = np.fmax(jacobian.transposed(weight, np.abs(jacobian.entries)), np.abs(own))
        size = np.fmax(size, witness.projected_size(np.abs(flat)))
        doubt = jacobian.transposed(weight, jacobian.errors)
        error = np.abs(own - expected)
        floor = depth * smallest(gradient.dtype)
        rounds = depth + SUMMED * np.sqrt(jacobian.crowded)
        tolerance = (eps * rounds + accuracy(vjp.trace, name)) * size + doubt + floor
        scale = max(_largest(np.abs(own)), _largest(np.abs(expected)))
    report = LeafCheck(
        status=PASSED,
        jacobian_shape=(seed.size, flat.size),
        jt_seed=expected.reshape(witness.shape) if witness.directions is None else None,
        max_abs_error=_largest(error),
        max_rel_error=_relative(_largest(error), scale),
        tolerance=_largest(tolerance),
        differentiation=jacobian.method,
        structure=witness.structure,
        digits=max(0, math.floor(-math.log10(max(_relative(_largest(error), scale), 1e-16))))
        if math.isfinite(_largest(error))
        else None,
    )

    def inconclusive(reason: str, index: tuple[int, ...] | None = None) -> LeafCheck:
        return replace(report, status=INCONCLUSIVE, reason=reason, index=index)

    broken = non_finite(vjp, name, expected)
    if broken is not None:
        return inconclusive(*broken)
    bent = kinked(jacobian, v)
    # differences that cannot judge, unless the gradient is far beyond their doubt
    unsure = ~bent & (doubt > DOUBT * size + floor) & (error > eps * depth * size) & (error <= BEYOND * doubt)
    apart = ~bent & ~unsure & ~(error <= tolerance)

    if apart.any():
        # what rounding does inside of operators is cheap to measure; torch runs again where it is not
        spread = (eps / EPS) * reference_spread(witness, v, apart)
        if (apart & ~(error <= tolerance + SPREAD_FACTOR * spread)).any():
            spread = spread + witness.projected_size(noise.spread(name))
            if _mixes(trace, witness):
                # an algorithm on whole matrices errs by the size of the largest element, not of each one
                tolerance = tolerance + eps * depth * _largest(size)
        measured = tolerance + SPREAD_FACTOR * spread
        wrong = apart & ~(error <= measured)
        if wrong.any():
            if reason := hidden_kink(witness, seed, expected):
                return inconclusive(reason)
            if not _second_witness(witness, v, wrong, own, expected, measured):
                worst = int(np.argmax(np.where(wrong, error, -1)))
                return inconclusive(words.undecided(witness.name(worst), own[worst], expected[worst]))
            worst = int(np.argmax(np.where(wrong, error / measured, -1)))
            return replace(
                report,
                status=FAILED,
                reason=words.apart(witness.name(worst), own[worst], expected[worst]),
                index=witness.index(worst),
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
            reason = words.ill_conditioned(witness.name(worst), own[worst], spread[worst])
            return inconclusive(reason, witness.index(worst))
    if bent.any():
        worst = int(np.flatnonzero(bent)[0])
        return inconclusive(kink_reason(witness, v, worst, own[worst]), witness.index(worst))
    if (
        witness.replay is not None
        and witness.replay.kinks
        and (reason := hidden_kink(witness, seed, expected))
    ):
        return inconclusive(reason)
    if unsure.any():
        worst = int(np.argmax(np.where(unsure, doubt, -1)))
        reason = words.unsure(witness.name(worst), own[worst], expected[worst], doubt[worst])
        return inconclusive(reason, witness.index(worst))
    return report


def _relative(error: float, scale: float) -> float:
    return error / scale if scale > 0 else error


def _largest(values: np.ndarray) -> float:
    return float(np.max(values, initial=0.0))


def _mixes(trace: Trace, witness: Witness) -> bool:
    """True if a leaf's elements meet in an operator on whole arrays."""
    nodes = trace.nodes if witness.replay is None else witness.replay.varying.values()
    return any(isinstance(node, Applied) and node.operator.kind == "array" for node in nodes)


def _second_witness(
    witness: Witness,
    v: np.ndarray,
    wrong: np.ndarray,
    own: np.ndarray,
    expected: np.ndarray,
    measured: np.ndarray,
) -> bool:
    """True if a second way to differentiate, too, calls the worst few wrong elements wrong.

    It is differences, for a complex step; for differences, others with steps of other sizes. Where they
    cannot tell the two apart, the gradient must be FAR times farther away than rounding explains.
    """
    replay = witness.replay
    if replay is None:
        return True
    scale = relative_scale(np.asarray(replay.leaf.value))
    shift = 1.0 if witness.jacobian.method == COMPLEX_STEP else math.sqrt(1 / 3)
    with np.errstate(all="ignore"):
        error = np.abs(own - expected)
    for k in np.argsort(np.where(wrong, -error, 0))[: min(PROBES, int(wrong.sum()))]:
        direction, factor = witness.direction(scale, k)
        second = differences(replay, direction * shift)
        with np.errstate(all="ignore"):
            value = float(v @ second.value) / (factor * shift)
            doubt = float(np.abs(v) @ second.error) / (factor * shift)
        if abs(value - own[k]) <= doubt:
            if error[k] > FAR * measured[k] and abs(value - expected[k]) <= doubt:
                return True  # too close together for differences: neither is contradicted
        elif abs(value - expected[k]) < abs(value - own[k]):
            return True
    return False
