"""What the far end of a link bears, and what happened on a link."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """What the far end bears; of several units behind one link, the slowest counts.

    Attributes:
        silences: Requests in a row without an answer after which the connection counts as half-open and is closed;
            None takes what is usual on its wire.
    """

    timeout_s: float = 1.0
    gap_s: float = 0.0
    connect_wait_s: float = 0.0
    retries: int = 0
    max_connections: int | None = None
    silences: int | None = None

    @property
    def request_s(self) -> float:
        """What one request takes at most, until it is answered or given up."""
        return (self.timeout_s + self.gap_s) * (self.retries + 1)

    def slower(self, other: "LinkLimits") -> "LinkLimits":
        return LinkLimits(
            timeout_s=max(self.timeout_s, other.timeout_s),
            gap_s=max(self.gap_s, other.gap_s),
            connect_wait_s=max(self.connect_wait_s, other.connect_wait_s),
            retries=max(self.retries, other.retries),
            max_connections=min(filter(None, (self.max_connections, other.max_connections)), default=None),
            silences=max(filter(None, (self.silences, other.silences)), default=None),
        )


@dataclass(slots=True)
class LinkCounters:
    """What happened on a link since it was made."""

    connects: int = 0
    requests: int = 0
    answers: int = 0
    refusals: int = 0
    silences: int = 0
    bad_answers: int = 0
    resyncs: int = 0
