"""What a home and each partner owe each other, as its ledger tells it. What to do about it decides statements.py.

Two homes keep one running balance. The one with the lower id (the *proposer*) states it, the other signs or disputes:

    counted contracts -> statement n (`settle`) -> countersigned (`settled`): the newest of these is what both owe
                                                -> disputed (`dispute`): those contracts wait for the people

Balances are cumulative, in whole 1e-9 of the currency, and mean what the proposer owes. A statement names its
contracts, each of which stands in one dual-signed statement at most, and the dual-signed statement before it. `replay`
is the only way to change anything, from durable entries, as for contracts.
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


@dataclass(slots=True, kw_only=True)
class Account:
    """Between this home and one partner."""

    signed: DualSigned | None = None
    """The newest."""
    due: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Counted contracts that no dual-signed statement names: slot, and what the proposer owes."""
    covered: set[str] = field(default_factory=set)
    chain: dict[int, DualSigned] = field(default_factory=dict)
    """The dual-signed statements of the last months by number."""
    open: Verified[Settle] | None = None
    """The proposer's newest statement while it has no answer."""
    opened_at: datetime | None = None
    last_number: int = 0
    """Highest this life or an earlier one gave away, as far as the ledger knows."""
    disputes: dict[str, Verified[Dispute]] = field(default_factory=dict)
    """By hash of the statement."""
    disputed: set[str] = field(default_factory=set)
    disputed_at: list[datetime] = field(default_factory=list)

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
        for entry in entries:
            self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        if isinstance(entry.content, Mark):
            if entry.kind == "counted":
                self._count(entry.content)
            return
        message = entry.content.message
        match message:
            case Settle() if entry.origin is Origin.OWN:
                account = self.of(message.to)
                account.last_number = max(account.last_number, message.number)
                if message.number > account.number:
                    account.open = entry.content
                    account.opened_at = datetime.fromtimestamp(entry.at_ms / 1000, UTC)
            case Settled():
                self._sign(dual_signed(entry.content, self._verifier))
            case Dispute():
                self._dispute(entry)

    def _count(self, mark: Mark) -> None:
        account, contract = self.of(str(mark.data["partner"])), str(mark.data["contract"])
        if contract not in account.covered:
            account.due[contract] = (mark.slot, int(mark.data["owed_nano"]))

    def _sign(self, both: DualSigned) -> None:
        words = both.statement.message
        account = self.of(words.to if words.sender == self._me else words.sender)
        account.chain[words.number] = both
        account.covered.update(words.contract_ids)
        for contract in words.contract_ids:
            account.due.pop(contract, None)
        if words.number > account.number:
            account.signed = both
        account.last_number = max(account.last_number, words.number)
        waits = account.open
        if waits is not None and (waits.message.number <= words.number or waits.message.prev != account.hash):
            account.open = None

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
