"""A result or an error as strict JSON."""

from __future__ import annotations

from typing import Any

from vjpcalc.tensors.json import dumps as dumps


def pretty(document: Any, indent: int = 0) -> str:
    """Strict JSON text for people as well: a key a line, but every tensor and every list on one line."""
    if not isinstance(document, dict) or not document or "dtype" in document:
        return dumps(document)
    margin = " " * (indent + 2)
    items = [f"{margin}{dumps(key)}: {pretty(value, indent + 2)}" for key, value in document.items()]
    return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"
