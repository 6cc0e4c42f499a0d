"""Homes that reach each other only at three meeting brokers: two of them die, then all, then all come back.

    python tests/benchmarks/meeting_brokers.py                     # slots of 60 s at wall speed: about twelve minutes
    python tests/benchmarks/meeting_brokers.py --slot-s 900 --speed 180

Real Mosquitto by the files of `commonwatt broker-config`, TLS, sealed messages, the product's own node, ledger and
keys; the households are scripted so that there is always something to trade. Prints what the brokers' deaths cost.
"""

import argparse
import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.broker_files import MOSQUITTO_CONFIG, NATS_CONFIG, Program, meeting_entry, plan_meeting, service_files
from agent.peer_links import meeting_link, sealer
from coordinator.audit import UNDECIDED, Audit, audit, read_books
from coordinator.charter import Charter, MeetingBroker, Member, Rules
from coordinator.clock import Clock, ScaledClock, WallClock
from coordinator.contracts import Contract
from coordinator.household import MeterReading, Preparation
from coordinator.identity import Identity, encode_base64
from coordinator.ledger_store import LedgerStore
from coordinator.links import LinkOptions, LinkSettings
from coordinator.mosquitto import find_mosquitto, find_plugins
from coordinator.negotiation import Finished
from coordinator.node import Node, NodeOptions
from coordinator.settlement import SlotBill
from coordinator.slots import Slot
from coordinator.transport import Transport

SBIN = "/usr/bin:/usr/sbin:/usr/local/sbin"
IMPORT_MICRO, EXPORT_MICRO = 300_000, 60_000
START_AT = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
DEAD_SLOTS = 3
PATIENCE_SLOTS = 5


class ServiceBroker:
    """A broker as its operator runs it: the program on the files that `broker-config` writes."""

    def __init__(self, folder: Path, number: int, program: Program = "mosquitto-2.0") -> None:
        self.identity = Identity.generate()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.entry: MeetingBroker = meeting_entry(f"meeting {number}", f"mqtts://127.0.0.1:{self.port}", self.identity)
        self.folder, self._program = folder / str(number), program
        self._process: subprocess.Popen[bytes] | None = None

    def let_in(self, charter: Charter) -> None:
        """Write the files, as whom the program runs as would have them."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        plan = plan_meeting(self.entry, "127.0.0.1", [charter], self.identity)
        files = service_files(plan, self._program, self.folder, WallClock().now(), plugins=find_plugins())
        for name, text in files.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)
        if self._account is not None:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)

    @property
    def _account(self) -> pwd.struct_passwd | None:
        return pwd.getpwnam("nats" if self._program == "nats" else "mosquitto") if os.geteuid() == 0 else None

    def start(self) -> None:
        """Return when it serves."""
        name, config = ("nats-server", NATS_CONFIG) if self._program == "nats" else ("mosquitto", MOSQUITTO_CONFIG)
        program = shutil.which(name, path=SBIN) if self._program == "nats" else find_mosquitto()
        assert program is not None, f"apt install {name}"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-c", str(self.folder / config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._account and self._account.pw_uid,
                group=self._account and self._account.pw_gid,
                extra_groups=[] if self._account else None,
            )
        for _ in range(200):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise TimeoutError(f"{name} does not open its port")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@dataclass(kw_only=True)
class SteadyHome:
    """A household that wants the same in every slot, Wh (+ buys), and takes whatever the others give."""

    rules: Rules
    wish_wh: int
    gates: dict[int, int] = field(default_factory=dict)
    bills: dict[int, SlotBill] = field(default_factory=dict)
    takes_part: bool = True

    def prepare(self, slot: Slot, now: datetime) -> Preparation | None:
        middle = [(IMPORT_MICRO + EXPORT_MICRO) // 2] * self.rules.horizon_slots
        return Preparation(bidder=self, opening_micro=middle) if self.takes_part else None

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        per_wh = (rho_micro or self.rules.rho_micro) * 3600 / self.rules.slot_s
        value = IMPORT_MICRO if self.wish_wh > 0 else EXPORT_MICRO
        low, high = min(self.wish_wh, 0), max(self.wish_wh, 0)
        pairs = zip(prices_micro, anchor_wh, strict=True)
        return [round(min(max(anchor - (price - value) / per_wh, low), high)) for price, anchor in pairs]

    def keep(self, slot: Slot, energy_wh: int, price_micro: int) -> int:
        return energy_wh

    def tariff_micro(self, slot: Slot) -> tuple[int, int]:
        return IMPORT_MICRO, EXPORT_MICRO

    def negotiated(self, result: Finished, price_micro: int) -> None: ...

    def gate_closed(self, slot: Slot, net_wh: int, now: datetime) -> None:
        self.gates[slot.key] = net_wh

    def settled(self, slot: Slot, meter: MeterReading, bill: SlotBill, contracts: Sequence[Contract]) -> None:
        self.bills[slot.key] = bill


@dataclass(kw_only=True)
class StreetHome:
    """One home at the meeting brokers."""

    identity: Identity
    household: SteadyHome
    node: Node
    transport: Transport
    store: LedgerStore

    @property
    def links_up(self) -> int:
        return sum(link.connected for link in self.transport.links)


class MeetingStreet:
    """Homes without a broker that others reach, and the brokers where they meet."""

    def __init__(
        self, folder: Path, *, homes: int, brokers: int, slot_s: int, speed: float, options: LinkOptions | None = None
    ) -> None:
        self.folder, self.options = folder, options
        self.rules = Rules.for_slot(slot_s, 4, residual_round=False)
        self.clock: Clock = ScaledClock(START_AT, datetime.now(UTC), speed)
        self.brokers = [ServiceBroker(folder / "brokers", number) for number in range(1, brokers + 1)]
        self.identities = [Identity.generate() for _ in range(homes)]
        members = [
            Member(
                id=each.id,
                name=f"home {number}",
                public_key=encode_base64(each.public_key),
                exchange_key=encode_base64(each.exchange_key),
            )
            for number, each in enumerate(self.identities, 1)
        ]
        self.charter = Charter(
            name="meeting street",
            currency="EUR",
            founded_ms=0,
            rules=self.rules,
            members=tuple(sorted(members, key=lambda member: member.id)),
            meeting=tuple(broker.entry for broker in self.brokers),
        )
        self.homes: list[StreetHome] = []

    @contextlib.asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Run brokers and homes."""
        for broker in self.brokers:
            broker.let_in(self.charter)
            broker.start()
        async with contextlib.AsyncExitStack() as stack:
            for broker in self.brokers:
                stack.callback(broker.kill)
            for number, identity in enumerate(self.identities):
                self.homes.append(await self._move_in(stack, identity, 400 if number % 2 else -400))
            tasks = [asyncio.create_task(home.node.run()) for home in self.homes]
            tasks.append(asyncio.create_task(self._meters()))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _move_in(self, stack: contextlib.AsyncExitStack, identity: Identity, wish_wh: int) -> StreetHome:
        links: list[LinkSettings] = []
        for broker in self.brokers:
            link = meeting_link(broker.entry, self.charter, identity)
            assert link is not None
            links.append(link)
        seals = sealer(self.charter, identity)
        transport = Transport(links, self.clock, lambda _: None, options=self.options, sealer=seals)
        household = SteadyHome(rules=self.rules, wish_wh=wish_wh)
        store = stack.enter_context(LedgerStore(self.folder / f"{identity.id}.db", identity.id))
        node = Node(
            charter=self.charter,
            identity=identity,
            store=store,
            household=household,
            transport=await stack.enter_async_context(transport),
            clock=self.clock,
            on_notice=lambda *_: None,
            options=NodeOptions(heartbeat_s=5.0),
        )
        return StreetHome(identity=identity, household=household, node=node, transport=transport, store=store)

    async def _meters(self) -> None:
        """At the end of each slot every meter shows what was traded."""
        while True:
            slot = Slot.at(self.clock.now(), self.rules.slot_s)
            await self.clock.sleep_until(slot.end_at)
            for home in self.homes:
                net_wh = home.household.gates.get(slot.key, 0)
                home.node.metered(slot, MeterReading(import_wh=max(net_wh, 0), export_wh=max(-net_wh, 0)))

    # What happened

    def slot_now(self) -> Slot:
        return Slot.at(self.clock.now(), self.rules.slot_s)

    def traded(self, slot: int) -> bool:
        """Return whether every home went through the slot's gate, and the buyers bought what the sellers sold."""
        nets = [home.household.gates.get(slot) for home in self.homes]
        return all(nets) and sum(net or 0 for net in nets) == 0

    def all_heard_since(self, at: datetime) -> bool:
        """Return whether every home heard every other after a moment: then they can trade."""
        heard = [
            home.node.peers.last_heard_at(other.identity.id)
            for home in self.homes
            for other in self.homes
            if other is not home
        ]
        return all(each is not None and each > at for each in heard)

    def links_up(self) -> int:
        return sum(home.links_up for home in self.homes)

    async def until(self, true: Callable[[], object], what: str, slots: float = PATIENCE_SLOTS) -> float:
        """Wait for something; return how many wall seconds it took.

        Raises:
            TimeoutError: If it does not come within so many slots.
        """
        began = time.monotonic()
        patience_s = max(slots * self.rules.slot_s / self.clock.speed, 20.0)
        while not true():
            if time.monotonic() - began > patience_s:
                raise TimeoutError(f"not within {patience_s:.0f} s: {what}")
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def next_trade(self) -> tuple[Slot, float]:
        """Wait for the next slot in which everybody trades; return it and the wall seconds until its gate."""
        done = {slot for home in self.homes for slot in home.household.gates}
        began = time.monotonic()

        def fresh() -> list[int]:
            return [slot for slot in self.homes[0].household.gates if slot not in done and self.traded(slot)]

        await self.until(fresh, "a slot in which everybody trades")
        return Slot.at(datetime.fromtimestamp(fresh()[0], UTC), self.rules.slot_s), time.monotonic() - began

    def audit(self) -> tuple[Audit, list[Contract]]:
        """Compare the ledgers; also return what is not decided in any of them. The homes must have stopped."""
        books = {
            home.identity.id: read_books(self.folder / f"{home.identity.id}.db", self.charter, home.identity.id)
            for home in self.homes
        }
        undecided = [c for book in books.values() for c in book.contracts.values() if c.status in UNDECIDED]
        return audit(books), undecided

    def settled(self, slot: int) -> bool:
        """Return whether every home has the slot's bill, with what it traded in it."""
        bills = [home.household.bills.get(slot) for home in self.homes]
        return all(bill is not None and bill.bought_wh + bill.sold_wh > 0 for bill in bills)


async def two_die_then_all(street: MeetingStreet) -> dict[str, float]:
    """Let two of three brokers die, then all for three slots; return what came of it.

    Raises:
        TimeoutError: If trading does not go on, or does not resume.
    """
    figures: dict[str, float] = {}
    async with street.living():
        every = len(street.homes) * len(street.brokers)
        await street.until(lambda: street.links_up() == every, "all links up")
        await street.next_trade()

        for broker in street.brokers[:2]:
            broker.kill()
        with_one = [(await street.next_trade())[0] for _ in range(2)]
        figures["slots_traded_with_one_of_three"] = len(with_one)

        agreed, _ = await street.next_trade()  # at its gate: what was agreed is still to be delivered
        street.brokers[2].kill()
        await street.clock.sleep_until(agreed.start_at + timedelta(seconds=DEAD_SLOTS * street.rules.slot_s))
        await street.until(lambda: street.links_up() == 0, "no link left")
        figures["slots_settled_while_all_were_dead"] = sum(street.settled(slot) for slot in _gates(street, agreed))

        back_at, began = street.clock.now(), time.monotonic()
        for broker in street.brokers:
            broker.start()
        await street.until(lambda: street.all_heard_since(back_at), "every home hears every other")
        figures["every_home_heard_again_s"] = round(time.monotonic() - began, 1)
        ready = timedelta(seconds=street.rules.ready_s)
        first = Slot.at(street.clock.now() + ready, street.rules.slot_s).shifted(1)
        await street.until(lambda: all(first.key in home.household.gates for home in street.homes), "the next gate")
        figures["first_negotiation_after_that_traded"] = street.traded(first.key)
        figures["its_gate_after_s"] = round(time.monotonic() - began, 1)
        await street.until(lambda: street.settled(agreed.key), "what was agreed before is settled everywhere")
        for home in street.homes:
            home.household.takes_part = False
        await asyncio.sleep(3 * street.rules.slot_s / street.clock.speed)
        figures["unreadable"] = sum(home.transport.unreadable for home in street.homes)
        figures["copies_dropped"] = sum(home.transport.duplicates for home in street.homes)
    result, undecided = street.audit()
    figures |= {
        "contracts_counted": result.contracts_counted,
        "contracts_void": result.contracts_void,
        "contracts_lost": result.ledger_mismatches + len(undecided),
        "wh_sold_twice": result.wh_sold_twice,
    }
    return figures


def _gates(street: MeetingStreet, first: Slot) -> list[int]:
    return [slot for slot in street.homes[0].household.gates if slot >= first.key]


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a folder into which the broker's own user may look."""
    with tempfile.TemporaryDirectory(prefix="cw-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def run(*, homes: int, slot_s: int, speed: float, options: LinkOptions | None = None) -> dict[str, float]:
    """Return the figures of one run."""
    with open_folder() as folder:
        street = MeetingStreet(folder, homes=homes, brokers=3, slot_s=slot_s, speed=speed, options=options)
        return asyncio.run(two_die_then_all(street))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--homes", type=int, default=6)
    parser.add_argument("--slot-s", type=int, default=60)
    parser.add_argument("--speed", type=float, default=1.0)
    given = parser.parse_args()
    figures = run(homes=given.homes, slot_s=given.slot_s, speed=given.speed)
    print(f"{given.homes} homes, 3 meeting brokers, slots of {given.slot_s} s at {given.speed:g} times wall speed")
    for name, value in figures.items():
        print(f"  {name.replace('_', ' '):34} {value:g}")
    kept = figures["contracts_lost"] == 0 and figures["first_negotiation_after_that_traded"]
    return 0 if kept and figures["every_home_heard_again_s"] <= 60 else 1


if __name__ == "__main__":
    sys.exit(main())
