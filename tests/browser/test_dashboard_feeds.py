"""The page's readers against a real broker that goes away and comes back."""

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
from coordinator.clock import WallClock

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
