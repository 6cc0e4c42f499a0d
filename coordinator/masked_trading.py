"""What a home of a masked community has and does beyond the others: its pair secrets, its negotiation, its pairing.

`Privacy.of` is None where the charter does not mask; everything else then is as if this module were not there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.charter import Charter
from coordinator.contract_book import ContractBook
from coordinator.household import Preparation
from coordinator.identity import Identity
from coordinator.masked_balancing import Circle, MaskedNeighbours
from coordinator.masked_events import MaskedFinished, SayAbandon, SayRoster, SayShare
from coordinator.masked_negotiation import MaskedNegotiation
from coordinator.masked_roster import Flappers
from coordinator.masked_sealing import PairSeals
from coordinator.masking import PairMasks
from coordinator.messages import Abandon, Message, Roster, Share
from coordinator.negotiation_events import Finished
from coordinator.pairing import Pairing
from coordinator.sessions import Session
from coordinator.slots import Slot

KEPT_SLOTS = 4
"""Who took part is remembered for so many slots: a residual round asks the same homes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What a home shares with each neighbour alone.

    Args:
        inc: Incarnation of its ledger.
        neighbours: Takes the deviations.
    """

    charter: Charter
    me: str
    inc: int
    masks: PairMasks
    seals: PairSeals
    neighbours: MaskedNeighbours

    @classmethod
    def of(cls, charter: Charter, identity: Identity, inc: int) -> "Privacy | None":
        """Return what follows from the charter's keys; None where the charter does not mask."""
        if not charter.rules.masked:
            return None
        me = identity.id
        keys = charter.exchange_keys(me)
        purpose = f"masks|{charter.community_id}"
        masks = PairMasks(me, {home: identity.shared_secret(key, purpose) for home, key in keys.items()})
        return cls(
            charter=charter,
            me=me,
            inc=inc,
            masks=masks,
            seals=PairSeals(identity, charter.community_id, keys),
            neighbours=MaskedNeighbours(
                me=me, rules=charter.rules, terms=charter.terms, masks=masks, circle_min=charter.roster_min
            ),
        )


class MaskedTrading:
    """The part of a trader that masked communities need.

    Args:
        book: The own contracts.
    """

    def __init__(self, privacy: Privacy, book: ContractBook) -> None:
        self._privacy = privacy
        self._rules = privacy.charter.rules
        self._others = tuple(home for home in sorted(privacy.charter.by_id) if home != privacy.me)
        self._flappers = Flappers(self._rules.slot_s)
        self._partners: dict[int, tuple[str, ...]] = {}
        self.pairing = Pairing(me=privacy.me, rules=self._rules, book=book)

    def negotiation(
        self, slot: Slot, preparation: Preparation, opening_micro: Sequence[int], warm_wh: Sequence[float] | None
    ) -> MaskedNegotiation:
        return MaskedNegotiation(
            slot=slot,
            me=self._privacy.me,
            rules=self._rules,
            bidder=preparation.bidder,
            opening_micro=opening_micro,
            warm_wh=warm_wh,
            terms=self._privacy.charter.terms,
            inc=self._privacy.inc,
            masks=self._privacy.masks,
            known=frozenset(self._others) - self._flappers.out(slot.key),
            roster_min=self._privacy.charter.roster_min,
            balances=preparation.balances and self._rules.balances_together,
        )

    def partners(self, slot: int) -> tuple[str, ...]:
        """Return whom to ask in a session of the slot: who took part in its negotiation, or everybody."""
        return self._partners.get(slot, self._others)

    def finished(self, result: Finished, negotiation: MaskedNegotiation, need_wh: int, price_micro: int) -> None:
        """Take the end of a negotiation: where it stayed masked, buyers and sellers now look for each other.

        Args:
            need_wh: What this home buys at most.
            price_micro: What it pays.
        """
        self._flappers.failed(result.slot.key, negotiation.failed)
        if not isinstance(result, MaskedFinished):
            return
        self._flappers.succeeded(result.partners)
        self._partners = dict(sorted({**self._partners, result.slot.key: result.partners}.items())[-KEPT_SLOTS:])
        self._privacy.neighbours.known(result.slot.key, Circle(roster=result.roster, homes=result.balancing))
        session = Session(result.slot.key)
        self.pairing.begin(
            session, result.partners, need_wh=need_wh, most_micro=price_micro, pays=lambda floor_micro: price_micro
        )


def said(event: SayRoster | SayShare | SayAbandon) -> tuple[type[Message], dict[str, Any]]:
    """Return the message an event becomes: its kind and body."""
    match event:
        case SayRoster():
            body = {"roster": event.roster, "price_hash": event.price_hash}
            return Roster, {**body, "warm": event.warm, "balances": event.balances}
        case SayShare():
            return Share, {"round": event.round, "question": event.question, "numbers": event.numbers}
        case SayAbandon():
            return Abandon, {"prices": event.prices}
