"""Masked negotiations of several homes in one room: signed messages, and a schedule that may do what it likes."""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hall import Hall, WishBidder
from sealed import Street

from coordinator.charter import Rules
from coordinator.codec import Verified
from coordinator.masked_events import MaskedEvent, MaskedFinished, SayAbandon, SayRoster, SayShare
from coordinator.masked_negotiation import MaskedNegotiation
from coordinator.masked_trading import Privacy, said
from coordinator.messages import EVERYBODY, AnyMessage
from coordinator.negotiation_events import Finished, SayReady
from coordinator.slots import Slot

RULES = Rules(horizon_slots=3, masked=True, round_limit=8)
OPENING = (180_000,) * 3


@dataclass(kw_only=True)
class Fate:
    """What becomes of messages; each copy by itself."""

    seed: int = 0
    loss: float = 0.0
    twice: float = 0.0
    late_s: float = 0.0
    lose: Callable[[str, AnyMessage], bool] = lambda receiver, message: False
    dead_at: dict[int, float] = field(default_factory=dict)
    """Seconds after `ready_s`, by number of the home."""


class MaskedHall:
    """Args:
    wishes: What each home wants in every slot.
    openings: Each home's; `OPENING` where it is not given.
    """

    def __init__(
        self, street: Street, slot: Slot, wishes: Sequence[int], fate: Fate, openings: Sequence[Any] | None = None
    ) -> None:
        self.street, self.slot, self.fate = street, slot, fate
        self._draw = random.Random(fate.seed)
        self.begun_at = self.now = slot.start_at - timedelta(seconds=street.rules.ready_s)
        self.bidders = {
            home: _Recorded(street, wish, 300_000 if wish > 0 else 60_000)
            for home, wish in zip(street.ids, wishes, strict=True)
        }
        self.talks = {
            home: MaskedNegotiation(
                slot=slot,
                me=home,
                rules=street.rules,
                bidder=self.bidders[home],
                opening_micro=openings[n] if openings else OPENING[: street.rules.horizon_slots],
                terms=street.charter.terms,
                inc=7,
                masks=_privacy(street, home).masks,
                known=[other for other in street.ids if other != home],
                roster_min=street.charter.roster_min,
                balances=True,
            )
            for n, home in enumerate(street.ids)
        }
        self.dead_at = {street.ids[n]: self.begun_at + timedelta(seconds=s) for n, s in fate.dead_at.items()}
        self.results: dict[str, Finished] = {}
        self.said: list[tuple[datetime, str, MaskedEvent]] = []
        self._queue: list[tuple[datetime, int, str, Verified[Any]]] = []
        self._order = itertools.count()

    def run(self) -> dict[str, Finished]:
        """Run until the slot begins."""
        for home, talk in self.talks.items():
            self._post(home, talk.start(self.now))
        while self.now < self.slot.start_at:
            alive = {home: talk for home, talk in self.talks.items() if self._lives(home)}
            timers = [at for talk in alive.values() if (at := talk.next_deadline()) is not None]
            times = [*timers, *(each[0] for each in self._queue[:1])]
            if not times:
                break
            self.now = max(self.now, min(times))
            if self._queue and self._queue[0][0] <= self.now:
                _, _, receiver, verified = heapq.heappop(self._queue)
                if self._lives(receiver):
                    self._post(receiver, self.talks[receiver].receive(verified, self.now))
            for home, talk in alive.items():
                if (at := talk.next_deadline()) is not None and at <= self.now:
                    self._post(home, talk.tick(self.now))
        return self.results

    def shares(self) -> list[tuple[str, SayShare]]:
        return [(home, event) for _, home, event in self.said if isinstance(event, SayShare)]

    def masked_results(self) -> dict[str, MaskedFinished]:
        return {home: result for home, result in self.results.items() if isinstance(result, MaskedFinished)}

    def _lives(self, home: str) -> bool:
        return home not in self.dead_at or self.now < self.dead_at[home]

    def _post(self, home: str, events: Sequence[MaskedEvent]) -> None:
        for event in events:
            self.said.append((self.now, home, event))
            if isinstance(event, Finished):
                assert home not in self.results
                self.results[home] = event
                continue
            verified = self._sealed(home, event)
            for other in self.talks:
                if other != home and verified.message.to in (EVERYBODY, other):
                    self._deliver(other, verified)

    def _deliver(self, receiver: str, verified: Verified[Any]) -> None:
        fate, draw = self.fate, self._draw
        if fate.lose(receiver, verified.message) or draw.random() < fate.loss:
            return
        for _ in range(1 + (draw.random() < fate.twice)):
            at = self.now + timedelta(seconds=draw.uniform(0.01, 0.02 + fate.late_s))
            heapq.heappush(self._queue, (at, next(self._order), receiver, verified))

    def _sealed(self, home: str, event: MaskedEvent) -> Verified[Any]:
        match event:
            case SayRoster() | SayShare() | SayAbandon():
                kind, body = said(event)
                return self.street.seal(kind, home, now=self.now, slot=self.slot.key, **body)
            case _:
                return Hall.sealed(self, home, event)  # type: ignore[arg-type]


class _Recorded(WishBidder):
    """Keeps its answers, in the order of the rounds."""

    def __init__(self, street: Street, wish_wh: int, value_micro: int) -> None:
        super().__init__(street, wish_wh, value_micro)
        self.answers: list[list[int]] = []

    def bid(self, prices_micro: Sequence[int], anchor_wh: Sequence[float], rho_micro: int | None = None) -> list[int]:
        answer = super().bid(prices_micro, anchor_wh, rho_micro)
        self.answers.append(answer)
        return answer


_PRIVACY: dict[tuple[str, str], Privacy] = {}


def _privacy(street: Street, home: str) -> Privacy:
    key = (street.charter.community_id, home)
    if key not in _PRIVACY:
        made = Privacy.of(street.charter, street.identity(home), 7)
        assert made is not None
        _PRIVACY[key] = made
    return _PRIVACY[key]


def readies(hall: MaskedHall, home: str) -> int:
    return sum(who == home and isinstance(event, SayReady) for _, who, event in hall.said)
