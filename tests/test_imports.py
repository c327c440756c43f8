"""The layers: imports run one way, and a cold start pays for nothing that it does not need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vjpcalc"

# A module may import modules of its own rank or of a lower one.
RANKS = [
    {"diagnostics", "limits"},
    {"operators"},
    {"language.source", "language.syntax", "language.code", "language.trace", "language.values"},
    {"language.run", "language.host", "language.engine"},
    {"engines", "tensors"},
    {"rules", "simplify", "differentiate", "use"},
    {"backward"},
    {"check"},
    {"explain", "explicit", "emit", "api"},
    {"batch"},
    {"report"},
    {"cli"},
    {"__main__"},
]
HEAVY = ("torch", "numpy", "scipy", "numexpr", "pandas", "sympy")


def rank(module: str) -> int:
    for number, names in enumerate(RANKS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return number
    raise AssertionError(f"vjpcalc.{module} has no rank: give it one")


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports anywhere at run time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vjpcalc"):
            module = node.module.removeprefix("vjpcalc").lstrip(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".lstrip(".")
                is_module = (PACKAGE / (inner.replace(".", "/") + ".py")).exists() or (
                    PACKAGE / inner.replace(".", "/") / "__init__.py"
                ).exists()
                if is_module:
                    found.add(inner)
                elif module:
                    found.add(module)
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("vjpcalc.") for a in node.names if a.name.startswith("vjpcalc.")}
    return found


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MODULES.pop("__init__")


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    for other in imports(MODULES[module]):
        assert rank(other) <= rank(module), f"{module} imports {other}"


@pytest.mark.parametrize("layer", ["operators", "language", "diagnostics"])
def test_the_language_knows_neither_torch_nor_numpy(layer: str) -> None:
    for module, path in MODULES.items():
        if module.split(".")[0] == layer:
            text = path.read_text(encoding="utf-8")
            roots = {
                (alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0]
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in node.names
            }
            assert not roots & {"torch", "numpy", "scipy", "numexpr", "rich", "typer"}, module


LIGHT = {
    "the package": "import vjpcalc",
    "--version": "main(['--version'])",
    "-h": "main(['-h'])",
    "vjp -h": "main(['vjp', '-h'])",
    "ops": "main(['ops'])",
    "ops tanh": "main(['ops', 'tanh'])",
    "a syntax error": "main(['1 +'])",
    "schema": "main(['schema'])",
    "completion": "main(['completion', 'bash'])",
    "a tab": "main(['completion', 'bash', '--', \"vjpcalc 'soft\"])",
    "a tab after the expression": "main(['completion', 'fish', '--', \"vjpcalc 'a @ b' a:fl\"])",
}


@pytest.mark.parametrize("what", LIGHT)
def test_a_light_call_imports_nothing_heavy(what: str) -> None:
    code = f"import sys; from vjpcalc.cli.app import main; {LIGHT[what]}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split("\n")[-2].split())
    assert not loaded & set(HEAVY)
