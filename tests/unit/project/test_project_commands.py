"""`make` and `.ci/run` do what they say from any state of the machine, and name the cure when they cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# A python of the wanted age that makes an empty venv whose own python only writes down how it was called.
FAKE_PYTHON = """#!/bin/sh
case "$1" in
  -c) exit {too_old} ;;
  -m) [ {has_venv} = 1 ] || exit 1
      mkdir -p .venv/bin
      printf '#!/bin/sh\\necho "python $*" >> calls\\n' > .venv/bin/python
      printf '#!/bin/sh\\necho "commonwatt $*" >> calls\\n' > .venv/bin/commonwatt
      chmod +x .venv/bin/python .venv/bin/commonwatt ;;
esac
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what the Makefile needs and no virtual environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str, too_old: int = 0, has_venv: int = 1) -> subprocess.CompletedProcess[str]:
    python = script(folder / "fake-python", FAKE_PYTHON.format(too_old=too_old, has_venv=has_venv))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", f"PYTHON={python}", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def calls(folder: Path) -> list[str]:
    lines = (folder / "calls").read_text().splitlines()
    (folder / "calls").unlink()
    return lines


def test_make_demo_installs_without_test_tools_once_and_passes_arguments_on(clone: Path) -> None:
    assert make(clone, "demo", "ARGS=--hours 3").returncode == 0
    install, demo = calls(clone)
    assert "-c constraints.txt -e .[broker,dashboard]" in install
    assert demo == "commonwatt demo --hours 3"
    assert make(clone, "demo").returncode == 0
    assert calls(clone) == ["commonwatt demo"]


def test_make_installs_again_when_a_dependency_changed(clone: Path) -> None:
    make(clone, "demo")
    calls(clone)
    newer = (clone / ".venv/.runtime").stat().st_mtime + 1
    os.utime(clone / "constraints.txt", (newer, newer))
    assert make(clone, "demo").returncode == 0
    assert "-e .[broker,dashboard]" in calls(clone)[0]


def test_make_test_brings_the_test_tools_after_a_demo(clone: Path) -> None:
    make(clone, "demo")
    calls(clone)
    assert make(clone, "test").returncode == 0
    install, test = calls(clone)
    assert "-e .[dev]" in install
    assert test.startswith("python -m pytest")


def test_old_python_is_refused_with_the_version_needed(clone: Path) -> None:
    done = make(clone, "demo", too_old=1)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (clone / ".venv").exists()


def test_python_without_venv_is_told_the_debian_package(clone: Path) -> None:
    done = make(clone, "demo", has_venv=0)
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr


def test_make_clean_keeps_what_an_owner_made(clone: Path) -> None:
    (clone / "my-home").mkdir()
    (clone / "my-home/key.pem").write_text("secret")
    for folder in ("agent", "coordinator", "tests"):
        (clone / folder / "__pycache__").mkdir(parents=True)
    make(clone, "demo")
    assert make(clone, "clean").returncode == 0
    assert not (clone / ".venv").exists()
    assert not (clone / "agent/__pycache__").exists()
    assert (clone / "my-home/key.pem").exists()


@pytest.mark.parametrize(("missing", "fetched"), [([], "/newer/mosquitto"), (["mbpoll", "chromium"], "")])
def test_ci_installs_what_is_missing_and_requires_every_part_but_the_newer_mosquitto(
    tmp_path: Path, missing: list[str], fetched: str
) -> None:
    checkout = tmp_path / "checkout"
    run = script(checkout / ".ci/run", (ROOT / ".ci/run").read_text())
    script(checkout / "tests/brokers/mosquitto_2_1.sh", f"#!/bin/sh\necho {fetched}\ntest -n '{fetched}'\n")
    commands = tmp_path / "bin"
    for name in {"mosquitto", "nats-server", "mbpoll", "chromium"} - set(missing):
        script(commands / name, "#!/bin/sh\n")
    log = 'echo "$(basename "$0") $* $COMMONWATT_REQUIRE_ALL" >> "$LOG"\n'
    script(commands / "apt-get", "#!/bin/sh\n" + log)
    newer = 'echo "newer: ${COMMONWATT_MOSQUITTO_2_1-none}" >> "$LOG"\n'
    script(commands / "make", '#!/bin/sh\necho "in $PWD" >> "$LOG"\n' + newer + log)
    script(commands / "sudo", '#!/bin/sh\nshift; exec "$@"\n')
    for name in ("bash", "sh", "dirname", "basename", "env", "mktemp", "rm"):
        (commands / name).symlink_to(str(shutil.which(name)))
    # The script looks in /usr/sbin too, where this machine may have the real parts.
    body = run.read_text().replace("/usr/sbin:/usr/local/sbin", str(commands))
    script(run, body)
    done = subprocess.run(
        [str(commands / "bash"), str(run)],
        cwd="/",
        env={"PATH": str(commands), "LOG": str(tmp_path / "log"), "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "log").read_text().splitlines()
    installs = [line.strip() for line in lines if line.startswith("apt-get install")]
    assert [line.split("recommends ")[1].split() for line in installs] == ([missing] if missing else [])
    assert lines[-3:] == [f"in {checkout}", f"newer: {fetched or 'none'}", "make lint test 1"]
    assert ("MOSQUITTO 2.1 COULD NOT BE FETCHED" in done.stderr) == (not fetched)
