"""A report as a picture: SVG for a page, HTML for a browser. The same report gives the same bytes.

No font is fetched from anywhere: the fonts of the reader's machine are named, and text is fitted to its
columns.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vjpcalc.report.document import Blank, Block, Text, line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.style import Style
    from rich.terminal_theme import TerminalTheme

WIDEST = 110  # columns of a picture; a narrower report makes a narrower one
NARROWEST = 48
FONTS = "'JetBrains Mono', 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"

SIZE, WIDE, HIGH = 14, 8.4, 19  # of the font, of a column, of a line, in pixels
MARGIN = 16

# Lines are drawn, not written, so that they join in any font: from the middle of the cell to these sides.
BOX = {
    "─": "lr", "│": "ud", "├": "udr", "┤": "udl", "┬": "lrd", "┴": "lru", "┼": "lrud",
    "╭": "rd", "╮": "ld", "╰": "ru", "╯": "lu", "└": "ur", "┌": "dr", "┐": "dl", "┘": "ul",
}  # fmt: skip
ROUND = "╭╮╰╯"

HTML = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
body {{ color: {foreground}; background: {background}; margin: 2rem; }}
pre {{ font: 15px/1.25 FONTS; }}
{stylesheet}
</style>
</head>
<body><pre>{code}</pre></body>
</html>
""".replace("FONTS", FONTS)


def svg(report: Callable[[int | None], Sequence[Block]], command: str = "") -> str:
    """The report as an SVG of a terminal; ``report(width)`` makes it, ``command`` stands above it."""
    from html import escape

    from rich.ansi import AnsiDecoder
    from rich.cells import cell_len

    console = _recorded(report, command)
    lines = list(AnsiDecoder().decode(console.export_text(styles=True).rstrip()))
    theme = _theme()
    width, height = console.width * WIDE + 2 * MARGIN, len(lines) * HIGH + 2 * MARGIN
    classes: dict[str, str] = {}
    backgrounds: list[str] = []
    written: list[str] = []
    drawn: dict[str, list[str]] = {}
    for number, text in enumerate(lines):
        column, top = 0, MARGIN + number * HIGH
        for segment in text.render(console):
            style = segment.style or console.get_style("none")
            left = MARGIN + column * WIDE
            if style.bgcolor is not None and not style.bgcolor.is_default:
                colour = style.bgcolor.get_truecolor(theme).hex
                wide = cell_len(segment.text) * WIDE
                backgrounds.append(
                    f'<rect x="{left:g}" y="{top}" width="{wide:g}" height="{HIGH}" fill="{colour}"/>'
                )
            look = _css(style, theme)
            for found in re.finditer(rf"[{''.join(BOX)}]|(?:(?! {{2}})[^{''.join(BOX)}\n])+", segment.text):
                x = left + cell_len(segment.text[: found.start()]) * WIDE
                if found.group() in BOX:
                    drawn.setdefault(look, []).append(_strokes(found.group(), x, top))
                elif part := found.group().strip():
                    x += (len(found.group()) - len(found.group().lstrip())) * WIDE
                    name = classes.setdefault(look, f"s{len(classes)}")
                    written.append(
                        f'<text class="{name}" x="{x:g}" y="{top + 14}" '
                        f'textLength="{cell_len(part) * WIDE:g}">{escape(part)}</text>'
                    )
            column += cell_len(segment.text)
    strokes = [
        f'<path d="{"".join(paths)}" fill="none" stroke="{look.partition(";")[0].removeprefix("fill:")}"/>'
        for look, paths in drawn.items()
    ]
    size = f'viewBox="0 0 {width:g} {height}" width="{width:g}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    styles = [f".{name} {{ {look} }}" for look, name in classes.items()]
    return "\n".join(
        [
            head,
            f"<style>text {{ font: {SIZE}px {FONTS}; white-space: pre }}",
            *styles,
            "</style>",
            f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1}" rx="8" '
            f'fill="{theme.background_color.hex}" stroke="#444c56"/>',
            *backgrounds,
            *strokes,
            *written,
            "</svg>\n",
        ]
    )


def _css(style: Style, theme: TerminalTheme) -> str:
    from rich.color import blend_rgb

    plain = style.color is None or style.color.is_default
    colour = theme.foreground_color if plain or style.color is None else style.color.get_truecolor(theme)
    if style.dim:
        colour = blend_rgb(colour, theme.background_color, 0.4)
    return f"fill:{colour.hex}" + (";font-weight:bold" if style.bold else "")


def _strokes(character: str, left: float, top: float) -> str:
    """The path of a box-drawing character in its cell."""
    x, y = int(left + WIDE / 2) + 0.5, int(top + HIGH / 2) + 0.5  # on the pixels: all lines are equally sharp
    ends = {"l": (left, y), "r": (left + WIDE, y), "u": (x, top), "d": (x, top + HIGH)}
    if character in ROUND:
        (x1, y1), (x2, y2) = (ends[side] for side in BOX[character])
        return f"M{x1:g} {y1:g}Q{x:g} {y:g} {x2:g} {y2:g}"
    return "".join(f"M{x:g} {y:g}L{ends[side][0]:g} {ends[side][1]:g}" for side in BOX[character])


def html(report: Callable[[int | None], Sequence[Block]], command: str = "") -> str:
    """The report as a page of its own."""
    from html import escape

    form = HTML.replace("TITLE", escape(command or "vjpcalc").replace("{", "{{").replace("}", "}}"))
    return _recorded(report, command).export_html(theme=_theme(), code_format=form, inline_styles=True)


def _recorded(report: Callable[[int | None], Sequence[Block]], command: str) -> Console:
    """A console in which the report was printed, as wide as its content."""
    from vjpcalc.report.terminal import show

    head: list[Block] = [line(Text("$ ", "dim"), Text(command, "title")), Blank()] if command else []
    blocks = [*head, *report(WIDEST - 1)]
    measured = _console(WIDEST)
    show(blocks, measured)
    lines = measured.export_text(clear=True).split("\n")
    from rich.cells import cell_len

    widest = max(cell_len(text.rstrip()) for text in lines)
    fitted = _console(min(max(widest + 1, NARROWEST), WIDEST))
    show(blocks, fitted)
    return fitted


def _console(width: int) -> Console:
    from vjpcalc.report.terminal import console

    return console(
        io.StringIO(),
        color=True,
        record=True,
        width=width,
        height=100,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )


def _theme() -> TerminalTheme:
    """A calm dark terminal: what is read on it is read in a light page and in a dark one."""
    from rich.terminal_theme import TerminalTheme

    colours = ["#24292f", "#f47067", "#6bc46d", "#dca94b", "#6cb6ff", "#dc8cff", "#56d4dd", "#cdd5dd"]
    return TerminalTheme(
        _rgb("#1c2128"), _rgb("#d3dbe3"), [_rgb(one) for one in colours], [_rgb(one) for one in colours]
    )


def _rgb(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
