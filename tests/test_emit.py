"""``--emit``: torch's script gives the job's gradients; JAX's is Python, and says what JAX lacks."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import shlex
import warnings

import pytest
import torch

from vjpcalc import vjp
from vjpcalc.emit import script
from vjpcalc.job.use import operator
from vjpcalc.operators.registry import table

LOOP = "y = x * 2\nwhile y.data.norm() < 1000:\n    y = y * 2\ny"
JOBS = {
    "a product": ("a @ b", {"a": [[0, 0], [2, 2]], "b": [[1, 2], [1, 2]]}, [[1, 2], [3, 4]]),
    "a loop": (LOOP, {"x": [0.1, 2.0, 3.0]}, [0.1, 1.0, 0.0001]),
    "a branch": ("y = x * 2 if sum(x) > 0 else -x\nsum(y)", {"x": [1.0, -3.0]}, None),
    "signs need brackets": ("-(x + 1) ** 2 / (x - 2) - (x - 3) - -x", {"x": [1.0, 4.0]}, [1.0, 2.0]),
    "indices and slices": (
        "x[0, 1:] * x[..., -1] + x[:, None, 0].sum()",
        {"x": [[1.0, 2], [3, 4]]},
        [1.0, 2.0],
    ),
    "a mask and constants": ("where(x > 0, x, [1, 2, 3]) * inf_to(x)", {"x": [1.0, -1, 0.5]}, [1.0, 1, 1]),
    "random numbers are written down": ("sum(x * randn(3))", {"x": [1.0, 2, 3]}, None),
    "several outputs": ("c = a * 2\nd = a ** 2", {"a": [1.0, 2.0]}, {"c": [1.0, 1], "d": [1.0, 2]}),
    "two backward calls": ("a ** 2", {"a": [1.0, 2.0]}, ([1.0, 0.0], [0.0, 3.0])),
    "a constant input": ("a * n", {"a": [1.0, 2.0], "n": torch.tensor([2, 3])}, [1.0, 1.0]),
    "a detached part": ("a * a.detach()", {"a": [1.0, 2.0]}, [1.0, 1.0]),
    "names that Python or the script has taken": (
        "torch_ = x * 2\njax = torch_ + x\njax * 1",
        {"x": 1.0},
        None,
    ),
    "layers": (
        "h = relu(layer_norm(x, (3,)) @ W)\ncross_entropy(h, [0, 1])",
        {"x": [[1.0, 2, 4], [0, 1, 5]], "W": [[0.1, 0.2], [0.3, 0.5], [0.5, -0.6]]},
        None,
    ),
}
USE = {"inf_to": operator("inf_to", lambda x: torch.where(x > 0, x, 1 / x))}


def run(text: str, **names) -> dict:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's about its own interface
        exec(compile(text, "script", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _default_dtype():
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("what", JOBS)
def test_the_torch_script_gives_the_same_gradients(what: str) -> None:
    expression, inputs, seed = JOBS[what]
    outputs = tuple(seed) if isinstance(seed, dict) else ()
    result = vjp(expression, inputs, seed, outputs=outputs, check="off", use=USE)
    text = re.sub(r"^from \S+ import inf_to$", "", script(result, "torch"), flags=re.MULTILINE)
    names = run(text, inf_to=USE["inf_to"].function)
    for name, gradient in result.gradients.items():
        torch.testing.assert_close(names[name].grad, gradient, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_dtype_is_kept(dtype: str) -> None:
    result = vjp("sum(tanh(x) * 0.1)", {"x": [0.1, 0.2]}, dtype=dtype, check="off")
    gradient = run(script(result, "torch"))["x"].grad
    assert gradient.dtype == getattr(torch, dtype)
    assert torch.equal(gradient, result.gradients["x"])


@pytest.mark.parametrize("what", JOBS)
def test_the_jax_script_is_python(what: str) -> None:
    expression, inputs, seed = JOBS[what]
    outputs = tuple(seed) if isinstance(seed, dict) else ()
    text = script(vjp(expression, inputs, seed, outputs=outputs, check="off", use=USE), "jax")
    defined = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    assert "f" in defined
    assert ("inf_to" in defined) == ("JAX lacks: inf_to, a function of yours in torch" in text)


def test_what_jax_lacks_is_named_at_the_head() -> None:
    text = script(vjp("sum(erfcx(x) * exp(x))", {"x": [0.1, 0.2]}, check="off"), "jax")
    assert "# JAX lacks: erfcx\n" in text
    assert 'raise NotImplementedError("JAX has no erfcx")' in text


def test_the_jax_script_calls_what_the_row_says() -> None:
    expression = "cumsum(x, 1) * float(x > 0) + flatten(x).sum()"
    text = script(vjp(f"sum({expression})", {"x": [[1.0, 2.0], [3.0, 4.0]]}, check="off"), "jax")
    for call in ("jnp.cumsum(x, axis=1)", "jnp.float64(x > 0)", "jnp.reshape(x, (4,))"):
        assert call in text


EXAMPLES = [row for row in table() if row.example and not row.hidden]


@pytest.mark.parametrize("row", EXAMPLES, ids=str)
def test_every_operator_can_be_written_down(row, cli) -> None:
    arguments = shlex.split(row.example.partition("->")[0])
    if "--dtype" in arguments:
        pytest.skip("another default dtype")
    ran = cli(*arguments, "--emit", "torch")
    assert ran.status == 0, ran.err
    names = run(ran.out)
    for leaf, gradient in _gradients(cli, arguments).items():
        torch.testing.assert_close(
            names[leaf].grad.double(),
            torch.tensor(gradient, dtype=torch.float64),
            rtol=1e-6,
            atol=0,
            equal_nan=True,
        )
    ast.parse(cli(*arguments, "--emit", "jax").out)


def _gradients(cli, arguments: list[str]) -> dict:
    document = json.loads(cli(*arguments, "--check", "off", "--json").out)
    return {
        name: _numbers(record["data"])
        for name, record in document["gradients"].items()
        if not any("gradient is zero" in note and note.startswith(f"{name}:") for note in document["notes"])
    }


def _numbers(data):
    if isinstance(data, list):
        return [_numbers(item) for item in data]
    return float(data.replace("Infinity", "inf")) if isinstance(data, str) else data


BAD = {
    "an unknown language": (("x", "x=1", "--emit", "jaxx"), 2, "unknown 'jaxx'; did you mean 'jax'?"),
    "too many numbers": (("sum(x)", "x=ones(200, 200)", "--emit", "torch"), 3, "x has 40,000 elements"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_said(cli, what: str) -> None:
    arguments, status, message = BAD[what]
    ran = cli(*arguments)
    assert (ran.status, ran.out) == (status, "")
    assert message in ran.err
