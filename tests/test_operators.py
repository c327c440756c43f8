"""Every row of the operator table, tested by what the row says of itself: no list of operators stands here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from sampling import Sample, inputs, samples

from vjpcalc.differentiate import jacobian
from vjpcalc.engines.fuse import BranchFlip, Replay
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.language import run as language
from vjpcalc.language import syntax
from vjpcalc.language.run import Node, Trace, nodes_in, with_values
from vjpcalc.operators import operator as rows
from vjpcalc.operators.operator import Operator
from vjpcalc.rules import has_rule, run_rule

ROWS = rows.table()
CASES = [sample for row in ROWS for sample in samples(row)]

few = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
each_case = pytest.mark.parametrize("sample", CASES, ids=str)


def for_a_few(sample: Sample, holds: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Whether something holds for a few inputs drawn for the sample."""
    few(given(inputs(sample))(holds))()


def constants(sample: Sample) -> set[str]:
    """The inputs of a sample that no gradient is asked of."""
    return {p.name for p in sample.operator.tensors if p.kind in ("constant", "indices")} & set(sample.shapes)


def run_torch(sample: Sample, values: dict[str, np.ndarray], dtype: torch.dtype = torch.float64) -> Trace:
    engine = TorchEngine(dtype)
    fixed = constants(sample)
    tensors = {
        name: torch.tensor(value, dtype=dtype, requires_grad=name not in fixed) for name, value in values.items()
    }
    with engine.session():
        return language.run(syntax.parse(sample.expression, "sample"), engine, tensors)


def run_reference(sample: Sample, values: dict[str, np.ndarray]) -> Trace:
    return language.run(syntax.parse(sample.expression, "sample"), ReferenceEngine(), values)


def rows_of(trace: Trace) -> list[Operator]:
    return [node.operator for node in trace.nodes if node.operator is not None]


def accuracy(trace: Trace) -> float:
    """What torch's own kernels are good for on this trace, relatively, beyond rounding."""
    return max((row.accuracy for row in rows_of(trace)), default=0.0)


def seed_like(value: np.ndarray, number: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(number).integers(-8, 9, np.shape(value)) / 8)


def gradients(trace: Trace, seed: np.ndarray) -> dict[str, np.ndarray]:
    """torch's own, by leaf."""
    output = trace.outputs["out"].value
    leaves = {name: node.value for name, node in trace.inputs.items() if node.value.requires_grad}
    if not output.requires_grad:
        return {}
    output.backward(torch.tensor(seed, dtype=output.dtype))
    return {name: (torch.zeros_like(x) if x.grad is None else x.grad).numpy() for name, x in leaves.items()}


def gradients_by_rules(trace: Trace, seed: np.ndarray) -> dict[str, np.ndarray] | None:
    """The gradients that the rules of the table give, walking back over torch's trace; None if a rule is prose."""
    arriving: dict[int, np.ndarray] = {trace.outputs["out"].index: seed}
    for node in reversed(trace.nodes):
        if node.operator is None or node.index not in arriving or not node.value.requires_grad:
            continue
        values = {key: with_values(value, _numpy) for key, value in node.arguments.items()}
        for parameter in node.operator.tensors:
            sources = list(nodes_in((node.arguments[parameter.name],)))
            if not any(source.value.requires_grad for source in sources):
                continue
            if not has_rule(node.operator, parameter.name):
                return None
            with np.errstate(all="ignore"):
                found = run_rule(node.operator, parameter.name, values, arriving[node.index], _numpy(node))
            for source, part in zip(sources, found if isinstance(found, tuple) else (found,), strict=True):
                assert part.shape == source.shape, f"the rule of {parameter.name} gives {part.shape}"
                arriving[source.index] = arriving.get(source.index, 0) + part
    return {
        name: arriving.get(node.index, np.zeros(node.shape))
        for name, node in trace.inputs.items()
        if node.value.requires_grad
    }


def _numpy(node: Node) -> np.ndarray:
    return node.value.detach().numpy()


def close(actual: np.ndarray, expected: np.ndarray, scale: np.ndarray | float, what: str) -> None:
    """Equal to within ``scale``, NaN being equal to NaN."""
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if actual.dtype == bool:
        actual, expected = actual.astype(float), expected.astype(float)
    with np.errstate(all="ignore"):
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected)) | (np.abs(actual - expected) <= scale)
    assert np.all(same), f"{what}:\n{actual}\nexpected\n{expected}"


def size_of(*arrays: np.ndarray) -> float:
    """The largest finite magnitude: what rounding errors are relative to."""
    return max((float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in map(np.asarray, arrays)), default=0.0)


# ---- values and derivatives ----------------------------------------------------------------------------------------


@each_case
def test_value_agrees_three_ways(sample: Sample) -> None:

    def holds(values: dict[str, np.ndarray]) -> None:
        by_torch = _numpy(run_torch(sample, values).outputs["out"])
        trace = run_reference(sample, values)
        reference = trace.outputs["out"].value
        close(by_torch, reference, (1e-11 + sample.operator.accuracy) * size_of(reference) + 1e-13, "torch and the reference")
        for leaf in values:
            fused = Replay(trace, leaf, trace.outputs.values())
            try:
                replayed = fused(values[leaf])
            except BranchFlip:
                pytest.fail("the replay at the same point takes another branch")
            close(replayed, np.ravel(reference), 1e-13 * size_of(reference) + 1e-15, f"numexpr along {leaf}")

    for_a_few(sample, holds)


@each_case
def test_rules_equal_backward(sample: Sample) -> None:
    """At kinks too: a row whose ``convention`` is empty leaves the choice there to torch."""

    def holds(values: dict[str, np.ndarray]) -> None:
        if any(not kink.operator.convention for kink in run_reference(sample, values).kinks):
            return  # torch's choice is its own
        trace = run_torch(sample, values)
        seed = seed_like(trace.outputs["out"].value)
        expected = gradients(trace, seed)
        found = gradients_by_rules(trace, seed)
        if expected and found is not None:
            for leaf, gradient in expected.items():
                scale = (1e-10 + accuracy(trace)) * size_of(gradient) + 1e-12
                close(found[leaf], gradient, scale, f"the rule's gradient of {leaf} and torch's")

    for_a_few(sample, holds)


@each_case
def test_derivative_of_the_reference_equals_backward(sample: Sample) -> None:
    """Complex step where the row is analytic, differences elsewhere; float32 is held to its own eps."""

    def holds(values: dict[str, np.ndarray]) -> None:
        trace = run_reference(sample, values)
        seed = seed_like(trace.outputs["out"].value)
        traced = run_torch(sample, values)
        exact = gradients(traced, seed)
        single = gradients(run_torch(sample, values, torch.float32), seed)
        for leaf in exact:
            found = jacobian(trace, leaf)
            if trace.kinks or any(not np.isfinite(node.value).all() for node in trace.nodes if node.value.dtype.kind == "f"):
                continue
            dense = found.dense()
            product = (dense.T @ np.ravel(seed)).reshape(np.shape(values[leaf]))
            scale = (np.abs(dense).T @ np.abs(np.ravel(seed))).reshape(product.shape)
            analytic = found.method == "complex step"
            doubt = (2e-12 if analytic else 1e-7) + accuracy(traced)
            close(exact[leaf], product, doubt * (scale + size_of(scale)) + 1e-13, f"torch's gradient of {leaf} and the {found.method}")
            close(single[leaf], product, 3e-4 * (scale + size_of(scale)) + 1e-5, f"float32's gradient of {leaf}")

    for_a_few(sample, holds)


@pytest.mark.parametrize("row", [row for row in ROWS if row.complex], ids=str)
def test_rows_marked_analytic_are_differentiated_by_a_complex_step(row: Operator) -> None:
    for sample in samples(row):
        values = {name: np.full(shape, 0.5) for name, shape in sample.shapes.items()}
        trace = run_reference(sample, values)
        for leaf in values.keys() - constants(sample):
            assert Replay(trace, leaf, trace.outputs.values()).analytic, f"{sample} in {leaf}"
