"""vjpcalc next to other tools: gradients through pipes and files, one at a time for scripts."""

from __future__ import annotations

import itertools
import json
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vjpcalc.tensors.files import BY_ENDING, FORMATS

# out = sum(tanh(W2·tanh(W1·x))²), in three steps: z = tanh(W1·x), y = W2·z, out = sum(tanh(y)²)
W1, W2, X = "[[0.3,-1.2,0.7],[1.1,0.2,-0.4]]", "[[0.5,-0.25],[1.5,0.75],[0.1,2.5]]", "[0.9,-0.3,1.7]"
ONE = ["sum(tanh(W2 @ tanh(W1 @ x))**2)", f"W1={W1}", f"W2={W2}", f"x={X}"]


@pytest.fixture
def chain(cli, tmp_path: Path) -> tuple[dict, str, str]:
    """The gradients of the one process, and the inner values z and y as JSON."""
    one = cli(*ONE, "--json")
    outputs = ["--output", "z", "--output", "y", "--seed", "z=ones(2)", "--seed", "y=ones(3)"]
    steps = cli("z = tanh(W1 @ x); y = W2 @ z", *ONE[1:], *outputs, "--check", "off", "--json")
    values = json.loads(steps.out)["outputs"]
    return json.loads(one.out)["gradients"], json.dumps(values["z"]["data"]), json.dumps(values["y"]["data"])


def test_the_chain_rule_runs_through_pipes(cli, chain) -> None:
    """Three processes deep; equal to the one process to the last bit, since the arithmetic is the same."""
    expected, z, y = chain
    third = cli("sum(tanh(y)**2)", f"y={y}", "--json")
    second = cli("W2 @ z", f"W2={W2}", f"z={z}", "--seed", "-:y", "--json", stdin=third.out)
    first = cli("tanh(W1 @ x)", f"W1={W1}", f"x={X}", "--seed", "-:z", "--json", stdin=second.out)
    found = json.loads(second.out)["gradients"] | json.loads(first.out)["gradients"]
    assert {name: found[name] for name in expected} == expected


def test_the_key_may_be_left_out_where_there_is_one(cli, chain) -> None:
    expected, z, y = chain
    third = cli("sum(tanh(y)**2)", f"y={y}", "--json")
    second = cli(
        "W2 @ z", f"W2={W2}", f"z={z}", "--wrt", "z", "--seed", "-", "--format", "jsonl", stdin=third.out
    )
    first = cli("tanh(W1 @ x)", f"W1={W1}", f"x={X}", "--seed", "-", "--only", "x", stdin=second.out)
    assert json.loads(first.out) == expected["x"]["data"]


@pytest.mark.parametrize("ending", [ending for form in FORMATS if form.keyed for ending in form.endings])
def test_the_chain_rule_runs_through_files(cli, chain, tmp_path: Path, ending: str) -> None:
    expected, z, y = chain
    files = [tmp_path / f"{name}{ending}" for name in ("third", "second", "first")]
    cli("sum(tanh(y)**2)", f"y={y}", "-o", str(files[0]), "-q")
    cli("W2 @ z", f"W2={W2}", f"z={z}", "--seed", f"@{files[0]}:y", "-o", str(files[1]), "-q")
    last = cli(
        "tanh(W1 @ x)", f"W1={W1}", f"x={X}", "--seed", f"@{files[1]}:z", "-o", str(files[2]), "--json"
    )
    again = cli("sum(W1) + sum(x)", f"W1=@{files[2]}:W1", f"x=@{files[2]}:x", "--json")
    assert json.loads(last.out)["gradients"]["x"] == expected["x"]
    assert json.loads(last.out)["gradients"]["W1"] == expected["W1"]
    total = math.fsum([*itertools.chain(*expected["W1"]["data"]), *expected["x"]["data"]])
    assert json.loads(again.out)["outputs"]["out"]["data"] == pytest.approx(total, rel=1e-14)


@pytest.mark.parametrize("ending", BY_ENDING)
def test_one_gradient_goes_into_every_format_and_comes_back(cli, tmp_path: Path, ending: str) -> None:
    file, x = tmp_path / f"g{ending}", "[[0.1,2],[1e-30,-4]]"
    key = ":x" if BY_ENDING[ending].keyed else ""
    assert cli("sum(x**3)", f"x={x}", "-o", str(file)).status == 0
    back = cli("sum(g)", f"g=@{file}{key}", "--check", "off", "--seed", "1", "--json")
    assert cli("g", f"g=@{file}{key}", "--seed", f"@{file}{key}", "--only", "g").out == cli(
        "sum(x**3)", f"x={x}", "--only", "x"
    ).out  # fmt: skip
    assert json.loads(back.out)["gradients"]["g"]["dtype"] == "float64"


STRANGERS = {
    "an array": ("[1, 2]", "-"),
    "a number": ("3", "-"),
    "a record without dtype and shape": ('{"data": [1, 2]}', "-"),
    "names": ('{"a": [1, 2], "b": 7}', "-:a"),
    "nested names": ('{"model": {"w": [1, 2]}}', "-:model.w"),
    "one name": ('{"g": [1, 2]}', "-"),
    "pretty-printed": ("[\n  1,\n  2\n]\n", "-"),
    "outputs of ours": (
        '{"format_version": "1.0", "gradients": {"x": [9]}, "outputs": {"o": [1, 2]}}',
        "-:outputs.o",
    ),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_the_json_of_strangers_is_read(cli, what: str) -> None:
    text, value = STRANGERS[what]
    ran = cli("sum(2*x)", f"x={value}", "--only", "x", stdin=text)
    assert ran.status == 0, ran.err
    assert json.loads(ran.out) == (2 if what == "a number" else [2, 2])


NO_STRANGERS = {
    "several names": ('{"a": [1], "b": [2]}', "-", "say which"),
    "an unknown name": ('{"a": [1], "b": [2]}', "-:c", "has no 'c'"),
    "nothing": ("", "-", "standard input is empty"),
    "an error of ours": (
        '{"format_version": "1.0", "error": {"message": "no such thing"}}',
        "-",
        "no such thing",
    ),
    "text": ("hello", "-", "not JSON"),
}


@pytest.mark.parametrize("what", NO_STRANGERS)
def test_what_is_ambiguous_is_not_guessed(cli, what: str) -> None:
    text, value, message = NO_STRANGERS[what]
    ran = cli("sum(2*x)", f"x={value}", stdin=text)
    assert ran.status == 4
    assert message in ran.err


# ---- --only --------------------------------------------------------------------------------------

ONLY = {
    (): "[[2.0, 6.0]]\n",
    ("--format", "json"): "[[2.0, 6.0]]\n",
    ("--format", "jsonl"): "[[2.0, 6.0]]\n",
    ("--json",): "[[2.0, 6.0]]\n",
    ("--format", "csv"): "2.0,6.0\n",
    ("--format", "tsv"): "2.0\t6.0\n",
    ("-q",): "",
}


@pytest.mark.parametrize("options", ONLY)
def test_only_prints_one_gradient(cli, options: tuple[str, ...]) -> None:
    ran = cli("sum(x**2) + k", "x=[[1,3]]", "k=5", "--only", "x", *options)
    assert (ran.status, ran.out, ran.err) == (0, ONLY[options], "")


def test_only_has_the_shape_of_the_leaf(cli) -> None:
    assert cli("x**2", "x=3", "--only", "x").out == "6.0\n"
    assert cli("sum(x)", "x=[1,2]", "--only", "x", "--format", "csv").out == "1.0\n1.0\n"
    assert cli("sum(x)", "x=ones(1,1,2)", "--only", "x").out == "[[[1.0, 1.0]]]\n"
    assert cli("sum(x)", "x=ones(1,1,2)", "--only", "x", "--format", "csv").status == 2
    assert cli("log(x)", "x=0", "--only", "x").out == '"Infinity"\n'


NOT_ONLY = {
    "alhpa": (4, "there is no leaf 'alhpa'; did you mean 'alpha'?\nhint: the leaves are alpha, b"),
    "k": (4, "'k' is a constant, it has no gradient"),
    "alpha --format plain": (2, "--only prints json, jsonl, csv, tsv, not 'plain'"),
}


@pytest.mark.parametrize("words", NOT_ONLY)
def test_only_of_what_is_no_leaf(cli, words: str) -> None:
    status, message = NOT_ONLY[words]
    ran = cli("alpha*b*k", "alpha=1", "b=2", "k:int64=3", "--only", *words.split())
    assert ran.status == status
    assert message in ran.err
    assert ran.out == ""


def test_only_says_on_stderr_what_the_check_has_against_it(cli) -> None:
    ran = cli("abs(x)", "x=0", "--only", "x")
    assert ran.out == "0.0\n"
    assert ran.err.startswith("check inconclusive: x: a kink of abs")


# ---- -o ------------------------------------------------------------------------------------------


def test_a_target_is_checked_before_the_computation(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vjpcalc.job.autograd.compute", lambda job: pytest.fail("computed"))
    for target in ("g.xyz", "no/where.npz", "two.npy"):
        ran = cli("a*b", "a=1", "b=2", "-o", str(tmp_path / target))
        assert ran.status == 2, target


def test_a_failure_leaves_the_old_file(cli, tmp_path: Path) -> None:
    file = tmp_path / "g.npz"
    cli("x**2", "x=1", "-o", str(file))
    before = file.read_bytes()
    assert cli("x**2", "x=[1,2]", "-o", str(file)).status == 4
    assert cli("sine(x)", "x=1", "-o", str(file)).status == 3
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_only_and_o_write_one_gradient(cli, tmp_path: Path) -> None:
    assert cli("a*b", "a=1", "b=2", "--only", "a", "-o", str(tmp_path / "a.npy")).out == "2.0\n"
    assert cli("x", f"x=@{tmp_path}/a.npy", "--seed", "7", "--only", "x").out == "7.0\n"


# ---- real processes ------------------------------------------------------------------------------


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a pipeline with vjpcalc on the path."""
    function = f'vjpcalc() {{ {shlex.quote(sys.executable)} -m vjpcalc "$@"; }}\n'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", function + command],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )


def test_three_processes_in_one_pipe(chain, tmp_path: Path) -> None:
    expected, z, y = chain
    ran = shell(
        f"vjpcalc 'sum(tanh(y)**2)' y='{y}' --json | vjpcalc 'W2 @ z' W2='{W2}' z='{z}' --seed -:y --json"
        f" | vjpcalc 'tanh(W1 @ x)' W1='{W1}' x='{X}' --seed -:z --only x",
        tmp_path,
    )
    assert json.loads(ran.stdout) == expected["x"]["data"]
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_failure_upstream_is_passed_on(cli) -> None:
    failed = cli("sum(tanh(y)**2", "y=1", "--json")
    ran = cli("W @ x", "W=[[1]]", "x=[1]", "--seed", "-:y", stdin=failed.out)
    assert (failed.status, ran.status) == (3, 4)
    assert "the command before in the pipe failed: '(' was never closed" in ran.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_question_marks(encoding: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "vjpcalc", "x", "x=1"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    assert "check ? passed" in ran.stdout.decode(encoding)
