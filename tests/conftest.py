"""External parts the tests need, and what happens when one is missing.

Some tests talk to programs that pip cannot install. On a developer's machine such tests are deselected and the end of
the run says loudly which part was missing and how to get it. With COMMONWATT_REQUIRE_ALL=1 (CI) a missing part fails
the run before the first test, so nothing passes by not being run.

Mosquitto 2.1 is beside them: Debian stable does not have it, and its archive may be out of reach. So .ci/run fetches it
where it can; where it is missing its tests are left out as loudly, and the others run.
"""

import os
import shutil
from typing import Any

import pytest

# Debian keeps daemons in /usr/sbin, which is not on every user's PATH.
_MORE_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin")

PARTS = ("mosquitto", "nats-server", "mbpoll", "chromium")
"""Names of the command and of the Debian package that brings it; also markers of the tests, with _ for -."""

NEWER_MOSQUITTO = "mosquitto-2.1"
"""Named by COMMONWATT_MOSQUITTO_2_1; its tests have the marker mosquitto_2_1."""
_NEWER_CURE = "Mosquitto 2.1, beside another: export COMMONWATT_MOSQUITTO_2_1=$(tests/brokers/mosquitto_2_1.sh)"

_missing = pytest.StashKey[list[str]]()
_deselected = pytest.StashKey[dict[str, int]]()


def missing_parts() -> list[str]:
    """Return the external parts that are not installed on this machine."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_DIRECTORIES])
    return [part for part in PARTS if shutil.which(part, path=path) is None]


def has_newer_mosquitto() -> bool:
    """Return whether somebody said where the program that runs Mosquitto 2.1 is."""
    program = os.environ.get("COMMONWATT_MOSQUITTO_2_1")
    if program and not (os.path.basename(program) == "mosquitto" and os.access(program, os.X_OK)):
        raise pytest.UsageError(f"COMMONWATT_MOSQUITTO_2_1={program}: there is no program mosquitto. {_NEWER_CURE}")
    return bool(program)


def _marker(part: str) -> str:
    return part.replace("-", "_").replace(".", "_")


def _cures(missing: list[str]) -> list[str]:
    packages = [part for part in missing if part in PARTS]
    cures = [f"Debian: apt install {' '.join(packages)}"] if packages else []
    return cures + [_NEWER_CURE] * (NEWER_MOSQUITTO in missing)


def pytest_configure(config: pytest.Config) -> None:
    missing = missing_parts()
    if missing and os.environ.get("COMMONWATT_REQUIRE_ALL") == "1":
        raise pytest.UsageError(
            f"COMMONWATT_REQUIRE_ALL=1, but these parts are not installed: {', '.join(missing)}. {_cures(missing)[0]}"
        )
    if not has_newer_mosquitto():
        missing.append(NEWER_MOSQUITTO)
    config.stash[_missing] = missing
    config.stash[_deselected] = dict.fromkeys(missing, 0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        lacking = [part for part in config.stash[_missing] if item.get_closest_marker(_marker(part))]
        for part in lacking:
            config.stash[_deselected][part] += 1
        (dropped if lacking else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the run's own process, where tests run in several, what this one left out."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["deselected"] = session.config.stash[_deselected]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take a worker's word; all of them collect the same tests."""
    output: dict[str, Any] = getattr(node, "workeroutput", {})
    node.config.stash[_deselected].update(output.get("deselected", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    missing = config.stash[_missing]
    if not missing:
        return
    terminalreporter.section("MISSING EXTERNAL PARTS: NOT EVERYTHING WAS TESTED", red=True, bold=True)
    for part, count in config.stash[_deselected].items():
        terminalreporter.line(f"{part}: not installed, {count} test(s) that need it did not run", red=True)
    for cure in _cures(missing):
        terminalreporter.line(cure, red=True)
