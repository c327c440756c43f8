"""What rounding explains, measured where a model of it does not suffice.

Stochastic arithmetic (engines/noise.py): a computation is run a few times with every number in it moved at
random by one unit in the last place, and what its results range over is its rounding error.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np  # noqa: TID253 (imported only once there is something to check)
import torch  # noqa: TID253

from vjpcalc.check.derivative import COMPLEX_STEP, relative_scale
from vjpcalc.check.jacobian import evaluate
from vjpcalc.check.witness import Witness
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.noise import Noise, noises
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.job.autograd import backward, cotangents, forward
from vjpcalc.job.result import VJP
from vjpcalc.language.trace import Trace
from vjpcalc.stages import stage
from vjpcalc.tensors.dtypes import as_float64

SPREAD_FACTOR = 10.0  # a few runs see less than the whole spread, and torch's formula may lose more than ours
ASKED = 200  # elements at the most whose noise inside of operators is measured


@stage("noise")
def spread(result: Callable[[Noise], np.ndarray | None]) -> np.ndarray:
    """The width of the range that a result takes over the runs; inf where none gives one (but None)."""
    values = [value for value in map(result, noises()) if value is not None]
    with np.errstate(all="ignore"):
        return np.asarray(np.fmax.reduce(values) - np.fmin.reduce(values) if values else np.inf)


def smallest(dtype: torch.dtype) -> float:
    """What counts as 0 in a dtype: its smallest subnormal, or 2⁻⁵¹¹, the root of float64's smallest number.

    Below that, products that stand inside of a gradient underflow.
    """
    info = torch.finfo(dtype)
    return max(info.smallest_normal * info.eps, 2.0**-511)


def accuracy(trace: Trace, leaf: str) -> float:
    """The relative error that torch's own operators between a leaf and the outputs are known to have."""
    reached = {trace.inputs[leaf]}
    worst = 0.0
    for node in trace.applied:
        if any(source in reached for source in node.inputs):
            reached.add(node)
            worst = max(worst, node.operator.accuracy)
    return worst


class GradientNoise:
    """The rounding noise of torch's gradients, measured once for all leaves and only when somebody asks."""

    def __init__(self, vjp: VJP) -> None:
        self.vjp = vjp
        self._spreads: dict[str, np.ndarray] | None = None
        self._flow: float | None = None

    def spread(self, leaf: str) -> np.ndarray:
        """The width of the range that a leaf's gradient takes, shape (n,)."""
        if self._spreads is None:
            sizes = {name: gradient.numel() for name, gradient in self.vjp.gradients.items()}
            width = np.broadcast_to(spread(self._noisy), sum(sizes.values()))
            parts = np.split(width, np.cumsum(list(sizes.values()))[:-1])
            self._spreads = dict(zip(sizes, parts, strict=True))
        return self._spreads[leaf]

    def _noisy(self, noise: Noise) -> np.ndarray | None:
        """The gradients of one run, flattened and joined; None where rounding decides a branch."""
        job = self.vjp.job
        engine = TorchEngine(job.dtype, job.random_seed, noise)
        try:
            run = forward(job, engine)
            seeds = {name: [engine.perturb(seed.clone())] for name, seed in self.vjp.seeds.items()}
            gradients, _ = backward(run, seeds)
        except Diagnostic:
            return None
        return np.concatenate([as_float64(gradient).ravel() for gradient in gradients.values()])

    def flow(self, leaf: str) -> float:
        """The size of a gradient that nothing cancels in: the largest |value · cotangent| / |leaf|.

        The gradient of sum(softmax(x)) is 0, and its rounding error is small beside this, not beside 0.
        """
        if self._flow is None:
            again, arriving = cotangents(self.vjp.job, self.vjp.seeds)
            with np.errstate(all="ignore"):
                products = [
                    as_float64(again.trace.nodes[i].value) * as_float64(g) for i, g in arriving.items()
                ]
            self._flow = max((np.max(np.abs(product), initial=0.0) for product in products), default=0.0)
        largest = np.max(np.abs(as_float64(self.vjp.job.inputs[leaf])), initial=0.0)
        return self._flow / largest if largest > 0 and math.isfinite(self._flow) else 0.0


def reference_spread(witness: Witness, v: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far Jᵀ·v moves where the values inside of the reference's operators move by one ulp, shape (n,).

    torch's noise goes around its operators; a softmax or a gelu cancels inside of one. Measured for the
    elements that are ``wanted``, a few hundred at the most.
    """
    replay, jacobian = witness.replay, witness.jacobian
    width = np.zeros(wanted.shape)
    if replay is None or jacobian.method != COMPLEX_STEP:
        return width
    scale = relative_scale(np.asarray(replay.leaf.value))
    if jacobian.colours is not None:

        def noisy(noise: Noise) -> np.ndarray:
            along = functools.partial(replay.complex_step, noise=noise)
            return jacobian.transposed(v, evaluate(jacobian.layout, along, wanted))

        return spread(noisy)
    for k in np.flatnonzero(wanted)[:ASKED]:
        direction, factor = witness.direction(scale, k)
        along = functools.partial(replay.complex_step, direction)
        width[k] = spread(lambda noise, along=along: v @ along(noise)) / factor  # type: ignore[misc]
    return width
