"""Mosquitto as our child: its files tell nobody anything, and it never outlives us."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mqtt_helpers import PUB, broker, owner_link, station, until, users

from coordinator.broker import BrokerSettings, EmbeddedBroker
from coordinator.broker_settings import PACKET_MAX_BYTES
from coordinator.errors import ConfigError
from coordinator.mosquitto import MosquittoBroker, find_mosquitto, open_broker, run_broker

pytestmark = pytest.mark.usefixtures("release")

CONFIG = """
kind = "mosquitto"
port = 0
[[users]]
name = "owner"
password = "owner-pw"
publish = ["#"]
subscribe = ["#"]
"""

PROGRAM = """
import asyncio, sys
from pathlib import Path
from coordinator.broker_settings import BrokerSettings
from coordinator.mosquitto import run_broker
from coordinator.toml_file import read_toml
asyncio.run(run_broker(read_toml(Path(sys.argv[1]), BrokerSettings), lambda b: print(b.port, b.pid, flush=True)))
"""


def serves(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def broker_process(config: Path):
    """Run a broker as a process of its own; yields the process, the port and Mosquitto's pid."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(config)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        port, pid = map(int, process.stdout.readline().split())
        try:
            yield process, port, pid
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_mosquitto_ends_when_its_parent_does_however_that_happens(how: signal.Signals, tmp_path: Path) -> None:
    config = tmp_path / "broker.toml"
    config.write_text(CONFIG)
    with broker_process(config) as (process, port, pid):
        assert serves(port)
        process.send_signal(how)
        assert process.wait(10) == (0 if how != signal.SIGKILL else -how)
        asyncio.run(until(lambda: not serves(port), 5))
        asyncio.run(until(lambda: not Path(f"/proc/{pid}").exists(), 5))


def test_a_broker_process_that_was_killed_starts_again_on_its_port(tmp_path: Path) -> None:
    config = tmp_path / "broker.toml"
    config.write_text(CONFIG)
    with broker_process(config) as (process, port, _):
        process.kill()
        config.write_text(CONFIG.replace("port = 0", f"port = {port}"))
        with broker_process(config) as (_, again, _):
            assert again == port


def test_run_broker_starts_a_mosquitto_that_died_again() -> None:
    async def run() -> None:
        settings = BrokerSettings.model_validate(
            {"kind": "mosquitto", "port": 0, "users": [{"name": "owner", "password": "owner-pw", "publish": ["#"]}]}
        )
        ready = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(run_broker(settings, ready.set_result))
        served = await ready
        async with station(owner_link(served.url)) as own:
            first = served.pid
            os.kill(first, signal.SIGKILL)
            await until(lambda: served.pid not in (None, first))
            await until(lambda: own.up)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(run())


def test_passwords_are_hashed_in_files_that_only_mosquitto_reads_and_that_are_gone_once_it_has(monkeypatch) -> None:
    remove, texts, modes = shutil.rmtree, {}, set()

    def look_and_remove(folder: Path, **options: bool) -> None:
        modes.add(("folder", stat.S_IMODE(folder.stat().st_mode)))
        for path in folder.iterdir():
            modes.add(("file", stat.S_IMODE(path.stat().st_mode)))
            texts[path.name] = path.read_text()
        remove(folder, **options)
        assert not folder.exists()

    monkeypatch.setattr("coordinator.mosquitto.shutil.rmtree", look_and_remove)
    home = broker("mosquitto")
    assert isinstance(home, MosquittoBroker)
    home.start()
    try:
        assert modes == {("folder", 0o700), ("file", 0o600)}
        assert set(texts) == {"passwords", "rules", "mosquitto.conf"}
        assert not any("owner-pw" in text for text in texts.values())
        first, second = (line.split("$") for line in texts["passwords"].splitlines()[:2])
        assert first[0] == "owner:"
        assert first[3] != second[3]  # each its own salt
        assert b"owner-pw" not in Path(f"/proc/{home.pid}/cmdline").read_bytes()
    finally:
        home.stop()


def test_mosquitto_never_runs_as_root() -> None:
    home = broker("mosquitto")
    assert isinstance(home, MosquittoBroker)
    home.start()
    try:
        uid = Path(f"/proc/{home.pid}").stat().st_uid
        assert uid != 0
        assert uid == (pwd.getpwnam("mosquitto").pw_uid if os.geteuid() == 0 else os.geteuid())
    finally:
        home.stop()


def test_retained_messages_survive_a_restart_when_there_is_a_place_for_them() -> None:
    async def run(data_dir: Path) -> None:
        home = open_broker("mosquitto", users=users(), data_dir=data_dir)
        async with home, station(owner_link(home.url, subscribe=("x/#",))) as own:
            own.transport.publish("x/state", b"kept", retain=True)
            await until(lambda: own.received)
            await asyncio.to_thread(home.stop)
            await asyncio.to_thread(home.start)
            await until(lambda: own.payloads == [b"kept", b"kept"])

    data_dir = Path("/tmp") / f"commonwatt-test-{os.getpid()}"
    data_dir.mkdir(mode=0o755)
    try:
        asyncio.run(run(data_dir))
    finally:
        subprocess.run(["rm", "-r", str(data_dir)], check=True)


def test_a_data_dir_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"data_dir .*/file/mosquitto: .*choose a folder"):
        open_broker("mosquitto", users=users(), data_dir=tmp_path / "file").start()


def test_a_packet_over_the_limit_is_refused_by_mosquitto_too() -> None:
    async def run() -> None:
        async with broker("mosquitto") as home, station(owner_link(home.url, subscribe=("x/#",))) as own:
            client = own.transport._links[0]._client
            assert client is not None
            own.transport.publish("x/fits", bytes(256 * 1024))
            await until(lambda: len(own.received) == 1)
            client.publish("x/big", bytes(PACKET_MAX_BYTES + 1), qos=0)
            await until(lambda: len(own.texts) == 3)
            assert own.texts[1:] == [
                "link to own's broker is down: connection lost; trying again",
                "link to own's broker is back",
            ]

    asyncio.run(run())


def test_auto_takes_mosquitto_where_it_is_installed_and_the_embedded_broker_elsewhere(monkeypatch) -> None:
    assert isinstance(open_broker("auto"), MosquittoBroker)
    monkeypatch.setenv("PATH", "/usr/bin")
    assert find_mosquitto() == Path("/usr/sbin/mosquitto")
    monkeypatch.setattr("coordinator.mosquitto.find_mosquitto", lambda: None)
    assert isinstance(open_broker("auto"), EmbeddedBroker)
    with pytest.raises(ConfigError, match="apt install mosquitto"):
        open_broker("mosquitto").start()


def test_twenty_mosquittos_start_in_seconds_and_all_stop() -> None:
    async def run() -> None:
        homes = [broker("mosquitto") for _ in range(20)]
        started_at = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(home.start) for home in homes))
        took_s = time.monotonic() - started_at
        links = [owner_link(home.url, f"h{index}") for index, home in enumerate(homes)]
        async with station(*links) as own:
            assert own.transport.publish(PUB, b"x") == 20
        await asyncio.gather(*(asyncio.to_thread(home.stop) for home in homes))
        assert not any(home.alive for home in homes)
        assert took_s < 10

    asyncio.run(run())
