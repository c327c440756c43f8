"""The command line's entry: the only place where a Diagnostic becomes text on stderr and an exit status.

A first word that is no command is an expression, and the command is ``vjp``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any

import typer

from vjpcalc import __version__
from vjpcalc.cli.batch import batch
from vjpcalc.cli.completion import completion
from vjpcalc.cli.explain import explain
from vjpcalc.cli.graph import graph
from vjpcalc.cli.jacobian import jacobian
from vjpcalc.cli.ops import ops
from vjpcalc.cli.schema import schema
from vjpcalc.cli.streams import given_command
from vjpcalc.cli.vjp import vjp
from vjpcalc.diagnostics import Diagnostic, ExitStatus, nearest, raised, reason
from vjpcalc.report.shell import quoted
from vjpcalc.stages import measured, table

app = typer.Typer(
    name="vjpcalc",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    no_args_is_help=False,
)


def _version(value: bool) -> None:
    if value:
        print(f"vjpcalc {__version__}")
        raise typer.Exit


@app.callback(
    epilog="A first word that is no command is an expression: [bold]vjpcalc 'a @ b' a=… b=…[/bold] is the "
    "same as [bold]vjpcalc vjp 'a @ b' a=… b=…[/bold]; its options: vjpcalc vjp -h."
)
def _app(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The vector-Jacobian product Jᵀ·seed of an expression by PyTorch's backward(seed), and a check of it."""


app.command(
    "vjp",
    rich_help_panel="Commands",
    epilog="For example:  "
    "[bold]vjpcalc 'a @ b' a='[[0,0],[2,2]]' b='[[1,2],[1,2]]' --seed '[[1,2],[3,4]]'[/bold]",
)(vjp)
app.command("jacobian", rich_help_panel="Commands")(jacobian)
app.command("explain", rich_help_panel="Commands")(explain)
app.command("graph", rich_help_panel="Commands")(graph)
app.command("batch", rich_help_panel="Commands")(batch)
app.command("ops", rich_help_panel="Commands")(ops)
app.command("schema", rich_help_panel="Commands")(schema)
app.command("completion", rich_help_panel="Commands")(completion)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status; raises nothing."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    given_command.set(given)
    if "--debug" not in given:
        return _guarded(given, debug=False)
    with measured() as times:
        try:
            return _guarded(given, debug=True)
        finally:
            print(table(times), file=sys.stderr)


def _guarded(given: list[str], *, debug: bool) -> int:
    try:
        return _run(given)
    except Diagnostic as diagnostic:
        if debug:
            raise
        _report(diagnostic, given)
        return diagnostic.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:  # files have their own messages: this is standard output
        if debug:
            raise
        print(f"error: standard output cannot be written: {reason(error)}", file=sys.stderr)
        return ExitStatus.INTERNAL
    except Exception as error:
        if debug:
            raise
        hint = "this is a bug; --debug shows where"
        fault = Diagnostic("internal", f"internal error: {raised(error)}", hint=hint)
        _report(fault, given)
        return fault.status


def _run(given: list[str]) -> int:
    group: Any = typer.main.get_command(app)
    try:
        status = group.main(_with_command(given, group), prog_name="vjpcalc", standalone_mode=False)
    except SystemExit as exit_:
        if isinstance(exit_.code, str):  # as Python does it
            print(exit_.code, file=sys.stderr)
            return ExitStatus.INTERNAL
        return int(exit_.code or 0)
    except Exception as error:
        # Typer's own copy of Click, or Click's: told apart by what they offer
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):
            raise _usage(error, given) from error
        if type(error).__name__ == "Abort":
            raise KeyboardInterrupt from None
        raise
    if status == ExitStatus.INTERRUPTED:  # what Typer makes of Ctrl-C
        raise KeyboardInterrupt
    return int(status or 0)


def _with_command(given: list[str], group: Any) -> list[str]:
    """The arguments with ``vjp`` in front where the first word is no command."""
    if not given:
        return ["--help"]
    if given[0] in group.commands:
        return [given[0], *_guard(given[1:], group.commands[given[0]])]
    if given[0] in ("-h", "--help", "--version"):
        return given
    command = group.commands["vjp"]
    return ["vjp", *_guard(given, command)]


def _guard(given: list[str], command: Any) -> list[str]:
    """Keep an expression that begins with ``-`` from being taken for an option: a blank goes before it."""
    options: dict[str, bool] = {"-h": False, "--help": False}
    for parameter in command.params:
        for name in (*parameter.opts, *parameter.secondary_opts):
            options[name] = not getattr(parameter, "is_flag", False)
    position = 0
    while position < len(given):
        word = given[position]
        if word == "--":
            return given
        if word in options:
            position += 2 if options[word] else 1
        elif word.startswith("--"):
            position += 1
        elif taken := _short_options(word, options):
            position += taken
        else:
            if word.startswith("-") and len(word) > 1:
                given = [*given[:position], " " + word, *given[position + 1 :]]
            return given
    return given


def _short_options(word: str, options: Mapping[str, bool]) -> int:
    """How many words short options written together take (``-qo FILE``, ``-oFILE``); 0: this is none.

    ``-o.T`` may be an expression, so what is attached must look like a file's name.
    """
    if not word.startswith("-"):
        return 0
    for position, letter in enumerate(word[1:], 1):
        takes_value = options.get(f"-{letter}")
        if takes_value is None:
            return 0
        if takes_value:
            rest = word[position + 1 :]
            return 2 if not rest else int(re.search(r"\.[a-z][a-z0-9]+$", rest) is not None)
    return 1 if len(word) > 1 else 0


def _usage(error: Any, given: list[str]) -> Diagnostic:
    message = error.format_message().strip().rstrip(".")
    hint = f"vjpcalc {given[0] if given and given[0].isalpha() else 'vjp'} -h shows the usage"
    if "EXPR" in message and "Missing" in message:
        message, hint = "an expression is missing", "for example: vjpcalc 'sum(x**2)' x='[1, 2, 3]'"
    return Diagnostic("usage", message[:1].lower() + message[1:], hint=hint)


def _report(diagnostic: Diagnostic, given: list[str]) -> None:
    from vjpcalc.language.source import render

    if diagnostic.arguments:
        corrected = corrected_command(given, diagnostic.arguments)
        diagnostic.hint = f"{diagnostic.hint or ''}\n\n  {corrected}".strip("\n")
    elif (
        (diagnostic.kind == "name" or (diagnostic.kind == "input" and not _of_an_input(diagnostic)))
        and given
        and given[0].isidentifier()
    ):
        command = nearest(given[0], [*typer.main.get_command(app).commands])  # type: ignore[attr-defined]
        if command:
            diagnostic.hint = f"did you mean the command 'vjpcalc {command}'?"
    if any(word in ("--json", "--format=json", "--format=jsonl") for word in given) or _follows(
        given, "--format", "json"
    ):
        from vjpcalc.tensors.json import dumps

        sys.stdout.write(dumps(diagnostic.to_dict()) + "\n")
        sys.stdout.flush()
    shown = render(diagnostic)
    print(shown if "--no-color" in given else _coloured(shown), file=sys.stderr)


def _of_an_input(diagnostic: Diagnostic) -> bool:
    """Whether the diagnostic is about what an input is given: the first word was meant as an expression."""
    return diagnostic.source is not None and "=" in diagnostic.source.text


def _follows(given: list[str], option: str, start: str) -> bool:
    return any(a == option and b.startswith(start) for a, b in pairwise(given))


def _coloured(text: str) -> str:
    """The first word in red on a terminal."""
    import os

    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        return text.replace("error:", "\033[1;31merror:\033[0m", 1).replace(
            "\nhint:", "\n\033[1;36mhint:\033[0m", 1
        )
    return text


def corrected_command(given: Sequence[str], arguments: Sequence[str]) -> str:
    """What was typed with an option put right, ready for a shell."""
    option, value = arguments
    name = value.partition("=")[0] if "=" in value else None
    kept: list[str] = []
    skip = False
    for word, following in zip(given, [*given[1:], ""], strict=True):
        if skip:
            skip = False
            continue
        if word == option and (name is None or following.startswith(f"{name}=")):
            skip = True
            continue
        if word.startswith(f"{option}=") and (name is None or word.startswith(f"{option}={name}=")):
            continue
        kept.append(word)
    return "vjpcalc " + " ".join(map(quoted, [*kept, option, value]))
