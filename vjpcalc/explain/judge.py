"""Whether one step of the walk is right: torch's backward of one node, by its rule and by the check.

A rule that agrees within a few roundings of each element, and what it loses to rounding itself, confirms a
step. Where it does not, where there is none, or where the operator is at a kink, the node is made a job of
its own, which is checked like any other: with the noise of torch's backward, by differentiating the forward,
and from both sides. So a step is never called wrong by a rule alone, and no kink is hidden by a convention
that torch and the rule share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a step to judge)
import torch  # noqa: TID253

from vjpcalc.check import verdict, words
from vjpcalc.check.alone import job_of_one
from vjpcalc.check.compared import ONE_NODE
from vjpcalc.check.jacobian import distance
from vjpcalc.check.judge import Numbers, judge
from vjpcalc.check.noise import in_doubt
from vjpcalc.check.nonfinite import SEED
from vjpcalc.diagnostics import Diagnostic, element_name
from vjpcalc.engines.noise import Noise
from vjpcalc.engines.torch import smallest_subnormal
from vjpcalc.explain.rules import has_rule, run_rule
from vjpcalc.explain.simplify import simplified
from vjpcalc.job.autograd import compute
from vjpcalc.job.job import Job
from vjpcalc.job.result import FAILED, INCONCLUSIVE, PASSED, LeafCheck
from vjpcalc.language.scope import BadReference
from vjpcalc.language.trace import Applied, with_arrays
from vjpcalc.operators.row import Operator


@dataclass(frozen=True, eq=False)
class Judgement:
    """``value`` is what torch should hand on, NaN where nothing is to be expected.

    ``left`` and ``right`` are what it would be from either side of a kink, NaN elsewhere.
    """

    value: np.ndarray
    status: str
    max_abs_error: float
    reason: str | None = None
    causes: np.ndarray | None = None
    pattern: str | None = None
    left: np.ndarray | None = None
    right: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule at one node: its text, simplified, over ``values``, the arguments with g and y.

    ``cotangents`` are what it hands to each tensor of the parameter, with the shape before broadcasting was
    undone.
    """

    text: str
    parameter: str
    values: Mapping[str, Any]
    cotangents: list[tuple[np.ndarray, tuple[int, ...]]]

    @classmethod
    def of(cls, operator: Operator, parameter: str, values: Mapping[str, Any]) -> Rule | None:
        """The row's rule for a parameter; None where it cannot be run."""
        if not has_rule(operator, parameter):
            return None
        text = simplified(operator.vjp[parameter], values)
        try:
            return cls(text, parameter, values, run_rule(text, parameter, values))
        except Diagnostic:
            return None

    def noisy(self, place: int, eps: float, noise: Noise) -> np.ndarray:
        """What it hands to one tensor where each number that it sees is moved by up to ``eps`` of itself."""

        def move(array: np.ndarray) -> np.ndarray:
            if array.dtype.kind != "f":
                return array
            with np.errstate(all="ignore"):
                return array + noise(array.shape) * np.where(np.isfinite(array), array, 0.0) * eps

        moved = {name: with_arrays(value, move) for name, value in self.values.items()}
        return run_rule(self.text, self.parameter, moved)[place][0]


def by_rule(
    handed: np.ndarray,
    expected: np.ndarray,
    noisy: Callable[[Noise], np.ndarray],
    dtype: torch.dtype,
    accuracy: float,
) -> Judgement | None:
    """That torch's cotangent is what the rule gives; None where the two are apart.

    ``noisy`` runs the rule with every number in it moved.
    """
    if handed.shape != expected.shape:
        return None
    info = torch.finfo(dtype)
    own, by_rule = handed.ravel(), expected.ravel()
    numbers = Numbers(
        gradient=own, expected=by_rule, size=np.fmax(np.abs(own), np.abs(by_rule)),
        doubt=np.zeros(own.shape), bent=np.zeros(own.shape, bool), eps=info.eps, depth=ONE_NODE,
        accuracy=accuracy, smallest=smallest_subnormal(dtype), largest=info.max,
        noise=in_doubt(lambda noise: noisy(noise).ravel(), by_rule),
    )  # fmt: skip
    if judge(numbers).cause.status != PASSED:
        return None
    return Judgement(expected, PASSED, float(np.max(distance(own, by_rule), initial=0.0)))


CONSTANT = LeafCheck(status=PASSED, jacobian_shape=(0, 0))  # of a tensor that is handed nothing


def checked(
    job: Job, node: Applied, g: torch.Tensor, names: Mapping[int, str], limit: int
) -> list[LeafCheck | str]:
    """The check of a node alone, for the cotangent ``g``: of each of its tensors the verdict, in order.

    A text says why there is none.
    """
    one = job_of_one(job, node, g, names)
    try:
        made = verdict.check(compute(one), digits=None, limit=limit, asks=False).check
    except BadReference:
        raise
    except Diagnostic as diagnostic:
        return [diagnostic.message] * len(one.inputs)
    assert made is not None
    arrived = f"{names[node.index]}.grad"
    return [
        replace(leaf, reason=leaf.reason and leaf.reason.replace(SEED, arrived))
        for leaf in (made.leaves.get(name, CONSTANT) for name in one.inputs)
    ]


def by_check(
    leaf: LeafCheck | str, name: str, handed: np.ndarray, rule: np.ndarray | None, source: str
) -> Judgement:
    """The verdict on what is handed to one tensor, called ``name``, alone.

    What should have been handed on is what the ``rule`` gives, else Jᵀ·g of the node, whose ``source`` was
    differentiated.
    """
    shown = handed if rule is None else rule
    if isinstance(leaf, str):
        return Judgement(shown, INCONCLUSIVE, 0.0, f"{name}: {leaf}")
    if shown.shape != handed.shape:
        shapes = f"{name}.grad: torch hands on the shape {handed.shape}, the rule says {shown.shape}"
        return Judgement(shown, FAILED, float("inf"), shapes)
    value = shown if leaf.jt_seed is None or (rule is not None and leaf.status != FAILED) else leaf.jt_seed
    if leaf.status == FAILED and rule is not None and leaf.jt_seed is not None:
        # where the rule says 0 · infinity, as torch does, it is not right
        value = np.where(distance(rule, value) <= distance(rule, handed), rule, value)
    reason = None if leaf.status == PASSED else leaf.sentences(name)[0]
    if leaf.status == FAILED and leaf.got is not None and leaf.expected is not None:
        expected, place = leaf.expected, " along a random direction"
        if leaf.index is not None:
            place = element_name("", leaf.index)
            if leaf.jt_seed is not None:
                expected = float(value[leaf.index])
                ruled = rule is not None and expected == rule[leaf.index]
                source = "the rule says" if ruled else source
        own, right = words.told_apart(leaf.got, expected)
        reason = f"{name}.grad{place}: torch hands on {own}, {source} {right}"
    return Judgement(
        value, leaf.status, leaf.max_abs_error or 0.0, reason, leaf.causes,
        leaf.pattern if leaf.status == FAILED else None, leaf.left, leaf.right,
    )  # fmt: skip
