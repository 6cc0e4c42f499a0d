"""Performs what the trader decides: sign, make durable, apply, send, in this order and in one sweep.

No sockets and no clock: node.py feeds it from MQTT, tests and simulations feed it directly.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from coordinator.after_slot import MEMORY
from coordinator.balancing import Neighbours, Numbers
from coordinator.charter import Charter
from coordinator.clock import unix_ms
from coordinator.clock_check import ClockCheck
from coordinator.codec import TRADING, Verified, Verifier, encode, heading
from coordinator.concerns import Concern, concerns
from coordinator.contract_book import EVIDENCE_LIFE, ContractBook
from coordinator.effects import Again, Effect, Keep, Note, Recite, Say, Whisper
from coordinator.errors import RemoteProtocolError
from coordinator.household import Household, MeterReading
from coordinator.identity import Identity
from coordinator.ledger import Entry, local, own, peer
from coordinator.ledger_store import LedgerStore
from coordinator.masked_balancing import MaskedNeighbours
from coordinator.masked_sealing import WIRES_MAX_BYTES
from coordinator.masked_trading import Privacy
from coordinator.messages import (
    EVERYBODY,
    Bid,
    Deviation,
    DeviationShare,
    Dispute,
    Fraud,
    Heads,
    Hearsay,
    Message,
    Position,
    Presence,
    Ready,
    Recall,
    Recital,
    Sealed,
    Settle,
    Settled,
    Told,
)
from coordinator.peers import RateLimit
from coordinator.recall import PART_BYTES, Recalls, born_mark, parts_of, reborn_mark
from coordinator.sessions import Session
from coordinator.slots import Slot
from coordinator.statements import STATEMENT_EVERY, Statements
from coordinator.trader import Trader
from coordinator.witness import Witness

log = logging.getLogger(__name__)

Send = Callable[[str, bytes, bool], None]
"""`send(to, wire, firm)`: to a home id or "*"; firm messages deserve the transport's own retries too."""

AHEAD_MAX = timedelta(days=1)
"""Slots announced by a wrong clock, up to so far ahead, are left out when their time comes."""
CLOCK_MEMORY = timedelta(minutes=10)
"""Of what the neighbours' messages say about their clocks."""
MESSAGES_PER_SLOT = 1000
"""Of one sender: thirty rounds, their repairs and the contracts of a large community fit several times."""


class Desk:
    """One home's trading desk.

    Args:
        now: Time of the start; entries of the ledger's last two days are replayed.
        forgiven: Homes to trade with even if it is proved that they signed two contents for one key.
        state_every: How often it states to each partner what both owe.
    """

    def __init__(
        self,
        *,
        charter: Charter,
        identity: Identity,
        store: LedgerStore,
        household: Household,
        send: Send,
        now: datetime,
        forgiven: Collection[str] = (),
        state_every: timedelta = STATEMENT_EVERY,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._charter = charter
        self._identity = identity
        self._store = store
        self._send = send
        self._seq = unix_ms(now)
        self._privacy: Privacy | None = None
        self.neighbours: Neighbours | MaskedNeighbours = Neighbours(charter.rules)
        self._limit = RateLimit(per_slot=MESSAGES_PER_SLOT, slot_s=charter.rules.slot_s)
        self.clock_check = ClockCheck(CLOCK_MEMORY)
        self._verifier = Verifier(charter, identity.id, self._limit.allow, self.clock_check.heard)
        self.witness = Witness(
            charter=charter,
            me=identity.id,
            verifier=self._verifier,
            secret=self._secret,
            memory=MEMORY,
            forgiven=forgiven,
        )
        self.trader = self._restore(household, now)
        self._recalls = Recalls(
            me=identity.id,
            terms={charter.terms, *charter.earlier_terms},
            rules=charter.rules,
            book=self.trader.book,
            memory=MEMORY,
        )
        self.statements = Statements(
            me=identity.id,
            verifier=self._verifier,
            rules=charter.rules,
            book=self.trader.book,
            every=state_every,
        )
        self.statements.restore(store, now)

    def _restore(self, household: Household, now: datetime) -> Trader:
        rules, store = self._charter.rules, self._store
        since, newest_ms = int((now - MEMORY).timestamp()), store.newest_ms()
        # What was in mind when the home was last up, however long ago that is.
        in_mind = int(min(now.timestamp(), (newest_ms or 0) / 1000) - MEMORY.total_seconds())
        mark = born_mark(now, rules) if newest_ms is None else reborn_mark(newest_ms, now, rules, MEMORY)
        if mark is not None:
            store.renew(local(mark, now))
        others = set(self._charter.by_id) - {self._identity.id}
        book = ContractBook(me=self._identity.id, rules=rules, incarnation=store.incarnation, peers=others)
        recent = list(store.entries(self._verifier, in_mind))
        book.replay(recent)
        self.witness.replay(store.of_kinds(["fraud"], self._verifier))
        self.witness.replay(recent)
        settled = {mark.slot for mark in store.marks("settled", since)}
        metered = {
            mark.slot: MeterReading(import_wh=int(mark.data["import_wh"]), export_wh=int(mark.data["export_wh"]))
            for mark in store.marks("metered", since)
            if mark.slot not in settled
        }
        self._privacy = Privacy.of(self._charter, self._identity, store.incarnation)
        if self._privacy is not None:
            self.neighbours = self._privacy.neighbours
        trader = Trader(
            charter=self._charter,
            me=self._identity.id,
            household=household,
            book=book,
            # A clock that once showed a far year must not keep the home from trading until then.
            last_ready=store.last_slot(["ready", "reborn"], int((now + AHEAD_MAX).timestamp())),
            metered=metered,
            settled=settled,
            salt=self._salt,
            privacy=self._privacy,
        )
        trader.close_interrupted([Slot(mark.slot, rules.slot_s) for mark in store.marks("ready", since)])
        return trader

    def _salt(self, session: Session, partner: str) -> str:
        return self._secret(f"{session.slot}|{session.trade}|{partner}")

    def _secret(self, what: str) -> str:
        key = (self._store.meta("salt_key") or "").encode()
        return hashlib.blake2b(what.encode(), key=key, digest_size=16).hexdigest()

    def receive(self, wire: bytes, now: datetime, link: str = "") -> Verified[Any] | None:
        """Take bytes from anywhere, over any link; return the verified message, or None when it was refused."""
        try:
            verified = self._verifier.verify(wire, now, link)
            if verified.message.kind == "sealed":
                verified = self._opened(verified, now, link)
            if verified.message.sender != self._identity.id:
                self._take(verified, now)
        except RemoteProtocolError as error:
            self.refused[error.reason] += 1
            log.debug("refused a message: %s", error)
            return None
        return verified

    def _opened(self, verified: Verified[Any], now: datetime, link: str) -> Verified[Any]:
        """Return the message inside a sealed one, verified as if it had come by itself."""
        envelope: Sealed = verified.message
        if self._privacy is None:
            raise RemoteProtocolError(envelope.sender, "sealed message in a community that does not seal")
        inner = self._verifier.verify(self._privacy.seals.open(envelope.body, envelope.sender), now, link)
        if inner.message.sender != envelope.sender or isinstance(inner.message, Sealed):
            raise RemoteProtocolError(envelope.sender, "seals what is not its own word")
        return inner

    def _take(self, verified: Verified[Any], now: datetime) -> None:
        if effects := self.witness.hear(verified, now):
            self._perform(effects, now)
        message = verified.message
        if message.sender in self.witness.shunned and message.kind in TRADING:
            raise RemoteProtocolError(message.sender, "signed two contents for one key: no trade with it")
        match message:
            case Bid() | Position() | Ready():  # by far the most frequent
                self._perform(self.trader.receive(verified, now), now)
            case Presence() | Heads() | Hearsay() | Fraud():
                pass
            case Settle() | Settled() | Told() | Dispute():
                self._perform(self.statements.receive(verified, now), now)
            case Deviation() if isinstance(self.neighbours, Neighbours):
                self.neighbours.receive(verified, now)
            case DeviationShare() if isinstance(self.neighbours, MaskedNeighbours):
                self.neighbours.receive(verified.message, now)
            case Deviation() | DeviationShare():
                raise RemoteProtocolError(verified.message.sender, "deviation of the other kind, masked or open")
            case Recall() as recall:
                self._perform(self._recalls.asked(recall, now), now)
            case Recital() as recital:
                self._hear(recital, now)
            case _:
                self._perform(self.trader.receive(verified, now), now)

    def _hear(self, recital: Recital, now: datetime) -> None:
        """Take back what a neighbour repeats, each message verified anew, before it counts as heard."""
        told = [self._verifier.reopen(wire.encode()) for wire in self._recalls.whole(recital)]
        self._perform(self._recalls.regain(recital, told, self._store.has), now)
        for verified in self._recalls.rest(recital, told):
            self._perform(self.trader.receive(verified, now), now)
        self._perform(self._recalls.heard(recital), now)

    def tick(self, now: datetime) -> None:
        """Do everything that is due."""
        while effects := self._due(now):
            self._perform(effects, now)

    def _due(self, now: datetime) -> list[Effect]:
        """Return the first thing that is due."""
        return self.trader.tick(now) or self._recalls.tick(now) or self.witness.tick(now) or self.statements.tick(now)

    def next_deadline(self, now: datetime) -> datetime:
        at = min(self.trader.next_deadline(now), self.witness.next_deadline(now), self.statements.next_deadline(now))
        asked_at = self._recalls.next_deadline(now)
        return at if asked_at is None else min(at, asked_at)

    def metered(self, slot: Slot, reading: MeterReading, now: datetime) -> None:
        """Take the meter's word on a finished slot."""
        self._perform(self.trader.metered(slot, reading, now), now)

    def concerns(self, name: Callable[[str], str], now: datetime) -> list[Concern]:
        """Return what people must look at; `name` gives a home's name."""
        return list(concerns(self.statements, self.witness.current(), name, now))

    def say_presence(self, now: datetime, life: timedelta) -> None:
        self._perform([Whisper(kind=Presence, to=EVERYBODY, expires_at=now + life, body={})], now)

    def say_deviation(self, slot: Slot, numbers: Numbers, now: datetime, every_s: float) -> None:
        """Tell everybody how far this home is from its plan in the running slot; what is lost is not said again.

        Args:
            every_s: Interval at which it tells; all homes' are alike [s of slot time].
        """
        if isinstance(self.neighbours, MaskedNeighbours):
            share = self.neighbours.share(slot, numbers, now, every_s)
            if share is not None:
                self._perform([Whisper(kind=DeviationShare, to=EVERYBODY, expires_at=slot.end_at, body=share)], now)
            return
        body = {
            "slot": slot.key,
            "power_w": round(numbers.power_w),
            "give_w": round(numbers.give_w),
            "take_w": round(numbers.take_w),
        }
        self._perform([Whisper(kind=Deviation, to=EVERYBODY, expires_at=slot.end_at, body=body)], now)

    def _perform(self, effects: Sequence[Effect], now: datetime) -> None:
        if not effects:
            return
        entries: list[Entry] = []
        outgoing: list[tuple[str, bytes, bool]] = []
        for effect in effects:
            match effect:
                case Say():
                    said = self._sign(effect, now)
                    entries.append(own(said, now))
                    outgoing.append((effect.to, said.wire, True))
                case Whisper():
                    outgoing.append((effect.to, self._sign(effect, now).wire, False))
                case Again():
                    outgoing.append((effect.to, effect.wire, True))
                case Keep():
                    entries.append(peer(effect.verified, now))
                case Note():
                    entries.append(local(effect.mark, now))
                case Recite():
                    outgoing += [(effect.to, wire, False) for wire in self._recital(effect, now)]
        if entries:
            self._store.append(entries)
            self.trader.book.replay(entries)
            self.witness.replay(entries)
            self.statements.replay(entries)
        for to, wire, firm in outgoing:
            private = self._privacy is not None and to != EVERYBODY and not _public(wire)
            self._send(to, self._sealed(to, wire, now) if private else wire, firm)

    def _sealed(self, to: str, wire: bytes, now: datetime) -> bytes:
        """Return the message that only one home can read; how long it holds says the one inside."""
        assert self._privacy is not None
        body = {"body": self._privacy.seals.seal(wire, to)}
        return self._sign(Whisper(kind=Sealed, to=to, expires_at=now + EVIDENCE_LIFE, body=body), now).wire

    def _recital(self, asked: Recite, now: datetime) -> Iterator[bytes]:
        part_bytes = PART_BYTES if self._privacy is None else WIRES_MAX_BYTES
        overtaken = self.trader.book.overtaken()
        said = (wire for wire in self._store.wires(asked.since, asked.until) if wire not in overtaken)
        parts = parts_of(said, asked.to, part_bytes)
        for number, wires in enumerate(parts, start=1):
            body = {
                "slot": asked.since,
                "asker_inc": asked.asker_inc,
                "part": number,
                "parts": len(parts),
                "undecided": asked.undecided,
                "wires": wires,
            }
            expires_at = now + timedelta(seconds=self._charter.rules.slot_s)
            yield self._sign(Whisper(kind=Recital, to=asked.to, expires_at=expires_at, body=body), now).wire

    def _sign(self, effect: Say | Whisper, now: datetime) -> Verified[Message]:
        self._seq += 1
        header = {
            "community": self._charter.terms,
            "sender": self._identity.id,
            "to": effect.to,
            "inc": self._store.incarnation,
            "seq": self._seq,
            "sent_ms": unix_ms(now),
            "expires_ms": unix_ms(effect.expires_at),
        }
        message: Any = effect.kind.model_validate({**header, **effect.body})
        return encode(message, self._identity)


def _public(wire: bytes) -> bool:
    """Return whether it says only what was said to all, whoever it is for: a proof, or what others heard."""
    head = heading(wire)
    return head is not None and (head[0] == "hearsay" or head[2] == EVERYBODY)
