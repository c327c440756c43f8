"""Files written whole or not at all; one that cannot be written is wrong usage, whichever option names it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vjpcalc.diagnostics import Diagnostic
from vjpcalc.writing import whole_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path: str, content: bytes = b"new") -> None:
    with whole_file(path) as stream:
        stream.write(content)


def refusal(path: str) -> str:
    with pytest.raises(Diagnostic) as caught:
        save(path)
    assert caught.value.kind == "usage"
    return caught.value.message


def test_permissions(folder: Path) -> None:
    old = os.umask(0o027)
    try:
        save("a")
        assert stat.S_IMODE(os.stat("a").st_mode) == 0o640
        os.chmod("a", 0o604)
        save("a")
        assert stat.S_IMODE(os.stat("a").st_mode) == 0o604
    finally:
        os.umask(old)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(folder: Path) -> None:
    save("a", b"old")
    os.chmod("a", 0o444)
    assert refusal("a") == "'a' cannot be written: it is write-protected"
    os.chmod(folder, 0o555)
    try:
        assert refusal("b") == "'b' cannot be written: permission denied"
    finally:
        os.chmod(folder, 0o755)
    assert (folder / "a").read_bytes() == b"old"


def test_a_link_stays_and_its_target_is_replaced(folder: Path) -> None:
    (folder / "results").mkdir()
    os.symlink("results/real", "link")
    for content in (b"1", b"2"):  # a target that is not there yet, then one that is
        save("link", content)
        assert os.path.islink("link")
        assert (folder / "results/real").read_bytes() == content
    assert os.listdir("results") == ["real"]


def test_a_device_is_written_to(folder: Path) -> None:
    save(os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


# ---- every option that names a file ----------------------------------------------------------------------

OPTIONS = [
    (["vjp", "x", "x=1"], "-o", ".npz"),
    (["jacobian", "x", "x=1"], "-o", ".npz"),
    (["graph", "x", "x=1"], "-o", ".dot"),
    (["batch", os.devnull], "-o", ".jsonl"),
    *(
        ([command, "x", "x=1"], f"--{picture}", f".{picture}")
        for command in ("vjp", "jacobian", "explain", "graph")
        for picture in ("svg", "html")
    ),
]


@pytest.mark.parametrize("place", ["nowhere/a", "folder"])
@pytest.mark.parametrize(("command", "option", "ending"), OPTIONS)
def test_what_cannot_be_written_is_wrong_usage(
    cli, folder: Path, command: list[str], option: str, ending: str, place: str
) -> None:
    (folder / f"folder{ending}").mkdir()
    ran = cli(*command, option, place + ending)
    assert (ran.status, ran.out) == (2, "")
    assert f"'{place}{ending}' cannot be written: " in ran.err
    assert os.listdir(folder) == [f"folder{ending}"]
