"""What both kinds of broker promise to a home: its people read, its owner writes, and a silent client is missed."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest
from mqtt_helpers import (
    BROKER_KINDS,
    COMMUNITY,
    HOME,
    OTHER,
    PEER,
    PUB,
    TO_OTHER,
    TO_PEER,
    broker,
    owner_link,
    peer_link,
    raw_client,
    station,
    until,
)

from coordinator.broker import BrokerSettings, EmbeddedBroker
from coordinator.errors import ConfigError
from coordinator.links import LinkSettings
from coordinator.mosquitto import run_broker

pytestmark = pytest.mark.parametrize("kind", BROKER_KINDS)


def test_a_peer_reads_what_is_for_all_and_for_it_and_nothing_else(kind: str) -> None:
    async def run() -> None:
        everything = (f"cw/1/{COMMUNITY}/{HOME}/#", "commonwatt/#")
        async with (
            broker(kind) as home,
            station(owner_link(home.url)) as own,
            station(peer_link(home.url)) as peer,
            station(peer_link(home.url, subscribe=everything)) as curious,
            station(peer_link(home.url, subscribe=(PUB, TO_OTHER), who=OTHER)) as other,
        ):
            for topic in ("commonwatt/my-home/state", TO_PEER, TO_OTHER, PUB):
                own.transport.publish(topic, topic.encode())
                own.transport.publish(topic, topic.encode() + b" kept", retain=True)
            await until(lambda: len(peer.received) == 4 and len(other.received) == 4)
            await asyncio.sleep(0.2)
            assert {inbound.topic for inbound in peer.received} == {PUB, TO_PEER}
            assert {inbound.topic for inbound in other.received} == {PUB, TO_OTHER}
            assert {inbound.topic for inbound in curious.received} <= {PUB, TO_PEER}

    asyncio.run(run())


def test_a_peer_cannot_write_not_even_under_its_own_name(kind: str) -> None:
    async def run() -> None:
        async with (
            broker(kind) as home,
            station(owner_link(home.url, subscribe=("#",))) as own,
            station(peer_link(home.url, publish=True)) as peer,
        ):
            for topic in (PUB, TO_PEER, f"cw/1/{COMMUNITY}/{PEER}/pub", "commonwatt/my-home/state", "anything"):
                peer.transport.publish(topic, b"forged", retain=True)
            own.transport.publish(PUB, b"true")
            await until(lambda: own.payloads == [b"true"])
            await asyncio.sleep(0.3)
            assert own.payloads == [b"true"]

    asyncio.run(run())


def test_a_peer_cannot_write_by_its_will_either(kind: str) -> None:
    async def run() -> None:
        async with broker(kind) as home, station(owner_link(home.url, subscribe=("#",))) as own:
            for number, topic in enumerate((PUB, TO_PEER, "commonwatt/my-home/state", "homeassistant/sensor/x/config")):
                will = (topic, b"forged")
                login = {"user": PEER, "password": "peer-pw", "will": will, "will_retained": True}
                with contextlib.closing(raw_client(home.port, f"peer-{number}", **login)) as peer:
                    assert await asyncio.to_thread(peer.recv, 4) == b"\x20\x02\x00\x00"
            with contextlib.closing(raw_client(home.port, "own", "owner-pw", will=("true", b"gone"))) as other:
                assert await asyncio.to_thread(other.recv, 4) == b"\x20\x02\x00\x00"
            await until(lambda: b"gone" in own.payloads)
            await asyncio.sleep(0.3)
            assert own.payloads == [b"gone"]
            async with station(owner_link(home.url, name="late", subscribe=("#",))) as late:
                await asyncio.sleep(0.3)
                assert late.payloads == []

    asyncio.run(run())


def test_nobody_enters_without_name_or_with_an_empty_password(kind: str) -> None:
    async def run() -> None:
        async with broker(kind) as home:
            for name, password in (("owner", ""), ("owner", "owner-pw "), ("nobody", "owner-pw"), (PEER, "owner-pw")):
                link = LinkSettings(name="x", url=home.url, username=name, password=password, publish=True)
                async with station(link, wait=False) as stranger:
                    await until(lambda stranger=stranger: stranger.texts)
                    assert stranger.transport.links[0].kind == "refused"
            with socket.create_connection(("127.0.0.1", home.port), timeout=5) as anonymous:
                anonymous.sendall(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03abc")
                answer = await asyncio.to_thread(anonymous.recv, 4)
                assert answer[:1] == b"\x20"
                assert answer[3] in (4, 5)

    asyncio.run(run())


def test_the_will_of_a_client_whose_power_is_cut_is_sent(kind: str) -> None:
    async def run() -> None:
        async with broker(kind) as home, station(owner_link(home.url, subscribe=("wills/#",))) as own:
            started_at = time.monotonic()
            with contextlib.closing(raw_client(home.port, "mute", "owner-pw", 1, ("wills/mute", b"gone"))):
                await until(lambda: own.payloads == [b"gone"])
            assert 1.0 < time.monotonic() - started_at < 9.0

    asyncio.run(run())


def test_a_client_that_takes_over_a_client_id_ends_the_connection_before(kind: str) -> None:
    async def run() -> None:
        async with broker(kind) as home:
            with (
                contextlib.closing(raw_client(home.port, "same", "owner-pw")) as first,
                contextlib.closing(raw_client(home.port, "other", "owner-pw")) as other,
            ):
                assert await asyncio.to_thread(first.recv, 4) == b"\x20\x02\x00\x00"
                assert await asyncio.to_thread(other.recv, 4) == b"\x20\x02\x00\x00"
                with contextlib.closing(raw_client(home.port, "same", "owner-pw")) as second:
                    assert await asyncio.to_thread(second.recv, 4) == b"\x20\x02\x00\x00"
                    with contextlib.suppress(ConnectionResetError):
                        assert await asyncio.to_thread(first.recv, 4) == b""
                    second.sendall(b"\xc0\x00")
                    assert await asyncio.to_thread(second.recv, 2) == b"\xd0\x00"
                    other.sendall(b"\xc0\x00")
                    assert await asyncio.to_thread(other.recv, 2) == b"\xd0\x00"

    asyncio.run(run())


def test_a_taken_port_is_named_with_the_cure(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("coordinator.mosquitto._PORT_S", 0.5)
            with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*[Aa]ddress already in use") as caught:
                broker(kind, port).start()
    cure = "choose another port" if kind == "embedded" else f"stop what listens on port {port}, or choose another port"
    assert cure in str(caught.value)
    assert not [thread for thread in threading.enumerate() if "broker" in thread.name or "mosquitto" in thread.name]


def test_run_broker_says_where_it_serves_and_ends_cleanly_when_cancelled(kind: str) -> None:
    async def run() -> None:
        settings = BrokerSettings.model_validate(
            {"kind": kind, "port": 0, "users": [{"name": "owner", "password": "owner-pw", "subscribe": ["#"]}]}
        )
        ready = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(run_broker(settings, ready.set_result))
        served = await ready
        async with station(owner_link(served.url)):
            pass
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not served.alive
        assert isinstance(served, EmbeddedBroker) == (kind == "embedded")

    before = set(threading.enumerate())
    asyncio.run(run())
    assert set(threading.enumerate()) <= before
