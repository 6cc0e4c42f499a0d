"""A broker that wants a home's memory, processor or log gets none of it: its link is closed, in words, for a while."""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from mqtt_helpers import PUB, QUICK, mqtt_string, packet, peer_link, station, until
from test_links_tls import HOME_KEY, tls_link

from coordinator.broker_settings import PACKET_MAX_BYTES
from coordinator.links import LinkOptions
from coordinator.mqtt_client import BoundedClient
from coordinator.tls import issue, server_context

CONNACK, SUBACK, PINGRESP = b"\x20\x02\x00\x00", b"\x90\x04\x00\x01\x01\x01", b"\xd0\x00"
STRICT = replace(QUICK, flood_per_s=100.0, rest_s=1.0)


def publish(payload: bytes, qos: int = 0, topic: str | bytes = PUB) -> bytes:
    return packet(0x30 | qos << 1, mqtt_string(topic) + (b"\x00\x07" if qos else b"") + payload)


@contextlib.asynccontextmanager
async def evil_broker(says: bytes, again: bool = False, first: bytes = CONNACK) -> AsyncIterator[tuple[str, list[int]]]:
    """Serve a broker that answers with `first`, grants what is asked and says something, over and over if `again`.

    Yields:
        Its address, and a list that grows by the bytes each connection took before it was closed.
    """
    taken: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(taken)
        taken.append(0)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.read(4096)
            writer.write(first)
            await reader.read(4096)
            writer.write(SUBACK)
            while not writer.is_closing():
                for at in range(0, len(says), 65_536):
                    writer.write(says[at : at + 65_536])
                    await writer.drain()
                    taken[number] += 65_536
                if not again:
                    await reader.read()
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", taken


def what_the_owner_reads(says: bytes, again: bool = False, first: bytes = CONNACK) -> list[str]:
    """Return what the owner reads when the link to such a broker goes down."""

    async def run() -> list[str]:
        evil = evil_broker(says, again, first)
        async with evil as (url, _), station(peer_link(url), options=STRICT, wait=False) as peer:
            await until(lambda: peer.transport.links[0].kind == "away")
            assert peer.received == []
            return peer.texts[-1:]

    return asyncio.run(run())


def gave_up(why: str) -> list[str]:
    return [f"link to home-1's broker is down: {why} and is not listened to for 1 s; trying again"]


def test_a_packet_larger_than_any_of_ours_is_not_even_read() -> None:
    async def run() -> None:
        head = packet(0x30, bytes(200_000_000))[:5]
        async with evil_broker(head + bytes(20_000_000)) as (url, taken):
            async with station(peer_link(url), options=STRICT) as peer:
                await until(lambda: len(peer.texts) == 2)
            assert taken[0] < 15_000_000, "what the sockets hold, no more"
            assert peer.texts[1:] == gave_up(f"it sent a packet of 200000000 bytes (limit {PACKET_MAX_BYTES})")

    asyncio.run(run())


def test_the_largest_packet_our_own_brokers_pass_on_breaks_no_link() -> None:
    """A member could send one to a meeting broker; it must not cut all others off."""
    payload = bytes(PACKET_MAX_BYTES - 2 - len(PUB))

    async def run() -> None:
        said = publish(payload) + publish(b"fits")
        async with evil_broker(said) as (url, _), station(peer_link(url), options=STRICT) as peer:
            await until(lambda: peer.payloads == [b"fits"])
            assert peer.transport.oversize == 1
            assert len(peer.texts) == 1

    asyncio.run(run())


def test_messages_of_a_quality_that_was_not_asked_for_are_not_kept() -> None:
    says = publish(b"kept until released", qos=2)
    assert what_the_owner_reads(says) == gave_up("it sent a message of QoS 2 that nobody asked for")


@pytest.mark.parametrize(
    "says",
    [CONNACK, SUBACK, b"\xc0\x00", packet(0x62, b"\x00\x01"), packet(0x50, b"\x00\x01"), packet(0xF0, b""), b"\0\0"],
    ids=["second CONNACK", "second SUBACK", "PINGREQ", "PUBREL", "PUBREC", "kind 15", "kind 0"],
)
def test_a_broker_that_says_what_brokers_do_not_say_is_left_alone(says: bytes) -> None:
    assert what_the_owner_reads(says) == gave_up(f"it sent what no broker sends (packet of kind {says[0] >> 4})")


@pytest.mark.parametrize("body", [b"\xff\xff", b"\x00\x01a", b""])
def test_a_packet_that_is_none_ends_its_connection_and_no_thread(body: bytes, caplog) -> None:
    async def run() -> None:
        said = packet(0x32, body)
        async with evil_broker(said) as (url, taken), station(peer_link(url), options=STRICT, wait=False) as peer:
            thread = peer.transport._links[0]._thread
            await until(lambda: len(taken) == 2)
            assert peer.transport._links[0]._thread is thread

    asyncio.run(run())
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_broker_of_another_version_is_told_as_such_and_is_not_asked_again_at_once() -> None:
    """paho would connect anew from within its own reading, where a failure ended the thread with a traceback."""
    assert what_the_owner_reads(b"", first=b"\x20\x02\x00\x01") == gave_up("it does not speak MQTT 3.1.1")


@pytest.mark.parametrize(
    "says",
    [PINGRESP * 5000, packet(0x40, b"\x00\x09") * 5000, publish(b"", topic="commonwatt/x") * 5000],
    ids=["PINGRESP", "PUBACK", "unasked"],
)
def test_a_flood_of_whatever_kind_is_hung_up_on(says: bytes) -> None:
    assert what_the_owner_reads(says, again=True) == gave_up("it sends far too much")


def test_a_broker_that_reads_no_answers_does_not_make_them_pile_up(monkeypatch) -> None:
    def kernel_is_full(self: BoundedClient, buf: bytes) -> int:
        if buf[0] == 0x40:  # PUBACK
            raise BlockingIOError
        return send(self, buf)

    send = BoundedClient._sock_send
    monkeypatch.setattr(BoundedClient, "_sock_send", kernel_is_full)

    async def run() -> None:
        deaf, patient = evil_broker(publish(b"x", qos=1) * 100, again=True), replace(STRICT, flood_per_s=1e6)
        async with deaf as (url, _), station(peer_link(url), options=patient, wait=False) as peer:
            client = peer.transport._links[0]._client
            await until(lambda: peer.transport.links[0].kind == "away")
            assert peer.texts[-1:] == gave_up("it leaves our answers unread")
            assert len(client._out_packet) < 3000

    asyncio.run(run())


def test_who_floods_for_days_is_listened_to_again_within_the_hour() -> None:
    async def run() -> None:
        options = replace(STRICT, rest_s=0.1, rest_max_s=0.3)
        async with evil_broker(PINGRESP * 5000, again=True) as (url, taken):
            async with station(peer_link(url), options=options, wait=False) as peer:
                await until(lambda: len(taken) == 6)
            assert peer.transport._links[0]._rest_s == 0.3
        assert LinkOptions().rest_max_s == 3600.0

    asyncio.run(run())


def endless_tls(server: socket.socket, served: list[float], until_s: float) -> None:
    """Send tiny messages for ever, in TLS records that each end in the middle of one."""
    message = publish(b"", topic="a")
    records = (message[2:] + message[:2]) * 2000
    context = server_context(issue(HOME_KEY, datetime.now(UTC)))
    with contextlib.suppress(OSError, ssl.SSLError), server.accept()[0] as plain:
        started_at = time.monotonic()
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(CONNACK)
            tls.recv(4096)
            tls.sendall(SUBACK + message[:2])
            while time.monotonic() < started_at + until_s:
                tls.sendall(records)
        served.append(time.monotonic() - started_at)


@pytest.mark.parametrize("ends", ["rests", "closes"])
def test_an_endless_flood_over_tls_is_hung_up_on_and_keeps_no_agent_from_ending(ends: str) -> None:
    served: list[float] = []

    async def run(url: str) -> None:
        options = replace(STRICT, rest_s=60.0, flood_per_s=100.0 if ends == "rests" else 1e9)
        async with station(tls_link(url), options=options, wait=False) as peer:
            if ends == "rests":
                await until(lambda: peer.texts and "far too much" in peer.texts[-1])
                await until(lambda: served)
            else:
                await until(lambda: peer.transport._links[0].unasked > 100)
        assert peer.received == []

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=endless_tls, args=(server, served, 20.0))
        thread.start()
        asyncio.run(run(f"mqtts://127.0.0.1:{server.getsockname()[1]}"))
        thread.join()
    assert served[0] < 15, "it was hung up on before it gave up by itself"
