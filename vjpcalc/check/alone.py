"""One node of a trace by itself: on the reference engine, and in torch with its backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253

from vjpcalc.diagnostics import Source
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.engines.yours import default_dtype
from vjpcalc.job.autograd import dense
from vjpcalc.language.interpret import Interpreter
from vjpcalc.language.trace import Applied, Node, Trace, with_values
from vjpcalc.limits import Limits
from vjpcalc.operators.row import Operator
from vjpcalc.tensors.dtypes import as_float64


def alone(node: Applied, use: Mapping[str, Operator] | None = None) -> Trace:
    """This node alone on the reference engine; its tensors are the inputs ``argument 0`` and so on.

    ``use`` are the user's functions, which a reference of the node's may call.
    """
    operator = node.operator
    walk, arguments = arguments_of(node, use)
    if operator.kinks:
        walk.note_kinks(operator, arguments, None)
    if operator.ref:
        walk.trace.outputs["y"] = walk.expand(operator, arguments, None)
    else:
        made = walk.compute(operator, arguments, None)
        walk.trace.outputs["y"] = walk.applied(operator, arguments, made, None)
    return walk.trace


def arguments_of(node: Applied, use: Mapping[str, Operator] | None) -> tuple[Interpreter, Mapping[str, Any]]:
    """The reference engine with nothing but a node's arguments."""
    source = Source("", "one node")
    trace = Trace(source)
    own = {**(use or {}), node.operator.name: node.operator}
    walk = Interpreter(ReferenceEngine(), trace, source, Limits(), own)

    def lift(argument: Node) -> Node:
        name = f"argument {len(trace.inputs)}"
        trace.inputs[name] = walk.input(as_float64(argument.value), name=name)
        return trace.inputs[name]

    return walk, {p.name: with_values(node.arguments[p.name], lift) for p in node.operator.parameters}


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
