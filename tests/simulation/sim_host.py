"""One home's process: the real desk on a ledger, a clock that may be wrong, and crashes between any two effects."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from sim_checks import HomeChecks, require
from sim_home import ScriptedHome
from sim_store import MemoryStore, RealStore

from coordinator.codec import Verifier
from coordinator.desk import Desk
from coordinator.identity import Identity
from coordinator.ledger import Entry, Mark, Origin
from coordinator.recall import REBORN_AFTER_SLOTS
from coordinator.slots import Slot

if TYPE_CHECKING:
    from sim_world import World

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SPIN = 200
"""So many calls at one moment mean that a home never rests."""
METERS_KEPT = 30
"""A meter remembers so many slots for a home that was away."""


def _traced(entry: Entry) -> bytes:
    """Return what tells one entry from another, cheaper than its row."""
    mark = entry.content
    return repr(mark.data).encode() if isinstance(mark, Mark) else entry.wire[-16:]


class Crash(BaseException):
    """The process is gone; nothing may catch this."""


class Host:
    """See the module's text. `desk` is None while the process is down."""

    liar = False

    def __init__(self, world: "World", number: int, identity: Identity, draw: Random) -> None:
        self.world, self.number, self.identity, self.draw = world, number, identity, draw
        self.id = identity.id
        self.home = ScriptedHome.drawn(draw, world.rules)
        self.checks = HomeChecks(self.id)
        self.skew_ms = 0
        self._shown_ms, self._shown = 0, EPOCH
        self.store: Any = self._make_store()
        self.desk: Desk | None = None
        self.restarts = 0
        self._backup: Any = None
        self._effects_left = self._draw_effects()
        self._wake, self._woken_ms, self._spins = 0, 0, 0
        self._wakes_at_ms: int | None = None
        self._readings: dict[int, Any] = {}
        self._restored = False
        self._calm, self._acted = False, False
        self.commits = 0

    def _make_store(self) -> Any:
        if not self.world.faults.real:
            return MemoryStore(self._commit, self.draw)
        assert self.world.folder is not None
        return RealStore(self._commit, self.draw, self.world.folder / f"{self.id}.db", self.id)

    def _draw_effects(self) -> int:
        mean = self.world.faults.effects_per_crash
        return int(self.draw.expovariate(1 / mean)) + 1 if mean else 0

    # Time

    def now(self) -> datetime:
        """Return what this home's clock shows."""
        now_ms = self.world.now_ms + self.skew_ms
        if now_ms != self._shown_ms:
            self._shown_ms, self._shown = now_ms, datetime.fromtimestamp(now_ms / 1000, UTC)
        return self._shown

    def set_clock(self, skew_ms: int) -> None:
        self.skew_ms = skew_ms
        self._schedule()

    def _schedule(self) -> None:
        """Be woken at the desk's next deadline."""
        if self.desk is None:
            return
        deadline = self.desk.next_deadline(self.now())
        at_ms = max(self.world.now_ms, -((EPOCH - deadline) // MS) - self.skew_ms)
        if at_ms != self._wakes_at_ms:
            self._wake += 1
            self._wakes_at_ms = at_ms
            self.world.at(at_ms, self.wake, self._wake)

    def wake(self, number: int) -> None:
        if number != self._wake or self.desk is None:
            return
        self._wakes_at_ms = None
        self._spins = self._spins + 1 if self._woken_ms == self.world.now_ms else 0
        self._woken_ms = self.world.now_ms
        require(self._spins < SPIN, "I7", f"{self.id} never rests")
        self.do(self.desk.tick)

    # Life and death

    def start(self) -> None:
        """Begin a process on the ledger as it is; one from a young backup has to wait."""
        if self._restored and (wait_s := self._too_young_s()) > 0:
            self.world.in_s(wait_s + 0.001, self.start)  # rounded down it would wait for nothing, for ever
            return
        self._restored = False
        self.restarts += 1
        self._effects_left = self._draw_effects()
        self.do(self._start)

    def _too_young_s(self) -> float:
        newest_ms = self.store.newest_ms() or 0
        must_be_s = REBORN_AFTER_SLOTS * self.world.rules.slot_s + 1
        return must_be_s - (self.world.now_ms + self.skew_ms - newest_ms) / 1000

    def _start(self, now: datetime) -> None:
        self.desk = self.make_desk(now)
        for slot, reading in list(self._readings.items()):
            self.desk.metered(Slot(slot, self.world.rules.slot_s), reading, now)

    def make_desk(self, now: datetime) -> Desk:
        return Desk(
            charter=self.world.charter,
            identity=self.identity,
            store=self.store,
            household=self.home,
            send=self.send,
            now=now,
            **self.world.evidence.desk_options(),
        )

    def do(self, action: Callable[..., object], *args: Any) -> None:
        """Let the process act at its own time; it may die of it."""
        self._acted = True
        self._act(action, *args)

    def _act(self, action: Callable[..., object], *args: Any) -> None:
        try:
            action(*args, self.now())
        except Crash:
            self.crash()
        else:
            if self._acted:
                self._schedule()

    def crash(self) -> None:
        """Lose the memory; now and then the ledger too, back to what the last backup had."""
        self.desk = None
        self._wake += 1
        self._wakes_at_ms = None
        self.world.count["crashes"] += 1
        faults = self.world.faults
        if isinstance(self.store, RealStore):
            self.store.reopen()
        self.world.planted.power_cut(self.store, self.draw)
        if self._backup is not None and self.draw.random() < faults.restores:
            self.restore()
        down_s = self.draw.uniform(1, faults.down_s) * (10 if self.draw.random() < 0.03 else 1)
        self.world.at(self.world.now_ms + int(1000 * down_s), self.start)

    def restore(self) -> None:
        self.store.restore(self._backup)
        self._backup = None
        self._restored = True
        self.world.count["restores"] += 1
        self.checks.forget()
        self.checks.committed(self.everything(), self.home.kept_wh, self.store.incarnation)
        self.world.evidence.restored(self)

    def everything(self) -> list[Entry]:
        return list(self.store.everything(Verifier(self.world.charter, self.id)))

    def make_backup(self) -> None:
        """Copy the ledger; an empty one is no backup: from that a home begins as a new one, which is not promised."""
        if self.desk is not None and self.store.newest_ms() is not None:
            self._backup = self.store.backup()

    def calm(self) -> None:
        """No more faults: the clock is right, nothing crashes, no backup comes back."""
        self._effects_left, self._backup = 0, None
        self.set_clock(0)

    def effect(self) -> None:
        """Between any two effects the process may die."""
        self._acted = True
        if self._effects_left and not self._calm:
            self._effects_left -= 1
            if not self._effects_left:
                raise Crash

    def _commit(self, write: Callable[[], None], entries: Sequence[Entry]) -> None:
        self.effect()
        write()
        self.commits += 1
        self.world.trace(b"commit", self.number, b"".join(map(_traced, entries)))
        if not self.liar:
            self.checks.committed(entries, self.home.kept_wh, self.store.incarnation)
            for entry in entries:
                if entry.origin is Origin.OWN:
                    self.world.evidence.committed(self, entry.content.message)  # type: ignore[union-attr]
        self.effect()

    # Messages

    def send(self, to: str, wire: bytes, firm: bool) -> None:
        self.effect()
        if not self.liar:
            self.world.count[self.checks.sent(wire)] += 1
        self.world.send(self, to, wire)

    def deliver(self, wire: bytes) -> None:
        if self.desk is None:
            return
        self.world.trace(b"deliver", self.number, wire[-16:])
        if self.world.lying:
            self.world.evidence.delivered(self, wire)
        self._acted = False  # what changes nothing moves no deadline
        self._act(self.desk.receive, wire)
        if not self.liar and self.desk is not None and self.draw.random() < 0.02:
            self._deliver_again(wire)

    def _deliver_again(self, wire: bytes) -> None:
        """I5: the same message once more commits nothing."""
        assert self.desk is not None
        before, self._calm = self.commits, True
        self.desk.receive(wire, self.now())
        self._calm = False
        self._schedule()
        require(self.commits == before, "I5", f"{self.id} commits once more for the same {wire[:60]!r}")

    # The meter

    def meter(self, slot: Slot) -> None:
        """The slot is over: the meter has a reading, which a home that is down takes when it is back."""
        self._readings[slot.key] = self.home.reading(slot.key)
        for old in sorted(self._readings)[:-METERS_KEPT]:
            del self._readings[old]
        if self.desk is not None:
            self.do(lambda now: self.desk.metered(slot, self._readings[slot.key], now))  # type: ignore[union-attr]
