"""What follows a slot: its meter, the residual round, its bill. Sans-IO, as the trader whose part it is.

    at the slot's end    the meter's word is kept; a home that differs from its contracts says so to everybody, and one
                         with energy left over fixes in the same transaction how much it may sell of it
    residual_offers_s    homes that are short match what they heard and send offers, firm as for slots
    residual_gate_s      positions of the residual contracts: what is in the buyer's counts
    then                 the bill: all contracts of the slot, and what is left at the home's own tariff

Nothing here waits for anybody: a home that is silent is not matched, and one whose meter comes late has no residual
round. A buyer that dies between its offer and its gate leaves its seller in doubt as for slots: the seller asks until
the position comes, and only its own bill of that slot waits. What the buyer's ledger does not hold when it comes back
is void there, and so here.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from coordinator.charter import Rules
from coordinator.contract_book import ContractBook
from coordinator.effects import Effect, Note, Say
from coordinator.household import Household, MeterReading
from coordinator.ledger import Mark
from coordinator.masked_trading import MaskedTrading
from coordinator.messages import EVERYBODY, Meter, Residual
from coordinator.residual import Remainder, remainder_wh, residual_price, residual_trades
from coordinator.sessions import Session
from coordinator.settlement import settle_slot
from coordinator.slots import Slot

MEMORY = timedelta(hours=48)
"""Decided slots older than this leave memory; the ledger keeps them."""
HEARD_SLOTS = 3
"""Residuals of so many slots are remembered: the running round's, and those of homes whose clock is ahead or behind."""


class AfterSlot:
    """See the module's text.

    Args:
        metered: Slots whose meter reading is in the ledger but whose bill is not.
        settled: Slots whose bill is in the ledger: a meter that speaks twice is billed once.
        salt: Gives an unguessable hex salt for a partner in a session.
        masked: Where bids are masked nobody is told what a meter shows: buyers ask, sealed.
    """

    def __init__(
        self,
        *,
        rules: Rules,
        me: str,
        household: Household,
        book: ContractBook,
        metered: dict[int, MeterReading],
        settled: Iterable[int],
        salt: Callable[[Session, str], str],
        masked: MaskedTrading | None = None,
    ) -> None:
        self._masked = masked
        self._rules = rules
        self._me = me
        self._household = household
        self._book = book
        self._metered = dict(metered)
        self._settled = set(settled)
        self._salt = salt
        self._heard: dict[int, dict[str, Remainder]] = {}
        # A restart forgets what it heard: it offers nothing in that round, but keeps what it said and closes its gate.
        self._buying: dict[int, datetime] = {}
        self._gates = {slot: self._gate_at(slot) for slot in metered} if rules.residual_round else {}
        self._nothing_due_as_of = -1
        self._limit_wh = rules.power_limit_wh

    # The slot's end

    def metered(self, slot: Slot, reading: MeterReading, now: datetime) -> list[Effect]:
        """Take the meter's word on a finished slot; the bill follows when its contracts are decided."""
        if slot.key in self._metered or slot.key in self._settled:
            return []
        self._metered[slot.key] = reading
        self._nothing_due_as_of = -1
        data = {"import_wh": reading.import_wh, "export_wh": reading.export_wh}
        expires_at = now + timedelta(days=1)
        tell: list[Effect] = [
            Say(kind=Meter, to=partner, expires_at=expires_at, body={"slot": slot.key, **data})
            for partner in sorted(self._book.partners(Session(slot.key)))
        ]
        note = Note(mark=Mark(kind="metered", slot=slot.key, data=data))
        return [note, *tell, *self._announce(slot, reading.net_wh, now)]

    def _announce(self, slot: Slot, net_wh: int, now: datetime) -> list[Effect]:
        """Say to everybody what the meter shows beyond the contracts."""
        session, contracts = Session(slot.key, "residual"), Session(slot.key)
        late = now >= session.offers_at(self._rules)
        if not self._rules.residual_round or late or self._book.restored(slot.key):
            return []
        wh = remainder_wh(net_wh, self._book.net_wh(contracts), self._book.doubtful_wh(contracts))
        wh = max(-self._limit_wh, min(self._limit_wh, wh))
        if wh == 0:
            return []
        import_micro, export_micro = self._household.tariff_micro(slot)
        mine = Remainder(energy_wh=wh, price_micro=import_micro if wh > 0 else export_micro)
        self._gates[slot.key] = self._gate_at(slot.key)
        self._hear(slot.key, self._me, mine)
        body = {"slot": slot.key, "energy_wh": wh, "price_micro": mine.price_micro}
        expires_at = session.offers_at(self._rules)
        say = [] if self._masked else [Say(kind=Residual, to=EVERYBODY, expires_at=expires_at, body=body)]
        if wh < 0:
            return [*say, *self._book.mandate(session, sell_wh=-wh, floor_micro=export_micro)]
        self._buying[slot.key] = session.offers_at(self._rules)
        return [*say]

    # The residual round

    def receive(self, residual: Residual, now: datetime) -> None:
        """Take a neighbour's word; its first one of a slot is the one that is matched."""
        ahead = Session(residual.slot, "residual").offers_at(self._rules) - now
        on_grid = residual.slot % self._rules.slot_s == 0 and self._masked is None
        if on_grid and timedelta(0) < ahead <= timedelta(seconds=self._rules.slot_s):
            said = Remainder(energy_wh=residual.energy_wh, price_micro=residual.price_micro)
            self._hear(residual.slot, residual.sender, said)

    def _hear(self, slot: int, home: str, said: Remainder) -> None:
        self._heard.setdefault(slot, {}).setdefault(home, said)
        for old in sorted(self._heard)[:-HEARD_SLOTS]:
            del self._heard[old]

    def _offers(self, slot: int) -> list[Effect]:
        """Offer to buy what this home is short of from those who have some left over."""
        session = Session(slot, "residual")
        if self._masked is not None:
            mine = self._heard[slot][self._me]
            self._masked.pairing.begin(
                session,
                self._masked.partners(slot),
                need_wh=mine.energy_wh,
                most_micro=mine.price_micro,
                pays=lambda export_micro: residual_price(mine.price_micro, export_micro),
            )
            return []
        trades = residual_trades(self._heard.get(slot, {}), slot // self._rules.slot_s, self._limit_wh)
        bought = [trade for trade in trades if trade.buyer == self._me]
        return [
            effect
            for t in sorted(bought, key=lambda trade: trade.seller)
            for effect in self._book.offer(session, seller=t.seller, energy_wh=t.energy_wh, price_micro=t.price_micro)
        ]

    # Time

    def next_deadline(self, now: datetime) -> datetime | None:
        """Return when `tick` has something to do; `now` while a bill can be made."""
        if self._due_bill() is not None:
            return now
        return min([*self._buying.values(), *self._gates.values()], default=None)

    def _gate_at(self, slot: int) -> datetime:
        return Session(slot, "residual").gate_at(self._rules)

    def tick(self, now: datetime) -> list[Effect]:
        """Do what is due; call again until it returns nothing."""
        for slot in _over(self._buying, now):
            del self._buying[slot]
            if now < Session(slot, "residual").expiry_at(self._rules) and (effects := self._offers(slot)):
                return effects
        for slot in _over(self._gates, now):
            del self._gates[slot]
            self._nothing_due_as_of = -1
            session = Session(slot, "residual")
            if self._book.begun(session) and not self._book.closed(session):
                return self._book.close_gate(session, self._salt, now)
        due = self._due_bill()
        return [] if due is None else self._settle(due, now)

    # The bill

    def _due_bill(self) -> int | None:
        """Return the oldest metered slot whose residual round is over and whose contracts are decided."""
        if self._nothing_due_as_of == self._book.changes:
            return None
        over = (key for key in sorted(self._metered) if key not in self._gates)
        due = next((key for key in over if self._book.settleable(key)), None)
        if due is None:
            self._nothing_due_as_of = self._book.changes
        return due

    def _settle(self, key: int, now: datetime) -> list[Effect]:
        reading = self._metered.pop(key)
        self._settled.add(key)
        slot, contracts = Slot(key, self._rules.slot_s), self._book.contracts(key)
        import_micro, export_micro = self._household.tariff_micro(slot)
        bill = settle_slot(
            self._me, contracts, net_wh=reading.net_wh, import_micro=import_micro, export_micro=export_micro
        )
        self._household.settled(slot, reading, bill, contracts)
        before = int((now - MEMORY).timestamp())
        self._book.forget_before(before)
        self._settled = {k for k in self._settled if k >= before}
        data: dict[str, int | str] = {
            "bought_wh": bill.bought_wh,
            "sold_wh": bill.sold_wh,
            "net_wh": reading.net_wh,
            "total": str(bill.total),
        }
        return [Note(mark=Mark(kind="settled", slot=key, data=data))]


def _over(times: Mapping[int, datetime], now: datetime) -> list[int]:
    """Return the slots whose time has come, oldest first."""
    return sorted([slot for slot, at in times.items() if now >= at])
