"""The settings of a home: errors that name key and cure, the environment on top, paths relative to the file."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from agent.config import HomeConfig, load_config
from agent.dashboard.settings import DashboardSettings
from agent.first_files import write_first_files
from agent.simulator.settings import SimulatorSettings
from coordinator.errors import ConfigError
from coordinator.toml_file import read_toml


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_first_files(tmp_path / "home", name="home-1", timezone="Europe/Berlin", currency="EUR")


def edited(config: Path, before: str, after: str) -> Path:
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after, 1))
    return config


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("[poll]", "[pol]", "pol: unknown key, did you mean poll?"),
        ("#interval_s", "intervall_s", "poll.intervall_s: unknown key, did you mean interval_s?"),
        ("charge_kw", "charging_kw", "battery.charging_kw: unknown key, did you mean charge_kw?"),
        ("timezone", "time_zone", "home.time_zone: unknown key, did you mean timezone?"),
        ("enabled =", "enable =", "control.enable: unknown key, did you mean enabled?"),
        ("unit = 1", "untt = 1", "devices.inverter.untt: unknown key, did you mean unit?"),
        ('kind = "auto"', 'knid = "auto"', "broker.knid: unknown key, did you mean kind?"),
        ("publish = ", "publsh = ", "broker.users.0.publsh: unknown key, did you mean publish?"),
        ("data_dir", "batery", "home.batery: unknown key, did you mean a section [battery]?"),
        (
            "#round_trip_efficiency",
            "efficiency",
            "battery.efficiency: unknown key, did you mean round_trip_efficiency?",
        ),
        # A right name in the wrong place: where it belongs, and never the same name again.
        ("data_dir", "port", "home.port: unknown key, port belongs into [broker] or [broker.tls]"),
        ("data_dir", "reserve_pct", "home.reserve_pct: unknown key, reserve_pct belongs into [battery]"),
        ("data_dir", "enabled", "home.enabled: unknown key, enabled belongs into [control]"),
        ("#interval_s", "fuse_a", "poll.fuse_a: unknown key, fuse_a belongs into [home]"),
        ("#heartbeat_s", "unit", "mqtt.unit: unknown key, unit belongs into [devices.NAME]"),
        ("data_dir", "xyzzy", "home.xyzzy: unknown key: remove it"),
    ],
)
def test_wrong_key_names_itself_and_the_nearest_right_one(config: Path, before: str, after: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(edited(config, before, after))
    assert said in str(caught.value).replace(f"{config}: ", "").split("; ")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"Europe/Berlin"', '"Berlin"', "home.timezone: 'Berlin' is no time zone: write one like Europe/Berlin"),
        ("tcp://127.0.0.1:5020", "127.0.0.1:5020", "devices.inverter.url: .* is no device address; write it like tcp:"),
        ("mqtt://127.0.0.1:1883", "127.0.0.1", "mqtt.own.url: '127.0.0.1' is not of the form mqtts://host:port"),
        ("mqtt://127.0.0.1:1883", "mqtt://pi:99999", "mqtt.own.url: 'mqtt://pi:99999' has no usable port"),
        ("#reserve_pct = 20.0", "reserve_pct = 96", "battery: reserve_pct 96 must lie below max_pct 95"),
        ('#password = "a', 'password = "a', "mqtt.own: give password or password_file, not both"),
        ("capacity_kwh = 10.0", "", "battery.capacity_kwh: missing, add it"),
        ("[home]", "[home", "not valid TOML: .*line 6"),
        ("import_per_kwh = 0.30", "import_per_kwh = ?", "not valid TOML"),
    ],
)
def test_value_that_cannot_be_used_names_file_key_and_cure(config: Path, before: str, after: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(edited(config, before, after))
    assert str(caught.value).startswith(f"{config}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "model", "wanted"),
    [("home.toml", DashboardSettings, "the page's"), ("dashboard.toml", HomeConfig, "the home's")],
)
def test_a_file_for_another_command_is_told_as_such_in_a_line(
    config: Path, name: str, model: type[BaseModel], wanted: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_toml(config.parent / name, model, wanted)
    said = str(caught.value)
    assert "this is another kind of file (it has " in said
    assert said.endswith(f"): name {wanted}")
    assert "unknown key" not in said


def test_one_misspelt_section_is_no_other_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "simulator.toml").write_text('[[home]]\nname = "a"\n')
    with pytest.raises(ConfigError, match=r"home: unknown key, did you mean homes\?"):
        read_toml(tmp_path / "simulator.toml", SimulatorSettings)


def test_missing_file_tells_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"home.toml: no such file; `commonwatt init` writes a commented one"):
        load_config(tmp_path / "home.toml")


def test_environment_lies_on_top_of_the_file_key_by_key(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_config(config)
    monkeypatch.setenv("COMMONWATT_MQTT__OWN__URL", "mqtt://elsewhere:1884")
    monkeypatch.setenv("COMMONWATT_DEVICES__METER__UNIT", "7")
    monkeypatch.setenv("COMMONWATT_POLL__INTERVAL_S", "5")
    monkeypatch.setenv("COMMONWATT_REQUIRE_ALL", "1")  # not ours to judge
    home = load_config(config)
    assert home.mqtt.own.url == "mqtt://elsewhere:1884"
    assert home.mqtt.own.secret() == plain.mqtt.own.secret(), "the other keys of the section stay"
    assert (home.devices["meter"].unit, home.devices["inverter"].unit) == (7, 1)
    assert home.devices["meter"].url == plain.devices["meter"].url
    assert home.poll.interval_s == 5


def test_secret_from_the_environment_appears_in_no_text(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited(config, 'password_file = "owner.password"', "")
    monkeypatch.setenv("COMMONWATT_MQTT__OWN__PASSWORD", "very-secret")
    home = load_config(config)
    assert home.mqtt.own.secret() == "very-secret"
    assert "very-secret" not in repr(home) + str(home)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("COMMONWATT_HOME", "/opt/commonwatt", 'environment: .*"home".*: unset that COMMONWATT_ variable'),
        ("COMMONWATT_POLL__INTERVALL_S", "5", "poll.intervall_s: unknown key, did you mean interval_s?"),
        ("COMMONWATT_HOM__NAME", "x", r"COMMONWATT_HOM__NAME sets nothing: did you mean COMMONWATT_HOME__NAME\?"),
        ("COMMONWATT_CONTROL_ENABLED", "false", r"sets nothing: did you mean COMMONWATT_CONTROL__ENABLED\?"),
        ("COMMONWATT_MQTT_OWN__URL", "x", r"sets nothing: did you mean COMMONWATT_MQTT__OWN__URL\?"),
        ("COMMONWATT_XYZZY", "1", "COMMONWATT_XYZZY sets nothing: unset it"),
        ("COMMONWATT_POLL__INTERVAL_S", "soon", r"poll.interval_s: .*valid number.*\(it is 'soon'\)"),
    ],
)
def test_environment_that_cannot_be_used_is_an_error_of_the_owner_s(
    config: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=said):
        load_config(config)


def test_relative_paths_are_relative_to_the_file_wherever_one_stands(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(config, 'profile = "eastron_sdm630"', 'profile = "own/meter.yaml"')
    edited(config, "[tariff.fixed]\nimport_per_kwh = 0.30\nexport_per_kwh = 0.08", '[tariff]\nfile = "tariff.csv"')
    monkeypatch.chdir(tmp_path)
    home, folder = load_config(Path("home/home.toml")), (tmp_path / "home").resolve()
    assert home.home.data_dir == folder / "data"
    assert home.community.key_file == folder / "key.pem"
    assert home.community.charter == folder / "charter.json"
    assert home.mqtt.own.password_file == folder / "owner.password"
    assert home.broker is not None
    assert home.broker.users[0].password_file == folder / "owner.password"
    assert home.tariff.file == folder / "tariff.csv"
    assert home.devices["meter"].profile == str(folder / "own/meter.yaml")
    assert home.devices["inverter"].profile == "sunspec_hybrid", "a name is no path"


def test_absolute_paths_stay(config: Path) -> None:
    assert load_config(edited(config, 'data_dir = "data"', 'data_dir = "/srv/home"')).home.data_dir == Path("/srv/home")
