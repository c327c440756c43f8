"""A result or an error as strict JSON."""

from __future__ import annotations

import json
from typing import Any

from vjpcalc.diagnostics import Diagnostic

FORMAT_VERSION = "1.0"


def dumps(document: Any) -> str:
    """Strict JSON text on one line, never NaN."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def pretty(document: Any, indent: int = 0) -> str:
    """Strict JSON text for people as well: a key a line, but every tensor and every list on one line."""
    if not isinstance(document, dict) or not document or "dtype" in document:
        return dumps(document)
    margin = " " * (indent + 2)
    items = [f"{margin}{dumps(key)}: {pretty(value, indent + 2)}" for key, value in document.items()]
    return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"


def error_document(diagnostic: Diagnostic) -> dict[str, Any]:
    """An error as section 4 of the format says: ``code`` is the exit status."""
    line, column = diagnostic.position
    return {
        "format_version": FORMAT_VERSION,
        "error": {
            "code": int(diagnostic.status),
            "kind": diagnostic.kind,
            "message": diagnostic.message,
            "hint": diagnostic.hint,
            "line": line,
            "column": column,
        },
    }
