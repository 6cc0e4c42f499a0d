"""Delivery periods: half-open intervals `[start, end)` in UTC on a fixed grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from coordinator.errors import LocalProtocolError


def require_utc(at: datetime) -> datetime:
    """Return `at` in UTC.

    Raises:
        LocalProtocolError: If `at` is naive: a local time without its zone names two moments a year.
    """
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        raise LocalProtocolError(f"naive datetime {at!r}: times must carry their zone")
    return at.astimezone(UTC)


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One delivery period.

    `key` is the Unix second of the start, which is how the slot is named on the wire and in databases.
    """

    key: int
    length_s: int

    @classmethod
    def at(cls, at: datetime, length_s: int) -> "Slot":
        """Return the slot that contains `at`."""
        return cls(int(require_utc(at).timestamp()) // length_s * length_s, length_s)

    @property
    def start_at(self) -> datetime:
        return datetime.fromtimestamp(self.key, UTC)

    @property
    def end_at(self) -> datetime:
        return datetime.fromtimestamp(self.key + self.length_s, UTC)

    @property
    def length(self) -> timedelta:
        return timedelta(seconds=self.length_s)

    @property
    def hours(self) -> float:
        return self.length_s / 3600

    def shifted(self, count: int) -> "Slot":
        """Return the slot `count` places later (earlier when negative)."""
        return Slot(self.key + count * self.length_s, self.length_s)

    def horizon(self, count: int) -> Iterator["Slot"]:
        """Yield this slot and the `count - 1` after it."""
        return (self.shifted(i) for i in range(count))
