"""Every row of the operator table, tested by what it says of itself: no list of operators stands here."""

from __future__ import annotations

import ast
import shlex
from dataclasses import replace
from importlib import import_module

import numexpr
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from sampling import Sample, bounds, draw, inputs, parse_sample, samples

import vjpcalc
from vjpcalc.check.fuse import MASK_OPERATORS
from vjpcalc.check.replay import Replay
from vjpcalc.check.verdict import check
from vjpcalc.diagnostics import Diagnostic
from vjpcalc.engines.kernels import FAMILIES
from vjpcalc.engines.reference import ReferenceEngine
from vjpcalc.engines.torch import TorchEngine
from vjpcalc.engines.torch import resolve as resolve_torch
from vjpcalc.explain.rules import has_rule, run_rule
from vjpcalc.job.result import VJP
from vjpcalc.language import interpret as language
from vjpcalc.language import syntax
from vjpcalc.language.trace import Node, Trace, nodes_in, with_values
from vjpcalc.operators import registry
from vjpcalc.operators.registry import composed, elementwise, lookup, table
from vjpcalc.operators.row import COMPLEX, Operator, RowError

ROWS = table()
CASES = [sample for row in ROWS for sample in samples(row)]

few = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
each_case = pytest.mark.parametrize("sample", CASES, ids=str)


def constants(sample: Sample) -> set[str]:
    """The inputs of a sample that no gradient is asked of."""
    return {p.name for p in sample.operator.tensors if p.kind in ("constant", "indices")} & set(sample.shapes)


def run_torch(sample: Sample, values: dict[str, np.ndarray], dtype: torch.dtype = torch.float64) -> Trace:
    engine = TorchEngine(dtype)
    fixed = constants(sample)
    tensors = {
        name: torch.tensor(value, dtype=dtype, requires_grad=name not in fixed)
        for name, value in values.items()
    }
    with engine.session():
        return language.run(syntax.parse(sample.expression, "sample"), engine, tensors)


def run_reference(sample: Sample, values: dict[str, np.ndarray]) -> Trace:
    return language.run(syntax.parse(sample.expression, "sample"), ReferenceEngine(), values)


def rows_of(trace: Trace) -> list[Operator]:
    return [node.operator for node in trace.applied]


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
    """The gradients that the rules of the table give, walking back torch's trace; None if a rule is prose."""
    arriving: dict[int, np.ndarray] = {trace.outputs["out"].index: seed}
    for node in reversed(trace.applied):
        if node.index not in arriving or not node.value.requires_grad:
            continue
        values = {key: with_values(value, _numpy) for key, value in node.arguments.items()}
        for parameter in node.operator.tensors:
            sources = list(nodes_in((node.arguments[parameter.name],)))
            if not any(source.value.requires_grad for source in sources):
                continue
            if not has_rule(node.operator, parameter.name):
                return None
            with np.errstate(all="ignore"):
                rule = node.operator.vjp[parameter.name]
                found = run_rule(
                    rule, parameter.name, {**values, "g": arriving[node.index], "y": _numpy(node)}
                )
            for source, (part, _) in zip(sources, found, strict=True):
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
        same = (
            (actual == expected)
            | (np.isnan(actual) & np.isnan(expected))
            | (np.abs(actual - expected) <= scale)
        )
    assert np.all(same), f"{what}:\n{actual}\nexpected\n{expected}"


def size_of(*arrays: np.ndarray) -> float:
    """The largest finite magnitude: what rounding errors are relative to."""
    return max(
        (float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in map(np.asarray, arrays)), default=0.0
    )


# ---- values and derivatives --------------------------------------------------------------------------------


@each_case
def test_value_rule_and_check(sample: Sample) -> None:
    """The value agrees three ways, the rules give torch's gradient, and the check does not fail it."""

    def holds(values: dict[str, np.ndarray]) -> None:
        trace, by_torch = run_reference(sample, values), run_torch(sample, values)
        same_value_three_ways(sample, values, trace, by_torch)
        seed = seed_like(trace.outputs["out"].value)
        same_gradient_by_rule(trace, by_torch, seed)
        judged(sample, values, trace, seed, torch.float64)

    if sample.is_first:
        few(given(inputs(sample))(holds))()
    else:
        holds(draw(sample))


@pytest.mark.parametrize("row", [row for row in ROWS if samples(row)], ids=str)
def test_float32_and_a_wrong_gradient(row: Operator) -> None:
    """float32 is judged by its own eps; one element of a gradient off by a millionth fails."""
    sample = samples(row)[0]
    values = draw(sample)
    trace = run_reference(sample, values)
    seed = seed_like(trace.outputs["out"].value, 1)
    judged(sample, values, trace, seed, torch.float32)
    found = judged(sample, values, trace, seed, torch.float64)
    if found is not None and found.gradients and not trace.kinks:
        leaf = list(found.gradients)[-1]
        worse = check(corrupted(found, leaf)).check.leaves[leaf]
        assert worse.status == "failed", f"a gradient of {leaf} off by 1e-6: {worse}"


def same_value_three_ways(
    sample: Sample, values: dict[str, np.ndarray], trace: Trace, by_torch: Trace
) -> None:
    reference = trace.outputs["out"].value
    tolerance = (1e-11 + sample.operator.accuracy) * size_of(reference) + 1e-13
    close(_numpy(by_torch.outputs["out"]), reference, tolerance, "torch's value and the reference's")
    for leaf in values:
        replayed = Replay(trace, leaf, trace.outputs.values())(values[leaf])
        tolerance = 1e-13 * size_of(reference) + 1e-15
        close(replayed, np.ravel(reference), tolerance, f"numexpr's value as a function of {leaf}")


def same_gradient_by_rule(reference: Trace, trace: Trace, seed: np.ndarray) -> None:
    """At kinks too: only a row whose ``convention`` is empty leaves the choice there to torch."""
    if any(not kink.operator.convention for kink in reference.kinks):
        return
    expected = gradients(trace, seed)
    found = gradients_by_rules(trace, seed) if expected else None
    if found is not None:
        for leaf, gradient in expected.items():
            tolerance = (1e-10 + accuracy(trace)) * size_of(gradient) + 1e-12
            close(found[leaf], gradient, tolerance, f"the rule's gradient of {leaf} and torch's")


def judged(
    sample: Sample, values: dict[str, np.ndarray], reference: Trace, seed: np.ndarray, dtype: torch.dtype
) -> VJP | None:
    """The job itself: passed, or inconclusive at a kink, where a value is not finite or rounding decides.

    Where torch's own gradient is NaN beside a finite slope, that is wrong indeed. None where nothing is
    differentiable or nothing is decided.
    """
    leaves = [name for name in values if name not in constants(sample)]
    tensors = {name: torch.tensor(value, dtype=dtype) for name, value in values.items()}
    try:
        found = vjpcalc.vjp(
            sample.expression, tensors, torch.tensor(seed, dtype=dtype), wrt=leaves, dtype=dtype
        )
    except Diagnostic:
        if gradients(run_torch(sample, values), seed):
            raise
        return None  # a mask, or whole numbers
    reasons = [leaf.reason or "" for leaf in found.check.leaves.values()]
    if found.check.status == "inconclusive":
        lost = any("ill-conditioned" in reason or "0 digits" in reason for reason in reasons)
        assert reference.kinks or not finite(reference) or lost, reasons
        return None
    if any(not gradient.isfinite().all() for gradient in found.gradients.values()):
        return None
    assert found.check.status == "passed", reasons
    return found if all(gradient.numel() for gradient in found.gradients.values()) else None


def finite(trace: Trace) -> bool:
    return all(np.isfinite(node.value).all() for node in trace.nodes if node.value.dtype.kind == "f")


def corrupted(found: VJP, leaf: str) -> VJP:
    """The same VJP with the largest element of one gradient moved by a millionth of it."""
    gradient = found.gradients[leaf].clone()
    worst = int(torch.argmax(gradient.abs()))
    gradient.view(-1)[worst] += 1e-6 * max(float(gradient.abs().max()), 1e-3)
    return replace(found, gradients={**found.gradients, leaf: gradient})


@pytest.mark.parametrize("row", [row for row in ROWS if row.complex], ids=str)
def test_a_row_marked_analytic_is_differentiated_by_a_complex_step(row: Operator) -> None:
    for sample in samples(row):
        values = {name: np.full(shape, 0.5) for name, shape in sample.shapes.items()}
        trace = run_reference(sample, values)
        for leaf in values.keys() - constants(sample):
            assert Replay(trace, leaf, trace.outputs.values()).analytic, f"{sample} in {leaf}"


# ---- what a row says ---------------------------------------------------------------------------------------


def test_no_two_kernels_have_one_name() -> None:
    modules = [import_module(f"vjpcalc.engines.kernels.{family}") for family in FAMILIES]
    own = [n for m in modules for n, f in vars(m).items() if getattr(f, "__module__", "") == m.__name__]
    assert len(own) == len(set(own))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_name_in_a_row_resolves(row: Operator) -> None:
    if row.torch and row.kind not in ("several", "creation"):
        assert callable(resolve_torch(row.torch))
    if row.numpy:
        assert callable(ReferenceEngine().resolve(row.numpy))
    if row.numexpr:
        kind = bool if row.name in MASK_OPERATORS else float
        names = {p.name: np.ones(2, bool if p.kind == "constant" else kind) for p in row.parameters}
        numexpr.evaluate(row.numexpr, names, {})
    assert row.complex in COMPLEX
    for domain in [row.domain] if isinstance(row.domain, str) else row.domain.values():
        bounds(domain)
    if isinstance(row.domain, dict):  # by parameter, or by the name that a sample gives to an input
        named = {name for sample in samples(row) for name in sample.shapes}
        assert row.domain.keys() <= named | {p.name for p in row.parameters}


@pytest.mark.parametrize("row", [row for row in ROWS if not row.hidden], ids=str)
def test_every_visible_row_is_complete(row: Operator) -> None:
    assert row.family
    assert row.example
    assert samples(row), "no sample"
    constant = (
        row.frozen or row.kind in ("several", "creation") or (row.complex == "constant" and not row.vjp)
    )
    for parameter in row.tensors:
        if not constant and parameter.kind in ("tensor", "tensors"):
            assert row.vjp.get(parameter.name), f"no rule for {parameter.name}"
    if constant and row.kind != "several":
        assert not row.vjp
    assert row.vjp.keys() <= {p.name for p in row.parameters}


@pytest.mark.parametrize("row", [row for row in ROWS if row.example], ids=str)
def test_example(row: Operator) -> None:
    command, arrow, expected = row.example.partition(" -> ")
    assert arrow, "no result"
    expression, *words = shlex.split(command)
    seed = literal(words.pop(words.index("--seed") + 1)) if "--seed" in words else None
    inputs = {
        name: literal(value) for name, value in (word.split("=", 1) for word in words if word != "--seed")
    }
    found = vjpcalc.vjp(expression, inputs, seed)
    at_kink = any("kink" in (leaf.reason or "") for leaf in found.check.leaves.values())
    assert found.check.status == "passed" or at_kink, found.check.leaves
    for part in expected.split("; "):
        name, _, value = part.partition(" = ")
        np.testing.assert_allclose(
            found.gradients[name].numpy(), np.array(literal(value)), rtol=6e-7, err_msg=name
        )


def literal(text: str) -> object:
    return eval(
        text, {"nan": float("nan"), "inf": float("inf"), "__builtins__": {}, "true": True, "false": False}
    )


# ---- spellings ---------------------------------------------------------------------------------------------


@each_case
def test_every_spelling_gives_the_same(sample: Sample) -> None:
    """Keywords by every other name, options positional and by keyword, aliases, function and method."""
    values = {name: np.full(shape, 0.5) for name, shape in sample.shapes.items()}
    expected = run_reference(sample, values).outputs["out"].value
    for expression in spellings(sample):
        other = (
            language.run(syntax.parse(expression, "sample"), ReferenceEngine(), values).outputs["out"].value
        )
        np.testing.assert_array_equal(other, expected, err_msg=expression)


def spellings(sample: Sample) -> list[str]:
    """Other ways to write the call of the sample's row, where it stands at the head of the expression."""
    row, found = sample.operator, []
    tree = ast.parse(sample.expression, mode="eval")
    call = next((node for node in ast.walk(tree) if _is_call_of(node, row)), None)
    if call is None or row.hidden:
        return []
    first = call.args[0] if call.args else None
    for alias in row.aliases:
        if lookup(alias)[0] is not row:
            continue  # the arguments may fit another row of that name first
        call.func = ast.Name(alias)
        found.append(ast.unparse(tree))
    call.func = ast.Name(row.name)
    for keyword in call.keywords:
        original = keyword.arg
        parameter = next(p for p in row.parameters if original in (p.name, *p.spellings))
        for spelling in (parameter.name, *parameter.spellings):
            keyword.arg = spelling
            found.append(ast.unparse(tree))
        keyword.arg = original
    plain = not any(p.variadic for p in row.parameters)
    if plain and first is not None and row.parameters[0].kind == "tensor" and isinstance(first, ast.Name):
        rest, keywords = call.args[1:], call.keywords
        call.keywords = [
            *keywords,
            *(ast.keyword(p.name, value) for p, value in zip(row.parameters[1:], rest, strict=False)),
        ]
        call.args = [first]
        found.append(ast.unparse(tree))
        call.func, call.args, call.keywords = ast.Attribute(first, row.name), rest, keywords
        found.append(ast.unparse(tree))
    return found


def _is_call_of(node: ast.AST, row: Operator) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == row.name


# ---- wrong rows --------------------------------------------------------------------------------------------


def run_wrong(signature: str, **row: object) -> None:
    """Make a composed row, and meet every text of it: run it, run its rules, read its samples."""
    operator = composed(signature, **{"ref": "x", **row})
    vjpcalc.vjp("wrong(x)", {"x": 1.0})
    for parameter in operator.parameters:
        has_rule(operator, parameter.name)
    for text in operator.samples:
        parse_sample(operator, text)


WRONG = {
    "no signature": (
        lambda: elementwise("wrong x"),
        "row 'wrong x': its signature is not of the form name(parameter, …)",
    ),
    "no parameter": (
        lambda: elementwise("wrong(x y)"),
        "row 'wrong(x y)': 'x y' is not of the form name: kind = default",
    ),
    "a kind": (
        lambda: elementwise("wrong(x, dim: axs)"),
        "row 'wrong(x, dim: axs)': unknown kind 'axs'; did you mean 'axis'?",
    ),
    "a default": (
        lambda: elementwise("wrong(x, p: number = two)"),
        "row 'wrong(x, p: number = two)': the default of p is no literal: two",
    ),
    "a keyword": (
        lambda: elementwise("wrong(x)", smaples="wrong(x) | x(2)"),
        "row 'wrong(x)': unknown field 'smaples'; did you mean 'samples'?",
    ),
    "a call template": (
        lambda: elementwise("wrong(x)", torch="exp(x"),
        "row 'wrong(x)': not a call of its parameters and literals: exp(x",
    ),
    "a name in a call template": (
        lambda: elementwise("wrong(x)", numpy="exp(z)"),
        "row 'wrong(x)': not a call of its parameters and literals: exp(z)",
    ),
    "no ref": (lambda: composed("wrong(x)"), "row 'wrong(x)': a composed row needs a ref"),
    "ref": (lambda: run_wrong("wrong(x)", torch="", ref="x +"), "row 'wrong(x)': invalid syntax: x +"),
    "kinks": (lambda: run_wrong("wrong(x)", torch="", kinks="x ="), "row 'wrong(x)': invalid syntax: x ="),
    "size": (lambda: run_wrong("wrong(x)", torch="", size="(x"), "row 'wrong(x)': '(' was never closed: (x"),
    "vjp": (lambda: run_wrong("wrong(x)", torch="", vjp={"x": "g *"}), "row 'wrong(x)': invalid syntax: g *"),
    "a condition": (
        lambda: run_wrong("wrong(x)", torch="", requires={"not": "no"}),
        "row 'wrong(x)': invalid syntax: not",
    ),
    "a sample": (
        lambda: run_wrong("wrong(x)", torch="", samples="wrong(x) x(2)"),
        "row 'wrong(x)': not a sample: wrong(x) x(2)",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_row_names_the_row(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "REGISTRY", dict(registry.REGISTRY))  # the wrong row goes with this copy
    make, message = WRONG[what]
    with pytest.raises(RowError) as raised:
        make()
    assert str(raised.value) == f"operators: {message}"
