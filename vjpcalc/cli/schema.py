"""``vjpcalc schema``: the JSON Schema of what goes in and out."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vjpcalc.diagnostics import unknown


def schema(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="result, jacobian, error, job or record.")
    ] = None,
) -> int:
    """Print the JSON Schema of the output: all of it, or one document's."""
    from vjpcalc.report.schema import DOCUMENTS
    from vjpcalc.report.schema import schema as of

    if name is not None and name not in DOCUMENTS:
        raise unknown("usage", f"there is no schema of '{name}'", name, DOCUMENTS)
    print(json.dumps(of(name), ensure_ascii=False, indent=2))
    return 0
