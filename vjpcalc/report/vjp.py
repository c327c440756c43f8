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
    blocks = [] if vjp.check is None else _verdict(vjp.check)
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
    checks = {} if vjp.check is None else dict(vjp.check.leaves)
    witnesses = {name: leaf.jt_seed for name, leaf in checks.items() if leaf.jt_seed is not None}
    labels = {name: _label(name, gradient) for name, gradient in vjp.gradients.items()}
    verdicts = {name: _cell(checks.get(name)) for name in vjp.gradients}
    taken = _width(labels.values()) + _width(verdicts.values()) + 3 * BORDERS + 1

    def shown(tensor: Any, room: int | None) -> Cell:
        return Text("–", "dim") if tensor is None else numbers.tensor(tensor, precision, room)

    rows: list[tuple[Cell, ...]] = []
    if not witnesses:
        room = None if width is None else width - taken
        for name, gradient in vjp.gradients.items():
            rows.append((labels[name], shown(gradient, room), verdicts[name]))
        return Table(("leaf", "gradient", "verdict"), tuple(rows))
    room = None if width is None else (width - taken - BORDERS) // 2
    tensors = (*vjp.gradients.values(), *witnesses.values())
    if room is None or all(_width([shown(tensor, None)]) <= max(room, 8) for tensor in tensors):
        for name, gradient in vjp.gradients.items():
            pair = shown(gradient, room), shown(witnesses.get(name), room)
            rows.append((labels[name], *pair, verdicts[name]))
        return Table(("leaf", "gradient (backward)", "Jᵀ·v (check)", "verdict"), tuple(rows))
    wide = room * 2 - len("backward")
    for name, gradient in vjp.gradients.items():
        rows.append((labels[name], Text("backward", "dim"), shown(gradient, wide), verdicts[name]))
        rows.append(("", Text("Jᵀ·v", "dim"), shown(witnesses.get(name), wide), ""))
    return Table(("leaf", "", "gradient", "verdict"), tuple(rows), rules=2)


def _width(cells: Iterable[Cell]) -> int:
    return max(len(text) for cell in cells for text in plain_text(cell).split("\n"))


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


def _verdict(check: Check) -> list[Block]:
    verdict = Text(f"{MARK[check.status]} {check.status}", ROLE[check.status])
    blocks: list[Block] = [line(Text("check ", "dim"), verdict, Text("  " + _method(check), "dim"))]
    for name, leaf in check.leaves.items():
        if leaf.reason:
            named = leaf.reason.startswith((f"{name}:", f"{name}[", f"{name} along"))
            reason = leaf.reason if named else f"{name}: {leaf.reason}"
            blocks.append(line(Text(reason, ROLE[leaf.status]), indent=6))
    return blocks


def _method(check: Check) -> str:
    """How the check was made, in words: what is the same for all leaves once, the sizes of J by leaf."""
    leaves = check.leaves
    sizes = ", ".join(f"{name} {'×'.join(map(str, leaf.jacobian_shape))}" for name, leaf in leaves.items())
    ways = dict.fromkeys(leaf.differentiation for leaf in leaves.values() if leaf.differentiation)
    by = f" by {' / '.join(ways)}" if ways and check.method != "forward" else ""
    words = {
        "explicit": f"explicit J ({sizes})",
        "probe": f"random directions in place of J ({sizes})",
        "forward": f"torch's forward mode ({sizes}): not an independent witness",
    }[check.method]
    return f"{words}{by}, engine {check.engine}"
