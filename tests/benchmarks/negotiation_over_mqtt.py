"""The homes of a community folder negotiate one horizon, from cold, over a real Mosquitto, each with its own key,
ledger, link and planner. Prints how much of the central optimum of the same forecasts their matched bids capture.

    python tests/benchmarks/negotiation_over_mqtt.py ../shared/data/fontana17 --start 2016-08-22T16:00

All homes share one process here, so a round takes as long as all their answers, signatures and checks together.
"""

import argparse
import asyncio
import json
import math
import resource
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from recorded_homes import captured, planner_of

from agent.planning.planner import Planner
from agent.simulator.community import load_community
from coordinator.broker_settings import BrokerUser
from coordinator.charter import Charter, Member, Rules
from coordinator.clock import ScaledClock, WallClock
from coordinator.contracts import Contract
from coordinator.household import MeterReading, Preparation
from coordinator.identity import Identity, encode_base64
from coordinator.ledger_store import LedgerStore
from coordinator.links import LinkSettings
from coordinator.mosquitto import MosquittoBroker
from coordinator.mqtt_topics import direct_topic, pub_topic
from coordinator.negotiation import Finished
from coordinator.node import Node
from coordinator.settlement import SlotBill
from coordinator.slots import Slot
from coordinator.transport import Transport

ROUNDS = 30
READY_S, ROUNDS_S = 103, 100
"""Wall seconds before the slot: everybody has three to say `ready`, and more than a minute for all rounds."""
PATIENCE_S = 100.0


def rules_for(slot_s: int) -> Rules:
    """Return a charter that never calls a negotiation converged, so that every round up to the limit is held."""
    return Rules(
        slot_s=slot_s,
        horizon_slots=86400 // slot_s,
        ready_s=READY_S,
        rounds_s=ROUNDS_S,
        offers_s=10,
        expiry_s=8,
        gate_s=5,
        round_timeout_s=20,
        round_limit=ROUNDS,
        unmatched_wh=0,
        price_change_micro=0,
    )


@dataclass(kw_only=True)
class NegotiatingHome:
    """A household that negotiates and then buys nothing: the negotiation itself is what is looked at."""

    planner: Planner
    began_s: list[float] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    ended_s: float = math.nan
    result: Finished | None = None

    def prepare(self, slot: Slot, now: datetime) -> Preparation | None:
        return Preparation(bidder=self, opening_micro=self.planner.opening_prices())

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        self.began_s.append(time.perf_counter())
        return self.planner.bid(prices_micro, anchor_wh, rho_micro)

    def keep(self, slot: Slot, energy_wh: int, price_micro: int) -> int:
        return 0

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        return 0, 0

    def negotiated(self, result: Finished, price_micro: int) -> None:
        self.result, self.ended_s = result, time.perf_counter()
        self.done.set()

    def gate_closed(self, slot: Slot, net_wh: int, now: datetime) -> None: ...

    def settled(self, slot: Slot, meter: MeterReading, bill: SlotBill, contracts: Sequence[Contract]) -> None: ...


def _community(rules: Rules, names: Sequence[str]) -> tuple[Charter, dict[str, Identity]]:
    identities = {identity.id: identity for identity in (Identity.generate() for _ in names)}
    members = [
        Member(id=i.id, name=name, public_key=encode_base64(i.public_key), broker="mqtt://127.0.0.1:1883")
        for name, i in zip(names, identities.values(), strict=True)
    ]
    members.sort(key=lambda member: member.id)
    charter = Charter(name="negotiation", currency="EUR", founded_ms=0, rules=rules, members=tuple(members))
    return charter, identities


def _users(charter: Charter) -> list[BrokerUser]:
    """Return a user per home: it writes on its own topics, and reads what is for everybody or for itself."""
    community = charter.community_id
    return [
        BrokerUser(
            name=home,
            password=SecretStr(secrets.token_urlsafe(12)),
            publish=(pub_topic(community, home), direct_topic(community, home, "+")),
            subscribe=(pub_topic(community, "+"), direct_topic(community, "+", home)),
        )
        for home in charter.by_id
    ]


async def _hold(
    charter: Charter,
    identities: dict[str, Identity],
    homes: dict[str, NegotiatingHome],
    broker: MosquittoBroker,
    folder: Path,
) -> None:
    """Let every home join over its own link and, once all are connected, negotiate `first` once."""
    all_there = asyncio.Barrier(len(homes))
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        running = []
        for user in broker.users:
            link = LinkSettings(
                name="meeting",
                url=broker.url,
                username=user.name,
                password=user.password,
                publish=True,
                subscribe=user.subscribe,
            )
            running.append(
                tasks.create_task(_take_part(charter, identities[user.name], homes[user.name], link, all_there, folder))
            )
        for home in homes.values():
            await home.done.wait()
        for task in running:
            task.cancel()


async def _take_part(
    charter: Charter,
    identity: Identity,
    home: NegotiatingHome,
    link: LinkSettings,
    all_there: asyncio.Barrier,
    folder: Path,
) -> None:
    with LedgerStore(folder / f"{identity.id}.db", identity.id) as store:
        async with Transport([link], WallClock(), lambda notice: None) as transport:
            while not all(state.connected for state in transport.links):
                await asyncio.sleep(0.01)
            await all_there.wait()
            clock = ScaledClock(home.planner.first.start_at - timedelta(seconds=READY_S - 0.1), datetime.now(UTC), 1.0)
            node = Node(
                charter=charter,
                identity=identity,
                store=store,
                household=home,
                transport=transport,
                clock=clock,
                on_notice=lambda level, text: None,
            )
            await node.run()


def negotiate(folder: Path, start_at: datetime) -> dict[str, float | int]:
    """Hold one negotiation and return its figures.

    Raises:
        RuntimeError: If two homes ended with different bids or prices.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    community = load_community(folder)
    rules = rules_for(community.slot_s)
    first = Slot.at(start_at, community.slot_s)
    charter, identities = _community(rules, [home.name for home in community.homes])
    by_name = {home.name: home for home in community.homes}
    homes = {
        member.id: NegotiatingHome(planner=planner_of(community, by_name[member.name], first, rules))
        for member in charter.members
    }
    broker = MosquittoBroker(users=_users(charter))
    broker.start()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            asyncio.run(_hold(charter, identities, homes, broker, Path(scratch)))
    finally:
        broker.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    results = [home.result for home in homes.values() if home.result is not None]
    views = {(r.rounds, r.prices_micro, tuple(sorted(r.bids_wh.items()))) for r in results}
    if len(views) != 1 or len(results) != len(homes):
        raise RuntimeError(f"{len(homes)} homes ended with {len(views)} different results")
    result = results[0]
    wall_s = max(h.ended_s for h in homes.values()) - min(h.began_s[0] for h in homes.values())
    planners = {name: home.planner for name, home in homes.items()}
    return {
        "homes": len(homes),
        "slots": rules.horizon_slots,
        "rounds": result.rounds,
        "captured": round(captured(planners, result), 6),
        "ms_per_round": round(1000 * wall_s / result.rounds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", default="2016-08-22T16:00", help="first slot, UTC unless an offset is given")
    args = parser.parse_args()
    start_at = datetime.fromisoformat(args.start)
    print(json.dumps(negotiate(args.folder, start_at if start_at.tzinfo else start_at.replace(tzinfo=UTC))))


if __name__ == "__main__":
    main()
