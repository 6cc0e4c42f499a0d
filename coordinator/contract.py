"""One contract, and what a home knows of a session of them: plain state. What changes it is in contracts.py."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from coordinator.codec import digest
from coordinator.messages import Leaf, Position, Trade
from coordinator.sessions import Session


class Status(Enum):
    OFFERED = "offered"
    BOUND = "bound"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    ACCEPTED = "accepted"
    FREED = "freed"
    COUNTED = "counted"
    VOID = "void"


UNANSWERED = (Status.OFFERED, Status.ACCEPTED)
FIRM = (Status.BOUND, Status.ACCEPTED, Status.COUNTED)
ALIVE = (Status.OFFERED, *FIRM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One contract as this home knows it."""

    id: str
    slot: int
    trade: Trade = "slot"
    seller: str
    buyer: str
    energy_wh: int
    price_micro: int
    status: Status
    offer_hash: str
    expires_ms: int

    @property
    def session(self) -> Session:
        return Session(self.slot, self.trade)

    def partner(self, me: str) -> str:
        """Return the other one of the two."""
        return self.seller if self.buyer == me else self.buyer


def contract_id(buyer: str, incarnation: int, session: Session, seller: str, number: int) -> str:
    """Return the id of the buyer's offer with this number to the seller; no other home can take it."""
    return digest(f"{buyer}|{incarnation}|{session.slot}|{session.trade}|{seller}|{number}".encode())


@dataclass(frozen=True, slots=True)
class OwnLeaf:
    """A leaf this home said, and in which life of its ledger."""

    inc: int
    wire: bytes


@dataclass(slots=True)
class SessionBook:
    """What is known of one session."""

    sell_wh: int | None = None
    """None until this home decided; an offer that comes earlier is answered when it comes again."""
    floor_micro: int = 0
    closed: bool = False
    contracts: dict[str, Contract] = field(default_factory=dict)
    positions: dict[tuple[str, int], Position] = field(default_factory=dict)
    """By partner and incarnation."""
    lost: set[str] = field(default_factory=set)
    """Partners whose ledger was restored and who know nothing of the session any more."""
    leaves: dict[str, Leaf] = field(default_factory=dict)
    said: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Wires by (kind, contract id or partner), for those who ask again."""
    own_positions: dict[int, bytes] = field(default_factory=dict)
    """Wires by incarnation."""
    own_leaves: dict[str, OwnLeaf] = field(default_factory=dict)
    """By partner: the one that it holds."""
    overtaken: set[bytes] = field(default_factory=set)
    """Own leaves, and words that one is lost, of which the partner holds another: said by a restored ledger before an
    earlier life's came back."""


@dataclass(slots=True, kw_only=True)
class Reborn:
    """What is known of a book that was restored: of its slots from `since` to `until` entries may be missing.

    Nothing new is agreed in them, and no bill of them is made while a member in `unheard` may know more.
    """

    since: int
    until: int
    at: datetime
    unheard: set[str]
    lives: dict[str, int] = field(default_factory=dict)
    """Incarnations of members that asked while they were unheard: what an earlier one still says comes too late."""

    def covers(self, slot: int) -> bool:
        return self.since <= slot <= self.until
