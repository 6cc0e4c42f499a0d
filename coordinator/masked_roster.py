"""Who takes part in a masked negotiation: all under one roster, which each acknowledges before anybody bids. Pure."""

from collections.abc import Collection
from datetime import datetime

from coordinator.charter import Rules
from coordinator.clock import unix_ms
from coordinator.errors import RemoteProtocolError
from coordinator.masked_events import SayRoster
from coordinator.masking import roster_hash
from coordinator.messages import Ready, Roster
from coordinator.rounds import Course, opening_prices
from coordinator.slots import Slot

LEFT_OUT_MAX_SLOTS = 96


class Joining:
    """Gathers who is ready, fixes the roster, and gathers that all the others fixed the same.

    Args:
        terms: The charter it goes by.
        inc: Own incarnation.
        opening_micro: Own opening prices.
        balances: Whether this home tells its deviations.
        known: Homes there is a secret with.
        last_at: Who says later that it is ready is left out: some would hear of it in time and some would not.
    """

    def __init__(
        self,
        *,
        slot: Slot,
        me: str,
        rules: Rules,
        terms: str,
        inc: int,
        opening_micro: tuple[int, ...],
        warm: bool,
        balances: bool,
        known: Collection[str],
        last_at: datetime,
    ) -> None:
        self._slot, self._me, self._rules, self._terms = slot, me, rules, terms
        self._warm, self._balances = warm, balances
        self._known, self._last_ms = frozenset(known), unix_ms(last_at)
        self._lives, self._openings = {me: inc}, {me: opening_micro}
        self._acks: dict[str, Roster] = {}
        self.own: SayRoster | None = None
        """What was said of the roster once it is fixed."""

    @property
    def roster(self) -> tuple[str, ...]:
        return tuple(sorted(self._lives))

    @property
    def opening(self) -> Course:
        """Of all in the roster."""
        return Course.open(opening_prices(list(self._openings.values())), self._rules)

    @property
    def complete(self) -> bool:
        """Whether everybody there could be is there."""
        return len(self._lives) > len(self._known)

    def ready(self, message: Ready) -> bool:
        """Take a neighbour that takes part; return whether it had said so before. The first word counts.

        Raises:
            RemoteProtocolError: If its prices have another length than the horizon.
        """
        if len(message.prices) != self._rules.vector_length:
            raise RemoteProtocolError(message.sender, f"ready with a vector of {len(message.prices)} entries")
        if message.sender in self._lives:
            return True
        if self.own is None and message.sender in self._known and message.sent_ms <= self._last_ms:
            self._lives[message.sender], self._openings[message.sender] = message.inc, message.prices
        return False

    def fix(self) -> SayRoster:
        """Fix the roster, for good."""
        assert self.own is None
        self.own = SayRoster(
            roster=roster_hash(self._terms, self._slot.key, self._lives),
            price_hash=self.opening.hash,
            warm=self._warm,
            balances=self._balances,
        )
        return self.own

    def acknowledged(self, message: Roster) -> bool:
        """Take a neighbour's word on the roster; return whether it had been said before. The first one counts."""
        return self._acks.setdefault(message.sender, message) is not message

    def lacking(self) -> frozenset[str]:
        """Return who has not acknowledged a roster yet."""
        return frozenset(self._lives) - self._acks.keys() - {self._me}

    def differing(self) -> frozenset[str]:
        """Return who fixed another roster, or other prices, or lives another life than it announced."""
        assert self.own is not None
        ours = (self.own.roster, self.own.price_hash)
        acks = [ack for home, ack in self._acks.items() if home in self._lives]
        return frozenset(a.sender for a in acks if (a.roster, a.price_hash, self._lives[a.sender]) != (*ours, a.inc))

    def lives(self, home: str, inc: int) -> bool:
        """Return whether a home of the roster speaks, in the life it announced."""
        return self._lives.get(home) == inc

    @property
    def warm(self) -> bool:
        """Whether most of the roster begin where the last negotiation ended."""
        return 2 * (self._warm + sum(self._acks[home].warm for home in self.roster if home != self._me)) > len(
            self.roster
        )

    @property
    def balancing(self) -> frozenset[str]:
        """Return who of the roster tells its deviations."""
        others = {home for home in self.roster if home != self._me and self._acks[home].balances}
        return frozenset(others | ({self._me} if self._balances else set()))


class Flappers:
    """Homes that made masked negotiations fail: each is left out of the next one, and ever longer when it fails again.

    One member that stalls on purpose could otherwise make everybody bid in the open in every slot.
    """

    def __init__(self, slot_s: int) -> None:
        self._slot_s = slot_s
        self._out: dict[str, tuple[int, int]] = {}

    def out(self, slot: int) -> frozenset[str]:
        """Return who is left out of this slot."""
        return frozenset(home for home, (until, _) in self._out.items() if slot <= until)

    def failed(self, slot: int, homes: Collection[str]) -> None:
        """Note whose word was missing in a slot."""
        for home in homes:
            slots = min(2 * self._out.get(home, (0, 0))[1], LEFT_OUT_MAX_SLOTS) or 1
            self._out[home] = (slot + slots * self._slot_s, slots)

    def succeeded(self, homes: Collection[str]) -> None:
        """Forgive who was there to the end."""
        for home in homes:
            self._out.pop(home, None)
