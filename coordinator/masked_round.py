"""One round of shares as a home sees it, and what a home may have to say again. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from coordinator.errors import RemoteProtocolError
from coordinator.masked_events import MaskedEvent
from coordinator.masking import Words, total, words_of
from coordinator.messages import Share
from coordinator.rounds import Course

REPEATS_MAX = 6
"""A word is said again so many times at most, or two homes would go on for ever to answer each other's repetition."""


def checked_words(peer: str, numbers: str, length: int) -> Words:
    """Return the words of a neighbour's share.

    Raises:
        RemoteProtocolError: If it has not as many as it must.
    """
    try:
        words = words_of(numbers)
    except ValueError:
        words = None
    if words is None or len(words) != length:
        raise RemoteProtocolError(peer, f"share without {length} numbers")
    return words


@dataclass(slots=True, kw_only=True)
class MaskedRound:
    """See the module's text.

    Attributes:
        own_wh: The own bid.
        shares: By home.
        questions: What each answered: hashes of roster and prices.
    """

    course: Course
    started_at: datetime
    own_wh: tuple[int, ...]
    shares: dict[str, Words] = field(default_factory=dict)
    questions: dict[str, str] = field(default_factory=dict)

    def note(self, home: str, words: Words, question: str) -> None:
        self.shares[home], self.questions[home] = words, question

    @property
    def differs(self) -> bool:
        """Whether two homes answered different prices, or in different company."""
        return len(set(self.questions.values())) > 1

    def lacking(self, roster: Collection[str]) -> frozenset[str]:
        return frozenset(roster) - self.shares.keys()

    def sums(self) -> tuple[int, ...]:
        """Return what all shares of the roster come to."""
        return total(self.shares.values())


class Early:
    """Shares of rounds this home has not come to yet; the first of each home and round counts."""

    def __init__(self) -> None:
        self._shares: dict[int, dict[str, tuple[Words, str]]] = {}

    def put(self, share: Share, words: Words) -> None:
        self._shares.setdefault(share.round, {}).setdefault(share.sender, (words, share.question))

    def move(self, this: MaskedRound) -> None:
        """Let a round that begins have its shares."""
        for home, (words, question) in self._shares.pop(this.course.number, {}).items():
            this.note(home, words, question)


@dataclass(slots=True)
class Spoken:
    """What was said and may be said again, word for word."""

    event: MaskedEvent
    at: datetime
    times: int = 0

    def again(self, now: datetime, not_before: datetime) -> list[MaskedEvent]:
        """Return it once more, if that is due."""
        if self.times >= REPEATS_MAX or now < not_before:
            return []
        self.at, self.times = now, self.times + 1
        return [self.event]

    def next_at(self, every: timedelta) -> list[datetime]:
        return [self.at + every] if self.times < REPEATS_MAX else []
