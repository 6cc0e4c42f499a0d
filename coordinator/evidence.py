"""What bears on one dispute: of a ledger, everything signed between two homes, or about one slot or contract. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.accounts import dual_signed
from coordinator.charter import Charter
from coordinator.codec import Verified, Verifier
from coordinator.errors import RemoteProtocolError
from coordinator.fraud import Proof
from coordinator.ledger import Entry, Row
from coordinator.ledger_export import About
from coordinator.ledger_reading import counts_by_signatures, proofs_in, said_in
from coordinator.messages import EVERYBODY, Fraud, Offer, Settle, Settled


def rows_about(rows: Sequence[Row], entries: Sequence[Entry], about: About) -> Iterator[Row]:
    """Yield the rows that bear on it, none of them a private mark of the home's own.

    Args:
        entries: What the rows say, in the same order.
    """
    offers = [v.message for v in said_in(entries) if isinstance(v.message, Offer)]
    pair = {about.home, about.partner}
    ids = {o.contract_id for o in offers if {o.sender, o.seller} == pair and _asked(o, about)}
    slots = {offer.slot for offer in offers if offer.contract_id in ids} | ({about.slot} if about.slot else set())
    for row, entry in zip(rows, entries, strict=True):
        if isinstance(entry.content, Verified) and _bears(entry.content, about, ids, slots):
            yield row


def _asked(offer: Offer, about: About) -> bool:
    return about.slot in (None, offer.slot) and about.contract in (None, offer.contract_id)


def _bears(verified: Verified[Any], about: About, ids: set[str], slots: set[int]) -> bool:
    """Return whether it is between the two and, where only some contracts are asked for, about these or their slots."""
    message, pair = verified.message, {about.home, about.partner}
    if isinstance(message, Fraud):
        return message.accused in pair
    if message.sender not in pair or message.to not in {*pair, EVERYBODY}:
        return False
    if about.slot is None and about.contract is None:
        return True
    if message.kind in {"settle", "settled", "dispute"}:
        return any(contract in verified.wire.decode() for contract in ids)
    return message.slot in slots and getattr(message, "contract_id", None) in {None, *ids}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What signed messages come to, whoever shows them."""

    counted: tuple[Offer, ...]
    not_counted: tuple[Offer, ...]
    """What is shown of these does not make a contract; more may exist."""
    statements: tuple[Settle, ...]
    """Signed by both."""
    proofs: tuple[Proof, ...]


def judge(entries: Iterable[Entry], charter: Charter, home: str) -> Verdict:
    """Return what the messages prove, by the signatures and the charter alone."""
    messages, verifier = said_in(entries), Verifier(charter, home)
    counted = counts_by_signatures(messages)
    offers = sorted((v.message for v in messages if isinstance(v.message, Offer)), key=lambda offer: offer.slot)
    statements: list[Settle] = []
    for verified in messages:
        if isinstance(verified.message, Settled):
            try:
                statements.append(dual_signed(verified, verifier).statement.message)
            except RemoteProtocolError:
                continue
    return Verdict(
        counted=tuple(offer for offer in offers if offer.contract_id in counted),
        not_counted=tuple(offer for offer in offers if offer.contract_id not in counted),
        statements=tuple(statements),
        proofs=tuple(proofs_in(messages, verifier, charter)),
    )
