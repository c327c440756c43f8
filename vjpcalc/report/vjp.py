"""The report of the main job: outputs and seeds, then each leaf's gradient next to Jᵀ·seed, and verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vjpcalc.report import numbers
from vjpcalc.report.document import Blank, Block, Cell, Line, Table, Text, line, plain_text
from vjpcalc.tensors.dtypes import dtype_of

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
    blocks = [] if vjp.check is None else _verdict(vjp, vjp.check)
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
    return (
        Text(name, "name"),
        Text(f"\n{numbers.shape(tensor.shape)}" + f"\n{dtype}" * (dtype != "float64"), "dim"),
    )


BORDERS = 3  # columns that a table's border and padding take for each cell, and one more


def _forward(vjp: VJP, precision: int, width: int | None) -> Table:
    labels = {name: _label(name, output) for name, output in vjp.outputs.items()}
    room = None if width is None else (width - _width(labels.values()) - 3 * BORDERS - 1) // 2
    rows = [
        (
            labels[name],
            numbers.tensor(output, precision, room),
            numbers.tensor(vjp.seeds[name], precision, room),
        )
        for name, output in vjp.outputs.items()
    ]
    return Table(("output", "value", "seed v"), tuple(rows))


def gradient_table(vjp: VJP, precision: int, width: int | None) -> Table:
    """Gradient and Jᵀ·v side by side where there is room for that, else one below the other."""
    checks = {} if vjp.check is None else dict(vjp.check.leaves)
    shown = {name: leaf.jt_seed for name, leaf in checks.items() if leaf.jt_seed is not None}
    labels = {name: _label(name, gradient) for name, gradient in vjp.gradients.items()}
    verdicts = {name: _cell(checks.get(name)) for name in vjp.gradients}
    taken = _width(labels.values()) + _width(verdicts.values())
    room = None if width is None else (width - taken - 4 * BORDERS - 1) // 2
    if not shown:
        wide = None if width is None else width - taken - 3 * BORDERS - 1
        rows = [
            (labels[k], numbers.tensor(g, precision, wide), verdicts[k]) for k, g in vjp.gradients.items()
        ]
        return Table(("leaf", "gradient", "verdict"), tuple(rows))
    if room is None or all(
        _fits(value, precision, room) for value in (*vjp.gradients.values(), *shown.values())
    ):
        beside = [
            (
                labels[name],
                numbers.tensor(gradient, precision, room),
                _witness(shown.get(name), precision, room),
                verdicts[name],
            )
            for name, gradient in vjp.gradients.items()
        ]
        return Table(("leaf", "gradient (backward)", "Jᵀ·v (check)", "verdict"), tuple(beside))
    wide = room * 2 - len("backward")
    below = []
    for name, gradient in vjp.gradients.items():
        for title, matrix in (
            ("backward", numbers.tensor(gradient, precision, wide)),
            ("Jᵀ·v", _witness(shown.get(name), precision, wide)),
        ):
            first = title == "backward"
            below.append(
                (labels[name] if first else "", Text(title, "dim"), matrix, verdicts[name] if first else "")
            )
    return Table(("leaf", "", "gradient", "verdict"), tuple(below), rules=2)


def _witness(jt_seed: Any, precision: int, room: int | None) -> Cell:
    return Text("–", "dim") if jt_seed is None else numbers.tensor(jt_seed, precision, room)


def _width(cells: Iterable[Cell]) -> int:
    return max(len(text) for cell in cells for text in plain_text(cell).split("\n"))


def _fits(value: Any, precision: int, room: int) -> bool:
    return max(map(len, numbers.tensor(value, precision).split("\n"))) <= max(room, 8)


def _cell(leaf: LeafCheck | None) -> Cell:
    if leaf is None:
        return (Text("not checked", "dim"),)
    parts = [Text(f"{MARK[leaf.status]} {leaf.status}", ROLE[leaf.status])]
    if leaf.digits is not None and leaf.status == "passed":
        parts.append(Text(f"\n{digits(leaf)}", "dim"))
    return tuple(parts)


def digits(leaf: LeafCheck) -> str:
    """``all digits``, ``13 digits``."""
    if leaf.digits == 0:
        return "0 to rounding"
    return "all digits" if leaf.digits == 16 else f"{leaf.digits} digit" + "s" * (leaf.digits != 1)


def _verdict(vjp: VJP, check: Check) -> list[Block]:
    blocks: list[Block] = [
        line(
            Text("check ", "dim"),
            Text(f"{MARK[check.status]} {check.status}", ROLE[check.status]),
            Text("  " + "; ".join(_methods(check)), "dim"),
        )
    ]
    for name, leaf in check.leaves.items():
        if leaf.reason:
            named = leaf.reason.startswith((f"{name}:", f"{name}[", f"{name} along"))
            reason = leaf.reason if named else f"{name}: {leaf.reason}"
            blocks.append(line(Text(reason, ROLE[leaf.status]), indent=6))
    return blocks


def _methods(check: Check) -> list[str]:
    """How the check was made, in words: what is the same for all leaves once, the sizes of J by leaf."""
    sizes = ", ".join(
        f"{name} {m}×{n}" for name, (m, n) in ((k, leaf.jacobian_shape) for k, leaf in check.leaves.items())
    )
    ways = " / ".join(
        dict.fromkeys(leaf.differentiation for leaf in check.leaves.values() if leaf.differentiation)
    )
    said = {
        "explicit": f"explicit J ({sizes})",
        "probe": f"random directions in place of J ({sizes})",
        "forward": f"torch's forward mode ({sizes}): not an independent witness",
    }[check.method]
    return [said + (f" by {ways}" if ways and check.method != "forward" else "") + f", engine {check.engine}"]
