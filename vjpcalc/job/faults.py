"""What went wrong in a backward of the user's own: which function, which argument, which line of which file.

torch's own messages count gradients from 0 and speak of ``FnBackward``. So a backward that failed is run
again, and the function in which it did is asked for what it returns.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 (imported only once there is something to compute)

from vjpcalc.diagnostics import Diagnostic, count, is_own, reason
from vjpcalc.job.use import forward_parameters
from vjpcalc.language.scope import fault_of
from vjpcalc.tensors.dtypes import dtype_of

Roots = Sequence[tuple[torch.Tensor, torch.Tensor]]  # outputs, each with its seed of one backward call


def backward_fault(error: BaseException, again: Callable[[], Roots]) -> BaseException:
    """What to raise where ``backward()`` failed: it names the user's own function, if it was that.

    ``again`` runs the forward again, for the roots of the call that failed.
    """
    if own := own_fault(error, again):
        return own
    if not isinstance(error, RuntimeError | NotImplementedError | TypeError | ValueError):
        return error
    return Diagnostic("value", "backward() failed", hint=reason(error))


def own_fault(error: BaseException, again: Callable[[], Roots]) -> Diagnostic | None:
    """What is wrong with the user's own function that made ``backward()`` fail; None if it was none."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if is_own(frame.f_code.co_filename):
            contexts = (value for value in frame.f_locals.values() if hasattr(type(value), "_forward_cls"))
            context = next(contexts, None) if frame.f_code.co_name == "backward" else None
            name = _plain(frame.f_code.co_qualname) if context is None else _name(context)
            return fault_of(name, error)
    node, cotangents = _last_asked(again())
    return None if node is None else _misgiven(node, cotangents) or _unknown(node, error)


def _unknown(node: Any, error: BaseException) -> Diagnostic:
    return Diagnostic("value", f"'{_name(node)}' failed {_defined(node)}", hint=reason(error))


def _name(node: Any) -> str:
    return _plain(type(node)._forward_cls.__qualname__) + ".backward"


def _plain(qualname: str) -> str:
    """A function's name without those around it; a lambda, as a hook may be, has that of the one around."""
    return qualname.removesuffix(".<locals>.<lambda>").rpartition("<locals>.")[2]


def _defined(node: Any) -> str:
    """Where a function's backward is defined: ``(functions.py:12)``."""
    try:
        lines, first = inspect.getsourcelines(type(node)._forward_cls.backward)
        file = inspect.getsourcefile(type(node)._forward_cls.backward) or ""
    except (OSError, TypeError):
        return ""
    line = next((n for n, text in enumerate(lines, first) if text.lstrip().startswith("def ")), first)
    return f"({Path(file).name}:{line})"


# ---- which backward ----------------------------------------------------------------------------------------


def _last_asked(roots: Roots) -> tuple[Any, tuple[Any, ...]]:
    """The torch.autograd.Function that was asked last when backward() failed again, with its cotangents."""
    asked: list[tuple[Any, tuple[Any, ...]]] = []
    hooks = [
        node.register_prehook(lambda given, node=node: asked.append((node, given)))
        for node in functions([root.grad_fn for root, _ in roots])
    ]
    try:
        torch.autograd.backward([root for root, _ in roots], [seed for _, seed in roots], retain_graph=True)
    except (Exception, SystemExit):
        return asked[-1] if asked else (None, ())
    finally:
        for hook in hooks:
            hook.remove()
    return None, ()


def functions(starts: list[Any]) -> Iterator[Any]:
    """The nodes of torch's graph that are a user's own torch.autograd.Function."""
    seen: set[Any] = set()
    stack = [node for node in starts if node is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(type(node), "_forward_cls"):
            yield node
        stack.extend(following for following, _ in node.next_functions if following is not None)


# ---- what it returned --------------------------------------------------------------------------------------


def _misgiven(node: Any, cotangents: tuple[Any, ...]) -> Diagnostic | None:
    """What is wrong with what a backward returns; None if nothing is, or it cannot be asked again."""
    function = type(node)._forward_cls
    try:
        given = function.backward(node, *cotangents)
    except (Exception, SystemExit):
        return None
    name, place = _name(node), _defined(node)
    needed = node.needs_input_grad
    names = _argument_names(function, len(needed))

    def wrong(what: str, hint: str) -> Diagnostic:
        return Diagnostic("value", f"'{name}' {what} {place}".rstrip(), hint=hint)

    if isinstance(given, list):
        return wrong("returns a list, not a tuple", "return a, b, … without brackets")
    gradients = given if isinstance(given, tuple) else (given,)
    while len(gradients) > len(needed) and gradients[-1] is None:
        gradients = gradients[:-1]
    if len(gradients) != len(needed):
        return wrong(
            f"returns {count(len(gradients), 'gradient')}, not {len(needed)}",
            f"backward returns one for each argument of forward, in order ({', '.join(names)}): "
            "None for one that is no tensor",
        )
    edges = iter([edge for edge in node.next_functions if edge[0] is not None])
    for argument, gradient, is_needed in zip(names, gradients, needed, strict=True):
        due = _due(*next(edges)) if is_needed else None
        if gradient is None:
            continue
        if not isinstance(gradient, torch.Tensor):
            what = f"gives '{argument}' a {type(gradient).__name__} for a gradient, not a tensor"
            return wrong(what, "None means that it needs none")
        if due is None:
            continue
        if not _fits(tuple(due.shape), tuple(gradient.shape)):
            shapes = tuple(gradient.shape), tuple(due.shape)
            what = f"gives '{argument}' a gradient of shape {shapes[0]}, not {shapes[1]}"
            return wrong(what, _advice(argument, *shapes))
        if gradient.device != due.device:
            what = f"gives '{argument}' a gradient on the device {gradient.device}, not {due.device}"
            return wrong(what, "make it where its argument is: torch.zeros_like(x)")
        if gradient.is_complex() and not due.dtype.is_complex:
            what = f"gives '{argument}' a gradient of dtype {dtype_of(gradient)}, not {_dtype(due)}"
            return wrong(what, "the gradient of a real tensor is real")
    for argument, gradient, is_needed in zip(names, gradients, needed, strict=True):
        if gradient is not None and not is_needed:
            return wrong(
                f"gives '{argument}' a gradient, which is no tensor", f"return None for '{argument}'"
            )
    return None


def _advice(argument: str, given: tuple[int, ...], due: tuple[int, ...]) -> str:
    """What to do about a shape: never to reshape what would then stand in another order."""
    if given == due[::-1]:
        way = "transpose it, .T" if len(due) == 2 else f"permute it, .permute{tuple(range(len(due)))[::-1]}"
        return f"the shape of '{argument}' in reverse: {way}"
    if sorted(given) == sorted(due) and len(set(due)) == len(due):
        order = tuple(given.index(size) for size in due)
        return f"the dimensions of '{argument}' in another order: permute it, .permute{order}"
    if [size for size in given if size != 1] == [size for size in due if size != 1]:
        return f"only dimensions of size 1 are in the way: .reshape({due}) takes them out"
    return "a gradient has one number for each element of its argument, in its shape"


def _dtype(due: Any) -> str:
    return str(due.dtype).removeprefix("torch.")


def _argument_names(function: Any, number: int) -> list[str]:
    """What a Function's forward calls its arguments: ``x``, or ``xs[0]`` where it takes any number."""
    names: list[str] = []
    for parameter in forward_parameters(function):
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{k}]" for k in range(number - len(names))]
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            names.append(parameter.name)
    return (names + [f"argument {k}" for k in range(len(names), number)])[:number]


def _due(node: Any, place: int) -> Any:
    """What a gradient that goes to a node of torch's graph must be like: its shape, dtype and device."""
    return node._input_metadata[place]


def _fits(due: tuple[int, ...], given: tuple[int, ...]) -> bool:
    """True if torch takes a gradient of this shape; what broadcasting made larger it sums."""
    if len(given) < len(due):
        return False
    pairs = zip(reversed(due), reversed(given), strict=False)
    return all(own in (1, other) for own, other in pairs)
