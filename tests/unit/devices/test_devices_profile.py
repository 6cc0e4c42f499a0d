from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.devices.profile import Profile, available_profiles, load_profile, profiles_folder
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
    with pytest.raises(ConfigError, match=r"there are abb_b23, byd_be_connect, .*victron_gx"):
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
        ({"points.grid_w.type": None}, "needs either block, addr (or regs) and type, or model and point"),
        ({"points.export_wh": None}, "a device of kind meter must give export_wh"),
        ({"identify": None}, "nothing tells this device from another"),
        ({"identify.0": {"fc": 4, "addr": 0}}, "needs either model, point and starts_with"),
        ({"profile": "other"}, "give it the file's name, 'eastron_sdm630'"),
        ({"blocks.live.fc": 5}, "blocks.live.fc"),
        ({"link": {"unit": 1}}, "needs tcp, rtu or both"),
        ({"link.rtu.format": "8X1"}, "link.rtu.format"),
        ({"points.import_wh": None, "points.inverter_wh": METER["points"]["import_wh"]}, "must give import_wh"),
        ({"points.frequency_hz.unit": "kHz"}, "frequency_hz must come in Hz"),
        ({"points.frequency_hz.counter": {"max_w": 1}}, "is on a point that is no energy"),
        ({"points.frequency_hz.range": [65, 45]}, "write the lower end first"),
        ({"points.frequency_hz.regs": [70, 71]}, "needs either block, addr (or regs)"),
        (
            {"points.frequency_hz.addr": None, "points.frequency_hz.regs": [70]},
            "regs must name the 2 registers of a f32",
        ),
        ({"points.frequency_hz.addr": None, "points.frequency_hz.regs": [70, 90]}, "regs: lies outside block live"),
        ({"points.frequency_hz.bit": 3}, "bit needs type u16"),
        ({"points.frequency_hz.scale_from": "nothing"}, "read both in one block"),
        ({"identify.0": {"fc": 4, "addr": 0, "type": "u16", "within": [0, 9]}}, "reads 1 registers and limits.even"),
        ({"identify.0.fc": 3, "limits.functions": [4]}, "identify.0.fc: function 3 is not allowed"),
        ({"checks.0.sum": ["grid_l1_w", "grid_l9_w"]}, "checks.0: there is no point 'grid_l9_w' to read"),
        ({"checks.0.product": ["grid_l1_w", "grid_l2_w"]}, "needs either sum or product"),
        ({"blocks.live.every": "slow"}, "is not of the same poll"),
        (
            {"asleep": {"looks": ["silent"], "below_w": 5, "zero": ["import_wh"]}},
            "import_wh is no power of this device",
        ),
        ({"derived": {"load_w": {"floor": 0}}}, "needs either sum, or magnitude, direction and signs"),
        ({"points.import_wh.name": "x"}, "points.import_wh.name: is no key of a profile here"),
        ({"points.grid_l{n}_w.repeat.steps": 2}, "steps: is no key of a profile here"),
        ({"points.grid_w.when": {"a=b": {}}}, "'a=b' is no choice of this file"),
        ({"points.grid_w.repeat": {"count": 2, "step": 2}}, "needs {n} in the point's name"),
        ({"parameters": {"x": {"ask": "?", "values": ["one"]}}}, "values: Tuple should have at least 2 items"),
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
        ({"control.battery_w.when_we_vanish.by": "nobody"}, "name the timer that ends our command"),
        ({"control.battery_w.confirm.read_back": ["set_w"]}, "leaves out the timer"),
        ({"control.battery_w.confirm.read_back": ["revert_s", "ac_w"]}, "ac_w is no writable point"),
        ({"control.battery_w.cycle.0.value": "=lease"}, "control.battery_w.cycle.0.value"),
        ({"limits.functions": [3]}, "has no function to write with"),
        ({"control.battery_w.release.0.value": 1}, "commands 0 W by what hands the battery back"),
        (
            {
                "control.battery_w.cycle.2": {"write": "set_enable", "case": {"charge": 1, "idle": 0, "discharge": 1}},
            },
            "name a command that holds the battery at 0 W",
        ),
        ({"points.set_w.memory": "unknown"}, "write_budget_per_day: is missing and the memory of set_w unknown"),
        ({"control.battery_w.require": [{"point": "set_mode", "equals": 1}]}, "set_mode is no point that is only read"),
        ({"control.battery_w.confirm.effect.point": "power_w"}, "there is no power_w"),
        ({"control.battery_w.cycle.0.case": {"charge": 1, "idle": 0, "discharge": 2}}, "needs either value or case"),
        (
            {"control.battery_w.cycle.0": {"write": "set_mode", "case": {"charge": 1}}},
            "case needs charge, idle and discharge",
        ),
        ({"sunspec.models.inverter.nth": 0}, "sunspec.models.inverter.nth"),
        ({"points.ac_w.module": 1}, "SunSpec model 103 has no point 'W'"),
    ],
)
def test_a_control_profile_that_breaks_a_rule_is_refused_with_key_and_cure(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    assert words in refusal(tmp_path, HYBRID, changes)


QUESTION = {"parameters": {"words": {"ask": "Which word is first?", "values": ["high", "low"]}}}


def chosen(folder: Path, changes: dict[str, Any], **choices: str) -> Profile:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(METER | QUESTION | changes | {"profile": "mine"}))
    return load_profile(path, choices)


def test_a_choice_changes_the_map_and_the_first_value_holds_without_one(tmp_path: Path) -> None:
    little = {"defaults": {"words": "big", "when": {"words=low": {"words": "little"}}}}
    assert chosen(tmp_path, little).points["grid_w"].words == "big"
    low = chosen(tmp_path, little, words="low")
    assert low.points["grid_w"].words == low.points["grid_l2_w"].words == "little"
    assert low.identify[0].words == "little", "what identifies the device is read in the same order"


def test_a_point_may_be_changed_or_left_out_by_a_choice(tmp_path: Path) -> None:
    hertz = METER["points"]["frequency_hz"]
    tenth = METER["points"] | {"frequency_hz": hertz | {"when": {"words=low": {"scale": 0.1}}}}
    assert chosen(tmp_path, {"points": tenth}, words="low").points["frequency_hz"].scale == 0.1
    gone = METER["points"] | {"frequency_hz": hertz | {"when": {"words=low": None}}}
    assert "frequency_hz" in chosen(tmp_path, {"points": gone}).provides
    assert "frequency_hz" not in chosen(tmp_path, {"points": gone}, words="low").provides


def test_a_choice_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no parameter 'word'; there are words"):
        chosen(tmp_path, {}, word="low")
    with pytest.raises(ConfigError, match="parameter words cannot be 'middle'; it is one of high, low"):
        chosen(tmp_path, {}, words="middle")
    with pytest.raises(ConfigError, match="this profile has none"):
        load_profile("eastron_sdm630", {"words": "low"})


def test_a_file_must_be_right_for_every_choice_and_not_only_for_the_one_made(tmp_path: Path) -> None:
    wrong = METER["points"] | {"grid_w": METER["points"]["grid_w"] | {"when": {"words=low": {"addr": 500}}}}
    with pytest.raises(ConfigError, match="lies outside block live"):
        chosen(tmp_path, {"points": wrong}, words="high")


def test_magnitude_and_direction_must_be_read_together(tmp_path: Path) -> None:
    data = yaml.safe_load((profiles_folder() / "solis_hybrid.yaml").read_text())
    data["blocks"]["apart"] = {"fc": 4, "addr": 33135, "count": 1}
    words = refusal(tmp_path, data, {"points.battery_direction.block": "apart"})
    assert "come from different moments" in words


@pytest.mark.parametrize(
    "url",
    [
        "192.168.1.5",
        "tcp://host",
        "http://host:502",
        "tcp://host:99999",
        "tcp://host:502/x",
        "serial://ttyUSB0",
        "serial:///dev/ttyUSB0?baud=9600",
        "rtu+tcp://host",
        "udp://host:8899",
    ],
)
def test_a_device_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"tcp://192\.168\.1\.20:502"):
        DeviceSettings(profile="eastron_sdm630", url=url)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("tcp://192.168.1.20:502", "tcp://192.168.1.20:502"),
        ("tcp://Inverter.lan:1502/", "tcp://inverter.lan:1502"),
        ("tcp://[fe80::1]:502", "tcp://[fe80::1]:502"),
        ("rtu+tcp://192.168.1.20:8899", "rtu+tcp://192.168.1.20:8899"),
        ("serial:///dev/ttyUSB0", "serial:///dev/ttyUSB0"),
    ],
)
def test_three_kinds_of_link_are_written_as_one_url_each(url: str, meant: str) -> None:
    assert DeviceSettings(profile="eastron_sdm630", url=url).url == meant


@pytest.mark.parametrize(
    ("model", "point"),
    [
        *((705, "Ena"), (706, "Ena"), (711, "Ena"), (702, "WMaxRtg")),
        *((703, "ES"), (121, "VRef"), (126, "ActCrv"), (704, "PFWInjEna")),
    ],
)
def test_s10_protection_and_grid_code_are_never_made_writable(tmp_path: Path, model: int, point: str) -> None:
    """Enter-service, volt-var, trip and frequency settings, and the reactive half of 704."""
    data = yaml.safe_load(yaml.safe_dump(HYBRID))
    data["sunspec"]["models"]["grid_code"] = {"id": [model]}
    data["points"]["forbidden"] = {"model": "grid_code", "point": point, "access": "rw", "memory": "volatile"}
    path = tmp_path / f"{data['profile']}.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=f"would write SunSpec model {model} {point}"):
        load_profile(path)


def test_s10_every_profile_that_comes_with_the_product_writes_what_its_steps_name_and_nothing_else() -> None:
    for name in available_profiles():
        profile = load_profile(name)
        spec = profile.control.battery_w if profile.control else None
        named = {step.write for part in (spec.prepare, spec.cycle, spec.release) for step in part} if spec else set()
        assert {point for point, each in profile.points.items() if each.access == "rw"} == named, name
