"""What is wrong with the options is said before the program is run, and before a file is written."""

from __future__ import annotations

from pathlib import Path

import pytest

# The program fails where it is run (status 3): who complains of an option (status 2) has not run it.
PROGRAM = ("nosuch(x)", "x=1")

REFUSED = {
    "a format": (("--format", "bogus"), "unknown format 'bogus'"),
    "a method": (("--check", "probes"), "unknown check 'probes'; did you mean 'probe'?"),
    "a language": (("--emit", "tosh"), "--emit: unknown 'tosh'; did you mean 'torch'?"),
    "a picture": (
        ("--svg", "nowhere/a.svg"),
        "'nowhere/a.svg' cannot be written: there is no folder 'nowhere'",
    ),
    "a page": (
        ("--html", "nowhere/a.html"),
        "'nowhere/a.html' cannot be written: there is no folder 'nowhere'",
    ),
    "a script and a file": (("--emit", "torch", "-o", "g.npz"), "--emit prints a script, --out gradients"),
    "a script and a leaf": (("--emit", "torch", "--only", "x"), "--emit prints a script, --only gradients"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_refused_first(cli, what: str, tmp_path: Path) -> None:
    arguments, message = REFUSED[what]
    ran = cli(*PROGRAM, *arguments)
    assert ran.status == 2
    assert ran.err.startswith(f"error: {message}")


@pytest.mark.parametrize("command", ["jacobian", "explain", "graph"])
def test_every_command_refuses_it_first(cli, command: str) -> None:
    assert cli(command, *PROGRAM, "--format", "bogus").status == 2
    assert cli(command, *PROGRAM, "--svg", "nowhere/a.svg").status == 2


def test_batch_refuses_a_method_before_the_first_job(cli) -> None:
    ran = cli("batch", "-", "--check", "bogus", stdin='{"expression": "x", "inputs": {"x": 1}}\n')
    assert (ran.status, ran.out) == (2, "")


def test_no_file_is_left_by_what_is_refused(cli, tmp_path: Path) -> None:
    ran = cli("x", "x=1", "--format", "bogus", "-o", str(tmp_path / "g.npz"))
    assert ran.status == 2
    assert not list(tmp_path.iterdir())


def test_a_node_is_looked_up_before_the_check(cli) -> None:
    ran = cli("explain", "y = exp(x); sum(y)", "x=1", "--node", "z", "--format", "json")
    assert (ran.status, ran.err.split("\n")[1]) == (2, "hint: its nodes are x, y, out")


@pytest.mark.parametrize(
    "arguments", [("explain", "x * 2", "--arithmetic", "--check", "off"), ("jacobian", "x * 2")]
)
def test_a_jacobian_too_large_is_not_written_out(cli, arguments: tuple[str, ...]) -> None:
    seed = () if arguments[0] == "jacobian" else ("--seed", "ones(50)")
    ran = cli(*arguments[:2], "x=ones(50)", *seed, *arguments[2:], "--max-elements", "1000")
    assert ran.status == 3
    assert "the Jacobian of x has 50 × 50 entries; the limit is 1,000" in ran.err


# ---- what stands in front ----------------------------------------------------------------------------------

COMMANDS = {
    "a command misspelt": (("explian", "x", "x=1"), "did you mean the command 'vjpcalc explain'?"),
    "nothing but it": (("batches",), "did you mean the command 'vjpcalc batch'?"),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_is_guessed(cli, what: str) -> None:
    arguments, hint = COMMANDS[what]
    assert cli(*arguments).err.rstrip().endswith(f"hint: {hint}")


def test_no_command_is_guessed_where_an_input_is_at_fault(cli) -> None:
    assert "the command" not in cli("batches", "batches=@nofile.npy").err


def test_a_hint_stands_where_the_command_is_right(cli) -> None:
    assert "hint: 'vjpcalc ops' lists them all" in cli("explain", "sine(x)", "x=1").err
    assert "hint: the leaf is a" in cli("vjp", "a", "a=1", "--only", "q").err


def test_short_options_may_stand_in_front(cli, tmp_path: Path) -> None:
    for number, options in enumerate((["-o{}"], ["-qo", "{}"], ["-q", "-o{}"], ["-qo{}"])):
        path = tmp_path / f"{number}.npz"
        ran = cli(*(option.format(path) for option in options), "x * 2", "x=1")
        assert (ran.status, path.exists()) == (0, True), ran.err


@pytest.mark.parametrize(("expression", "gradient"), [("-o*2", "-2.0"), ("-o.T", "-1.0")])
def test_an_expression_may_look_like_an_option(cli, expression: str, gradient: str) -> None:
    ran = cli(expression, "o=3", "--only", "o")
    assert ran.out == f"{gradient}\n"


def test_no_colour_is_no_colour_of_an_error_either(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert "\033[" in cli("nosuch(x)", "x=1").err
    assert "\033[" not in cli("nosuch(x)", "x=1", "--no-color").err


# ---- what the check says -----------------------------------------------------------------------------------


def test_a_probe_is_no_word_on_the_size_of_j(cli) -> None:
    assert (
        "random directions in place of J (x 2×2)"
        in cli("x * 2", "x=[1,2]", "--seed", "[1,1]", "--check", "probe").out
    )


def test_a_reason_names_its_leaf(cli) -> None:
    assert "t: the gradient is minus infinity: first made by '1 / t'" in cli("1 / t", "t=0").out
