"""``vjpcalc batch``: one record for each job, in order, whatever happens."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import validate

from vjpcalc.batch import pool
from vjpcalc.batch.job import Settings, _program
from vjpcalc.batch.pool import Shard, run
from vjpcalc.batch.records import Records
from vjpcalc.language import syntax

VJPCALC = [sys.executable, "-m", "vjpcalc"]


def lines(*jobs: object) -> str:
    """Jobs as JSON Lines; a text stands for itself."""
    return "".join((job if isinstance(job, str) else json.dumps(job)) + "\n" for job in jobs)


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def square(*x: float, **more: object) -> dict:
    return {"expression": "sum(x**2)", "inputs": {"x": list(x)}, **more}


def gradient(record: dict, leaf: str = "x") -> object:
    return record["gradients"][leaf]["data"]


# ---- one job: what a line may say ----------------------------------------------------------------

JOBS = {
    "a list": ({"expression": "x**2", "inputs": {"x": [3]}, "seed": [1]}, [6]),
    "a number": ({"expression": "x**2", "inputs": {"x": 3}}, 6),
    "a tensor": ({"expression": "x**2", "inputs": {"x": {"dtype": "float32", "shape": [], "data": 3}}}, 6),
    "a text as on the command line": ({"expression": "sum(x)", "inputs": {"x": "linspace(0, 1, 2)"}}, [1, 1]),
    "numbers that are not finite": ({"expression": "sum(2*x)", "inputs": {"x": ["Infinity", 1]}}, [2, 2]),
    "a seed as a tensor": ({"expression": "x**2", "inputs": {"x": [3]}, "seed": {"data": [2]}}, [12]),
    "a seed by output": ({"expression": "y = x**2", "inputs": {"x": [3]}, "seed": {"y": [2]}}, [12]),
    "a seed as text": ({"expression": "x**2", "inputs": {"x": [3, 4]}, "seed": "ones(2)"}, [6, 8]),
    "two outputs": ({"expression": "c = x*2\nd = x*3", "inputs": {"x": 1}, "outputs": ["c", "d"]}, 5),
    "outputs as text": ({"expression": "c = x*2; d = x*3", "inputs": {"x": 1}, "outputs": "c, d"}, 5),
    "no check": ({"expression": "x**2", "inputs": {"x": 3}, "check": "off"}, 6),
    "null is nothing": ({"expression": "x**2", "inputs": {"x": 3}, "seed": None, "wrt": None}, 6),
    "no inputs but constants": ({"expression": "x*k", "inputs": {"x": 3, "k": 2}, "wrt": "x"}, 2),
}  # fmt: skip


@pytest.mark.parametrize("what", JOBS)
def test_a_job(cli, what: str) -> None:
    job, expected = JOBS[what]
    ran = cli("batch", "-", stdin=lines(job))
    (record,) = records(ran.out)
    assert ran.status == 0, record
    assert gradient(record) == expected
    assert record["line"] == 1
    assert "id" not in record


def test_a_dtype_is_that_of_numbers_without_one(cli) -> None:
    (record,) = records(cli("batch", "-", stdin=lines(square(1, dtype="float32"))).out)
    assert record["gradients"]["x"]["dtype"] == "float32"
    (record,) = records(cli("batch", "-", "--dtype", "float32", stdin=lines(square(1))).out)
    assert record["gradients"]["x"]["dtype"] == "float32"


def test_wrt_names_the_leaves(cli) -> None:
    job = {"expression": "x*k", "inputs": {"x": 3, "k": 2}, "wrt": ["k"]}
    (record,) = records(cli("batch", "-", stdin=lines(job)).out)
    assert list(record["gradients"]) == ["k"]


def test_a_file(cli, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1, 2]")
    job = {"expression": "sum(x**2)", "inputs": {"x": f"@{tmp_path}/x.json"}}
    assert gradient(records(cli("batch", "-", stdin=lines(job)).out)[0]) == [2, 4]


def test_a_record_is_the_document_of_the_job_alone(cli) -> None:
    job = {"id": "α", "expression": "a @ b", "inputs": {"a": [[1, 2]], "b": [[3], [4]]}, "seed": [[1]]}
    (record,) = records(cli("batch", "-", stdin=lines(job)).out)
    alone = json.loads(cli("a @ b", "a=[[1,2]]", "b=[[3],[4]]", "--seed", "[[1]]", "--json").out)
    assert record == {"line": 1, "id": "α", **alone}
    assert list(record)[:2] == ["line", "id"]


BAD = {
    "this is no JSON": (4, "not JSON", None),
    "[1, 2]": (4, "a job is a JSON object", None),
    "\ud800": (4, "not UTF-8", None),
    '{"id": 5, "expression": "sine(x)", "inputs": {"x": 1}}': (3, "did you mean 'sin'?", 5),
    '{"id": 6, "expression": "a @ b", "inputs": {"a": [[1, 2]], "b": [[1, 2]]}}': (3, "(1, 2)", 6),
    '{"id": 7, "expression": "x*2", "inputs": {"x": [1, 2]}}': (4, "needs a seed", 7),
    '{"id": 8, "expresion": "x*2"}': (4, "a job has no 'expresion'; did you mean 'expression'?", 8),
    '{"id": 9, "inputs": {"x": 1}}': (4, "the job has no expression", 9),
    '{"id": null, "expression": ["x"]}': (4, "the expression is a text", None),
    '{"expression": "x", "inputs": [1]}': (4, "inputs is a JSON object", None),
    '{"expression": "x", "inputs": {"x": [1, [2]]}}': (4, "'x': a ragged list", None),
    '{"expression": "x", "inputs": {"x": NaN}}': (4, "NaN is not JSON", None),
    '{"expression": "x", "inputs": {"x": "@none.npy"}}': (4, "there is no file 'none.npy'", None),
    '{"expression": "x", "inputs": {"x": "-"}}': (4, "a job has no standard input", None),
    '{"expression": "x", "inputs": {"1x": 1}}': (4, "'1x' cannot be a name", None),
    '{"expression": "x", "inputs": {"x": 1}, "dtype": "float31"}': (2, "did you mean 'float", None),
    '{"expression": "x", "inputs": {"x": 1}, "check": "maybe"}': (2, "unknown check 'maybe'", None),
    '{"expression": "x", "inputs": {"x": 1}, "wrt": 1}': (4, "wrt is a list of names, not 1", None),
    '{"expression": "x", "inputs": {"x": 1}, "wrt": "y"}': (4, "there is no input 'y'", None),
    '{"expression": "' + "(" * 200 + '", "inputs": {}}': (3, "nested", None),
    '{"expression": "x' + '"': (4, "not JSON", None),
    "[" * 100_000: (4, "nested too deeply", None),
}


def test_a_bad_line_costs_no_other(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(bad + "\n" + lines(square(1, 2)) for bad in BAD)
    stream = io.TextIOWrapper(io.BytesIO(text.encode(errors="surrogatepass")))
    monkeypatch.setattr(io, "StringIO", lambda _: stream)  # what the fixture makes of stdin
    ran = cli("batch", "-")
    found = records(ran.out)
    assert ran.status == 6
    assert [record["line"] for record in found] == list(range(1, 2 * len(BAD) + 1))
    for (bad, (code, message, own)), record, good in zip(BAD.items(), found[::2], found[1::2], strict=True):
        assert record["error"]["code"] == code, bad
        assert message in record["error"]["message"], bad
        assert record.get("id") == own, bad
        assert gradient(good) == [2, 4]
    assert f"{len(BAD)} done, {len(BAD)} errors (lines 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, …)" in ran.err


# ---- many jobs -----------------------------------------------------------------------------------


def test_blank_lines_are_counted_and_skipped(cli) -> None:
    ran = cli("batch", "-", stdin="\n" + lines(square(1)) + "  \n\n" + lines(square(2)).rstrip("\n"))
    assert [record["line"] for record in records(ran.out)] == [2, 5]
    assert cli("batch", "-", stdin="").out == ""


def test_programs_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    original = syntax.parse
    monkeypatch.setattr(syntax, "parse", lambda text, *more: parsed.append(text) or original(text, *more))
    _program.cache_clear()
    jobs = [{"expression": f"x*{k % 2 + 2}", "inputs": {"x": k}} for k in range(20)]
    assert len(list(run(io.BytesIO(lines(*jobs).encode()), Settings()))) == 20
    assert [text for text in parsed if text.startswith("x*")] == ["x*2", "x*3"]


def test_exit_status_and_fail_fast(cli) -> None:
    jobs = lines(square(1), "bad", square(2), "bad")
    assert cli("batch", "-", stdin=jobs).status == 6
    assert cli("batch", "-", "--exit-zero", stdin=jobs).status == 0
    ran = cli("batch", "-", "--fail-fast", stdin=jobs)
    assert ran.status == 6
    assert [record["line"] for record in records(ran.out)] == [1, 2]
    assert cli("batch", "-", "-q", stdin=jobs).err == ""


def test_a_check_that_fails_is_a_failure(cli) -> None:
    kink = lines(square(1), {"expression": "abs(x)", "inputs": {"x": 0}})
    assert cli("batch", "-", stdin=kink).status == 0
    ran = cli("batch", "-", "--strict", stdin=kink)
    assert ran.status == 6
    assert "1 done, 1 failed check (line 2)" in ran.err


def test_no_file_of_jobs(cli, tmp_path: Path) -> None:
    kept = tmp_path / "records.jsonl"
    kept.write_text("precious\n")
    ran = cli("batch", str(tmp_path / "jobs.jsonl"), "-o", str(kept))
    assert ran.status == 2
    assert "cannot read the jobs" in ran.err
    assert kept.read_text() == "precious\n"
    assert cli("batch", "-", "-o", str(tmp_path / "no" / "where.jsonl")).status == 2


def mixed(count: int, bad: int) -> tuple[str, set[int]]:
    """A batch of many kinds of jobs, ``bad`` of them bad, and the numbers of those lines."""
    pick = random.Random(3)
    wrong = set(pick.sample(range(1, count + 1), bad))

    def numbers(*shape: int) -> object:
        return [numbers(*shape[1:]) for _ in range(shape[0])] if shape else round(pick.uniform(-2, 2), 3)

    jobs: list[object] = []
    for number in range(1, count + 1):
        kind = number % 5
        if number in wrong:
            jobs.append(
                ["not JSON", square(1, 2, seed=[1], id=number), {"expression": "sine(x)"}][number % 3]
            )
        elif kind == 0:
            jobs.append(
                {
                    "expression": "a @ b",
                    "inputs": {"a": numbers(2, 3), "b": numbers(3, 2)},
                    "seed": numbers(2, 2),
                }
            )
        elif kind == 1:
            jobs.append(
                {
                    "id": number,
                    "expression": "y = W @ x\nsum(tanh(y)**2)",
                    "inputs": {"W": numbers(3, 3), "x": numbers(3)},
                }
            )
        elif kind == 2:
            jobs.append(
                {"expression": "where(x > 0, x, 0.1*x)", "inputs": {"x": numbers(4)}, "seed": numbers(4)}
            )
        else:
            jobs.append(square(*numbers(5), id=f"s{number}"))  # type: ignore[misc]
    return lines(*jobs), wrong


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[str, set[int], str]:
    """Mixed jobs, the numbers of the bad ones, and their records."""
    text, wrong = mixed(250, 10)
    outcomes = run(io.BytesIO(text.encode()), Settings())
    return text, wrong, "".join(outcome.text + "\n" for outcome in outcomes)


def test_mixed_jobs_give_a_record_each(uninterrupted: tuple[str, set[int], str]) -> None:
    _, wrong, written = uninterrupted
    found = records(written)
    assert [record["line"] for record in found] == list(range(1, 251))
    assert {record["line"] for record in found if "error" in record} == wrong
    assert not [record for record in found if "error" in record and record["error"]["kind"] == "internal"]
    assert not [record for record in found if record.get("check", {}).get("status") == "failed"]
    for record in found:
        validate(record)


# ---- --resume ------------------------------------------------------------------------------------

TEN = [square(k, id=k) if k % 4 else "bad" for k in range(1, 11)]


@pytest.fixture
def whole(cli, tmp_path: Path) -> bytes:
    """Jobs in jobs.jsonl; their records, of a run that nothing interrupted."""
    (tmp_path / "jobs.jsonl").write_text(lines(*TEN))
    cli("batch", str(tmp_path / "jobs.jsonl"), "-o", str(tmp_path / "whole.jsonl"))
    return (tmp_path / "whole.jsonl").read_bytes()


LEFT = {
    "nothing": lambda whole: b"",
    "one record": lambda whole: whole.split(b"\n")[0] + b"\n",
    "half of the first": lambda whole: whole[:40],
    "one byte": lambda whole: whole[:1],
    "a record and a half": lambda whole: b"\n".join(whole.split(b"\n")[:2])[:-5],
    "a record without its end of line": lambda whole: b"\n".join(whole.split(b"\n")[:3]),
    "all but the last byte": lambda whole: whole[:-1],
    "all": lambda whole: whole,
    "zeros that a crash left": lambda whole: whole.split(b"\n")[0] + b"\n" + bytes(100),
}


@pytest.mark.parametrize("what", LEFT)
def test_resume_yields_what_an_uninterrupted_run_does(cli, tmp_path: Path, whole: bytes, what: str) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(LEFT[what](whole))
    ran = cli("batch", str(tmp_path / "jobs.jsonl"), "-o", str(out), "--resume")
    assert out.read_bytes() == whole
    assert ran.status == 6, "as the uninterrupted run"
    assert "8 done, 2 errors (lines 4, 8)" in ran.err


def test_resume_without_a_file_starts_one(cli, tmp_path: Path, whole: bytes) -> None:
    cli("batch", str(tmp_path / "jobs.jsonl"), "-o", str(tmp_path / "new.jsonl"), "--resume")
    assert (tmp_path / "new.jsonl").read_bytes() == whole


def test_resume_runs_only_what_is_missing(cli, tmp_path: Path, whole: bytes, monkeypatch) -> None:
    ran_lines = []
    original = pool.run_line
    monkeypatch.setattr(
        pool, "run_line", lambda number, *more: ran_lines.append(number) or original(number, *more)
    )
    (tmp_path / "out.jsonl").write_bytes(b"\n".join(whole.split(b"\n")[:7]) + b"\n")
    cli("batch", str(tmp_path / "jobs.jsonl"), "-o", str(tmp_path / "out.jsonl"), "--resume")
    assert ran_lines == [8, 9, 10]


WRONG = {
    "no records": ("a,b\n1,2\n", "line 1 of"),
    "no records, and no end of line": ("some notes", "line 1 of"),
    "another JSON": ('{"a": 1}\n', "line 1 of"),
    "another id": ('{"line": 1, "id": 7}\n', "line 1 is not the job"),
    "another expression": ('{"line": 1, "id": 1, "expression": "sum(x**3)"}\n', "line 1 is not the job"),
}


@pytest.mark.parametrize("what", WRONG)
def test_resume_leaves_other_files_alone(cli, tmp_path: Path, what: str) -> None:
    text, message = WRONG[what]
    (tmp_path / "jobs.jsonl").write_text(lines(*TEN))
    (tmp_path / "out.jsonl").write_text(text)
    ran = cli("batch", str(tmp_path / "jobs.jsonl"), "-o", str(tmp_path / "out.jsonl"), "--resume")
    assert ran.status == 2
    assert message in ran.err
    assert (tmp_path / "out.jsonl").read_text() == text


def test_resume_needs_a_file(cli) -> None:
    assert cli("batch", "-", "--resume").status == 2


def test_a_file_has_one_writer(cli, tmp_path: Path) -> None:
    with Records(str(tmp_path / "out.jsonl")):
        ran = cli("batch", "-", "-o", str(tmp_path / "out.jsonl"), stdin=lines(square(1)))
    assert ran.status == 2
    assert "another vjpcalc is writing" in ran.err


def test_a_full_disk_is_said(cli) -> None:
    ran = cli("batch", "-", "-o", "/dev/full", stdin=lines(square(1)))
    assert ran.status == 2
    assert "'/dev/full' cannot be written: no space left on device" in ran.err


# ---- shards --------------------------------------------------------------------------------------


def test_ranks_share_the_lines(cli, tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, pattern = str(tmp_path / "jobs.jsonl"), str(tmp_path / "out.{rank}.jsonl")

    def rank(number: int, size: int, *more: str) -> None:
        monkeypatch.setenv("RANK", str(number))
        monkeypatch.setenv("WORLD_SIZE", str(size))
        assert cli("batch", jobs, "-o", pattern, "--exit-zero", *more).status == 0

    for number in range(3):
        rank(number, 3)
    parts = [tmp_path / f"out.{number}.jsonl" for number in range(3)]
    assert [[r["line"] for r in records(part.read_text())] for part in parts] == [
        [1, 4, 7, 10],
        [2, 5, 8],
        [3, 6, 9],
    ]

    # killed, and started again with one rank less: every line once, whoever ran it before
    parts[0].write_bytes(b"\n".join(parts[0].read_bytes().split(b"\n")[:2])[:-9])
    parts[2].unlink()
    for number in range(2):
        rank(number, 2, "--resume")
    joined = b"".join(part.read_bytes() for part in parts if part.exists())
    assert sorted(joined.splitlines(), key=lambda line: json.loads(line)["line"]) == whole.splitlines()


def test_ranks_need_a_file_each(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli("batch", "-").status == 2
    ran = cli("batch", "-", "-o", "out.jsonl")
    assert ran.status == 2
    assert "records.{rank}.jsonl" in ran.err


def test_a_shard_is_every_nth_line() -> None:
    assert [[line for line in range(1, 8) if line in Shard(rank, 3)] for rank in range(3)] == [
        [1, 4, 7],
        [2, 5],
        [3, 6],
    ]


# ---- processes -----------------------------------------------------------------------------------

DEADLY = """
import os, signal
def deadly(x):
    if x.sum() > 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * 2
"""


def test_workers_yield_what_one_process_does_and_may_die(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(DEADLY)
    settings = Settings(use=(f"{tmp_path}/use.py:deadly",))
    jobs = [{"id": k, "expression": "sum(deadly(x))", "inputs": {"x": k}} for k in range(8)]
    text = lines(*jobs, "bad", *TEN)
    expected = list(run(io.BytesIO(text.encode()), settings))
    fatal = {"id": "fatal", "expression": "deadly(x)", "inputs": {"x": 10}}
    found = list(run(io.BytesIO(lines(fatal, *text.splitlines()).encode()), settings, processes=2))
    died = json.loads(found[0].text)
    assert died["id"] == "fatal"
    assert died["error"]["kind"] == "internal"
    assert "died (signal 9)" in died["error"]["message"]
    without_number = [outcome.text.split(",", 1)[1] for outcome in found[1:]]
    assert without_number == [outcome.text.split(",", 1)[1] for outcome in expected]
    assert [outcome.line for outcome in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_record_comes_before_the_next_job_is_sent(processes: str) -> None:
    with subprocess.Popen(
        [*VJPCALC, "batch", "-", "--jobs", processes, "-q"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        for k in range(3):
            process.stdin.write(lines(square(k)).encode())
            process.stdin.flush()
            assert gradient(json.loads(process.stdout.readline())) == [2 * k]
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
@pytest.mark.parametrize(("processes", "kills"), [("1", 2), ("2", 1)])
def test_kill_and_resume(
    cli, uninterrupted: tuple[str, set[int], str], tmp_path: Path, processes: str, kills: int
) -> None:
    """Killed at random moments; what is resumed equals what nobody interrupted, to the byte."""
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "out.jsonl"
    jobs.write_text(uninterrupted[0])
    pick = random.Random(int(processes))
    command = [*VJPCALC, "batch", str(jobs), "-o", str(out), "--resume", "-q", "--jobs", processes]
    for kill in range(kills):
        process = subprocess.Popen(command, start_new_session=True)
        before, started = out.stat().st_size if out.exists() else 0, time.monotonic()
        while (not out.exists() or out.stat().st_size <= before) and time.monotonic() - started < 60:
            time.sleep(0.01)
        time.sleep(pick.uniform(0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"it ended before kill {kill}"
    assert cli(*command[3:-2]).status == 6
    assert out.read_text() == uninterrupted[2]


def test_a_closed_pipe_ends_it_quietly() -> None:
    process = subprocess.Popen(
        [*VJPCALC, "batch", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.write(lines(square(1)).encode())
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write(lines(square(1), square(1)).encode())
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == -signal.SIGPIPE


def test_the_limits_hold_for_inputs_that_are_texts() -> None:
    settings = Settings(max_elements=100)
    (outcome,) = run(io.BytesIO(b'{"expression": "sum(x)", "inputs": {"x": "ones(500)"}}'), settings)
    assert "ones: a tensor of 500 elements; the limit is 100" in outcome.text
