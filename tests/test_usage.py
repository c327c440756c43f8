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
