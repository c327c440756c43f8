"""The report of the main job: outputs and seeds, then each leaf's gradient next to Jᵀ·seed and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vjpcalc.report import numbers
from vjpcalc.report.document import Blank, Block, Cell, Line, Table, Text, line

if TYPE_CHECKING:
    from vjpcalc.backward import VJP
    from vjpcalc.check import Check, LeafCheck

ROLE = {"passed": "good", "failed": "bad", "inconclusive": "unsure", "off": "dim"}
MARK = {"passed": "✓", "failed": "✗", "inconclusive": "?", "off": "–"}


def vjp_report(vjp: VJP, *, precision: int = numbers.PRECISION, width: int | None = None) -> list[Block]:
    """The whole report. ``width`` is the room there is in columns; None: as much as it takes."""
    blocks: list[Block] = [*_expression(vjp), Blank(), _forward(vjp, precision, width), Blank()]
    blocks.append(_gradients(vjp, precision, width))
    blocks.append(Blank())
    if vjp.check is not None:
        blocks += _verdict(vjp, vjp.check)
    blocks += [line(Text("note  ", "dim"), note) for note in vjp.notes]
    return blocks


def _expression(vjp: VJP) -> list[Line]:
    lines = vjp.expression.split("\n")
    names = list(vjp.outputs)
    if names == ["out"] and len(lines) == 1:
        return [line(Text("out", "name"), " = ", Text(lines[0], "title"))]
    return [line(Text(text, "title")) for text in lines]


def _matrices(values: list[Any], precision: int, room: int | None) -> list[str]:
    return [numbers.tensor(value, precision, room) for value in values]


def _forward(vjp: VJP, precision: int, width: int | None) -> Table:
    room = None if width is None else max((width - 34) // 2, 12)
    rows = []
    for name, output in vjp.outputs.items():
        value, seed = _matrices([output, vjp.seeds[name]], precision, room)
        rows.append((Text(name, "name"), Text(_kind(output), "dim"), value, seed))
    return Table(("output", "", "value", "seed v"), tuple(rows))


def _kind(tensor: Any) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}\n{numbers.shape(tensor.shape)}"


def _gradients(vjp: VJP, precision: int, width: int | None) -> Table:
    witnesses = {} if vjp.check is None else dict(vjp.check.leaves)
    shown = {name: leaf.jt_seed for name, leaf in witnesses.items() if leaf.jt_seed is not None}
    room = None if width is None else max((width - 48) // 2, 8)
    beside = all(_fits(value, precision, room) for value in (*vjp.gradients.values(), *shown.values()))
    rows: list[tuple[Cell, ...]] = []
    for name, gradient in vjp.gradients.items():
        label = (Text(name, "name"),)
        kind = Text(_kind(gradient), "dim")
        verdict = _cell(witnesses.get(name))
        witness = shown.get(name)
        if beside:
            other: Cell = Text("–", "dim") if witness is None else numbers.tensor(witness, precision, room)
            row: tuple[Cell, ...] = (label, kind, numbers.tensor(gradient, precision, room), other, verdict)
            rows.append(row if shown else (*row[:3], verdict))
        else:
            wide = None if width is None else max(width - 48, 12)
            parts = [Text("backward\n", "dim"), Text(numbers.tensor(gradient, precision, wide) + "\n")]
            if witness is not None:
                parts += [Text("Jᵀ·v\n", "dim"), Text(numbers.tensor(witness, precision, wide))]
            rows.append((label, kind, tuple(parts), verdict))
    if beside and shown:
        return Table(("leaf", "", "gradient (backward)", "Jᵀ·v (check)", "verdict"), tuple(rows))
    return Table(("leaf", "", "gradient", "verdict"), tuple(rows))


def _fits(value: Any, precision: int, room: int | None) -> bool:
    if room is None:
        return True
    return max(map(len, numbers.tensor(value, precision).split("\n"))) <= room


def _cell(leaf: LeafCheck | None) -> Cell:
    if leaf is None:
        return (Text("not checked", "dim"),)
    parts = [Text(f"{MARK[leaf.status]} {leaf.status}", ROLE[leaf.status])]
    if leaf.digits is not None and leaf.status != "failed":
        parts.append(Text(f"\n{digits(leaf)}", "dim"))
    return tuple(parts)


def digits(leaf: LeafCheck) -> str:
    """``all digits``, ``13 digits``."""
    return "all digits" if leaf.digits == 16 else f"{leaf.digits} digits"


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
            reason = leaf.reason if leaf.reason.startswith(name) else f"{name}: {leaf.reason}"
            blocks.append(line(Text("      ", "dim"), Text(reason, ROLE[leaf.status])))
    return blocks


def _methods(check: Check) -> list[str]:
    """How the check was made, in words: what is the same for all leaves once, the sizes of J by leaf."""
    sizes = ", ".join(f"{name} {m}×{n}" for name, (m, n) in ((k, leaf.jacobian_shape) for k, leaf in check.leaves.items()))
    ways = " / ".join(dict.fromkeys(leaf.differentiation for leaf in check.leaves.values() if leaf.differentiation))
    said = {
        "explicit": f"explicit J ({sizes})",
        "probe": f"J too large to write out ({sizes}): random directions",
        "forward": f"torch's forward mode ({sizes}): not an independent witness",
    }[check.method]
    return [said + (f" by {ways}" if ways and check.method != "forward" else "") + f", engine {check.engine}"]
