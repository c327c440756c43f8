"""The report of the main job: outputs and seeds, then each leaf's gradient next to Jᵀ·seed, and verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 (imported only once there is a result to show)

from vjpcalc.diagnostics import count
from vjpcalc.job.result import OFF, Cause
from vjpcalc.report import numbers
from vjpcalc.report.document import Blank, Block, Cell, Line, Table, Text, line, plain_text
from vjpcalc.tensors.dtypes import DECIMALS, dtype_of

if TYPE_CHECKING:
    from vjpcalc.job.result import VJP, Check, Forward, LeafCheck

ROLE = {"passed": "good", "failed": "bad", "inconclusive": "unsure", "off": "dim"}
MARK = {"passed": "✓", "failed": "✗", "inconclusive": "?", "off": "–"}


def vjp_report(vjp: VJP, *, precision: int = numbers.PRECISION, width: int | None = None) -> list[Block]:
    """The whole report. ``width`` is the room there is in columns; None: as much as it takes."""
    blocks: list[Block] = [*expression_lines(vjp.forward), Blank(), _forward(vjp, precision, width), Blank()]
    blocks.append(gradient_table(vjp, precision, width))
    return [*blocks, Blank(), *check_lines(vjp)]


def check_lines(vjp: VJP) -> list[Block]:
    """The check's verdict, and the notes."""
    blocks = [] if vjp.check.status == OFF else _verdict(vjp.check)
    return blocks + [line(Text("note  ", "dim"), note) for note in vjp.notes]


def expression_lines(run: Forward) -> list[Line]:
    """The program as it was written."""
    program = run.job.program
    lines = program.text.split("\n")
    if list(run.outputs) == ["out"] and len(program.statements) == 1 == len(lines):
        return [line(Text("out", "name"), " = ", Text(lines[0], "title"))]
    return [line(Text(text, "title")) for text in lines]


def _label(name: str, tensor: Any) -> Cell:
    """A tensor's name, its shape, and its dtype where that is not the usual one."""
    dtype = dtype_of(tensor)
    shape = numbers.shape(tensor.shape)
    return Text(name, "name"), Text(f"\n{shape}" + f"\n{dtype}" * (dtype != "float64"), "dim")


BORDERS = 3  # columns that a table's border and padding take for each cell, and one more


def _forward(vjp: VJP, precision: int, width: int | None) -> Table:
    labels = {name: _label(name, output) for name, output in vjp.outputs.items()}
    room = None if width is None else (width - _width(labels.values()) - 3 * BORDERS - 1) // 2
    rows = (
        (labels[name], *(numbers.tensor(tensor, precision, room) for tensor in (output, vjp.seeds[name])))
        for name, output in vjp.outputs.items()
    )
    return Table(("output", "value", "seed v"), tuple(rows))


def gradient_table(vjp: VJP, precision: int, width: int | None) -> Table:
    """Gradient and Jᵀ·v side by side where there is room for that, else one below the other."""
    checks = dict(vjp.check.leaves)
    witnesses = {name: leaf.jt_seed for name, leaf in checks.items() if leaf.jt_seed is not None}
    labels = {name: _label(name, gradient) for name, gradient in vjp.gradients.items()}
    verdicts = {name: _cell(checks.get(name), dtype_of(own)) for name, own in vjp.gradients.items()}
    taken = _width(labels.values()) + _width(verdicts.values()) + 3 * BORDERS + 1

    def gradient(name: str, room: int | None) -> Cell:
        marks = gradient_marks(checks.get(name))
        return numbers.coloured(numbers.tensor(vjp.gradients[name], precision, room, marks))

    def witness(name: str, room: int | None) -> Cell:
        if name not in witnesses:
            return Text(numbers.NONE, "dim")
        marks = expected_marks(checks[name], precision)
        return numbers.coloured(numbers.tensor(witnesses[name], precision, room, marks))

    names = list(vjp.gradients)
    rows: list[tuple[Cell, ...]] = []
    if not witnesses:
        room = None if width is None else width - taken
        rows += [(labels[name], gradient(name, room), verdicts[name]) for name in names]
        return Table(("leaf", "gradient", "verdict"), tuple(rows))
    room = None if width is None else (width - taken - BORDERS) // 2
    whole = (cell for name in names for cell in (gradient(name, None), witness(name, None)))
    if room is None or all(_width([cell]) <= max(room, 8) for cell in whole):
        for name in names:
            rows.append((labels[name], gradient(name, room), witness(name, room), verdicts[name]))
        return Table(("leaf", "gradient (backward)", "Jᵀ·v (check)", "verdict"), tuple(rows))
    wide = room * 2 - len("backward")
    for name in names:
        rows.append((labels[name], Text("backward", "dim"), gradient(name, wide), verdicts[name]))
        rows.append(("", Text("Jᵀ·v", "dim"), witness(name, wide), ""))
    return Table(("leaf", "", "gradient", "verdict"), tuple(rows), rules=2)


def gradient_marks(leaf: LeafCheck | None) -> numbers.Marks:
    """The wrong numbers of a gradient."""
    if leaf is None or leaf.causes is None:
        return numbers.Marks()
    return numbers.Marks(leaf.causes == Cause.WRONG, numbers.WRONG, focus=_focus(leaf))


def _focus(leaf: LeafCheck) -> tuple[int, ...] | None:
    """The element that must be seen, since the check has something against it."""
    return None if leaf.status == "passed" else leaf.index


def expected_marks(leaf: LeafCheck, precision: int) -> numbers.Marks:
    """What the wrong numbers should be; and which numbers of Jᵀ·v mean nothing, so that they are not shown.

    At a kink the interval of the slopes from its two sides stands for the number; where nothing is to be
    expected (NaN), there is nothing to show.
    """
    assert leaf.jt_seed is not None
    return right_marks(leaf.jt_seed, leaf.causes, leaf.left, leaf.right, precision, _focus(leaf))


def right_marks(
    value: np.ndarray,
    causes: np.ndarray | None,
    left: np.ndarray | None,
    right: np.ndarray | None,
    precision: int,
    focus: tuple[int, ...] | None = None,
) -> numbers.Marks:
    """The same of any ``value`` that should have been, with what it is from either side of a kink."""
    hidden = ~np.isfinite(value)
    if causes is None:
        return numbers.Marks(hidden=hidden)

    def instead(k: int) -> str:
        if left is None or right is None or causes.flat[k] != Cause.KINK:
            return numbers.NONE
        slopes = sorted(float(side.flat[k]) + 0.0 for side in (left, right))
        ends = [numbers.number(slope, precision) for slope in slopes]
        return numbers.NONE if "nan" in ends or ends[0] == ends[1] else f"[{', '.join(ends)}]"

    return numbers.Marks(causes == Cause.WRONG, numbers.RIGHT, hidden, instead, focus)


def _width(cells: Iterable[Cell]) -> int:
    return max(len(text) for cell in cells for text in plain_text(cell).split("\n"))


def _cell(leaf: LeafCheck | None, dtype: str) -> Cell:
    if leaf is None:
        return (Text("not checked", "dim"),)
    parts = [Text(f"{MARK[leaf.status]} {leaf.status}", ROLE[leaf.status])]
    size = leaf.jacobian_shape[1]
    if leaf.status == "passed" and leaf.digits:
        parts.append(Text(f"\n{digits(leaf.digits, dtype)}", "dim"))
    elif leaf.status == "failed" and leaf.wrong and leaf.causes is not None and size > 1:
        parts.append(Text(f"\n{leaf.wrong:,} of {size:,}", "dim"))
    return tuple(parts)


def digits(number: int, dtype: str) -> str:
    """``13 digits``, ``1 digit``; ``all digits`` where the dtype has no more."""
    return "all digits" if number >= DECIMALS[dtype] else count(number, "digit")


def _verdict(check: Check) -> list[Block]:
    verdict = Text(f"{MARK[check.status]} {check.status}", ROLE[check.status])
    blocks: list[Block] = [line(Text("check ", "dim"), verdict, Text("  " + check.how, "dim"))]
    for name, leaf in check.leaves.items():
        for position, sentence in enumerate(leaf.sentences(name)):
            blocks.append(line(Text(sentence, ROLE[leaf.status]), indent=8 if position else 6))
    return blocks
