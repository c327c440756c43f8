"""``--use FILE.py:NAME``: a Python function of torch tensors as an operator of the language."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vjpcalc.diagnostics import Diagnostic, raised, unknown
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
