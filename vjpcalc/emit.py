"""A job as a script of its own, for torch or for JAX: to paste into a bug report or a notebook.

The script is written from a trace: loops are unrolled, and of a branch the side stands there that was
taken. A node without a name that is used once is written where it is used. torch's script calls what the
table calls; JAX's is written from the reference engine's trace, for NumPy's functions are JAX's. What JAX
lacks is named at its head, and stands in the script as a function that says so.
"""

from __future__ import annotations

import keyword
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np  # noqa: TID253 (imported only once there is a job to write down)

from vjpcalc.check.reference import required_reference
from vjpcalc.diagnostics import Diagnostic, unknown
from vjpcalc.job.graph import Graph
from vjpcalc.job.result import VJP
from vjpcalc.job.seeds import match_seeds
from vjpcalc.language.trace import Applied, Node, Trace, with_values
from vjpcalc.operators.row import Call, Operator, numel
from vjpcalc.tensors.dtypes import dtype_of

MOST = 10_000  # elements that are written into a script
LONGEST = 70  # characters of what is written where it is used
TAKEN = ("torch", "jax", "jnp", "f", "value", "pull_back", "gradients", "name", "gradient", "print")

# ---- the two scripts ---------------------------------------------------------------------------------------


def script(vjp: VJP, target: str) -> str:
    """The job that gave this VJP as a Python script. ``target`` is torch or jax. Raises Diagnostic."""
    require_target(target)
    return {"torch": torch_script, "jax": jax_script}[target](vjp)


def require_target(target: str) -> None:
    """Raise Diagnostic (usage) where no script can be written for ``target``."""
    known = ("torch", "jax")
    if target not in known:
        raise unknown("usage", f"--emit: unknown '{target}'", target, known)


def torch_script(vjp: VJP) -> str:
    """The job in torch: the gradients end up in ``a.grad``, ``b.grad``, …. Raises Diagnostic (limit)."""
    job = vjp.job
    writer = _Writer(vjp.trace, _torch_call, _torch_constant)
    lines = ["import torch", *_imports(vjp.trace), "", f"torch.set_default_dtype({job.dtype})", ""]
    for name, value in job.inputs.items():
        grad = ", requires_grad=True" if name in vjp.gradients else ""
        lines.append(f"{writer.inputs[name]} = {_torch_tensor(value, name, grad)}")
    lines += ["", *writer.body(), ""]
    seeds = match_seeds(job, vjp.trace.outputs)
    for call in range(vjp.backward_calls):
        again = ", retain_graph=True" if call + 1 < vjp.backward_calls else ""
        seeded = [name for name, own in seeds.items() if call < len(own)]
        outputs = ", ".join(writer.outputs[name] for name in seeded)
        texts = ", ".join(_torch_tensor(seeds[name][call], f"the seed of {name}") for name in seeded)
        if len(seeded) == 1:
            lines.append(f"{outputs}.backward({texts}{again})")
        else:
            lines.append(f"torch.autograd.backward([{outputs}], [{texts}]{again})")
    lines += ["", *(f'print("{name}.grad =", {writer.inputs[name]}.grad)' for name in vjp.gradients)]
    return _script("torch", vjp, writer, lines)


def jax_script(vjp: VJP) -> str:
    """The job in JAX; it ends with the gradients in a dictionary. Raises Diagnostic (limit, value)."""
    trace = required_reference(vjp.forward)
    lacking: dict[str, str] = {}
    writer = _Writer(trace, lambda node, code: _jax_call(node, code, lacking), _jax_constant)
    leaves = ", ".join(writer.inputs[name] for name in vjp.gradients)
    body = writer.body()

    def one_or_tuple(texts: list[str]) -> str:
        return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"

    returned = one_or_tuple([writer.outputs[name] for name in vjp.outputs])
    names = ", ".join(f'"{name}"' for name in vjp.gradients)
    lines = ["import jax", "import jax.numpy as jnp", "", 'jax.config.update("jax_enable_x64", True)', ""]
    if lacking:
        lines = [f"# JAX lacks: {', '.join(lacking.values())}", *lines]
        for name, what in lacking.items():
            refusal = f'raise NotImplementedError("JAX has no {what}")'
            lines += ["", f"def {name}(*arguments):", f"    {refusal}", ""]
        lines.append("")
    lines += [f"{writer.inputs[name]} = {_jax_input(value, name)}" for name, value in vjp.job.inputs.items()]
    lines += ["", "", f"def f({leaves}):", *(f"    {line}" for line in body)]
    lines += [f"    return {returned}", "", ""]
    seed = one_or_tuple([_jax_input(vjp.seeds[name], f"the seed of {name}") for name in vjp.outputs])
    lines += [f"value, pull_back = jax.vjp(f, {leaves})"]
    lines += [f"gradients = dict(zip([{names}], pull_back({seed})))", ""]
    lines += ["for name, gradient in gradients.items():", '    print(name, "=", gradient)']
    return _script("JAX", vjp, writer, lines)


def _script(what: str, vjp: VJP, writer: _Writer, lines: list[str]) -> str:
    head = [f"# vjpcalc's job in {what}: the vector-Jacobian product of"]
    head += [f"#     {text}" for text in vjp.expression.split("\n")]
    if writer.unrolled:
        head.append("# Loops are unrolled and branches taken as for these inputs.")
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join([*head, "", *lines])).rstrip() + "\n"


def _imports(trace: Trace) -> list[str]:
    """Where a user's own functions come from."""
    lines = {}
    for operator in (node.operator for node in trace.applied if node.operator.function is not None):
        owner = getattr(operator.function, "__self__", operator.function)
        module = str(getattr(owner, "__module__", "")).removeprefix("vjpcalc_use_")
        lines[operator.name] = f"from {module} import {operator.name}"
    return list(lines.values())


# ---- from nodes to code ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Code:
    """An expression in Python; ``atom`` where it needs no brackets as an operand."""

    text: str
    atom: bool

    @property
    def operand(self) -> str:
        return self.text if self.atom else f"({self.text})"


class _Writer:
    """Writes a trace down as assignments."""

    def __init__(
        self,
        trace: Trace,
        call: Callable[[Applied, Mapping[str, Any]], Code],
        constant: Callable[[Node], str],
    ) -> None:
        self.graph, self.call, self.constant = Graph(trace), call, constant
        self.taken = set(TAKEN)
        self.inputs = {name: self.identifier(name) for name in trace.inputs}
        self.outputs: dict[str, str] = {}
        self.unrolled = bool(trace.decisions) or any(node.iterations for node in trace.nodes)

    def identifier(self, name: str) -> str:
        """A Python name like this one that is not taken yet."""
        base = re.sub(r"\W+", "_", name).strip("_") or "t"
        base = f"t{base}" if base[0].isdigit() else base
        unique, number = base, 2
        while unique in self.taken or keyword.iskeyword(unique):
            unique, number = f"{base}_{number}", number + 1
        self.taken.add(unique)
        return unique

    def body(self) -> list[str]:
        """The program, a line for each node that has a name or is used several times."""
        trace = self.graph.trace
        uses = Counter(source for source, _ in self.graph.edges)
        codes = {node: Code(self.inputs[name], True) for name, node in trace.inputs.items()}
        lines = []
        for node in self.graph.nodes:
            if node in codes:
                continue
            if not isinstance(node, Applied):
                codes[node] = Code(self.constant(node), True)
                continue
            arguments = node.arguments.items()
            code = self.call(node, {key: with_values(value, codes.__getitem__) for key, value in arguments})
            name = self.graph.names[node.index]
            if not name.startswith("%") or uses[node] > 1 or len(code.text) > LONGEST:
                name = self.identifier(name)
                lines.append(f"{name} = {code.text}")
                code = Code(name, True)
            codes[node] = code
        self.outputs = {name: codes[node].text for name, node in trace.outputs.items()}
        return lines


def literal(value: Any) -> str:
    """A Python value as code."""
    if isinstance(value, Code):
        return value.text
    if isinstance(value, slice):
        return f"slice({literal(value.start)}, {literal(value.stop)}, {literal(value.step)})"
    if isinstance(value, tuple | list):
        inner = ", ".join(map(literal, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if value is Ellipsis:
        return "..."
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _arguments(operator: Operator, engine: str, values: Mapping[str, Any]) -> str:
    """The arguments of a call as code."""
    positional, keywords = operator.arguments(engine, values)
    texts = [*map(literal, positional), *(f"{key}={literal(value)}" for key, value in keywords.items())]
    joined = ", ".join(texts)
    if {option.name for option in operator.options} == {"dim", "keepdim"}:
        joined = joined.removesuffix(", None, False")  # left out, they mean the same
    return joined


def _infix(operator: Operator, values: Mapping[str, Any]) -> Code | None:
    """``a + b``, ``-x``, ``x[i]``: what Python has a sign for."""
    operands = list(values.values())
    if operator.name == "getitem":
        index = values["index"]
        items = index if isinstance(index, tuple) else (index,)
        inner = ", ".join(_index(item) for item in items)
        return Code(f"{values['x'].operand}[{inner}]", True)
    if operator.name in ("neg", "positive"):
        return Code(("-" if operator.name == "neg" else "+") + operands[0].operand, False)
    if operator.infix and len(operands) == 2 and any(isinstance(one, Code) for one in operands):
        left, right = (one.operand if isinstance(one, Code) else _number(one) for one in operands)
        return Code(f"{left} {operator.infix} {right}", False)
    return None


def _number(value: Any) -> str:
    text = literal(value)
    return f"({text})" if text.startswith("-") else text


def _index(item: Any) -> str:
    if isinstance(item, slice):
        parts = (item.start, item.stop, item.step)
        start, stop, step = ("" if part is None else literal(part) for part in parts)
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return literal(item)


# ---- torch -------------------------------------------------------------------------------------------------


def _torch_call(node: Applied, values: Mapping[str, Any]) -> Code:
    operator = node.operator
    if operator.kind == "creation":
        return Code(_torch_constant(node), True)
    code = _infix(operator, values)
    if code is None or operator.function is not None:
        first = operator.parameters[0].name if operator.parameters else ""
        if operator.infix and not node.inputs:
            values = {**values, first: Code(f"torch.tensor({literal(values[first])})", True)}
        call = Call.parse(operator.torch)
        arguments = _arguments(operator, "torch", values)
        path = call.path.replace("operator.", "torch.").replace("torch.truediv", "torch.div")
        if operator.function is not None:
            owner = getattr(operator.function, "__self__", None)
            path = (
                f"{operator.name}.apply"
                if getattr(owner, "__name__", None) == operator.name
                else operator.name
            )
        elif not path.startswith("torch."):
            path = f"torch.{path}"
        code = Code(f"{path}({arguments})" + (f".{call.field}" if call.field else ""), True)
    if operator.frozen and node.value.is_floating_point() and "detach" not in code.text[-10:]:
        code = Code(f"{code.operand}.detach()", True)
    return code


def _torch_constant(node: Node) -> str:
    return _torch_tensor(node.value.detach(), "a constant")


def _torch_tensor(value: Any, what: str, more: str = "") -> str:
    _check_size(value, what)
    return f"torch.tensor({literal(value.tolist())}, dtype=torch.{dtype_of(value)}{more})"


# ---- JAX ---------------------------------------------------------------------------------------------------


def _jax_call(node: Applied, values: Mapping[str, Any], lacking: dict[str, str]) -> Code:
    operator = node.operator
    if operator.kind == "creation":
        return Code(_jax_constant(node), True)
    code = _infix(operator, values)
    if code is None or operator.function is not None:
        code = Code(_jax_function(operator, {**values, "y.shape": node.shape}, lacking), True)
    return Code(f"jax.lax.stop_gradient({code.text})", True) if operator.frozen else code


def _jax_function(operator: Operator, values: Mapping[str, Any], lacking: dict[str, str]) -> str:
    """A call of what JAX calls the row's function, or of a function that says that JAX lacks it."""
    if operator.function is not None:
        lacking[operator.name] = f"{operator.name}, a function of yours in torch"
        return f"{operator.name}({_arguments(operator, 'torch', values)})"
    engine = "jax" if operator.jax else "numpy"
    path = Call.parse(operator.jax or operator.numpy).path
    arguments = _arguments(operator, engine, values)
    root, _, name = path.rpartition(".")
    if engine == "jax" or root in ("", "linalg"):
        return f"{'jax' if root.startswith('scipy') else 'jnp'}.{path}({arguments})"
    lacking[name] = name
    return f"{name}({arguments})"


def _jax_constant(node: Node) -> str:
    return _jax_array(node.value, "a constant", str(node.value.dtype))


def _jax_input(value: Any, what: str) -> str:
    """A torch tensor; of bfloat16 too, which NumPy lacks."""
    exact = value.detach().double() if value.is_floating_point() else value
    return _jax_array(exact.numpy(), what, dtype_of(value))


def _jax_array(value: Any, what: str, dtype: str) -> str:
    _check_size(value, what)
    return f"jnp.array({literal(np.asarray(value).tolist())}, dtype={_jax_dtype(dtype)})"


def _jax_dtype(dtype: str) -> str:
    return "bool" if dtype == "bool" else f"jnp.{dtype}"


def _check_size(value: Any, what: str) -> None:
    if numel(value.shape) > MOST:
        raise Diagnostic(
            "limit",
            f"--emit writes numbers into the script, and {what} has {numel(value.shape):,} elements; "
            f"the limit is {MOST:,}",
            hint="give a smaller tensor of the same kind",
        )
