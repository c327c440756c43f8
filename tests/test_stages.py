"""``--debug``: the stages of a job with their times, on standard error."""

from __future__ import annotations

import re

from vjpcalc.stages import measured, stage, table


def stages(err: str) -> list[str]:
    return re.findall(r"^ *[\d.]+ s +(?:\d+ × )? *(.*)$", err, re.MULTILINE)


def test_debug_shows_the_stages_of_a_job(cli) -> None:
    ran = cli("sum(tanh(x))", "x=[1, 2]", "--debug")
    assert (ran.status, ran.out) == (0, cli("sum(tanh(x))", "x=[1, 2]").out)
    shown = stages(ran.err)
    assert shown.index("parse") < shown.index("forward") < shown.index("backward") < shown.index("check")
    assert "  reference run" in ran.err, "a stage stands below the one that it is a part of"


def test_without_debug_nothing_is_measured(cli) -> None:
    assert cli("sum(tanh(x))", "x=[1, 2]").err == ""


def test_a_stage_counts_its_calls_and_is_closed_by_an_error() -> None:
    with measured() as times:
        for _ in range(3):
            with stage("outer"), stage("inner"):
                pass
        try:
            with stage("fails"):
                raise ValueError
        except ValueError:
            pass
        with stage("after"):
            pass
    assert {path: calls for path, (calls, _) in times.items()} == {
        ("outer",): 3, ("outer", "inner"): 3, ("fails",): 1, ("after",): 1,
    }  # fmt: skip
    assert [line.split(" s ")[1] for line in table(times).splitlines()][1] == "   3 ×   inner"
