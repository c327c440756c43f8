"""``vjpcalc completion SHELL``: the script that makes a shell complete vjpcalc's words, and what it asks for.

The script hands over the line up to the cursor, ``vjpcalc completion SHELL -- LINE``, and gets the words that
the last one may become, a line each. Which options there are is read from the commands themselves. Neither
torch nor NumPy is imported: a tab must not take a second.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from vjpcalc.diagnostics import unknown
from vjpcalc.limits import METHODS

Candidate = tuple[str, str]  # a whole word, and what it means

SCRIPTS = {
    "bash": r"""# bash completion of vjpcalc: eval "$(vjpcalc completion bash)" in ~/.bashrc
_vjpcalc() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(vjpcalc completion bash -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/:\(] ]] && compopt -o nospace
}
complete -o nosort -F _vjpcalc vjpcalc
""",
    "zsh": r"""#compdef vjpcalc
# zsh completion of vjpcalc: eval "$(vjpcalc completion zsh)" in ~/.zshrc, after compinit
_vjpcalc() {
    local line word
    local -a whole parts told toldparts
    line="${(j: :)words[1,CURRENT-1]} ${words[CURRENT]%$SUFFIX}"
    vjpcalc completion zsh -- "$line" 2>/dev/null | while IFS=$'\t' read -r word line; do
        if [[ $word == *[=/:\(] ]]; then
            parts+=("$word"); toldparts+=("$word${line:+  -- $line}")
        else
            whole+=("$word"); told+=("$word${line:+  -- $line}")
        fi
    done
    (( $#whole )) && compadd -l -d told -a whole
    (( $#parts )) && compadd -l -S '' -d toldparts -a parts
    (( $#whole + $#parts ))
}
compdef _vjpcalc vjpcalc
""",
    "fish": r"""# fish completion of vjpcalc: vjpcalc completion fish | source
# or, for good: vjpcalc completion fish > ~/.config/fish/completions/vjpcalc.fish
complete -c vjpcalc -f -k -a '(vjpcalc completion fish -- (commandline -cp | string collect) 2>/dev/null)'
""",
}


def completion(
    context: typer.Context,
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
    line: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> int:
    """Print the script that makes a shell complete vjpcalc's words: eval "$(vjpcalc completion bash)"."""
    if shell not in SCRIPTS:
        raise unknown("usage", f"there is no completion for '{shell}'", shell, SCRIPTS)
    if not line:
        sys.stdout.write(SCRIPTS[shell])
        return 0
    typed = split(line[0])
    for word, meaning in complete(typed, context.find_root().command):
        if shell == "bash":
            print(as_bash_wants(word, typed, line[1] if len(line) > 1 else ""))
        else:
            print(f"{word}\t{meaning}" if meaning else word)
    return 0


# ---- a line that is not finished -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Typed:
    """The words before the last one, without their quotes; the last one; where in it an open quote begins."""

    words: tuple[str, ...]
    current: str
    open_quote: int | None = None


# What a line is made of: blanks, 'a quotation', "another", one that is still open, \\c, any other character
PIECE = re.compile(
    r"""(?P<blank>\s+)|'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)"|['"](?P<open>.*)|\\(?P<escaped>.)|.""",
    re.DOTALL,
)


def split(line: str) -> Typed:
    """A command line up to the cursor as a shell reads it, the command itself left out."""
    words: list[str] = []
    current: str | None = None  # an empty quotation is a word, a blank is none
    open_quote = None
    for piece in PIECE.finditer(line):
        if piece.lastgroup == "blank":
            words += [] if current is None else [current]
            current = None
            continue
        current = current or ""
        if piece.lastgroup == "open":
            open_quote = len(current)
        text = piece[piece.lastgroup or 0]
        current += re.sub(r'\\(["\\$`])', r"\1", text) if piece[0].startswith('"') else text
    return Typed(tuple(words[1:]), current or "", open_quote)


def as_bash_wants(word: str, typed: Typed, breaks: str) -> str:
    """What bash replaces: what follows the open quote, or the last of the characters that break words."""
    if typed.open_quote is not None:
        return word[typed.open_quote :]
    start = 0
    for position, character in enumerate(typed.current):
        if character in breaks and not character.isspace():
            start = position + (character not in "@$")  # these two belong to the word that they begin
    return re.sub(r"([^\w@%+=:,./~^-])", r"\\\1", word[start:])


# ---- what may come -------------------------------------------------------------------------------


def complete(typed: Typed, group: Any) -> list[Candidate]:
    """The words that the last one may become, ``group`` holding the commands."""
    words, current = typed.words, typed.current
    if not words:
        first = [(name, _summary(command)) for name, command in group.commands.items() if not command.hidden]
        expressions = _expression(typed) if current else []
        return [*_beginning(current, [*first, ("--version", ""), ("--help", "")]), *expressions]
    command = group.commands.get(words[0])
    words = words if command is None else words[1:]
    command = command or group.commands["vjp"]
    options = {name: option for option in command.params for name in option.opts if name.startswith("-")}
    before, equals, value = current.partition("=")
    if words and _takes_value(options.get(words[-1])):
        return _option_value(words[-1], current, words, typed)
    if equals and _takes_value(options.get(before)):
        values = _option_value(before, value, words, typed)
        return [(f"{before}={word}", meaning) for word, meaning in values]
    if current.startswith("-") and typed.open_quote is None:
        return _beginning(current, _option_names(command))
    positional = _positional(words, options)
    if any(parameter.name == "expression" for parameter in command.params):
        return _input(typed, positional) if positional else _expression(typed)
    return _argument(command.name, current) if not positional else []


def _summary(command: Any) -> str:
    return (command.help or "").strip().split("\n")[0]


def _option_names(command: Any) -> list[Candidate]:
    named = [
        (next((name for name in option.opts if name.startswith("--")), option.opts[0]), option.help or "")
        for option in command.params
        if getattr(option, "help", None) and option.opts[0].startswith("-")
    ]
    return [*named, ("--help", "Show this message and exit.")]


def _takes_value(option: Any) -> bool:
    return option is not None and not getattr(option, "is_flag", False)


def _positional(words: Iterable[str], options: dict[str, Any]) -> list[str]:
    """The words that are neither options nor their values."""
    positional, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in options or (word.startswith("--") and word != "--"):
            skip = _takes_value(options.get(word))
        elif word != "--":
            positional.append(word)
    return positional


def _beginning(current: str, candidates: Iterable[Candidate | str]) -> list[Candidate]:
    """The candidates that begin so; a word alone has no meaning beside it."""
    pairs = ((candidate, "") if isinstance(candidate, str) else candidate for candidate in candidates)
    return [(word, meaning) for word, meaning in pairs if word.startswith(current)]


def _option_value(option: str, value: str, words: Sequence[str], typed: Typed) -> list[Candidate]:
    from vjpcalc.cli.streams import FORMATS, ONLY_FORMATS
    from vjpcalc.tensors.dtypes import FLOATS

    inputs = [name for word in words for name in re.findall(r"^([^\W\d]\w*)(?=[:=])", word)]
    formats = FORMATS + (ONLY_FORMATS if "--only" in words else ())
    fixed = {"--check": METHODS, "--format": formats, "--dtype": FLOATS}
    if option in fixed:
        return _beginning(value, dict.fromkeys(fixed[option]))
    if option in ("--wrt", "--only"):
        before = value[: value.rfind(",") + 1]
        return _beginning(value, (before + name for name in inputs))
    if option == "--output" and words:
        return _beginning(value, re.findall(r"(\w+)\s*=(?!=)", words[0]))
    if option == "--seed":
        return _value(value, typed)
    if option == "--use":
        return _files(value, (".py",))
    if option in ("-o", "--out", "--svg", "--html"):
        return _files(value)
    return []


def _argument(command: str, current: str) -> list[Candidate]:
    from vjpcalc.report.schema import DOCUMENTS

    if command == "batch":
        return _files(current, (".jsonl", ".json"))
    if command == "ops":
        return _beginning(current, _operators())
    fixed = {"schema": DOCUMENTS, "completion": tuple(SCRIPTS)}
    return _beginning(current, fixed.get(command, ()))


# ---- the language --------------------------------------------------------------------------------


def _operators() -> list[Candidate]:
    from vjpcalc.operators.registry import lookup, names

    return [(name, lookup(name)[0].signature) for name in sorted(names())]


def _expression(typed: Typed, start: int = 0) -> list[Candidate]:
    """The expression from ``start`` on with the name at its end made an operator's."""
    text = typed.current
    if text.startswith("@", start):
        return _files(text, (".vjp", ".txt"), start + 1)
    name = re.search(r"(?<![\w.])(?:[\w.]*\.)?([^\W\d]\w*)$", text[start:])
    if not name:
        return []
    before = text[: len(text) - len(name.group(1))]
    bracket = "(" if typed.open_quote is not None else ""  # outside of quotes it means something to the shell
    return [(before + word + bracket, meaning) for word, meaning in _beginning(name.group(1), _operators())]


def _input(typed: Typed, positional: Sequence[str]) -> list[Candidate]:
    """NAME=, NAME:DTYPE= or the value after it."""
    from vjpcalc.tensors.dtypes import DTYPES

    head, equals, _ = typed.current.partition("=")
    if equals:
        return _value(typed.current, typed, len(head) + 1)
    name, colon, _ = head.partition(":")
    if colon:
        return _beginning(head, (f"{name}:{dtype}=" for dtype in DTYPES))
    given = {re.split("[:=]", word)[0] for word in positional[1:]}
    return _beginning(name, (f"{free}=" for free in free_names(positional[0]) if free not in given))


def _value(text: str, typed: Typed, start: int = 0) -> list[Candidate]:
    from vjpcalc.tensors.files import BY_ENDING

    if text.startswith("@", start):
        return _files(text, tuple(BY_ENDING), start + 1)
    return _expression(Typed((), text, typed.open_quote), start)


def free_names(expression: str) -> list[str]:
    """The names in a program that are neither called nor assigned: its inputs. It need not be complete."""
    from keyword import kwlist

    from vjpcalc.language.interpret import PREFIXES
    from vjpcalc.language.values import CONSTANTS

    names: dict[str, None] = {}
    known = {*kwlist, *CONSTANTS, *PREFIXES, *re.findall(r"\bfor\s+(\w+)\s+in\b", expression)}
    for name, follows in re.findall(r"(?<![\w.])([^\W\d]\w*)\s*(\(|[-+*/@%|&^]?=(?!=))?", expression):
        if follows.endswith("="):
            known |= {name} - set(names)
        elif not follows and name not in known:
            names.setdefault(name)
    return list(names)


def _files(text: str, endings: tuple[str, ...] = ("",), start: int = 0) -> list[Candidate]:
    """The text with the file name in it, from ``start`` on, completed; a folder ends in ``/``."""
    folder, name = os.path.split(text[start:])
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            names = sorted(
                entry.name + "/" * entry.is_dir()
                for entry in entries
                if entry.name.startswith(name) and (name or entry.name[0] != ".")  # hidden ones if asked for
            )
    except OSError:
        return []
    files = [os.path.join(folder, name) for name in names if name.lower().endswith((*endings, "/"))]
    return [(text[:start] + file, "") for file in files]
