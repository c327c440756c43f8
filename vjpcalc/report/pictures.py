"""A report as a picture: SVG for a page, HTML for a browser. The same report gives the same bytes.

No font is fetched: the fonts of the reader's machine are named, and text is fitted to its columns.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape

from rich.ansi import AnsiDecoder
from rich.cells import cell_len
from rich.color import blend_rgb, parse_rgb_hex
from rich.console import Console  # noqa: TID253 (imported only once there is a picture to make)
from rich.style import Style
from rich.terminal_theme import TerminalTheme

from vjpcalc.report.document import Blank, Block, Text, line
from vjpcalc.report.terminal import console, show

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
PIECE = re.compile(rf"[{''.join(BOX)}]|(?:(?! {{2}})[^{''.join(BOX)}\n])+")  # a line's stroke, or text

COLOURS = [
    parse_rgb_hex(colour)
    for colour in ("24292f", "f47067", "6bc46d", "dca94b", "6cb6ff", "dc8cff", "56d4dd", "cdd5dd")
]
# a calm dark terminal: what is read on it is read in a light page and in a dark one
THEME = TerminalTheme(parse_rgb_hex("1c2128"), parse_rgb_hex("d3dbe3"), [*COLOURS])

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
    recorder = _recorded(report, command)
    lines = list(AnsiDecoder().decode(recorder.export_text(styles=True).rstrip()))
    width, height = recorder.width * WIDE + 2 * MARGIN, len(lines) * HIGH + 2 * MARGIN
    classes: dict[str, str] = {}
    backgrounds: list[str] = []
    written: list[str] = []
    drawn: dict[str, list[str]] = {}
    for number, text in enumerate(lines):
        column, top = 0, MARGIN + number * HIGH
        for segment in text.render(recorder):
            style = segment.style or Style.null()
            left = MARGIN + column * WIDE
            if style.bgcolor is not None and not style.bgcolor.is_default:
                colour = style.bgcolor.get_truecolor(THEME).hex
                wide = cell_len(segment.text) * WIDE
                backgrounds.append(
                    f'<rect x="{left:g}" y="{top}" width="{wide:g}" height="{HIGH}" fill="{colour}"/>'
                )
            look = _css(style)
            for piece in PIECE.finditer(segment.text):
                x = left + cell_len(segment.text[: piece.start()]) * WIDE
                if piece[0] in BOX:
                    drawn.setdefault(look, []).append(_strokes(piece[0], x, top))
                elif part := piece[0].strip():
                    x += (len(piece[0]) - len(piece[0].lstrip())) * WIDE
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
    styles = [f".{name} {{ {look} }}" for look, name in classes.items()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            f"<style>text {{ font: {SIZE}px {FONTS}; white-space: pre }}",
            *styles,
            "</style>",
            f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1}" rx="8" '
            f'fill="{THEME.background_color.hex}" stroke="#444c56"/>',
            *backgrounds,
            *strokes,
            *written,
            "</svg>\n",
        ]
    )


def _css(style: Style) -> str:
    colour = THEME.foreground_color if style.color is None else style.color.get_truecolor(THEME)
    if style.dim:
        colour = blend_rgb(colour, THEME.background_color, 0.4)
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
    form = HTML.replace("TITLE", escape(command or "vjpcalc").replace("{", "{{").replace("}", "}}"))
    return _recorded(report, command).export_html(theme=THEME, code_format=form, inline_styles=True)


def _recorded(report: Callable[[int | None], Sequence[Block]], command: str) -> Console:
    """A console in which the report was printed, as wide as its content."""
    recorder = console(
        io.StringIO(),
        color=True,
        record=True,
        width=WIDEST,
        height=100,  # without it Rich asks the terminal for its size
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    head: list[Block] = [line(Text("$ ", "dim"), Text(command, "title")), Blank()] if command else []
    blocks = [*head, *report(WIDEST - 1)]
    show(blocks, recorder)
    widest = max(cell_len(text.rstrip()) for text in recorder.export_text().split("\n"))
    recorder.width = min(max(widest + 1, NARROWEST), WIDEST)
    show(blocks, recorder)
    return recorder
