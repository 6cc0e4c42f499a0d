"""Contract books that talk to each other, without desks: every effect is signed, kept, applied, and only then sent."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from neighbourhood import START
from sealed import SESSION, Street

from coordinator.clock import unix_ms
from coordinator.codec import Verified, encode
from coordinator.contract_book import ContractBook
from coordinator.contracts import Contract
from coordinator.effects import Again, Effect, Keep, Note, Say, Whisper
from coordinator.errors import RemoteProtocolError
from coordinator.ledger import Entry, Mark, local, own, peer
from coordinator.sessions import Session

Wires = list[tuple[str, bytes]]


class Party:
    """One home's book and what is durable of it.

    Args:
        skew: How far this home's clock is ahead.
        session: What is traded in.
    """

    def __init__(self, street: Street, home: str, skew: timedelta = timedelta(0), session: Session = SESSION) -> None:
        self.street, self.home, self.skew, self.session = street, home, skew, session
        self.identity = street.identity(home)
        self.incarnation = 7
        self.entries: list[Entry] = []
        self.gate_closings = 0
        self._seq = 0
        self.book = self._empty()

    def _empty(self) -> ContractBook:
        return ContractBook(me=self.home, rules=self.street.rules, incarnation=self.incarnation)

    def clock(self, now: datetime) -> datetime:
        return now + self.skew

    def perform(self, effects: Iterable[Effect], now: datetime) -> Wires:
        """Do what the book decided; return what goes out: (receiver, wire)."""
        made: list[Entry] = []
        out: Wires = []
        for effect in effects:
            match effect:
                case Say() | Whisper():
                    verified = self._sign(effect, now)
                    if isinstance(effect, Say):
                        made.append(own(verified, self.clock(now)))
                    out.append((effect.to, verified.wire))
                case Again():
                    out.append((effect.to, effect.wire))
                case Keep():
                    made.append(peer(effect.verified, self.clock(now)))
                case Note():
                    made.append(local(effect.mark, self.clock(now)))
        self.entries += made
        self.book.replay(made)
        return out

    def _sign(self, effect: Say | Whisper, now: datetime) -> Verified[Any]:
        self._seq += 1
        header = self.street.header(self.home, effect.to, self.clock(now))
        header |= {"seq": self._seq, "inc": self.incarnation, "expires_ms": unix_ms(effect.expires_at)}
        message: Any = effect.kind.model_validate({**header, **effect.body})
        return encode(message, self.identity)

    def receive(self, wire: bytes, now: datetime) -> Wires:
        """Take what arrived; what the verifier refuses (expired, from the future) is dropped."""
        try:
            verified = self.street.verifier(self.home).verify(wire, self.clock(now))
        except RemoteProtocolError:
            return []
        return self.perform(self.book.receive(verified, self.clock(now)), now)

    def mandate(self, sell_wh: int, floor_micro: int = 0, now: datetime = START) -> None:
        self.perform(self.book.mandate(self.session, sell_wh=sell_wh, floor_micro=floor_micro), now)

    def offer(self, seller: str, energy_wh: int = 100, price_micro: int = 180_000, now: datetime = START) -> bytes:
        """Sign and keep an offer; return its wire."""
        effects = self.book.offer(self.session, seller=seller, energy_wh=energy_wh, price_micro=price_micro)
        ((_, wire),) = self.perform(effects, now)
        return wire

    def tick(self, now: datetime) -> Wires:
        return self.perform(self.book.tick(self.clock(now)), now)

    def close_gate(self, now: datetime) -> Wires:
        self.gate_closings += 1
        effects = self.book.close_gate(self.session, lambda session, partner: "0a" * 16, self.clock(now))
        return self.perform(effects, now)

    def restart(self) -> None:
        """Lose the memory, keep the ledger; every stored message is verified again."""
        verifier = self.street.verifier(self.home)
        kept: list[Entry] = []
        for entry in self.entries:
            stored = entry.content
            content = Mark.decode(stored.encode()) if isinstance(stored, Mark) else verifier.reopen(stored.wire)
            kept.append(Entry(origin=entry.origin, at_ms=entry.at_ms, content=content))
        self.book = self._empty()
        self.book.replay(kept)

    @property
    def contracts(self) -> dict[str, Contract]:
        return {contract.id: contract for contract in self.book.contracts()}

    @property
    def statuses(self) -> list[str]:
        return [contract.status.value for contract in self.book.contracts()]
