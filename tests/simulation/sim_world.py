"""A neighbourhood in one process: virtual time on a heap, a network with faults, and the homes' processes.

No thread, no socket, no asyncio, no clock: one seed is one history, whatever the machine.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from sim_checks import ViolationError
from sim_evidence import Evidence
from sim_faults import HOMES, Faults
from sim_host import Host
from sim_plants import Planted

from coordinator.charter import Charter, Member, Rules
from coordinator.identity import Identity, encode_base64
from coordinator.slots import Slot

START_S = 1_780_304_400
"""The first slot: any quarter of an hour will do."""
ENDLESS = 3_000_000
"""Events of half a day with liars, thirty times over."""
HEAL_SLOTS = 14
"""After so many slots without faults everything must be settled."""


class World:
    """See the module's text.

    Args:
        slots: How many are lived through with faults.
        keys: Class of the identities.
        folder: For the ledgers of seeds with real ones.
        planted: A bug planted on purpose.
    """

    def __init__(
        self,
        seed: int,
        faults: Faults,
        *,
        slots: int,
        keys: type[Identity],
        folder: Path | None = None,
        planted: Planted | None = None,
        homes: int = HOMES,
    ) -> None:
        self.seed, self.faults, self.slots, self.folder = seed, faults, slots, folder
        self.planted = planted or Planted()
        self.draw = Random(f"world {seed}")
        self.rules = Rules(
            horizon_slots=2,
            round_limit=self.draw.choice([2, 3]),
            rounds_s=self.draw.choice([600, 280]),  # from 280 s on offers come shortly before gates
            price_rule=self.draw.choice(["midpoint", "midpoint", "marginal", "sdr"]),
        )
        self.begun_s = START_S
        self.now_ms = START_S * 1000
        self.count: Counter[str] = Counter()
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._trace = hashlib.blake2b(digest_size=16)
        self._cut_until_ms: dict[tuple[int, int], int] = {}
        identities = [keys.from_seed(f"{seed} {n}".encode().ljust(32)) for n in range(homes)]
        self.charter = make_charter(identities, self.rules)
        lying = self.lying = set(self.draw.sample(range(homes), faults.liars))
        self.evidence = Evidence(self)
        make: list[type[Host]] = [self._liar if n in lying else Host for n in range(homes)]
        self.hosts = [make[n](self, n, i, Random(f"home {seed} {n}")) for n, i in enumerate(identities)]
        self.by_id = {host.id: host for host in self.hosts}
        self.honest = [host for host in self.hosts if not host.liar]

    @property
    def _liar(self) -> type[Host]:
        from sim_liars import Liar

        return Liar

    # Time

    def at(self, at_ms: int, action: Callable[..., None], *args: Any) -> None:
        number = next(self._order)
        if number >= ENDLESS:
            raise ViolationError("I7: this history never ends")
        heapq.heappush(self._heap, (at_ms, number, action, args))

    def in_s(self, seconds: float, action: Callable[..., None], *args: Any) -> None:
        self.at(self.now_ms + int(1000 * seconds), action, *args)

    def run(self, until_ms: int) -> None:
        heap = self._heap
        while heap and heap[0][0] < until_ms:
            self.now_ms, _, action, args = heapq.heappop(heap)
            action(*args)
        self.now_ms = until_ms

    def live(self) -> str:
        """Live through all slots, heal, and check that everything settles; return the trace's hash.

        Raises:
            ViolationError: If a promise was broken; the text says where.
        """
        from sim_end import check_the_end

        try:
            for host in self.hosts:
                self._first_clock(host)
                host.start()
            for n in range(self.slots):
                self._script(n)
            end_ms = (START_S + self.slots * self.rules.slot_s) * 1000
            self.run(end_ms)
            self._heal()
            self.run(end_ms + HEAL_SLOTS * self.rules.slot_s * 1000)
            check_the_end(self)
        except ViolationError:
            raise
        except Exception as error:
            raise ViolationError(f"I0: a loop ended with {type(error).__name__}: {error}") from error
        return self._trace.hexdigest()

    def _first_clock(self, host: Host) -> None:
        """Clocks are anywhere within the skew, two thirds of them at its ends."""
        skew_s = self.faults.skew_s
        host.skew_ms = int(1000 * self.draw.choice([self.draw.uniform(-skew_s, skew_s), -skew_s, skew_s]))

    def _script(self, n: int) -> None:
        """Draw when in slot `n` meters speak, clocks jump, the network parts and backups are made."""
        slot = Slot(START_S + n * self.rules.slot_s, self.rules.slot_s)
        begin_ms, end_ms = slot.key * 1000, (slot.key + slot.length_s) * 1000
        draw, faults = self.draw, self.faults
        for host in self.hosts:
            self.at(end_ms - host.skew_ms + draw.randrange(1, 25_000), host.meter, slot)
            if draw.random() < faults.jumps:
                jumped_ms = host.skew_ms + int(1000 * draw.uniform(-faults.jump_s, faults.jump_s))
                at_ms = begin_ms + draw.randrange(900_000)
                self.at(at_ms, host.set_clock, jumped_ms)
                self.at(at_ms + draw.randrange(900_000), host.set_clock, host.skew_ms)
            if faults.restores and draw.random() < 0.2:
                self.at(begin_ms + draw.randrange(900_000), host.make_backup)
            if host.liar:
                self.at(begin_ms + draw.randrange(900_000), host.mischief)  # type: ignore[attr-defined]
        if draw.random() < faults.partitions:
            self.at(begin_ms + draw.randrange(900_000), self._part)

    def _part(self) -> None:
        """Some homes lose the others for a while; now and then only in one direction."""
        draw = self.draw
        self.count["partitions"] += 1
        numbers = range(len(self.hosts))
        left = set(draw.sample(numbers, draw.randint(1, len(self.hosts) - 1)))
        until_ms = self.now_ms + int(1000 * draw.uniform(10, self.faults.partition_s))
        both = draw.random() < 0.7
        for a in numbers:
            for b in numbers:
                if (a in left and b not in left) or (both and b in left and a not in left):
                    self._cut_until_ms[a, b] = until_ms

    def _heal(self) -> None:
        """From now on nothing fails, clocks are right, and nobody begins another trade."""
        self.faults = Faults()
        self._cut_until_ms.clear()
        for host in self.hosts:
            host.calm()
            host.home.takes_part = False

    # The network

    def send(self, sender: Host, to: str, wire: bytes) -> None:
        self.trace(b"send", sender.number, wire)
        receivers = self.hosts if to == "*" else [self.by_id[to]] if to in self.by_id else []
        self.carry(sender, [host for host in receivers if host is not sender], wire)

    def carry(self, sender: Host, receivers: Sequence[Host], wire: bytes) -> None:
        """Bring a message to each receiver, or not, or late, or twice."""
        faults, random, cut = self.faults, self.draw.random, self._cut_until_ms
        self.count["messages"] += len(receivers)
        held_back = bool(faults.aimed) and wire[15:40].split(b'"')[0] in faults.aimed
        for host in receivers:
            if (cut and cut.get((sender.number, host.number), 0) > self.now_ms) or random() < faults.loss:
                self.count["lost"] += 1
                continue
            delay_s = random() * faults.delay_s
            if held_back and random() < 0.5:
                delay_s += random() * faults.aimed_s
            self.at(self.now_ms + int(1000 * delay_s), host.deliver, wire)
            if random() < faults.duplicates:
                self.count["duplicated"] += 1
                self.in_s(random() * faults.late_s, host.deliver, wire)

    def trace(self, what: bytes, number: int, content: bytes) -> None:
        self._trace.update(b"%d %s %d %b" % (self.now_ms, what, number, content))


def make_charter(identities: Sequence[Identity], rules: Rules) -> Charter:
    """Return the charter of a street of these homes."""
    members = [
        Member(id=i.id, name=f"home {n + 1}", public_key=encode_base64(i.public_key), broker="mqtt://127.0.0.1:1883")
        for n, i in enumerate(identities)
    ]
    return Charter(
        name="simulated street",
        currency="EUR",
        founded_ms=0,
        rules=rules,
        members=tuple(sorted(members, key=lambda member: member.id)),
    )
