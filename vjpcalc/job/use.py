"""``--use FILE.py:NAME``: a Python function of torch tensors as an operator of the language.

``--reference NAME=EXPR`` gives it a reference, in the language.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vjpcalc.diagnostics import Diagnostic, raised, unknown
from vjpcalc.language.interpret import PREFIXES
from vjpcalc.language.scope import reference_program
from vjpcalc.language.tree import Program, names_in
from vjpcalc.language.values import CONSTANTS
from vjpcalc.operators.row import Operator, Parameter


def load(text: str) -> Operator:
    """The operator that ``FILE.py:NAME`` means. The file is run: it is code that the user asks for by name.

    Its forward is the reference: run without autograd, it is what the check differentiates. Raises Diagnostic
    (usage) for a missing file or name, (input) where the file itself fails.
    """
    file, _, name = text.rpartition(":")
    if not file or not name.isidentifier():
        raise Diagnostic("usage", f"--use takes FILE.py:NAME, not '{text}'")
    path = Path(file)
    if not path.is_file():
        raise Diagnostic("usage", f"--use: there is no file '{file}'")
    spec = importlib.util.spec_from_file_location(f"vjpcalc_use_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Diagnostic("usage", f"--use: '{file}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[spec.name] = module  # as an import does: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise Diagnostic("input", f"--use: '{file}' fails: {raised(error)}") from error
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown("usage", f"--use: '{file}' has no function '{name}'", name, known)
    return operator(name, function)


def forward_parameters(function: Any) -> list[inspect.Parameter]:
    """The parameters of a torch.autograd.Function's forward, without the context that comes first.

    Where it has a ``setup_context`` of its own, forward is given none.
    """
    parameters = list(inspect.signature(function.forward).parameters.values())
    own = {base.__name__ for base in function.__mro__ if "setup_context" in vars(base)}
    return parameters if own - {"_SingleLevelFunction"} else parameters[1:]


def operator(name: str, function: Callable[..., Any]) -> Operator:
    """A Python function as a row: parameters without a default are tensors, the others options.

    A ``torch.autograd.Function``, or its ``apply``, has the parameters of its forward.
    """
    owner = getattr(function, "__self__", None)
    if inspect.isclass(owner) and getattr(function, "__name__", "") == "apply":
        function = owner
    if inspect.isclass(function) and hasattr(function, "apply"):
        signature = forward_parameters(function)
        function = function.apply
    else:
        try:
            signature = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            signature = [inspect.Parameter("tensors", inspect.Parameter.VAR_POSITIONAL)]
    parameters = []
    for parameter in signature:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            parameters.append(Parameter(parameter.name, "tensors", variadic=True))
        elif parameter.default is not inspect.Parameter.empty:
            parameters.append(Parameter(parameter.name, "any", parameter.default))
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            parameters.append(Parameter(parameter.name))
    return Operator(name, tuple(parameters), "array", family="Yours", torch=name, function=function)


def with_references(use: Mapping[str, Operator], references: Mapping[str, str]) -> dict[str, Operator]:
    """A user's functions, with the references that they are judged by.

    ``references`` maps ``NAME`` to a program in the function's parameters; ``NAME:backward`` says that only
    its slope is meant. Raises Diagnostic: (usage) for another name, else for the program.
    """
    referred = dict(use)
    for key, text in references.items():
        name, _, part = key.partition(":")
        if name not in use:
            hint = None if use else "--use FILE.py:NAME makes one an operator"
            raise unknown("usage", f"--reference: there is no function '{name}' of yours", name, use, hint)
        if part not in ("", "backward"):
            known = (name, f"{name}:backward")
            raise unknown("usage", f"--reference: there is no '{key}'", key, known)
        if not isinstance(text, str):
            raise Diagnostic("usage", f"--reference: the reference of '{name}' is a text, not {text!r}")
        _check_names(use[name], reference_program(name, text))
        referred[name] = replace(use[name], ref=text, slope_only=part == "backward")
    return referred


def parse_reference(text: str) -> tuple[str, str]:
    """``NAME=EXPR`` → NAME and EXPR. Raises Diagnostic (usage)."""
    name, equals, expression = text.partition("=")
    if not equals or not name.partition(":")[0].strip().isidentifier():
        hint = "for example --reference 'fast_gelu=gelu(x)'"
        raise Diagnostic("usage", f"--reference takes NAME=EXPR, not '{text}'", hint=hint)
    return name.strip(), expression


def _check_names(operator: Operator, program: Program) -> None:
    """Raise Diagnostic (name) where a reference reads anything but the parameters of its function."""
    known = [parameter.name for parameter in operator.parameters]
    for name in names_in(program.statements):
        if name.name not in (*known, *program.assigned, *CONSTANTS, *PREFIXES):
            message = f"the reference of '{operator.name}' reads '{name.name}'"
            hint = f"the parameters of '{operator.name}' are {', '.join(known)}"
            raise unknown("name", message, name.name, known, hint, name.span, program.source)
