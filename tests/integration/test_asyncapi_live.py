"""docs/asyncapi.yaml against live traffic: every message that real brokers carried while real homes traded."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import yaml
from demo_helpers import RunningDemo, running_demo

sys.path.append(str(Path(__file__).parents[1]))

from asyncapi_check import BreachError, Checker

from agent.dashboard.settings import Source
from agent.demo.options import DemoOptions
from coordinator.clock import WallClock
from coordinator.links import Inbound, LinkSettings
from coordinator.transport import Transport

CHECKER = Checker(yaml.safe_load((Path(__file__).parents[2] / "docs/asyncapi.yaml").read_text(encoding="utf-8")))
ALWAYS = {"presence", "ready", "bid", "offer", "accept", "position", "leaf", "meter", "residual", "deviation"}


@asynccontextmanager
async def listening(source: Source, heard: list[Inbound]) -> AsyncIterator[None]:
    """Note everything a home's broker carries, as its owner may."""
    link = LinkSettings(
        name=source.home, url=source.url, username="owner", password=source.password, subscribe=("cw/#", "commonwatt/#")
    )

    async def read() -> None:
        async for inbound in transport:
            heard.append(inbound)

    async with Transport([link], WallClock(), lambda notice: None) as transport:
        task = asyncio.create_task(read())
        yield
        assert transport.dropped == transport.oversize == 0
    await task


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> list[Inbound]:
    """All messages of three homes until the first slot in which they traded is settled."""
    heard: list[Inbound] = []

    async def scenario() -> None:
        folder = tmp_path_factory.mktemp("live")
        async with AsyncExitStack() as stack:
            street: RunningDemo = await stack.enter_async_context(
                running_demo(DemoOptions(folder=folder, homes=3, hours=3, page=False))
            )
            assert street.demo.settled is not None
            for source in street.demo.settled.dashboard.sources:
                await stack.enter_async_context(listening(source, heard))
            await street.until(
                lambda: (
                    any(b'"kind":"meter"' in each.payload for each in heard)
                    and any(each.topic.endswith("/savings") for each in heard)
                ),
                "a traded slot is settled",
                100,
            )

    asyncio.run(scenario())
    return heard


@pytest.mark.timeout(180)
def test_everything_on_the_brokers_is_as_the_document_says(traffic: list[Inbound]) -> None:
    said = [CHECKER.check(inbound.topic, inbound.payload) for inbound in traffic]
    assert {kind for _, kind in said} >= ALWAYS
    assert {channel for channel, _ in said} == set(CHECKER._document["channels"])


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "order"}, "carries no order"),
        ({"round": "1"}, "type"),
        ({"round": True}, "type"),
        ({"round": 0}, "minimum"),
        ({"price_hash": "x"}, "pattern"),
        ({"energy_wh": []}, "minItems"),
        ({"energy_wh": [10**8]}, "maximum"),
        ({"note": 1}, "not in the document"),
        ({"slot": None}, "type"),
        ({"sender": "a" * 16}, "it says"),
    ],
)
def test_a_message_that_differs_is_seen(traffic: list[Inbound], change: dict[str, object], why: str) -> None:
    bid = next(each for each in traffic if b'"kind":"bid"' in each.payload)
    line, _, signature = bid.payload.partition(b"\n")
    other = json.dumps({**json.loads(line), **change}).encode() + b"\n" + signature
    with pytest.raises(BreachError, match=why):
        CHECKER.check(bid.topic, other)


@pytest.mark.timeout(180)
def test_another_topic_and_a_message_without_signature_are_seen(traffic: list[Inbound]) -> None:
    bid = next(each for each in traffic if b'"kind":"bid"' in each.payload)
    with pytest.raises(BreachError, match="channels"):
        CHECKER.check(bid.topic + "/more", bid.payload)
    with pytest.raises(BreachError, match="signature"):
        CHECKER.check(bid.topic, bid.payload.partition(b"\n")[0])
