"""What about contracts, statements and other homes' honesty people have to look at themselves. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from coordinator.accounts import Accounts
from coordinator.fraud import WORDS, Proof
from coordinator.messages import Dispute

UNANSWERED = timedelta(days=3)
NEVER_STATED = timedelta(days=30)
DISPUTE_SHOWN = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """One thing to look at; `partner` is whom it is about."""

    partner: str
    text: str


def concerns(
    accounts: Accounts, proofs: Iterable[Proof], name: Callable[[str], str], now: datetime
) -> Iterator[Concern]:
    """Yield what people must know.

    Args:
        proofs: Of fraud, under the charter in force.
        name: Gives a home's name.
    """
    for found in sorted(proofs, key=lambda each: each.accused):
        text = f"{name(found.accused)} signed {WORDS[found.what]}: it is proved, and this home does not trade with it"
        yield Concern(partner=found.accused, text=text)
    for partner, account in sorted(accounts.accounts.items()):
        waits = account.opened_at if account.open is not None else None
        if waits is not None and now - waits >= UNANSWERED:
            yield Concern(partner=partner, text=f"{name(partner)} has not signed the statement of {waits:%d %B %Y}")
        denied = [_dispute(each.message, name) for each in account.disputes.values() if _recent(each.message, now)]
        for text in sorted(denied):
            yield Concern(partner=partner, text=text)
        slots = [slot for slot, _ in account.due.values()]
        oldest = datetime.fromtimestamp(min(slots), UTC) if slots else now
        if now - oldest >= NEVER_STATED:
            text = f"{len(slots)} contracts with {name(partner)}, the oldest of {oldest:%d %B %Y}, are in no statement"
            yield Concern(partner=partner, text=f"{text} that both signed: `commonwatt ledger export` has the evidence")


def _recent(dispute: Dispute, now: datetime) -> bool:
    return now.timestamp() * 1000 - dispute.sent_ms < DISPUTE_SHOWN.total_seconds() * 1000


def _dispute(dispute: Dispute, name: Callable[[str], str]) -> str:
    ids = len(dispute.contract_ids)
    about = f"{ids} contract{'s' if ids != 1 else ''}, {dispute.reason}" if ids else dispute.reason
    return f"{name(dispute.sender)} disputes statement {dispute.number} of {name(dispute.to)} ({about})"
