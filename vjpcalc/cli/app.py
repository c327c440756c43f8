"""The command line's entry: the only place where a Diagnostic becomes text on stderr and an exit status.

A first word that is no command is an expression, and the command is ``vjp``.
"""

from __future__ import annotations

import os
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
from vjpcalc.report.shell import command_line, without
from vjpcalc.stages import measured, table

app = typer.Typer(
    name="vjpcalc",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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


COMMANDS = (vjp, jacobian, explain, graph, batch, ops, schema, completion)
VJP_EXAMPLE = "vjpcalc 'a @ b' a='[[0,0],[2,2]]' b='[[1,2],[1,2]]' --seed '[[1,2],[3,4]]'"
for function in COMMANDS:
    app.command(epilog=f"For example:  [bold]{VJP_EXAMPLE}[/bold]" if function is vjp else None)(function)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status. It raises nothing but what ``--debug`` is to show."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    given_command.set(words)
    if "--debug" not in words:
        return _guarded(words)
    with measured() as times:
        try:
            return _guarded(words)
        finally:
            sys.stderr.write(table(times))


def _guarded(words: list[str]) -> int:
    try:
        return _run(words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if "--debug" in words:
            raise
        if isinstance(error, OSError):  # files have their own messages: this is standard output
            print(f"error: standard output cannot be written: {reason(error)}", file=sys.stderr)
            return ExitStatus.INTERNAL
        if not isinstance(error, Diagnostic):
            hint = "this is a bug; --debug shows where"
            error = Diagnostic("internal", f"internal error: {raised(error)}", hint=hint)
        _report(error, words)
        return error.status


def _run(words: list[str]) -> int:
    group: Any = typer.main.get_command(app)
    try:
        status = group.main(_with_command(words, group), prog_name="vjpcalc", standalone_mode=False)
    except SystemExit as exit_:
        if isinstance(exit_.code, str):  # as Python does it
            print(exit_.code, file=sys.stderr)
            return ExitStatus.INTERNAL
        return int(exit_.code or 0)
    except Exception as error:
        # Typer's own copy of Click, or Click's: told apart by what they offer
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):
            raise _usage(error, words) from error
        if type(error).__name__ == "Abort":
            raise KeyboardInterrupt from None
        raise
    if status == ExitStatus.INTERRUPTED:  # what Typer makes of Ctrl-C
        raise KeyboardInterrupt
    return int(status or 0)


def _with_command(words: list[str], group: Any) -> list[str]:
    """The arguments with ``vjp`` in front where the first word is no command."""
    if not words:
        return ["--help"]
    if words[0] in ("-h", "--help", "--version"):
        return words
    name, rest = (words[0], words[1:]) if words[0] in group.commands else ("vjp", words)
    return [name, *_guard(rest, group.commands[name])]


def _guard(words: list[str], command: Any) -> list[str]:
    """Keep an expression that begins with ``-`` from being taken for an option: a blank goes before it."""
    takes_value = {"-h": False}
    for option in command.params:
        takes_value |= dict.fromkeys(option.opts, not getattr(option, "is_flag", False))
    position = 0
    while position < len(words) and words[position] != "--":
        word = words[position]
        is_long = word.startswith("--")
        taken = 1 + takes_value.get(word, False) if is_long else _short_options(word, takes_value)
        if taken == 0:
            blank = " " if word.startswith("-") and len(word) > 1 else ""
            return [*words[:position], blank + word, *words[position + 1 :]]
        position += taken
    return words


def _short_options(word: str, takes_value: Mapping[str, bool]) -> int:
    """How many words short options written together take (``-qo FILE``, ``-oFILE``); 0: this is none.

    ``-o.T`` may be an expression, so what is attached must look like a file's name.
    """
    if not word.startswith("-"):
        return 0
    for position, letter in enumerate(word[1:], 2):
        if f"-{letter}" not in takes_value:
            return 0
        if takes_value[f"-{letter}"]:
            attached = word[position:]
            return int(re.search(r"\.[a-z][a-z0-9]+$", attached) is not None) if attached else 2
    return int(len(word) > 1)


def _usage(error: Any, words: list[str]) -> Diagnostic:
    message = error.format_message().strip().rstrip(".")
    if "EXPR" in message and "Missing" in message:
        hint = "for example: vjpcalc 'sum(x**2)' x='[1, 2, 3]'"
        return Diagnostic("usage", "an expression is missing", hint=hint)
    command = words[0] if words and words[0].isalpha() else "vjp"
    hint = f"vjpcalc {command} -h shows the usage"
    return Diagnostic("usage", message[:1].lower() + message[1:], hint=hint)


def _report(diagnostic: Diagnostic, words: list[str]) -> None:
    """Say what is wrong on standard error, and on standard output as well where JSON was asked for."""
    from vjpcalc.language.source import render

    diagnostic.hint = _hint(diagnostic, words)
    if _wants_json(words):
        from vjpcalc.tensors.json import dumps

        print(dumps(diagnostic.to_dict()), flush=True)
    message = render(diagnostic)
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR") and "--no-color" not in words:
        message = message.replace("error:", "\033[1;31merror:\033[0m", 1)
        message = message.replace("\nhint:", "\n\033[1;36mhint:\033[0m", 1)
    print(message, file=sys.stderr)


def _wants_json(words: list[str]) -> bool:
    return any(
        word in ("--json", "--format=json", "--format=jsonl")
        or (word == "--format" and value.startswith("json"))
        for word, value in pairwise([*words, ""])
    )


def _hint(diagnostic: Diagnostic, words: list[str]) -> str | None:
    """The hint, with the command that would have been right; or that a command was meant."""
    if diagnostic.arguments:
        corrected = corrected_command(words, diagnostic.arguments)
        return f"{diagnostic.hint or ''}\n\n  {corrected}".strip("\n")
    names = [function.__name__ for function in COMMANDS]
    # what an input is given was meant as such, whatever the first word is
    of_an_input = diagnostic.source is not None and "=" in diagnostic.source.text
    kinds = ("name",) if of_an_input else ("name", "input")
    if words and words[0].isidentifier() and words[0] not in names and diagnostic.kind in kinds:
        command = nearest(words[0], names)
        if command:
            return f"did you mean the command 'vjpcalc {command}'?"
    return diagnostic.hint


def corrected_command(words: Sequence[str], arguments: Sequence[str]) -> str:
    """What was typed with an option put right, ready for a shell."""
    option, value = arguments
    start = value[: value.find("=") + 1]  # c= of --seed c=1: other outputs keep their seeds
    return command_line([*without(words, option, start), option, value])
