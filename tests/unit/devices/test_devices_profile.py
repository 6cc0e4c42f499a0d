from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.devices.profile import available_profiles, load_profile, profiles_folder
from agent.devices.settings import DeviceSettings
from coordinator.errors import ConfigError

HYBRID = yaml.safe_load((profiles_folder() / "sunspec_hybrid.yaml").read_text())
METER = yaml.safe_load((profiles_folder() / "eastron_sdm630.yaml").read_text())


def refusal(folder: Path, base: dict[str, Any], changes: dict[str, Any], name: str | None = None) -> str:
    """Load a copy of a profile with dotted keys changed (None removes one); return the error's text."""
    data = yaml.safe_load(yaml.safe_dump(base))
    for key, value in changes.items():
        *way, last = key.split(".")
        place = data
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if value is None:
            del place[last]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    path = folder / f"{name or base['profile']}.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    text = str(caught.value)
    assert str(path) in text
    return text


@pytest.mark.parametrize("name", ["eastron_sdm630", "sunspec_hybrid", "sunspec_pv"])
def test_profile_that_comes_with_the_product_loads(name: str) -> None:
    assert name in available_profiles()
    profile = load_profile(name)
    assert profile.profile == name
    assert profile.evidence == "simulated"


def test_the_owner_s_own_profile_loads_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "my_meter.yaml"
    path.write_text(yaml.safe_dump(METER | {"profile": "my_meter"}))
    assert load_profile(str(path)).points["grid_w"].sign == "import"


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"no profile 'eastron_sdm63'; did you mean 'eastron_sdm630'\?"):
        load_profile("eastron_sdm63")
    with pytest.raises(ConfigError, match="sunspec_hybrid, sunspec_pv"):
        load_profile("tesla")
    with pytest.raises(ConfigError, match=r"nowhere/x.yaml: there is no such profile file"):
        load_profile("nowhere/x.yaml")


def test_broken_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("schema: 1\nprofile: [x\n")
    with pytest.raises(ConfigError, match=r"x.yaml: line 3: is no YAML"):
        load_profile(path)
    path.write_text("- just a list\n")
    with pytest.raises(ConfigError, match=r"x.yaml: is no profile; it must begin with"):
        load_profile(path)


def test_an_unknown_key_is_refused_with_the_nearest_right_one(tmp_path: Path) -> None:
    text = refusal(tmp_path, METER, {"points.grid_w.sgin": "import"})
    assert "points.grid_w.sgin" in text
    assert "did you mean 'sign'?" in text


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert "limits: is missing" in refusal(tmp_path, METER, {"limits": None})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points.grid_w.addr": 75}, "points.grid_w.addr: lies outside block live (0 to 75)"),
        ({"points.grid_w.block": "life"}, "there is no block 'life'"),
        ({"blocks.live.count": 82}, "82 registers, limit 80"),
        ({"blocks.live.count": 77}, "77 is odd"),
        ({"limits.functions": [3]}, "function 4 is not allowed"),
        ({"blocks.live.addr": 65500, "limits.even_counts": False}, "beyond register 65535"),
        ({"points.grid_w.sign": None}, "points.grid_w.sign: is missing"),
        ({"points.grid_w.unit": "kW"}, "grid_w must come in W"),
        ({"points.grid_w.type": None}, "needs either block, addr and type, or model and point"),
        ({"points.export_wh": None}, "a device of kind meter must give export_wh"),
        ({"identify": None}, "nothing tells this device from another"),
        ({"identify.0": {"fc": 4, "addr": 0}}, "needs either model, point and starts_with"),
        ({"profile": "other"}, "give it the file's name, 'eastron_sdm630'"),
        ({"blocks.live.fc": 5}, "blocks.live.fc"),
    ],
)
def test_a_meter_profile_that_breaks_a_rule_is_refused_with_key_and_cure(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in refusal(tmp_path, METER, changes, "eastron_sdm630")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points.set_w.sign": None}, "points.set_w.sign: is missing"),
        ({"points.set_w.memory": None}, "points.set_w.memory: is missing on a writable point"),
        ({"points.set_w.memory": "stored"}, "set_w is stored for good by the device"),
        ({"points.set_w.access": "r"}, "set_w is no writable point"),
        ({"points.ac_w.model": "invertor"}, "there is no model 'invertor'"),
        ({"points.ac_w.point": "Watt"}, "SunSpec model 103 has no point 'Watt'"),
        ({"derived.pv_w.sum": ["+ac_w", "-batt_w"]}, "there is no point 'batt_w' to read"),
        ({"derived.ac_w": {"sum": ["+ac_w", "-battery_w"]}}, "derived.ac_w: is a point, too"),
        ({"control.battery_w.refresh_s": 21}, "at most 20: two refreshes may be lost"),
        ({"control.battery_w.release": None}, "control.battery_w.release: is missing"),
        ({"control.battery_w.when_we_vanish": None}, "control.battery_w.when_we_vanish: is missing"),
        ({"control.battery_w.confirm.effect": None}, "control.battery_w.confirm.effect: is missing"),
        ({"control.battery_w.when_we_vanish.by": "nobody"}, "stay at our last command for ever"),
        ({"control.battery_w.confirm.read_back": ["set_w"]}, "leaves out the timer"),
        ({"control.battery_w.confirm.read_back": ["revert_s", "ac_w"]}, "ac_w is no writable point"),
        ({"control.battery_w.cycle.0.value": "=lease"}, "control.battery_w.cycle.0.value"),
        ({"limits.functions": [3]}, "has no function to write with"),
    ],
)
def test_a_control_profile_that_breaks_a_rule_is_refused_with_key_and_cure(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in refusal(tmp_path, HYBRID, changes)


@pytest.mark.parametrize(
    "url", ["192.168.1.5", "tcp://host", "http://host:502", "tcp://host:99999", "tcp://host:502/x"]
)
def test_a_device_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"tcp://192\.168\.1\.20:502"):
        DeviceSettings(profile="eastron_sdm630", url=url)
