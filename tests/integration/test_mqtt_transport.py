"""The transport over real brokers: it recovers by itself, says so once, and delivers each message once."""

import asyncio
import contextlib
import errno
import os
import resource
import sys
import threading
import time

import paho.mqtt.client as paho
import pytest
from mqtt_helpers import BROKER_KINDS, OTHER, PEER, PUB, QUICK, TO_PEER, broker, owner_link, peer_link, station, until
from pydantic import SecretStr

from coordinator.clock import WallClock
from coordinator.codec import MAX_BYTES
from coordinator.errors import ConfigError, LocalProtocolError
from coordinator.links import Inbound, LinkOptions, LinkSettings
from coordinator.mosquitto import MosquittoBroker
from coordinator.transport import Transport

SILENT = LinkOptions(keepalive_s=1, retry_min_s=0.05)


@pytest.mark.parametrize("kind", BROKER_KINDS)
def test_a_message_goes_from_a_homes_broker_to_a_reading_peer(kind: str) -> None:
    async def run() -> None:
        async with broker(kind) as home, station(owner_link(home.url)) as own, station(peer_link(home.url)) as peer:
            assert own.transport.publish(PUB, b"for all") == 1
            assert own.transport.publish(TO_PEER, b"for one", qos=0) == 1
            await until(lambda: len(peer.received) == 2)
            assert peer.received[0] == Inbound(link="home-1", topic=PUB, payload=b"for all")
            assert peer.received[1].payload == b"for one"
            assert peer.texts == ["link to home-1's broker is up"]

    asyncio.run(run())


@pytest.mark.parametrize("kind", BROKER_KINDS)
def test_a_killed_broker_is_told_once_and_taken_up_again_on_the_same_port(kind: str) -> None:
    async def run() -> None:
        home = broker(kind)
        async with home, station(owner_link(home.url)) as own, station(peer_link(home.url)) as peer:
            port = home.port
            if isinstance(home, MosquittoBroker):
                assert home._child is not None
                home._child.kill()
                await until(lambda: not home.alive)
            else:
                await asyncio.to_thread(home.stop)
            await until(lambda: not own.up and not peer.up)
            assert own.transport.publish(PUB, b"said while away") == 1
            assert own.transport.publish(PUB, b"QoS 0 is lost", qos=0) == 0
            await asyncio.sleep(0.4)  # several failed attempts
            await asyncio.to_thread(home.start)
            await until(lambda: own.up and peer.up)
            assert home.port == port
            # What waited in the outbox may pass before the peer is back: the protocol repeats itself, so do we.
            await until(lambda: own.transport.publish(PUB, b"again") and b"again" in peer.payloads)
            assert peer.texts == [
                "link to home-1's broker is up",
                "link to home-1's broker is down: connection lost; trying again",
                "link to home-1's broker is back",
            ]

    asyncio.run(run())


def test_the_outbox_is_sent_when_the_broker_comes_up_late() -> None:
    async def run() -> None:
        home = broker("embedded")
        home.start()
        home.stop()
        async with station(owner_link(home.url), wait=False) as own:
            await until(lambda: own.texts)
            assert own.texts == [
                "link to own's broker is down: connection refused (nothing listens there); trying again"
            ]
            for number in range(50):
                assert own.transport.publish("notes/x", b"%d" % number, retain=number == 49) == 1
            async with home:
                await until(lambda: own.up)
                async with station(owner_link(home.url, name="reader", subscribe=("notes/#",))) as reader:
                    await until(lambda: b"49" in reader.payloads)

    asyncio.run(run())


@pytest.mark.parametrize("kind", BROKER_KINDS)
def test_a_wrong_password_is_one_clear_line_and_the_corrected_file_is_enough(kind: str, tmp_path) -> None:
    async def run() -> None:
        secret = tmp_path / "password"
        secret.write_text("typo\n")
        async with broker(kind) as home:
            link = LinkSettings(name="own", url=home.url, username="owner", password_file=secret, publish=True)
            async with station(link, wait=False) as own:
                await until(lambda: own.texts)
                await asyncio.sleep(0.5)
                assert own.texts == [
                    f"broker {home.url} refused user 'owner': wrong user name or password; trying again"
                ]
                assert own.transport.links[0].kind == "refused"
                secret.write_text("owner-pw\n")
                await until(lambda: own.up)
                assert own.texts[1:] == ["link to own's broker is back"]

    asyncio.run(run())


def test_a_password_file_that_is_missing_stops_the_start_with_its_name(tmp_path) -> None:
    async def run() -> None:
        link = LinkSettings(name="own", url="mqtt://127.0.0.1:1", username="owner", password_file=tmp_path / "gone")
        with pytest.raises(ConfigError, match="gone cannot be read"):
            async with Transport([link], WallClock(), lambda notice: None):
                pytest.fail("started without its password")

    before = threading.active_count()
    asyncio.run(run())
    assert threading.active_count() == before


def test_a_message_over_two_brokers_is_delivered_once_and_one_broker_may_fail() -> None:
    async def run() -> None:
        async with broker("embedded") as one, broker("embedded") as two:
            outs = (owner_link(one.url, name="meeting-1"), owner_link(two.url, name="meeting-2"))
            ins = (peer_link(one.url, name="meeting-1"), peer_link(two.url, name="meeting-2"))
            async with station(*outs) as own, station(*ins) as peer:
                for number in range(100):
                    assert own.transport.publish(PUB, b"%d" % number) == 2
                await until(lambda: peer.transport.duplicates == 100)
                assert sorted(map(int, peer.payloads)) == list(range(100))
                await asyncio.to_thread(one.stop)
                own.transport.publish(PUB, b"still here")
                await until(lambda: b"still here" in peer.payloads)
                assert peer.payloads.count(b"still here") == 1

    asyncio.run(run())


def test_a_senders_retry_of_the_same_bytes_is_delivered_again() -> None:
    async def run() -> None:
        async with (
            broker("embedded") as home,
            station(owner_link(home.url)) as own,
            station(peer_link(home.url)) as peer,
        ):
            own.transport.publish(PUB, b"offer")
            own.transport.publish(PUB, b"offer")
            await until(lambda: peer.payloads == [b"offer", b"offer"])

    asyncio.run(run())


def test_what_a_broker_would_choke_on_is_refused_before_it_is_sent() -> None:
    async def run() -> None:
        async with (
            broker("embedded") as home,
            station(owner_link(home.url)) as own,
            station(peer_link(home.url)) as peer,
        ):
            with pytest.raises(LocalProtocolError, match="over the limit of 16384"):
                own.transport.publish(PUB, bytes(MAX_BYTES + 1))
            with pytest.raises(LocalProtocolError, match="QoS 2"):
                own.transport.publish(PUB, b"x", qos=2)  # type: ignore[arg-type]
            with pytest.raises(LocalProtocolError, match="wildcard"):
                own.transport.publish("cw/1/#", b"x")
            own.transport.publish(PUB, bytes(MAX_BYTES))
            await until(lambda: peer.payloads == [bytes(MAX_BYTES)])
            assert own.texts == ["link to own's broker is up"]

    asyncio.run(run())


def test_an_oversize_message_of_a_neighbour_is_dropped_and_counted() -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(peer_link(home.url)) as peer:
            stranger = paho.Client(paho.CallbackAPIVersion.VERSION2)
            stranger.username_pw_set("owner", "owner-pw")
            stranger.connect(home.host, home.port)
            stranger.loop_start()
            stranger.publish(PUB, bytes(MAX_BYTES + 1), qos=1).wait_for_publish(5)
            stranger.publish(PUB, b"fits", qos=1).wait_for_publish(5)
            stranger.disconnect()
            stranger.loop_stop()
            stranger._reset_sockets()
            await until(lambda: peer.payloads == [b"fits"])
            assert peer.transport.oversize == 1

    asyncio.run(run())


def test_a_flood_costs_the_newest_messages_and_one_line_and_passes() -> None:
    async def run() -> None:
        options = LinkOptions(retry_min_s=0.05, inbox=10)
        notices: list[str] = []
        async with broker("embedded") as home, station(owner_link(home.url)) as own:
            link = owner_link(home.url, name="reader", subscribe=("flood/#",))
            async with Transport([link], WallClock(), lambda n: notices.append(n.text), options=options) as reader:
                await until(lambda: reader.links[0].connected)
                for number in range(100):
                    own.transport.publish("flood/x", b"%d" % number)
                await until(lambda: reader.dropped == 90)
                kept = [int((await anext(reader)).payload) for _ in range(10)]
                assert kept == list(range(10))
                own.transport.publish("flood/x", b"after")
                assert (await anext(reader)).payload == b"after"
        assert [text for text in notices if "dropped" in text] == [
            "10 messages of reader's broker wait to be handled: new ones of it are dropped until half of them are done"
        ]

    asyncio.run(run())


def test_a_full_outbox_drops_the_newest_with_one_line() -> None:
    async def run() -> None:
        link = owner_link("mqtt://127.0.0.1:1")
        async with station(link, options=LinkOptions(outbox=5, retry_min_s=0.05), wait=False) as own:
            taken = [own.transport.publish(PUB, b"%d" % number) for number in range(20)]
            assert taken == [1] * 5 + [0] * 15
            assert own.transport.dropped == 15
            assert [text for text in own.texts if "outbox" in text] == [
                "outbox for own's broker is full: new messages are dropped"
            ]

    asyncio.run(run())


def test_a_dead_network_thread_is_replaced(monkeypatch) -> None:
    async def run() -> None:
        async with (
            broker("embedded") as home,
            station(owner_link(home.url)) as own,
            station(peer_link(home.url)) as peer,
        ):
            link = peer.transport._links[0]
            client, thread = link._client, link._thread
            assert client is not None
            assert thread is not None
            monkeypatch.setattr(client, "want_write", sys.exit)  # ends the thread, whatever it catches
            monkeypatch.setattr(threading, "excepthook", lambda args: None)
            thread.wake()
            await until(lambda: not thread.alive)
            assert client.is_connected()  # nothing but the missing thread tells
            await until(lambda: len(peer.texts) == 3)
            assert peer.texts[1:] == [
                "link to home-1's broker is down: the link's own thread ended; trying again",
                "link to home-1's broker is back",
            ]
            own.transport.publish(PUB, b"next")
            await until(lambda: b"next" in peer.payloads)

    asyncio.run(run())


def test_links_work_beyond_the_1024th_file_of_a_process() -> None:
    async def run() -> None:
        async with (
            broker("embedded") as home,
            station(owner_link(home.url)) as own,
            station(peer_link(home.url)) as peer,
        ):
            own.transport.publish(PUB, b"here too")
            await until(lambda: peer.payloads == [b"here too"])

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            stack.callback(os.close, os.dup(0))
        asyncio.run(run())


def test_too_many_files_is_told_with_its_cure_and_leaves_no_thread(monkeypatch) -> None:
    real, opened = os.eventfd, []

    def two_only(value: int, flags: int) -> int:
        if len(opened) == 2:
            raise OSError(errno.EMFILE, "Too many open files")
        opened.append(value)
        return real(value, flags)

    async def run() -> None:
        links = [owner_link(f"mqtt://127.0.0.1:{port}", name=f"l{port}") for port in (1, 2, 3)]
        with pytest.raises(ConfigError, match=r"3 links cannot be opened.*ulimit -n"):
            async with Transport(links, WallClock(), lambda notice: None):
                pytest.fail("opened more than there was room for")

    before = set(threading.enumerate())
    monkeypatch.setattr(os, "eventfd", two_only)
    asyncio.run(run())
    assert set(threading.enumerate()) <= before


def test_a_broker_that_accepts_and_stays_silent_is_told_as_away() -> None:
    async def run() -> None:
        held = []
        server = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, station(owner_link(f"mqtt://127.0.0.1:{port}"), options=SILENT, wait=False) as own:
            await until(lambda: own.texts)
            assert own.texts == ["link to own's broker is down: no sign of life; trying again"]
            for writer in held:
                writer.close()

    asyncio.run(run())


def test_an_error_while_handling_a_message_does_not_end_the_link(monkeypatch) -> None:
    async def run() -> None:
        async with (
            broker("embedded") as home,
            station(owner_link(home.url)) as own,
            station(peer_link(home.url)) as peer,
        ):
            link = peer.transport._links[0]
            deliver = link._deliver
            monkeypatch.setattr(link, "_deliver", lambda inbound: 1 / 0)
            own.transport.publish(PUB, b"one")
            own.transport.publish(PUB, b"two")
            await asyncio.sleep(0.2)
            monkeypatch.setattr(link, "_deliver", deliver)
            own.transport.publish(PUB, b"three")
            await until(lambda: peer.payloads == [b"three"])
            assert peer.texts == ["link to home-1's broker is up"]

    asyncio.run(run())


def test_a_broker_that_hangs_up_on_a_message_gets_it_only_a_few_times() -> None:
    async def run() -> None:
        attempts = 0

        async def hang_up_on_publish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal attempts
            await reader.read(1024)
            writer.write(b"\x20\x02\x00\x00")
            if (await reader.read(1))[0] & 0xF0 == 0x30:  # PUBLISH, first or repeated
                attempts += 1
            writer.close()

        server = await asyncio.start_server(hang_up_on_publish, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, station(owner_link(f"mqtt://127.0.0.1:{port}"), wait=False) as own:
            own.transport.publish(PUB, b"poison")
            await until(lambda: attempts >= 3)
            await asyncio.sleep(1.0)
            assert attempts <= 6  # without the cure: ten and more, for ever

    asyncio.run(run())


def test_a_refused_subscription_is_named() -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(peer_link(home.url, subscribe=(PUB, "secret/#"))) as peer:
            await until(lambda: len(peer.texts) == 2)
            assert peer.texts[1] == f"home-1's broker does not let user '{PEER}' read 'secret/#'"

    asyncio.run(run())


def test_closing_leaves_no_thread_and_takes_no_time_while_brokers_are_away() -> None:
    async def run() -> None:
        async with broker("embedded") as home:
            alive = owner_link(home.url)
            dead = [owner_link(f"mqtt://127.0.0.1:{port}", name=f"dead-{port}") for port in (1, 2, 3)]
            async with station(alive, *dead, options=LinkOptions(retry_max_s=15), wait=False) as own:
                await until(lambda: len(own.texts) == 4)
                started_at = time.monotonic()
            assert time.monotonic() - started_at < 3

    before = set(threading.enumerate())
    asyncio.run(run())
    assert set(threading.enumerate()) <= before


def test_the_last_words_are_sent_before_the_link_closes() -> None:
    async def run() -> None:
        async with broker("embedded") as home, station(peer_link(home.url)) as peer:
            async with station(owner_link(home.url)) as own:
                for number in range(200):
                    own.transport.publish(PUB, b"%d" % number)
            await until(lambda: len(peer.received) == 200)

    asyncio.run(run())


def test_two_links_of_one_name_are_refused() -> None:
    link = peer_link("mqtt://127.0.0.1:1", who=OTHER)
    with pytest.raises(ConfigError, match="home-1"):
        Transport([link, link], WallClock(), lambda notice: None, options=QUICK)
    assert SecretStr("other-pw") == link.password
