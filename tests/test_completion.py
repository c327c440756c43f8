"""Shell completion: what a tab offers, by line; and that the three shells take it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from vjpcalc.cli.app import app
from vjpcalc.cli.completion import SCRIPTS, as_bash_wants, complete, free_names, split
from vjpcalc.limits import METHODS

GROUP = typer.main.get_command(app)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data.npy", "my file.npz", "notes.md", "jobs.jsonl", "net.vjp", "rows.py", ".hidden.npy"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.pt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


# a line up to the cursor → all that is offered
EXACT = {
    "vjpcalc schem": ["schema"],
    "vjpcalc --ver": ["--version"],
    # operators inside of the expression, with a bracket where the shell lets it be
    "vjpcalc 'a @ softm": ["a @ softmax(", "a @ softmin("],
    'vjpcalc "a @ softma': ["a @ softmax("],
    "vjpcalc softma": ["softmax"],
    "vjpcalc vjp 'softma": ["softmax("],
    "vjpcalc 'x.logsumex": ["x.logsumexp("],
    "vjpcalc 'F.layer_n": ["F.layer_norm("],
    "vjpcalc 'torch.nn.functional.layer_n": ["torch.nn.functional.layer_norm("],
    "vjpcalc 'a @ xyz": [],
    "vjpcalc '1 + ": [],
    "vjpcalc @n": ["@net.vjp"],
    # the inputs that the expression asks for
    "vjpcalc 'a @ b' ": ["a=", "b="],
    "vjpcalc 'a @ b' a=1 ": ["b="],
    "vjpcalc 'a @ b' a:float32=1 ": ["b="],
    "vjpcalc --dtype float32 'a @ b' b": ["b="],
    "vjpcalc 'a @ b' a:f": ["a:float64=", "a:float32=", "a:float16="],
    "vjpcalc 'a @ b' a=@d": ["a=@data.npy"],
    "vjpcalc 'a @ b' a=@": ["a=@data.npy", "a=@my file.npz", "a=@sub/"],
    "vjpcalc 'a @ b' a=@sub/": ["a=@sub/w.pt"],
    "vjpcalc 'a @ b' a=@.": ["a=@.hidden.npy"],
    "vjpcalc 'a @ b' a='2*linsp": ["a=2*linspace("],
    # options and their values
    "vjpcalc 'a@b' --se": ["--seed"],
    "vjpcalc vjp 'a@b' a=1 --check-": ["--check-limit"],
    "vjpcalc batch --fail": ["--fail-fast"],
    "vjpcalc 'a' --check ": [*METHODS],
    "vjpcalc 'a' --check=pr": ["--check=probe"],
    "vjpcalc 'a' --dtype f": ["float64", "float32", "float16"],
    "vjpcalc 'a' --only a --format c": ["csv"],
    "vjpcalc 'a @ b' a=1 b=2 --wrt a,": ["a,a", "a,b"],
    "vjpcalc 'c = a*2; d = c + 1' --output ": ["c", "d"],
    "vjpcalc 'a' --seed @d": ["@data.npy"],
    "vjpcalc 'a' --use r": ["rows.py"],
    "vjpcalc 'a' -o da": ["data.npy"],
    # arguments of other commands
    "vjpcalc batch j": ["jobs.jsonl"],
    "vjpcalc ops softma": ["softmax"],
    "vjpcalc schema re": ["result", "record"],
    "vjpcalc completion ": ["bash", "zsh", "fish"],
}


@pytest.mark.parametrize("line", EXACT)
def test_what_a_tab_offers(folder: Path, line: str) -> None:
    assert [word for word, _ in complete(split(line), GROUP)] == EXACT[line]


def test_every_command_and_every_option_is_offered(folder: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    offered = [word for word, _ in complete(split("vjpcalc "), GROUP)]
    assert set(commands) <= set(offered)
    for name, command in commands.items():
        options = {
            option for parameter in command.params for option in parameter.opts if option.startswith("--")
        }
        hidden = {
            o for parameter in command.params if getattr(parameter, "hidden", False) for o in parameter.opts
        }
        assert options - hidden <= {word for word, _ in complete(split(f"vjpcalc {name} --"), GROUP)}


LINES = {
    "vjpcalc ": ((), "", None),
    "vjpcalc a": ((), "a", None),
    "vjpcalc 'a b' c": (("a b",), "c", None),
    "vjpcalc 'a b": ((), "a b", 0),
    "vjpcalc x='a b": ((), "x=a b", 2),
    'vjpcalc "a\\"b" ': (('a"b',), "", None),
    "vjpcalc a\\ b ''": (("a b",), "", None),
    "/usr/bin/vjpcalc  'it'\\''s' x": (("it's",), "x", None),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_split_as_a_shell_does(line: str) -> None:
    typed = split(line)
    assert (typed.words, typed.current, typed.open_quote) == LINES[line]


FREE = {
    "a @ b": ["a", "b"],
    "y = W @ x + b; sum(tanh(y)**2)": ["W", "x", "b"],
    "x.norm(dim=0) * 1e-3": ["x"],
    "F.relu(x) + torch.exp(k) + pi": ["x", "k"],
    "s = 0\nfor i in range(3):\n    s += x[i]\ns": ["x"],
    "x if x > c else -x": ["x", "c"],
    "α*x": ["α", "x"],
}


@pytest.mark.parametrize("expression", FREE)
def test_the_names_that_a_program_needs(expression: str) -> None:
    assert free_names(expression) == FREE[expression]


BREAKS = " \t\n\"'><=;|&(:@"
BASH = {
    ("vjpcalc 'a @ softma", "a @ softmax("): "a @ softmax(",
    ("vjpcalc x x=@da", "x=@data.npy"): "@data.npy",
    ("vjpcalc x x=@my", "x=@my file.npz"): "@my\\ file.npz",
    ("vjpcalc x x='ran", "x=randn("): "randn(",
    ("vjpcalc x x:fl", "x:float32="): "float32=",
    ("vjpcalc x --check=p", "--check=probe"): "probe",
}


@pytest.mark.parametrize(("line", "word"), BASH)
def test_bash_replaces_a_part_of_the_word(line: str, word: str) -> None:
    assert as_bash_wants(word, split(line), BREAKS) == BASH[line, word]


def test_the_command(cli) -> None:
    for shell, script in SCRIPTS.items():
        assert cli("completion", shell).out == script
    assert cli("completion", "fish", "--", "vjpcalc batch").out.startswith("batch\tRun many jobs")
    ran = cli("completion", "fsh")
    assert ran.status == 2
    assert "did you mean 'fish'?" in ran.err


# ---- real shells ----------------------------------------------------------------------------------

SHELLS = {
    "bash": """eval "$(vjpcalc completion bash)"
COMP_LINE="vjpcalc 'a @ softma"; COMP_POINT=${#COMP_LINE}; _vjpcalc 2>/dev/null; echo "${COMPREPLY[@]}" """,
    "zsh": """autoload -Uz compinit; compinit -D; eval "$(vjpcalc completion zsh)"
vjpcalc completion zsh -- "vjpcalc 'a @ softma" | cut -f1; (( $+_comps[vjpcalc] )) || echo not registered""",
    "fish": """vjpcalc completion fish | source; complete -C "vjpcalc 'a @ softma" | string split -f1 \\t""",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_the_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "vjpcalc").write_text(f'#!/bin/sh\nexec {sys.executable} -m vjpcalc "$@"\n')
    (bin_ / "vjpcalc").chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    ran = subprocess.run(
        [shell, "-c", SHELLS[shell]], env=environment, text=True, capture_output=True, check=False
    )
    assert ran.stdout.strip() == "a @ softmax(", ran.stderr
