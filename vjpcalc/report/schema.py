"""The JSON Schema (draft 2020-12) of everything that goes in and out as JSON.

A reader should ignore keys that it does not know: minor versions add some. A job may have no others.
"""

from __future__ import annotations

import json
import re
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def one_of(description: str, *values: str) -> Schema:
    return {"enum": list(values), "description": description}


def by_name(name: str, description: str) -> Schema:
    return {"type": "object", "additionalProperties": ref(name), "description": description}


def names(description: str) -> Schema:
    return {"type": "array", "items": {"type": "string"}, "description": description}


def either(*schemas: Schema, description: str) -> Schema:
    return {"anyOf": list(schemas), "description": description}


def thing(description: str, properties: Schema, optional: str = "", **more: Any) -> Schema:
    """An object; ``optional`` names the keys that may be missing."""
    assert set(optional.split()) <= properties.keys(), description
    keys = [key for key in properties if key not in optional.split()]
    return {"type": "object", "description": description, "required": keys, "properties": properties, **more}


VERSION = text("Of this format; minor versions only add keys.", pattern=r"^1\.\d+$")
SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 0}}
STATUS = one_of("inconclusive has its reason.", "passed", "failed", "inconclusive")
LINE = {"type": "integer", "minimum": 1, "description": "The line of the job."}
ID = {"description": "The job's own, if it has one."}

PROGRAM = {"format_version": VERSION, "expression": text("The program.")}
RESULT = {
    **PROGRAM,
    "outputs": by_name("tensor", "The outputs' values by name; the last statement's is 'out'."),
    "seeds": by_name("tensor", "What backward() was given, by output; the sum of several."),
    "gradients": by_name("tensor", "Jᵀ·seed for each leaf, in its shape."),
    "backward_calls": {"type": "integer", "minimum": 0, "description": "Their gradients accumulate."},
    "check": ref("check"),
    "notes": names("What a reader wants to be told."),
}
ERROR = {"format_version": VERSION, "error": ref("complaint")}

DEFINITIONS: dict[str, Schema] = {
    "result": thing(
        "What 'vjpcalc EXPR … --json' prints.",
        {**RESULT, "trace": ref("trace")},
        optional="notes trace",
    ),
    "jacobian": thing(
        "What 'vjpcalc jacobian EXPR … --json' prints.",
        {
            **PROGRAM,
            "outputs": by_name("tensor", "The outputs' values by name."),
            "jacobians": by_name("tensor", "∂output/∂leaf by leaf: output elements × leaf elements."),
            "by": one_of("How they were made.", "backward", "forward", "numeric"),
            "status": one_of("Whether backward's rows are right.", "passed", "failed", "inconclusive"),
            "findings": by_name("findings", "What was found of each, by leaf."),
        },
        optional="by status findings",
    ),
    "graph": thing(
        "What 'vjpcalc graph EXPR … --json' prints.",
        {
            **PROGRAM,
            "graph": thing(
                "The nodes in the order of the forward pass, and who is computed from whom.",
                {
                    "outputs": {"type": "object", "additionalProperties": text("A node, by output.")},
                    "nodes": {"type": "array", "items": ref("node")},
                    "edges": {"type": "array", "items": names("From, to.")},
                },
            ),
        },
    ),
    "error": thing("What a command that fails prints with --json.", ERROR),
    "job": thing(
        "A line of 'vjpcalc batch'.",
        {
            "id": {"description": "Anything; the record repeats it."},
            "expression": text("A program."),
            "inputs": {
                "anyOf": [by_name("value", "By name."), {"type": "null"}],
                "description": "Arrays, numbers, tensors, or texts as on the command line ('@x.npy').",
            },
            "seed": either(
                ref("value"), by_name("value", "By output."), {"type": "null"},
                description="The argument of backward(); may be left out for an output of one element.",
            ),
            "wrt": either(names(""), text("a,b"), {"type": "null"}, description="The leaves."),
            "outputs": either(names(""), text("c,d"), {"type": "null"}, description="The outputs."),
            "dtype": {"type": ["string", "null"], "description": "Of numbers without one (float64)."},
            "check": {"enum": ["auto", "explicit", "probe", "forward", "off", None]},
            "digits": {"type": ["integer", "null"], "description": "That a pass needs.", "minimum": 1},
            "reference": {
                "type": ["object", "null"],
                "additionalProperties": {"type": "string"},
                "description": "Expressions that --use functions are judged by, by NAME or NAME:backward.",
            },
        },
        optional="id inputs seed wrt outputs dtype check digits reference",
        additionalProperties=False,
    ),
    "record": {
        "description": "A line of 'vjpcalc batch': a result or an error, with the job's line and id.",
        "anyOf": [
            thing(
                "A result.",
                {"line": LINE, "id": ID, **RESULT},
                optional="id notes",
            ),
            thing("An error.", {"line": LINE, "id": ID, **ERROR}, optional="id"),
        ],
    },
    "tensor": thing(
        "A tensor. Its numbers read back exactly.",
        {"dtype": text("torch's name, such as float64."), "shape": SHAPE, "data": ref("numbers")},
    ),
    "value": either(
        ref("numbers"),
        thing("A tensor; dtype and shape may be missing.",
              {"dtype": {"type": ["string", "null"]}, "shape": {"anyOf": [SHAPE, {"type": "null"}]},
               "data": ref("numbers")}, optional="dtype shape"),
        text("As on the command line: an expression or @FILE[:KEY]."),
        description="What a job gives a tensor as.",
    ),
    "numbers": either(
        {"type": ["number", "boolean"]},
        one_of("", "NaN", "Infinity", "-Infinity"),
        {"type": "array", "items": ref("numbers")},
        description="A number, or nested lists of them; JSON has no non-finite numbers, so they are texts.",
    ),
    "check": thing(
        "The verdict: the worst of the leaves'.",
        {
            "status": one_of("off: not checked.", "passed", "failed", "inconclusive", "off"),
            "method": one_of("How it was made.", "explicit", "probe", "forward", "off"),
            "engine": text("Whose Jacobian it was: numexpr (the reference), or torch."),
            "leaves": by_name("verdict", "By leaf."),
        },
        optional="engine leaves",
    ),
    "verdict": thing(
        "Gradient and Jᵀ·seed compared.",
        {
            "status": STATUS,
            "jacobian_shape": SHAPE,
            "jt_seed": either(
                ref("tensor"), {"type": "null"},
                description="What the gradient should be; \"NaN\" where nothing is to be expected: at a "
                "kink, where no digit is left, where Jᵀ·seed is not finite. null: not element by element.",
            ),
            "max_abs_error": ref("measure"),
            "max_rel_error": ref("measure"),
            "tolerance": ref("measure"),
            "reason": {"type": ["string", "null"]},
            "index": either(
                SHAPE, {"type": "null"},
                description="The element that the reason is about; null: none alone, or one of the fault's.",
            ),
            "differentiation": {"type": ["string", "null"], "description": "complex step, …"},
            "structure": {"type": ["string", "null"]},
            "got": either(
                ref("measure"), description="What backward gives at the index; else what the fault has."
            ),
            "expected": either(
                ref("measure"),
                description="What Jᵀ·seed is there; null where nothing is to be expected. At a kink, the "
                "nearest of its slopes.",
            ),
            "wrong": {
                "type": "integer", "minimum": 0,
                "description": "How many elements of this gradient are wrong; 0 where only another seed "
                "would show it: see fault.",
            },
            "pattern": {"type": ["string", "null"], "description": "What the wrong ones have in common."},
            "digits": {
                "type": ["integer", "null"],
                "description": "Decimal digits to which every element is right; null where they are not: of "
                "a gradient that failed, or that cannot be judged.",
            },
            "fault": either(
                ref("fault"), {"type": "null"},
                description="What is wrong with the backward of a --use function on the leaf's way.",
            ),
        },
        optional="index differentiation structure got expected wrong pattern digits fault",
    ),
    "fault": thing(
        "What is wrong with a --use function where it is called, asked alone with a cotangent v.",
        {
            "node": text("The call."),
            "kind": one_of(
                "wrong: for the job's own v. ignored, seed only, none, raises: for another v (it does not "
                "depend on v, is wrong, returns None, raises). not repeatable, spent: the second time. "
                "cotangent: it changes v. overwrites: it changes its arguments or its result. forward: it is "
                "not what its reference is.",
                "wrong", "ignored", "seed only", "none", "raises", "not repeatable", "spent", "cotangent",
                "overwrites", "forward",
            ),
            "argument": {"type": ["string", "null"], "description": "The parameter that it is handed to."},
            "index": either(
                SHAPE, {"type": "null"}, description="The worst element; null: none, or a random direction."
            ),
            "got": either(ref("measure"), description="What backward hands to it for v."),
            "expected": either(ref("measure"), description="What Jᵀ·v of its own forward is there."),
            "wrong": {"type": "integer", "minimum": 0, "description": "How many of its elements are wrong."},
            "pattern": {"type": ["string", "null"], "description": "How v is misused, where that is known."},
            "cotangent": either(ref("tensor"), {"type": "null"}, description="v, in the shape of its value."),
            "reason": text("All of this as a sentence."),
        },
    ),
    "trace": thing(
        "How 'vjpcalc explain' walks: forward in order, then backward.",
        {
            "forward": {"type": "array", "items": ref("node")},
            "backward": {"type": "array", "items": ref("step")},
            "first_wrong": {"type": ["string", "null"], "description": "The first wrong node."},
            "remark": {
                "type": ["string", "null"],
                "description": "What is wrong where the check has failed and no node is wrong by itself.",
            },
            "jacobians": by_name("tensor", "With --arithmetic: J by leaf."),
        },
        optional="remark jacobians",
    ),
    "node": thing(
        "A tensor of the program: an input, a constant, or an operator's result.",
        {
            "name": text("The user's, or %1, %2, …; y#3 in the third turn of a loop."),
            "kind": one_of("", "operator", "leaf", "constant"),
            "operator": {"type": ["string", "null"]},
            "expression": text("As it was written."),
            "inputs": names("The nodes that it was computed from."),
            "shape": SHAPE,
            "dtype": text("torch's name."),
            "requires_grad": {"type": "boolean"},
            "grad_fn": names("torch's own nodes, the last one first."),
            "iterations": SHAPE,
        },
    ),
    "step": thing(
        "One node of the backward walk.",
        {
            "node": text("Its name."),
            "operator": text("Its operator."),
            "cotangent": ref("tensor"),
            "status": STATUS,
            "hands": {"type": "array", "items": ref("handed")},
            "faults": names("What the check blames the node for, in words."),
        },
        optional="faults",
    ),
    "handed": thing(
        "What a node hands on to one of those that it was computed from.",
        {
            "to": text("A node."),
            "parameter": text("The operator's name for it."),
            "rule": {"type": ["string", "null"], "description": "null: its forward was differentiated."},
            "symbols": {"type": ["string", "null"], "description": "The rule with the nodes' names in it."},
            "value": ref("tensor"),
            "by_rule": ref("tensor"),
            "summed_over": SHAPE,
            "repeated": {"type": "boolean"},
            "accumulates": {"type": "boolean", "description": "It is added to what arrived before."},
            "status": STATUS,
            "max_abs_error": ref("measure"),
            "reason": {"type": ["string", "null"]},
            "pattern": {"type": ["string", "null"], "description": "What the wrong numbers have in common."},
        },
        optional="pattern",
    ),
    "findings": thing(
        "What was found of a Jacobian.",
        {
            "rank": {"type": ["integer", "null"], "description": "null: it is not known."},
            "rank_limit": {
                "type": ["integer", "null"],
                "description": "What the rank cannot exceed; null: an entry is not finite.",
            },
            "structure": names("In words: diagonal, lower triangular, 2 blocks, …"),
            "differences": {
                "type": "object",
                "additionalProperties": ref("measure"),
                "description": "The largest difference to the same J made in another way.",
            },
        },
    ),
    "measure": either(
        {"type": ["number", "null"]},
        one_of("", "NaN", "Infinity", "-Infinity"),
        description="null: it was not measured.",
    ),
    "complaint": thing(
        "What is wrong, where, and what to do.",
        {
            "code": {"enum": [1, 2, 3, 4], "description": "The exit status."},
            "kind": one_of(
                "Of the error.",
                "internal", "usage", "syntax", "name", "type", "shape", "value", "limit", "input", "seed",
            ),
            "message": text("In one line."),
            "hint": {"type": ["string", "null"]},
            "line": {"type": ["integer", "null"], "description": "In the expression or the value, from 1."},
            "column": {"type": ["integer", "null"], "description": "From 1, in characters."},
        },
    ),
}  # fmt: skip
DOCUMENTS = ("result", "jacobian", "graph", "error", "job", "record")


def schema(name: str | None = None) -> Schema:
    """The schema of one of DOCUMENTS; without a name, of whatever vjpcalc prints, with all definitions."""
    root = {"anyOf": [ref(one) for one in DOCUMENTS if one != "job"]} if name is None else ref(name)
    wanted = list(DEFINITIONS) if name is None else [name]
    for one in wanted:  # grows as it goes
        references = re.findall(r'"#/\$defs/(\w+)"', json.dumps(DEFINITIONS[one]))
        wanted += [other for other in dict.fromkeys(references) if other not in wanted]
    return {
        "$schema": DIALECT,
        "title": f"vjpcalc {name or ''}".strip(),
        **root,
        "$defs": {one: definition for one, definition in DEFINITIONS.items() if one in wanted},
    }
