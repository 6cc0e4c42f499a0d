"""What a home and each partner owe each other, as its ledger tells it. What to do about it decides statements.py.

Two homes keep one running balance. The one with the lower id (the *proposer*) states it, the other signs or disputes:

    counted contracts -> statement n (`settle`) -> countersigned (`settled`): the newest of these is what both owe
                                                -> disputed (`dispute`): those contracts wait for the people

Balances are cumulative, in whole 1e-9 of the currency, and mean what the proposer owes. A statement names its
contracts, each of which stands in one dual-signed statement at most, and the dual-signed statement before it. `replay`
is the only way to change anything, from durable entries, as for contracts.

Two restored ledgers may sign another statement after one that both have lost, and find the lost one later. Then the
longer chain holds, of two as long the one whose newest statement has the smaller hash; what only the other one names
is stated anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from coordinator.codec import Verified, Verifier, heading, message_id
from coordinator.contract import Contract
from coordinator.errors import RemoteProtocolError
from coordinator.ledger import GENESIS, Entry, Mark, Origin
from coordinator.ledger_store import LedgerStore
from coordinator.messages import Dispute, Settle, Settled

KINDS = ("settle", "settled", "dispute")
ACCOUNT_MEMORY = timedelta(days=60)
"""Older contracts that no statement names are left to the people. The newest statement is never forgotten."""


def owed_nano(contract: Contract, proposer: str) -> int:
    """Return what the proposer owes for a contract, in 1e-9 of the currency; negative when it is owed."""
    amount = contract.energy_wh * contract.price_micro
    return amount if contract.buyer == proposer else -amount


def counted_mark(contract: Contract, me: str) -> Mark:
    """Return the mark that keeps a counted contract for the next statement, when the contracts have left memory."""
    partner = contract.partner(me)
    nano = str(owed_nano(contract, min(me, partner)))
    return Mark(
        kind="counted", slot=contract.slot, data={"partner": partner, "contract": contract.id, "owed_nano": nano}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DualSigned:
    """A statement with both signatures: `settled` holds the proposer's words within the other's."""

    statement: Verified[Settle]
    settled: Verified[Settled]

    @property
    def number(self) -> int:
        return self.statement.message.number

    @property
    def hash(self) -> str:
        return message_id(self.statement.wire)

    @property
    def prev(self) -> str:
        return self.statement.message.prev


def dual_signed(settled: Verified[Settled], verifier: Verifier) -> DualSigned:
    """Return what two homes signed.

    Raises:
        RemoteProtocolError: If the statement within is none, or is between others.
    """
    outer = settled.message
    statement = verifier.reopen(outer.statement.encode())
    inner = statement.message
    if not isinstance(inner, Settle) or (inner.sender, inner.to) != (outer.to, outer.sender):
        raise RemoteProtocolError(outer.sender, "signs what is no statement to it")
    if inner.sender >= inner.to or inner.slot != outer.slot:
        raise RemoteProtocolError(outer.sender, "signs a statement of the wrong home")
    return DualSigned(statement=Verified.narrow(statement, Settle), settled=settled)


def newest_of(statements: Iterable[DualSigned]) -> DualSigned | None:
    """Return the one that holds, with what leads to it: of the longest chain, of two as long the smaller hash."""
    return min(statements, key=lambda both: (-both.number, both.hash), default=None)


@dataclass(slots=True, kw_only=True)
class Account:
    """Between this home and one partner."""

    signed: DualSigned | None = None
    """The newest of the chain that holds."""
    due: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Counted contracts that the chain does not name: slot, and what the proposer owes."""
    covered: set[str] = field(default_factory=set)
    """Contracts that it names."""
    chain: dict[int, DualSigned] = field(default_factory=dict)
    """The dual-signed statements that hold, of the last months, by number."""
    known: dict[str, DualSigned] = field(default_factory=dict)
    """All dual-signed ones by hash."""
    open: Verified[Settle] | None = None
    """The proposer's newest statement while it has no answer."""
    opened_at: datetime | None = None
    last_number: int = 0
    """Highest this life or an earlier one gave away, as far as the ledger knows."""
    disputes: dict[str, Verified[Dispute]] = field(default_factory=dict)
    """By hash of the statement."""
    disputed: set[str] = field(default_factory=set)
    disputed_at: list[datetime] = field(default_factory=list)
    _counted: dict[str, tuple[int, int]] = field(default_factory=dict)
    _whole: tuple[DualSigned, DualSigned] | None = None
    """Of the lowest part of the chain without a gap, the first and the last."""

    @property
    def number(self) -> int:
        return 0 if self.signed is None else self.signed.number

    @property
    def hash(self) -> str:
        """Of the newest statement that both signed."""
        return GENESIS if self.signed is None else self.signed.hash

    @property
    def balance_nano(self) -> int:
        """What the proposer owes by it."""
        return 0 if self.signed is None else self.signed.statement.message.balance_nano

    @property
    def whole_to(self) -> int:
        """The number up to which no statement is missing here: not between two others, nor one for what is due."""
        if self._whole is None:
            return 0
        first, last = self._whole
        owed = (slot for contract, (slot, _) in self.due.items() if contract not in self.disputed)
        begins_late = last is self.signed and first.prev != GENESIS
        return 0 if begins_late and any(slot <= first.statement.message.slot for slot in owed) else last.number

    def count(self, contract: str, slot: int, owed: int) -> None:
        """Take a contract that counts."""
        self._counted[contract] = (slot, owed)
        if contract not in self.covered:
            self.due[contract] = (slot, owed)

    def sign(self, both: DualSigned) -> None:
        """Take a statement that both signed; `follow` says what comes of it, once for any number of them."""
        self.known[both.hash] = both
        self.last_number = max(self.last_number, both.number)

    def follow(self) -> None:
        """Work out which chain holds, and what is due beside it."""
        self.signed = newest_of(self.known.values())
        self._link()
        self.covered = {contract for each in self.chain.values() for contract in each.statement.message.contract_ids}
        self.due = {contract: of for contract, of in self._counted.items() if contract not in self.covered}
        waits = None if self.open is None else self.open.message
        if waits is not None and (
            waits.number <= self.number
            or waits.prev != self.hash
            or not self.covered.isdisjoint(waits.contract_ids)  # a statement that was lost names them
        ):
            self.open = None

    def _link(self) -> None:
        """Follow the newest down to the first; below a gap of lost or forgotten ones, the newest there."""
        self.chain, self._whole = {}, None
        top = self.signed
        while top is not None:
            link = self.chain[top.number] = top
            while (before := self.known.get(link.prev)) is not None and before.number < link.number:
                link = self.chain[before.number] = before
            self._whole = (link, top)
            below = (each for each in self.known.values() if each.number < link.number)
            top = None if link.prev == GENESIS else newest_of(below)


class Accounts:
    """All accounts of one home.

    Args:
        me: Own id.
        verifier: Reads the statements within countersignatures.
    """

    def __init__(self, *, me: str, verifier: Verifier) -> None:
        self.accounts: dict[str, Account] = {}
        self._me = me
        self._verifier = verifier

    def of(self, partner: str) -> Account:
        return self.accounts.setdefault(partner, Account())

    def restore(self, store: LedgerStore, now: datetime) -> None:
        """Read what is needed from the ledger: the last months, and of each partner the newest statement ever."""
        since = int((now - ACCOUNT_MEMORY).timestamp())
        newest: dict[tuple[str, str], Entry] = {}
        for at_ms, origin, wire in store.newest_first(("settle", "settled")):
            head = heading(wire)
            if head is None or (head[0] == "settle" and origin is not Origin.OWN):
                continue
            key = (head[0], head[2] if head[1] == self._me else head[1])
            if key not in newest:
                newest[key] = Entry(origin=origin, at_ms=at_ms, content=self._verifier.reopen(wire))
        self.replay(sorted(newest.values(), key=lambda entry: entry.kind, reverse=True))  # countersignatures first
        self.replay(store.of_kinds((*KINDS, "counted"), self._verifier, since))

    def replay(self, entries: Iterable[Entry]) -> None:
        for partner in {partner for entry in entries if (partner := self._apply(entry)) is not None}:
            self.of(partner).follow()

    def _apply(self, entry: Entry) -> str | None:
        """Take one entry; return with whom a statement was signed by it, if one was."""
        if isinstance(entry.content, Mark):
            if entry.kind == "counted":
                self._count(entry.content)
            return None
        message = entry.content.message
        match message:
            case Settle() if entry.origin is Origin.OWN:
                account = self.of(message.to)
                account.last_number = max(account.last_number, message.number)
                if message.number > account.number:
                    account.open = entry.content
                    account.opened_at = datetime.fromtimestamp(entry.at_ms / 1000, UTC)
            case Settled():
                return self._sign(dual_signed(entry.content, self._verifier))
            case Dispute():
                self._dispute(entry)
        return None

    def _count(self, mark: Mark) -> None:
        account = self.of(str(mark.data["partner"]))
        account.count(str(mark.data["contract"]), mark.slot, int(mark.data["owed_nano"]))

    def _sign(self, both: DualSigned) -> str:
        words = both.statement.message
        partner = words.to if words.sender == self._me else words.sender
        self.of(partner).sign(both)
        return partner

    def _dispute(self, entry: Entry) -> None:
        assert isinstance(entry.content, Verified)
        message = entry.content.message
        account = self.of(message.to if message.sender == self._me else message.sender)
        account.disputes[message.statement_hash] = entry.content
        account.disputed_at.append(datetime.fromtimestamp(entry.at_ms / 1000, UTC))
        account.disputed.update(message.contract_ids)
        if account.open is not None and message_id(account.open.wire) == message.statement_hash:
            if not message.contract_ids:
                account.disputed.update(account.open.message.contract_ids)
            account.open = None
