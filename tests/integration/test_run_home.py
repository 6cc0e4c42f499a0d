"""One real home: what `run` says when a part is away and that it goes on by itself, what `check` finds, what `init`
writes. Real Modbus and MQTT sockets throughout."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from running_home import WRITES, Files, broker, commission, count_requests, devices, first_home, running, until

import agent.runtime
from agent.checks import Finding, check_home
from agent.config import load_config
from agent.guard_state import FileBrakes
from coordinator.broker import Broker
from coordinator.mosquitto import open_broker


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return first_home(tmp_path)


async def check(files: Files) -> dict[str, Finding]:
    findings = {finding.subject: finding for finding in await check_home(files.config)}
    assert {"settings", "membership", "data", "tariff", "inverter", "meter", "home", "own broker"} < findings.keys()
    return findings


def wrong(findings: dict[str, Finding]) -> dict[str, str]:
    return {finding.subject: finding.text for finding in findings.values() if not finding.ok}


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scenario())


def retained_state(port: int, password: str) -> str:
    """Return the home's state as a stranger with the owner's password reads it."""
    got: list[str] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("owner", password)
    client.on_message = lambda _client, _data, message: got.append(message.payload.decode())
    client.connect("127.0.0.1", port)
    client.subscribe("commonwatt/home-1/state", 1)
    try:
        for _ in range(100):
            client.loop(0.1)
            if got:
                return got[0]
    finally:
        client.disconnect()
    raise AssertionError("nothing was retained")


def test_device_away_at_start_is_told_once_and_read_when_it_comes(files: Files) -> None:
    async def scenario() -> None:
        plant = devices(files)
        async with broker(files), running(files) as home:
            await until(lambda: len(home.about("meter: ")) and len(home.about("inverter: ")))
            found = wrong(await check(files))
            assert found.keys() == {"inverter", "meter", "home"}
            assert found["meter"].startswith(f"no answer from tcp://127.0.0.1:{files.meter_port}: switch it on")
            await plant.start()
            try:
                await until(lambda: home.about("all devices answer: using "))
                assert wrong(await check(files)) == {}
            finally:
                await plant.stop()
        for name, port in (("meter", files.meter_port), ("inverter", files.inverter_port)):
            away, back = home.about(f"{name}: ")
            assert away.startswith(f"{name}: no answer from tcp://127.0.0.1:{port} since ")
            assert back == f"{name}: back"

    run(scenario)


def test_device_that_dies_is_told_once_and_read_again_when_it_returns(files: Files) -> None:
    async def scenario() -> None:
        plant = devices(files)
        await plant.start()
        async with broker(files), running(files) as home:
            await until(lambda: home.quality == "valid")
            assert home.about("meter: ") == []
            await plant.stop()
            await until(lambda: len(home.about("meter: ")) and len(home.about("inverter: ")))
            await asyncio.sleep(2)
            assert [len(home.about(f"{name}: ")) for name in ("meter", "inverter")] == [1, 1]
            await plant.start()
            await until(lambda: len(home.about(": back")) == 2)
            await until(lambda: home.quality == "valid")
            await plant.stop()
        away, back = home.about("meter: ")
        assert away.startswith(f"meter: no answer from tcp://127.0.0.1:{files.meter_port} since ")
        assert back == "meter: back"

    run(scenario)


def test_wrong_unit_id_is_told_once_and_cured_by_the_device_alone(files: Files) -> None:
    async def scenario() -> None:
        files.edit(
            (
                f'url = "tcp://127.0.0.1:{files.meter_port}"\nunit = 1',
                f'url = "tcp://127.0.0.1:{files.meter_port}"\nunit = 9',
            )
        )
        plant = devices(files)
        await plant.start()
        said = f"device at tcp://127.0.0.1:{files.meter_port} answered nothing for unit 9: is the unit id right?"
        async with broker(files), running(files) as home:
            await until(lambda: home.about("meter: "))
            assert wrong(await check(files))["meter"] == said
            await asyncio.sleep(3)
            assert len(home.about("meter: ")) == 1
            await plant.stop()
            plant = devices(files, meter_unit=9)
            await plant.start()
            await until(lambda: home.about("meter: back"))
            await until(lambda: home.quality == "valid")
            assert wrong(await check(files)) == {}
            await plant.stop()
        assert home.about("meter: ")[0].startswith(f"meter: {said} since ")
        assert home.about("inverter: device") == []

    run(scenario)


def test_broker_away_stops_no_reading_and_gets_the_state_when_it_returns(files: Files) -> None:
    async def scenario() -> None:
        plant, own = devices(files), broker(files)
        await plant.start()
        async with running(files) as home:
            await until(lambda: home.about("broker is down"))
            found = wrong(await check(files))
            assert found.keys() == {"own broker"}
            assert "connection refused (nothing listens there): start it" in found["own broker"]
            seen = home.polls
            await until(lambda: home.polls != seen and home.quality == "valid")
            async with own:
                await until(lambda: home.about("broker is back"))
                assert '"home":"home-1"' in await asyncio.to_thread(retained_state, files.broker_port, files.password)
            await until(lambda: len(home.about("broker is down")) == 2)
            async with own:
                await until(lambda: len(home.about("broker is back")) == 2)
                assert '"home":"home-1"' in await asyncio.to_thread(retained_state, files.broker_port, files.password)
            await until(lambda: len(home.about("broker is down")) == 3)
        await plant.stop()
        down, back = "link to home-1's broker is down", "link to home-1's broker is back"
        assert [text.partition(":")[0] for text in home.about("broker")] == [down, back] * 2 + [down]

    run(scenario)


def test_wrong_broker_password_is_told_once_and_cured_by_the_broker_alone(files: Files) -> None:
    async def scenario() -> None:
        plant = devices(files)
        await plant.start()
        refused = f"mqtt://127.0.0.1:{files.broker_port} refused user 'owner'"
        async with running(files) as home:
            async with broker(files, password="another"):
                await until(lambda: home.about("refused user"))
                found = wrong(await check(files))
                assert found.keys() == {"own broker"}
                assert found["own broker"].startswith(f"{refused} (wrong user name or password): correct username")
                await asyncio.sleep(2)
            async with broker(files):
                await until(lambda: home.about("broker is back"))
                assert wrong(await check(files)) == {}
        await plant.stop()
        assert home.about("refused user") == [f"broker {refused}: wrong user name or password; trying again"]

    run(scenario)


def test_corrected_password_file_is_enough_to_recover(files: Files) -> None:
    async def scenario() -> None:
        password = files.password
        own = broker(files)
        (files.folder / "owner.password").write_text("mistyped\n")
        async with own, running(files) as home:
            await until(lambda: home.about("refused user"))
            (files.folder / "owner.password").write_text(password + "\n")
            await until(lambda: home.about("broker is back"))

    run(scenario)


def test_own_broker_that_ends_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = first_home(tmp_path, own_broker=True)
    files.edit(('kind = "auto"', 'kind = "embedded"'))
    opened: list[Broker] = []

    def noted(*args, **kwargs) -> Broker:
        opened.append(open_broker(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(agent.runtime, "open_broker", noted)

    async def scenario() -> None:
        assert (await check(files))["own broker"].text.endswith("`run` starts it")
        async with running(files) as home:
            await until(lambda: home.about("broker is up"))
            found = (await check(files))["own broker"]
            assert found.ok
            assert "is let in" in found.text
            await asyncio.to_thread(opened[0].stop)
            await until(lambda: home.about("own broker serves again"))
            await until(lambda: home.about("broker is back"))
        assert not opened[0].alive
        assert len(home.about("ended; starting it again")) == 1

    run(scenario)


@pytest.mark.parametrize(("enabled", "commissioned"), [(False, False), (True, False), (False, True), (True, True)])
def test_s1_nothing_is_ever_written_to_a_device_before_control_is_enabled_and_commissioned(
    files: Files, monkeypatch: pytest.MonkeyPatch, enabled: bool, commissioned: bool
) -> None:
    codes = count_requests(monkeypatch)
    files.edit(("enabled = false", f"enabled = {str(enabled).lower()}"))
    if commissioned:
        commission(files)

    async def scenario() -> str:
        plant = devices(files)
        await plant.start()
        found = await check(files)
        assert codes, "it did look"
        assert not set(codes) & set(WRITES), "check writes nothing, whatever is allowed"
        async with broker(files), running(files) as home:
            await until(lambda: home.quality == "valid")
            await asyncio.sleep(1.5)
            assert home.agent.home.commands_battery is (enabled and commissioned), "plans count on it, or do not"
        await plant.stop()
        return found["control"].text

    text = asyncio.run(scenario())
    allowed = enabled and commissioned
    assert bool(set(codes) & set(WRITES)) is allowed
    assert text.startswith("commands the battery of inverter" if allowed else "observe only: ")


def test_plans_count_on_the_battery_from_the_commissioning_to_a_stop_and_again_after_it(files: Files) -> None:
    files.edit(("enabled = false", "enabled = true"))
    brakes = FileBrakes(load_config(files.config).home.data_dir)

    async def scenario() -> None:
        plant = devices(files)
        await plant.start()
        async with broker(files), running(files) as home:
            trader = home.agent.home
            await until(lambda: home.quality == "valid")
            await asyncio.sleep(1)
            assert not trader.commands_battery, "not commissioned"
            commission(files)
            await until(lambda: trader.commands_battery)
            brakes.stop("its owner")
            await until(lambda: not trader.commands_battery)
            brakes.resume()
            await until(lambda: trader.commands_battery)
        await plant.stop()

    run(scenario)


def test_the_log_has_no_line_per_poll_and_one_for_many_setpoints_of_one_reason(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    codes = count_requests(monkeypatch)
    caplog.set_level(logging.INFO)
    files.edit(
        ("enabled = false", "enabled = true"),
        ("#min_write_s = 5.0", "min_write_s = 0.1"),
        ("#deadband_w = 50.0", "deadband_w = 0.0"),
        ("#ramp_pct_per_s = 10.0", "ramp_pct_per_s = 1000.0"),
        ("#jitter_s = 60.0", "jitter_s = 0.0"),
    )
    commission(files)
    # Just before a slot begins: the battery is commanded only in a slot whose start was seen.
    anchor = datetime.now(UTC)
    clock = f'[clock]\nstart_at = 2024-06-12T10:14:58Z\nanchor_at = "{anchor.isoformat()}"\nspeed = 1.0\n'
    files.config.write_text(files.config.read_text() + clock)

    async def scenario() -> None:
        plant = devices(files)
        await plant.start()
        async with broker(files), running(files) as home:
            await until(lambda: home.quality == "valid")
            await until(lambda: sum(code in WRITES for code in codes) > 60, within_s=30)
        await plant.stop()

    run(scenario)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith(("agent", "coordinator"))]
    setpoints = [line for line in lines if " W, " in line and line.startswith("inverter: ")]
    assert 1 <= len(setpoints) <= 2, "the first one, and perhaps that the battery stops"
    assert len(lines) <= 8, lines
    assert len(lines) == len(set(lines)), "no line twice"
