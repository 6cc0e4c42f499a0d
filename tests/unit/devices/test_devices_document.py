"""docs/devices.md says what there is: every profile, every fault, and examples that work."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from agent.devices.profile import available_profiles, load_profile
from agent.devices.settings import DeviceSettings
from agent.simulator.faults import CATALOGUE

DOCUMENT = (Path(__file__).parents[3] / "docs" / "devices.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("name", available_profiles())
def test_each_profile_has_its_row(name: str) -> None:
    (row,) = (line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    profile = load_profile(name)
    assert cells[1] == profile.title
    assert cells[3] == str(profile.link.unit)
    assert cells[5] == (", ".join(profile.parameters) or "–")
    locked = "locked" if profile.evidence == "desk" else "yes"
    assert cells[6] == (locked if profile.control else "–")


def test_each_fault_has_its_place() -> None:
    for fault in CATALOGUE:
        assert re.search(rf"^\| {fault.id} \|.*`{fault.name}`", DOCUMENT, re.MULTILINE), fault.name


def test_the_example_of_a_profile_loads(tmp_path: Path) -> None:
    path = tmp_path / "my_meter.yaml"
    path.write_text(block("yaml"))
    assert load_profile(path).provides == {"grid_w", "import_wh", "export_wh"}
    assert yaml.safe_load(block("yaml"))["evidence"] == "desk"


def test_the_example_of_settings_is_understood() -> None:
    for section in tomllib.loads(block("toml"))["devices"].values():
        settings = DeviceSettings.model_validate(section)
        load_profile(settings.profile, settings.parameters)
