"""Inputs for the property tests: values drawn from the ``domain`` of the rows, shapes from their ``samples``.

    sample   = call "|" { name "(" sizes ")" }        "sum(x, dim=1) | x(2,3)"
    domain   = interval | "nonzero" | ""              "(0, inf)", "[-1, 1]"; "" means all numbers

Numbers are multiples of 1/1024: exact in float32, simple to read in a failure, and now and then equal or 0,
so that kinks and ties are met.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vjpcalc.operators.row import Operator, RowError

GRID = 1024
REACH = 4  # how far from a finite end of its domain, or from 0, a number is drawn

# Shapes of the operands of an elementwise row that names no samples of its own.
SHAPES = {
    1: [[(2, 3)], [()], [(1,)], [(0,)]],
    2: [[(2, 3), (2, 3)], [(2, 3), (3,)], [(2, 1), (1, 3)], [(), (2,)], [(1,), (1,)], [(0,), (1,)]],
    3: [[(2, 3), (3,), (2, 1)], [(), (), ()], [(2,), (1,), (2,)], [(0, 2), (2,), ()]],
}


@dataclass(frozen=True)
class Sample:
    """A call of a row, and the shapes of its inputs."""

    operator: Operator
    expression: str
    shapes: dict[str, tuple[int, ...]]
    is_first: bool = False  # of its row's

    def __str__(self) -> str:
        return f"{self.expression} | " + " ".join(
            f"{name}{shape}".replace(" ", "") for name, shape in self.shapes.items()
        )


def samples(operator: Operator) -> list[Sample]:
    """The samples that a row names; else, where each parameter is a tensor, a call for each set of SHAPES."""
    return [replace(sample, is_first=i == 0) for i, sample in enumerate(_samples(operator))]


def _samples(operator: Operator) -> list[Sample]:
    if operator.samples:
        return [parse_sample(operator, text) for text in operator.samples]
    names = [parameter.name for parameter in operator.parameters]
    if (
        operator.kind not in ("elementwise", "composed")
        or len(names) != len(operator.tensors)
        or operator.hidden
    ):
        return []
    call = f"{operator.name}({', '.join(names)})"
    return [Sample(operator, call, dict(zip(names, shapes, strict=True))) for shapes in SHAPES[len(names)]]


def parse_sample(operator: Operator, text: str) -> Sample:
    expression, bar, inputs = text.rpartition("|")
    if not bar or not re.fullmatch(r"(\s*\w+\([\d, ]*\))*\s*", inputs):
        raise RowError(operator, f"not a sample: {text}")
    found = re.findall(r"(\w+)\(([\d, ]*)\)", inputs)
    shapes = {name: tuple(int(size) for size in sizes.split(",") if size.strip()) for name, sizes in found}
    return Sample(operator, expression.strip(), shapes)


def bounds(domain: str) -> tuple[float, float]:
    """The ends of a domain's interval, moved inward where open, made moderate where infinite."""
    if domain in ("", "nonzero"):
        return -REACH, REACH
    matched = re.fullmatch(r"([(\[])\s*(\S+)\s*,\s*(\S+)\s*([)\]])", domain)
    assert matched, f"not a domain: {domain!r}"
    low, high = float(matched.group(2)), float(matched.group(3))
    step = 1 / GRID
    low = low + step * (matched.group(1) == "(") if math.isfinite(low) else min(high, 0) - REACH
    high = high - step * (matched.group(4) == ")") if math.isfinite(high) else max(low, 0) + REACH
    return low, high


def numbers(domain: str) -> st.SearchStrategy[float]:
    """One number of the domain."""
    low, high = bounds(domain)
    whole = st.integers(math.ceil(low * GRID), math.floor(high * GRID))
    return (whole.filter(bool) if domain == "nonzero" else whole).map(lambda k: k / GRID)


def domain_of(sample: Sample, name: str) -> str:
    domain = sample.operator.domain
    return domain if isinstance(domain, str) else domain.get(name, "")


def inputs(sample: Sample) -> st.SearchStrategy[dict[str, np.ndarray]]:
    """The inputs of a sample, by name."""
    return st.fixed_dictionaries(
        {
            name: arrays.arrays(np.float64, shape, elements=numbers(domain_of(sample, name)))
            for name, shape in sample.shapes.items()
        }
    )


def draw(sample: Sample, number: int = 0) -> dict[str, np.ndarray]:
    """The inputs of a sample without hypothesis: spread over the domain, and at no kink but by chance."""
    random = np.random.default_rng(number)
    drawn = {}
    for name, shape in sample.shapes.items():
        low, high = bounds(domain_of(sample, name))
        value = random.integers(np.ceil(low * GRID), np.floor(high * GRID), shape, endpoint=True) / GRID
        drawn[name] = (
            np.where(value == 0, 0.5, value) if domain_of(sample, name) == "nonzero" else np.asarray(value)
        )
    return drawn
