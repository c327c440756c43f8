"""Which leaf elements each output depends on: where a Jacobian may have entries.

The program is run on sets of element numbers instead of values: an elementwise operator unites the sets of
its operands, a movement moves them, and a row of the table says which elements any other operator mixes
(``mixes``, at the head of ``operators/row.py``). No entry of J is outside of the pattern that comes of it;
some inside may be 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a trace to replay)

from vjpcalc.check.colouring import colouring
from vjpcalc.check.linear import Linear
from vjpcalc.check.nans import dependence
from vjpcalc.check.sets import MOST, SMALL, Dense, Sets, distinct, stacked, starts_of, union
from vjpcalc.engines.kernels.linalg import einsum_labels, tensordot_labels
from vjpcalc.engines.kernels.neural import sliding_windows
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.language.trace import Applied, Node, Trace, ancestors, with_values
from vjpcalc.operators.row import Call, numel


@dataclass(frozen=True, eq=False, slots=True)
class Dependence:
    """What each element of a node depends on: a number in ``sets``, -1 for nothing; shaped like the node."""

    sets: Sets
    places: np.ndarray


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where a Jacobian of ``shape`` (m, n) may have entries other than 0: ``rows``, ascending, ``columns``.

    ``sets`` are its rows, equal ones once.
    """

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    sets: Sets

    @functools.cached_property
    def colours(self) -> np.ndarray | None:
        """The colour of each column, shape (n,), from 0 up; None where hardly any two could have one."""
        return colouring(self.sets)

    @property
    def single(self) -> bool:
        """True if each row has one entry at the most."""
        return bool(self.sets.sizes.max(initial=0) <= 1)


def pattern(
    trace: Trace,
    leaf: Node,
    targets: Sequence[Node],
    varying: Mapping[int, Node],
    *,
    smooth: bool,
    linear: Mapping[int, Sequence[tuple[Node, Linear]]] | None = None,
) -> Pattern | None:
    """The pattern of ∂targets/∂leaf, joined in order; None where it is full, too large, or not worth finding.

    ``varying`` are the nodes that depend on the leaf, as far as that is to count. ``smooth`` says that what
    an operator chooses by its value stays chosen, as it does away from kinks. Of nodes whose derivatives are
    known, ``linear`` by their indices, the zeros count as such.
    """
    n = numel(leaf.shape)
    single = Sets(n, np.arange(n + 1), np.arange(n))
    known = {leaf.index: Dependence(single, np.arange(n).reshape(leaf.shape))}
    wanted = ancestors(targets, through=lambda node: node.index in varying)
    try:
        for node in trace.applied:
            if node in wanted and node is not leaf:
                if linear and node.index in linear:
                    known[node.index] = _through(node, known, linear[node.index])
                else:
                    known[node.index] = _dependence(node, known, smooth=smooth)
        return _joined([known.get(node.index) or numel(node.shape) for node in targets], single)
    except Dense:
        return None


def _joined(targets: Sequence[Dependence | int], single: Sets) -> Pattern:
    """The pattern of targets one below the other; those that depend on nothing are their sizes."""
    rows, columns, parts = [], [], []
    start = 0
    for target in targets:
        if isinstance(target, int):
            start += target
            continue
        places = target.places.ravel()
        filled = np.flatnonzero(places >= 0)
        members = places[filled]
        if target.sets is single:
            rows.append(filled + start)
        else:
            parts.append(target.sets.taken(_used(target)))
            members, own = target.sets.taken(members)
            rows.append(np.repeat(filled + start, own))
        columns.append(members)
        start += places.size
    sets = single
    if parts:
        members, sizes = (np.concatenate(part) for part in zip(*parts, strict=True))
        sets = Sets(single.width, starts_of(sizes), members)
    return Pattern((start, single.width), _end_to_end(rows), _end_to_end(columns), sets)


def _end_to_end(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.intp), *parts])


def _used(part: Dependence) -> np.ndarray:
    """The numbers of the sets that a node's elements have."""
    mark = np.zeros(len(part.sets) + 1, bool)
    mark[part.places.ravel()] = True  # -1 is the last
    return np.flatnonzero(mark[:-1])


# ---- one operator ------------------------------------------------------------------------------------------


def _dependence(node: Applied, known: Mapping[int, Dependence], *, smooth: bool) -> Dependence:
    """What each element of a node depends on, by what is known of its inputs."""
    row = node.operator
    if row.function is not None:
        return _seen(node, known)
    if row.kind == "elementwise":
        return _united(node.shape, _beside_constants(node, known))
    operands, mixes = _operands(node), row.mixes
    word, _, rest = mixes.partition(" ")
    if any(source.index in known and source not in operands for source in node.inputs):
        return _all(node, known)  # an index varies
    if row.kind == "movement" or word == "moves":
        return _moved(node, known)
    if word == "one" and smooth:
        return _chosen(node, known[operands[0].index])
    if next(iter(known.values())).sets.width < SMALL:
        raise Dense
    if word == "one":
        mixes = rest.removeprefix("of ")
    elif word == "adds":
        return _added(node, known, rest)
    elif word == "windows":
        return _convolved(node, known, back=bool(rest))
    elif word == "products":
        if not rest:
            return _multiplied(node, known)
        mixes = rest
    labels = _labels(node, mixes, [_shape(operand) for operand in operands]) if mixes else None
    if labels is None:
        return _all(node, known)
    terms, result = labels
    if word == "products" and (few := _beside_zeros(node, known, operands, terms, result)) is not None:
        return few
    return _united(
        node.shape,
        [
            _grouped(known[operand.index], term, result, node.shape)
            for operand, term in zip(operands, terms, strict=True)
            if isinstance(operand, Node) and operand.index in known
        ],
    )


def _beside_constants(node: Applied, known: Mapping[int, Dependence]) -> list[Dependence]:
    """What goes into an elementwise operator: a constant condition leaves out a side, a constant 0 all."""
    left_out: dict[str, np.ndarray] = {}
    values = node.arguments
    constant = {
        name: value.value if isinstance(value, Node) else value
        for name, value in values.items()
        if not (isinstance(value, Node) and value.index in known)
    }
    if node.operator.name == "where" and "condition" in constant:
        chosen = np.asarray(constant["condition"], bool)
        left_out = {name: chosen == (name == "b") for name in ("a", "b")}
    elif node.operator.name == "mul":
        left_out = {OTHER[name]: np.asarray(factor) == 0 for name, factor in constant.items()}
    parts = []
    for name, value in values.items():
        if isinstance(value, Node) and value.index in known:
            part, none = known[value.index], left_out.get(name)
            if none is not None and none.any():
                part = Dependence(part.sets, np.where(none, -1, part.places))
            parts.append(part)
    return parts


OTHER = {"a": "b", "b": "a"}  # of a product's operands


def _operands(node: Applied) -> list[Any]:
    """The tensors of a call in order, numbers in place of them too."""
    operands: list[Any] = []
    for parameter in node.operator.parameters:
        value = node.arguments[parameter.name]
        if parameter.kind == "tensors":
            operands += value
        elif parameter.kind == "tensor":
            operands.append(value)
    return operands


def _shape(operand: Any) -> tuple[int, ...]:
    return operand.shape if isinstance(operand, Node) else ()


def _united(shape: tuple[int, ...], parts: Sequence[Dependence]) -> Dependence:
    """The union of what each operand depends on, broadcast to ``shape``."""
    broadcast = (
        part if part.places.shape == shape else Dependence(part.sets, np.broadcast_to(part.places, shape))
        for part in parts
    )
    return functools.reduce(_both, broadcast)


def _both(one: Dependence, other: Dependence) -> Dependence:
    if one is other:
        return one
    if one.sets is other.sets:
        a, b = one.places, other.places
        places = np.maximum(a, b)
        if not (((a >= 0) & (a != places)) | ((b >= 0) & (b != places))).any():
            return Dependence(one.sets, places)
    a, b = one.places.ravel(), other.places.ravel()
    (a, b), which = distinct(a, b, len(other.sets))
    sets = union([(one.sets, a, None), (other.sets, b, None)], len(a))
    for part, mine in ((one, a), (other, b)):
        # nothing was added: with the sets that there are, the next operator may have none to unite
        if (mine >= 0).all() and np.array_equal(part.sets.sizes[mine], sets.sizes):
            return part
    return Dependence(sets, which.reshape(one.places.shape))


def _all(node: Applied, known: Mapping[int, Dependence]) -> Dependence:
    """Everything depends on all that any input depends on."""
    parts = [known[source.index] for source in node.inputs if source.index in known]
    chosen = [_used(part) for part in parts]
    sets = union([(part.sets, used, 0 * used) for part, used in zip(parts, chosen, strict=True)], 1)
    return Dependence(sets, np.zeros(node.shape, np.intp))


def _seen(node: Applied, known: Mapping[int, Dependence]) -> Dependence:
    """What a function of the user's own depends on, as its values show."""
    engine, size = ReferenceEngine(), numel(node.shape)
    parts = []
    for source in node.inputs:
        if source.index not in known or size <= 1 or numel(source.shape) == 0:
            continue
        if numel(source.shape) == 1:  # there is nothing to tell apart
            part = known[source.index]
            parts.append((part.sets, np.repeat(part.places.ravel(), size), np.arange(size)))
            continue

        def at(x: np.ndarray, moved: Node = source) -> np.ndarray:
            get = {moved.index: x}
            return engine.apply(
                node.operator,
                {
                    name: with_values(value, lambda other: get.get(other.index, other.value))
                    for name, value in node.arguments.items()
                },
            )

        found = dependence(at, source.value, node.value)
        if found is None:
            return _all(node, known)
        part = known[source.index]
        parts.append((part.sets, part.places.ravel()[found[1]], found[0]))
    return _entries(node, known, parts)


def _entries(
    node: Applied, known: Mapping[int, Dependence], parts: Sequence[tuple[Sets, np.ndarray, np.ndarray]]
) -> Dependence:
    """What a node depends on, by which of these sets go to which of its elements; everything, if none."""
    size = numel(node.shape)
    if not parts:
        return _all(node, known)
    (sets, which, rows), *others = parts
    if not others and np.bincount(rows, minlength=size).max(initial=0) <= 1:
        places = np.full(size, -1)
        places[rows] = which
        return Dependence(sets, places.reshape(node.shape))
    return Dependence(union(parts, size), np.arange(size).reshape(node.shape))


def _through(
    node: Applied, known: Mapping[int, Dependence], linear: Sequence[tuple[Node, Linear]]
) -> Dependence:
    """What a node with known derivatives depends on: where these have entries."""
    parts = []
    for source, derivative in linear:
        if derivative.rows is None or derivative.columns is None:
            return _all(node, known)
        part = known[source.index]
        parts.append((part.sets, part.places.ravel()[derivative.columns], derivative.rows))
    return _entries(node, known, parts)


def moved(node: Applied, numbers: Mapping[int, np.ndarray]) -> np.ndarray:
    """Where a movement takes the ``numbers``, given by the index of its inputs, from 1 up: 0 is none."""

    def number(source: Node) -> np.ndarray:
        return numbers.get(source.index, np.zeros(source.shape, np.intp))

    def filled(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return [filled(item) for item in value]
        return 0 if isinstance(value, bool | int | float) else value

    arguments = {}
    # a number given to what fills up with it is no element
    kinds = ("tensor", "tensors", *(["number"] if node.operator.mixes else []))
    for parameter in node.operator.parameters:
        value = node.arguments[parameter.name]
        if parameter.kind in kinds:
            arguments[parameter.name] = filled(with_values(value, number))
        else:
            arguments[parameter.name] = with_values(value, lambda source: source.value)
    return np.asarray(ReferenceEngine().apply(node.operator, arguments)).astype(np.intp, copy=False)


def _moved(node: Applied, known: Mapping[int, Dependence]) -> Dependence:
    parts = {source.index: known[source.index] for source in node.inputs if source.index in known}
    sets, shifts = stacked([part.sets for part in parts.values()])
    numbers = {
        index: np.where(part.places >= 0, part.places + 1 + shift, 0)
        for (index, part), shift in zip(parts.items(), shifts, strict=True)
    }
    return Dependence(sets, moved(node, numbers) - 1)


def _chosen(node: Applied, part: Dependence) -> Dependence:
    """The one element chosen by its value: the kernel goes by the real part, and leads the number along."""

    def marked(source: Node) -> np.ndarray:
        return source.value + 1j * (part.places + 1)

    arguments = {name: with_values(value, marked) for name, value in node.arguments.items()}
    numbers = np.imag(ReferenceEngine().apply(node.operator, arguments))
    return Dependence(part.sets, np.asarray(numbers).astype(np.intp) - 1)


def _added(node: Applied, known: Mapping[int, Dependence], template: str) -> Dependence:
    first, *_, last = _operands(node)
    parts = [known[first.index]] if first.index in known else []
    if last.index in known:
        own = np.arange(numel(node.shape)).reshape(node.shape)
        values = {
            name: with_values(value, lambda source: source.value) for name, value in node.arguments.items()
        }
        call = Call.parse(template)
        positional = [{**values, "y": own}[name] for keyword, name, _ in call.arguments or () if not keyword]
        keywords = {keyword: values[name] for keyword, name, _ in call.arguments or () if keyword}
        target = ReferenceEngine().resolve(template)(*positional, **keywords)
        places = known[last.index].places[tuple(map(slice, target.shape))]
        sets = union([(known[last.index].sets, places.ravel(), target.ravel())], own.size)
        parts.append(Dependence(sets, own))
    return _united(node.shape, parts)


# ---- dimensions by letters ---------------------------------------------------------------------------------

Labels = tuple[list[list[int]], list[int]]  # the dimensions of each operand and of the result, as numbers


def _labels(node: Applied, mixes: str, shapes: Sequence[tuple[int, ...]]) -> Labels | None:
    """The dimensions that ``mixes`` speaks of; None where it says nothing of such operands."""
    ndims = [len(shape) for shape in shapes]
    if "->" in mixes:
        fitting = (_by_letters(text.replace(" ", ""), ndims, len(node.shape)) for text in mixes.split("|"))
        return next(filter(None, fitting), None)
    kind = next(parameter.kind for parameter in node.operator.parameters if parameter.name == mixes)
    value = node.arguments[mixes]
    if kind == "text":
        return einsum_labels(value, ndims)
    if kind == "any":
        return tensordot_labels(value, ndims)
    if kind not in ("axis", "axes"):
        return None
    ndim = max(ndims)
    along = range(ndim) if value is None or value == () else (value,) if isinstance(value, int) else value
    terms = [list(range(ndim - own, ndim)) for own in ndims]
    if len(node.shape) == ndim:  # the dimensions are kept: they are others
        return terms, [ndim + d if d in along else d for d in range(ndim)]
    return terms, [d for d in range(ndim) if d not in along]


def _by_letters(text: str, ndims: list[int], ndim: int) -> Labels | None:
    """The dimensions of ``...ij,...jk->...ik`` as numbers; None where operands or result have others."""
    inputs, _, output = text.partition("->")
    terms = inputs.split(",")
    leading = [own - len(term.replace("...", "")) for own, term in zip(ndims, terms, strict=True)]
    if any(more < 0 or (more > 0 and "..." not in term) for more, term in zip(leading, terms, strict=True)):
        return None
    most = max(leading)
    if ndim != len(output.replace("...", "")) + (most if "..." in output else 0):
        return None

    def numbered(term: str, more: int) -> list[int]:
        dots = range(most - more, most) if "..." in term else ()
        return [*dots, *(most + ord(letter) for letter in term.replace("...", ""))]

    return [numbered(term, more) for term, more in zip(terms, leading, strict=True)], numbered(output, most)


def _grouped(part: Dependence, term: list[int], result: list[int], shape: tuple[int, ...]) -> Dependence:
    """Each element of the result depends on what agrees with it in the dimensions that both have."""
    if len(set(term)) < len(term):  # a diagonal: what stands beside it is not asked for
        letters = sorted(set(term))
        places = np.einsum(part.places, [letters.index(label) for label in term], range(len(letters)))
        part, term = Dependence(part.sets, places), letters
    own = part.places.shape
    shared = [
        (axis, result.index(label))
        for axis, label in enumerate(term)
        if label in result and term.index(label) == axis and own[axis] == shape[result.index(label)]
    ]
    count = math.prod(own[axis] for axis, _ in shared)
    mine, theirs = (
        _numbered(own, [axis for axis, _ in shared]),
        _numbered(shape, [axis for _, axis in shared]),
    )
    if count == part.places.size:  # none is mixed
        places = np.empty(count, np.intp)
        places[mine.ravel()] = part.places.ravel()
        return Dependence(part.sets, places[theirs])
    (group, which), _ = distinct(mine.ravel(), part.places.ravel(), len(part.sets))
    return Dependence(union([(part.sets, which, group)], count), theirs)


def _multiplied(node: Applied, known: Mapping[int, Dependence]) -> Dependence:
    """Each element is a product of one of each tensor: of which, the kernel says of numbers beside ones."""
    parts = []
    for name, operand in node.arguments.items():
        if isinstance(operand, Node) and operand.index in known:
            numbers = np.arange(numel(operand.shape)).reshape(operand.shape)
            arguments = {
                other: with_values(value, lambda source: np.ones(source.shape, np.intp))
                for other, value in node.arguments.items()
            }
            which = ReferenceEngine().apply(node.operator, {**arguments, name: numbers})
            part = known[operand.index]
            parts.append(Dependence(part.sets, part.places.ravel()[np.asarray(which).astype(np.intp)]))
    return _united(node.shape, parts)


def _beside_zeros(
    node: Applied,
    known: Mapping[int, Dependence],
    operands: Sequence[Any],
    terms: Sequence[list[int]],
    result: list[int],
) -> Dependence | None:
    """A product with a constant that is mostly 0: what is beside a 0 does not count; None for any other."""
    if len(operands) != 2 or any(len(set(term)) < len(term) for term in terms):
        return None
    varying = [isinstance(operand, Node) and operand.index in known for operand in operands]
    if sum(varying) != 1:
        return None
    own = varying.index(True)
    constant = operands[1 - own]
    factors = np.asarray(constant.value if isinstance(constant, Node) else constant)
    if factors.size < 2 or factors.ndim != len(terms[1 - own]):
        return None
    if 2 * np.count_nonzero(factors) > factors.size:
        return None
    other = [
        label for label, n in zip(terms[1 - own], factors.shape, strict=True) if n > 1
    ]  # broadcast, else
    entries = np.nonzero(factors.squeeze())
    x, term = operands[own], terms[own]
    size = dict(zip([*term, *result], [*x.shape, *node.shape], strict=True))
    # where each entry of the constant stands, and beside it each number of the dimensions that it has not
    free = [label for label in size if label not in other]
    beside = math.prod(size[label] for label in free)
    if len(entries[0]) * beside > MOST:
        return None
    grid = np.indices([size[label] for label in free]).reshape(len(free), 1, beside)
    at = dict(zip([*other, *free], [*(index[:, None] for index in entries), *grid], strict=True))

    def flat(labels: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
        number = np.zeros((len(entries[0]), beside), np.intp)
        for label, length in zip(labels, shape, strict=True):
            number = number * length + (at[label] if length > 1 else 0)
        return number.ravel()

    part = known[x.index]
    count = numel(node.shape)
    sets = union([(part.sets, part.places.ravel()[flat(term, x.shape)], flat(result, node.shape))], count)
    return Dependence(sets, np.arange(count).reshape(node.shape))


def _numbered(shape: tuple[int, ...], axes: Sequence[int]) -> np.ndarray:
    """The number of each element among those that differ in these dimensions, of a tensor of this shape."""
    number = np.zeros((1,) * len(shape), np.intp)
    for axis in axes:
        steps = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        number = number * shape[axis] + steps
    return np.broadcast_to(number, shape)


# ---- convolutions ------------------------------------------------------------------------------------------


def _convolved(node: Applied, known: Mapping[int, Dependence], *, back: bool) -> Dependence:
    """A convolution, or with ``back`` a transposed one: (batch, groups, channels of the group, places)."""
    x, weight, bias = _operands(node)
    n, groups = len(weight.shape) - 2, node.arguments["groups"]
    before, after = x.shape[-n:], node.shape[-n:]
    batch = x.shape[0] if len(x.shape) > n + 1 else 1
    shape = (batch, groups, -1, math.prod(after))
    own = np.empty(node.shape, np.bool_).reshape(shape).shape  # batch, groups, channels, places
    parts = []
    if x.index in known:
        part = known[x.index]
        seen = part.places.reshape(batch, groups, -1, math.prod(before))
        # first over the channels of a group, then over what the window covers
        mixed = _grouped(Dependence(part.sets, seen), [0, 1, 2, 3], [0, 1, 3], (batch, groups, seen.shape[3]))
        outer, inner = (before, after) if back else (after, before)
        windows = sliding_windows(
            np.arange(1, math.prod(inner) + 1).reshape(1, 1, *inner), weight.shape[2:],
            node.arguments["stride"], node.arguments["padding"], node.arguments["dilation"],
        )[0, 0][tuple(map(slice, outer))].reshape(math.prod(outer), -1)  # fmt: skip
        at, _ = np.nonzero(windows)
        covered = windows[windows > 0] - 1
        place, source = (covered, at) if back else (at, covered)
        groupwise = np.arange(batch * groups)[:, None] * own[3]
        which = mixed.places.reshape(batch * groups, -1)[:, source]
        sets = union([(mixed.sets, which.ravel(), (groupwise + place).ravel())], batch * groups * own[3])
        there = np.arange(batch * groups * own[3]).reshape(batch, groups, 1, own[3])
        parts.append(Dependence(sets, np.broadcast_to(there, own)))
    channels = [(weight, [1, 4, 2, 5] if back else [1, 2, 4, 5]), (bias, [1, 2])]
    for operand, term in channels:
        if isinstance(operand, Node) and operand.index in known:
            part = known[operand.index]
            inner_shape = (*operand.shape[1:2], math.prod(operand.shape[2:])) if operand is weight else ()
            places = part.places.reshape(groups, operand.shape[0] // groups, *inner_shape)
            parts.append(_grouped(Dependence(part.sets, places), term, [0, 1, 2, 3], own))
    whole = _united(own, parts)
    return Dependence(whole.sets, whole.places.reshape(node.shape))
