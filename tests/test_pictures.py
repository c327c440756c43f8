"""``--svg`` and ``--html``: whole or not at all, the same bytes each time, nothing fetched from anywhere."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

MATMUL = ("a @ b", "a=[[0,0],[2,2]]", "b=[[1,2],[1,2]]", "--seed", "[[1,2],[3,4]]")
REPORTS = {
    "vjp": MATMUL,
    "explain": ("explain", *MATMUL, "--arithmetic"),
    "graph": ("graph", *MATMUL[:3]),
    "jacobian": ("jacobian", *MATMUL[:3]),
    "a heatmap": ("jacobian", "x * linspace(-1, 1, 21)", "x=ones(21)"),
    "ops": ("ops", "tanh"),
}


@pytest.mark.parametrize("option", ["--svg", "--html"])
@pytest.mark.parametrize("what", REPORTS)
def test_every_report_is_saved_the_same_each_time(cli, tmp_path: Path, what: str, option: str) -> None:
    path = tmp_path / "report"
    made = []
    for _ in range(2):
        assert cli(*REPORTS[what], option, str(path)).status == 0
        made.append(path.read_bytes())
    assert made[0] == made[1]
    assert b"url(" not in made[0]
    assert b"<script" not in made[0]


@pytest.mark.parametrize("what", REPORTS)
def test_the_svg_shows_the_command_and_the_report(cli, tmp_path: Path, what: str) -> None:
    path = tmp_path / "report.svg"
    out = cli(*REPORTS[what], "--svg", str(path)).out
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    assert root.tag.endswith("svg")
    written = "".join("".join(root.itertext()).split())
    assert "$vjpcalc" in written
    assert "--svg" not in written
    for word in ("passed", "MmBackward0", "a[0,0]", "tanh"):
        assert (word in out) <= (word in written)


def test_no_text_leaves_the_picture(cli, tmp_path: Path) -> None:
    path = tmp_path / "report.svg"
    cli("explain", *MATMUL, "--svg", str(path))
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert float(text.attrib["x"]) + float(text.attrib["textLength"]) <= width
        assert float(text.attrib["y"]) <= height


def test_the_html_is_a_page_titled_with_its_command(cli, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    cli(*MATMUL, "--html", str(path))
    page = path.read_text(encoding="utf-8")
    assert "<title>vjpcalc 'a @ b' a='[[0,0],[2,2]]'" in html.unescape(page)
    assert "✓ passed" in re.sub(r"<[^>]*>", "", page)


def test_markup_in_an_expression_is_text(cli, tmp_path: Path) -> None:
    for option in ("--svg", "--html"):
        path = tmp_path / "report"
        cli("where(x < 1, x, 0) # <b>&amp;</b>", "x=2", option, str(path))
        assert "<b>" not in path.read_text(encoding="utf-8")


def test_a_quiet_run_still_saves_its_picture(cli, tmp_path: Path) -> None:
    path = tmp_path / "report.svg"
    ran = cli(*MATMUL, "-q", "--svg", str(path))
    assert ran.out == ""
    assert path.exists()


@pytest.mark.parametrize("option", ["--svg", "--html"])
def test_a_file_that_cannot_be_written_is_an_error(cli, tmp_path: Path, option: str) -> None:
    ran = cli(*MATMUL, option, str(tmp_path / "nowhere" / "report"))
    assert ran.status == 2
    assert "there is no folder" in ran.err
    assert list(tmp_path.iterdir()) == []


ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "examples").glob("*.md"))]
SAVES = re.compile(r"^\$ (vjpcalc .*--svg (\S+\.svg).*)$", re.MULTILINE)
MADE = [found for page in PAGES for found in SAVES.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize(("command", "target"), MADE, ids=[target for _, target in MADE])
def test_a_pages_picture_is_what_its_command_makes(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, target: str
) -> None:
    monkeypatch.chdir(ROOT)
    path = tmp_path / "again.svg"
    words = shlex.split(command)[1:]
    cli(*(str(path) if word == target else word for word in words))
    assert path.read_bytes() == (ROOT / target).read_bytes()
