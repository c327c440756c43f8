"""What is to be computed, as data; and the one way to make it of what a caller has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch  # noqa: TID253 (imported only once there is a job)

from vjpcalc.diagnostics import Diagnostic, unknown
from vjpcalc.engines.yours import Yours
from vjpcalc.job.arguments import checked_name
from vjpcalc.job.use import operator, with_references
from vjpcalc.language.engine import Engine
from vjpcalc.language.interpret import run
from vjpcalc.language.syntax import parse
from vjpcalc.language.trace import Trace
from vjpcalc.language.tree import Program
from vjpcalc.limits import Limits
from vjpcalc.operators.row import Operator
from vjpcalc.tensors.arrays import as_tensor
from vjpcalc.tensors.dtypes import FLOATS, canonical, dtype_of
from vjpcalc.tensors.json import is_record

Use = Mapping[str, Operator | Callable[..., torch.Tensor]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """What is to be computed.

    ``inputs`` in the order given; ``wrt`` names the leaves (None: every floating input); ``seeds`` holds for
    each output the seeds of successive ``backward`` calls; ``dtype`` is that of numbers in the expression.
    """

    program: Program
    inputs: Mapping[str, torch.Tensor]
    seeds: Mapping[str, Sequence[torch.Tensor]] = field(default_factory=dict)
    wrt: Sequence[str] | None = None
    outputs: Sequence[str] = ()
    dtype: torch.dtype = torch.float64
    limits: Limits = field(default_factory=Limits)
    use: Mapping[str, Operator] = field(default_factory=dict)
    random_seed: int = 0

    def run(self, engine: Engine, inputs: Mapping[str, Any]) -> Trace:
        """Run the program on an engine, with inputs that are arrays of that engine. Raises Diagnostic."""
        return run(self.program, engine, inputs, outputs=self.outputs, limits=self.limits, use=self.use)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The names of the inputs that require a gradient. Raises Diagnostic (input) where there are none."""
        if self.wrt is None:
            floating = tuple(name for name, value in self.inputs.items() if value.is_floating_point())
            if not floating:
                what = "there are no inputs" if not self.inputs else "none of the inputs is floating-point"
                raise Diagnostic(
                    "input",
                    f"nothing to differentiate with respect to: {what}",
                    hint="give a leaf a value: x='[1, 2, 3]' (or x:float64=… for whole numbers from a file)",
                )
            return floating
        if not self.wrt:
            raise Diagnostic("input", "--wrt names no leaf", hint="leave it out, or name inputs: --wrt a,b")
        for name in self.wrt:
            if name not in self.inputs:
                raise unknown("input", f"--wrt: there is no input '{name}'", name, self.inputs)
            if not self.inputs[name].is_floating_point():
                dtype = dtype_of(self.inputs[name])
                raise Diagnostic(
                    "input",
                    f"'{name}' cannot be a leaf: it is {dtype}, and only floating-point ones have gradients",
                    hint=f"give it a dtype: {name}:float64=…",
                )
        return tuple(dict.fromkeys(self.wrt))


def make_job(
    expression: str | Program,
    inputs: Mapping[str, Any],
    *,
    seed: Any = None,
    wrt: Sequence[str] | str | None = None,
    outputs: Sequence[str] | str = (),
    dtype: str | torch.dtype | None = None,
    limits: Limits | None = None,
    use: Use | None = None,
    reference: Mapping[str, str] | None = None,
    random_seed: int = 0,
) -> Job:
    """A Job from texts, lists and arrays: the arguments are those of ``api.vjp``. Raises Diagnostic."""
    program = parse(expression) if isinstance(expression, str) else expression
    kind = parse_dtype(dtype)
    outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    names = outputs or (program.output,)
    if isinstance(seed, Mapping) and not is_record(seed):
        seeds = seed
    elif seed is None or len(names) == 1:
        seeds = {} if seed is None else {names[0]: seed}
    else:
        message = "there are several outputs: say which one the seed belongs to"
        raise Diagnostic("seed", message, hint=f"give seeds by name: {{'{names[0]}': …}}")

    def tensors(calls: Any) -> tuple[torch.Tensor, ...]:
        """The seeds of an output's ``backward`` calls: a tuple, or the seed of the only one."""
        calls = calls if isinstance(calls, tuple) else (calls,)
        return tuple(as_tensor(value, kind, "the seed", "seed") for value in calls)

    def yours(name: str, function: Operator | Callable[..., torch.Tensor]) -> Operator:
        """A row of the job's own: whoever runs it runs it under the job's dtype."""
        row = function if isinstance(function, Operator) else operator(name, function)
        assert row.function is not None
        return replace(row, function=Yours(row.function, kind))

    operators = {name: yours(name, function) for name, function in (use or {}).items()}
    return Job(
        program=program,
        inputs={
            checked_name(str(name)): as_tensor(value, kind, f"'{name}'") for name, value in inputs.items()
        },
        seeds={name: tensors(calls) for name, calls in seeds.items()},
        wrt=[wrt] if isinstance(wrt, str) else wrt,
        outputs=outputs,
        dtype=kind,
        limits=limits or Limits(),
        use=with_references(operators, reference or {}),
        random_seed=random_seed,
    )


def parse_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """A floating-point torch dtype by name or alias (default float64). Raises Diagnostic (usage)."""
    name = "float64" if dtype is None else canonical(str(dtype), "usage")
    if name not in FLOATS:
        raise unknown("usage", f"'{name}' is no floating-point dtype", name, FLOATS)
    return getattr(torch, name)
