"""The files for a Raspberry Pi do what their README says, on the real programs."""

import queue
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

FILES = Path(__file__).parents[2] / "firmware-config/raspberry-pi"
SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Run Mosquitto with the shipped files, only their paths and the port changed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    passwords = tmp_path / "passwd"
    for number, user in enumerate(("owner", "neighbour", "stranger")):
        create = ["-c"] if number == 0 else []
        command = [str(shutil.which("mosquitto_passwd", path=SBIN)), "-b", *create, str(passwords), user, f"pw-{user}"]
        subprocess.run(command, check=True, capture_output=True)
    rules = tmp_path / "acl"
    shutil.copy(FILES / "mosquitto.acl", rules)
    settings = (FILES / "mosquitto.conf").read_text()
    for shipped, ours in (
        ("listener 1883", f"listener {free} 127.0.0.1"),
        ("/etc/mosquitto/commonwatt.passwd", str(passwords)),
        ("/etc/mosquitto/commonwatt.acl", str(rules)),
    ):
        assert shipped in settings
        settings = settings.replace(shipped, ours)
    # Started by root, Mosquitto would become a user that may not read a test's folder.
    (tmp_path / "mosquitto.conf").write_text(f"{settings}user root\n")
    command = [str(shutil.which("mosquitto", path=SBIN)), "-c", str(tmp_path / "mosquitto.conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as broker:
        try:
            wait_for(free, broker)
            yield free
        finally:
            broker.terminate()


def wait_for(port: int, broker: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        assert broker.poll() is None, "mosquitto refused the shipped settings"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("mosquitto did not open its port")


@contextmanager
def connected(
    port: int, user: str, password: str
) -> Iterator[tuple[mqtt.Client, "queue.Queue[str]", "queue.Queue[int]"]]:
    """Yield a client, the topics it receives, and the codes of its connection attempts (0 = accepted)."""
    topics: queue.Queue[str] = queue.Queue()
    codes: queue.Queue[int] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(user, password)
    client.on_message = lambda _client, _data, message: topics.put(message.topic)
    client.on_connect = lambda _client, _data, _flags, code, _properties: codes.put(code.value)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield client, topics, codes
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.mosquitto
def test_neighbour_reads_only_what_is_meant_for_it(port: int) -> None:
    with (
        connected(port, "owner", "pw-owner") as (owner, _, _),
        connected(port, "neighbour", "pw-neighbour") as (neighbour, heard, codes),
    ):
        assert codes.get(timeout=5) == 0
        subscribed: queue.Queue[int] = queue.Queue()
        neighbour.on_subscribe = lambda _client, _data, mid, _codes, _properties: subscribed.put(mid)
        neighbour.subscribe("#", qos=1)
        subscribed.get(timeout=5)
        for topic in (
            "commonwatt/home/state",
            "cw/1/c/home/to/stranger",
            "cw/1/c/home/to/neighbour",
            "cw/1/c/home/pub",
        ):
            owner.publish(topic, b"x", qos=1).wait_for_publish(timeout=5)
        assert {heard.get(timeout=5), heard.get(timeout=5)} == {"cw/1/c/home/to/neighbour", "cw/1/c/home/pub"}
        assert heard.empty()


@pytest.mark.mosquitto
def test_neighbour_cannot_write_on_this_homes_broker(port: int) -> None:
    with (
        connected(port, "owner", "pw-owner") as (owner, heard, codes),
        connected(port, "neighbour", "pw-neighbour") as (neighbour, _, neighbour_codes),
    ):
        assert codes.get(timeout=5) == neighbour_codes.get(timeout=5) == 0
        subscribed: queue.Queue[int] = queue.Queue()
        owner.on_subscribe = lambda _client, _data, mid, _codes, _properties: subscribed.put(mid)
        owner.subscribe("#", qos=1)
        subscribed.get(timeout=5)
        neighbour.publish("cw/1/c/home/pub", b"forged", qos=1).wait_for_publish(timeout=5)
        owner.publish("cw/1/c/home/pub/after", b"x", qos=1).wait_for_publish(timeout=5)
        assert heard.get(timeout=5) == "cw/1/c/home/pub/after"


@pytest.mark.mosquitto
def test_nobody_comes_in_with_a_wrong_password(port: int) -> None:
    with connected(port, "owner", "owner") as (_, _, codes):
        assert codes.get(timeout=5) != 0
