"""Which Mosquitto a test meets: the installed one, and 2.1 beside it."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def newer_mosquitto_first(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test with the marker `mosquitto_2_1` find that one; without the program it was not collected."""
    if request.node.get_closest_marker("mosquitto_2_1"):
        folder = Path(os.environ["COMMONWATT_MOSQUITTO_2_1"]).absolute().parent
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(
    params=[
        pytest.param("mosquitto-2.0", marks=pytest.mark.mosquitto),
        pytest.param("mosquitto-2.1", marks=pytest.mark.mosquitto_2_1),
    ]
)
def release(request: pytest.FixtureRequest) -> str:
    """Return what `broker-config --for` writes for the Mosquitto that the test finds."""
    return str(request.param)
