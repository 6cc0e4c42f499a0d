"""What a whole ledger says: contracts, balances, statements, disputes, proofs; and whether all of it is true. Pure.

Every signature is checked. Which contracts count is worked out twice: by the fold that the running home uses, and from
the signatures alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.accounts import Accounts, DualSigned, owed_nano
from coordinator.charter import Charter
from coordinator.codec import Verified, Verifier, message_id
from coordinator.contracts import Contract, Contracts, Status
from coordinator.errors import RemoteProtocolError
from coordinator.fraud import WORDS, Proof, check, key_of, proof
from coordinator.ledger import GENESIS, Entry, Mark, Origin, Row
from coordinator.ledger_export import EvidenceError
from coordinator.merkle import leaf_hash, prove
from coordinator.messages import Accept, Fraud, Leaf, Offer, Position

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """See the module's text.

    `counted` are the ids of the contracts that count by the signatures in the ledger.
    """

    home: str
    charter: Charter
    contracts: dict[str, Contract]
    counted: frozenset[str]
    accounts: Accounts
    proofs: tuple[Proof, ...]
    bills: tuple[Mark, ...]
    problems: tuple[str, ...]

    @property
    def count(self) -> list[Contract]:
        """The contracts that count, oldest first."""
        counted = (c for c in self.contracts.values() if c.status is Status.COUNTED)
        return sorted(counted, key=lambda contract: (contract.slot, contract.trade, contract.id))

    def partner(self, contract: Contract) -> str:
        return contract.partner(self.home)

    def owed_nano(self, contract: Contract) -> int:
        """Return what this home owes for a contract, in 1e-9 of the currency; negative when it is owed."""
        return owed_nano(contract, self.home)

    def stated_nano(self, partner: str) -> int:
        """Return what this home owes by the newest statement that both signed."""
        nano = self.accounts.of(partner).balance_nano
        return nano if self.home < partner else -nano


def entries_of(rows: Iterable[Row], charter: Charter, home: str, progress: Progress = lambda done: None) -> list[Entry]:
    """Return the entries, each signature checked.

    Raises:
        EvidenceError: It names the first row that is none.
    """
    verifier = Verifier(charter, home)
    entries: list[Entry] = []
    for row in rows:
        try:
            content = Mark.decode(row.wire) if row.origin is Origin.LOCAL else verifier.reopen(row.wire)
        except RemoteProtocolError as error:
            raise EvidenceError(f"row {row.number}: {error}") from None
        except (ValueError, KeyError, AttributeError):
            raise EvidenceError(f"row {row.number} is no mark of a ledger") from None
        if row.origin is Origin.OWN and isinstance(content, Verified) and content.message.sender != home:
            raise EvidenceError(f"row {row.number} is said to be of this home, but {content.message.sender} signed it")
        entries.append(Entry(origin=row.origin, at_ms=row.at_ms, content=content))
        progress(len(entries))
    return entries


def read(entries: Sequence[Entry], charter: Charter, home: str) -> Reading:
    """Read a whole ledger.

    Raises:
        EvidenceError: If its rows do not follow from each other.
    """
    verifier = Verifier(charter, home)
    book, accounts = Contracts(me=home, rules=charter.rules), Accounts(me=home, verifier=verifier)
    for number, entry in enumerate(entries, start=1):
        try:
            book.apply(entry)
            accounts.replay([entry])
        except (KeyError, ValueError, RemoteProtocolError) as error:
            raise EvidenceError(f"row {number} does not follow from those before it ({error})") from None
    messages = said_in(entries)
    contracts = {contract.id: contract for contract in book.contracts()}
    counted = counts_by_signatures(messages)
    bills = tuple(e.content for e in entries if isinstance(e.content, Mark) and e.kind == "settled")
    problems = [
        *_fold_problems(contracts, counted),
        *_bill_problems(bills, contracts, home),
        *_statement_problems(accounts, contracts, counted, book.once_restored),
    ]
    return Reading(
        home=home,
        charter=charter,
        contracts=contracts,
        counted=counted,
        accounts=accounts,
        proofs=tuple(proofs_in(messages, verifier, charter)),
        bills=bills,
        problems=tuple(problems),
    )


def said_in(entries: Iterable[Entry]) -> list[Verified[Any]]:
    return [entry.content for entry in entries if isinstance(entry.content, Verified)]


def counts_by_signatures(messages: Iterable[Verified[Any]]) -> frozenset[str]:
    """Return the ids that the seller countersigned and a leaf of the buyer's signed position contains."""
    said = list(messages)
    offers = {v.message.contract_id: v for v in said if isinstance(v.message, Offer)}
    positions = {_moment(v.message): v.message for v in said if isinstance(v.message, Position)}
    in_leaf: set[tuple[str, str, str]] = set()
    for leaf in (v.message for v in said if isinstance(v.message, Leaf)):
        position = positions.get(_moment(leaf))
        hashed = leaf_hash(leaf.to, leaf.contract_ids, leaf.salt)
        if position is not None and prove(hashed, leaf.proof, position.root):
            in_leaf |= {(contract, leaf.sender, leaf.to) for contract in leaf.contract_ids}
    counted: set[str] = set()
    for accept in (v.message for v in said if isinstance(v.message, Accept)):
        offer = offers.get(accept.contract_id)
        if offer is None or (accept.sender, accept.offer_hash) != (offer.message.seller, message_id(offer.wire)):
            continue
        if (accept.contract_id, offer.message.sender, offer.message.seller) in in_leaf:
            counted.add(accept.contract_id)
    return frozenset(counted)


def _moment(message: Position | Leaf) -> tuple[str, int, int, str]:
    return (message.sender, message.inc, message.slot, message.trade)


def _fold_problems(contracts: dict[str, Contract], counted: frozenset[str]) -> list[str]:
    folded = {contract.id for contract in contracts.values() if contract.status is Status.COUNTED}
    return [
        f"contract {contract} {'counts' if contract in folded else 'does not count'} here, the signatures say otherwise"
        for contract in sorted(folded ^ counted)
    ]


def _bill_problems(bills: Iterable[Mark], contracts: dict[str, Contract], home: str) -> list[str]:
    bought: dict[int, int] = {}
    sold: dict[int, int] = {}
    for contract in contracts.values():
        if contract.status is Status.COUNTED:
            side = bought if contract.buyer == home else sold
            side[contract.slot] = side.get(contract.slot, 0) + contract.energy_wh
    return [
        f"the bill of slot {bill.slot} is not the sum of its contracts"
        for bill in bills
        if (bill.data["bought_wh"], bill.data["sold_wh"]) != (bought.get(bill.slot, 0), sold.get(bill.slot, 0))
    ]


def _statement_problems(
    accounts: Accounts,
    contracts: dict[str, Contract],
    counted: frozenset[str],
    may_be_lost: Callable[[int], bool],
) -> list[str]:
    """Return what is wrong with the statements; `may_be_lost` says of a slot whether what it held may be lost here."""
    problems: list[str] = []
    for partner, account in sorted(accounts.accounts.items()):
        stated: set[str] = set()
        before: DualSigned | None = None
        for number, both in sorted(account.chain.items()):
            words = both.statement.message
            where = f"statement {number} with {partner}"
            if stated & set(words.contract_ids):
                problems.append(f"{where} names a contract that an earlier one names")
            stated |= set(words.contract_ids)
            known = [contracts[c] for c in words.contract_ids if c in contracts]
            # What both homes lost since, by restored ledgers, no longer counts; their statement about it still binds.
            if any(c.id not in counted and not may_be_lost(c.slot) for c in known):
                problems.append(f"{where} names contracts that do not count in this ledger")
            follows = both.prev == (before.hash if before is not None else GENESIS)
            if follows and len(known) == len(words.contract_ids):  # a restored ledger may have lost some
                start_nano = before.statement.message.balance_nano if before is not None else 0
                if words.balance_nano != start_nano + sum(owed_nano(c, words.sender) for c in known):
                    problems.append(f"{where} is not the sum of its contracts")
            before = both
    return problems


def proofs_in(messages: Iterable[Verified[Any]], verifier: Verifier, charter: Charter) -> list[Proof]:
    """Return what the messages prove against anybody: passed on as proofs, or contradicting each other."""
    found: dict[tuple[str, str, int], Proof] = {}
    first: dict[tuple[Any, ...], Verified[Any]] = {}
    for verified in messages:
        message = verified.message
        made: Proof | None = None
        if isinstance(message, Fraud):
            try:
                made = check(message, verifier, {charter.terms, *charter.earlier_terms})
            except RemoteProtocolError:
                continue
        elif (key := key_of(message)) is not None:
            made = proof(first.setdefault((message.sender, message.inc, key), verified), verified)
        if made is not None:
            found.setdefault((made.accused, made.what, made.slot), made)
    return list(found.values())


def proof_words(found: Proof) -> str:
    """Return what was proved, for people; without the home's name."""
    return f"signed {WORDS[found.what]}"
