"""One node of a trace by itself: on the reference engine, and in torch with its backward."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253

from vjpcalc.diagnostics import Source
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.engines.yours import default_dtype
from vjpcalc.job.autograd import dense
from vjpcalc.job.job import Job
from vjpcalc.language.engine import Engine
from vjpcalc.language.interpret import Interpreter
from vjpcalc.language.trace import Applied, Kink, Node, Trace, nodes_in, with_values
from vjpcalc.limits import Limits
from vjpcalc.operators.registry import table
from vjpcalc.operators.row import Operator
from vjpcalc.tensors.dtypes import as_float64


def alone(node: Applied, use: Mapping[str, Operator] | None = None) -> Trace:
    """This node alone on the reference engine; its tensors are the inputs ``argument 0`` and so on.

    ``use`` are the user's functions, which a reference of the node's may call.
    """
    walk, arguments = arguments_of(node, use)
    return _run(walk, node, arguments, "y")


def arguments_of(node: Applied, use: Mapping[str, Operator] | None) -> tuple[Interpreter, Mapping[str, Any]]:
    """The reference engine with nothing but a node's arguments."""
    source = Source("", "one node")
    walk = _interpreter(node, use, ReferenceEngine(), source)
    inputs = {f"argument {k}": as_float64(one.value) for k, one in enumerate(node.inputs)}
    return walk, _lifted(walk, node, inputs)


@dataclass(frozen=True, eq=False, kw_only=True)
class JobOfOne(Job):
    """A job that is one ``node`` of a trace of torch's: its tensors are the inputs, in order.

    So what is computed and checked of a whole program can be of one operator in it. ``program`` is the whole
    one, whose text says what the node is called.
    """

    node: Applied

    def run(self, engine: Engine, inputs: Mapping[str, Any]) -> Trace:
        """The node on an engine, with inputs that are arrays of that engine. Raises Diagnostic."""
        site = self.node.span, self.node.iterations
        walk = _interpreter(self.node, self.use, engine, self.program.source, site)
        return _run(walk, self.node, _lifted(walk, self.node, inputs), *self.outputs)


def job_of_one(job: Job, node: Applied, seed: torch.Tensor, names: Mapping[int, str]) -> JobOfOne:
    """A node of a job's trace in torch as a job, with its cotangent for a ``seed``.

    Its leaves are the tensors that require a gradient. They are called by ``names``, by index; one that
    stands there twice by its parameter as well.
    """
    inputs, leaves = {}, []
    for (parameter, source), value in zip(tensors_of(node), node.inputs, strict=True):
        name = names[source.index]
        name = f"{name} ({parameter})" if name in inputs else name
        inputs[name] = as_it_was(value).detach()
        leaves += [name] if source.value.requires_grad else []
    return JobOfOne(
        program=job.program, inputs=inputs, seeds={names[node.index]: (seed,)}, wrt=leaves,
        outputs=(names[node.index],), dtype=job.dtype, limits=job.limits, use=job.use,
        random_seed=job.random_seed, node=node,
    )  # fmt: skip


def tensors_of(node: Applied) -> Iterator[tuple[str, Node]]:
    """The tensors among a node's arguments in order, and what to call each: ``x``, or ``tensors[0]``."""
    for parameter in node.operator.parameters:
        given = node.arguments[parameter.name]
        for place, source in enumerate(nodes_in(given)):
            several = isinstance(given, tuple | list)
            yield f"{parameter.name}[{place}]" if several else parameter.name, source


def has_kink(node: Applied) -> bool:
    """True if an operator of the table is at a kink, whoever calls it."""
    if not kinks_of(node.operator):
        return False
    walk, arguments = arguments_of(node, None)
    return bool(_noted(walk, node, arguments))


def _interpreter(
    node: Applied, use: Mapping[str, Operator] | None, engine: Engine, source: Source, site: Any = None
) -> Interpreter:
    own = {**(use or {}), node.operator.name: node.operator}
    return Interpreter(engine, Trace(source), source, Limits(), own, call_site=site)


def _lifted(walk: Interpreter, node: Applied, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A node's arguments with the inputs of a walk, in order, in place of its tensors."""
    waiting = iter(inputs.items())

    def lift(_: Node) -> Node:
        name, value = next(waiting)
        walk.trace.inputs[name] = walk.input(value, name=name)
        return walk.trace.inputs[name]

    return {p.name: with_values(node.arguments[p.name], lift) for p in node.operator.parameters}


def _run(walk: Interpreter, node: Applied, arguments: Mapping[str, Any], output: str) -> Trace:
    """What a node's operator leaves behind on a walk's engine."""
    operator, trace = node.operator, walk.trace
    if walk.engine.expands:
        _noted(walk, node, arguments)
    if operator.ref and walk.engine.expands:
        trace.outputs[output] = walk.expand(operator, arguments, None)
    else:
        made = walk.compute(operator, arguments, None)
        trace.outputs[output] = walk.applied(operator, arguments, made, None)
    return trace


def _noted(walk: Interpreter, node: Applied, arguments: Mapping[str, Any]) -> list[Kink]:
    """The kinks of a node, written down in the trace."""
    if row := kinks_of(node.operator):
        walk.note_kinks(row, arguments, None)
    return walk.trace.kinks


@functools.cache
def _wholes() -> dict[str, Operator]:
    """The rows of several results that have kinks, by the hidden rows that their results are."""
    wholes = {}
    for row in table():
        for text in row.fields.values() if row.kinks else ():
            wholes[text.partition("(")[0]] = row
    return wholes


def kinks_of(operator: Operator) -> Operator | None:
    """The row whose kinks are an operator's: itself, or for the values of ``sort`` that of ``sort``."""
    if operator.kinks:
        return operator
    return _wholes().get(operator.name) if operator.hidden else None


@dataclass(frozen=True, eq=False)
class ByItself:
    """A node applied once more in torch: ``tensors`` are its arguments in order, ``result`` what it gives.

    Those of its arguments are leaves that require a gradient in the job. ``dtype`` is the job's default.
    """

    tensors: tuple[torch.Tensor, ...]
    result: torch.Tensor
    dtype: torch.dtype

    def backward(self, cotangent: torch.Tensor, *, keep: bool = False) -> list[torch.Tensor | None]:
        """What torch's backward of this node hands to each argument: None to a constant, or for 0.

        With ``keep`` it can be asked again. Whatever the backward raises is raised.
        """
        wanted = [value for value in self.tensors if value.requires_grad]
        if not self.result.requires_grad or not wanted:
            return [None] * len(self.tensors)
        with default_dtype(self.dtype):
            gradients = iter(
                torch.autograd.grad(self.result, wanted, cotangent, allow_unused=True, retain_graph=keep)
            )
        handed = [next(gradients) if value.requires_grad else None for value in self.tensors]
        return [None if part is None else dense(part) for part in handed]


def as_it_was(source: Node) -> torch.Tensor:
    """A copy of a node's value."""
    value: torch.Tensor = source.value
    return value.clone()


def by_itself(
    node: Applied, engine: TorchEngine, point: Callable[[Node], torch.Tensor] = as_it_was
) -> ByItself:
    """Apply a node of a torch trace once more, where its floating-point arguments are as ``point`` has them.

    Those that required a gradient do so again.
    """
    tensors: list[torch.Tensor] = []

    def fresh(source: Node) -> torch.Tensor:
        value = source.value
        if value.is_floating_point():
            value = point(source).detach().requires_grad_(source.value.requires_grad)
        tensors.append(value)
        return value

    operator = node.operator
    arguments = {p.name: with_values(node.arguments[p.name], fresh) for p in operator.parameters}
    with engine.session(), torch.enable_grad():
        result = engine.apply(operator, arguments)
    return ByItself(tuple(tensors), result, engine.dtype)
