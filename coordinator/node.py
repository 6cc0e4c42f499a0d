"""The loop of one home's trading: MQTT in, deadlines, MQTT out. The thin shell around the desk."""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from coordinator.balancing import Numbers
from coordinator.charter import Charter
from coordinator.clock import Clock
from coordinator.codec import MAX_AHEAD_MS, Verified, heading
from coordinator.desk import Desk
from coordinator.household import Household, MeterReading
from coordinator.identity import Identity
from coordinator.ledger_store import LedgerStore
from coordinator.mqtt_topics import direct_topic, pub_topic, speaker
from coordinator.peers import Presence
from coordinator.slots import Slot
from coordinator.transport import Inbound, Transport

log = logging.getLogger(__name__)

LATE_S = 2.0
"""Wall seconds that a message may take without making a clock look wrong: where slots fly by, that is long."""
HEARTBEATS_MISSED = 3
"""A peer is called absent after so many heartbeats without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """Wall-clock times of the loop.

    Args:
        heartbeat_s: A home says that it is there this often.
    """

    heartbeat_s: float = 20.0


class Node:
    """One home among its neighbours.

    Args:
        transport: Entered (connected) by the caller.
        on_notice: Takes (level, text) for the owner, once per change of state.
        forgiven: Ids of homes to trade with whatever is proved against them.
    """

    def __init__(
        self,
        *,
        charter: Charter,
        identity: Identity,
        store: LedgerStore,
        household: Household,
        transport: Transport,
        clock: Clock,
        on_notice: Callable[[Literal["info", "warning"], str], None],
        options: NodeOptions | None = None,
        forgiven: Collection[str] = (),
    ) -> None:
        self._charter = charter
        self._me = identity.id
        self._transport = transport
        self._clock = clock
        self._on_notice = on_notice
        self._options = options or NodeOptions()
        self._changed = asyncio.Event()
        self._clock_off = False
        self.peers = Presence(frozenset(charter.by_id) - {identity.id}, HEARTBEATS_MISSED * self._options.heartbeat_s)
        self.desk = Desk(
            charter=charter,
            identity=identity,
            store=store,
            household=household,
            send=self._send,
            now=clock.now(),
            forgiven=forgiven,
        )
        self._concerned: set[str] = set()

    def _send(self, to: str, wire: bytes, firm: bool) -> None:
        community = self._charter.community_id
        topic = pub_topic(community, self._me) if to == "*" else direct_topic(community, self._me, to)
        self._transport.publish(topic, wire, qos=1 if firm else 0)

    async def run(self) -> None:
        """Trade until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(), name="read")
            tasks.create_task(self._keep_time(), name="keep time")
            tasks.create_task(self._heartbeat(), name="heartbeat")

    def metered(self, slot: Slot, reading: MeterReading) -> None:
        """Take the meter's word on a finished slot."""
        self.desk.metered(slot, reading, self._clock.now())
        self._changed.set()

    def deviates(self, slot: Slot, numbers: Numbers, every_s: float) -> None:
        """Tell the neighbours how far this home is from its plan in the running slot, as it does every `every_s`."""
        self.desk.say_deviation(slot, numbers, self._clock.now(), every_s)

    def concerns(self) -> list[str]:
        """Return what the owner must look at: proved fraud, disputes, statements without an answer; each told once."""
        texts = [concern.text for concern in self.desk.concerns(self._name, self._clock.now())]
        for text in texts:
            if text not in self._concerned:
                self._on_notice("warning", text)
        self._concerned = set(texts)
        return texts

    async def _read(self) -> None:
        async for inbound in self._transport:
            now = self._clock.now()
            verified = self._take(inbound, now)
            if verified is not None and self.peers.heard(verified.message.sender, self._clock.monotonic(), now):
                self._on_notice("info", f"{self._name(verified.message.sender)} is back")

    def _take(self, inbound: Inbound, now: datetime) -> Verified[Any] | None:
        """Hand a message to the desk, unless its topic is another home's than the sender that it names.

        Topics prove nothing; but brokers let each home write on its own only, so a home that names others as senders
        ends here and uses up nobody's share.
        """
        claimed, verified = heading(inbound.payload), None
        if claimed is None or claimed[1] != speaker(inbound.topic):
            self.desk.refused["speaks on the topic of another"] += 1
        else:
            verified = self.desk.receive(inbound.payload, now, inbound.link)
        if verified is None:
            self._transport.refused(inbound)
        else:
            self._changed.set()
        return verified

    async def _keep_time(self) -> None:
        while True:
            now = self._clock.now()
            self.desk.tick(now)
            self._changed.clear()
            wait_s = (self.desk.next_deadline(now) - self._clock.now()).total_seconds() / self._clock.speed
            try:
                async with asyncio.timeout(max(wait_s, 0.0)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _heartbeat(self) -> None:
        while True:
            life_s = 2 * self._options.heartbeat_s * self._clock.speed
            self.desk.say_presence(self._clock.now(), timedelta(seconds=life_s))
            for peer in self.peers.lost(self._clock.monotonic()):
                self._on_notice("warning", f"nothing heard from {self._name(peer)} any more")
            self._check_clock()
            await asyncio.sleep(self._options.heartbeat_s)

    def _check_clock(self) -> None:
        """Tell the owner when the neighbours' clocks show another time: once, and once when they agree again."""
        ahead = self.desk.clock_check.ahead(self._clock.now())
        limit_s = MAX_AHEAD_MS / 1000 + LATE_S * self._clock.speed
        off = abs(ahead.total_seconds()) > limit_s
        if off and not self._clock_off:
            way = "ahead of" if ahead > timedelta(0) else "behind"
            minutes = round(abs(ahead.total_seconds()) / 60)
            text = (
                f"this clock is {minutes} min {way} most neighbours': until it is set right, this home does not trade"
            )
            self._on_notice("warning", text)
        elif self._clock_off and not off:
            self._on_notice("info", "this clock shows the neighbours' time again")
        self._clock_off = off

    def _name(self, peer: str) -> str:
        return self._charter.ever[peer].name
