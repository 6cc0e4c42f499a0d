"""The cures of the embedded broker: each of these tests fails with amqtt's own behaviour."""

import asyncio
import builtins
import contextlib
import logging
import socket
import struct
import threading
import time

import paho.mqtt.client as paho
import pytest
from mqtt_helpers import (
    PEER,
    PUB,
    broker,
    mqtt_string,
    owner_link,
    packet,
    peer_link,
    raw_client,
    station,
    until,
    users,
)

from coordinator.amqtt_broker import CuredBroker
from coordinator.broker import EmbeddedBroker
from coordinator.broker_settings import PACKET_MAX_BYTES
from coordinator.errors import ConfigError
from coordinator.links import LinkOptions

ACCEPTED = b"\x20\x02\x00\x00"


def subscribe_packet(topic_filter: str) -> bytes:
    return packet(0x82, b"\x00\x01" + mqtt_string(topic_filter) + b"\x00")


def received(sock: socket.socket, silence_s: float = 0.3) -> bytes:
    """Return all bytes until the line is silent or closed."""
    sock.settimeout(silence_s)
    data = bytearray()
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while chunk := sock.recv(65_536):
            data += chunk
    return bytes(data)


def test_many_clients_connecting_at_once_to_many_retained_messages_all_stay_and_get_each_once() -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(owner_link(home.url, subscribe=("kept/#",))) as own:
            for number in range(100):
                own.transport.publish(f"kept/{number}", b"%d" % number, retain=True)
            await until(lambda: len(own.received) == 100)
            async with contextlib.AsyncExitStack() as stack:
                entering = [
                    stack.enter_async_context(station(owner_link(home.url, f"r{n}", ("kept/#", f"x/{n}")), wait=False))
                    for n in range(20)
                ]
                readers = [await each for each in entering]
                await until(lambda: all(len(reader.received) >= 100 for reader in readers), 20)
                await asyncio.sleep(0.3)
                for reader in readers:
                    assert sorted(map(int, reader.payloads)) == list(range(100))
                    assert [text for text in reader.texts if "is down" in text] == []

    asyncio.run(run())


def test_no_message_is_lost_while_other_clients_come_and_go(monkeypatch) -> None:
    check = CuredBroker._topic_filtering

    async def slow_check(self, session, topic, action) -> bool:
        await asyncio.sleep(0.001)  # amqtt's own checks are tasks, so others run in between
        return await check(self, session, topic, action)

    async def run() -> None:
        async with (
            broker("embedded") as home,
            station(owner_link(home.url)) as own,
            station(owner_link(home.url, "reader-1", ("x/#",))) as first,
            station(owner_link(home.url, "reader-2", ("x/+",))),
            station(owner_link(home.url, "reader-3", ("+/y",))),
            station(owner_link(home.url, "reader-4", ("x/y",))) as last,
        ):
            for number in range(10):
                with contextlib.closing(raw_client(home.port, f"guest-{number}", "owner-pw")) as guest:
                    for _ in range(10):
                        own.transport.publish("x/y", b"%d" % number)
                    guest.sendall(subscribe_packet(f"guest/{number}"))
                    await asyncio.to_thread(guest.recv, 64)
            await until(lambda: len(first.received) == len(last.received) == 100)

    monkeypatch.setattr(CuredBroker, "_topic_filtering", slow_check)
    asyncio.run(run())


def test_a_client_that_vanishes_amid_messages_leaves_no_noise(caplog) -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(owner_link(home.url, subscribe=("x/#",))) as own:
            for number in range(5):
                with contextlib.closing(raw_client(home.port, f"gone-{number}", "owner-pw")) as gone:
                    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, no goodbye
                    gone.sendall(subscribe_packet("x/#"))
                    await asyncio.to_thread(gone.recv, 64)
                    for _ in range(50):
                        own.transport.publish("x/y", b"z", qos=0)
            await until(lambda: len(own.received) == 250)

    asyncio.run(run())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_retained_message_reaches_no_client_that_did_not_subscribe() -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(owner_link(home.url, subscribe=("#",))) as own:
            own.transport.publish("commonwatt/my-home/state", b"private", retain=True)
            await until(lambda: own.payloads == [b"private"])
            with contextlib.closing(raw_client(home.port, "bystander", "owner-pw")) as bystander:
                assert await asyncio.to_thread(received, bystander) == ACCEPTED
            async with station(peer_link(home.url)) as peer:
                await asyncio.sleep(0.3)
                assert peer.received == []

    asyncio.run(run())


def test_a_late_subscriber_gets_what_is_retained_once_and_not_what_was_cleared() -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(owner_link(home.url, subscribe=("x/#",))) as own:
            own.transport.publish("x/kept", b"old", retain=True)
            own.transport.publish("x/kept", b"new", retain=True)
            own.transport.publish("x/cleared", b"gone", retain=True)
            own.transport.publish("x/cleared", b"", retain=True)
            await until(lambda: len(own.received) == 4)
            async with station(owner_link(home.url, "late", ("x/#",))) as late:
                await until(lambda: late.received)
                await asyncio.sleep(0.3)
                assert late.payloads == [b"new"]

    asyncio.run(run())


def test_a_talking_client_is_not_cut_off_by_its_keepalive() -> None:
    async def run() -> None:
        options = LinkOptions(keepalive_s=1)
        async with broker("embedded") as home, station(owner_link(home.url), options=options) as own:
            await asyncio.sleep(4)
            assert own.texts == ["link to own's broker is up"]

    asyncio.run(run())


def test_a_client_that_is_cut_off_in_the_middle_of_a_packet_is_missed(monkeypatch) -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(owner_link(home.url, subscribe=("wills/#",))) as own:
            with contextlib.closing(raw_client(home.port, "half", "owner-pw", 1, ("wills/half", b"gone"))) as half:
                half.sendall(packet(0x30, mqtt_string("x") + bytes(1000))[:500])
                await until(lambda: own.payloads == [b"gone"], 5)

    monkeypatch.setattr("coordinator.amqtt_broker.PACKET_S", 0.5)
    asyncio.run(run())


def test_a_refused_login_cannot_end_or_replace_anybodys_session() -> None:
    async def run() -> None:
        async with (
            broker("embedded") as home,
            station(owner_link(home.url)) as own,
            station(peer_link(home.url)) as peer,
        ):
            client = peer.transport._links[0]._client
            assert client is not None
            client_id = client._client_id.decode()
            for _ in range(3):
                with contextlib.closing(raw_client(home.port, client_id, "wrong")) as thief:
                    assert (await asyncio.to_thread(received, thief))[:4] == b"\x20\x02\x00\x04"
            with contextlib.closing(raw_client(home.port, client_id, "owner-pw")) as thief:
                assert (await asyncio.to_thread(received, thief))[:4] == b"\x20\x02\x00\x02"
            own.transport.publish(PUB, b"still here")
            await until(lambda: peer.payloads == [b"still here"])
            assert peer.texts == ["link to home-1's broker is up"]

    asyncio.run(run())


def test_refused_logins_leave_nothing_in_memory_and_one_line_in_the_log(caplog) -> None:
    async def run() -> None:
        async with broker("embedded") as home:
            assert isinstance(home, EmbeddedBroker)
            for number in range(20):
                with contextlib.closing(raw_client(home.port, f"guess-{number}", "wrong")) as thief:
                    await asyncio.to_thread(received, thief)
            assert home.sessions == 0

    asyncio.run(run())
    lines = [record.getMessage() for record in caplog.records if record.name == "coordinator.amqtt_broker"]
    assert lines == ["broker: refused user 'owner' from 127.0.0.1"]


def test_strangers_with_endless_names_fill_neither_memory_nor_log(caplog) -> None:
    async def run() -> None:
        async with broker("embedded") as home:
            for number in range(50):
                name = f"{number}" + "\u0100" * 2000
                with contextlib.closing(raw_client(home.port, "x", "guess", user=name)) as stranger:
                    assert (await asyncio.to_thread(received, stranger))[:4] == b"\x20\x02\x00\x04"
            assert len(home._broker._refused) == 1
            with contextlib.closing(raw_client(home.port, "x", "guess", user="x" * 20_000)) as stranger:
                assert await asyncio.to_thread(received, stranger) == b"", "not even read"
            with contextlib.closing(raw_client(home.port, "x", "guess", user=PEER)) as neighbour:
                await asyncio.to_thread(received, neighbour)

    asyncio.run(run())
    lines = [record.getMessage() for record in caplog.records if record.name == "coordinator.amqtt_broker"]
    assert lines == [
        f"broker: refused user '0{63 * chr(0x100)}' from 127.0.0.1 (no user here; others from there are not told)",
        f"broker: refused user '{PEER}' from 127.0.0.1",
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        packet(0x30, mqtt_string("x") + bytes(PACKET_MAX_BYTES + 1))[:4096],
        b"\x30\xff\xff\xff\xff\xff",
        b"\xf0\x00",
        b"\x00\x00",
        packet(0x82, b""),
        packet(0x30, b"\xff\xff"),
        packet(0x32, mqtt_string(b"\xff\xfe") + b"\x00\x00"),
        packet(0x30, mqtt_string("a/#") + b"x"),
    ],
    ids=[
        "oversize",
        "endless-length",
        "reserved-15",
        "reserved-0",
        "empty-subscribe",
        "short-topic",
        "not-utf8",
        "wildcard",
    ],
)
def test_a_hostile_packet_costs_only_its_own_sender(hostile: bytes) -> None:
    async def run() -> None:
        async with (
            broker("embedded") as home,
            station(owner_link(home.url)) as own,
            station(peer_link(home.url)) as peer,
        ):
            with contextlib.closing(raw_client(home.port, "hostile", "owner-pw")) as sock:
                assert await asyncio.to_thread(sock.recv, 4) == ACCEPTED
                sock.sendall(hostile)
                own.transport.publish(PUB, b"business")
                await until(lambda: peer.payloads == [b"business"])
            with socket.create_connection(("127.0.0.1", home.port)) as nonsense:
                nonsense.sendall(hostile)
            own.transport.publish(PUB, b"as usual")
            await until(lambda: peer.payloads == [b"business", b"as usual"])

    asyncio.run(run())


def test_an_oversize_packet_ends_its_connection_before_it_is_read() -> None:
    async def run() -> None:
        async with broker("embedded") as home:
            with contextlib.closing(raw_client(home.port, "big", "owner-pw")) as sock:
                assert await asyncio.to_thread(sock.recv, 4) == ACCEPTED
                sock.sendall(packet(0x30, mqtt_string("x") + bytes(PACKET_MAX_BYTES + 1))[:4096])
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.to_thread(sock.recv, 1) == b""

    asyncio.run(run())


def test_a_client_that_does_not_read_is_cut_off_and_the_others_go_on(monkeypatch, caplog) -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(owner_link(home.url)) as own:
            with contextlib.closing(raw_client(home.port, "lazy", "owner-pw")) as lazy:
                lazy.sendall(subscribe_packet("bulk/#"))
                assert (await asyncio.to_thread(lazy.recv, 4)) == ACCEPTED
                async with station(owner_link(home.url, "reader", ("bulk/#",))) as reader:
                    sent = 0
                    while "cut off" not in caplog.text:
                        own.transport.publish("bulk/x", bytes(200_000))
                        sent += 1
                        await until(lambda: len(reader.received) == sent)  # noqa: B023
                        assert sent < 400

    monkeypatch.setattr("coordinator.amqtt_broker.UNSENT_MAX", 20)
    asyncio.run(run())


def test_twenty_brokers_live_in_one_process_and_leave_nothing_behind(caplog) -> None:
    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            homes = [await stack.enter_async_context(broker("embedded")) for _ in range(20)]
            assert len({home.port for home in homes}) == 20
            own = await stack.enter_async_context(
                station(*(owner_link(home.url, f"h{index}") for index, home in enumerate(homes)))
            )
            peer = await stack.enter_async_context(
                station(*(peer_link(home.url, name=f"h{index}") for index, home in enumerate(homes)))
            )
            assert own.transport.publish(PUB, b"hello") == 20
            await until(lambda: peer.transport.duplicates == 19)

    before = set(threading.enumerate())
    asyncio.run(run())
    assert set(threading.enumerate()) <= before
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_stopping_under_load_is_quick_and_quiet(caplog) -> None:
    async def run() -> None:
        home = broker("embedded")
        async with home, station(owner_link(home.url)) as own, station(peer_link(home.url)):
            with contextlib.closing(raw_client(home.port, "mute", "owner-pw", 60, ("wills/mute", b"gone"))):
                silent = socket.create_connection(("127.0.0.1", home.port))  # never says a word
                with contextlib.closing(silent):
                    for number in range(300):
                        own.transport.publish(PUB, b"%d" % number)
                    started_at = time.monotonic()
                    await asyncio.to_thread(home.stop)
                    assert time.monotonic() - started_at < 4

    asyncio.run(run())
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_missing_amqtt_is_told_with_its_cure(monkeypatch) -> None:
    monkeypatch.setattr("coordinator.broker.importlib.metadata.version", raise_import_error)
    with pytest.raises(ConfigError, match=r"pip install 'commonwatt\[broker\]'"):
        EmbeddedBroker(users=users()).start()


def test_an_amqtt_whose_insides_were_not_checked_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("coordinator.broker.importlib.metadata.version", lambda name: "0.13.0")
    with pytest.raises(ConfigError, match=r"does not work with amqtt 0\.13\.0"):
        EmbeddedBroker(users=users()).start()


def test_the_brokers_settings_are_read_without_amqtt(monkeypatch) -> None:
    real = builtins.__import__

    def no_amqtt(name: str, *args, **kwargs):
        if name.split(".", maxsplit=1)[0] == "amqtt":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_amqtt)
    assert EmbeddedBroker(users=users()).users[1].name == PEER


def raise_import_error(name: str) -> str:
    raise ImportError(name)


def test_foreign_clients_that_ask_for_a_stored_session_work_and_store_nothing() -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(owner_link(home.url)) as own:
            got: list[bytes] = []
            client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="stored", clean_session=False)
            client.username_pw_set("owner", "owner-pw")
            client.on_connect = lambda *_: client.subscribe("x/#", 1)
            client.on_message = lambda _client, _userdata, message: got.append(message.payload)
            client.connect(home.host, home.port)
            client.loop_start()
            await until(lambda: own.transport.publish("x/y", b"1") and got)
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)
            client.on_connect = client.on_message = None
            assert isinstance(home, EmbeddedBroker)
            await until(lambda: home.sessions == 1)  # only our own link

    asyncio.run(run())
