"""The report of ``jacobian``: each leaf's matrix as numbers or as a heatmap, its rank and its structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np  # noqa: TID253 (imported only once there is a Jacobian to show)
import torch  # noqa: TID253

from vjpcalc.diagnostics import element_name, listed
from vjpcalc.jacobians import NAMED, Jacobians, LeafJacobian
from vjpcalc.job.result import PASSED
from vjpcalc.language.source import width as columns
from vjpcalc.report import numbers
from vjpcalc.report.document import Blank, Block, Heat, Text, line
from vjpcalc.report.vjp import MARK, ROLE, check_lines, expression_lines

SMALL = 16  # rows and columns up to which the numbers themselves are shown
CLOSE = 1e-8  # relative to the largest entry: beyond it, two ways to the same matrix are called different …
ROUNDINGS = 64.0  # … or so many roundings of the leaf's dtype


def jacobian_report(
    jacobians: Jacobians, *, precision: int = numbers.PRECISION, width: int | None = None
) -> list[Block]:
    """The whole report."""
    blocks: list[Block] = [*expression_lines(jacobians.forward)]
    for leaf in jacobians.leaves.values():
        close = {way: _close(jacobians, leaf, way) for way in leaf.differences}
        blocks += [Blank(), *_leaf(leaf, precision, width, close)]
    return blocks + _verdict(jacobians)


def _verdict(jacobians: Jacobians) -> list[Block]:
    """What became of the row in which backward and the reference are farthest apart, where it was judged."""
    suspect = jacobians.suspect
    if suspect is None:
        return []
    where = " and ".join(
        element_name(name, tuple(map(int, index)))
        for name, seed in suspect.seeds.items()
        for index in seed.nonzero()
    )
    mark = Text(f"{MARK[jacobians.status]} ", ROLE[jacobians.status])
    if jacobians.status == PASSED:
        leaves = jacobians.leaves.values()
        close = all(_close(jacobians, leaf, way) for leaf in leaves for way in leaf.differences)
        said = f"the row of {where}, in which they are farthest apart, passes the check"
        return [] if close else [line(mark, said)]
    said = f"the row of {where}, in which they are farthest apart, judged with a seed of 1 there:"
    if jacobians.failed:
        said = f"the row of {where} that backward gives is wrong, judged with a seed of 1 there:"
    return [Blank(), line(mark, said), *check_lines(suspect)]


def _close(jacobians: Jacobians, leaf: LeafJacobian, way: str) -> bool:
    """True if another way to a matrix comes to the same, but for rounding."""
    eps = torch.finfo(jacobians.forward.leaves[leaf.leaf].dtype).eps
    return leaf.differences[way] <= max(CLOSE, ROUNDINGS * eps) * _scale(leaf)


def _scale(leaf: LeafJacobian) -> float:
    """The size of the largest entry."""
    entries = leaf.matrix if isinstance(leaf.matrix, np.ndarray) else leaf.matrix.data
    return float(np.abs(entries[np.isfinite(entries)]).max(initial=0.0))


def _leaf(leaf: LeafJacobian, precision: int, width: int | None, close: Mapping[str, bool]) -> list[Block]:
    """One matrix, and which other ways to it are ``close``."""
    m, n = leaf.matrix.shape
    names = dict.fromkeys(name.partition("[")[0] for name in leaf.outputs)
    outputs = ", ".join(names) if len(names) == 1 else f"({', '.join(names)})"
    title = Text(f"∂{outputs}/∂{leaf.leaf}", "title")
    blocks: list[Block] = [line(title, Text(f"  {m}×{n}, {leaf.by}: {leaf.method}", "dim"))]
    if m * n:
        blocks.append(_matrix(leaf, _scale(leaf), precision, width))
    blocks.append(line("; ".join([*_rank(leaf), *leaf.structure])))
    if leaf.kinks:
        where = listed(_labels(leaf.kinks), NAMED)
        blocks.append(line(Text("? ", "unsure"), f"a kink at {where}: the slopes from its two sides differ"))
    entries = leaf.matrix if isinstance(leaf.matrix, np.ndarray) else leaf.matrix.data
    if unknown := int(np.count_nonzero(~np.isfinite(entries))):
        what = f"{unknown:,} entries are not finite" if unknown > 1 else "an entry is not finite"
        blocks.append(line(Text("? ", "unsure"), f"{what}: nothing is known there"))
    for way, difference in leaf.differences.items():
        how = f"differ by {difference:.2g} at most" if difference else "agree to the last digit"
        mark = Text("✓ ", "good") if close[way] else Text("? ", "unsure")
        where = "" if close[way] else f", in {leaf.places[way]}"
        blocks.append(line(mark, f"{leaf.by} and {way} {how}{where}"))
    return blocks


def _rank(leaf: LeafJacobian) -> list[str]:
    if leaf.rank is not None:
        return [f"rank {leaf.rank:,}"]
    return [] if leaf.rank_limit is None else [f"rank at most {leaf.rank_limit:,}"]


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
