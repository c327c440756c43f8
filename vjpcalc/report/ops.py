"""The operator table as a report: the whole list by family, and one row as a small reference page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from vjpcalc.diagnostics import FORMAT_VERSION
from vjpcalc.operators.row import Operator
from vjpcalc.report.document import Blank, Block, Text, line
from vjpcalc.report.mathematics import cotangent, mathematics
from vjpcalc.report.shell import command_line

LABEL = 12  # columns that the labels of a reference page take


def ops_report(rows: Sequence[Operator]) -> list[Block]:
    """Rows in the order of the table, under the names of their families."""
    blocks: list[Block] = []
    for family, members in groupby(rows, lambda row: row.family):
        blocks.append(line(Text(family, "title")))
        for row in members:
            also = [*([f"infix {row.infix}"] if row.infix else []), *row.aliases]
            blocks.append(line("  ", *_signature(row), Text("   " + ", ".join(also) if also else "", "dim")))
        blocks.append(Blank())
    count = len({row.name for row in rows})
    hint = f"{count} operators; 'vjpcalc ops NAME' shows one, 'vjpcalc ops WORD' searches"
    return [*blocks, line(Text(hint, "dim"))]


def _signature(row: Operator) -> tuple[Text, ...]:
    return Text(row.name, "name"), Text(f"({', '.join(map(str, row.parameters))})")


def row_report(row: Operator) -> list[Block]:
    """One row: what it is called, where it is defined, its rule, its kinks, an example."""
    blocks: list[Block] = [line(*_signature(row), Text(f"   {row.family}", "dim"))]

    def say(label: str, *lines: str | Text) -> None:
        for number, text in enumerate(lines):
            blocks.append(line(Text(f"  {label if number == 0 else '':<{LABEL}}", "dim"), text))

    if row.infix:
        say("infix", f"{row.parameters[0].name} {row.infix} {row.parameters[-1].name}")
    if row.aliases:
        say("aliases", ", ".join(row.aliases))
    if row.domain:
        say("domain", *_domain(row))
    if row.formula:
        say("formula", row.formula)
    if row.fields:
        say("returns", *(f".{name} = {text}" for name, text in row.fields.items()))
    if row.part:
        say("returns", f"{row.count} tensors; tensor i is", *row.part.split("\n"))
    for parameter in row.tensors:
        rule = row.vjp.get(parameter.name)
        if rule is None:
            continue
        if rule.startswith('"'):
            say("rule", f"{cotangent(parameter.name)}: {rule.strip(chr(34))}")
        else:
            notation = Text(f"{cotangent(parameter.name)} = {mathematics(row, rule)}", "title")
            texts = f"g ↦ {rule}".replace("\n", "\n    ").split("\n")
            say("rule", notation, *(Text(text, "dim") for text in texts))
    if not row.vjp and row.kind != "several":
        say("rule", "none: the result is a constant")
    if row.kinks:
        choice = f"; torch's choice: {row.convention}" if row.convention else ""
        say("kinks", f"where {mathematics(row, row.kinks)}{choice}")
    if row.note:
        say("note", row.note)
    say("torch", row.torch)
    if row.ref:
        say("reference", *row.ref.split("\n"))
    elif row.numpy:
        say("reference", f"numpy: {row.numpy}", *([f"numexpr: {row.numexpr}"] if row.numexpr else []))
    if row.source:
        say("source", row.source)
    if row.example:
        command, gradients = example(row)
        say("example", Text(f"$ {command}", "name"), *gradients)
    return blocks


def _domain(row: Operator) -> list[str]:
    if isinstance(row.domain, str):
        return [f"{row.tensors[0].name} in {row.domain}" if row.domain[0] in "([" else row.domain]
    return [f"{name} in {text}" if text[0] in "([" else f"{name} {text}" for name, text in row.domain.items()]


def example(row: Operator) -> tuple[str, list[str]]:
    """A row's example as a command for a shell, and the gradients that it prints."""
    command, _, gradients = row.example.partition("->")
    return command_line(shlex.split(command)), [gradient.strip() for gradient in gradients.split(";")]


def ops_document(rows: Sequence[Operator]) -> dict[str, Any]:
    """The rows as JSON."""
    return {
        "format_version": FORMAT_VERSION,
        "operators": [
            {
                "name": row.name,
                "signature": row.signature,
                "family": row.family,
                "aliases": list(row.aliases),
                "infix": row.infix,
                "domain": row.domain or None if isinstance(row.domain, str) else dict(row.domain),
                "vjp": {name: rule for name, rule in row.vjp.items() if not rule.startswith('"')},
                "vjp_prose": {
                    name: rule.strip('"') for name, rule in row.vjp.items() if rule.startswith('"')
                },
                "fields": dict(row.fields),
                "kinks": row.kinks or None,
                "convention": row.convention or None,
                "note": row.note or None,
                "torch": row.torch,
                "reference": row.ref or row.numpy,
                "numexpr": row.numexpr or None,
                "source": row.source or None,
                "example": row.example or None,
            }
            for row in rows
        ],
    }
