"""Brokers of others, where homes meet: what a member may do there, what their operators learn, and when they die."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_helpers import station, until

from agent.peer_links import meeting_link, sealer
from coordinator.charter import Charter, Member, Rules
from coordinator.identity import Identity, encode_base64
from coordinator.links import LinkOptions, LinkSettings
from coordinator.mosquitto_files import password_line
from coordinator.mqtt_topics import direct_topic, pub_topic

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from meeting_brokers import ServiceBroker, open_folder, run

on_all = pytest.mark.parametrize(
    "program",
    [
        pytest.param("mosquitto-2.0", marks=pytest.mark.mosquitto),
        pytest.param("mosquitto-2.1", marks=pytest.mark.mosquitto_2_1),
        pytest.param("nats", marks=pytest.mark.nats_server),
    ],
)

ANNA, BERT, CARL, EVE = (Identity.from_seed(bytes([n + 1]) * 32) for n in range(4))


def member(identity: Identity, name: str) -> Member:
    return Member(
        id=identity.id,
        name=name,
        public_key=encode_base64(identity.public_key),
        exchange_key=encode_base64(identity.exchange_key),
    )


def charter_with(*brokers: ServiceBroker, people: tuple[Identity, ...] = (ANNA, BERT, CARL)) -> Charter:
    members = [member(each, f"home {n}") for n, each in enumerate(people)]
    return Charter(
        name="meeting",
        currency="EUR",
        founded_ms=0,
        rules=Rules(),
        members=tuple(sorted(members, key=lambda each: each.id)),
        meeting=tuple(broker.entry for broker in brokers),
    )


@contextlib.contextmanager
def serving(program: str) -> Iterator[tuple[ServiceBroker, Charter]]:
    with open_folder() as folder:
        broker = ServiceBroker(folder, 1, program)  # type: ignore[arg-type]
        charter = charter_with(broker)
        broker.let_in(charter)
        broker.start()
        try:
            yield broker, charter
        finally:
            broker.kill()


@contextlib.asynccontextmanager
async def at_meeting(charter: Charter, me: Identity, *, plain: bool = False, subscribe: tuple[str, ...] = ()):
    """Be a member at the meeting broker. `plain`: with a client that seals nothing and subscribes to what it likes."""
    assert charter.meeting is not None
    link = meeting_link(charter.meeting[0], charter, me)
    assert link is not None
    if plain:
        link = link.model_copy(update={"meeting": False, "publish": True, "subscribe": subscribe})
    async with talking(link, charter, me) as here:
        yield here


@contextlib.asynccontextmanager
async def talking(link: LinkSettings, charter: Charter, me: Identity, wait: bool = True):
    async with station(link, wait=wait, sealer=sealer(charter, me)) as here:
        if wait:
            await asyncio.sleep(0.3)  # for the answers to subscriptions
        yield here


@on_all
def test_members_hear_each_other_at_a_meeting_broker_each_only_what_is_for_it(program: str) -> None:
    async def scenario(charter: Charter) -> None:
        community = charter.community_id
        async with (
            at_meeting(charter, ANNA) as anna,
            at_meeting(charter, BERT) as bert,
            at_meeting(charter, CARL) as carl,
        ):
            anna.transport.publish(pub_topic(community, ANNA.id), b"for all")
            anna.transport.publish(direct_topic(community, ANNA.id, BERT.id), b"for bert")
            await until(lambda: sorted(bert.payloads) == [b"for all", b"for bert"])
            await until(lambda: carl.payloads == [b"for all"])
            assert anna.payloads == [], "nobody hears itself"

    with serving(program) as (_, charter):
        asyncio.run(scenario(charter))


@on_all
def test_a_member_speaks_only_as_itself_and_reads_nothing_for_others(program: str) -> None:
    async def scenario(charter: Charter) -> None:
        community = charter.community_id
        to_carl = direct_topic(community, ANNA.id, CARL.id)
        everything = ("#", f"cw/1/{community}/#", to_carl, "$SYS/#", "$MQTT/#", "$MQTT/sub/#")
        async with (
            at_meeting(charter, ANNA) as anna,
            at_meeting(charter, CARL) as carl,
            at_meeting(charter, BERT, plain=True, subscribe=everything) as bert,
        ):
            bert.transport.publish(pub_topic(community, ANNA.id), b"as anna")
            bert.transport.publish(to_carl, b"as anna")
            bert.transport.publish(pub_topic("another", BERT.id), b"elsewhere")
            anna.transport.publish(to_carl, b"for carl")
            anna.transport.publish(pub_topic(community, ANNA.id), b"for all")
            await until(lambda: sorted(carl.payloads) == [b"for all", b"for carl"])
            await asyncio.sleep(0.3)
            assert carl.transport.unreadable == 0, "what bert said as anna did not get past the broker"
            heard = {inbound.topic for inbound in bert.received}
            assert heard <= {pub_topic(community, ANNA.id)}, "public is what every member may read"

    with serving(program) as (_, charter):
        asyncio.run(scenario(charter))


@on_all
def test_a_stranger_and_a_member_of_another_community_do_not_come_in(program: str) -> None:
    async def refused(link: LinkSettings, charter: Charter, me: Identity) -> None:
        async with talking(link, charter, me, wait=False) as here:
            await until(lambda: here.transport.links[0].kind == "refused")
            assert "wrong user name or password" in here.texts[0]

    async def scenario(broker: ServiceBroker, charter: Charter) -> None:
        hers = charter_with(broker, people=(EVE, BERT))
        link = meeting_link(broker.entry, hers, EVE)
        assert link is not None
        await refused(link, hers, EVE)
        await refused(link.model_copy(update={"username": ANNA.id}), hers, EVE)
        anna = meeting_link(broker.entry, charter, ANNA)
        bert = meeting_link(broker.entry, charter, BERT)
        assert anna is not None
        assert bert is not None
        await refused(anna.model_copy(update={"password": bert.password}), charter, ANNA)

    with serving(program) as (broker, charter):
        asyncio.run(scenario(broker, charter))


@pytest.mark.mosquitto
def test_the_operator_sees_sizes_and_times_and_what_it_forges_or_repeats_is_no_message() -> None:
    """The operator may change its own files: here it lets itself in, to read and write everything."""

    async def scenario(broker: ServiceBroker, charter: Charter) -> None:
        community = charter.community_id
        topic = direct_topic(community, ANNA.id, BERT.id)
        spy = LinkSettings(
            name="spy",
            url=broker.entry.url,
            username=EVE.id,
            password="operator",
            pin=broker.entry.public_key,
            publish=True,
            subscribe=("#",),
        )
        secret = b"seller, buyer, 750 Wh, 0.21 EUR" * 4
        async with (
            at_meeting(charter, ANNA) as anna,
            at_meeting(charter, BERT) as bert,
            talking(spy, charter, EVE) as operator,
        ):
            anna.transport.publish(topic, secret)
            anna.transport.publish("commonwatt/home 0/state", b"the home's own business")
            await until(lambda: bert.payloads == [secret])
            await until(lambda: operator.received)
            await asyncio.sleep(0.3)
            assert [inbound.topic for inbound in operator.received] == [topic]
            (seen,) = operator.payloads
            assert len(seen) == len(secret) + 16 + 1 + 20 + 16
            assert not any(secret[at : at + 8] in seen for at in range(0, len(secret), 8))

            operator.transport.publish(topic, secret)
            operator.transport.publish(topic, seen[:-1] + bytes([seen[-1] ^ 1]))
            operator.transport.publish(pub_topic(community, ANNA.id), seen)
            await until(lambda: bert.transport.unreadable == 3)
            assert bert.payloads == [secret]
            await until(lambda: [text for text in bert.texts if "could not be opened" in text])
            assert len([text for text in bert.texts if "could not be opened" in text]) == 1, "told once, not each time"

    with serving("mosquitto-2.0") as (broker, charter):
        broker.kill()
        for name, line in (
            ("passwords", password_line(EVE.id, "operator", bytes(12))),
            ("rules", f"user {EVE.id}\ntopic readwrite #"),
        ):
            with (broker.folder / name).open("a") as file:
                file.write(line + "\n")
        broker.start()
        asyncio.run(scenario(broker, charter))


@pytest.mark.mosquitto
@pytest.mark.timeout(150)
def test_two_of_three_dead_lose_nothing_and_after_all_were_dead_trading_goes_on() -> None:
    quick = LinkOptions(retry_min_s=0.2, retry_max_s=1.0)
    figures = run(homes=4, slot_s=900, speed=300, options=quick)
    assert figures["slots_traded_with_one_of_three"] == 2
    assert figures["contracts_lost"] == 0
    assert figures["first_negotiation_after_that_traded"]
    assert figures["wh_sold_twice"] == 0
    assert figures["contracts_counted"] >= 8, "two pairs in at least four slots"
    assert figures["unreadable"] == 0
    assert figures["copies_dropped"] > 0
