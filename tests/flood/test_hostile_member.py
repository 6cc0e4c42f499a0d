"""A flood, and clocks that differ, at a real node over real brokers: everybody else is heard and served."""

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

sys.path.append(str(Path(__file__).parents[1] / "integration"))
sys.path.append(str(Path(__file__).parents[1] / "unit" / "coordinator"))

from mqtt_helpers import QUICK, Station, owner_link, station, until
from neighbourhood import START, ScriptedHome
from sealed import Street

import coordinator.codec
import coordinator.desk
from coordinator.broker import EmbeddedBroker, home_users
from coordinator.clock import ManualClock, WallClock
from coordinator.identity import encode_base64
from coordinator.ledger_store import LedgerStore
from coordinator.links import LinkNotice, LinkSettings
from coordinator.messages import Presence
from coordinator.mqtt_topics import direct_topic, pub_topic
from coordinator.node import Node, NodeOptions
from coordinator.peers import RateLimit
from coordinator.transport import Transport

STREET = Street(4)
ME, FLOODER, FRIEND, _ = STREET.ids
COMMUNITY = STREET.charter.community_id
LIMIT = 50
PASSWORD = "reader-pw"
ROOMY = replace(QUICK, inbox=8000)
"""Here the queue is not what refuses: how fast it fills is a matter of the machine."""


class StillClock(ManualClock):
    """Slot time stands still, so that no bucket fills again; links and loops run on."""

    monotonic = WallClock.monotonic


def own_broker(home: str) -> EmbeddedBroker:
    return EmbeddedBroker("127.0.0.1", 0, home_users(COMMUNITY, home, "owner-pw", {ME: PASSWORD}))


def reading(name: str, home: str, url: str) -> LinkSettings:
    topics = (pub_topic(COMMUNITY, home), direct_topic(COMMUNITY, home, ME))
    return LinkSettings(name=name, url=url, username=ME, password=SecretStr(PASSWORD), subscribe=topics)


@asynccontextmanager
async def two_brokers() -> AsyncIterator[tuple[Station, Station, list[LinkSettings]]]:
    """Yield flooder and friend, each at its own broker, and this home's links to both."""
    async with (
        own_broker(FLOODER) as evil,
        own_broker(FRIEND) as good,
        station(owner_link(evil.url)) as flooder,
        station(owner_link(good.url)) as friend,
    ):
        yield flooder, friend, [reading("evil", FLOODER, evil.url), reading("good", FRIEND, good.url)]


def presence(home: str, number: int) -> bytes:
    """Return the number-th word of a home."""
    return STREET.seal(Presence, home, now=START, inc=number).wire


@asynccontextmanager
async def node(folder: Path, *links: LinkSettings, told: list[str] | None = None) -> AsyncIterator[Node]:
    """Run one home's trading over these links; its owner's notices go to `told`."""
    clock, notices = StillClock(START), list[LinkNotice]()
    texts = [] if told is None else told
    with LedgerStore(folder / "ledger.db", ME) as store:
        async with Transport(links, clock, notices.append, options=ROOMY) as transport:
            here = Node(
                charter=STREET.charter,
                identity=STREET.identity(ME),
                store=store,
                household=ScriptedHome(rules=STREET.rules, seed=1),
                transport=transport,
                clock=clock,
                on_notice=lambda level, text: texts.append(text),
                options=NodeOptions(heartbeat_s=0.05),
            )
            task = asyncio.create_task(here.run())
            await until(lambda: all(link.connected for link in transport.links))
            yield here
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """Signature checks by public key; fifty messages a slot are allowed."""
    counted: Counter[bytes] = Counter()
    honest = coordinator.codec.verify

    def counting(public_key: bytes, signature: bytes, payload: bytes) -> bool:
        counted[public_key] += 1
        return honest(public_key, signature, payload)

    monkeypatch.setattr(coordinator.codec, "verify", counting)
    monkeypatch.setattr(coordinator.desk, "MESSAGES_PER_SLOT", LIMIT)
    return counted


def test_a_flood_is_refused_before_the_signature_and_costs_nobody_else_a_word(
    tmp_path: Path, checks: Counter[bytes]
) -> None:
    flooders = presence(FLOODER, 0).partition(b"\n")[0] + b"\n"
    kinds = (
        lambda n: presence(FLOODER, n),
        lambda n: flooders + encode_base64(n.to_bytes(64, "big")).encode(),
        lambda n: presence(FLOODER, n).replace(FLOODER.encode(), FRIEND.encode()),
        lambda n: b"garbage %d" % n,
    )

    async def run() -> None:
        async with two_brokers() as (flooder, friend, links), node(tmp_path, *links) as here:
            for number in range(400):
                topic = (pub_topic(COMMUNITY, FLOODER), direct_topic(COMMUNITY, FLOODER, ME))[number % 2]
                flooder.transport.publish(topic, kinds[number % 4](number), qos=0)
                if number % 20 == 0:
                    await asyncio.sleep(0.01)
                    friend.transport.publish(pub_topic(COMMUNITY, FRIEND), presence(FRIEND, number))
            # QoS 0: a busy broker may lose some of a flood.
            await until(lambda: here.desk.refused.total() >= 200, 40)
            await until(lambda: checks[STREET.charter.public_keys[FRIEND]] == 20, 40)
            assert here.desk.refused["sends too much"] > 0
            assert here.desk.refused["speaks on the topic of another"] > LIMIT

    asyncio.run(run())
    assert checks[STREET.charter.public_keys[FLOODER]] == LIMIT


def test_a_flood_does_not_even_wake_the_loop_that_reads(tmp_path: Path) -> None:
    limit = RateLimit(per_slot=LIMIT, slot_s=STREET.rules.slot_s)

    async def run() -> None:
        async with (
            two_brokers() as (flooder, friend, links),
            Transport(links, StillClock(START), lambda notice: None, options=QUICK, allow=limit.allow) as reader,
        ):
            await until(lambda: all(link.connected for link in reader.links))
            for number in range(200):
                topic = (pub_topic(COMMUNITY, FLOODER), direct_topic(COMMUNITY, FLOODER, ME))[number % 2]
                flooder.transport.publish(topic, b"garbage %d" % number)
            await until(lambda: reader.limited == 200 - LIMIT, 30)
            for number in range(LIMIT):
                friend.transport.publish(pub_topic(COMMUNITY, FRIEND), b"word %d" % number)
            heard = [(await anext(reader)).payload for _ in range(2 * LIMIT)]
        assert heard[LIMIT:] == [b"word %d" % number for number in range(LIMIT)]

    asyncio.run(run())


def test_who_floods_is_hung_up_on_and_heard_again_later_and_everybody_else_meanwhile(tmp_path: Path) -> None:
    limit = RateLimit(per_slot=LIMIT, slot_s=STREET.rules.slot_s)
    options = replace(QUICK, watch_s=0.2, flood_per_s=50.0, rest_s=1.0)
    notices: list[str] = []

    async def run() -> None:
        async with two_brokers() as (flooder, friend, links):
            on_notice = lambda notice: notices.append(notice.text)  # noqa: E731
            async with Transport(links, StillClock(START), on_notice, options=options, allow=limit.allow) as reader:
                await until(lambda: all(link.connected for link in reader.links))
                while reader.links[0].connected:
                    for number in range(20):
                        flooder.transport.publish(pub_topic(COMMUNITY, FLOODER), b"%d" % number, qos=0)
                    await asyncio.sleep(0.01)
                for number in range(LIMIT):
                    friend.transport.publish(pub_topic(COMMUNITY, FRIEND), b"word %d" % number)
                heard = [(await anext(reader)).payload for _ in range(2 * LIMIT)]
                await until(lambda: all(link.connected for link in reader.links))
        assert heard[LIMIT:] == [b"word %d" % number for number in range(LIMIT)]

    asyncio.run(run())
    assert [text for text in notices if "evil" in text] == [
        "link to evil's broker is up",
        "link to evil's broker is down: it sends far too much and is not listened to for 1 s; trying again",
        "link to evil's broker is back",
    ]


def test_who_is_first_with_a_message_in_the_wrong_place_does_not_silence_it(tmp_path: Path) -> None:
    """Two brokers carry all homes' words; one of them says a friend's word first, on the topic of another home."""
    word = presence(FRIEND, 1)

    async def run() -> None:
        async with two_brokers() as (thief, friend, links), node(tmp_path, *links) as here:
            thief.transport.publish(pub_topic(COMMUNITY, FLOODER), word)
            await until(here.desk.refused.total)
            assert here.peers.last_heard_at(FRIEND) is None
            friend.transport.publish(pub_topic(COMMUNITY, FRIEND), word)
            await until(lambda: here.peers.last_heard_at(FRIEND))

    asyncio.run(run())


def test_while_a_flood_waits_everything_else_in_the_loop_gets_its_turn(tmp_path: Path, checks: Counter[bytes]) -> None:
    async def run() -> list[int]:
        seen: list[int] = []
        async with (
            own_broker(FLOODER) as evil,
            station(owner_link(evil.url)) as flooder,
            node(tmp_path, reading("evil", FLOODER, evil.url)) as here,
        ):
            for number in range(300):
                flooder.transport.publish(pub_topic(COMMUNITY, FLOODER), b"garbage %d" % number, qos=0)
            async with asyncio.timeout(20):
                while here.desk.refused.total() < 300:  # what a control loop would do
                    seen.append(here.desk.refused.total())
                    await asyncio.sleep(0)
        return seen

    seen = asyncio.run(run())
    assert max(later - earlier for earlier, later in itertools.pairwise(seen)) <= 2


def test_a_home_whose_clock_is_the_odd_one_out_tells_its_owner_once_and_again_when_it_is_right(tmp_path: Path) -> None:
    told: list[str] = []

    async def run() -> None:
        async with two_brokers() as (first, second, links), node(tmp_path, *links, told=told) as here:

            def say(late: timedelta) -> None:
                for speaker, home in ((first, FLOODER), (second, FRIEND)):
                    wire = STREET.seal(Presence, home, now=START + late).wire
                    speaker.transport.publish(pub_topic(COMMUNITY, home), wire)

            say(timedelta(minutes=20))
            await until(lambda: told)
            await asyncio.sleep(0.2)  # four heartbeats
            assert told == [
                "this clock is 20 min behind most neighbours': until it is set right, this home does not trade"
            ]
            assert here.desk.refused["presence comes from the future: are both clocks right?"] == 2
            here._clock.advance(timedelta(minutes=20))
            say(timedelta(minutes=20))
            await until(lambda: len(told) > 1)
            assert told[1:] == ["this clock shows the neighbours' time again"]

    asyncio.run(run())
