"""Planted bugs of proofs and pair statements."""

from datetime import timedelta
from typing import Any

from sim_plants import RESTORES, plant

from coordinator import accounts, fraud, statements
from coordinator.accounts import Account, Accounts
from coordinator.codec import Verified
from coordinator.contracts import Status
from coordinator.effects import Note
from coordinator.statements import Statements
from coordinator.witness import Witness

_decided, _owed_nano, _follow = Statements._decided, accounts.owed_nano, Account.follow


def _of_any_life(first: Verified[Any], second: Verified[Any]) -> str | None:
    key = fraud.key_of(first.message)
    same = key is not None and key == fraud.key_of(second.message)
    return str(key[0]) if same and key and first.content != second.content else None


def _whatever_life(self: Witness, message: Any, key: Any) -> Any:
    heard = self._heard.get(message.slot)
    known = [*self._durable.items(), *(heard.words.items() if heard is not None else ())]
    return next((said for (sender, _, other), said in known if (sender, other) == (message.sender, key)), None)


plant(
    "two lives of a ledger are compared",
    (fraud, "contradiction", _of_any_life),
    (Witness, "_known", _whatever_life),
    faults=RESTORES,
)
plant("statements are forgotten by a restart", (Accounts, "restore", lambda self, store, now: None))


def _uncovered(self: Account) -> None:
    _follow(self)
    self.covered, self.due = set(), dict(self._counted)


plant("what a statement names is named again", (Account, "follow", _uncovered))
plant(
    "a restored ledger gets no statement back", (Statements, "_tell", lambda self, *args, **named: []), faults=RESTORES
)


def _once(self: Statements, partner: str, account: Any, now: Any) -> Any:
    self._retry_at[partner] = now + timedelta(days=1)
    return []


plant(
    "a statement is said once",
    (Statements, "_repeat", _once),
    faults={"loss": 0.3},
)


def _undecided(self: Statements) -> Any:
    known = {contract for account in self.accounts.values() for contract in (*account.due, *account.covered)}
    early = [c for c in self._book.contracts() if c.status is Status.ACCEPTED and c.id not in known]
    return [*_decided(self), *(Note(mark=statements.counted_mark(c, self._me)) for c in early)]


plant("what is only accepted is stated", (Statements, "_decided", _undecided))
plant(
    "a doubt is a dispute",
    (Statements, "_may_count", lambda self, contract: False),
    faults={"loss": 0.5, "partitions": 0.3},
)


def _whole_cents(contract: Any, proposer: str) -> int:
    return _owed_nano(contract, proposer) // 10**7 * 10**7


plant("statements are rounded", (accounts, "owed_nano", _whole_cents))

plant(
    "nobody says which statement is its newest",
    (Statements, "_greeting_at", lambda self, now: now + self._every),
    faults=RESTORES,
)
