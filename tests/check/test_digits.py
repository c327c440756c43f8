"""How many digits a pass needs, from every door to the judge."""

from __future__ import annotations

import json
from typing import Any

import pytest

import vjpcalc
from vjpcalc.check import verdict

JOB = {"expression": "sum(x)", "inputs": {"x": [1, 2]}}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The digits that the check was asked for."""
    given: list[Any] = []
    check = verdict.check

    def listened(*positional: Any, **options: Any) -> Any:
        given.append(options["digits"])
        return check(*positional, **options)

    monkeypatch.setattr(verdict, "check", listened)
    return given


@pytest.mark.parametrize("command", ["vjp", "explain"])
def test_the_command_line_hands_them_on(cli, asked: list[Any], command: str) -> None:
    assert cli(command, "sum(x)", "x=[1,2]", "--digits", "7").status == 0
    assert cli(command, "sum(x)", "x=[1,2]").status == 0
    assert asked == [7, None]


def test_a_batch_has_its_own_and_a_job_may_have_another(cli, asked: list[Any]) -> None:
    lines = "\n".join(map(json.dumps, [JOB, {**JOB, "digits": 3}, {**JOB, "digits": None}]))
    assert cli("batch", "-", "-q", "--digits", "5", stdin=lines).status == 0
    assert asked == [5, 3, 5]


@pytest.mark.parametrize("digits", [0, 18, -1, 2.5, "many", True])
def test_other_numbers_are_refused(cli, digits: Any) -> None:
    words = "digits is a whole number from 1 to 17"
    with pytest.raises(vjpcalc.Diagnostic, match=words) as refused:
        vjpcalc.vjp("x", {"x": 1}, digits=digits)
    assert refused.value.kind == "usage"
    assert cli("x", "x=1", "--digits", str(digits)).status == 2
    record = cli("batch", "-", "-q", "--exit-zero", stdin=json.dumps({**JOB, "digits": digits})).out
    assert json.loads(record)["error"]["message"].startswith(words)
