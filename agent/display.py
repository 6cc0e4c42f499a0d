"""What a home shows: its own MQTT topics, kept up to date as things happen."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

from agent import showing
from agent.control.controller import Shared
from agent.control.ports import GuardStatus
from agent.dashboard.publisher import StatePublisher
from agent.dashboard.topics import Notice, Notices
from agent.devices.reading import HomeReading
from agent.forecast.evaluation import DayAccuracy
from agent.household import SlotTarget, TradingHome
from coordinator.charter import Charter
from coordinator.clock import Clock
from coordinator.contracts import Contract
from coordinator.peers import Presence
from coordinator.slots import Slot

log = logging.getLogger(__name__)

Level = Literal["info", "warning", "error"]
NOTICES_KEPT = 50
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Display:
    """Publishes the home's topics.

    Args:
        name: The home's display name.
        me: Its id.
        publish: Takes (topic, payload, retain).
        since: When the bills begin; None is the first settled slot.
        tell: Also told every notice.
    """

    def __init__(
        self,
        *,
        name: str,
        me: str,
        charter: Charter,
        clock: Clock,
        publish: Callable[[str, bytes, bool], None],
        since: datetime | None,
        tell: Callable[[Level, str], None] | None,
    ) -> None:
        self._name = name
        self._me = me
        self._charter = charter
        self._clock = clock
        self._publisher = StatePublisher(publish, clock)
        self._since = since
        self._tell = tell
        self._notices: deque[Notice] = deque(maxlen=NOTICES_KEPT)

    def state(
        self, reading: HomeReading, guard: GuardStatus, target: SlotTarget | None, shared: Shared | None = None
    ) -> None:
        self._publisher.publish(showing.state(self._name, reading, guard, target, shared))

    def plan(self, target: SlotTarget) -> None:
        self._publisher.publish(showing.plan(self._name, self._clock.now(), target.plan))

    def market(self, slot: Slot, home: TradingHome, contracts: Sequence[Contract]) -> None:
        made = showing.trades(self._me, self._charter, contracts)
        tariff, now = home.tariff_micro(slot), self._clock.now()
        self._publisher.publish(showing.market(self._name, now, slot, home.result(slot), made, tariff, self._me))

    def settled(self, home: TradingHome, yesterday: DayAccuracy | None = None) -> None:
        now = self._clock.now()
        day = home.latest_settled(86400 // self._charter.rules.slot_s)
        since = self._since or (day[0].energy.slot.start_at if day else now)
        self._publisher.publish(showing.day(self._name, now, day, self._me, self._charter, yesterday))
        self._publisher.publish(showing.savings(self._name, now, home.savings, self._charter.currency, since))

    def peers(self, presence: Presence) -> None:
        self._publisher.publish(showing.peers(self._name, self._clock.now(), self._me, self._charter, presence))

    def notice(self, level: Level, text: str) -> None:
        """Log a notice, keep it for the page, and tell whoever started this agent."""
        log.log(_LEVELS[level], "%s: %s", self._name, text)
        self._notices.appendleft(Notice(at=self._clock.now(), level=level, text=text))
        if self._tell is not None:
            self._tell(level, text)

    def notices(self, warnings: list[str]) -> None:
        """Publish the notices, with what is wrong right now."""
        at = self._notices[0].at if self._notices else self._clock.now()
        self._publisher.publish(Notices(home=self._name, at=at, warnings=warnings, log=list(self._notices)))

    def repeat(self) -> None:
        """Publish everything again: a restarted broker has forgotten what it retained."""
        self._publisher.repeat()
