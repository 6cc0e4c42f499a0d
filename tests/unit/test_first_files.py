"""What `init` writes: complete, usable as it is, with every option in it, and never over anything."""

import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from agent.config import HomeConfig, load_config
from agent.dashboard.settings import DashboardSettings
from agent.first_files import write_first_files
from agent.planning.tariff import Period
from agent.simulator.settings import default_settings
from coordinator.charter import Rules
from coordinator.charter_file import load_charter
from coordinator.errors import ConfigError
from coordinator.identity import Identity
from coordinator.toml_file import read_toml

OPTION = re.compile(r"#(?=[\w\[\s{}\]])(?! )|#(?=  \{)")
"""The # in front of an option; prose has one blank after it."""


def first(folder: Path, **changes: str) -> Path:
    return write_first_files(folder, **{"name": "home-1", "timezone": "Europe/Berlin", "currency": "EUR", **changes})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return first(tmp_path / "home")


def blocks(text: str) -> Iterator[tuple[str, list[int]]]:
    """Yield what can be uncommented at once, with the prose above: a section with all in it, else a single option."""
    lines = text.splitlines()
    start = prose_from = 0
    for number, line in enumerate([*lines, ""]):
        if line and number < len(lines):
            if OPTION.match(line) and not any(each.startswith("#[") for each in lines[start : number + 1]):
                yield " ".join(each for each in lines[prose_from:number] if each.startswith("# ")), [number]
            elif not line.startswith("#") or not lines[number - 1].startswith("# "):
                prose_from = number
            continue
        options = [n for n in range(start, number) if OPTION.match(lines[n])]
        header = next((n for n in options if lines[n].startswith("#[")), None)
        if header is not None:
            yield " ".join(lines[start:header]), options
        start = prose_from = number + 1


def uncommented(text: str, prose: str, numbers: list[int]) -> str:
    """Take the # away from these lines, and take out what they stand instead of."""
    lines = text.splitlines()
    for number in numbers:
        lines[number] = OPTION.sub("", lines[number], count=1)
    if instead := re.search(r"Instead of (\S+?),", prose):
        lines = without(lines, instead[1], numbers[0])
    return "\n".join(lines) + "\n"


def without(lines: list[str], what: str, before: int) -> list[str]:
    if not what.startswith("["):
        key = max(n for n in range(before) if lines[n].startswith(f"{what} ="))
        return [line for n, line in enumerate(lines) if n != key]
    start = lines.index(what)
    end = next(n for n in range(start + 1, len(lines)) if not lines[n] or lines[n].startswith("["))
    return lines[:start] + lines[end:]


def test_what_init_writes_loads_unchanged_and_is_this_home(config: Path) -> None:
    home = load_config(config)
    identity = Identity.load(home.community.key_file)
    charter = load_charter(home.community.charter, datetime.now(UTC))
    assert home.home.name == charter.by_id[identity.id].name == "home-1"
    assert charter.rules == Rules()
    assert (charter.currency, [member.id for member in charter.members]) == ("EUR", [identity.id])
    assert not home.control.enabled
    assert home.home.data_dir == config.parent.resolve() / "data"


def test_devices_and_battery_are_those_of_the_default_simulator(config: Path) -> None:
    home, (simulated,) = load_config(config), default_settings().homes
    assert home.devices["inverter"].url == f"tcp://127.0.0.1:{simulated.inverter_port}"
    assert home.devices["meter"].url == f"tcp://127.0.0.1:{simulated.meter_port}"
    assert (home.devices["inverter"].unit, home.devices["meter"].unit) == (
        simulated.inverter_unit,
        simulated.meter_unit,
    )
    assert home.battery is not None
    assert simulated.battery is not None
    for name in ("capacity_kwh", "charge_kw", "discharge_kw", "round_trip_efficiency"):
        assert getattr(home.battery, name) == getattr(simulated.battery, name)
    assert home.home.pv_kwp == simulated.plant.pv_kwp  # type: ignore[union-attr]


def test_agent_page_and_broker_share_one_generated_password(config: Path, tmp_path: Path) -> None:
    home = load_config(config)
    page = read_toml(config.parent / "dashboard.toml", DashboardSettings)
    (source,), broker = page.sources, home.broker
    assert broker is not None
    (user,) = broker.users
    assert home.mqtt.own.secret() == user.secret() == source.password
    assert (home.mqtt.own.username, user.name, source.username) == ("owner",) * 3
    assert home.mqtt.own.url == source.url == f"mqtt://127.0.0.1:{broker.port}"
    assert page.timezone == "Europe/Berlin"
    other = load_config(first(tmp_path / "other"))
    assert other.mqtt.own.secret() != home.mqtt.own.secret()
    assert len(source.password or "") >= 20


def test_secrets_are_for_the_owner_only(config: Path) -> None:
    for name in ("key.pem", "owner.password", "dashboard.toml", "home.toml"):
        assert (config.parent / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.parametrize("existing", ["home.toml", "key.pem", "charter.json", "owner.password", "dashboard.toml"])
def test_no_file_is_ever_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(ConfigError, match=f"{existing} exists already and is never overwritten: move it away"):
        first(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [existing], "and nothing was begun"
    assert (tmp_path / existing).read_text() == "precious"


def test_every_option_that_is_commented_out_is_valid_when_uncommented(config: Path) -> None:
    text = config.read_text()
    seen: set[int] = set()
    for prose, numbers in blocks(text):
        config.write_text(uncommented(text, prose, numbers))
        load_config(config)
        seen.update(numbers)
    assert seen == {n for n, line in enumerate(text.splitlines()) if OPTION.match(line)}
    assert len(seen) >= 40


def test_options_without_a_hint_show_the_default(config: Path) -> None:
    text = config.read_text()
    before = load_config(config)
    tried = 0
    for prose, numbers in blocks(text):
        if "For example" in prose or "Only where" in prose:
            continue
        config.write_text(uncommented(text, prose, numbers))
        assert load_config(config) == before, [text.splitlines()[n] for n in numbers]
        tried += 1
    assert tried >= 15


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    """Yield every key an owner may write, through all sections."""
    for name, info in model.model_fields.items():
        if name == "gate":
            continue  # of the simulated clock: the demo's own means to start all homes together
        yield info.alias or name
        stack: list[Any] = [info.annotation]
        while stack:
            kind = stack.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from keys_of(kind)
            stack += get_args(kind)


def test_every_option_of_every_section_is_in_the_file(config: Path) -> None:
    text = config.read_text()
    keys = {*keys_of(HomeConfig), *keys_of(Period)}
    assert len(keys) > 50
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b( =|\]|\.)", text)] == []


def test_every_section_and_option_has_a_comment_above(config: Path) -> None:
    lines = config.read_text().splitlines()
    bare = []
    for number, line in enumerate(lines):
        key = re.match(r"#?(\w+) = ", line)
        if key and key[1] not in EXPLAINED_TOGETHER and not lines[number - 1].startswith("# "):
            bare.append(line)
    assert bare == []


EXPLAINED_TOGETHER = {
    *("name", "url", "unit", "profile", "subscribe", "publish", "password", "member"),  # under their section's comment
    *("import_per_kwh", "export_per_kwh", "time_of_use", "file", "until", "max_pct"),
    *("capacity_kwh", "charge_kw", "discharge_kw", "start_at", "anchor_at", "speed"),
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a/b"}, "name: .*'a/b'.*. A name is up to 24 letters"),
        ({"currency": "euro"}, "currency: .*'euro'.*a currency is like EUR"),
        ({"timezone": "Berlin"}, "'Berlin' is no time zone: write one like Europe/Berlin"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        first(tmp_path / "home", **changes)
    assert not (tmp_path / "home").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/home: cannot be written .*: choose another folder"):
        first(tmp_path / "file" / "home")


def test_a_name_of_any_script_is_written_as_it_is(tmp_path: Path) -> None:
    config = first(tmp_path, name="Haus Müller 3")
    assert load_config(config).home.name == "Haus Müller 3"
    assert tomllib.loads(config.read_text())["home"]["name"] == "Haus Müller 3"
