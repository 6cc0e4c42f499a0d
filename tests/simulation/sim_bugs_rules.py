"""Planted bugs of rules: who decides, what strangers may do, restored backups, money and time."""

from dataclasses import replace
from typing import Any

from sim_plants import RESTORES, plant, says

from coordinator import after_slot, contract_book, desk
from coordinator.contract_book import ContractBook
from coordinator.contracts import Contracts, Status
from coordinator.effects import Keep
from coordinator.messages import Lost
from coordinator.recall import Recalls
from coordinator.settlement import settle_slot
from coordinator.trader import Trader

_tick, _close, _on_answer = ContractBook.tick, Contracts._close, ContractBook._on_answer

# Who decides


def _seller_decides(self: Contracts, book: Any, at: Any) -> None:
    _close(self, book, at)
    for contract in list(book.contracts.values()):
        if contract.status is Status.ACCEPTED:
            self._set(contract.id, Status.COUNTED)


def _buyer_decides(self: Contracts, book: Any, at: Any) -> None:
    for contract in list(book.contracts.values()):
        if contract.status is Status.OFFERED:
            self._set(contract.id, Status.BOUND)
    _close(self, book, at)


def _gives_up(self: ContractBook, now: Any) -> Any:
    for contract in self._waiting():
        if contract.status is Status.ACCEPTED and now >= self._waits_until(contract):
            self._set(contract.id, Status.VOID)
    return _tick(self, now)


_close_gate = ContractBook.close_gate


def _one_partner(self: ContractBook, session: Any, salt: Any, now: Any) -> Any:
    effects = _close_gate(self, session, salt, now)
    return [e if i < 2 else replace(e, body={**e.body, "contract_ids": ()}) for i, e in enumerate(effects)]


plant("a seller counts what it sold by itself", (Contracts, "_close", _seller_decides))
plant("a buyer counts what nobody accepted", (Contracts, "_close", _buyer_decides))
plant("a seller gives up on a buyer that is away", (ContractBook, "tick", _gives_up))
plant("a position forgets all partners but one", (ContractBook, "close_gate", _one_partner))

_on_request = ContractBook._on_request


def _never_lost(self: ContractBook, request: Any, now: Any) -> Any:
    return [e for e in _on_request(self, request, now) if not says(Lost)(e)]


# What strangers may do


def _anybodys_answer(self: ContractBook, verified: Any, now: Any) -> Any:
    contract = self._contract(verified.message.contract_id)
    open_one = contract is not None and contract.status is Status.OFFERED
    return [Keep(verified=verified)] if open_one else _on_answer(self, verified, now)


def _anybodys_lapse(self: ContractBook, verified: Any) -> Any:
    contract = self._contract(verified.message.contract_id)
    if contract is None or contract.status is not Status.ACCEPTED or self.closed(contract.session):
        return []
    return [Keep(verified=verified)]


plant("anybody may accept an offer", (ContractBook, "_on_answer", _anybodys_answer), liars=True)
plant("anybody may let an offer lapse", (ContractBook, "_on_lapse", _anybodys_lapse), liars=True)
plant("a buyer may make any number of offers", (contract_book, "CONTRACTS_MAX", 500), liars=True)

# Restored backups

plant("a restored ledger goes on in its old life", (desk, "reborn_mark", lambda *_: None), faults=RESTORES)
plant(
    "nobody is asked what a restored ledger lost",
    (Recalls, "tick", lambda self, now: []),
    (Recalls, "next_deadline", lambda self, now: None),
    faults=RESTORES,
)
plant(
    "a restored home takes its ledger for whole",
    (Contracts, "restored", lambda self, slot: False),
    faults=RESTORES,
)
plant("leaves that no partner holds are recited", (Contracts, "overtaken", lambda self: set()), faults=RESTORES)
plant("a lost position is never said to be lost", (ContractBook, "_on_request", _never_lost), faults=RESTORES)

# Money and time

plant(
    "a bill counts what is void",
    (
        after_slot,
        "settle_slot",
        lambda me, contracts, **named: settle_slot(
            me, [replace(c, status=Status.COUNTED) if c.status is Status.VOID else c for c in contracts], **named
        ),
    ),
)
plant("a home never rests", (Trader, "next_deadline", lambda self, now: now))
