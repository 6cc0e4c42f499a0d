"""The newest valid message of every kind from every home: all the page and the terminal know. Pure, no I/O."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from agent.dashboard.topics import (
    TOPICS,
    Day,
    Market,
    Notices,
    Peer,
    Peers,
    Plan,
    Running,
    Savings,
    SettledSlot,
    State,
    Topic,
    Trade,
)
from coordinator.errors import LocalProtocolError
from coordinator.slots import require_utc

MAX_PAYLOAD_BYTES = 512 * 1024
"""A plan of 288 slots is below 100 kB; more is a broken publisher, and parsing it would hold up the page."""

_DAY = timedelta(hours=24)

_MARKETS_KEPT = 300
"""Negotiations remembered per home: a day of five-minute slots."""


@dataclass(slots=True)
class HomePicture:
    """One home as last heard."""

    name: str
    state: State | None = None
    market: Market | None = None
    plan: Plan | None = None
    day: Day | None = None
    savings: Savings | None = None
    peers: Peers | None = None
    notices: Notices | None = None
    markets: dict[datetime, Market] = field(default_factory=dict)
    """Newest negotiation of each slot by its start: the newest one is for a slot still ahead."""
    heard_s: float | None = None
    """Monotonic wall second at which a state last came from the living home; None: never."""
    link: str = "no connection to its broker yet"
    """Why the home's broker is not heard, in plain words; empty: it is."""

    @property
    def link_up(self) -> bool:
        return not self.link

    def age_s(self, wall_s: float) -> float | None:
        """Return how long ago the living home was last heard; None: never."""
        return None if self.heard_s is None else max(0.0, wall_s - self.heard_s)

    @property
    def currency(self) -> str:
        """The currency the home says its prices and bills are in; empty until it has said one."""
        return (self.peers.currency if self.peers else "") or (self.savings.currency if self.savings else "")

    def market_at(self, now: datetime) -> Market | None:
        """Return the negotiation of the slot that contains `now`."""
        return next((m for m in self.markets.values() if m.slot_start_at <= now < m.slot_end_at), None)

    def neighbours(self) -> list[Peer]:
        """Return the community's other homes."""
        return [peer for peer in self.peers.members if peer.id != self.peers.self_id] if self.peers else []

    def remember(self, message: Topic) -> None:
        """Replace what is known of the message's kind."""
        match message:
            case State():
                self.state = message
            case Market():  # Running is one, too: it is no newer than the negotiation of the slot ahead
                self.market = self.market if isinstance(message, Running) else message
                self.markets[message.slot_start_at] = message
                for oldest in sorted(self.markets)[:-_MARKETS_KEPT]:
                    del self.markets[oldest]
            case Plan():
                self.plan = message
            case Day():
                self.day = message
            case Savings():
                self.savings = message
            case Peers():
                self.peers = message
            case Notices():
                self.notices = message
            case _:
                raise LocalProtocolError(f"no place for {type(message).__name__}")

    def settled(self) -> list[SettledSlot]:
        return list(self.day.slots) if self.day else []

    def trades(self) -> list[tuple[datetime, Trade]]:
        """Return every known trade of the day, newest slot first, each with its last known status."""
        known: dict[tuple[datetime, str], Trade] = {}
        for market in self.markets.values():
            if self.day is not None and market.slot_start_at < self.day.at - _DAY:
                continue  # its slot left the day, and with it what became of its trades
            known.update({(market.slot_start_at, t.contract_id): t for t in market.trades})
        for slot in self.settled():
            known.update({(slot.start_at, t.contract_id): t for t in slot.trades})
        return [(key[0], trade) for key, trade in sorted(known.items(), key=lambda item: item[0], reverse=True)]


class Picture:
    """All homes, in the order of the settings."""

    def __init__(self, names: Iterable[str]) -> None:
        self.homes = {name: HomePicture(name=name) for name in names}
        self.wall_at: datetime | None = None
        """The wall's time when messages were last asked for; None where the homes live in simulated time."""
        self.revision = 0
        """Grows whenever something changed, so that a reader can skip work."""

    def receive(self, home: str, kind: str, payload: bytes, heard_s: float, retained_age_s: float = 0.0) -> str | None:
        """Take one message in.

        Args:
            home: The name in the topic; who publishes is decided by the broker, not by the text inside.
            kind: The last level of the topic.
            payload: JSON of the topic's model.
            heard_s: Monotonic wall second of arrival.
            retained_age_s: How old the content already was on arrival, as far as known.

        Returns:
            Why the message was ignored, in one phrase, or None when it was taken.
        """
        picture, model = self.homes.get(home), TOPICS.get(kind)
        if picture is None or model is None:
            return "unknown topic"
        if len(payload) > MAX_PAYLOAD_BYTES:
            return f"larger than {MAX_PAYLOAD_BYTES // 1024} kB"
        try:
            message = model.model_validate_json(payload)
            require_utc(message.at)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            return f"{'.'.join(map(str, first['loc'])) or 'message'}: {first['msg']}"
        except LocalProtocolError:
            return "at: time without zone"
        if message.home != home:
            return "speaks for another home"
        picture.remember(message)
        if kind == "state":
            picture.heard_s = heard_s - retained_age_s
        self.revision += 1
        return None

    def set_link(self, home: str, why_not: str) -> None:
        """Note why the home's broker is not heard; empty: it is."""
        self.homes[home].link = why_not
        self.revision += 1

    def now(self) -> datetime | None:
        """Return the community's time once a home was heard.

        It is the wall's, which goes on when homes fall silent; of simulated homes (they share the clock, not the delay)
        it is the newest moment any of them speaks of.
        """
        states = [home.state.at for home in self.homes.values() if home.state]
        return (self.wall_at or max(states)) if states else None

    def slot_length(self) -> timedelta | None:
        """Return the length of a delivery period, as the newest negotiation shows it."""
        markets = (home.market for home in self.homes.values())
        return next((m.slot_end_at - m.slot_start_at for m in markets if m), None) or self._slot_length_of_plans()

    def _slot_length_of_plans(self) -> timedelta | None:
        for home in self.homes.values():
            for earlier, later in itertools.pairwise(home.plan.slots if home.plan else ()):
                return later.start_at - earlier.start_at
        return None
