"""``batch`` past one process and one machine, on engines that are not ours: torchrun and GNU parallel."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")},
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
}
NO_PARALLEL = shutil.which("parallel") is None


@pytest.fixture
def jobs(cli, tmp_path: Path) -> list[dict]:
    """Eleven jobs in jobs.jsonl, the sixth of them bad; their records, of one process."""
    lines = [
        json.dumps({"id": k, "expression": "sum(sin(x))", "inputs": {"x": [k, k / 7]}}) for k in range(1, 12)
    ]
    lines[5] = '{"id": 6, "expression": "sum(sine(x))", "inputs": {"x": 6}}'
    (tmp_path / "jobs.jsonl").write_text("\n".join(lines) + "\n")
    assert cli("batch", str(tmp_path / "jobs.jsonl"), "-o", str(tmp_path / "whole.jsonl")).status == 6
    return records(tmp_path / "whole.jsonl")


def records(*files: Path) -> list[dict]:
    found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted(found, key=lambda record: record["line"])


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-o", "pipefail", "-c", command]
    return subprocess.run(words, cwd=folder, env=ENVIRONMENT, text=True, capture_output=True, check=False)


@pytest.mark.skipif(
    importlib.util.find_spec("torch.distributed.run") is None, reason="this torch has no torchrun"
)
def test_torchrun_shards_by_line(jobs: list[dict], tmp_path: Path) -> None:
    run = "torchrun --nproc-per-node 2 -m vjpcalc batch jobs.jsonl -o 'out.{rank}.jsonl' --exit-zero"
    ran = shell(run, tmp_path)
    assert ran.returncode == 0, ran.stderr
    parts = [tmp_path / f"out.{rank}.jsonl" for rank in range(2)]
    assert [[record["line"] % 2 for record in records(part)] for part in parts] == [[1] * 6, [0] * 5]
    assert records(*parts) == jobs


@pytest.mark.skipif(NO_PARALLEL, reason="GNU parallel is not installed (a package of every distribution)")
def test_parallel_hands_out_blocks_of_jobs(jobs: list[dict], tmp_path: Path) -> None:
    """A record's line is that in its block: over hosts, jobs are told by their id."""
    ran = shell(
        "parallel --will-cite --pipe -k -j 2 -N 6 vjpcalc batch - -q --exit-zero < jobs.jsonl", tmp_path
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [record["line"] for record in found] == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5]
    assert [{**record, "line": record["id"]} for record in found] == jobs
