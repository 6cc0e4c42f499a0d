"""Compare the ledgers of several homes: do every two of them agree, and was any Wh sold twice?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.charter import Charter
from coordinator.codec import Verifier
from coordinator.contracts import Contract, Contracts, Status, mandate_session
from coordinator.errors import CommonwattError, RemoteProtocolError
from coordinator.ledger import first_broken
from coordinator.ledger_store import LedgerStore
from coordinator.sessions import Session

UNDECIDED = frozenset({Status.OFFERED, Status.BOUND, Status.ACCEPTED})


class AuditError(CommonwattError):
    """A ledger is broken: its hash chain or a signature in it does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What several ledgers say together."""

    contracts_counted: int
    contracts_residual: int
    """How many of the counted ones were made after their slot, in its residual round."""
    contracts_void: int
    ledger_mismatches: int
    wh_sold_twice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """One home's side: its contracts by id, and what it allowed itself to sell by session.

    Of the slots in `lost`, (first, last) each, a restored ledger does not know any more what it allowed itself.
    """

    contracts: Mapping[str, Contract]
    mandates_wh: Mapping[Session, int]
    lost: Sequence[tuple[int, int]] = ()

    def oversold_wh(self, session: Session, sold_wh: int) -> int:
        """Return by how much the buyers' count exceeds what this home decided to sell."""
        if session not in self.mandates_wh and any(first <= session.slot <= last for first, last in self.lost):
            return 0
        return max(0, sold_wh - self.mandates_wh.get(session, 0))


def read_books(path: Path, charter: Charter, home: str) -> Books:
    """Replay a ledger file after checking its hash chain and every signature.

    Raises:
        AuditError: If the hash chain or a signature is broken.
    """
    verifier = Verifier(charter, home)
    with LedgerStore(path, home) as store:
        if (broken := first_broken(store.rows())) is not None:
            raise AuditError(f"{path}: row {broken} does not fit the hash chain")
        book = Contracts(me=home, rules=charter.rules)
        try:
            book.replay(store.entries(verifier))
        except RemoteProtocolError as error:
            raise AuditError(f"{path}: a message in it does not verify ({error})") from None
        mandates = {mandate_session(mark): int(mark.data["sell_wh"]) for mark in store.marks("mandate")}
        lost = [(int(mark.data["since"]), mark.slot) for mark in store.marks("reborn")]
    return Books(contracts={c.id: c for c in book.contracts()}, mandates_wh=mandates, lost=lost)


def _counts(books: Books, contract_id: str) -> Contract | None:
    contract = books.contracts.get(contract_id)
    return contract if contract is not None and contract.status is Status.COUNTED else None


def audit(books: Mapping[str, Books]) -> Audit:
    """Compare all ledgers pair by pair. Contracts still undecided (their last slot is running) count nowhere.

    A mismatch is a contract that one side counts and the other does not, or counts with other content. Energy is sold
    twice when buyers count more from a seller in a session than the seller's own durable mandate allows.
    """
    counted: dict[str, Contract] = {}
    void: set[str] = set()
    mismatches = 0
    sold_wh: dict[tuple[str, Session], int] = {}
    for contract_id in {i for b in books.values() for i in b.contracts}:
        sides = [b.contracts[contract_id] for b in books.values() if contract_id in b.contracts]
        contract = sides[0]
        if any(side.status in UNDECIDED for side in sides):
            continue
        views = [_counts(books[home], contract_id) for home in (contract.buyer, contract.seller) if home in books]
        facts = {(v.session, v.seller, v.buyer, v.energy_wh, v.price_micro) if v else None for v in views}
        if len(facts) > 1:
            mismatches += 1
        elif facts == {None}:
            void.add(contract_id)
        else:
            counted[contract_id] = contract
        if views and views[0] is not None:
            key = (contract.seller, contract.session)
            sold_wh[key] = sold_wh.get(key, 0) + views[0].energy_wh
    twice = sum(books[seller].oversold_wh(session, wh) for (seller, session), wh in sold_wh.items() if seller in books)
    return Audit(
        contracts_counted=len(counted),
        contracts_residual=sum(contract.trade == "residual" for contract in counted.values()),
        contracts_void=len(void),
        ledger_mismatches=mismatches,
        wh_sold_twice=twice,
    )
