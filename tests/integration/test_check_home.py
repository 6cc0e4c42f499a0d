"""`check`: each thing that can be wrong with a home is found, with cause and cure; the rest is still looked at."""

import asyncio
import json
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from running_home import NOON, Files, broker, commission, devices, first_home, free_ports

from agent.checks import Finding, check_home
from agent.devices.profile import profiles_folder
from agent.first_files import write_first_files
from agent.guard_state import FileBrakes
from agent.storage.home_store import HomeStore
from coordinator.broker import BrokerUser, EmbeddedBroker
from coordinator.charter import Charter, Member, Rules
from coordinator.charter_file import found, load_charter
from coordinator.identity import Identity, encode_base64

DEVICES_AWAY = {"inverter", "meter", "home"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return first_home(tmp_path / "home", own_broker=True)


def check(files: Files) -> dict[str, Finding]:
    return {finding.subject: finding for finding in asyncio.run(check_home(files.config))}


def wrong(files: Files, *expected: str) -> str:
    """Return what is wrong besides the devices, of which none is there; other things must be well."""
    findings = check(files)
    assert {finding.subject for finding in findings.values() if not finding.ok} == DEVICES_AWAY | set(expected)
    return " / ".join(findings[subject].text for subject in expected)


def neighbours(files: Files, count: int = 1, port: int = 1883) -> list[Identity]:
    """Found a new charter with other homes in it; return their keys."""
    me, old = Identity.load(files.folder / "key.pem"), load_charter(files.folder / "charter.json", NOON)
    others = [Identity.generate() for _ in range(count)]
    added = [
        Member(id=o.id, name=f"home-{n}", public_key=encode_base64(o.public_key), broker=f"mqtt://127.0.0.1:{port}")
        for n, o in enumerate(others, 2)
    ]
    members = tuple(sorted((*old.members, *added), key=lambda member: member.id))
    charter = Charter(name="lane", currency="EUR", founded_ms=0, rules=Rules(), members=members)
    text = found(charter, {identity.id: identity for identity in (me, *others)})
    (files.folder / "charter.json").write_text(text)
    return others


def peer(files: Files, password: str = "theirs") -> None:
    files.config.write_text(files.config.read_text() + f'[[mqtt.peers]]\nmember = "home-2"\npassword = "{password}"\n')


def test_whole_home_that_is_well_has_nothing_wrong(files: Files) -> None:
    files.without_own_broker()

    async def scenario() -> list[Finding]:
        plant = devices(files)
        await plant.start()
        async with broker(files):
            findings = await check_home(files.config)
        await plant.stop()
        return findings

    findings = {finding.subject: finding for finding in asyncio.run(scenario())}
    assert [finding for finding in findings.values() if not finding.ok] == []
    assert findings["meter"].text.startswith(("importing ", "exporting ", "nothing to or from the grid"))
    assert findings["inverter"].text.startswith("sun ")
    assert "battery 50 % of 10.0 kWh" in findings["inverter"].text
    assert findings["home"].text.startswith("using ")
    assert findings["tariff"].text == "from the grid 0.3, into it 0.08 EUR per kWh in the next 24 h"
    assert findings["control"].text == "observe only: control.enabled is false"
    plain = json.loads(json.dumps([finding.plain() for finding in findings.values()]))
    assert plain[0] == {"ok": True, "subject": "settings", "text": findings["settings"].text}


def test_check_makes_no_file(files: Files) -> None:
    before = sorted(files.folder.rglob("*"))
    check(files)
    assert sorted(files.folder.rglob("*")) == before


def test_file_that_cannot_be_read_is_the_only_finding(files: Files) -> None:
    files.edit(("[poll]", "[pol]"))
    (finding,) = asyncio.run(check_home(files.config))
    assert not finding.ok
    assert finding.text.endswith("pol: unknown key, did you mean poll?")


def test_key_of_another_home_is_found(files: Files, tmp_path: Path) -> None:
    other = write_first_files(tmp_path / "other", name="home-1", timezone="UTC", currency="EUR").parent / "key.pem"
    files.edit(('key_file = "key.pem"', f'key_file = "{other}"'))
    assert "is no member of 'home-1': use this home's own key" in wrong(files, "membership")


def test_changed_charter_wrong_name_and_open_key_are_found(files: Files) -> None:
    (files.folder / "key.pem").chmod(0o644)
    assert "can be read by others (mode 044 too much): chmod 600 " in wrong(files, "membership")
    files.edit(('name = "home-1"', 'name = "home-7"'))
    said = "home.name is 'home-7', but the charter calls this key's home 'home-1': write that"
    assert wrong(files, "membership") == said
    charter = files.folder / "charter.json"
    charter.write_text(charter.read_text().replace('"power_limit_w": ', '"power_limit_w": 1'))
    assert "the signature of 'home-1' is missing or does not fit" in wrong(files, "membership")


def test_data_that_cannot_be_used_is_found(files: Files) -> None:
    data = files.folder / "data"
    data.write_text("")
    assert f"{data} cannot be written by this user: choose another home.data_dir" in wrong(files, "data")
    data.unlink()
    HomeStore(data / "home.db").close()
    assert check(files)["data"].text == f"{data}, with home.db"
    (data / "home.db").write_bytes(b"no database" * 100)
    assert "home.db: the home's database cannot be used" in wrong(files, "data")
    (data / "home.db").unlink()
    (data / "ledger.db").write_bytes(b"no database" * 100)
    assert "ledger.db cannot be used as a ledger" in wrong(files, "data")


def test_tariff_that_ends_within_the_horizon_is_found(files: Files) -> None:
    def rows(hours: int) -> str:
        first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        times = (first + timedelta(hours=n) for n in range(hours))
        lines = (f"{at:%Y-%m-%dT%H:%M:%SZ},0.3,0.1" for at in times)
        return "\n".join(["time_utc,import_price_per_kwh,export_price_per_kwh", *lines]) + "\n"

    files.edit(("[tariff.fixed]\nimport_per_kwh = 0.30\nexport_per_kwh = 0.08", '[tariff]\nfile = "prices.csv"'))
    assert "prices.csv: the tariff file cannot be read" in wrong(files, "tariff")
    (files.folder / "prices.csv").write_text(rows(20))
    assert "Add rows for that time, or use a fixed or time_of_use tariff." in wrong(files, "tariff")
    (files.folder / "prices.csv").write_text(rows(26))
    assert wrong(files) == ""


def test_wrong_profile_is_found_and_the_other_device_still_looked_at(files: Files) -> None:
    files.edit(('"sunspec_hybrid"', '"sunspec_hybird"'))
    findings = check(files)
    assert findings["inverter"].text.endswith("there is no profile 'sunspec_hybird'; did you mean 'sunspec_hybrid'?")
    assert findings["meter"].text.startswith("no answer from ")


def test_another_device_than_the_profile_says_is_found(files: Files) -> None:
    files.edit(('"eastron_sdm630"', '"sunspec_pv"'))

    async def scenario() -> list[Finding]:
        plant = devices(files)
        await plant.start()
        findings = await check_home(files.config)
        await plant.stop()
        return findings

    findings = {finding.subject: finding for finding in asyncio.run(scenario())}
    assert findings["inverter"].ok
    assert not findings["meter"].ok
    assert f"unit 1 at tcp://127.0.0.1:{files.meter_port}" in findings["meter"].text
    assert "exactly one device must measure grid_w, but no device does" in findings["home"].text


def test_meter_that_is_the_wrong_way_round_is_found(files: Files) -> None:
    profile = (profiles_folder() / "eastron_sdm630.yaml").read_text()
    (files.folder / "turned.yaml").write_text(
        profile.replace("sign: import", "sign: export").replace("profile: eastron_sdm630", "profile: turned")
    )
    files.edit(('"eastron_sdm630"', '"turned.yaml"'))

    async def scenario() -> list[Finding]:
        plant = devices(files, at=NOON - timedelta(hours=10), soc_pct=0.0)
        await plant.start()
        findings = await check_home(files.config)
        await plant.stop()
        return findings

    findings = {finding.subject: finding for finding in asyncio.run(scenario())}
    assert findings["meter"].text.startswith("exporting ")
    assert not findings["home"].ok
    assert findings["home"].text.startswith("it would use less than nothing (grid -")
    assert "turn the meter round or its sign" in findings["home"].text


def test_broker_section_that_would_not_let_the_home_in_is_found(files: Files) -> None:
    url = f'url = "mqtt://127.0.0.1:{files.broker_port}"'
    files.edit((url, 'url = "mqtt://127.0.0.1:1"'))
    assert "but mqtt.own.url says mqtt://127.0.0.1:1: write the same port in both" in wrong(files, "own broker")
    files.edit(('url = "mqtt://127.0.0.1:1"', url), ('username = "owner"', 'username = "me"'))
    said = "mqtt.own.username is 'me', but broker.users lets in owner: add it there"
    assert wrong(files, "own broker") == said
    files.edit(('username = "me"', 'username = "owner"'))
    text = files.config.read_text()
    files.config.write_text(text.replace('password_file = "owner.password"', 'password = "x"', 1))
    assert "two passwords for 'owner': use one password_file in both" in wrong(files, "own broker")
    files.config.write_text(text)
    (files.folder / "owner.password").unlink()
    assert "owner.password cannot be read" in wrong(files, "own broker")


def test_foreign_broker_on_the_own_port_is_found(files: Files) -> None:
    async def scenario() -> list[Finding]:
        async with broker(files, password="of somebody else"):
            return await check_home(files.config)

    findings = {finding.subject: finding for finding in asyncio.run(scenario())}
    assert findings["own broker"].text.startswith("another broker than the one of [broker] answers at mqtt://")


def test_neighbours_missing_away_or_refusing_are_found_each_by_name(files: Files) -> None:
    (port,) = free_ports(1)
    (other,) = neighbours(files, port=port)
    assert "'home-2' is missing; ask that home for its broker's password" in wrong(files, "neighbours")
    peer(files)
    said = f"mqtt://127.0.0.1:{port}: connection refused (nothing listens there): ask home-2 whether it runs"
    assert wrong(files, "home-2's broker").startswith(said)
    me, community = (
        Identity.load(files.folder / "key.pem").id,
        load_charter(files.folder / "charter.json", NOON).community_id,
    )
    right = (f"cw/1/{community}/{other.id}/pub", f"cw/1/{community}/{other.id}/to/{me}")

    def at_home_2(password: str, subscribe: tuple[str, ...]) -> Finding:
        async def scenario() -> list[Finding]:
            user = BrokerUser(name=me, password=password, subscribe=subscribe)
            async with EmbeddedBroker("127.0.0.1", port, (user,)):
                return await check_home(files.config)

        return {finding.subject: finding for finding in asyncio.run(scenario())}["home-2's broker"]

    assert "(wrong user name or password): correct username and password in mqtt.peers of home-2" in (
        at_home_2("another", right).text
    )
    assert "ask home-2 to allow it in its broker's users" in at_home_2("theirs", right[:1]).text
    assert at_home_2("theirs", right).ok


def test_control_without_anything_to_control_is_found(files: Files) -> None:
    files.edit(("enabled = false", "enabled = true"))
    commission(files)
    bound = "the inverter is on its own within 60 s, after 83 Wh at most"
    assert check(files)["control"].text.endswith(bound), "5 kW for a minute"
    brakes = FileBrakes(files.folder / "data")
    brakes.stop("its owner")
    assert check(files)["control"].text.startswith("observe only: control was stopped by its owner")
    brakes.resume()
    brakes.give_up("the battery shows 0 W where 500 W was commanded")
    assert wrong(files, "control").startswith("control was given up: the battery shows 0 W")
    brakes.resume()
    text = files.config.read_text()
    begin, end = text.index("[battery]"), text.index("# A new home observes")
    files.config.write_text(text[:begin] + text[end:])
    assert wrong(files, "control").startswith("control is enabled without a battery")
    files.config.write_text(text.replace('"sunspec_hybrid"', '"sunspec_pv"'))
    assert wrong(files, "control").startswith("[battery] is there, but no device reads one")


def test_check_ends_soon_when_nobody_ever_answers(files: Files) -> None:
    """Hosts that take a connection and stay silent are the slowest; here all of them do."""
    neighbours(files, 3)
    urls = [(files.inverter_port, "inverter"), (files.meter_port, "meter"), (files.broker_port, "broker")]
    for number in (2, 3, 4):
        url = f"mqtt://127.0.0.1:{files.broker_port}"
        section = f'[[mqtt.peers]]\nmember = "home-{number}"\nurl = "{url}"\npassword = "x"\n'
        files.config.write_text(files.config.read_text() + section)
    silent = [socket.create_server(("127.0.0.1", port)) for port, _ in urls]
    try:
        began = time.monotonic()
        findings = check(files)
        took_s = time.monotonic() - began
    finally:
        for each in silent:
            each.close()
    assert took_s < 10
    away = DEVICES_AWAY | {"own broker"} | {f"home-{number}'s broker" for number in (2, 3, 4)}
    assert away == {finding.subject for finding in findings.values() if not finding.ok}
    assert "where something else is (no answer): stop that" in findings["own broker"].text
    assert "no answer: ask home-2 whether it runs" in findings["home-2's broker"].text
