"""A missing external part is never silent: the rules of tests/conftest.py, tried on a real pytest run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[2] / "conftest.py"

TESTS = """
import pytest

@pytest.mark.mosquitto
def test_with_broker(): pass

@pytest.mark.mosquitto
@pytest.mark.chromium
def test_with_browser(): pass

@pytest.mark.mosquitto_2_1
def test_with_newer_broker(): pass

def test_without_parts(): pass
"""

# Loaded before conftest.py, so the machine looks as if it had the named commands and no others.
MACHINE = """
import os, shutil
shutil.which = lambda name, **_: name if name in os.environ["INSTALLED"].split() else None
"""

SETTINGS = "[tool.pytest.ini_options]\nmarkers = ['mosquitto', 'mosquitto_2_1', 'nats_server', 'mbpoll', 'chromium']\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "machine.py").write_text(MACHINE)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    return tmp_path


def run(
    folder: Path, installed: str, require_all: str, *more: str, newer: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run pytest in `folder` on a machine that has only the `installed` commands, and the program `newer`."""
    environment = {
        **os.environ,
        "INSTALLED": installed,
        "COMMONWATT_REQUIRE_ALL": require_all,
        "COMMONWATT_MOSQUITTO_2_1": newer,
        "PYTHONPATH": ".",
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "machine", "-p", "no:cacheprovider", *more],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_as_loud_where_tests_run_in_several_processes(folder: Path) -> None:
    done = run(folder, "mosquitto", "", "-n", "2")
    assert done.returncode == 0
    assert "2 passed" in done.stdout
    assert "chromium: not installed, 1 test(s) that need it did not run" in done.stdout


def test_missing_part_deselects_only_its_tests_and_says_so_loudly(folder: Path) -> None:
    done = run(folder, installed="mosquitto", require_all="")
    assert done.returncode == 0
    assert "2 passed, 2 deselected" in done.stdout
    assert "MISSING EXTERNAL PARTS" in done.stdout
    assert "chromium: not installed, 1 test(s)" in done.stdout
    assert "apt install nats-server mbpoll chromium" in done.stdout
    assert "mosquitto: not installed" not in done.stdout


def test_missing_part_fails_the_run_when_all_are_required(folder: Path) -> None:
    done = run(folder, installed="mosquitto nats-server chromium", require_all="1")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "mbpoll" in done.stderr
    assert "apt install mbpoll" in done.stderr
    assert "passed" not in done.stdout


def test_a_missing_mosquitto_2_1_is_told_with_its_cure_but_ends_no_run(folder: Path) -> None:
    done = run(folder, installed="mosquitto nats-server mbpoll chromium", require_all="1")
    assert done.returncode == 0
    assert "3 passed, 1 deselected" in done.stdout
    assert "mosquitto-2.1: not installed, 1 test(s)" in done.stdout
    assert "export COMMONWATT_MOSQUITTO_2_1=$(tests/brokers/mosquitto_2_1.sh)" in done.stdout
    assert "apt install" not in done.stdout


def test_a_mosquitto_2_1_that_is_not_where_it_was_said_to_be_fails_the_run(folder: Path) -> None:
    done = run(folder, "mosquitto nats-server mbpoll chromium", "", newer=str(folder / "mosquitto"))
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "there is no program mosquitto" in done.stderr


def test_complete_machine_runs_everything_without_a_warning(folder: Path) -> None:
    newer = folder / "mosquitto"
    newer.touch(mode=0o755)
    done = run(folder, "mosquitto nats-server mbpoll chromium", "1", newer=str(newer))
    assert done.returncode == 0
    assert "4 passed" in done.stdout
    assert "MISSING" not in done.stdout
