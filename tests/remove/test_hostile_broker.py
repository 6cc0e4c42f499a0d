"""What a broker, a carrier or a name server in evil hands can do to one home: nothing but be silent."""

import asyncio
import logging
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "integration"))
sys.path.append(str(Path(__file__).parents[1] / "unit" / "coordinator"))

from evil_tricks import forges
from evil_wire import BrokerWire, Heard
from mqtt_helpers import COMMUNITY, OTHER, PUB, QUICK, broker, owner_link, peer_link, station, until
from running_home import free_ports
from sealed import START
from sealed import Street as SealedStreet

from coordinator.clock import WallClock
from coordinator.errors import RemoteProtocolError
from coordinator.links import LinkOptions
from coordinator.messages import Presence
from coordinator.mqtt_topics import pub_topic
from coordinator.transport import Transport


def test_what_was_not_asked_for_is_not_delivered(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with broker("embedded") as home:
            wire = BrokerWire(free_ports(1)[0], home.port)

            def trick(heard: Heard) -> Iterator[tuple[float, str, bytes]]:
                for topic in (pub_topic(COMMUNITY, OTHER), "commonwatt/home-1/state", "not text \udcff", heard.topic):
                    yield 0.0, topic, heard.payload

            wire.trick = trick
            await wire.start()
            link = peer_link(f"mqtt://127.0.0.1:{wire.port}")
            async with station(owner_link(home.url)) as own, station(link) as peer:
                for number in range(20):
                    own.transport.publish(PUB, b"%d" % number)
                await until(lambda: len(peer.payloads) == 20)
                assert {inbound.topic for inbound in peer.received} == {PUB}
                assert peer.transport._links[0].unasked == 60
            await wire.stop()

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert caplog.records == []  # an evil broker does not fill our disk either


def test_forged_words_of_any_home_never_pass() -> None:
    street = SealedStreet(4)
    me, victim = street.ids[:2]
    said = street.seal(Presence, victim)
    trick, verifier = forges(random.Random(1), street.ids), street.verifier(me)
    passed = []
    for _ in range(200):
        heard = Heard(reader=me, topic=pub_topic(street.charter.community_id, victim), payload=said.wire)
        for _, _, payload in trick(heard):
            try:
                passed.append(verifier.verify(payload, START).wire)
            except RemoteProtocolError:
                continue
    assert set(passed) == {said.wire}


def test_a_flood_over_one_link_takes_no_room_from_another() -> None:
    async def run() -> None:
        notices: list[str] = []
        options = LinkOptions(retry_min_s=0.05, inbox=20)
        async with (
            broker("embedded") as evil,
            broker("embedded") as good,
            station(owner_link(evil.url)) as flooder,
            station(owner_link(good.url)) as friend,
        ):
            links = [peer_link(evil.url, name="evil"), peer_link(good.url, name="good")]
            async with Transport(links, WallClock(), lambda n: notices.append(n.text), options=options) as reader:
                await until(lambda: all(link.connected for link in reader.links))
                for number in range(200):
                    flooder.transport.publish(PUB, b"flood %d" % number)
                await until(lambda: reader.dropped == 180)
                friend.transport.publish(PUB, b"one word")
                words = [(await anext(reader)).payload for _ in range(21)]
        assert words == [b"flood %d" % number for number in range(20)] + [b"one word"]
        assert [text for text in notices if "dropped" in text] == [
            "20 messages of evil's broker wait to be handled: new ones of it are dropped until half of them are done"
        ]

    asyncio.run(run())


def test_an_address_that_is_none_is_told_once_and_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    """Settings refuse such addresses; whatever comes past them must not write a traceback a second."""

    async def run() -> None:
        links = [
            peer_link("mqtt://their.broker.example").model_copy(update={"name": name, "url": f"mqtt://{host}:1883"})
            for name, host in (("dots", "my-home..lan"), ("long", 64 * "x"))
        ]
        async with station(*links, options=QUICK, wait=False) as reader:
            await until(lambda: len(reader.texts) == 2)
            await asyncio.sleep(0.5)
            assert sorted(reader.texts) == [
                f"link to {name}'s broker is down: host name cannot be used; trying again" for name in ("dots", "long")
            ]
            assert all(link._thread.alive for link in reader.transport._links)

    asyncio.run(run())
    assert caplog.records == []


def test_a_name_that_leads_nowhere_silences_its_link_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = socket.getaddrinfo

    def poisoned(host, *args, **kwargs):
        if host == "their.broker.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return asked(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", poisoned)

    async def run() -> None:
        async with broker("embedded") as home, station(owner_link(home.url)) as own:
            lost = peer_link("mqtt://their.broker.example:1883", name="theirs", who=OTHER)
            async with station(peer_link(home.url), lost, options=QUICK, wait=False) as reader:
                await until(lambda: any("host name not known" in text for text in reader.texts))
                await until(lambda: reader.transport.links[0].connected)
                own.transport.publish(PUB, b"word")
                await until(lambda: reader.payloads == [b"word"])
                said = [text for text in reader.texts if "theirs" in text]
                assert said == ["link to theirs's broker is down: host name not known; trying again"]

    asyncio.run(run())
