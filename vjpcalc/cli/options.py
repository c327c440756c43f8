"""The options that commands share, each declared once, and how they become a Job."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vjpcalc.diagnostics import Diagnostic, reason
from vjpcalc.limits import DEFAULT_LIMIT, DIGITS, MAX_ELEMENTS, MAX_STEPS, Limits, require_method
from vjpcalc.stages import stage

if TYPE_CHECKING:
    from vjpcalc.job.job import Job

_given = functools.partial(typer.Option, rich_help_panel="Inputs and seed")
_limit = functools.partial(typer.Option, rich_help_panel="Limits", metavar="N", min=1)
_checked = functools.partial(typer.Option, rich_help_panel="Check")
output_option = functools.partial(typer.Option, rich_help_panel="Output")
out_option = functools.partial(output_option, "-o", "--out", metavar="FILE")
Debug = Annotated[bool, output_option("--debug", help="Show the stages' times, and an error's traceback.")]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How programs run, one or a batch of them."""

    dtype: Annotated[str, _given(metavar="DTYPE", help="The dtype of numbers typed in.")] = "float64"
    use: Annotated[
        list[str] | None,
        _given("--use", metavar="FILE.py:NAME", help="Make a Python function of torch tensors an operator."),
    ] = None
    reference: Annotated[
        list[str] | None,
        _given(
            "--reference",
            metavar="NAME=EXPR",
            help="Judge a --use function by this expression of its parameters; NAME:backward=… by its "
            "derivative alone.",
        ),
    ] = None
    random_seed: Annotated[int, _given(metavar="N", min=0, help="Where rand and randn start.")] = 0
    max_steps: Annotated[int, _limit(help="Statements and operators that a program may run.")] = MAX_STEPS
    max_elements: Annotated[int, _limit(help="Elements that one tensor may have.")] = MAX_ELEMENTS


@dataclass(frozen=True, kw_only=True)
class JobOptions(RunOptions):
    """What makes a Job: the expression, its inputs and its seeds."""

    expression: Annotated[
        str, typer.Argument(metavar="EXPR", help="The expression; @FILE.vjp or - (standard input).")
    ]
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=VALUE …", help="Inputs: numbers, an expression, @FILE[:KEY] or -[:KEY]."
        ),
    ] = None
    seed: Annotated[
        list[str] | None,
        _given(
            "--seed", metavar="[OUTPUT=]VALUE", help="The argument of backward(): shaped like the output."
        ),
    ] = None
    wrt: Annotated[str | None, _given(metavar="A,B", help="The leaves; other inputs are constants.")] = None
    output: Annotated[
        list[str] | None,
        _given("--output", metavar="NAME", help="An output, by a name that the program assigns; repeatable."),
    ] = None


@dataclass(frozen=True)
class CheckOptions:
    """How the gradients are checked."""

    check: Annotated[str, _checked(metavar="METHOD", help="auto, explicit, probe, forward or off.")] = "auto"
    check_limit: Annotated[
        int,
        _checked(
            metavar="N", min=0, help="Element operations an explicit J may cost; beyond it, auto probes."
        ),
    ] = DEFAULT_LIMIT
    digits: Annotated[
        int | None,
        _checked(metavar="N", min=1, max=DIGITS, help="Digits that a pass needs (default: at least one)."),
    ] = None
    strict: Annotated[bool, _checked("--strict", help="An inconclusive check is a failure too (exit 5).")] = (
        False
    )

    def __post_init__(self) -> None:
        require_method(self.check)


@dataclass(frozen=True)
class ReportOptions:
    """What a report looks like and where it goes."""

    format: Annotated[
        str | None, output_option(metavar="FORMAT", help="table (terminal), plain (pipe), json or jsonl.")
    ] = None
    json: Annotated[bool, output_option("--json", help="The same as --format json.")] = False
    precision: Annotated[int, output_option(metavar="N", min=1, max=17, help="Significant digits shown.")] = 6
    svg: Annotated[str | None, output_option(metavar="FILE", help="Save the report as a picture.")] = None
    html: Annotated[str | None, output_option(metavar="FILE", help="Save the report as a page.")] = None
    no_color: Annotated[bool, output_option("--no-color", help="No colour.")] = False
    quiet: Annotated[bool, output_option("--quiet", "-q", help="No report.")] = False
    debug: Debug = False


def takes(**groups: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of whole groups: ``@takes(job=JobOptions)`` passes them as one ``job``."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        by_group = {
            name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()
        }
        own = inspect.signature(function, eval_str=True).parameters
        parameters = [parameter for group in by_group.values() for parameter in group.values()]
        parameters += [parameter for name, parameter in own.items() if name not in groups]

        @functools.wraps(function)
        def command(**values: Any) -> Any:
            for name, group in groups.items():
                values[name] = group(**{option: values.pop(option) for option in by_group[name]})
            return function(**values)

        keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        return command

    return decorate


def read_expression(text: str) -> tuple[str, str]:
    """The program's text and what to call it, for EXPR, ``@file.vjp`` or ``-``. Raises Diagnostic."""
    if text == "-":
        return sys.stdin.read(), "standard input"  # decoded as the terminal says
    if not text.startswith("@"):
        return text, "expression"
    path = Path(text[1:])
    try:
        return path.read_text(encoding="utf-8"), path.name
    except UnicodeDecodeError:
        raise Diagnostic("usage", f"'{path}' is no text file", hint="a program is UTF-8 text") from None
    except OSError as error:
        raise Diagnostic("usage", f"cannot read the program '{path}': {reason(error)}") from None


def read_job(options: JobOptions, *, seeded: bool = True) -> Job:
    """Read everything that the options name and put it together. Raises Diagnostic."""
    from vjpcalc.language.syntax import parse

    with stage("parse"):
        program = parse(*read_expression(options.expression))
    with stage("import torch"):
        from vjpcalc.job.arguments import Reader
        from vjpcalc.job.job import make_job, parse_dtype
        from vjpcalc.job.use import load, parse_reference

    dtype = parse_dtype(options.dtype)
    limits = Limits(options.max_steps, options.max_elements)
    use = {operator.name: operator for operator in map(load, options.use or ())}
    outputs = tuple(options.output or ()) or (program.output,)
    stdin = None if options.expression == "-" else sys.stdin
    reader = Reader(stdin, options.random_seed, limits, dtype)
    with stage("inputs"):
        inputs = reader.inputs(options.inputs or ())
    return make_job(
        program,
        inputs,
        seed=reader.seeds(options.seed or (), outputs) if seeded else None,
        wrt=None if options.wrt is None else list(filter(None, map(str.strip, options.wrt.split(",")))),
        outputs=outputs,
        dtype=dtype,
        limits=limits,
        use=use,
        reference=dict(map(parse_reference, options.reference or ())),
        random_seed=options.random_seed,
    )
