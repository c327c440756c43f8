"""What to say where ``backward()`` itself failed: whose backward it was, and what it should have returned."""

from __future__ import annotations

import inspect
import re
import traceback

import torch  # noqa: TID253 (imported only once there is something to compute)

from vjpcalc.diagnostics import Diagnostic, count, reason
from vjpcalc.job.job import Job
from vjpcalc.language.scope import fault_of

# What torch says where the backward of a Function returns the wrong thing: for Scale it says ScaleBackward.
MISSHAPEN = re.compile(
    r"unction (\w+)Backward returned an invalid gradient at index (\d+) - got \[(.*)\] but expected shape "
    r"compatible with \[(.*)\]"
)
MISCOUNTED = re.compile(
    r"unction (\w+)Backward returned an incorrect number of gradients \(expected (\d+), got (\d+)\)"
)


def backward_fault(job: Job, error: Exception) -> Exception:
    """What to raise where ``backward()`` failed: it names the user's own function, if it was that."""
    for frame, _ in traceback.walk_tb(error.__traceback__ if job.use else None):
        module = str(frame.f_globals.get("__name__", ""))
        if frame.f_code.co_name == "backward" and module.split(".")[0] not in ("torch", "vjpcalc"):
            return fault_of(frame.f_code.co_qualname.rpartition("<locals>.")[2], error)
    if not isinstance(error, RuntimeError | NotImplementedError | TypeError | ValueError) and not job.use:
        return error
    return _misreturned(str(error)) or Diagnostic("value", "backward() failed", hint=reason(error))


def _misreturned(message: str) -> Diagnostic | None:
    """The fault of a backward that returns a gradient of the wrong shape, or too few or too many."""
    if found := MISSHAPEN.search(message):
        name, index, got, expected = found.groups()
        argument = parameter_name(name, int(index))
        return Diagnostic(
            "value",
            f"'{name}.backward' returns the shape {_shape(got)} for {argument}, whose shape is "
            f"{_shape(expected)}",
            hint="a gradient has the shape of its argument: what was broadcast is summed",
        )
    if found := MISCOUNTED.search(message):
        name, expected, got = found.groups()
        takes = count(int(expected), "argument")
        return Diagnostic(
            "value",
            f"'{name}.backward' returns {count(int(got), 'gradient')}, and its forward takes {takes}",
            hint="backward returns a gradient for each argument of forward, None for one that has none",
        )
    return None


def parameter_name(function: str, index: int) -> str:
    """What a torch.autograd.Function calls an argument of its forward: ``'weight'``, or ``argument 1``."""
    classes = [torch.autograd.Function]
    for one in classes:  # grows as it goes
        classes += one.__subclasses__()
    for own in reversed(classes):
        if own.__name__ == function:
            parameters = list(inspect.signature(own.forward).parameters)
            with_ctx = own.setup_context is torch.autograd.Function.setup_context
            if index + with_ctx < len(parameters):
                return f"'{parameters[index + with_ctx]}'"
    return f"argument {index}"


def _shape(sizes: str) -> str:
    """``(2, 3)`` for torch's ``2, 3``."""
    return str(tuple(map(int, sizes.split(",")))) if sizes else "()"
