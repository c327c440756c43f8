"""The check: Jᵀ·seed from the reference engine's Jacobian against the gradient that ``backward`` gave.

For each leaf a witness is made, what is known of its numbers is put together, and judge.py says of each
number what became of it. The leaf has the gravest cause of its elements, and the check the gravest of its
leaves'.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is something to check)

from vjpcalc.check import words
from vjpcalc.check.compared import comparable, has_two_slopes, numbers_of
from vjpcalc.check.derivative import COMPLEX_STEP
from vjpcalc.check.functions import Functions
from vjpcalc.check.jacobian import distance
from vjpcalc.check.judge import BEYOND, NOISE_FACTOR, Numbers, Verdict, digits, judge, too_small
from vjpcalc.check.nodes import node_faults, with_faults
from vjpcalc.check.noise import (
    JUMP,
    LOST,
    LOUD,
    THOROUGH,
    GradientNoise,
    Runs,
    behind,
    cancelling,
    depth_and_accuracy,
    reference_noise,
    without_jumps,
)
from vjpcalc.check.nonfinite import backward_origin, forward_origin, output_not_finite
from vjpcalc.check.pattern import dimensions, pattern, suspects
from vjpcalc.check.reference import differs, reference_trace
from vjpcalc.check.references import reference_faults
from vjpcalc.check.rounding import EPS
from vjpcalc.check.witness import Witness, witness
from vjpcalc.check.zeros import is_zero
from vjpcalc.engines.noise import ON_MATRICES
from vjpcalc.job.faults import functions
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED, VJP, Cause, Check, LeafCheck
from vjpcalc.language.naming import text_of
from vjpcalc.language.trace import Applied
from vjpcalc.limits import DEFAULT_LIMIT, require_digits, require_method
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64

SUMMED = 4.0  # times the root of the summands: torch adds them one after the other where it scatters
FEW_DIGITS = 8  # a forward that is rounded to float32 or worse leaves fewer than these of a derivative
COARSE = 2.0**-40  # what a value is rounded to, relative, that is computed in less than float64


@stage("check")
def check(
    vjp: VJP,
    method: str = "auto",
    *,
    limit: int = DEFAULT_LIMIT,
    digits: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    asks: bool = True,
) -> VJP:
    """The same VJP with its check.

    ``method`` is one of limits.METHODS; ``auto`` takes ``explicit`` up to ``limit`` element operations,
    else ``probe``. ``digits`` is how many a pass needs (default: at least one). ``progress`` is told leaf,
    columns done, columns in all. It ``asks`` the user's functions for their faults (nodes.py). Raises
    Diagnostic (usage) for another method, or digits that no number has.
    """
    require_method(method)
    require_digits(digits)
    if method == "off":
        return vjp
    noise = GradientNoise(vjp)
    trace, trouble = reference_trace(vjp.forward)
    if trace is not None:
        trouble = differs(trace, vjp.forward, lambda name: noise.of_output(name, THOROUGH))
        trace = None if trouble else trace
    faults, notes = reference_faults(vjp) if asks else ([], [])
    leaves: dict[str, LeafCheck] = {}
    witnesses: dict[str, Witness] = {}
    if trace is None:
        m = sum(output.numel() for output in vjp.outputs.values())
        for name, gradient in vjp.gradients.items():
            shape = (m, gradient.numel())
            leaves[name] = LeafCheck(status=INCONCLUSIVE, jacobian_shape=shape, reason=trouble)
    else:
        own = Functions(trace, vjp.job.use, limit)
        for name in vjp.gradients:
            tell = None if progress is None else functools.partial(progress, name)
            whole = own.whole(name, tell) if method == "auto" else None
            witnesses[name] = whole or witness(vjp.forward, trace, name, method, limit, tell, own.linear)
        faults += node_faults(vjp, own) if asks else []
        faulty = {name for fault in faults for name in fault.leaves}
        for name, one in witnesses.items():
            leaves[name] = judge_leaf(vjp, one, noise, digits or 1, faulty=name in faulty, others=leaves)
    for name, one in witnesses.items():
        if leaves[name].status == PASSED and (unit := _rounded(own, one, leaves[name])):
            notes.append(f"{name}: {words.rounded_forward(leaves[name].digits or 0, unit)}")
    leaves = with_faults(leaves, faults)
    statuses = {leaf.status for leaf in leaves.values()}
    status = next((status for status in (FAILED, INCONCLUSIVE) if status in statuses), PASSED)
    if methods := [one.method for one in witnesses.values()]:
        method = "probe" if "probe" in methods else methods[0]
    elif method == "auto":
        method = "explicit"
    made = Check(
        status,
        method,
        "torch" if method == "forward" else "numexpr",
        leaves,
        tuple(fault.told for fault in faults),
    )
    return replace(vjp, check=made, notes=(*vjp.notes, *notes))


@stage("judge")
def judge_leaf(
    vjp: VJP,
    witness: Witness,
    noise: GradientNoise,
    required: int = 1,
    *,
    faulty: bool = False,
    others: Mapping[str, LeafCheck] | None = None,
) -> LeafCheck:
    """The verdict on one leaf; a pass needs ``required`` digits.

    Of one that a function of the user's own has made ``faulty`` no second opinion is asked. ``others`` will
    have the verdicts on the other leaves, once it is asked what a wrong gradient is equal to.
    """
    name = witness.jacobian.leaf
    gradient = vjp.gradients[name]
    seed = np.concatenate([as_float64(vjp.seeds[output]).ravel() for output in vjp.outputs])
    numbers = numbers_of(witness, as_float64(gradient).ravel(), seed, gradient.dtype)
    depth, accuracy = depth_and_accuracy(vjp.trace, name)
    summed = numbers.eps * SUMMED * np.sqrt(witness.jacobian.crowded)
    numbers = replace(numbers, depth=depth, accuracy=accuracy + summed)
    if faulty:
        numbers = replace(numbers, slopes=None)
    else:
        v = witness.seed(seed)
        numbers = replace(
            numbers,
            noise=functools.partial(_noise, witness, v, numbers, noise),
            is_zero=functools.partial(is_zero, witness, v, eps=numbers.eps),
        )
    return leaf_check(
        vjp, witness, numbers, judge(numbers, required), noise, {} if others is None else others
    )


def _noise(
    witness: Witness,
    v: np.ndarray,
    numbers: Numbers,
    torch_noise: GradientNoise,
    doubtful: np.ndarray,
    runs: Runs,
) -> np.ndarray:
    """How far rounding moves the numbers of a leaf: torch's gradient, and where in doubt the reference's too.

    Noise of torch's own backward is no excuse where the reference is steady and torch's gradient jumps
    (`det` at a singular matrix).
    """
    name = witness.jacobian.leaf
    eps = numbers.eps
    in_doubt = bool(doubtful.any())
    moved = torch_noise.of(name, witness.projected, runs, inside=in_doubt)
    if not in_doubt:
        return moved
    reference = (eps / EPS) * reference_noise(witness, v, doubtful, runs)
    if witness.jacobian.method == COMPLEX_STEP and runs.ulps < LOUD.ulps:
        value = np.fmax(np.abs(numbers.gradient), np.abs(numbers.expected))
        steady = doubtful & (moved > np.fmax(JUMP * np.fmax(reference, eps * numbers.size), LOST * value))
        if steady.any():
            loud = runs._replace(ulps=LOUD.ulps)  # the same draws
            louder = LOUD.ulps * torch_noise.of(name, witness.projected, loud)
            moved = np.where(steady, without_jumps(moved, louder, value), moved)
    # an algorithm on whole matrices errs by the size of the largest element, not of each one
    whole = eps * numbers.depth * np.max(numbers.size, initial=0.0) if _on_matrices(witness) else 0.0
    return np.fmax(moved, reference) + whole / NOISE_FACTOR


def _on_matrices(witness: Witness) -> bool:
    """True if a leaf goes through an algorithm on whole matrices."""
    nodes = () if witness.replay is None else witness.replay.varying.values()
    return any(isinstance(node, Applied) and node.operator.family in ON_MATRICES for node in nodes)


def leaf_check(
    vjp: VJP,
    witness: Witness,
    numbers: Numbers,
    verdict: Verdict,
    noise: GradientNoise,
    others: Mapping[str, LeafCheck],
) -> LeafCheck:
    """The verdict on a leaf's numbers, as data for a report."""
    jacobian = witness.jacobian
    shape = witness.shape
    explicit = witness.directions is None
    cause = verdict.cause
    with np.errstate(all="ignore"):
        error = distance(numbers.gradient, verdict.expected)
        relative = error / np.fmax(np.abs(numbers.gradient), np.abs(verdict.expected))
    unknown = verdict.unknown
    nothing = unknown | np.isnan(verdict.expected)
    comparable = np.isfinite(error) & (error > 0) & ~unknown
    compared = jacobian.layout.compared
    worst = verdict.worst(numbers, compared)
    wrong = verdict.causes == Cause.WRONG

    def shaped(values: np.ndarray) -> np.ndarray | None:
        return values.reshape(shape) if explicit else None

    def side(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else shaped(np.where(verdict.causes == Cause.KINK, values, np.nan))

    return LeafCheck(
        status=cause.status,
        jacobian_shape=(
            sum(seed.numel() for seed in vjp.seeds.values()),
            vjp.gradients[jacobian.leaf].numel(),
        ),
        jt_seed=shaped(np.where(unknown, np.nan, verdict.expected)),
        max_abs_error=None if nothing.all() else float(np.max(error[comparable], initial=0.0)),
        max_rel_error=None if nothing.all() else float(np.max(relative[comparable], initial=0.0)),
        tolerance=float(
            verdict.tolerance[worst] if worst is not None else verdict.tolerance.max(initial=0.0)
        ),
        differentiation=jacobian.method,
        structure=witness.structure,
        digits=_whole(verdict, numbers) if cause in (Cause.PASSED, Cause.ILL_CONDITIONED) else None,
        causes=shaped(verdict.causes),
        left=side(numbers.left),
        right=side(numbers.right),
        wrong=int(wrong[:compared].sum() or wrong.sum()),
        index=None if worst is None else witness.index(worst),
        got=None if worst is None else float(numbers.gradient[worst]),
        expected=None if worst is None or nothing[worst] else float(verdict.expected[worst]),
        reason=None if worst is None else _reason(vjp, witness, numbers, verdict, noise, worst),
        look_for_pattern=functools.partial(_pattern, vjp, witness, numbers, verdict, others),
    )


def _rounded(functions: Functions, witness: Witness, leaf: LeafCheck) -> float | None:
    """To what part of themselves values on a leaf's way are rounded, where that leaves few digits of it."""
    replay = witness.replay
    if replay is None or replay.eps <= EPS or not leaf.digits or leaf.digits >= FEW_DIGITS:
        return None
    unit = functions.rounded_to(replay)
    return unit if COARSE < unit < 1 else None


def _pattern(
    vjp: VJP, witness: Witness, numbers: Numbers, verdict: Verdict, others: Mapping[str, LeafCheck]
) -> str | None:
    """What the wrong numbers have in common, in words; along random directions a factor alone can be seen."""
    wrong, known = comparable(numbers, verdict)
    if not wrong.any():
        return None
    name = witness.jacobian.leaf
    shapes = {name: witness.shape} | {output: tuple(seed.shape) for output, seed in vjp.seeds.items()}
    shapes |= {other: tuple(value.shape) for other, value in vjp.job.inputs.items()}
    seeds = {output: as_float64(seed) for output, seed in vjp.seeds.items()}
    once = np.unique(np.concatenate([seed.ravel() for seed in seeds.values()]))
    more: dict[str, Any] = {
        "sizes": dimensions(shapes),
        "seed": float(once[0]) if once.size == 1 else None,
        "yours": any(node.operator.function for node in behind(vjp.trace, name)),
    }
    if witness.directions is not None:
        return pattern(numbers.gradient, verdict.expected, wrong, verdict.tolerance, known=known, **more)
    if witness.end is not None:
        seeds = {"": witness.seed(np.concatenate([v.ravel() for v in seeds.values()]))}
    gradient, expected, wrong, tolerance, known = (
        part.reshape(witness.shape)
        for part in (numbers.gradient, verdict.expected, wrong, verdict.tolerance, known)
    )
    return pattern(
        gradient, expected, wrong, tolerance, known=known, name=name,
        values=as_float64(vjp.job.inputs[name]),
        suspects=suspects(witness.jacobian, seeds, witness.shape),
        others={
            other: (as_float64(vjp.gradients[other]), leaf.jt_seed)
            for other, leaf in others.items()
            if other != name and leaf.jt_seed is not None
        },
        **more,
    )  # fmt: skip


def _whole(verdict: Verdict, numbers: Numbers) -> int:
    """Whole digits, at most those that the dtype has."""
    return int(max(0.0, min(verdict.digits, round(digits(numbers.eps)))))


def _reason(
    vjp: VJP, witness: Witness, numbers: Numbers, verdict: Verdict, noise: GradientNoise, k: int
) -> str:
    """What there is to say of the k-th number, which has not passed."""
    name, cause = witness.name(k), Cause(int(verdict.causes[k]))
    gradient, expected = float(numbers.gradient[k]), float(verdict.expected[k])
    if not np.isfinite(gradient):
        index = witness.index(k)
        origin = forward_origin(vjp.trace)
        if index is not None:
            origin = backward_origin(vjp, witness.jacobian.leaf, index) or origin
        made = None if origin is None else origin.text
        if cause == Cause.WRONG:
            operator = None if origin is None else origin.operator
            remedy = None if operator is None else words.remedy(operator.name)
            return words.not_finite_gradient(name, gradient, expected, made, remedy)
        what = f"{name}: the gradient is {words.not_finite(gradient)}"
        return f"{what}: {made}" if made else what
    if not np.isfinite(expected):
        if cause == Cause.KINK:
            return _kink(vjp, witness, numbers, verdict, k)
        if (why := output_not_finite(vjp)) is not None:
            return why
        if numbers.coarse:
            return words.no_slope(name, gradient)
        return f"{name}: Jᵀ·seed is not finite in the reference engine"
    if cause == Cause.WRONG and not has_two_slopes(numbers, verdict, k):
        return words.apart(name, gradient, expected)
    if cause in (Cause.KINK, Cause.WRONG):
        return _kink(vjp, witness, numbers, verdict, k)
    if cause == Cause.ILL_CONDITIONED and 1 <= (left := digits(float(verdict.relative[k]))) < np.inf:
        return words.not_enough_digits(name, int(left))
    if cause == Cause.ILL_CONDITIONED:
        leaf = witness.jacobian.leaf
        if (node := cancelling(vjp.trace, leaf)) is not None:
            return words.few_digits(name, 0, text_of(node, vjp.trace))
        if (
            node := noise.loudest(leaf, lambda g: witness.projected(g)[k], float(verdict.noise[k]))
        ) is not None:
            return words.rounded_away(name, text_of(node, vjp.trace))
        return words.ill_conditioned(name, gradient, float(verdict.noise[k]))
    if max(abs(gradient), abs(expected)) <= too_small(numbers)[k]:
        return words.too_small(name, gradient, expected)
    if numbers.coarse and abs(gradient - expected) <= verdict.doubt[k] * BEYOND:
        return words.unsure(name, gradient, expected, float(verdict.doubt[k]))
    return words.undecided(name, gradient, expected)


def _kink(vjp: VJP, witness: Witness, numbers: Numbers, verdict: Verdict, k: int) -> str:
    jacobian = witness.jacobian
    kinks = witness.replay.kinks if witness.replay is not None else []
    operators = sorted({kink.operator.infix or kink.operator.name for kink in kinks})
    seen = verdict.slopes.get(k)
    if seen is not None and seen.together:
        return words.hidden_kink(operators, int(np.prod(witness.shape)))
    if jacobian.flipped is not None and not operators:
        what = "a branch that flips: the condition is decided at this very point"
    else:
        what = "a kink" + words.of(operators)
    sides = [float(side[k]) for side in (numbers.left, numbers.right) if side is not None]
    if not sides and seen is not None:
        sides = [seen.left, seen.right]
    gradient = float(numbers.gradient[k])
    if not operators and jacobian.flipped is None and not (sides and np.isfinite(sides).all()):
        return words.no_step(witness.name(k), gradient)
    yours = not operators and any(
        node.operator.function and any(functions([node.value.grad_fn]))
        for node in behind(vjp.trace, jacobian.leaf)
    )
    return words.kink(witness.name(k), what, sides, gradient, *([words.YOURS] if yours else []))
