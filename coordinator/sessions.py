"""When contracts are made: before a slot, by its negotiation, and once more after it, for what came out differently."""

from datetime import UTC, datetime
from typing import NamedTuple

from coordinator.charter import Rules
from coordinator.messages import Trade


class Session(NamedTuple):
    """The contracts of one slot and trade: they share offers' expiry, gate and position.

    `slot` is the slot's key, also of the residual session that follows the slot.
    """

    slot: int
    trade: Trade = "slot"

    def offers_at(self, rules: Rules) -> datetime:
        return self._at(rules, -rules.offers_s, rules.residual_offers_s)

    def expiry_at(self, rules: Rules) -> datetime:
        """Return when an offer without an answer lapses."""
        return self._at(rules, -rules.expiry_s, rules.residual_expiry_s)

    def gate_at(self, rules: Rules) -> datetime:
        """Return when positions are fixed."""
        return self._at(rules, -rules.gate_s, rules.residual_gate_s)

    def _at(self, rules: Rules, from_start_s: int, from_end_s: int) -> datetime:
        seconds = from_start_s if self.trade == "slot" else rules.slot_s + from_end_s
        return datetime.fromtimestamp(self.slot + seconds, UTC)
