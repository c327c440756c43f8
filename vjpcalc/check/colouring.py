"""Which columns of a Jacobian may share one evaluation.

Columns that have no row in common are of one *colour*: one direction that moves all of their elements yields
every entry in them, for no output depends on more than one of these (Curtis, Powell and Reid, Journal of the
Institute of Mathematics and its Applications 13, 1974).
"""

from __future__ import annotations

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

from vjpcalc.check.sets import LARGE_SHARE, Sets, starts_of

# Colours that are looked for: a column that none of these suits is evaluated alone.
MOST_COLOURS = 256
# Pairs of neighbours up to which equal distances are looked for.
PAIRS = 20_000_000


def colouring(sets: Sets) -> np.ndarray | None:
    """A colour from 0 up for each number, so that no two of one colour are in one set; shape (width,).

    None where most numbers would have a colour of their own. Where the numbers in a set are at few distances
    from each other, as in a stencil, a band or blocks, it is the remainder of a division that tells them
    apart; else the lowest colour free, in the order of the numbers.
    """
    most = int(sets.sizes.max(initial=0))
    if most <= 1:
        return np.zeros(sets.width, np.intp)
    period = _period(sets, most)
    if period is not None and period <= most + 1 + most // 4:
        return np.arange(sets.width) % period
    colours = _greedy(sets)
    if period is None or (colours is not None and colours.max() < period):
        return colours
    return np.arange(sets.width) % period


def _period(sets: Sets, most: int) -> int | None:
    """The least number by which no two members of a set leave the same remainder; None if that is large."""
    if most * len(sets.members) > PAIRS:
        return None
    owner = np.repeat(np.arange(len(sets)), sets.sizes)
    apart = np.zeros(sets.width, bool)
    for step in range(1, most):
        together = owner[step:] == owner[:-step]
        apart[(sets.members[step:] - sets.members[:-step])[together]] = True
    return next((k for k in range(most, 2 * most + 8) if not apart[k::k].any()), None)


def _greedy(sets: Sets) -> np.ndarray | None:
    order = np.argsort(sets.members, kind="stable")
    owner = np.repeat(np.arange(len(sets)), sets.sizes)[order]
    starts = starts_of(np.bincount(sets.members, minlength=sets.width)).tolist()
    taken = [0] * len(sets)  # the colours in each set, as bits
    every, alone = (1 << MOST_COLOURS) - 1, 0
    colours = np.zeros(sets.width, np.intp)
    for number in range(sets.width):
        own = owner[starts[number] : starts[number + 1]].tolist()
        used = 0
        for k in own:
            used |= taken[k]
            if used == every:
                colours[number] = MOST_COLOURS + alone
                alone += 1
                break
        else:
            free = ~used & (used + 1)
            for k in own:
                taken[k] |= free
            colours[number] = free.bit_length() - 1
        if alone > LARGE_SHARE * sets.width:
            return None
    return colours
