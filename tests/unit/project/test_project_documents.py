"""The documents name only commands and files that exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.first_files import CONFIG_FILE

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


def test_the_services_of_the_pi_run_the_home_that_its_steps_make_where_they_may_write() -> None:
    folder = ROOT / "firmware-config/raspberry-pi"
    steps = (folder / "README.md").read_text(encoding="utf-8")
    (made,) = re.findall(r"^ +cw init (\S+)", steps, re.MULTILINE)
    assert f"install -d -o commonwatt -g commonwatt -m 0700 {made}\n" in steps, "made by root, it would be closed to it"
    units = sorted(folder.glob("*.service"))
    assert units
    for unit in units:
        text = unit.read_text(encoding="utf-8")
        assert re.findall(r"--config (\S+)", text) == [f"{made}/{CONFIG_FILE}"], unit.name
        assert f"StateDirectory={made.removeprefix('/var/lib/')}\n" in text, "all else is read-only to it"
