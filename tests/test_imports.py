"""A cold start pays for nothing that it does not need. Who may import whom stands in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "numexpr", "pandas", "sympy")

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
