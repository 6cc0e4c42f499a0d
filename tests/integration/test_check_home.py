"""`check`: each thing that can be wrong with a home is found, with cause and cure; the rest is still looked at."""

import asyncio
import json
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from running_home import NOON, Files, broker, commission, devices, first_home, free_ports, narrow_hybrid

from agent.checks import Finding, check_home
from agent.config import load_config
from agent.devices.commissioning import read_signed, record_path, write_record
from agent.devices.profile import profiles_folder
from agent.first_files import write_first_files
from agent.guard_link import is_served
from agent.guard_process import GuardProcess
from agent.guard_server import socket_path
from agent.guard_state import FileBrakes
from agent.simulator.server import ModbusServer
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


@pytest.mark.parametrize(("taken", "given"), [("30", "0.08"), ("30", "8"), ("30", "0")])
def test_prices_in_cents_are_found(files: Files, taken: str, given: str) -> None:
    files.edit(
        ("import_per_kwh = 0.30", f"import_per_kwh = {taken}"), ("export_per_kwh = 0.08", f"export_per_kwh = {given}")
    )
    assert wrong(files, "tariff").endswith("are these cents? Write every price in EUR, as 0.30")


def test_a_dear_grid_that_pays_little_is_well(files: Files) -> None:
    files.edit(("import_per_kwh = 0.30", "import_per_kwh = 0.45"), ("export_per_kwh = 0.08", "export_per_kwh = 0.01"))
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


def test_each_port_of_the_own_broker_that_is_taken_is_found_by_its_number(files: Files) -> None:
    assert check(files)["own broker"].ok
    with socket.create_server(("127.0.0.1", files.tls_port)):
        said = wrong(files, "own broker")
    assert said.startswith(
        f"no broker can be started at 127.0.0.1:{files.tls_port} (Address already in use): stop what"
    )
    assert said.endswith("broker.tls.host or broker.tls.port")


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


def test_the_bound_is_what_the_device_was_seen_to_take_when_that_is_longer_than_its_timer(files: Files) -> None:
    files.edit(("enabled = false", "enabled = true"), ("#reversion_s = 60", "reversion_s = 30"))
    commission(files)
    assert "within 30 s, after 42 Wh at most" in check(files)["control"].text
    config = load_config(files.config)
    path, identity = record_path(config.home.data_dir, "inverter"), Identity.load(config.community.key_file)
    record = read_signed(path, identity.public_key)
    write_record(path, record.model_copy(update={"reversion_s": 80}), identity)
    assert "within 80 s, after 111 Wh at most" in check(files)["control"].text


def test_a_device_that_bears_less_than_its_owner_allows_is_named_and_bounds_the_worst(files: Files) -> None:
    files.edit(("enabled = false", "enabled = true"), ("discharge_kw = 5.0", "discharge_kw = 7.0"))
    commission(files)
    files.edit(('profile = "sunspec_hybrid"', f'profile = "{narrow_hybrid(files.folder, 4000)}"'))
    said = check(files)["control"].text
    assert (
        "charging up to 4 kW and 95 %, giving up to 4 kW and down to 20 % (by its profile the device bears less" in said
    )
    assert "charging with 4 kW, not 5; giving 4 kW, not 7); when" in said
    assert "after 67 Wh at most" in said


def test_limits_that_leave_the_device_no_room_are_found_before_anything_runs(files: Files) -> None:
    files.edit(('profile = "sunspec_hybrid"', f'profile = "{narrow_hybrid(files.folder, 4000, (30, 100))}"'))
    files.edit(("#reserve_pct = 20.0", "reserve_pct = 5.0"), ("#max_pct = 95.0", "max_pct = 25.0"))
    assert "the profile of its device to 30 to 100 %: correct reserve_pct and max_pct" in wrong(files, "control")


def test_a_fuse_that_nobody_can_watch_is_found(files: Files) -> None:
    files.edit(("#fuse_a = 25.0", "fuse_a = 25.0"))
    assert "fuse" not in check(files), "the meter of the first home shows its phases"
    files.edit(('profile = "eastron_sdm630"', 'profile = "eastron_sdm72d"'))
    assert "home.fuse_a needs a meter that shows power and voltage of its phases" in check(files)["fuse"].text


def test_where_a_guard_runs_it_is_asked_and_its_devices_see_no_second_connection(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.edit(("enabled = false", "enabled = true"))
    files.without_own_broker()
    commission(files)
    connections = []
    accept = ModbusServer._accept

    async def counted(server: ModbusServer, *streams: Any) -> None:
        connections.append(server.port)
        await accept(server, *streams)

    monkeypatch.setattr(ModbusServer, "_accept", counted)
    config = load_config(files.config)

    async def scenario() -> tuple[list[Finding], list[Finding]]:
        plant = devices(files)
        await plant.start()
        guard = asyncio.create_task(GuardProcess(config).run())
        async with broker(files):
            while not await is_served(socket_path(config.home.data_dir)):
                await asyncio.sleep(0.05)
            well = await check_home(files.config)
            await plant.stop()
            await asyncio.sleep(1.0)
            away = await check_home(files.config)
        guard.cancel()
        await asyncio.gather(guard, return_exceptions=True)
        return well, away

    well, away = asyncio.run(scenario())
    assert sorted(connections) == sorted([files.inverter_port, files.meter_port]), "the guard's own"
    assert [finding for finding in well if not finding.ok] == []
    said = {finding.subject: finding.text for finding in well}
    assert said["guard"].startswith("it runs, and was asked in place of the devices it reads; it says: ")
    assert "battery 50 % of 10.0 kWh" in said["inverter"]
    assert said["home"].startswith("using ")
    wrong_now = {finding.subject: finding.text for finding in away if not finding.ok}
    assert wrong_now["inverter"].startswith("the guard cannot read it: ")


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
