"""Sets of leaf elements, many at once, as flat arrays.

NumPy alone: scipy.sparse would be a third of a second of a cold start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

# Where operators mix: so few columns are evaluated as soon as their pattern is found, which may be full.
SMALL = 32
# The numbers in all sets together, 8 bytes each, a few times over while they are united. A five-point
# stencil on a million elements has 5,000,000.
MOST = 8_000_000
# Different sets in which an element is, on the average: tanh(x @ x.T) of 300×40 has 600, and no two of its
# columns can share an evaluation.
MOST_SHARED = 256
# A set of more than this share of the leaf leaves nothing to win: each of its elements needs its own colour.
LARGE_SHARE = 0.5


class Dense(Exception):  # noqa: N818 (an event, not an error)
    """The sets grow too large for a pattern to be of use, or the leaf is too small."""


@dataclass(frozen=True, eq=False, slots=True)
class Sets:
    """Sets of the numbers below ``width``: the k-th is ``members[starts[k]:starts[k + 1]]``, ascending."""

    width: int
    starts: np.ndarray
    members: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        return self.starts[1:] - self.starts[:-1]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def taken(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The members of these sets, one set after the other, and how many each has."""
        starts = self.starts[which]
        sizes = self.starts[which + 1] - starts
        total, largest = int(sizes.sum()), int(sizes.max(initial=0))
        if total > MOST:
            raise Dense
        if total == largest * len(sizes):  # all of one size
            return self.members[(starts[:, None] + np.arange(largest)).ravel()], sizes
        return self.members[np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(total)], sizes


def union(parts: Sequence[tuple[Sets, np.ndarray, np.ndarray | None]], count: int) -> Sets:
    """``count`` sets: a part says which of its sets (-1: none) go to which of them (None: one to each).

    Raises Dense.
    """
    width = parts[0][0].width
    if width < SMALL:
        raise Dense
    bits = width.bit_length()  # a shift takes a tenth of a division
    keys, total = [], 0
    for sets, which, owner in parts:
        owner = np.arange(len(which)) if owner is None else owner
        filled = which >= 0
        if not filled.all():
            which, owner = which[filled], owner[filled]
        members, sizes = sets.taken(which)
        total += len(members)
        if total > MOST_SHARED * width:
            raise Dense
        keys.append((np.repeat(owner, sizes) << bits) + members)
    joined = np.sort(np.concatenate(keys), kind="stable")  # few runs: fast
    joined = joined[is_new(joined)]
    sizes = np.bincount(joined >> bits, minlength=count)
    if sizes.max(initial=0) > LARGE_SHARE * width:
        raise Dense
    return Sets(width, starts_of(sizes), joined & ((1 << bits) - 1))


def starts_of(sizes: np.ndarray) -> np.ndarray:
    """Where each of several runs of these sizes begins, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.intp), np.cumsum(sizes)])


def stacked(several: Sequence[Sets]) -> tuple[Sets, list[int]]:
    """All of these sets as one, and by how much the numbers of each grow."""
    different = list({id(sets): sets for sets in several}.values())
    ends = np.cumsum([len(sets) for sets in different])
    shift = {id(sets): int(end) - len(sets) for sets, end in zip(different, ends, strict=True)}
    if len(different) == 1:
        return different[0], [0] * len(several)
    sizes = np.concatenate([sets.sizes for sets in different])
    members = np.concatenate([sets.members for sets in different])
    return Sets(different[0].width, starts_of(sizes), members), [shift[id(sets)] for sets in several]


def distinct(a: np.ndarray, b: np.ndarray, count: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The different pairs of numbers, ascending, and which of them each is; b is from -1 to below ``count``.

    By a sort: numpy.unique hashes, which takes ten times as long.
    """
    bits = (count + 1).bit_length()
    keys = (a << bits) + (b + 1)  # the pair of two -1 is negative, and comes back as it was
    which = np.arange(len(keys))
    if not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        new = is_new(keys)
        which[order] = np.cumsum(new) - 1
        keys = keys[new]
    return (keys >> bits, (keys & ((1 << bits) - 1)) - 1), which


def is_new(ordered: np.ndarray) -> np.ndarray:
    """True where a number is not the one before it."""
    new = np.ones(len(ordered), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return new
