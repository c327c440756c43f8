"""A vector-Jacobian product and its verdict, as data. Who judges stands in ``check/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from vjpcalc.diagnostics import FORMAT_VERSION
from vjpcalc.job.job import Job
from vjpcalc.language.trace import Trace
from vjpcalc.tensors.json import encode_number, to_record

if TYPE_CHECKING:
    import numpy as np
    import torch

PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"


class Cause(IntEnum):
    """What became of one number that was compared, from the best to the gravest."""

    PASSED = 0
    UNSURE = 1  # the witness cannot tell
    KINK = 2  # there is no slope at this point
    ILL_CONDITIONED = 3  # rounding leaves no digit
    WRONG = 4

    @property
    def status(self) -> str:
        return {Cause.PASSED: PASSED, Cause.WRONG: FAILED}.get(self, INCONCLUSIVE)


@dataclass(frozen=True, kw_only=True)
class LeafCheck:
    """The verdict on one leaf: the gravest of its elements'.

    ``jt_seed`` is shaped like the leaf (None where it was not computed element by element), and so are
    ``causes``, the Cause of each element, and ``left`` and ``right``, Jᵀ·seed from either side where an
    element is at a kink, NaN elsewhere (None without a kink). ``max_rel_error`` is the largest error of an
    element relative to this element, and ``digits`` the decimal digits that every element is right to: never
    more than rounding leaves of it. ``index`` is where the reason applies, ``got`` and ``expected`` the two
    numbers there; ``wrong`` counts the wrong elements; ``pattern`` says in words what they have in common.
    """

    status: str
    jacobian_shape: tuple[int, int]
    jt_seed: np.ndarray | None = None
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    tolerance: float | None = None
    reason: str | None = None
    index: tuple[int, ...] | None = None
    differentiation: str | None = None
    structure: str | None = None
    digits: int | None = None
    causes: np.ndarray | None = None
    left: np.ndarray | None = None
    right: np.ndarray | None = None
    got: float | None = None
    expected: float | None = None
    wrong: int = 0
    pattern: str | None = None

    def to_dict(self) -> dict[str, Any]:
        def number(value: float | None) -> float | str | None:
            return None if value is None else encode_number(value)

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


@dataclass(frozen=True, eq=False)
class Forward:
    """A forward run of a job in torch: its trace, and the leaves by name."""

    job: Job
    trace: Trace
    leaves: dict[str, torch.Tensor]

    @property
    def outputs(self) -> dict[str, torch.Tensor]:
        return {name: node.value.detach() for name, node in self.trace.outputs.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class VJP:
    """A vector-Jacobian product: for each leaf the gradient Jᵀ·seed.

    ``outputs``, ``seeds`` and ``gradients`` are torch tensors by name; a gradient is shaped like its leaf.
    ``seeds`` are the sums over the ``backward_calls``. ``notes`` say what a reader would want to be told.
    """

    expression: str
    outputs: dict[str, torch.Tensor]
    seeds: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]
    backward_calls: int
    notes: tuple[str, ...]
    forward: Forward = field(repr=False)
    check: Check | None = None

    @property
    def job(self) -> Job:
        return self.forward.job

    @property
    def trace(self) -> Trace:
        return self.forward.trace

    def to_dict(self) -> dict[str, Any]:
        """The JSON document: plain dicts, lists, texts and numbers, non-finite numbers as texts."""

        def records(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
            return {name: to_record(tensor) for name, tensor in tensors.items()}

        return {
            "format_version": FORMAT_VERSION,
            "expression": self.expression,
            "outputs": records(self.outputs),
            "seeds": records(self.seeds),
            "gradients": records(self.gradients),
            "backward_calls": self.backward_calls,
            "check": self.check.to_dict() if self.check is not None else {"status": "off", "method": "off"},
            "notes": list(self.notes),
        }
