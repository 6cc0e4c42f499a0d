"""The documents name only commands and files that exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "firmware-config/raspberry-pi")
    for path in (ROOT / folder).glob("*.md")
)


@pytest.fixture(scope="module")
def overview() -> str:
    """Return what `commonwatt --help` prints."""
    done = subprocess.run(
        [sys.executable, "-c", "from agent.cli.main import main; main()", "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_a_document_names_exists(document: str, overview: str) -> None:
    named = set(re.findall(r"\bcommonwatt ([a-z][a-z-]*)", (ROOT / document).read_text(encoding="utf-8")))
    missing = [name for name in sorted(named) if not re.search(rf"^\W*{name}\s", overview, re.MULTILINE)]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_a_document_links_to_exists(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing
