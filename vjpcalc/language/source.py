"""Source text: what ``ast`` says in UTF-8 bytes becomes characters here, once; and the caret under a span."""

from __future__ import annotations

import ast
import textwrap
import unicodedata

from vjpcalc.diagnostics import Diagnostic, Source, Span


def clean(text: str) -> str:
    """The text as it is parsed and shown: without common indentation, outer blanks, a byte-order mark."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return textwrap.dedent(text.expandtabs(4)).strip("\n ").rstrip()


class Positions:
    """Converts the (line, UTF-8 byte column) of an ``ast`` node into character offsets of the whole text."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def offset(self, line: int, byte_column: int) -> int:
        encoded = self._lines[line - 1].encode()[:byte_column]
        return self._starts[line - 1] + len(encoded.decode(errors="ignore"))

    def span(self, node: ast.AST) -> Span:
        start = self.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        stop = self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        return Span(start, stop)


def width(text: str) -> int:
    """Terminal columns that a text takes: two for a wide (East Asian) character, none for a combining one."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def excerpt(source: Source, span: Span, *, columns: int = 100) -> list[str]:
    """The source line of a span and a line of carets under it, a long line cut around the span."""
    line, column = source.position(span.start)
    text = source.text.split("\n")[line - 1]
    start = column - 1
    stop = max(min(start + (span.stop - span.start), len(text)), start + 1)
    if len(text) > columns:
        left = max(0, start - columns // 3)
        right = min(len(text), left + columns)
        before, after = "…" * (left > 0), "…" * (right < len(text))
        text = before + text[left:right] + after
        start, stop = start - left + len(before), min(stop, right) - left + len(before)
    label = f"{line} | " if "\n" in source.text else ""
    margin = " " * (width(text[:start]) + len(label))
    return [label + text, margin + "^" * max(width(text[start:stop]), 1)]


def render(diagnostic: Diagnostic) -> str:
    """A diagnostic as plain text: the message, the source line with its caret, the hint."""
    lines = [f"error: {diagnostic.message}"]
    if diagnostic.source is not None and diagnostic.span is not None:
        if diagnostic.source.name != "expression":
            line, column = diagnostic.source.position(diagnostic.span.start)
            where = f", line {line}, column {column}" if "\n" in diagnostic.source.text else ""
            lines.append(f"  in {diagnostic.source.name}{where}:")
        lines += ["  " + line for line in excerpt(diagnostic.source, diagnostic.span)]
    if diagnostic.hint:
        hint = diagnostic.hint.split("\n")
        lines.append("hint: " + hint[0])
        lines += ["      " + line if line else "" for line in hint[1:]]
    return "\n".join(lines)
