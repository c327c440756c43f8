"""The backward walk as data: which cotangent each node hands to which other, by which rule, and whether
that is right.

torch walks the graph; what it finds at every node is kept. Each step is then judged alone: torch's backward
of this one node, at the cotangent that arrived there, against the row's own rule run on the reference
engine in float64. A node without a rule (a function of the user's own) has its forward differentiated
numerically instead, this one node and no other. So a wrong backward is found where it is, however much of
the graph it spoils behind it.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a job to explain)
import torch  # noqa: TID253

from vjpcalc.check.derivative import directional, jacobian, relative_scale
from vjpcalc.check.replay import Replay
from vjpcalc.check.verdict import (
    FAILED,
    INCONCLUSIVE,
    PASSED,
    as_float64,
    cotangents_of,
    explicit_cost,
    required_reference,
    smallest,
)
from vjpcalc.diagnostics import Diagnostic, Source, did_you_mean
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.explain.rules import has_rule, run_rule
from vjpcalc.explain.simplify import simplified
from vjpcalc.job.autograd import (
    VJP,
    Job,
    ancestors,
    backward,
    forward,
    gradients_of,
    require_explicit,
)
from vjpcalc.language.interpret import Interpreter
from vjpcalc.language.trace import Node, Trace, nodes_in, with_values
from vjpcalc.limits import DEFAULT_LIMIT, Limits
from vjpcalc.operators.registry import table
from vjpcalc.operators.row import Operator, numel

ROUNDINGS = 16  # units in the last place by which one node's two backwards may differ
NOISE_RUNS = 4  # of a rule, every number in it moved by one unit in the last place
SPREAD_FACTOR = 8.0  # a few runs see less than the whole spread
DIRECTIONS = 4  # along which a node without a rule is compared where its Jacobian would cost too much


@dataclass(frozen=True, eq=False)
class Handed:
    """What a step hands to one of its arguments: a cotangent shaped like the argument.

    ``rule`` is the row's text, simplified for this call, and ``symbols`` the same with this step's names in
    it; both are None where the node's forward was differentiated instead. ``value`` is what the rule gives,
    ``torch`` what torch's backward gives, both float64. ``summed`` are the dimensions of the rule's value
    that were summed over, to undo broadcasting; ``repeated`` says that it was repeated instead, as the
    cotangent of a sum is. ``accumulates`` says that something arrived at the argument before.
    """

    to: str
    node: Node
    parameter: str
    rule: str | None
    symbols: str | None
    value: np.ndarray
    torch: np.ndarray
    summed: tuple[int, ...]
    repeated: bool
    accumulates: bool
    status: str
    max_abs_error: float
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """One node of the backward walk, with the cotangent that arrived there and what it hands on."""

    number: int
    name: str
    node: Node
    text: str
    cotangent: torch.Tensor
    hands: tuple[Handed, ...]

    @property
    def status(self) -> str:
        statuses = [handed.status for handed in self.hands]
        return next((status for status in (FAILED, INCONCLUSIVE) if status in statuses), PASSED)


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """A leaf's gradient as a weighted sum: ``weights`` (m,) times the ``rows`` (m, n) of J, one for each
    ``output``.
    """

    leaf: str
    outputs: tuple[str, ...]
    weights: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Explanation:
    """The whole walk. ``nodes`` are those of the forward pass in order, ``names`` their names by index.

    ``implicit`` is for a single output of one element: whether ``backward()`` gave what
    ``backward(tensor(1.))`` does.
    """

    vjp: VJP
    trace: Trace
    names: Mapping[int, str]
    nodes: tuple[Node, ...]
    cotangents: Mapping[int, torch.Tensor]
    steps: tuple[Step, ...]
    implicit: bool | None
    arithmetic: tuple[Arithmetic, ...] = ()

    @property
    def first_wrong(self) -> Step | None:
        """The first step, in backward order, whose backward is wrong."""
        return next((step for step in self.steps if step.status == FAILED), None)

    def text(self, node: Node) -> str:
        return expression_of(node, self.trace, self.names)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of the job, and the walk as ``trace``."""
        from vjpcalc.tensors.json import encode_number, to_record

        def step(step: Step) -> dict[str, Any]:
            return {
                "node": step.name,
                "operator": operator_of(step.node).name,
                "cotangent": to_record(step.cotangent),
                "status": step.status,
                "hands": [
                    {
                        "to": handed.to,
                        "parameter": handed.parameter,
                        "rule": handed.rule,
                        "symbols": handed.symbols,
                        "value": to_record(handed.torch),
                        "by_rule": to_record(handed.value),
                        "summed_over": list(handed.summed),
                        "repeated": handed.repeated,
                        "accumulates": handed.accumulates,
                        "status": handed.status,
                        "max_abs_error": encode_number(handed.max_abs_error),
                        "reason": handed.reason,
                    }
                    for handed in step.hands
                ],
            }

        wrong = self.first_wrong
        document = self.vjp.to_dict()
        document["trace"] = {
            "forward": [node_record(node, self.trace, self.names) for node in self.nodes],
            "backward": [step(one) for one in self.steps],
            "first_wrong": None if wrong is None else wrong.name,
        }
        if self.arithmetic:
            document["trace"]["jacobians"] = {one.leaf: to_record(one.rows) for one in self.arithmetic}
        return document


def explain(vjp: VJP, *, arithmetic: bool = False, limit: int = DEFAULT_LIMIT) -> Explanation:
    """Walk backward through a job that was computed, and judge every step.

    ``limit`` bounds the element operations that one node's explicit Jacobian may cost. Raises Diagnostic.
    """
    if arithmetic:
        require_explicit(vjp.job, vjp.outputs)
    again, cotangents = cotangents_of(vjp.job, vjp.seeds)
    trace = again.trace
    names = names_of(trace)
    engine = TorchEngine(vjp.job.dtype, vjp.job.random_seed)
    reached = ancestors(list(trace.outputs.values()))
    nodes = tuple(node for node in trace.nodes if node in reached)
    arrived = {node.index for node in trace.outputs.values()}
    steps: list[Step] = []
    for node in reversed(nodes):
        if node.operator is not None and node.index in cotangents:
            hands = tuple(_hand_on(node, trace, names, cotangents[node.index], engine, arrived, limit))
            text = expression_of(node, trace, names)
            steps.append(Step(len(steps) + 1, names[node.index], node, text, cotangents[node.index], hands))
    return Explanation(
        vjp,
        trace,
        names,
        nodes,
        cotangents,
        tuple(steps),
        _implicit(vjp),
        tuple(_arithmetic(vjp)) if arithmetic else (),
    )


def operator_of(node: Node) -> Operator:
    assert node.operator is not None
    return node.operator


# ---- names -------------------------------------------------------------------------------------------------


def names_of(trace: Trace) -> dict[int, str]:
    """What to call each node: as the user named it, ``y#3`` for the y of a loop's third turn, else %1, %2, ….

    A name given again is ``y′``; a number that became a tensor is called by its text.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    outputs = {node.index: name for name, node in trace.outputs.items()}
    reached = ancestors(list(trace.outputs.values()))
    numbered = 0
    for node in trace.nodes:
        name = node.name or trace.labels.get(node.index) or outputs.get(node.index)
        if name is not None:
            if node.operator is not None and node.iterations:
                name += "#" + ".".join(map(str, node.iterations))
            while name in taken:
                name += "′"
            taken.add(name)
        elif node.operator is None:
            name = _constant_name(node, trace)
        elif node in reached:
            numbered += 1
            name = f"%{numbered}"
        else:
            name = "%"
        names[node.index] = name
    return names


def is_called(found: str, name: str) -> bool:
    """Whether somebody who says ``name`` means the node ``found``: ``y`` means ``y#1``, ``y#2``, … too."""
    return found == name or found.partition("#")[0].rstrip("′") == name


def require_node(trace: Trace, name: str) -> None:
    """Raise Diagnostic (usage) where the walk through a trace passes no node of that name."""
    names = names_of(trace)
    reached = ancestors(list(trace.outputs.values()), through=lambda node: node.value.requires_grad)
    passed = dict.fromkeys(names[node.index] for node in trace.nodes if node in reached)
    if not any(is_called(other, name) for other in passed):
        raise Diagnostic(
            "usage",
            f"--node: the walk passes no node '{name}'" + did_you_mean(name, passed),
            hint="its nodes are " + ", ".join(list(passed)[:20]) + (", …" if len(passed) > 20 else ""),
        )


def _constant_name(node: Node, trace: Trace) -> str:
    if numel(node.shape) == 1:
        value = node.value.item()
        return f"{value:g}" if isinstance(value, float) else str(value)
    text = "" if node.span is None else _one_line(trace.source.text[node.span.start : node.span.stop])
    return text if 0 < len(text) <= 16 else "constant"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def expression_of(node: Node, trace: Trace, names: Mapping[int, str]) -> str:
    """A node as the user wrote it, on one line; where there is no such text, as a call of its operator."""
    if node.operator is None:
        return names[node.index]
    if node.span is not None:
        return _one_line(trace.source.text[node.span.start : node.span.stop])
    said = with_values(list(node.arguments.values()), lambda source: names[source.index])
    return f"{node.operator.name}({', '.join(map(str, said))})"


def torch_nodes(node: Node, trace: Trace) -> tuple[str, ...]:
    """The names of torch's own graph nodes that make up this node, the last one first:
    ``("MmBackward0",)``.
    """
    start = node.value.grad_fn
    if node.operator is None or start is None:
        return ("AccumulateGrad",) if node.operator is None and node.value.requires_grad else ()
    ends = {source.value.grad_fn for source in node.inputs if source.value.grad_fn is not None}
    found: list[str] = []
    seen = set()
    stack = [start]
    while stack and len(found) < 32:
        function = stack.pop()
        if function is None or function in seen or function in ends:
            continue
        seen.add(function)
        name = function.name().rpartition("::")[2]
        if name != "AccumulateGrad":
            found.append(name)
            stack.extend(following for following, _ in reversed(function.next_functions))
    return tuple(found)


def node_record(node: Node, trace: Trace, names: Mapping[int, str]) -> dict[str, Any]:
    """A node as JSON: what it is, what it was computed from, what torch calls it."""
    leaf = node.operator is None and node.value.requires_grad
    return {
        "name": names[node.index],
        "kind": "operator" if node.operator is not None else "leaf" if leaf else "constant",
        "operator": None if node.operator is None else node.operator.name,
        "expression": expression_of(node, trace, names),
        "inputs": [names[source.index] for source in node.inputs],
        "shape": list(node.shape),
        "dtype": str(node.value.dtype).removeprefix("torch."),
        "requires_grad": bool(node.value.requires_grad),
        "grad_fn": list(torch_nodes(node, trace)),
        "iterations": list(node.iterations),
    }


# ---- one step ----------------------------------------------------------------------------------------------


def _hand_on(
    node: Node,
    trace: Trace,
    names: Mapping[int, str],
    g: torch.Tensor,
    engine: TorchEngine,
    arrived: set[int],
    limit: int,
) -> Iterator[Handed]:
    operator = operator_of(node)
    cotangent, y, eps = as_float64(g), as_float64(node.value), torch.finfo(g.dtype).eps
    values = {
        key: with_values(value, lambda source: as_float64(source.value))
        for key, value in node.arguments.items()
    }
    by_torch = _torch_backward(node, g, engine)
    position = 0
    tiny: Trace | None = None
    for parameter in operator.parameters:
        sources = list(nodes_in(node.arguments.get(parameter.name)))
        own = range(position, position + len(sources))
        position += len(sources)
        if parameter.kind not in ("tensor", "tensors") or not any(
            source.value.requires_grad for source in sources
        ):
            continue
        rule, found = None, None
        if has_rule(operator, parameter.name):
            rule = simplified(operator.vjp[parameter.name], {**values, "g": cotangent, "y": cotangent})
            found = _by_rule(rule, parameter.name, values, cotangent, y)
        for place, (source, number) in enumerate(zip(sources, own, strict=True)):
            if not source.value.requires_grad:
                continue
            given = by_torch[number]
            theirs = np.zeros(source.shape) if given is None else as_float64(given)
            kwargs: dict[str, Any] = {}
            if found is not None and rule is not None:
                moved = functools.partial(_moved, rule, parameter.name, place, values, cotangent, y, eps)
                value, shape = found[place]
                kwargs["summed"] = _summed(shape, source.shape)
                kwargs["repeated"] = numel(shape) < numel(source.shape)
                status, error, reason = _compare(
                    theirs, value, ROUNDINGS * eps + operator.accuracy, smallest(node.value.dtype), moved
                )
                kwargs |= {"rule": rule, "symbols": in_symbols(rule, node, names)}
            else:
                tiny = tiny or _alone(node)
                value, status, error, reason = _by_differences(
                    tiny, f"argument {number}", theirs, cotangent, g.dtype, limit
                )
                kwargs |= {"rule": None, "symbols": None, "summed": (), "repeated": False}
            yield Handed(
                names[source.index],
                source,
                parameter.name,
                value=value,
                torch=theirs,
                accumulates=source.index in arrived,
                status=status,
                max_abs_error=error,
                reason=reason and f"{names[source.index]}.grad{reason}",
                **kwargs,
            )
            arrived.add(source.index)


def _torch_backward(node: Node, g: torch.Tensor, engine: TorchEngine) -> list[torch.Tensor | None]:
    """torch's backward of this node alone, for each tensor among its arguments in order."""
    made: list[torch.Tensor] = []

    def fresh(source: Node) -> torch.Tensor:
        value = source.value.detach()
        made.append(value.clone().requires_grad_() if source.value.requires_grad else value)
        return made[-1]

    operator = operator_of(node)
    arguments = {p.name: with_values(node.arguments[p.name], fresh) for p in operator.parameters}
    with engine.session(), torch.enable_grad():
        result = engine.apply(operator, arguments)
        wanted = [value for value in made if value.requires_grad]
        if not result.requires_grad or not wanted:
            return [None] * len(made)
        found = iter(torch.autograd.grad(result, wanted, g, allow_unused=True))
    return [next(found) if value.requires_grad else None for value in made]


def _by_rule(
    rule: str, parameter: str, values: Mapping[str, Any], g: np.ndarray, y: np.ndarray
) -> list[tuple[np.ndarray, tuple[int, ...]]] | None:
    """``run_rule``, or None where the rule cannot be run."""
    try:
        return run_rule(rule, parameter, values, g, y)
    except Diagnostic:
        return None


def _moved(
    rule: str,
    parameter: str,
    place: int,
    values: Mapping[str, Any],
    g: np.ndarray,
    y: np.ndarray,
    eps: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """What the rule hands on where each number that it sees is moved at random by up to ``eps`` of itself."""
    noisy = {key: _move(value, eps, generator) for key, value in values.items()}
    found = _by_rule(rule, parameter, noisy, _move(g, eps, generator), _move(y, eps, generator))
    assert found is not None
    return found[place][0]


def _summed(shape: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...]:
    """The dimensions of ``shape`` over which broadcasting from ``target`` is undone by a sum."""
    extra = max(len(shape) - len(target), 0)
    kept = shape[extra:]
    stretched = [i + extra for i, size in enumerate(target) if i < len(kept) and size == 1 != kept[i]]
    return (*range(extra), *stretched)


def _move(value: Any, eps: float, generator: np.random.Generator) -> Any:
    if isinstance(value, tuple):
        return tuple(_move(item, eps, generator) for item in value)
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    with np.errstate(all="ignore"):
        return value + generator.integers(-1, 2, value.shape) * np.where(np.isfinite(value), value, 0.0) * eps


def _compare(
    theirs: np.ndarray,
    ours: np.ndarray,
    relative: float,
    floor: float,
    moved: Callable[[np.random.Generator], np.ndarray],
) -> tuple[str, float, str | None]:
    """Status, largest error and reason. The rule's own rounding noise is measured only where it is in
    doubt.
    """
    with np.errstate(all="ignore"):
        error = np.where(_same(theirs, ours), 0.0, np.abs(theirs - ours))
        tolerance = relative * np.maximum(np.abs(theirs), np.abs(ours)) + floor
        if not np.all(error <= tolerance):
            spread = np.zeros_like(error)
            for seed in range(NOISE_RUNS):
                spread = np.fmax(spread, np.abs(moved(np.random.default_rng(seed)) - ours))
            tolerance = tolerance + SPREAD_FACTOR * spread
    return _verdict(theirs, ours, error, tolerance, "the rule says")


def _by_differences(
    tiny: Trace, leaf: str, theirs: np.ndarray, g: np.ndarray, dtype: torch.dtype, limit: int
) -> tuple[np.ndarray, str, float, str | None]:
    """Jᵀ·g of one node by differentiating its forward: value, status, largest error and reason."""
    eps = torch.finfo(dtype).eps
    (output,) = tiny.outputs.values()
    if output.shape != g.shape:
        return theirs, INCONCLUSIVE, 0.0, f": its forward alone gives the shape {output.shape}"
    replay = Replay(tiny, leaf, [output])
    kinked = bool(replay.kinks)
    v = g.ravel()
    with np.errstate(all="ignore"):
        if explicit_cost(replay) <= limit:
            found = jacobian(tiny, leaf)
            ours = found.transposed(v).reshape(theirs.shape)
            size = found.transposed(np.abs(v), np.abs(found.entries)).reshape(theirs.shape)
            doubt = found.transposed(np.abs(v), found.errors).reshape(theirs.shape)
            error = np.where(_same(theirs, ours), 0.0, np.abs(theirs - ours))
            tolerance = ROUNDINGS * eps * np.maximum(size, np.abs(theirs)) + doubt + smallest(dtype)
            at_kink = found.kinks is not None and bool(
                (found.transposed((v != 0).astype(float), found.kinks.astype(float)) > 0).any()
            )
            status, largest, reason = _verdict(theirs, ours, error, tolerance, "its forward's derivative is")
            if status == FAILED and at_kink:
                return ours, INCONCLUSIVE, largest, ": the forward has a kink here"
            return ours, status, largest, reason
        generator = np.random.default_rng(0)
        worst = 0.0
        for _ in range(DIRECTIONS):
            u = generator.choice([-1.0, 1.0], theirs.shape) * relative_scale(np.asarray(replay.leaf.value))
            moved = directional(replay, u, kinked)
            ours_u, theirs_u = float(v @ moved.value), float(np.sum(theirs * u))
            size_u = float(np.abs(v) @ np.abs(moved.value)) + float(np.sum(np.abs(theirs * u)))
            error_u = abs(ours_u - theirs_u)
            worst = max(worst, error_u)
            if error_u > ROUNDINGS * eps * size_u + float(np.abs(v) @ moved.error) + smallest(dtype):
                kind = INCONCLUSIVE if kinked else FAILED
                return (
                    theirs,
                    kind,
                    worst,
                    f" along a random direction: torch gives {theirs_u:.6g}, its forward {ours_u:.6g}",
                )
    return theirs, PASSED, worst, None


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))


def _verdict(
    theirs: np.ndarray, ours: np.ndarray, error: np.ndarray, tolerance: np.ndarray, source: str
) -> tuple[str, float, str | None]:
    if theirs.shape != ours.shape:
        return FAILED, float("inf"), f": torch hands on the shape {theirs.shape}, {source} {ours.shape}"
    with np.errstate(all="ignore"):
        wrong = ~(error <= tolerance)
    finite = np.isfinite(error)
    largest = float(np.max(error[finite], initial=0.0))
    if not wrong.any():
        return PASSED, largest, None
    ratio = np.where(wrong, np.where(finite, error / np.where(tolerance > 0, tolerance, 1.0), np.inf), -1.0)
    worst = np.unravel_index(int(np.argmax(ratio)), theirs.shape)
    place = f"[{', '.join(map(str, worst))}]" if worst else ""
    status = FAILED if np.isfinite(ours[worst]) else INCONCLUSIVE
    return (
        status,
        largest,
        f"{place}: torch hands on {_number(theirs[worst])}, {source} {_number(ours[worst])}",
    )


def _number(value: float) -> str:
    return f"{value:.12g}"


def _alone(node: Node) -> Trace:
    """This node alone on the reference engine: its tensors are the inputs ``argument 0``, ``argument 1``,
    ….
    """
    source = Source("", "one node")
    trace = Trace(source)
    operator = operator_of(node)
    walk = Interpreter(ReferenceEngine(), trace, source, Limits(), {operator.name: operator})

    def lift(argument: Node) -> Node:
        name = f"argument {len(trace.inputs)}"
        trace.inputs[name] = walk.add(None, {}, as_float64(argument.value), None, name)
        return trace.inputs[name]

    arguments = {p.name: with_values(node.arguments[p.name], lift) for p in operator.parameters}
    if operator.kinks:
        walk.note_kinks(operator, arguments, None)
    if operator.ref:
        trace.outputs["y"] = walk.expand(operator, arguments, None)
    else:
        trace.outputs["y"] = walk.add(operator, arguments, walk.compute(operator, arguments, None), None)
    return trace


# ---- rules in symbols --------------------------------------------------------------------------------------


# What the rows of moved elements say in their rules, in words.
IN_WORDS = {row.name: row.in_words for row in table() if row.in_words}


def in_symbols(rule: str, node: Node, names: Mapping[int, str]) -> str:
    """A rule with this step's names: ``g @ b.mT`` at ``out = x @ W`` becomes ``out.grad @ W.mT``."""
    outer, _, inner = rule.partition("(")
    if outer in IN_WORDS and inner.startswith("g,"):
        return f"{names[node.index]}.grad, {IN_WORDS[outer]}"
    said = {key: _said(value, names) for key, value in node.arguments.items()}
    said |= {"g": f"{names[node.index]}.grad", "y": names[node.index]}
    return substituted(rule, said)


def _said(value: Any, names: Mapping[int, str]) -> str:
    if isinstance(value, Node):
        return names[value.index]
    if isinstance(value, tuple | list):
        inner = ", ".join(_said(item, names) for item in value)
        return f"[{inner}]" if any(True for _ in nodes_in(value)) else f"({inner}{',' * (len(value) == 1)})"
    if isinstance(value, slice):
        return ":".join("" if part is None else str(part) for part in (value.start, value.stop))
    return "..." if value is Ellipsis else str(value)


def substituted(rule: str, said: Mapping[str, str]) -> str:
    """The text of a rule with other texts in place of its names; names that the rule itself assigns stay."""
    text = rule
    for start, stop, name in reversed(names_in(rule)):
        if name in said:
            replacement = said[name]
            text = (
                text[:start]
                + (f"({replacement})" if replacement.startswith("-") else replacement)
                + text[stop:]
            )
    return "; ".join(line.strip() for line in text.split("\n"))


def names_in(rule: str) -> list[tuple[int, int, str]]:
    """Where a rule's names stand that it does not assign itself: start, stop, name."""
    tree = ast.parse(rule)
    lines = rule.split("\n")
    starts = [sum(len(line) + 1 for line in lines[:i]) for i in range(len(lines))]
    called = {id(call.func) for call in ast.walk(tree) if isinstance(call, ast.Call)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called]
    assigned = {node.id for node in found if isinstance(node.ctx, ast.Store)}
    places = []
    for node in found:
        start = starts[node.lineno - 1] + len(lines[node.lineno - 1].encode()[: node.col_offset].decode())
        if node.id not in assigned:
            places.append((start, start + len(node.id), node.id))
    return sorted(places)


# ---- the sum that a gradient is, and the argument that may be left out -------------------------------------


def element_names(name: str, shape: Sequence[int]) -> list[str]:
    """``out[0, 0]``, ``out[0, 1]``, … in row-major order; the name alone for a tensor without dimensions."""
    if not shape:
        return [name]
    return [f"{name}[{', '.join(map(str, index))}]" for index in np.ndindex(*shape)]


def _arithmetic(vjp: VJP) -> Iterator[Arithmetic]:
    trace = required_reference(vjp)
    outputs = tuple(
        element for name, value in vjp.outputs.items() for element in element_names(name, tuple(value.shape))
    )
    weights = np.concatenate([as_float64(vjp.seeds[name]).ravel() for name in vjp.outputs])
    for leaf in vjp.gradients:
        yield Arithmetic(leaf, outputs, weights, jacobian(trace, leaf).dense())


def _implicit(vjp: VJP) -> bool | None:
    """Whether ``backward()`` without an argument gives what ``backward(tensor(1.))`` does; None where it
    cannot.
    """
    values = list(vjp.outputs.values())
    if len(values) != 1 or values[0].numel() != 1 or not _depends(vjp):
        return None
    job: Job = vjp.job
    (name,) = vjp.outputs
    explicit = forward(job)
    gradients, _ = backward(job, explicit, {name: [torch.ones_like(values[0])]})
    bare = forward(job)
    bare.trace.outputs[name].value.backward()
    found = gradients_of(bare)
    return all(
        torch.equal(found[key].nan_to_num(), gradient.nan_to_num()) for key, gradient in gradients.items()
    )


def _depends(vjp: VJP) -> bool:
    return any(node.value.requires_grad for node in vjp.trace.outputs.values())
