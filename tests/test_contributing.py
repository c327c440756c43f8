"""What .github/CONTRIBUTING.md says is so: its commands, its files, and the operator that it adds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from sampling import draw, samples
from test_operators import (
    judged,
    run_reference,
    run_torch,
    same_gradient_by_rule,
    same_value_three_ways,
    seed_like,
)
from test_transcripts import FENCE, ROOT, commands

import vjpcalc.operators.registry
from vjpcalc.operators.registry import REGISTRY, composed
from vjpcalc.report.ops import example

PAGE = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
SKIPPED = [
    command.text
    for block in FENCE.finditer(PAGE)
    if block.group("info").startswith("skip")
    for command in commands(block.group("body"))
]


@pytest.mark.parametrize("command", SKIPPED)
def test_a_command_that_is_not_run_names_what_there_is(command: str) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for word in shlex.split(command, comments=True):
        if re.match(r"(tests|vjpcalc|examples)/", word):
            assert (ROOT / word).exists(), word
    for tool in re.findall(r"(?:^|&& )(pytest|ruff|mypy|lint-imports)\b", command):
        assert {"lint-imports": "import-linter"}.get(tool, tool) in project


def test_the_house_has_the_rooms_that_the_page_names_and_no_others() -> None:
    rooms = PAGE.partition("## The house")[2].partition("**Why heavy")[0]
    rows = re.findall(r"^\| (`[^|]*) \| (.*) \|$", rooms, re.MULTILINE)
    package = ROOT / "vjpcalc"
    named: set[Path] = set()
    for places, words in rows:
        here = [package / place for place in re.findall(r"`([^`]+)`", places)]
        named |= {path for path in here if path.suffix}
        for name in re.findall(r"`(\w+)`", words):
            homes = [path / name for path in here if not path.suffix]
            assert any(home.is_dir() or home.with_suffix(".py").exists() for home in homes), name
            named |= {home.with_suffix(".py") for home in homes}
    there = {path for path in package.rglob("*.py") if not path.stem.startswith("_")}
    of_a_kind = {package / name for name in ("report", "cli", "engines/kernels")}
    assert not {path for path in there - named if path.parent not in of_a_kind}


def test_the_operator_that_the_page_adds_is_one(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    monkeypatch.setattr(vjpcalc.operators.registry, "REGISTRY", dict(REGISTRY))
    exec(code, {"composed": composed})
    (row,) = vjpcalc.operators.registry.lookup("sech")
    for sample in samples(row):
        values = draw(sample)
        trace, by_torch = run_reference(sample, values), run_torch(sample, values)
        same_value_three_ways(sample, values, trace, by_torch)
        seed = seed_like(trace.outputs["out"].value)
        same_gradient_by_rule(trace, by_torch, seed)
        judged(sample, values, trace, seed, by_torch.outputs["out"].value.dtype)
    command, (gradient,) = example(row)
    ran = cli(*shlex.split(command)[1:], "--only", "x", "--precision", "7")
    assert float(ran.out) == pytest.approx(float(gradient.partition("=")[2]), rel=1e-6)
