"""The row of the operator table: what an operator is, as pure data.

A row's constructor says what kind of operator it is:

    elementwise(…)  one NumPy kernel applied to each element, with broadcasting; numexpr runs it where it can
    composed(…)     defined by a program in vjpcalc's own language (``ref``), in its numerically stable form;
                    with ``torch=""``, for what torch lacks, torch runs that program too
    movement(…)     elements are moved or copied, never computed: its Jacobian holds only 0 and 1
    creation(…)     makes a constant, by NumPy for both engines
    array(…)        anything else: one NumPy kernel on whole arrays
    several(…)      returns several tensors, each by the operator of another row: a named tuple (``fields``),
                    or a tuple of ``count`` items, item ``i`` of which is the program ``part``

A row's signature is text, ``softmax(x, dim: axis)``. A bare parameter is a differentiable tensor; one with a
kind (see KINDS) is an option. ``name|other`` gives a second spelling, ``*name`` takes all that follow.

Names in scope in the texts of a row: every text sees the parameters by name; ``vjp`` rules see ``g`` (the
arriving cotangent, shaped like the output) and ``y`` (the output) too. A rule may leave broadcasting alone:
it is undone for all rows in one place. ``kinks`` is a mask, true where the operator is not differentiable.
A long text is a block, a statement a line, indented as you like; texts in a tuple stand one under the other.

``torch`` and ``numpy`` name the function that each engine calls, with a call template where its arguments
differ from the row's: ``sum(x, axis=dim, keepdims=keepdim)``. ``numexpr`` is the text of one expression.
``jax`` is what an emitted script calls, in jax.numpy or, for ``scipy.…``, in jax.scipy; ``y.shape`` is the
output's shape. It is left out where ``numpy`` says it already, and where JAX has no such function.

``mixes`` says which elements of its tensors an element of an ``array`` row's result depends on, so that large
sparse Jacobians are seen to be sparse; without it, on all of them. (An elementwise row mixes none, and
what a movement moves is seen by moving numbers.) It is one of:

    dim                   a parameter: all elements along the dimension, or dimensions, that it names
    ...ij,...jk->...ik    letters for the dimensions of each tensor and of the result, as in einsum: all
                          elements that stand at the same place in each dimension that both have; the first
                          that fits of several, with | between them
    equation, dims        a parameter that says the same: einsum's text, tensordot's pairs of dimensions
    products …            before one of these two: the result adds up products of an element of each tensor,
                          so that what is beside a constant 0 does not count; alone: one such product (kron)
    moves                 one element at the most: the kernel moves elements and fills up with constants
    one of dim            the element along dim that it chooses by its value
    adds TEMPLATE         that of the first tensor at its own place, and those of the last that are added to
                          it; TEMPLATE is a call that moves numbers: of y, of the elements of the result, it
                          makes for each element of the last tensor the number of where it is added
    windows               a convolution: what the weight covers, over all channels of a group; a
    windows back          transposed one the other way round

``domain`` says where the operator is defined and smooth, for one parameter or, as a dict, for each by name:
an interval such as ``(0, inf)`` or ``[-1, 1]``, or ``nonzero``; empty where that is everywhere.
``convention`` is torch's choice at a kink; a row with kinks and none leaves it to torch, and its rule need
not agree there.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The kinds of an option, and how a message speaks of one.
KINDS = {
    "tensor": "a tensor",
    "tensors": "tensors",
    "constant": "a tensor (a constant)",
    "indices": "whole numbers",
    "target": "a tensor (whole numbers stay whole)",
    "axis": "a dimension",
    "newaxis": "a dimension",
    "axes": "a dimension or a tuple of dimensions",
    "flag": "True or False",
    "shape": "a shape",
    "int": "a whole number",
    "ints": "a whole number or a tuple of them",
    "number": "a number",
    "text": "a text",
    "dtype": "a dtype, such as torch.float64",
    "index": "an index",
    "any": "a value",
}

# Every dtype's name, and the one that it means: all whole numbers are int64.
DTYPES = {
    **dict.fromkeys(("float16", "half"), "float16"),
    **dict.fromkeys(("float32", "float"), "float32"),
    **dict.fromkeys(("float64", "double"), "float64"),
    **dict.fromkeys(("int64", "long", "int", "int8", "int16", "int32", "uint8"), "int64"),
    "bool": "bool",
}

# Kinds that hold tensors: their values become nodes of the graph. Constants and indices get no gradient.
TENSOR_KINDS = ("tensor", "tensors", "constant", "indices", "target")

# What a row's ``complex`` says of the operator away from its kinks: whether a complex step may go through it.
COMPLEX = {
    "numexpr": "analytic; the complex kernels of NumPy and of numexpr are both exact",
    "numpy": "analytic; only NumPy's complex kernel is exact",
    "constant": "constant: its derivative is 0",
    "": "no exact complex kernel: differences are taken",
}

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()


class RowError(Exception):
    """A row of the table is wrong. The message says which row, and what is wrong with it."""

    def __init__(self, row: Operator | str, what: str) -> None:
        super().__init__(f"operators: row '{row}': {what}")


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    kind: str = "tensor"
    default: Any = REQUIRED
    variadic: bool = False
    spellings: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = ("*" if self.variadic else "") + self.name
        if self.kind not in ("tensor", "tensors"):
            text += f": {self.kind}"
        return text if self.default is REQUIRED else f"{text} = {self.default!r}"


@dataclass(frozen=True, slots=True)
class Call:
    """A call template: the dotted name of a function and which parameter goes where."""

    path: str
    arguments: tuple[tuple[str | None, str, bool], ...] | None = None  # (keyword, parameter, starred)
    field: str | None = None

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> Call:
        """Read ``name``, or ``name(x, *shape, axis=dim)``, or that with ``.field`` of the result after it.

        Raises ValueError.
        """
        matched = re.fullmatch(r"([\w.]+)(?:\((.*)\)(?:\.(\w+))?)?", text, re.DOTALL)
        if matched is None:
            raise ValueError(f"not a call template: {text!r}")
        path, inside, result = matched.groups()
        if inside is None:
            return cls(path)
        arguments = []
        for part in filter(None, (piece.strip() for piece in inside.split(","))):
            keyword, _, name = part.rpartition("=")
            arguments.append((keyword or None, name.lstrip("*"), name.startswith("*")))
        return cls(path, tuple(arguments), result)


@dataclass(frozen=True, slots=True)
class Operator:
    """A row of the table. Everything is data; see the head of this file for what each text means."""

    name: str
    parameters: tuple[Parameter, ...]
    kind: str
    family: str = ""
    aliases: tuple[str, ...] = ()
    infix: str | None = None
    torch: str = ""
    numpy: str = ""
    jax: str = ""
    numexpr: str = ""
    complex: str = ""  # its complex kernel: see COMPLEX
    ref: str = ""
    vjp: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    count: str = ""  # how many results a row of kind "several" has, where they have no names
    part: str = ""  # and the program of result i
    in_words: str = ""  # what a rule does that calls this row on g, where the call tells a reader little
    domain: str | Mapping[str, str] = ""
    # A condition on the arguments → what to say if it fails.
    requires: Mapping[str, str] = field(default_factory=dict)
    kinks: str = ""
    convention: str = ""
    note: str = ""
    formula: str = ""
    source: str = ""
    example: str = ""  # "tanh(x) x=0.5 -> x = 0.7864477": a command's arguments, and the gradients it prints
    samples: tuple[str, ...] = ()  # "sum(x, dim=1) | x(2,3)": calls for the tests, inputs from the domain
    accuracy: float = 0.0  # of torch's own derivative, relative, where it is worse than its dtype's; measured
    mixes: str = ""  # which elements meet in an element of the result: see the head of this file
    size: str = ""  # elements of the result, where it can be far larger than the inputs
    frozen: bool = False  # no gradient flows through: the result is a constant
    hidden: bool = False  # a part of another row: reached by that row, not by name
    function: Callable[..., Any] | None = None  # a user's own (--use): called as it is, by both engines
    slope_only: bool = False  # a user's own, whose ref is meant for its backward: its values are others

    def __str__(self) -> str:
        return self.signature

    @property
    def signature(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"

    @property
    def tensors(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.kind in TENSOR_KINDS)

    @property
    def options(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.kind not in TENSOR_KINDS)

    def arguments(self, engine: str, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments for the function that ``engine`` (torch, numpy or jax) calls."""
        call = Call.parse(getattr(self, engine) or self.name)
        if call.arguments is None:
            positional: list[Any] = []
            keywords = {}
            for parameter in self.parameters:
                value = values[parameter.name]
                if parameter.variadic:
                    positional.extend(value)
                elif parameter.kind in TENSOR_KINDS:
                    positional.append(value)
                elif value is not None:
                    keywords[parameter.name] = value
            return positional, keywords
        positional, keywords = [], {}
        for keyword, name, starred in call.arguments:
            value = values[name] if name in values else ast.literal_eval(name)
            if keyword is not None:
                if value is not None or keyword == "axis":
                    keywords[keyword] = value
            elif starred:
                positional.extend(value)
            else:
                positional.append(value)
        return positional, keywords


def numel(shape: Sequence[int]) -> int:
    """How many elements a tensor of this shape has (1 for ``()``)."""
    return math.prod(shape)
