"""Imports point down only, and nothing between homes knows of a home's inside (design section 3)."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(LINT, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def miniature(folder: Path) -> Path:
    """Write a project with our contracts in which every layer is one empty module."""
    settings = (ROOT / "pyproject.toml").read_text()
    contracts = tomllib.loads(settings)["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    for name in [name.strip() for layer in layers for name in layer.split("|")]:
        module = folder.joinpath(*name.split("."))
        module.mkdir(parents=True)
        (module / "__init__.py").touch()
    (folder / "agent/__init__.py").touch()
    (folder / "pyproject.toml").write_text(settings)
    return folder


def test_every_import_of_the_project_keeps_its_contracts() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_miniature_without_imports_keeps_the_contracts(tmp_path: Path) -> None:
    done = lint_imports(miniature(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("coordinator", "agent.storage"),
        ("agent/devices", "agent.control"),
        ("agent/forecast", "agent.runtime"),
        ("agent/runtime", "agent.cli"),
    ],
)
def test_planted_upward_or_sideways_import_is_caught(tmp_path: Path, importer: str, imported: str) -> None:
    folder = miniature(tmp_path)
    (folder / importer / "planted.py").write_text(f"import {imported}\n")
    done = lint_imports(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
