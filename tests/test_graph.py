"""``graph``: the tree, the texts for Graphviz and Mermaid, and files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

PROGRAM = ("h = tanh(x @ W)\nsum(h * h) + c", "x=[[1,2]]", "W=[[1,2],[3,4]]", "c=3", "--wrt", "x,W")
ODD = ("where(x > 0, x, 0) + relu(x, ) * 2", "x=[1,2]")
DRAWS = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


def test_the_tree_has_torchs_names_beside_ours(cli) -> None:
    assert cli("graph", *PROGRAM).out == (
        "out = sum(h * h) + c  add ()  AddBackward0\n"
        "  %3 = sum(h * h)  sum ()  SumBackward1\n"
        "    %2 = h * h  mul (1, 2)  MulBackward0\n"
        "      h = tanh(x @ W)  tanh (1, 2)  TanhBackward0\n"
        "        %1 = x @ W  matmul (1, 2)  MmBackward0\n"
        "          x  leaf (1, 2)  AccumulateGrad\n"
        "          W  leaf (2, 2)  AccumulateGrad\n"
        "      h  see above\n"
        "  c  constant ()\n"
    )


def test_a_large_graph_is_cut_and_says_so(cli) -> None:
    out = cli("graph", "y = x\nfor i in range(300):\n    y = y * 2\ny", "x=1").out
    assert len(out.splitlines()) < 200
    assert "more nodes: --format dot, mermaid or json has all" in out


def test_json_has_nodes_and_edges(cli) -> None:
    graph = json.loads(cli("graph", *PROGRAM, "--json").out)["graph"]
    assert graph["outputs"] == {"out": "out"}
    assert [node["name"] for node in graph["nodes"]] == ["x", "W", "c", "%1", "h", "%2", "%3", "out"]
    assert [node["kind"] for node in graph["nodes"][:4]] == ["leaf", "leaf", "constant", "operator"]
    assert graph["edges"].count(["h", "%2"]) == 2
    assert next(node for node in graph["nodes"] if node["name"] == "%1")["grad_fn"] == ["MmBackward0"]


def test_dot_is_a_digraph_with_a_line_for_each_node_and_edge(cli) -> None:
    out = cli("graph", *PROGRAM, "--format", "dot").out
    assert out.startswith("digraph vjpcalc {\n")
    assert re.search(r'n\d+ \[label="%1 = x @ W\\nmatmul \(1, 2\)\\nMmBackward0", shape=box', out)
    assert len(re.findall(r"^  n\d+ -> n\d+( \[style=dashed\])?;$", out, re.MULTILINE)) == 8
    assert out.count("[style=dashed];") == 1  # c is a constant


def test_mermaid_escapes_what_means_something_to_it(cli) -> None:
    out = cli("graph", "x ** 2 > 1 if False else x[0] * 1", "x=[1,2]", "--format", "mermaid").out
    assert out.startswith("flowchart TD\n")
    assert "x#91;0#93; #42; 1" in out
    labels = re.findall(r'"([^"]*)"', out)
    assert not any(set(label.replace("<br>", "")) & set("<>[]*`") for label in labels)


@pytest.mark.parametrize("ending", [".dot", ".gv", ".mmd", ".json"])
def test_texts_go_to_files(cli, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"graph{ending}"
    ran = cli("graph", *PROGRAM, "-o", str(path))
    assert (ran.status, ran.out) == (0, "")
    assert path.read_text()[:9] == {".json": '{\n  "form', ".mmd": "flowchart"}.get(ending, "digraph v")


@DRAWS
@pytest.mark.parametrize(("ending", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_graphviz_draws(cli, tmp_path: Path, ending: str, start: bytes) -> None:
    path = tmp_path / f"graph{ending}"
    assert cli("graph", *ODD, "-o", str(path)).status == 0
    assert path.read_bytes().startswith(start)


def test_without_graphviz_there_is_a_clear_message(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = cli("graph", "x * 2", "x=1", "-o", str(tmp_path / "graph.svg"))
    assert ran.status == 2
    assert "needs Graphviz, and its program 'dot' is not installed" in ran.err
    assert "-o graph.dot" in ran.err


BAD = {
    "an unknown ending": (("-o", "graph.jpg"), "is no drawing that is known; did you mean '.png'?"),
    "no folder": (("-o", "nowhere/graph.dot"), "there is no folder 'nowhere'"),
    "an unknown format": (("--format", "dott"), "unknown format 'dott'; did you mean 'dot'?"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_said(cli, what: str) -> None:
    arguments, message = BAD[what]
    ran = cli("graph", "x * 2", "x=1", *arguments)
    assert ran.status == 2
    assert message in ran.err
