"""The report of ``jacobian``: each leaf's matrix as numbers or as a heatmap, its rank and its structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np  # noqa: TID253 (imported only once there is a Jacobian to show)

from vjpcalc.diagnostics import element_name, listed
from vjpcalc.jacobians import NAMED, Jacobians, LeafJacobian
from vjpcalc.language.source import width as columns
from vjpcalc.report import numbers
from vjpcalc.report.document import Blank, Block, Heat, Text, line
from vjpcalc.report.vjp import check_lines, expression_lines

SMALL = 16  # rows and columns up to which the numbers themselves are shown
CLOSE = 1e-8  # relative to the largest entry: beyond it, two ways to the same matrix are called different


def jacobian_report(
    jacobians: Jacobians, *, precision: int = numbers.PRECISION, width: int | None = None
) -> list[Block]:
    """The whole report."""
    blocks: list[Block] = [*expression_lines(jacobians.forward)]
    for leaf in jacobians.leaves.values():
        blocks += [Blank(), *_leaf(leaf, precision, width)]
    if jacobians.failed:
        assert jacobians.suspect is not None
        where = " and ".join(
            element_name(name, tuple(map(int, index)))
            for name, seed in jacobians.suspect.seeds.items()
            for index in seed.nonzero()
        )
        said = f"the row of {where} that backward gives is wrong, judged with a seed of 1 there:"
        blocks += [Blank(), line(Text("✗ ", "bad"), said), *check_lines(jacobians.suspect)]
    return blocks


def _leaf(leaf: LeafJacobian, precision: int, width: int | None) -> list[Block]:
    m, n = leaf.matrix.shape
    names = dict.fromkeys(name.partition("[")[0] for name in leaf.outputs)
    outputs = ", ".join(names) if len(names) == 1 else f"({', '.join(names)})"
    title = Text(f"∂{outputs}/∂{leaf.leaf}", "title")
    blocks: list[Block] = [line(title, Text(f"  {m}×{n}, {leaf.by}: {leaf.method}", "dim"))]
    entries = leaf.matrix if isinstance(leaf.matrix, np.ndarray) else leaf.matrix.data
    scale = float(np.abs(entries[np.isfinite(entries)]).max(initial=0.0))
    if m * n:
        blocks.append(_matrix(leaf, scale, precision, width))
    blocks.append(line("; ".join([*_rank(leaf), *leaf.structure])))
    if leaf.kinks:
        where = listed(_labels(leaf.kinks), NAMED)
        blocks.append(line(Text("? ", "unsure"), f"a kink at {where}: the slopes from its two sides differ"))
    for way, difference in leaf.differences.items():
        close = difference <= CLOSE * scale
        how = f"differ by {difference:.2g} at most" if difference else "agree to the last digit"
        mark = Text("✓ ", "good") if close else Text("? ", "unsure")
        blocks.append(line(mark, f"{leaf.by} and {way} {how}" + f", in {leaf.places[way]}" * (not close)))
    return blocks


def _rank(leaf: LeafJacobian) -> list[str]:
    if leaf.rank is not None:
        return [f"rank {leaf.rank}"]
    return [] if leaf.rank_limit is None else [f"rank at most {leaf.rank_limit}"]


def _matrix(leaf: LeafJacobian, scale: float, precision: int, width: int | None) -> Heat:
    """The numbers themselves where there is room for them, else their colours alone."""
    m, n = leaf.matrix.shape
    rows, heads = _labels(leaf.outputs), _labels(leaf.elements)
    if m <= SMALL and n <= SMALL:
        texts = _numbers(leaf.matrix, precision)
        cells = [max(map(columns, column)) + 2 for column in zip(heads, *texts, strict=True)]
        if width is None or sum(cells) + max(map(columns, rows)) + 2 <= width:
            return Heat(leaf.matrix, rows, heads, scale, tuple(map(tuple, texts)))
    return Heat(leaf.matrix, rows, heads, scale)


def _labels(names: Sequence[str]) -> tuple[str, ...]:
    """Element names without blanks in them: ``x[0,1]``."""
    return tuple(name.replace(", ", ",") for name in names)


def _numbers(matrix: np.ndarray, precision: int) -> list[list[str]]:
    """The entries as texts, each column with its own number of decimals; a zero is a ``0``."""
    return [[numbers.number(value + 0.0, precision) for value in row] for row in matrix.tolist()]
