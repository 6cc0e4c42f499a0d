"""Publishes the home's own topics: retained JSON, live state at most once a second, nothing twice."""

from collections.abc import Callable
from datetime import datetime

from agent.dashboard.topics import TOPICS, Market, Running, State, Topic, topic_name
from coordinator.clock import Clock
from coordinator.errors import LocalProtocolError

STATE_INTERVAL_S = 1.0
"""Least wall time between two live states of a home: enough for a picture, little for a broker on a Pi."""

_KINDS = {model: kind for kind, model in TOPICS.items()}


class StatePublisher:
    """Writes topic models through `publish(topic, payload, retain)`.

    A live state is published when its interval has passed and its moment is new: its steady arrival is how a reader
    knows that the home lives. Every other kind goes out at once, and only when something besides its moment changed.

    A state that comes too early is dropped, for the next poll brings a newer one.
    """

    def __init__(self, publish: Callable[[str, bytes, bool], None], clock: Clock) -> None:
        self._publish = publish
        self._clock = clock
        self._last: dict[tuple[str, str], Topic] = {}
        self._state_due_s: dict[str, float] = {}
        self._agreed: dict[str, dict[datetime, Market]] = {}

    def publish(self, message: Topic) -> bool:
        """Publish `message` if it is due and says something new.

        Returns:
            Whether it was published.

        Raises:
            LocalProtocolError: If the model is none of the home's topics.
        """
        kind = _KINDS.get(type(message))
        if kind is None:
            raise LocalProtocolError(f"{type(message).__name__} is no topic of a home")
        key = message.home, kind
        if isinstance(message, State):
            self._publish_running(message)
            now_s, due_s = self._clock.monotonic(), self._state_due_s.get(message.home, float("-inf"))
            if message == self._last.get(key) or now_s < due_s:
                return False
            # From the moment it was due: polls of 0.99 s would otherwise be published every other time.
            on_time = now_s < due_s + STATE_INTERVAL_S
            self._state_due_s[message.home] = (due_s if on_time else now_s) + STATE_INTERVAL_S
        elif (last := self._last.get(key)) is not None and message == last.model_copy(update={"at": message.at}):
            return False
        self._publish(topic_name(message.home, kind), message.model_dump_json().encode(), True)
        self._last[key] = message
        if type(message) is Market:
            self._agreed.setdefault(message.home, {})[message.slot_start_at] = message
        return True

    def _publish_running(self, state: State) -> None:
        """Publish the result of the slot that the state falls into, once per slot."""
        agreed = self._agreed.get(state.home, {})
        self._agreed[state.home] = {start: m for start, m in agreed.items() if state.at < m.slot_end_at}
        for market in self._agreed[state.home].values():
            if market.slot_start_at <= state.at:
                self.publish(Running.model_validate(market.model_dump()))

    def repeat(self) -> None:
        """Publish the last message of every kind again: a broker that was restarted may have lost what it retained."""
        for (home, kind), message in self._last.items():
            self._publish(topic_name(home, kind), message.model_dump_json().encode(), True)
