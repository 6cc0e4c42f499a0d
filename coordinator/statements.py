"""Pair statements: two homes sign, now and then, what all their contracts come to. Sans-IO.

    once a slot          contracts that are decided for good are marked, for a statement of any later day
    once a day per pair  the proposer states what is new; it repeats that until it has an answer
    the other            signs what its own ledger says, too; disputes what it denies; waits while it cannot know yet

A lost last answer is healed by the next message: each statement names the dual-signed one before it, and whoever shows
that it lacks some gets them (`told`), the restored ledger of either side included. Where nothing new is to be stated,
both say once a day which statement is their newest, and up to which one they miss none. Nothing here is urgent.
"""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from coordinator.accounts import Account, Accounts, counted_mark, dual_signed
from coordinator.charter import Rules
from coordinator.codec import Verified, Verifier, message_id
from coordinator.contract_book import EVIDENCE_LIFE, ContractBook
from coordinator.contracts import Status
from coordinator.effects import Again, Effect, Keep, Note, Say, Whisper
from coordinator.errors import RemoteProtocolError
from coordinator.ledger import GENESIS
from coordinator.messages import Dispute, Settle, Settled, Told
from coordinator.once_a_slot import OnceASlot
from coordinator.slots import Slot

STATEMENT_EVERY = timedelta(days=1)
"""A contract waits so long for the statement that names it."""
YOUNG_SLOTS = 4
"""Contracts of the last slots are left to the next statement: the other side may not know yet that they count."""
CONTRACTS_MAX = 128
TOLD_MAX, TOLD_BYTES = 16, 9_000
"""Of statements told at once: sealed for one home it must still fit its largest size."""
FORK = 4
"""So many statements before the newest are told to a partner that has another newest one."""
DISPUTES_MAX = 3
"""A day and partner; what is wrong beyond that is not even answered."""
REMINDERS = 8
"""So often a proposer is shown the statement that names a contract already, before it is taken at its word."""
RETRY_AT_MOST = timedelta(hours=1)


class Statements(Accounts):
    """See the module's text.

    Args:
        book: The contracts.
        every: How often a pair states.
    """

    def __init__(
        self, *, me: str, verifier: Verifier, rules: Rules, book: ContractBook, every: timedelta = STATEMENT_EVERY
    ) -> None:
        super().__init__(me=me, verifier=verifier)
        self._rules = rules
        self._book = book
        self._every = every
        after_residual_gate = timedelta(seconds=rules.residual_gate_s + rules.slot_s / 90)
        self._sweeps = OnceASlot(rules.slot_s, after_residual_gate, YOUNG_SLOTS)
        self._retry = timedelta(seconds=rules.slot_s / 8)
        self._retry_at: dict[str, datetime] = {}
        self._told_at: dict[str, datetime] = {}
        self._reminded: dict[str, tuple[str, int]] = {}
        self._greet_at: datetime | None = None

    # Time

    def next_deadline(self, now: datetime) -> datetime:
        """Return when `tick` has something to do."""
        waiting = [self._retry_at.get(p, now) for p, account in self.accounts.items() if account.open is not None]
        return min([self._sweeps.due_at(now), self._greeting_at(now), *waiting])

    def _greeting_at(self, now: datetime) -> datetime:
        """Return when to say what the newest statements are: at the start, then as often as statements are made."""
        due = self._greet_at
        return due if due is not None and now <= due <= now + self._every else now

    def tick(self, now: datetime) -> list[Effect]:
        """Do what is due; call again until it returns nothing."""
        if self._sweeps.begin(now) is not None and (notes := self._decided()):
            return notes
        effects: list[Effect] = []
        if now >= self._greeting_at(now):
            self._greet_at = now + self._every
            signed = sorted(partner for partner, account in self.accounts.items() if account.number)
            effects += [self._told(partner, self.accounts[partner], (), now) for partner in signed]
        for partner, account in sorted(self.accounts.items()):
            if account.open is not None:
                effects += self._repeat(partner, account, now)
            elif self._me < partner:
                effects += self._propose(partner, account, now)
        return effects

    def _decided(self) -> list[Effect]:
        """Return marks for the contracts that count, each once; what counts does so for good."""
        known = {contract for account in self.accounts.values() for contract in (*account.due, *account.covered)}
        return [
            Note(mark=counted_mark(contract, self._me))
            for contract in self._book.contracts()
            if contract.status is Status.COUNTED and contract.id not in known
        ]

    # The proposer

    def _propose(self, partner: str, account: Account, now: datetime) -> list[Effect]:
        if not account.due:
            return []
        old = int((now - self._every).timestamp())
        if len(account.due) < CONTRACTS_MAX and all(slot > old for slot, _ in account.due.values()):
            return []  # by far the most frequent
        young = int(now.timestamp()) - YOUNG_SLOTS * self._rules.slot_s
        new = sorted(
            (slot, contract, owed)
            for contract, (slot, owed) in account.due.items()
            if contract not in account.disputed and slot <= young
        )
        if not new or (len(new) < CONTRACTS_MAX and new[0][0] > old):
            return []
        named = new[:CONTRACTS_MAX]
        body = {
            "slot": max(slot for slot, _, _ in named),
            "number": max(account.last_number, account.number) + 1,
            "prev": account.hash,
            "contract_ids": tuple(sorted(contract for _, contract, _ in named)),
            "balance_nano": account.balance_nano + sum(owed for _, _, owed in named),
        }
        self._retry_at[partner] = now + self._retry
        return [Say(kind=Settle, to=partner, expires_at=now + EVIDENCE_LIFE, body=body)]

    def _repeat(self, partner: str, account: Account, now: datetime) -> list[Effect]:
        assert account.open is not None
        if now < self._retry_at.get(partner, now):
            return []
        since = now - (account.opened_at or now)
        self._retry_at[partner] = now + max(self._retry, min(since / 4, RETRY_AT_MOST))
        words = account.open.message
        if words.expires_ms > now.timestamp() * 1000:
            return [Again(wire=account.open.wire, to=partner)]
        body = words.model_dump(include={"slot", "number", "prev", "contract_ids", "balance_nano"})
        return [Say(kind=Settle, to=partner, expires_at=now + EVIDENCE_LIFE, body=body)]

    # What comes in

    def receive(self, verified: Verified[Any], now: datetime) -> list[Effect]:
        """Take a partner's word. Redelivery changes nothing.

        Raises:
            RemoteProtocolError: If it breaks the form of statements.
        """
        match verified.message:
            case Settle():
                return self._on_statement(verified, now)
            case Settled():
                return self._on_signed(verified, now)
            case Told() as told:
                return self._on_told(told, now)
            case Dispute() as dispute:
                account = self.of(dispute.sender)
                about = account.open is not None and message_id(account.open.wire) == dispute.statement_hash
                return [Keep(verified=verified)] if about else []
        return []

    def _on_statement(self, verified: Verified[Settle], now: datetime) -> list[Effect]:
        words = verified.message
        if words.sender > self._me or words.to != self._me:
            raise RemoteProtocolError(words.sender, "states what is mine to state, or to others")
        account, name = self.of(words.sender), message_id(verified.wire)
        known = account.chain.get(words.number)
        if known is not None and known.hash == name:
            return [Again(wire=known.settled.wire, to=words.sender)]
        if name in account.disputes:
            return [Again(wire=account.disputes[name].wire, to=words.sender)]
        if words.number <= account.number or words.prev != account.hash:
            since = next((n for n, each in account.chain.items() if each.hash == words.prev), 0)
            behind = words.prev == GENESIS or since > 0
            return self._tell(words.sender, account, since if behind else account.number, now)
        earlier = self._named_before(account, words)
        if earlier is not None and self._reminders(words.sender, name) <= REMINDERS:
            return self._tell(words.sender, account, earlier - 1, now)
        owed = self._judge(account, words)
        if owed is None:
            return []
        if isinstance(owed, str):
            return self._deny(account, verified, owed, now)
        body = {"slot": words.slot, "statement": verified.wire.decode()}
        signed = Say(kind=Settled, to=words.sender, expires_at=now + EVIDENCE_LIFE, body=body)
        return [Keep(verified=verified), signed]

    def _named_before(self, account: Account, words: Settle) -> int | None:
        """Return which statement names one of the contracts already: a restored proposer may have lost it."""
        ids = set(words.contract_ids)
        if ids.isdisjoint(account.covered):
            return None
        return min(n for n, each in account.chain.items() if not ids.isdisjoint(each.statement.message.contract_ids))

    def _reminders(self, partner: str, name: str) -> int:
        """Count how often the statement with this hash has come."""
        last, times = self._reminded.get(partner, ("", 0))
        self._reminded[partner] = (name, times + 1 if last == name else 1)
        return self._reminded[partner][1]

    def _judge(self, account: Account, words: Settle) -> int | str | None:
        """Return the sum of the named contracts as this ledger has it, why not, or None while it cannot say."""
        reasons = {contract: self._reason(account, contract) for contract in words.contract_ids}
        wrong = next((reason for reason in reasons.values() if reason), None)
        if wrong is not None:
            return wrong
        if None in reasons.values():
            return None
        owed = sum(account.due[contract][1] for contract in reasons)
        return owed if words.balance_nano == account.balance_nano + owed else "another sum"

    def _reason(self, account: Account, contract: str) -> str | None:
        """Return "" for a contract that is due, None while this home cannot know, else what is wrong with it."""
        if contract in account.due:
            return ""
        if contract in account.covered:
            return "covered before"
        return None if self._may_count(contract) else "not counted here"

    def _may_count(self, contract: str) -> bool:
        """Return whether it may still turn out to count: it waits for a word, for its mark, or for lost memory."""
        reborn = self._book.reborn
        status = self._book.status(contract)
        waiting = {Status.OFFERED, Status.BOUND, Status.ACCEPTED, Status.COUNTED}
        return status in waiting or (reborn is not None and bool(reborn.unheard))

    def _deny(self, account: Account, verified: Verified[Settle], reason: str, now: datetime) -> list[Effect]:
        day = now - timedelta(days=1)
        if sum(day < at <= now for at in account.disputed_at) >= DISPUTES_MAX:
            return []
        words = verified.message
        ids = [contract for contract in words.contract_ids if self._reason(account, contract)]
        body = {
            "slot": words.slot,
            "number": words.number,
            "statement_hash": message_id(verified.wire),
            "reason": reason,
            "contract_ids": tuple(ids),
        }
        said = Say(kind=Dispute, to=words.sender, expires_at=now + EVIDENCE_LIFE, body=body)
        return [Keep(verified=verified), said]

    def _on_signed(self, verified: Verified[Settled], now: datetime) -> list[Effect]:
        both = dual_signed(verified, self._verifier)
        if both.statement.message.sender != self._me:
            raise RemoteProtocolError(verified.message.sender, "signs a statement that is not mine")
        account = self.of(verified.message.sender)
        if both.hash in account.known:
            return []
        follows = both.number > account.number and both.statement.message.prev == account.hash
        ask = [] if follows else self._tell(verified.message.sender, account, both.number, now)
        return [Keep(verified=verified), *ask]

    def _tell(self, partner: str, account: Account, since: int, now: datetime) -> list[Effect]:
        """Send the dual-signed statements after number `since`, and say which number is the newest here."""
        told_at = self._told_at.get(partner)
        if told_at is not None and timedelta(0) <= now - told_at < self._retry / 4:
            return []
        self._told_at[partner] = now
        wires: list[str] = []
        left = TOLD_BYTES
        for number in sorted(n for n in account.chain if n > since)[:TOLD_MAX]:
            wire = account.chain[number].settled.wire.decode()
            left -= len(json.dumps(wire))
            if wires and left < 0:
                break
            wires.append(wire)
        return [self._told(partner, account, tuple(wires), now)]

    def _told(self, partner: str, account: Account, wires: tuple[str, ...], now: datetime) -> Whisper:
        slot = Slot.at(now, self._rules.slot_s).key
        newest = {"number": account.number, "newest": account.hash, "whole": account.whole_to}
        body = {"slot": slot, **newest, "wires": wires}
        expires_at = now + timedelta(seconds=self._rules.slot_s)
        return Whisper(kind=Told, to=partner, expires_at=expires_at, body=body)

    def _on_told(self, told: Told, now: datetime) -> list[Effect]:
        """Take what both signed and this home lost; answer with what the other lacks, or ask for the rest."""
        account = self.of(told.sender)
        account = replace(account, known=dict(account.known))  # what becomes of it when the new ones are durable
        kept: list[Effect] = []
        for wire in told.wires:
            verified = self._verifier.reopen(wire.encode())
            if not isinstance(verified.message, Settled):
                raise RemoteProtocolError(told.sender, "tells what is no statement of both")
            both = dual_signed(Verified.narrow(verified, Settled), self._verifier)
            if {verified.message.sender, verified.message.to} != {self._me, told.sender}:
                raise RemoteProtocolError(told.sender, "tells a statement of others")
            if both.hash not in account.known:
                account.known[both.hash] = both
                kept.append(Keep(verified=verified))
        account.follow()
        return [*kept, *self._answer(told, account, bool(kept), now)]

    def _answer(self, told: Told, account: Account, learned: bool, now: datetime) -> list[Effect]:
        """Send what the other lacks beside what it told, or ask for what is still missing here."""
        agreed = told.newest == account.hash
        if agreed and told.whole == account.whole_to:
            return []
        here = told.whole > account.whole_to if agreed else told.newest not in account.known
        if here and told.wires and not learned:
            return []  # the other does not have it either
        if agreed:
            return self._tell(told.sender, account, account.number if here else told.whole, now)
        linked = account.chain.get(told.number)
        shared = told.number == 0 or (linked is not None and linked.hash == told.newest)
        since = told.number if shared else min(told.number, account.number) - FORK
        return self._tell(told.sender, account, since, now)
