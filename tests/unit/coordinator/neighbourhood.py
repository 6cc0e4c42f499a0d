"""Several trading desks in one process on a virtual clock, joined by a network that loses, delays and repeats."""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from coordinator.audit import Audit, audit, read_books
from coordinator.charter import Charter, Member, Rules
from coordinator.contracts import Contract
from coordinator.desk import Desk
from coordinator.household import MeterReading, Preparation
from coordinator.identity import Identity, encode_base64
from coordinator.ledger_store import LedgerStore
from coordinator.negotiation import Finished
from coordinator.settlement import SlotBill
from coordinator.slots import Slot
from coordinator.statements import STATEMENT_EVERY

START = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
IMPORT_MICRO, EXPORT_MICRO = 300_000, 60_000


def make_charter(identities: Sequence[Identity], rules: Rules) -> Charter:
    members = [
        Member(
            id=i.id,
            name=f"home {n + 1}",
            public_key=encode_base64(i.public_key),
            broker="mqtt://127.0.0.1:1883",
            exchange_key=encode_base64(i.exchange_key) if rules.masked else None,
        )
        for n, i in enumerate(identities)
    ]
    return Charter(
        name="test street",
        currency="EUR",
        founded_ms=0,
        rules=rules,
        members=tuple(sorted(members, key=lambda member: member.id)),
    )


@dataclass(kw_only=True)
class ScriptedHome:
    """A household without devices: in each slot it has a fixed surplus (<0) or need (>0) and a value for it."""

    rules: Rules
    seed: int
    gates: dict[int, int] = field(default_factory=dict)
    bills: dict[int, SlotBill] = field(default_factory=dict)
    contracts: dict[int, Sequence[Contract]] = field(default_factory=dict)
    results: list[Finished] = field(default_factory=list)
    at_home: bool = True

    def surprise_wh(self, slot: int) -> int:
        """Return what the meter shows beyond what was traded."""
        return 10

    def wish_wh(self, slot: int) -> int:
        return random.Random(f"{self.seed}|{slot}").randint(-800, 800)

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        """Exact answer of a home with value v per kWh inside its wish: clip(anchor - (price - v) / rho)."""
        per_wh = (rho_micro or self.rules.rho_micro) * 3600 / self.rules.slot_s
        answer = []
        for i, (price, anchor) in enumerate(zip(prices_micro, anchor_wh, strict=True)):
            wish = self.wish_wh(self._slot + i * self.rules.slot_s)
            value = IMPORT_MICRO if wish > 0 else EXPORT_MICRO
            answer.append(round(min(max(anchor - (price - value) / per_wh, min(wish, 0)), max(wish, 0))))
        return answer

    def prepare(self, slot: Slot, now: datetime) -> Preparation | None:
        self._slot = slot.key
        middle = [(IMPORT_MICRO + EXPORT_MICRO) // 2] * self.rules.horizon_slots
        return Preparation(bidder=self, opening_micro=middle) if self.at_home else None

    def keep(self, slot: Slot, energy_wh: int, price_micro: int) -> int:
        return energy_wh

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        return IMPORT_MICRO, EXPORT_MICRO

    def negotiated(self, result: Finished, price_micro: int) -> None:
        self.results.append(result)

    def gate_closed(self, slot: Slot, net_wh: int, now: datetime) -> None:
        self.gates[slot.key] = net_wh

    def settled(self, slot: Slot, meter: MeterReading, bill: SlotBill, contracts: Sequence[Contract]) -> None:
        self.bills[slot.key] = bill
        self.contracts[slot.key] = contracts


class Neighbourhood:
    """`count` desks; `loss` and `duplicates` are probabilities per receiver and message, delays are uniform."""

    def __init__(
        self,
        folder: Path,
        *,
        homes: int,
        seed: int = 1,
        loss: float = 0.0,
        duplicates: float = 0.0,
        delay_s: tuple[float, float] = (0.05, 0.5),
        rules: Rules | None = None,
        start_at: datetime = START,
        make_home: Callable[[int, Rules], Any] | None = None,
        state_every: timedelta = STATEMENT_EVERY,
    ) -> None:
        self.rules = rules or Rules(horizon_slots=8)
        self.random = random.Random(seed)
        self.state_every = state_every
        self.loss, self.duplicates, self.delay_s = loss, duplicates, delay_s
        self.now = start_at
        self.folder = folder
        self.identities = [Identity.from_seed(bytes([seed % 256, n + 1]) * 16) for n in range(homes)]
        self.charter = make_charter(self.identities, self.rules)
        make = make_home or (lambda n, rules: ScriptedHome(rules=rules, seed=n))
        self.homes = {i.id: make(n, self.rules) for n, i in enumerate(self.identities)}
        self.sent: list[tuple[str, str, bytes]] = []
        self.tamper: Callable[[str, str, bytes], bytes | None] = lambda sender, to, wire: wire
        self._queue: list[tuple[datetime, int, str, bytes]] = []
        self._order = count()
        self._stores: dict[str, LedgerStore] = {}
        self.desks: dict[str, Desk] = {}
        for identity in self.identities:
            self.start(identity)

    def start(self, identity: Identity) -> None:
        store = LedgerStore(self.folder / f"{identity.id}.db", identity.id)
        self._stores[identity.id] = store
        self.desks[identity.id] = Desk(
            charter=self.charter,
            identity=identity,
            store=store,
            household=self.homes[identity.id],
            send=lambda to, wire, firm: self._send(identity.id, to, wire),
            now=self.now,
            state_every=self.state_every,
        )

    def stop(self, home: str) -> None:
        """Crash: memory is gone, the file stays."""
        del self.desks[home]
        self._stores.pop(home).close()

    def _send(self, sender: str, to: str, wire: bytes) -> None:
        self.sent.append((sender, to, wire))
        for home in self.homes:
            if home == sender or to not in ("*", home):
                continue
            copies = 0 if self.random.random() < self.loss else 1 + (self.random.random() < self.duplicates)
            for _ in range(copies):
                tampered = self.tamper(sender, home, wire)
                if tampered is not None:
                    at = self.now + timedelta(seconds=self.random.uniform(*self.delay_s))
                    heapq.heappush(self._queue, (at, next(self._order), home, tampered))

    def run(self, until: datetime) -> None:
        due = {home: desk.next_deadline(self.now) for home, desk in self.desks.items()}
        while True:
            home = min(due, key=lambda name: (due[name], name), default="")
            timer_at = due.get(home, until)
            message_at = self._queue[0][0] if self._queue else until
            at = min(timer_at, message_at)
            if at >= until:
                self.now = until
                return
            self.now = max(self.now, at)
            if message_at <= timer_at:
                _, _, home, wire = heapq.heappop(self._queue)
                if home not in self.desks:
                    continue
                self.desks[home].receive(wire, self.now)
            else:
                self.desks[home].tick(self.now)
            due[home] = self.desks[home].next_deadline(self.now)

    def run_slots(self, slots: int) -> None:
        """Run whole slots, reading every meter at the end of each: what was traded, and the home's surprise on top."""
        for _ in range(slots):
            slot = Slot.at(self.now, self.rules.slot_s)
            self.run(slot.end_at)
            for home, desk in self.desks.items():
                net_wh = self.homes[home].gates.get(slot.key, 0) + self.homes[home].surprise_wh(slot.key)
                reading = MeterReading(import_wh=max(net_wh, 0), export_wh=max(-net_wh, 0))
                desk.metered(slot, reading, self.now)
                desk.tick(self.now)

    def run_on(self, minutes: float) -> None:
        self.run(self.now + timedelta(minutes=minutes))

    def come_to_rest(self) -> None:
        """Heal the network, negotiate no more, and let an hour pass."""
        self.loss, self.delay_s = 0.0, (0.1, 0.5)
        for home in self.homes.values():
            home.at_home = False
        self.run(self.now + timedelta(hours=1))

    def audit(self) -> Audit:
        for store in self._stores.values():
            store.close()
        self._stores.clear()
        self.desks.clear()
        return audit({i.id: read_books(self.folder / f"{i.id}.db", self.charter, i.id) for i in self.identities})
