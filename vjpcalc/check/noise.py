"""What rounding explains, measured where a model of it does not suffice.

Stochastic arithmetic (engines/noise.py): a computation is run a few times with every number in it moved at
random by one unit in the last place, and half of the range that its results take is their rounding error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check.jacobian import evaluate
from vjpcalc.check.witness import Witness
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.inside import with_rounding
from vjpcalc.engines.noise import WIDE, Noise, noises
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.job.autograd import backward, gradients_of
from vjpcalc.job.result import VJP, Forward
from vjpcalc.language.trace import Applied, Node, Trace, with_values
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64

COMPOSED = 3.0  # kernels that torch runs for an operator composed of others (`std`, `layer_norm`)
LINEAR = frozenset({"add", "sub", "rsub", "neg", "sum", "mean"})
CANCELS = 1e3  # times: what so much smaller than its terms has lost digits that a reader wants to know of
MOST = 0.25  # of all noise: an operator that makes so much by itself is named …
FEW_NODES, FEW_ELEMENTS = 64, 100_000  # … in programs up to this size: it takes two runs for each
JUMP = 8.0  # LOUD noise that moves a gradient less than this many times what one ulp does: it jumped
LOST = 0.1  # … where that is so much of it; less is what a kernel rounds inside, whatever it is given (lstsq)
ASKED = 200  # elements at the most whose noise inside of operators is measured


class Runs(NamedTuple):
    """So many runs, each with noise of so many ulps; one alone is set beside a still one."""

    number: int
    ulps: float = 1.0


# What every check makes, to see what cancels; and how much rounding can explain at all, for it answers in
# proportion. One ulp of a number just below 1 may be rounded away: `1 - sigmoid(x)` at 30.
LOUD = Runs(1, 64.0)
QUICK = Runs(2)  # in the lower precisions so much would be as large as the numbers
USUAL = Runs(6)  # once a number is in doubt …
THOROUGH = Runs(24)  # … and before it is called wrong: six can miss two effects that cancel by chance


def first_runs(eps: float) -> Runs:
    """The runs that every check makes where numbers are rounded to ``eps``."""
    return QUICK if eps >= WIDE else LOUD


def half_range(results: Iterable[np.ndarray | None]) -> np.ndarray:
    """Half the width of the range that results take (NaN apart); inf where there are none (but None)."""
    values = [value for value in results if value is not None]
    with np.errstate(all="ignore"):
        width = np.fmax.reduce(values) - np.fmin.reduce(values) if values else np.inf
    return np.asarray(width / 2)


def spread(results: Iterable[np.ndarray | None], still: np.ndarray) -> np.ndarray:
    """How far results move: one alone from what is ``still``, some by half of their range."""
    values = [value for value in results if value is not None]
    with np.errstate(all="ignore"):
        return np.abs(values[0] - still) if len(values) == 1 else half_range(values)


def without_jumps(moved: np.ndarray, louder: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The noise of numbers that are as large as ``value``, 0 where a number jumps.

    It moves as far for one ulp as for LOUD ones of the same draws, ``louder``: that is a choice, and no
    rounding, which answers in proportion.
    """
    return np.where((louder < JUMP * moved) & (moved > LOST * value), 0.0, moved)


def in_doubt(
    run: Callable[[Noise], np.ndarray | None], still: np.ndarray
) -> Callable[[np.ndarray, Runs], np.ndarray]:
    """The noise of what ``run`` gives, ``still`` without noise, as a judge asks for it.

    Nothing is run where nothing is doubtful.
    """

    made: dict[float, list[np.ndarray | None]] = {}

    def noise(doubtful: np.ndarray, runs: Runs) -> np.ndarray:
        if not doubtful.any():
            return np.zeros(doubtful.shape)
        own = made.setdefault(runs.ulps, [])
        own += map(run, noises(*runs, skip=len(own)))
        return spread(own[: runs.number], still) / runs.ulps

    return noise


def behind(trace: Trace, leaf: str) -> Iterator[Applied]:
    """The operators of a trace that a leaf has a part in, in order."""
    reached = {trace.inputs[leaf]}
    for node in trace.applied:
        if any(source in reached for source in node.inputs):
            reached.add(node)
            yield node


def depth_and_accuracy(trace: Trace, leaf: str) -> tuple[float, float]:
    """How often a leaf's gradient rounds in torch, and the relative error that its operators are known for.

    An operator rounds once forward and once backward, half an ulp each; a composed one COMPOSED times that.
    """
    depth, worst = 2.0, 0.0
    for node in behind(trace, leaf):
        worst = max(worst, node.operator.accuracy)
        depth += {"movement": 0.0, "composed": COMPOSED}.get(node.operator.kind, 1.0)
    return depth, worst


def cancelling(trace: Trace, leaf: str) -> Applied | None:
    """The sum or difference on a leaf's way in which most is lost: CANCELS times more goes in than comes out.

    It counts where its value has a part in a derivative: not in the last sum of a program.
    """
    matter: set[Node] = set()
    for node in reversed(trace.applied):
        if node in matter or not (node.operator.name in LINEAR or node.operator.kind == "movement"):
            matter.update(node.inputs)
    worst, most = None, CANCELS
    for node in behind(trace, leaf):
        if node in matter and node.operator.name in LINEAR and node.value.is_floating_point():
            sizes = [source.value.detach().abs() for source in (node, *node.inputs) if source.value.numel()]
            if len(sizes) > 1 and node.value.numel():
                least, largest = float(sizes[0].min()), max(float(size.max()) for size in sizes[1:])
                if least * most < largest:
                    worst, most = node, largest / least if least else float("inf")
    return worst


class GradientNoise:
    """The rounding noise of torch's gradients: each run serves all leaves, and is made once it is needed."""

    def __init__(self, vjp: VJP) -> None:
        self.vjp = vjp
        self._made: dict[tuple[float, bool], list[dict[str, np.ndarray] | None]] = {}

    def of_output(self, name: str, runs: Runs) -> np.ndarray:
        """How far an output moves, flattened."""
        return self.of(f"output {name}", lambda values: values, runs)

    def of(
        self,
        leaf: str,
        project: Callable[[np.ndarray], np.ndarray],
        runs: Runs,
        *,
        inside: bool = True,
    ) -> np.ndarray:
        """How far one ulp moves a leaf's gradient (n,), as it is compared (``project``), by some runs.

        ``inside`` says whether it counts what functions of the user's own round inside of them.
        """
        inside = inside and any(node.operator.function for node in self.vjp.trace.applied)
        made = self._made.setdefault((runs.ulps, inside), [])
        for noise in noises(runs.number, skip=len(made)):  # the engine makes it loud
            made.append(self._run(noise, runs.ulps, inside))
        values = (None if run is None else project(run[leaf]) for run in made[: runs.number])
        return spread(values, project(self._still[leaf])) / runs.ulps

    @functools.cached_property
    def _still(self) -> dict[str, np.ndarray]:
        """What the job itself has given."""
        return _flattened(gradients_of(self.vjp.forward), self.vjp.forward.outputs)

    def loudest(self, leaf: str, project: Callable[[np.ndarray], np.ndarray], noise: float) -> Applied | None:
        """The operator whose own rounding moves a number of a leaf's gradient most; None if none stands out.

        One that does makes a MOST part of the ``noise`` that all make together. One that adds up, or works on
        whole matrices, is none: its arguments are ill-conditioned there. Large programs are not asked.
        """
        found, most = None, MOST * noise
        nodes = self.vjp.trace.applied
        if len(nodes) > FEW_NODES or sum(node.value.numel() for node in nodes) > FEW_ELEMENTS:
            return None
        for node in behind(self.vjp.trace, leaf):
            runs = [self._run(one, 1.0, inside=False, only=node) for one in noises(2)]
            moved = float(half_range(None if run is None else project(run[leaf]) for run in runs))
            if np.isfinite(moved) and moved > most:
                found, most = node, moved
        return None if found is None or found.operator.kind != "elementwise" else found

    @stage("noise")
    def _run(
        self, noise: Noise, ulps: float, inside: bool, only: Applied | None = None
    ) -> dict[str, np.ndarray] | None:
        """The gradients of one run, flattened; None where rounding decides a branch.

        With ``only``, no more than this node is moved.
        """
        job, trace = self.vjp.job, self.vjp.trace
        engine = TorchEngine(job.dtype, job.random_seed, noise, ulps, inside)
        still = TorchEngine(job.dtype, job.random_seed)
        leaves = {name: job.inputs[name].detach().requires_grad_() for name in job.leaves}
        values = {trace.inputs[name].index: leaf for name, leaf in leaves.items()}

        def get(node: Node) -> torch.Tensor:
            value: torch.Tensor = values[node.index] if node.index in values else node.value.detach()
            return value

        def run() -> tuple[Forward, Mapping[str, torch.Tensor]]:
            with engine.session():  # the program as it went: nothing is parsed, and no branch taken anew
                for node in trace.applied:
                    arguments = {name: with_values(value, get) for name, value in node.arguments.items()}
                    by = engine if only in (None, node) else still
                    values[node.index] = by.apply(node.operator, arguments)
            ends = {name: replace(node, value=get(node)) for name, node in trace.outputs.items()}
            forward = Forward(job, replace(trace, outputs=ends), leaves)
            return forward, backward(forward, {name: [seed] for name, seed in self.vjp.seeds.items()})[0]

        try:
            forward, gradients = (
                with_rounding(run, noise, job.dtype, ulps) if inside and only is None else run()
            )
        except (Diagnostic, RuntimeError, ValueError, IndexError):  # it goes another way than it went
            return None
        return _flattened(gradients, forward.outputs)


def _flattened(
    gradients: Mapping[str, torch.Tensor], outputs: Mapping[str, torch.Tensor]
) -> dict[str, np.ndarray]:
    named = {**gradients, **{f"output {name}": value for name, value in outputs.items()}}
    return {name: as_float64(value).ravel() for name, value in named.items()}


@stage("noise")
def reference_noise(witness: Witness, v: np.ndarray, wanted: np.ndarray, runs: Runs) -> np.ndarray:
    """How far Jᵀ·v moves where the values inside of the reference's operators move by an ulp, shape (n,).

    torch's noise goes around its operators; a softmax or a gelu cancels inside of one. Measured for the
    elements that are ``wanted``, a few hundred at the most; 0 where there is no complex step to measure by.
    """
    replay, jacobian = witness.replay, witness.jacobian
    width, runs = np.zeros(wanted.shape), runs._replace(number=max(runs.number, QUICK.number))
    if replay is None or not replay.analytic:
        return width
    scale = jacobian.layout.scale
    if jacobian.colours is not None:

        def noisy(noise: Noise) -> np.ndarray:
            along = functools.partial(replay.complex_step, noise=noise)
            return jacobian.transposed(v, evaluate(jacobian.layout, along, wanted))

        return half_range(noisy(noise) for noise in noises(*runs)) / runs.ulps
    for k in np.flatnonzero(wanted)[:ASKED]:
        direction, factor = witness.direction(scale, k)
        width[k] = half_range(v @ replay.complex_step(direction, noise) / factor for noise in noises(*runs))
    return width / runs.ulps
