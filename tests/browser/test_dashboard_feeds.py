"""The page's readers against a real broker that goes away and comes back."""

import asyncio
import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fake_homes
import pytest

from agent.dashboard.picture import Picture
from agent.dashboard.settings import DashboardSettings
from agent.dashboard.source import Feeds
from coordinator.broker import TlsListener, home_users
from coordinator.clock import WallClock
from coordinator.identity import Identity, encode_base64
from coordinator.mosquitto import open_broker

pytestmark = pytest.mark.mosquitto


@contextmanager
def mosquitto(port: int, folder: Path) -> Iterator[None]:
    binary = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    assert binary, "mosquitto is not installed"
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([binary, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(port))
        yield
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def until(true: Callable[[], bool], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def drained(feeds: Feeds, picture: Picture) -> Picture:
    feeds.drain(picture)
    return picture


def test_a_broker_that_goes_away_is_said_once_and_its_return_is_noticed_unasked(
    port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="agent.dashboard.source")
    name = fake_homes.NAMES[0]
    settings = DashboardSettings.model_validate({"sources": [{"home": name, "url": f"mqtt://127.0.0.1:{port}"}]})
    state = fake_homes.state(fake_homes.HOMES[0], fake_homes.START)
    with Feeds(settings, WallClock()) as feeds:
        picture = feeds.picture()
        with mosquitto(port, tmp_path):
            until(lambda: drained(feeds, picture).homes[name].link_up)
        until(lambda: not drained(feeds, picture).homes[name].link_up)
        with mosquitto(port, tmp_path):
            until(lambda: drained(feeds, picture).homes[name].link_up)
            client, publish = fake_homes.connect(port)
            fake_homes.send(publish, state)
            until(lambda: drained(feeds, picture).homes[name].state == state)
            client.disconnect()
            client.loop_stop()
            lost = [record for record in caplog.records if "connection lost" in record.message]
            assert len(lost) == 1


def test_a_bad_message_is_said_once_and_does_not_replace_a_good_one(
    port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = fake_homes.NAMES[0]
    settings = DashboardSettings.model_validate({"sources": [{"home": name, "url": f"mqtt://127.0.0.1:{port}"}]})
    state = fake_homes.state(fake_homes.HOMES[0], fake_homes.START)
    with mosquitto(port, tmp_path), Feeds(settings, WallClock()) as feeds:
        picture = feeds.picture()
        until(lambda: drained(feeds, picture).homes[name].link_up)
        client, publish = fake_homes.connect(port)
        fake_homes.send(publish, state)
        until(lambda: drained(feeds, picture).homes[name].state is not None)
        for _ in range(5):
            publish(f"commonwatt/{name}/state", b'{"home": 7}', False)
            time.sleep(0.1)
            feeds.drain(picture)
        client.disconnect()
        client.loop_stop()
    assert picture.homes[name].state == state
    assert [record.message for record in caplog.records if "ignored" in record.message] == [
        f"{name}/state ignored: home: Input should be a valid string"
    ]


def test_why_a_broker_is_not_heard_is_told_with_its_cure() -> None:
    """A refused password and a wrong pin are no broker that does not answer: their cures differ."""
    identity, other = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
    name = fake_homes.NAMES[0]

    async def told(url: str, password: str, pin: Identity | None = None) -> str:
        source = {"home": name, "url": url, "username": "owner", "password": password}
        source |= {"pin": encode_base64(pin.public_key)} if pin else {}
        settings = DashboardSettings.model_validate({"sources": [source]})
        with Feeds(settings, WallClock()) as feeds:
            picture = feeds.picture()
            before = picture.homes[name].link
            await asyncio.to_thread(until, lambda: drained(feeds, picture).homes[name].link != before)
        return picture.homes[name].link

    async def scenario() -> None:
        users = home_users("0" * 16, identity.id, "right", {})
        async with open_broker("mosquitto", users=users, tls=TlsListener(identity=identity)) as broker:
            assert broker.tls_url is not None
            assert await told(broker.url, "right") == ""
            assert await told(broker.url, "wrong") == (
                "its broker refuses this page: wrong user name or password; "
                "correct username and password in the page's settings"
            )
            assert await told(broker.tls_url, "right", identity) == ""
            assert (await told(broker.tls_url, "right", other)).endswith("pin in the page's settings is another home's")
            url = broker.url
        assert await told(url, "right") == "no connection to its broker: connection refused (nothing listens there)"

    asyncio.run(scenario())
