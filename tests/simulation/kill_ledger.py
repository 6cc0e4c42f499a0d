"""`make kill-ledger N=500`: real processes with real ledgers and keys, killed with SIGKILL at random moments.

    python tests/simulation/kill_ledger.py [CYCLES] [SEED]

Each home is a process of its own: the real desk on SQLite and Ed25519. This one is the network and the clock between
them, and the killer: it hands a home a message, waits up to a few milliseconds and kills it, wherever it is. What the
home had already put on the wire counts as said. Checked after every kill: everything said that binds is in the ledger,
and nothing was signed twice with two contents. Checked at the end: the ledgers agree and every contract is decided.
"""

import heapq
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random

from sim_checks import FIRM, HomeChecks, ViolationError, require
from sim_home import ScriptedHome
from sim_world import START_S, make_charter

from coordinator.audit import UNDECIDED, audit, read_books
from coordinator.charter import Charter, Rules
from coordinator.clock import unix_ms
from coordinator.codec import Verifier
from coordinator.desk import Desk
from coordinator.identity import Identity
from coordinator.ledger import first_broken
from coordinator.ledger_store import LedgerStore
from coordinator.slots import Slot

HOMES = 3
KILL_SHARE, LOSS = 0.1, 0.05
KILL_WITHIN_S = 0.004
HEAL_SLOTS = 14
HEAD = struct.Struct("!cq")
"""What a process is told: W(ire), T(ick), M(eter) or Q(uiet: trade no more), and the time in ms."""
PACKET = 64 * 1024


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)


def serve(line: socket.socket, identity: Identity, charter: Charter, folder: Path, home: ScriptedHome, ms: int) -> None:
    """Be one home: do what comes over the line until killed. Answers every command with the next deadline."""

    def send(to: str, wire: bytes, firm: bool) -> None:
        line.send(b"S" + to.encode().ljust(16) + wire)

    with LedgerStore(folder / f"{identity.id}.db", identity.id) as store:
        desk = Desk(charter=charter, identity=identity, store=store, household=home, send=send, now=_at(ms))
        while True:
            line.send(b"D" + struct.pack("!q", unix_ms(desk.next_deadline(_at(ms)))))
            packet = line.recv(PACKET)
            if not packet:
                return
            command, ms = HEAD.unpack_from(packet)
            match command:
                case b"W":
                    desk.receive(packet[HEAD.size :], _at(ms))
                case b"T":
                    desk.tick(_at(ms))
                case b"M":
                    slot = Slot.at(_at(ms) - timedelta(seconds=charter.rules.slot_s), charter.rules.slot_s)
                    desk.metered(slot, home.reading(slot.key), _at(ms))
                case _:
                    home.takes_part = False


@dataclass(kw_only=True)
class Process:
    """One home's process, as the network sees it."""

    identity: Identity
    home: ScriptedHome
    checks: HomeChecks
    pid: int = 0
    line: socket.socket | None = None
    deadline_ms: int = 0
    binding: set[bytes] = field(default_factory=set)
    """What it put on the wire that binds it."""


class Street:
    """The processes, the wires between them, and the virtual time of all."""

    def __init__(self, folder: Path, seed: int, homes: int = HOMES) -> None:
        self.draw = Random(seed)
        self.folder = folder
        self.rules = Rules(horizon_slots=1, round_limit=2)
        identities = [Identity.from_seed(f"kill {seed} {n}".encode().ljust(32)) for n in range(homes)]
        self.charter = make_charter(identities, self.rules)
        self.processes = [
            Process(identity=i, home=ScriptedHome.drawn(self.draw, self.rules), checks=HomeChecks(i.id))
            for i in identities
        ]
        self.ms = START_S * 1000
        self.count: Counter[str] = Counter()
        self._heap: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = count()
        self._killing = False
        for process in self.processes:
            process.checks.ready.update(self._slots())
            self.start(process)

    def _slots(self) -> range:
        """Any slot a run can reach: the household's wishes live in another process, so they are not checked here."""
        return range(START_S, START_S + 10_000 * self.rules.slot_s, self.rules.slot_s)

    def at(self, ms: int, action: Callable[..., None], *args: object) -> None:
        heapq.heappush(self._heap, (ms, next(self._order), action, args))

    # One process

    def start(self, process: Process) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for line in (ours, theirs):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
        process.pid = os.fork()
        if process.pid == 0:
            try:
                for line in (ours, *(p.line for p in self.processes)):
                    if line is not None:
                        line.close()
                serve(theirs, process.identity, self.charter, self.folder, process.home, self.ms)
            finally:
                os._exit(0)
        theirs.close()
        process.line = ours
        self._listen(process)

    def _listen(self, process: Process) -> None:
        """Take what a process says until it is done, or dead."""
        assert process.line is not None
        while packet := process.line.recv(PACKET):
            if packet[:1] == b"D":
                (process.deadline_ms,) = struct.unpack("!q", packet[1:])
                return
            self._said(process, packet[1:17].decode().strip(), packet[17:])
        if not self._killing:
            raise ViolationError(f"I0: the process of {process.identity.id} ended by itself")

    def _said(self, process: Process, to: str, wire: bytes) -> None:
        process.checks.durable.add(wire)  # whether it is, the ledger tells after a kill
        kind = process.checks.sent(wire)
        self.count[kind] += 1
        if kind in FIRM:
            process.binding.add(wire)
        for other in self.processes:
            if other is not process and to in ("*", other.identity.id) and self.draw.random() > LOSS:
                self.at(self.ms + self.draw.randrange(10, 3000), self.tell, other, b"W", wire)

    def tell(self, process: Process, command: bytes, payload: bytes = b"") -> None:
        """Hand a process something to do, and perhaps kill it while it does it."""
        assert process.line is not None
        process.line.send(HEAD.pack(command, self.ms) + payload)
        if self._killing and self.draw.random() < KILL_SHARE:
            self.kill(process)
        else:
            self._listen(process)

    def kill(self, process: Process) -> None:
        """Kill it anywhere, check what it left, and start it again."""
        assert process.line is not None
        time.sleep(self.draw.random() * KILL_WITHIN_S)
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
        self._drain(process)
        process.line.close()
        self.count["kills"] += 1
        self.check(process)
        self.start(process)

    def _drain(self, process: Process) -> None:
        """What was on the wire before it died was said."""
        while packet := self._left(process):
            if packet[:1] == b"S":
                self._said(process, packet[1:17].decode().strip(), packet[17:])

    def _left(self, process: Process) -> bytes:
        assert process.line is not None
        try:
            return process.line.recv(PACKET)
        except ConnectionResetError:  # it died without reading all: told once, what it said follows
            return process.line.recv(PACKET)

    def check(self, process: Process) -> None:
        """Everything said that binds is in the ledger, each row in its place of the chain."""
        home = process.identity.id
        with LedgerStore(self.folder / f"{home}.db", home) as store:
            rows = list(store.rows())
        require(first_broken(rows) is None, "I4", f"the chain of {home} is broken")
        lost = process.binding - {row.wire for row in rows}
        require(not lost, "I4", f"{len(lost)} signed statements of {home} are lost")
        self.count["rows"] = max(self.count["rows"], len(rows))

    def check_history(self, process: Process) -> None:
        """What the ledger tells from its first row to its last keeps the promises of one home."""
        home = process.identity.id
        with LedgerStore(self.folder / f"{home}.db", home) as store:
            entries, incarnation = list(store.entries(Verifier(self.charter, home))), store.incarnation
        HomeChecks(home).committed(entries, dict.fromkeys(self._slots(), 10**9), incarnation)

    # All of them

    def run(self, until: Callable[[], bool]) -> None:
        """Let time pass to the next message or deadline, until it is enough."""
        while not until():
            process = min(self.processes, key=lambda p: p.deadline_ms)
            if self._heap and self._heap[0][0] <= process.deadline_ms:
                self.ms, _, action, args = heapq.heappop(self._heap)
                action(*args)
            else:
                self.ms = max(self.ms, process.deadline_ms)
                self.tell(process, b"T")

    def meters(self, end_ms: int) -> None:
        """A slot ends: every meter speaks; then the next one."""
        for process in self.processes:
            self.at(end_ms + self.draw.randrange(1000, 20_000), self.tell, process, b"M")
        self.at(end_ms + self.rules.slot_s * 1000, self.meters, end_ms + self.rules.slot_s * 1000)

    def live(self, kills: int) -> None:
        """Kill so often, heal, and compare the ledgers.

        Raises:
            ViolationError: If anything was lost or signed twice.
        """
        first_end_ms = (START_S + self.rules.slot_s) * 1000
        self.at(first_end_ms, self.meters, first_end_ms)
        self._killing = True
        self.run(lambda: self.count["kills"] >= kills)
        self._killing = False
        for process in self.processes:
            self.tell(process, b"Q")
        end_ms = self.ms + HEAL_SLOTS * self.rules.slot_s * 1000
        self.run(lambda: self.ms >= end_ms)
        self.stop()
        for process in self.processes:
            self.check(process)
            self.check_history(process)
        homes = [process.identity.id for process in self.processes]
        books = {home: read_books(self.folder / f"{home}.db", self.charter, home) for home in homes}
        result = audit(books)
        require(result.ledger_mismatches == 0, "I3", f"{result.ledger_mismatches} contracts differ")
        require(result.wh_sold_twice == 0, "I1", f"{result.wh_sold_twice} Wh are sold twice")
        undecided = [c for b in books.values() for c in b.contracts.values() if c.status in UNDECIDED]
        require(not undecided, "I7", f"undecided: {undecided[:2]}")
        self.count["counted"], self.count["void"] = result.contracts_counted, result.contracts_void

    def stop(self) -> None:
        for process in self.processes:
            if process.line is not None:
                process.line.close()
                os.waitpid(process.pid, 0)
                process.line = None


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        street = Street(Path(folder), seed)
        try:
            street.live(kills)
        except ViolationError as broken:
            print(f"FAILED after {street.count['kills']} kills: {broken}")
            return 1
    took_s, said = time.monotonic() - begun, street.count
    print(f"{said['kills']} kills -9 of {HOMES} processes in {took_s:.0f} s, {said['rows']} rows in the longest ledger")
    print(f"{said['accept']} accepts sent; counted on both sides: {said['counted']}, void on both: {said['void']}")
    print("0 countersigned contracts lost, 0 keys signed with two contents")
    return 0


if __name__ == "__main__":
    sys.exit(main())
