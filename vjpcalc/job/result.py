"""A vector-Jacobian product and its verdict, as data. Who judges stands in ``check/``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from vjpcalc.diagnostics import FORMAT_VERSION, count
from vjpcalc.job.job import Job
from vjpcalc.language.trace import Trace
from vjpcalc.tensors.json import encode_number, to_record

if TYPE_CHECKING:
    import numpy as np
    import torch

PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"
OFF = "off"  # the status, and the method, of a check that nobody made


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


def _number(value: float | None) -> float | str | None:
    return None if value is None else encode_number(value)


@dataclass(frozen=True, kw_only=True)
class _Patterned:
    """Wrong numbers, and how to look for what they have in common."""

    look_for_pattern: Callable[[], str | None] | None = field(default=None, repr=False, compare=False)

    @functools.cached_property
    def pattern(self) -> str | None:
        """What the wrong elements have in common, in words; looked for once it is asked for."""
        return None if self.look_for_pattern is None else self.look_for_pattern()

    def __getstate__(self) -> dict[str, Any]:
        """To be pickled, it knows its pattern, and no longer how to look for it."""
        return {**self.__dict__, "pattern": self.pattern, "look_for_pattern": None}


@dataclass(frozen=True, kw_only=True)
class Fault(_Patterned):
    """What is wrong with the backward of a user's function at one node, be it right for the job's own seed.

    ``node`` is the node in a message, ``place`` its index in the job's trace, ``kind`` a key of FAULTS in
    check/nodes.py, ``cotangent`` the v that it was asked with, shaped like its value (None where it was not
    asked). ``got`` and ``expected`` are the worst element's, at ``index`` of the ``argument`` that it was
    handed to (None: along a random direction, or of all of it); ``wrong`` counts the wrong elements.
    ``reason`` is all of this as a sentence.
    """

    node: str
    place: int
    kind: str
    reason: str
    argument: str | None = None
    index: tuple[int, ...] | None = None
    got: float | None = None
    expected: float | None = None
    wrong: int = 0
    cotangent: np.ndarray | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "kind": self.kind,
            "argument": self.argument,
            "index": None if self.index is None else list(self.index),
            "got": _number(self.got),
            "expected": _number(self.expected),
            "wrong": self.wrong,
            "pattern": self.pattern,
            "cotangent": None if self.cotangent is None else to_record(self.cotangent),
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True)
class LeafCheck(_Patterned):
    """The verdict on one leaf: the gravest of its elements'.

    ``jt_seed`` is shaped like the leaf (None where it was not computed element by element), with NaN where
    nothing is to be expected: at a kink, and where no digit can be told. So are ``causes``, the Cause of each
    element, and ``left`` and ``right``, Jᵀ·seed from either side where an element is at a kink, NaN elsewhere
    (None without a kink). ``max_rel_error`` is the largest error of an element relative to this element, and
    ``digits`` the decimal digits that every element is right to: never more than rounding leaves of it.
    ``index`` is where the reason applies, ``got`` and ``expected`` the two numbers there (None where nothing
    is to be expected); ``wrong`` counts the wrong elements. ``fault`` is what is wrong with a function of the
    user's own on the leaf's way: the reason, where no element of this gradient is wrong (``got`` and
    ``expected`` are the fault's then).
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
    fault: Fault | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "jacobian_shape": list(self.jacobian_shape),
            "jt_seed": None if self.jt_seed is None else to_record(self.jt_seed),
            "max_abs_error": _number(self.max_abs_error),
            "max_rel_error": _number(self.max_rel_error),
            "tolerance": _number(self.tolerance),
            "reason": self.reason,
            "index": None if self.index is None else list(self.index),
            "differentiation": self.differentiation,
            "structure": self.structure,
            "got": _number(self.got),
            "expected": _number(self.expected),
            "wrong": self.wrong,
            "pattern": self.pattern,
            "digits": self.digits,
            "fault": None if self.fault is None else self.fault.to_dict(),
        }

    def sentences(self, name: str) -> list[str]:
        """What there is to say of the leaf called ``name``: how many are wrong, the reason, the pattern.

        Of one that has passed along random directions, what these cannot see.
        """
        if self.status == PASSED and self.jt_seed is None and self.tolerance is not None:
            # of a J with some dense columns only, these are added up
            how = "compared" if self.structure is None else "in part compared"
            which = "all" if self.structure is None else "those"
            return [
                f"{name}: {how} along random directions, which add {which} elements up: an error of one "
                f"element is hidden if, times the element, it is below some {self.tolerance:.1g}"
            ]
        if self.reason is None:
            return []
        size, reason = self.jacobian_shape[1], self.reason
        named = re.match(rf"{re.escape(name)}(\[|:| along )", reason) is not None
        if not self.wrong or size == 1:
            first = reason if named else f"{name}: {reason}"
        elif not named:
            first = f"{name}: {self.share}: {reason}"
        else:
            first = f"{name}: {self.share}, {'the worst ' if self.wrong > 1 else ''}{reason}"
        return [first] + ([f"pattern: {self.pattern}"] if self.pattern else [])

    @property
    def share(self) -> str:
        """How many of the leaf's elements are wrong: ``3 of 12 elements are wrong``."""
        size = count(self.jacobian_shape[1], "element")
        if self.causes is None and self.index is None:
            return f"wrong along {count(self.wrong, 'random direction')}"
        if self.causes is None:  # the others were added up
            return f"at least {self.wrong:,} of {size} {'is' if self.wrong == 1 else 'are'} wrong"
        if self.wrong == self.jacobian_shape[1]:
            return "both elements are wrong" if self.wrong == 2 else f"all {size} are wrong"
        return f"{self.wrong:,} of {size} {'is' if self.wrong == 1 else 'are'} wrong"


@dataclass(frozen=True)
class Check:
    """The verdict: the worst of the leaves'. ``method``: explicit, probe or forward; ``engine``: whose J.

    ``faults`` are those of the user's functions, the last node first. One that is OFF was not made, and has
    no leaves.
    """

    status: str
    method: str
    engine: str
    leaves: Mapping[str, LeafCheck] = field(default_factory=dict)
    faults: Sequence[Fault] = ()

    def __bool__(self) -> bool:
        """True only if it passed: neither an inconclusive check has, nor one that is off."""
        return self.status == PASSED

    def __str__(self) -> str:
        """The verdict in words, and below it what there is to say of each leaf."""
        lines = [f"check {self.status}: {self.how}"]
        for name, leaf in self.leaves.items():
            first, *more = leaf.sentences(name) or [""]
            lines += [f"  {first}"] * bool(first) + [f"    {sentence}" for sentence in more]
        return "\n".join(lines)

    @property
    def how(self) -> str:
        """How the check was made, in words: what is the same for all leaves once, the sizes of J by leaf."""
        if self.status == OFF:
            return "nothing was checked (check='off'): it is neither right nor wrong"
        leaves = self.leaves
        sizes = ", ".join(
            f"{name} {'×'.join(map(str, leaf.jacobian_shape))}" for name, leaf in leaves.items()
        )
        ways = dict.fromkeys(leaf.differentiation for leaf in leaves.values() if leaf.differentiation)
        by = f" by {' / '.join(ways)}" if ways and self.method != "forward" else ""
        words = {
            "explicit": f"explicit J ({sizes})",
            "probe": f"random directions in place of J ({sizes})",
            "forward": f"torch's forward mode ({sizes}): not an independent witness",
        }[self.method]
        return f"{words}{by}, engine {self.engine}"

    def require(self, *, strict: bool = True) -> Check:
        """This check, if it passed; ``strict=False`` lets an inconclusive one pass, as the command line does.

        Raises CheckFailed, an AssertionError whose message is the verdict in words; whoever requires a check
        that is off is told so in any case.
        """
        if self.status in (FAILED, OFF) or (strict and self.status != PASSED):
            raise CheckFailed(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        if self.status == OFF:
            return {"status": OFF, "method": OFF}
        leaves = {name: leaf.to_dict() for name, leaf in self.leaves.items()}
        return {"status": self.status, "method": self.method, "engine": self.engine, "leaves": leaves}


UNCHECKED = Check(OFF, OFF, "")


class CheckFailed(AssertionError):  # noqa: N818 (it is an assertion that failed, no mistake of the caller's)
    """A check that did not pass, where one was required: ``check`` is its verdict."""

    def __init__(self, check: Check) -> None:
        super().__init__(check)
        self.check = check


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
    check: Check = UNCHECKED

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
            "check": self.check.to_dict(),
            "notes": list(self.notes),
        }
