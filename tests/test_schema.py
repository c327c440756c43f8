"""The published JSON Schemas: documents that are right pass, documents that are wrong do not.

Every other test's JSON is held against them as well: see conftest.py.
"""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from conftest import closed, validate, validator

from vjpcalc.report.schema import DEFINITIONS, DOCUMENTS, schema

COMMANDS = {
    "several outputs and leaves": ["c = a @ b; d = sum(c)", "a=eye(2)", "b=[[1,2],[3,4]]",
                                   "--output", "c", "--output", "d", "--seed", "c=ones(2,2)"],
    "several backward calls": ["x**2", "x=[1,2]", "--seed", "[1,0]", "--seed", "[0,1]"],
    "no check": ["sum(x)", "x=[1,2]", "--check", "off"],
    "a probe": ["sum(x**3)", "x=linspace(1,2,5)", "--check", "probe"],
    "forward mode": ["sum(x**3)", "x=linspace(1,2,5)", "--check", "forward"],
    "a kink": ["abs(x)", "x=0"],
    "a number that is not finite": ["log(x)", "x=0"],
    "NaN": ["sum(where(x > 0, sqrt(x), 0))", "x=[0,1]"],
    "float32": ["sum(x)", "x:float32=[0.1,0.2]"],
    "an integer constant": ["sum(x*k)", "x=[0.1,0.2]", "k:int64=[1,2]"],
    "an empty leaf": ["sum(x)", "x=[]"],
}  # fmt: skip


@pytest.mark.parametrize("what", COMMANDS)
def test_a_result_is_valid(cli, what: str) -> None:
    for form in ("json", "jsonl"):
        ran = cli(*COMMANDS[what], "--format", form)
        assert ran.status == 0, ran.err
        document = json.loads(ran.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        validator("result").validate(document)
        jsonschema.validate(document, schema())


ERRORS = {
    3: ["sin(x", "x=1"],
    4: ["x*2", "x=[1,2]"],
    2: ["x*2", "x=1", "--check", "maybe"],
}


@pytest.mark.parametrize("status", ERRORS)
def test_an_error_is_valid(cli, status: int) -> None:
    ran = cli(*ERRORS[status], "--json")
    assert ran.status == status
    document = json.loads(ran.out)
    validator("error").validate(document)
    assert document["error"]["code"] == status


TENSOR = {"dtype": "float64", "shape": [], "data": 1.0}
WRONG = {
    "no gradients": lambda d: d.pop("gradients"),
    "a bare NaN": lambda d: d["outputs"]["out"].update(data=None),
    "another text for it": lambda d: d["outputs"]["out"].update(data="nan"),
    "a verdict that is none": lambda d: d["check"].update(status="maybe"),
    "a leaf without a verdict": lambda d: d["check"]["leaves"]["x"].pop("status"),
    "a shape below zero": lambda d: d["gradients"]["x"].update(shape=[-1]),
    "the next major version": lambda d: d.update(format_version="2.0"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_result_is_found(cli, what: str) -> None:
    document = json.loads(cli("x**2", "x=1", "--json").out)
    validate(document)
    WRONG[what](document)
    with pytest.raises(jsonschema.ValidationError):
        validator("result").validate(document)


JOBS = [
    {"expression": "x"},
    {"id": 7, "expression": "a @ b", "inputs": {"a": [[1]], "b": TENSOR}, "seed": [[1]]},
    {
        "id": None,
        "expression": "x",
        "inputs": {"x": "@x.npy"},
        "seed": {"out": 1},
        "wrt": "x",
        "dtype": "float32",
    },
    {
        "expression": "x",
        "inputs": {"x": {"data": [1, "NaN"]}},
        "wrt": ["x"],
        "outputs": ["x"],
        "check": "off",
    },
]
NO_JOBS = [
    {},
    {"expression": 1},
    {"expression": "x", "input": {}},
    {"expression": "x", "inputs": [1]},
    {"expression": "x", "inputs": {"x": {"dtype": "float64"}}},
    {"expression": "x", "check": "maybe"},
]


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_a_job_is_valid(job: dict) -> None:
    validator("job").validate(job)


@pytest.mark.parametrize("job", NO_JOBS, ids=str)
def test_what_is_no_job_is_found(cli, job: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator("job").validate(job)
    ran = cli("batch", "-", stdin=json.dumps(job))
    record = json.loads(ran.out)
    assert ran.status == 6
    assert record["line"] == 1
    assert "error" in record


@pytest.mark.parametrize("name", [None, *DOCUMENTS])
def test_the_command_prints_a_schema(cli, name: str | None) -> None:
    ran = cli("schema", *([name] if name else []))
    assert ran.status == 0
    printed = json.loads(ran.out)
    assert printed == schema(name)
    jsonschema.Draft202012Validator.check_schema(printed)
    used = set(re.findall(r'"#/\$defs/(\w+)"', ran.out))
    assert used <= set(printed["$defs"]) <= set(DEFINITIONS)


def test_an_unknown_schema_gets_a_hint(cli) -> None:
    ran = cli("schema", "recrd")
    assert ran.status == 2
    assert "did you mean 'record'" in ran.err


def test_later_versions_may_add_keys(cli) -> None:
    document = {**json.loads(cli("x**2", "x=1", "--json").out), "new": 1}
    jsonschema.validate(document, schema("result"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, closed(schema("result")))
