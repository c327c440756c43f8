"""The report of ``explain``: the answer in words, the forward pass, the backward walk, the leaves."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a walk to show)

from vjpcalc.diagnostics import count
from vjpcalc.explain.walk import (
    Arithmetic,
    Explanation,
    Handed,
    Step,
    require_node,
)
from vjpcalc.job.graph import kind_of, torch_nodes
from vjpcalc.job.result import Cause
from vjpcalc.language.code import code
from vjpcalc.language.naming import is_called
from vjpcalc.language.scope import parsed
from vjpcalc.language.source import width as columns
from vjpcalc.language.trace import Applied, Input, Node
from vjpcalc.limits import STEPS
from vjpcalc.report import numbers
from vjpcalc.report.document import Blank, Block, Cell, Line, Table, Text, beside, line, merged
from vjpcalc.report.vjp import MARK, ROLE, check_lines, expression_lines, gradient_table, right_marks

TALL = 7  # lines of a tensor from which its middle is left out
READABLE = 40  # elements of a tensor that is put into a rule
ROWS = 32  # of J that are written out
VALUE = 28  # columns that the values of the forward pass are given at the least
HARD = "\ue000"  # stands for a blank at which no line is broken
EDGE = "\ue001"  # stands before and after a name in a rule


def explain_report(
    explanation: Explanation,
    *,
    steps: int = STEPS,
    node: str | None = None,
    precision: int = numbers.PRECISION,
    width: int | None = None,
) -> list[Block]:
    """The whole report, or with ``node`` this node's steps alone. Raises Diagnostic (usage)."""
    show = _Show(explanation, precision, width)
    if node is not None:
        return show.steps(_concerning(explanation, node), len(explanation.steps))
    blocks: list[Block] = [*expression_lines(explanation.vjp.forward), Blank(), *show.answer(), Blank()]
    blocks += [_heading("Forward"), *show.forward(steps), Blank()]
    blocks += [_heading("Backward", "every node hands its cotangent on, the last one first"), *show.seeds()]
    blocks += show.steps(explanation.steps, steps)
    blocks += [Blank(), _heading("Leaves"), gradient_table(explanation.vjp, precision, width)]
    for one in explanation.arithmetic:
        blocks += [Blank(), *show.arithmetic(one)]
    blocks.append(Blank())
    wrong = explanation.first_wrong
    if wrong is not None:
        name = Text(f"{wrong.name} = {wrong.text}" if wrong.name != wrong.text else wrong.name, "title")
        place = f" in backward order: step {wrong.number}, "
        blocks.append(line(Text("✗ first wrong node", "bad"), place, name))
    elif explanation.remark is not None:
        blocks.append(line(Text("✗ no node is wrong by itself", "bad"), f": {explanation.remark}"))
    return blocks + check_lines(explanation.vjp)


def _heading(title: str, subtitle: str = "") -> Line:
    return line(Text(title, "title"), Text(f"  {subtitle}", "dim"))


def _concerning(explanation: Explanation, name: str) -> list[Step]:
    """The steps of a node and those that hand it something; ``y`` means ``y#1``, ``y#2``, … too."""
    require_node(explanation.graph.trace, name)
    return [
        step
        for step in explanation.steps
        if is_called(step.name, name) or any(is_called(handed.to, name) for handed in step.hands)
    ]


class _Show:
    def __init__(self, explanation: Explanation, precision: int, width: int | None) -> None:
        self.explanation, self.precision, self.width = explanation, precision, width

    # -- the answer

    def answer(self) -> list[Block]:
        vjp = self.explanation.vjp
        outputs = {name: numbers.shape(value.shape) for name, value in vjp.outputs.items()}
        m = sum(value.numel() for value in vjp.outputs.values())
        leaves = ", ".join(
            f"{name} {numbers.shape(gradient.shape)} from a J of {m}×{gradient.numel()}"
            for name, gradient in vjp.gradients.items()
        )
        if len(outputs) > 1:
            shapes = "; ".join(f"{name} has shape {shape}" for name, shape in outputs.items())
            first = (
                f"{shapes}: backward() takes a seed for each, shaped like it; what they send back adds up."
            )
        else:
            ((name, shape),) = outputs.items()
            if m == 1:
                first = (
                    f"{name} has shape {shape}, a single element, so the seed v is one number and may be "
                    "left out: backward() is backward(tensor(1.))."
                )
            else:
                first = (
                    f"{name} has shape {shape}, so the seed v, the argument of backward(), has shape "
                    f"{shape}: for each element of {name}, how much it counts."
                )
        second = (
            "backward(v) computes x̄ = Jᵀ·v for each leaf x, shaped like the leaf, without ever building J: "
            f"{leaves}."
        )
        blocks: list[Block] = [*self.wrapped(first, "title"), *self.wrapped(second)]
        if self.explanation.implicit is not None:
            same = "gave the same gradients" if self.explanation.implicit else "gave different gradients"
            blocks += self.wrapped(
                "J has a single row, so Jᵀ·v is v times that row, and for v = 1 the row itself: that is the "
                "gradient. backward() and backward(tensor(1.)) were both run and " + same + "."
            )
        return blocks

    def wrapped(self, text: str, role: str = "") -> list[Block]:
        """Running text, its lines broken where no shape is torn apart."""
        if self.width is None:
            return [line(Text(text, role))]
        whole = re.sub(r"\([\d, ]*\)", lambda shape: shape.group().replace(" ", HARD), text)
        lines = textwrap.wrap(whole, max(self.width - 2, 20), break_on_hyphens=False, break_long_words=False)
        return [line(Text(text.replace(HARD, " "), role)) for text in lines]

    # -- forward

    def forward(self, steps: int) -> list[Block]:
        graph = self.explanation.graph
        nodes = [node for node in graph.nodes if not isinstance(node, Input) or node.name is not None]
        shown, left_out = _folded(nodes, steps + len(graph.trace.inputs))
        names = [graph.names[node.index] for node in shown]
        operators = [node.operator.name if isinstance(node, Applied) else kind_of(node) for node in shown]
        shapes = [numbers.shape(node.shape) for node in shown]
        headers = ("node", "as written", "operator", "shape", "value")
        fixed = (("node", *names), ("operator", *operators), ("shape", *shapes))
        taken = sum(max(map(columns, column)) for column in fixed) + 3 * len(headers) + 1
        texts = [_clip(self.text(node), self.room(taken + VALUE)) for node in shown]
        room = self.room(taken + max(map(columns, ("as written", *texts))), least=14)
        rows: list[tuple[Cell, ...]] = []
        for position, (node, name, text, operator, shape) in enumerate(
            zip(shown, names, texts, operators, shapes, strict=True)
        ):
            if left_out and position == len(shown) - len(shown) // 2:
                rows.append(("⋮", Text(count(left_out, "more node"), "dim"), "", "", ""))
            label = Text(name, "name" if node.value.requires_grad else "dim")
            value = self.tensor(node.value, room)
            rows.append((label, text, Text(operator, "dim"), Text(shape, "dim"), value))
        return [Table(headers, tuple(rows), rules=0)]

    def text(self, node: Node) -> str:
        return _clip(self.explanation.graph.text(node), 60) if isinstance(node, Applied) else ""

    def tensor(self, value: Any, room: int | None = None, marks: numbers.Marks | None = None) -> str:
        lines = numbers.tensor(value, self.precision, room, marks).split("\n")
        if len(lines) >= TALL:
            lines = [*lines[:3], " …", *lines[-1:]]
        return "\n".join(lines)

    # -- backward

    def seeds(self) -> list[Block]:
        blocks: list[Block] = []
        vjp, graph = self.explanation.vjp, self.explanation.graph
        calls = f", the sum of {vjp.backward_calls} backward calls" if vjp.backward_calls > 1 else ""
        for name, seed in vjp.seeds.items():
            target = Text(f"{graph.names[graph.trace.outputs[name].index]}.grad", "name")
            origin = f"(given{calls})" if name in vjp.job.seeds else "(left out: then it is 1)"
            blocks += beside([Text("  seed", "dim"), target, "=", self.tensor(seed), Text(origin, "dim")], 1)
        return blocks

    def steps(self, steps: Sequence[Step], most: int) -> list[Block]:
        shown, left_out = _folded(steps, most, keep=lambda step: step.status != "passed")
        blocks: list[Block] = []
        for before, step in pairwise([None, *shown]):
            if before is not None and step.number > before.number + 1 and left_out:
                gap = f"  ⋮  {count(step.number - before.number - 1, 'more step')}, all ✓   "
                some = steps[steps.index(before) + 1]
                hint = f"--steps {len(self.explanation.steps)} shows all, --node '{some.name}' one"
                blocks.append(line(Text(gap, "dim"), Text(hint, "dim")))
            blocks += self.step(step)
        return blocks

    def step(self, step: Step) -> list[Block]:
        wide = len(str(len(self.explanation.steps)))
        torch = torch_nodes(step.node)
        origin = step.node.operator.name + (f", torch: {_short(torch)}" if torch else "")
        if step.node.iterations:
            origin += f", iteration {'.'.join(map(str, step.node.iterations))}"
        head: list[str | Text] = [f"{step.number:{wide}} ", Text(MARK[step.status], ROLE[step.status]), " "]
        if step.name != step.text:
            head += [Text(step.name, "name"), " = "]
        text = Text(_clip(step.text, self.room(40)), "title")
        blocks: list[Block] = [line(*head, text, Text(f"   {origin}", "dim"))]
        indent = wide + 3
        if self.arrivals(step) > 1:
            cotangent = self.tensor(step.cotangent, self.room(24))
            blocks += beside([Text(f"{step.name}.grad", "name"), Text("is now", "dim"), cotangent], indent)
        for handed in step.hands:
            blocks += self.handed(step, handed, indent)
            if handed.reason:
                blocks.append(line(Text(handed.reason, ROLE[handed.status]), indent=indent))
            if handed.pattern:
                blocks.append(line(Text(f"pattern: {handed.pattern}", ROLE[handed.status]), indent=indent))
        return blocks + [line(Text(fault, ROLE["failed"]), indent=indent) for fault in step.faults]

    def arrivals(self, step: Step) -> int:
        """How many cotangents came together at a step."""
        seeds = sum(node is step.node for node in self.explanation.graph.trace.outputs.values())
        return seeds + sum(
            handed.node is step.node
            for other in self.explanation.steps[: step.number]
            for handed in other.hands
        )

    def room(self, taken: int, least: int = 16) -> int | None:
        return None if self.width is None else max(self.width - taken, least)

    def handed(self, step: Step, handed: Handed, indent: int) -> list[Block]:
        """``a.grad = out.grad @ b.mT = [[…]] @ [[…]] = [[…]]``, on one line where there is room for that."""
        target = Text(f"{handed.to}.grad", "name")
        sign = Text("+=" if handed.accumulates else "=")
        room = self.room(indent + columns(handed.to) + 12)
        wrong, by_torch = _is_wrong(handed), self.tensor(handed.torch, room, _wrong_marks(handed))
        value = self.tensor(handed.value, room, self.right_marks(handed))
        should_be = [Text("should be", "dim"), numbers.coloured(value)]
        if handed.rule is None or handed.symbols is None:
            left = [target, sign, numbers.coloured(by_torch)]
            blocks = self.fitting(left, should_be, indent) if wrong else beside(left, indent)
            ref = "; ".join(step.node.operator.ref.split("\n"))
            how = f"checked by its reference, {ref}" if ref else "checked by differencing its forward"
            return [*blocks, line(Text(how, "dim"), indent=indent)]
        if not wrong:
            return self.by_rule(step, handed, value, [target, sign], indent)
        if not np.isfinite(handed.torch).all():  # and so says the rule: 0 · infinity
            blocks = self.by_rule(step, handed, by_torch, [target, sign], indent)
            return [*blocks, *beside([target, *should_be], indent)]
        blocks = self.by_rule(step, handed, value, [target, sign], indent)
        by_itself = Text("by torch", "dim"), "=", numbers.coloured(by_torch)
        return [*blocks, *beside([target, *by_itself], indent)]

    def right_marks(self, handed: Handed) -> numbers.Marks | None:
        """What is shown of the numbers that should have been handed on."""
        if handed.rule is not None and not _is_wrong(handed):
            return None
        return right_marks(handed.value, _causes(handed), handed.left, handed.right, self.precision)

    def fitting(self, left: list[Cell], right: list[Cell], indent: int) -> list[Block]:
        """Two parts side by side where there is room for that, else one below the other."""
        one, most = beside([*left, *right], indent), self.room(0)
        if most is None or max(map(_width, one)) < most:
            return one
        return [*beside(left, indent), *beside(right, indent)]

    def by_rule(self, step: Step, handed: Handed, value: str, target: list[Cell], indent: int) -> list[Block]:
        """The rule in symbols, with the numbers put in, and what it gives."""
        assert handed.symbols is not None
        note = _broadcasting(handed)
        symbols = _clip(handed.symbols, self.room(indent + columns(handed.to) + 8)) + note
        rows: list[list[Cell]] = [[symbols]]
        put_in = self.put_in(step, handed)
        if put_in is not None and put_in != value:
            rows.append([merged([put_in, note.replace(",", " ", 1)])])
        rows.append([numbers.coloured(value)])
        whole: list[Cell] = [*target]
        for number, row in enumerate(rows):
            whole += (["="] if number else []) + row
        most = self.room(0)
        one = beside(whole, indent)
        if most is None or max(_width(block) for block in one) < most:
            return one
        blocks = beside([*target, *rows[0]], indent)
        for row in rows[1:]:
            below = beside(["=", *row], indent + columns(handed.to) + 6 + handed.accumulates)
            if row is rows[-1] or max(_width(block) for block in below) < most:
                blocks += below
        return blocks

    def put_in(self, step: Step, handed: Handed) -> str | None:
        """The rule with the numbers put in; None where it would say no more, or be too long to read."""
        assert handed.rule is not None
        values = {"g": step.cotangent, "y": step.node.value}
        values |= {key: _value(argument) for key, argument in step.node.arguments.items()}
        program = parsed(handed.rule)
        pieces = code(program, lambda name: f"{EDGE}{name}{EDGE}").split(EDGE)  # text, name, text, …, text
        if handed.rule == "g" and not handed.summed and not handed.repeated:
            return None
        if len(program.statements) > 1 or len(handed.rule) > 60 or not 1 <= len(pieces) // 2 <= 5:
            return None
        if handed.symbols is None or (
            ", " in handed.symbols and not handed.rule.startswith(("where(", "unsqueeze("))
        ):
            return None
        for i in range(1, len(pieces), 2):
            value: Any = values.get(pieces[i])
            if not hasattr(value, "shape") or value.numel() > READABLE:
                return None
            if pieces[i + 1].startswith(".mT") and value.ndim >= 2:
                value, pieces[i + 1] = value.mT, pieces[i + 1].removeprefix(".mT")
            text = numbers.tensor(value, self.precision)
            pieces[i] = f"({text})" if text.startswith("-") else text
        return merged(pieces)

    # -- the weighted sum

    def arithmetic(self, one: Arithmetic) -> list[Block]:
        m, n = one.rows.shape
        title = _heading(f"{one.leaf}.grad = Jᵀ·v", "the rows of J, weighted by the seed and added up")
        if m > ROWS or n > READABLE:
            why = f"J is {m}×{n}: too large to write out ({ROWS}×{READABLE} at most)"
            return [title, line(why, indent=2)]
        weights = [numbers.number(float(weight), self.precision) for weight in one.weights]
        terms = " + ".join(f"{_signed(weight)} × row {i}" for i, weight in enumerate(weights))
        total = one.weights @ one.rows
        shown = numbers.tensor(np.vstack([one.rows, total[None]]), self.precision).split("\n")
        lines = [text[1:].removesuffix("]") if i == m else text[1:] for i, text in enumerate(shown)]
        rows: list[tuple[Cell, ...]] = [
            (Text(weight), "×", Text(f"row {i}", "dim"), Text(output, "name"), text)
            for i, (weight, output, text) in enumerate(zip(weights, one.outputs, lines, strict=False))
        ]
        rows.append(("", "=", Text("sum", "dim"), Text(f"{one.leaf}.grad", "name"), Text(lines[-1], "title")))
        return [
            title,
            line(f"{one.leaf}.grad = {terms}", indent=2),
            Table(("seed", "", "", "", f"∂/∂{one.leaf}, flattened"), tuple(rows), rules=0),
        ]


def _signed(weight: str) -> str:
    return f"({weight})" if weight.startswith("-") else weight


def _value(argument: Any) -> Any:
    return argument.value.detach() if isinstance(argument, Node) else argument


def _short(torch: Sequence[str]) -> str:
    return torch[0] if len(torch) == 1 else f"{torch[0]} … {torch[-1]} ({len(torch)} nodes)"


def _clip(text: str, most: int | None) -> str:
    return text if most is None or columns(text) <= most else text[: most - 1] + "…"


def _is_wrong(handed: Handed) -> bool:
    """True if what torch hands on is wrong, and it is known number by number what it should be."""
    return handed.status == "failed" and not np.array_equal(handed.torch, handed.value, equal_nan=True)


def _causes(handed: Handed) -> np.ndarray | None:
    """The causes of a wrong step's numbers; None where they are not known one by one."""
    fits = handed.causes is not None and handed.torch.shape == handed.value.shape
    return handed.causes if handed.status == "failed" and fits else None


def _wrong_marks(handed: Handed) -> numbers.Marks | None:
    causes = _causes(handed)
    return None if causes is None else numbers.Marks(causes == Cause.WRONG, numbers.WRONG)


def _broadcasting(handed: Handed) -> str:
    """What was done to the rule's value to give it the shape of its target."""
    if handed.summed:
        return f", sum over dim {', '.join(map(str, handed.summed))}"
    return f", repeated to {numbers.shape(handed.value.shape)}" if handed.repeated else ""


def _width(block: Block) -> int:
    assert isinstance(block, Line)
    return 1 + block.indent + sum(columns(part.text) for part in block.parts)


def _folded(items: Sequence[Any], most: int, keep: Any = lambda item: False) -> tuple[list[Any], int]:
    """The first and the last of many items, with those to keep; and how many were left out."""
    if len(items) <= most:
        return list(items), 0
    head = most - most // 2
    tail = len(items) - most // 2
    shown = [item for position, item in enumerate(items) if position < head or position >= tail or keep(item)]
    return shown, len(items) - len(shown)
