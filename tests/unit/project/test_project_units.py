"""What the supplied systemd units let their programs reach."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "firmware-config/raspberry-pi"
UNITS = ("commonwatt.service", "commonwatt-guard.service")
"""Both read the devices: the agent itself where nothing may be commanded, or by a guard of its own."""
LINES = {"ttyUSB": "usbserial", "ttyACM": "cdc_acm", "ttyAMA": None, "ttyS": None}
"""The kernel's names of serial lines, and the module that may have to be loaded before systemd knows the name."""


def values(unit: str, key: str) -> list[str]:
    """Return all values of a setting that may stand in several lines."""
    return re.findall(rf"^{key}=(.*)$", (FOLDER / unit).read_text(), re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS)
def test_whatever_reads_the_devices_may_open_serial_lines_and_nothing_else(unit: str) -> None:
    assert values(unit, "SupplementaryGroups") == ["dialout"], "they belong to this group"
    assert values(unit, "PrivateDevices") == [], "it would hide them"
    assert values(unit, "DevicePolicy") == ["closed"]
    assert values(unit, "DeviceAllow") == [f"char-{line} rw" for line in LINES]


@pytest.mark.parametrize("unit", UNITS)
def test_a_serial_adapter_that_is_plugged_in_later_may_be_opened_too(unit: str) -> None:
    loaders = {f"modprobe@{module}.service" for module in LINES.values() if module is not None}
    for key in ("Wants", "After"):
        assert loaders <= set(" ".join(values(unit, key)).split()), key


def test_the_commands_that_the_steps_name_reach_serial_lines_as_the_service_s_user() -> None:
    assert "useradd --system --groups dialout" in (FOLDER / "README.md").read_text()
