"""Who is there, and who sends too much."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class Presence:
    """When each peer was last heard; wall seconds decide who is online, slot time is shown to people.

    Args:
        peers: All other members.
        absent_after_s: Silence, in wall seconds, after which a peer counts as absent.
    """

    peers: frozenset[str]
    absent_after_s: float
    _heard_s: dict[str, float] = field(default_factory=dict)
    _heard_at: dict[str, datetime] = field(default_factory=dict)
    _online: set[str] = field(default_factory=set)

    def heard(self, peer: str, monotonic_s: float, now: datetime) -> bool:
        """Note a verified message; return whether the peer came back after it had been lost."""
        back = peer in self._heard_s and peer not in self._online
        self._heard_s[peer] = monotonic_s
        self._heard_at[peer] = now
        if peer in self.peers:
            self._online.add(peer)
        return back and peer in self.peers

    def lost(self, monotonic_s: float) -> list[str]:
        """Return the peers that fell silent since the last call."""
        gone = [p for p in sorted(self._online) if monotonic_s - self._heard_s[p] > self.absent_after_s]
        self._online.difference_update(gone)
        return gone

    def online(self) -> Iterable[str]:
        return sorted(self._online)

    def is_online(self, peer: str) -> bool:
        return peer in self._online

    def last_heard_at(self, peer: str) -> datetime | None:
        return self._heard_at.get(peer)


@dataclass(slots=True)
class RateLimit:
    """A token bucket per source, refilled in slot time: a slot's negotiation fits, a flood does not.

    Args:
        per_slot: Messages a source may send per slot on average; up to as many at once.
        slot_s: Length of a slot.
    """

    per_slot: int
    slot_s: int
    _buckets: dict[Hashable, tuple[float, datetime]] = field(default_factory=dict)

    def allow(self, source: Hashable, now: datetime) -> bool:
        tokens, at = self._buckets.get(source) or (float(self.per_slot), now)
        if now > at:
            tokens = min(self.per_slot, tokens + (now - at).total_seconds() * self.per_slot / self.slot_s)
        self._buckets[source] = (tokens - 1 if tokens >= 1 else tokens, now)
        return tokens >= 1
