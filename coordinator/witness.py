"""Remembers what each home said, compares it with what it says next and with what others heard, and keeps proofs.

What is said to one home twice is found there. What is said to all is compared once a slot: everybody tells short hashes
of what it heard (`heads`); who heard something else sends its copy (`hearsay`); who then holds two contents for one key
tells all (`fraud`). A proof is durable, and whoever's heads lack it gets it. No home has to be believed: each checks
both signatures itself. Sans-IO.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from coordinator.charter import Charter
from coordinator.codec import Verified, Verifier, digest
from coordinator.effects import Again, Effect, Keep, Say, Whisper
from coordinator.errors import RemoteProtocolError
from coordinator.fraud import Key, Proof, check, key_of, place_of, proof
from coordinator.ledger import Entry, Origin
from coordinator.messages import EVERYBODY, Bid, Fraud, Heads, Hearsay, Leaf, Message, Position, Seen
from coordinator.once_a_slot import OnceASlot

WINDOW_SLOTS = 4
"""What was heard of slots up to so far back or ahead stays in memory; what is durable longer, see `MEMORY`."""
HEADS_SLOTS = 3
"""Each slot is told so often: one heads message may be lost."""
HEADS_BYTES = 11_000
SENDER_BYTES = 64_000
"""Of one sender and slot: thirty bids over a long horizon. What a flooder says beyond that is not compared."""
PROOF_LIFE = timedelta(days=3650)
NOTHING = "----"
NEVER = 2**62
"""A slot later than any."""


@dataclass(slots=True)
class _Heard:
    """What was heard of one slot: by (sender, incarnation, key), and of what is said to all by (sender, place)."""

    words: dict[tuple[str, int, Key], Verified[Any]] = field(default_factory=dict)
    places: dict[str, dict[int, tuple[int, Verified[Any]]]] = field(default_factory=dict)
    """With the 128-bit hash of the content."""
    size: dict[str, int] = field(default_factory=dict)


class Witness:
    """See the module's text.

    Args:
        charter: Whose members are compared.
        me: Own id.
        verifier: Checks what others pass on.
        secret: Gives an unguessable hex text of 32 characters for a purpose.
        memory: So long what is durable is compared.
        forgiven: Homes with which the owner trades whatever is proved.
    """

    def __init__(
        self,
        *,
        charter: Charter,
        me: str,
        verifier: Verifier,
        secret: Callable[[str], str],
        memory: timedelta,
        forgiven: Collection[str] = (),
    ) -> None:
        self.proofs: dict[tuple[str, str], Proof] = {}
        """By accused and charter: one each."""
        self._rules = charter.rules
        self._terms = charter.terms
        self._all_terms = {charter.terms, *charter.earlier_terms}
        self._me = me
        self._verifier = verifier
        self._secret = secret
        self._memory_s = int(memory.total_seconds())
        self._forgiven = frozenset(forgiven)
        self._heard: dict[int, _Heard] = {}
        self._durable: dict[tuple[str, int, Key], Verified[Any]] = {}
        self._oldest = NEVER
        self._wires: dict[tuple[str, str], bytes] = {}
        rules = charter.rules
        self._tells = OnceASlot(rules.slot_s, -timedelta(seconds=rules.gate_s / 2), WINDOW_SLOTS)
        self._answered_at: dict[str, datetime] = {}
        self.shunned: frozenset[str] = frozenset()
        """Homes this one does not trade with: proved to have signed two contents under the charter in force."""

    # What is durable

    def replay(self, entries: Iterable[Entry]) -> None:
        """Take what is in the ledger."""
        for entry in entries:
            if entry.origin is Origin.LOCAL or not isinstance(entry.content, Verified):
                continue
            message = entry.content.message
            if isinstance(message, Fraud):
                self._prove(entry.content)
            elif message.sender != self._me and (key := key_of(message)) is not None:
                self._durable.setdefault((message.sender, message.inc, key), entry.content)
                self._oldest = min(self._oldest, message.slot)

    def _prove(self, fraud: Verified[Fraud]) -> None:
        try:
            found = check(fraud.message, self._verifier, self._all_terms)
        except RemoteProtocolError:
            return  # of a community that this home has left
        self.proofs.setdefault((found.accused, found.terms), found)
        self._wires.setdefault((found.accused, found.terms), fraud.wire)
        self.shunned = frozenset(self._proven() - self._forgiven - {self._me})

    def current(self) -> list[Proof]:
        """Return the proofs under the charter in force of homes that are not forgiven."""
        here = (each for (_, terms), each in self.proofs.items() if terms == self._terms)
        return [each for each in here if each.accused not in self._forgiven]

    def _proven(self) -> set[str]:
        """Return against whom there is a proof under the charter in force."""
        return {accused for accused, terms in self.proofs if terms == self._terms}

    # What is heard

    def hear(self, verified: Verified[Any], now: datetime) -> list[Effect]:
        """Compare a message with what its sender said before.

        Raises:
            RemoteProtocolError: If it passes on what is no message, or accuses without a proof.
        """
        match verified.message:
            case Bid() | Position():  # by far the most frequent
                return self._listen(verified, now)
            case Heads() as heads:
                return self._compare(heads, now)
            case Hearsay() as hearsay:
                told = (self._verifier.reopen(wire.encode()) for wire in hearsay.wires)
                return [effect for each in told for effect in self._listen(each, now, passed_on=True)]
            case Fraud() as fraud if fraud.accused in self._proven():
                return []
            case Fraud() as fraud:
                found = check(fraud, self._verifier, self._all_terms)
                known = (found.accused, found.terms) in self.proofs
                return [] if known else [Keep(verified=verified)]
            case _:
                return self._listen(verified, now)

    def _listen(self, verified: Verified[Any], now: datetime, *, passed_on: bool = False) -> list[Effect]:
        message = verified.message
        key = key_of(message)
        if key is None or message.sender == self._me or message.community not in self._all_terms:
            return []
        known = self._known(message, key)
        if known is not None and known.content == verified.content:
            return []  # the same once more, by far the most frequent
        for earlier in (known, self._other_half(message)):
            found = None if earlier is None else proof(earlier, verified)
            if found is not None and (found.accused, found.terms) not in self.proofs:
                return [self._accuse(found, now)]
        if not passed_on:
            self._remember(verified, key, now)
        return []

    def _known(self, message: Any, key: Key) -> Verified[Any] | None:
        """Return what the sender of a message said about this key before."""
        at = (message.sender, message.inc, key)
        if (durable := self._durable.get(at)) is not None:
            return durable
        heard = self._heard.get(message.slot)
        return None if heard is None else heard.words.get(at)

    def _other_half(self, message: Message) -> Verified[Any] | None:
        """Return the leaf that belongs to a position, or the position that a leaf belongs to."""
        if isinstance(message, Position):
            return self._known(message, ("leaf", message.slot, message.trade, self._me))
        if isinstance(message, Leaf):
            return self._known(message, ("position", message.slot, message.trade))
        return None

    def _remember(self, verified: Verified[Any], key: Key, now: datetime) -> None:
        message = verified.message
        heard = self._heard.get(message.slot)
        if heard is None:
            if abs(message.slot - int(now.timestamp())) > WINDOW_SLOTS * self._rules.slot_s:
                return
            heard = self._heard[message.slot] = _Heard()
        at, sender = (message.sender, message.inc, key), message.sender
        size = heard.size.get(sender, 0) + len(verified.wire)
        if at in heard.words or size > SENDER_BYTES:
            return
        heard.words[at] = verified
        heard.size[sender] = size
        place = place_of(message)
        if place is not None:
            number = int(digest(verified.content), 16)
            heard.places.setdefault(sender, {}).setdefault(place, (number, verified))

    def _accuse(self, found: Proof, now: datetime) -> Say:
        first, second = (wire.decode() for wire in found.wires)
        body = {"slot": found.slot, "accused": found.accused, "first": first, "second": second}
        return Say(kind=Fraud, to=EVERYBODY, expires_at=now + PROOF_LIFE, body=body)

    # Once a slot

    def next_deadline(self, now: datetime) -> datetime:
        """Return when to tell all what was heard: between the gate and the slot."""
        return self._tells.due_at(now)

    def tick(self, now: datetime) -> list[Effect]:
        """Tell, when it is time to."""
        slot = self._tells.begin(now)
        if slot is None:
            return []
        self._forget(now)
        salt = self._secret(f"heads|{slot.key}")
        seen = self._seen(_odd(salt))
        proven = tuple(sorted(self._proven()))
        if not seen and not proven:
            return []
        expires_at = now + slot.length
        body = {"slot": slot.key, "salt": salt, "seen": seen, "proven": proven}
        return [Whisper(kind=Heads, to=EVERYBODY, expires_at=expires_at, body=body)]

    def _seen(self, odd: int) -> tuple[dict[str, int | str], ...]:
        """Return the body of heads."""
        seen: list[dict[str, int | str]] = []
        left = HEADS_BYTES
        for slot in sorted(self._heard, reverse=True)[:HEADS_SLOTS]:
            for home, places in sorted(self._heard[slot].places.items()):
                last = max(places)
                said = "".join([_short(places[n][0], odd) if n in places else NOTHING for n in range(last + 1)])
                left -= len(said) + 60
                if left < 0:
                    return tuple(seen)
                seen.append({"slot": slot, "home": home, "said": said})
        return tuple(seen)

    def _forget(self, now: datetime) -> None:
        here = int(now.timestamp())
        near_s = WINDOW_SLOTS * self._rules.slot_s
        self._heard = {slot: heard for slot, heard in self._heard.items() if abs(slot - here) <= near_s}
        since = here - self._memory_s
        if self._oldest < since:
            self._durable = {
                at: kept for at, kept in self._durable.items() if at[2][0] == "settle" or kept.message.slot >= since
            }
            slots = (kept.message.slot for at, kept in self._durable.items() if at[2][0] != "settle")
            self._oldest = min(slots, default=NEVER)

    def _compare(self, heads: Heads, now: datetime) -> list[Effect]:
        """Send a neighbour, as often as it may tell heads, what it heard otherwise, and the proofs it lacks."""
        answered_at = self._answered_at.get(heads.sender)
        if answered_at is not None and timedelta(0) <= now - answered_at < timedelta(seconds=self._rules.slot_s / 2):
            return []
        self._answered_at[heads.sender] = now
        effects: list[Effect] = [
            Again(wire=self._wires[accused, terms], to=heads.sender)
            for accused, terms in sorted(self.proofs)
            if terms == self._terms and accused not in heads.proven
        ]
        proven = self._proven()
        other: dict[str, str] = {}
        left, odd = HEADS_BYTES, _odd(heads.salt)
        for seen in heads.seen:
            if seen.home in {self._me, heads.sender, *proven, *other}:
                continue
            wire = self._heard_otherwise(seen, odd)
            if wire is not None and (left := left - len(wire) - 100) > 0:
                other[seen.home] = wire.decode()
        if other:
            expires_at = now + timedelta(seconds=self._rules.slot_s)
            body = {"slot": heads.slot, "wires": tuple(other.values())}
            effects.append(Whisper(kind=Hearsay, to=heads.sender, expires_at=expires_at, body=body))
        return effects

    def _heard_otherwise(self, seen: Seen, odd: int) -> bytes | None:
        """Return the first thing this home heard that another heard with other words."""
        heard = self._heard.get(seen.slot)
        mine = heard.places.get(seen.home, {}) if heard is not None else {}
        for place, (number, verified) in mine.items():
            theirs = seen.said[4 * place : 4 * place + 4]
            if theirs and theirs != NOTHING and theirs != _short(number, odd):
                return verified.wire
        return None


def _odd(salt: str) -> int:
    return int(salt, 16) | 1


def _short(number: int, odd: int) -> str:
    """Return the top 16 bits of number * odd modulo 2**128: for a factor nobody knew, two numbers rarely agree.

    References: Dietzfelbinger et al. 1997, multiply-shift hashing: at most 2 in 65,536.
    """
    return f"{(number * odd >> 112) & 0xFFFF:04x}"
