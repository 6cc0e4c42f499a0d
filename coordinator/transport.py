"""A list of links to brokers as one stream of messages.

    async with Transport(links, clock, on_notice) as transport:
        transport.publish(topic, payload)
        async for inbound in transport:
            ...

A message goes to every publishing link, and what comes over several links is delivered once. QoS 1 is not durable
anywhere on this way: who needs an answer keeps asking (the ledger's outbox).
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Literal

from coordinator.clock import Clock
from coordinator.codec import MAX_BYTES
from coordinator.errors import ConfigError, LocalProtocolError
from coordinator.inbox import Inbox
from coordinator.links import Inbound, LinkNotice, LinkOptions, LinkSettings, LinkState, OnNotice
from coordinator.mqtt import MqttLink
from coordinator.mqtt_topics import PREFIX, check_topic, speaker
from coordinator.sealing import SEALING_MAX_BYTES, Sealer

__all__ = [
    "Deduplicator",
    "Inbound",
    "LinkNotice",
    "LinkOptions",
    "LinkSettings",
    "LinkState",
    "Transport",
    "payload_id",
]

OWN_MAX_BYTES = 256 * 1024
"""Limit of the home's own topics (a day of quarter hours as JSON has about 40 KiB); they never leave its own broker."""

_SEEN_MAX = 20_000
_SEEN_TTL_S = 60.0
_SHARE_LEAST = 100
"""Of the inbox, however many links share it: a neighbour's last bids, offers and answers come in one burst."""


def payload_id(payload: bytes) -> bytes:
    """Return the 128-bit hash by which copies of a message are known. It covers the signature, so that a forged copy
    with the same text cannot take the place of the true one."""
    return hashlib.blake2b(payload, digest_size=16).digest()


class Deduplicator:
    """Tells the first arrival of a message from its copies on other links. Pure: time comes in.

    The n-th copy is new on the link that brings it first. So the same message over three links counts once, while a
    sender's retry, byte for byte the same on the same link, comes through: its answer may have been lost.

    Args:
        capacity: Ids remembered; the oldest are forgotten first.
        ttl_s: How long an id is remembered after its first arrival [s].
    """

    def __init__(self, capacity: int = _SEEN_MAX, ttl_s: float = _SEEN_TTL_S) -> None:
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._seen: OrderedDict[Hashable, tuple[float, dict[str, int]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def is_new(self, message_id: Hashable, link: str, now: float) -> bool:
        """Count one arrival and return whether it is to be delivered.

        Args:
            now: Monotonic time [s].
        """
        while self._seen and next(iter(self._seen.values()))[0] <= now:
            self._seen.popitem(last=False)
        _, copies = self._seen.setdefault(message_id, (now + self._ttl_s, {}))
        delivered = max(copies.values(), default=0)
        copies[link] = copies.get(link, 0) + 1
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return copies[link] > delivered

    def forget(self, message_id: Hashable, link: str) -> None:
        """Take an arrival back that was delivered and refused: a copy on another link may be the true one."""
        _, copies = self._seen.get(message_id, (0.0, {}))
        if copies.get(link):
            copies[link] -= 1


class Transport:
    """The links of one home.

    Args:
        on_notice: Takes one notice per change of a link's state, on the event loop.
        message_id: By what copies of a message are known.
        sealer: Seals what goes to meeting brokers; needed when there are any.
        allow: Asked with (link, home of the topic) for each message of a neighbour, on the link's own thread; False
            drops it, so that a flood does not even wake the event loop.
        prefix: Topics below it are the neighbourhood's: at most 16 KiB, and delivered once. Others pass as they come.
    """

    def __init__(
        self,
        links: Sequence[LinkSettings],
        clock: Clock,
        on_notice: OnNotice,
        *,
        options: LinkOptions | None = None,
        message_id: Callable[[bytes], Hashable] = payload_id,
        sealer: Sealer | None = None,
        allow: Callable[[tuple[str, str], datetime], bool] = lambda source, now: True,
        prefix: str = PREFIX,
    ) -> None:
        names = [link.name for link in links]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(f"two links are named {', '.join(sorted(twice))!r}: give every link its own name")
        self._meeting = frozenset(link.name for link in links if link.meeting)
        if self._meeting and sealer is None:
            raise LocalProtocolError("nothing is said at a meeting broker without a sealer")
        self.duplicates = 0
        self.oversize = 0
        self.unreadable = 0
        """Messages at meeting brokers that were not sealed for this home by who speaks on their topic."""
        self._sealer = sealer
        self._warned: set[str] = set()
        self.limited = 0
        """Messages of links that said too much."""
        self._allow = allow
        self._settings = tuple(links)
        self._clock = clock
        self._on_notice = on_notice
        self._options = options or LinkOptions()
        self._message_id = message_id
        self._prefix = prefix
        self._deduplicator = Deduplicator()
        self._links: tuple[MqttLink, ...] = ()
        self._inbox: Inbox | None = None

    @property
    def links(self) -> list[LinkState]:
        """The state of every link, in the order of the settings."""
        return [link.state for link in self._links]

    @property
    def dropped(self) -> int:
        """Messages lost to full queues since the start, in both directions."""
        received = self._inbox.dropped if self._inbox else 0
        return received + sum(link.dropped for link in self._links)

    async def __aenter__(self) -> "Transport":
        self._share = max(self._options.inbox // max(len(self._settings), 1), min(self._options.inbox, _SHARE_LEAST))
        self._inbox = Inbox(self._share, asyncio.get_running_loop(), self._inbox_full)
        made = (
            MqttLink(settings, self._options, self._clock, self._receive, self._on_notice)
            for settings in self._settings
        )
        self._links = tuple(made)
        for settings in self._settings:
            settings.secret()  # a missing password file is told before the first thread starts
        try:
            for link in self._links:
                link.start()
        except OSError as error:
            await self._close()
            raise ConfigError(
                f"{len(self._links)} links cannot be opened: {error}: allow this program more open files (ulimit -n)"
            ) from error
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._inbox:
            self._inbox.close()
        await asyncio.gather(*(link.close() for link in self._links))

    def publish(self, topic: str, payload: bytes, qos: Literal[0, 1] = 1, retain: bool = False) -> int:
        """Hand a message to every publishing link; returns at once.

        Returns:
            How many links took it. QoS 1 is taken while a broker is away too, QoS 0 is not.

        Raises:
            LocalProtocolError: If the message is too large, the QoS is not 0 or 1, or the topic cannot be published on.
                A broker would close the connection on such a message, and get it again at each reconnect.
        """
        limit = self._limit(topic)
        if len(payload) > limit:
            raise LocalProtocolError(f"{topic}: {len(payload)} bytes are over the limit of {limit}")
        if qos not in (0, 1):
            raise LocalProtocolError(f"{topic}: QoS {qos} is never used, only 0 and 1")
        try:
            check_topic(topic)
        except ValueError as error:
            raise LocalProtocolError(str(error)) from error
        takers = [link for link in self._links if link.settings.publish and not link.settings.meeting]
        taken = sum(link.publish(topic, payload, qos, retain) for link in takers)
        if self._sealer is None or not topic.startswith(self._prefix):
            return taken  # the home's own topics go to no broker but its own
        sealed = self._sealer.seal(topic, payload)
        meeting = [link for link in self._links if link.settings.meeting]
        return taken + sum(link.publish(topic, sealed, qos, retain) for link in meeting)

    def __aiter__(self) -> AsyncIterator[Inbound]:
        return self

    async def __anext__(self) -> Inbound:
        if self._inbox is None:
            raise LocalProtocolError("a transport is read inside its `async with`")
        while (inbound := await self._inbox.get()) is not None:
            if not inbound.topic.startswith(self._prefix) or self._is_new(inbound):
                return inbound
            self.duplicates += 1
        raise StopAsyncIteration

    def _is_new(self, inbound: Inbound) -> bool:
        return self._deduplicator.is_new(self._message_id(inbound.payload), inbound.link, self._clock.monotonic())

    def refused(self, inbound: Inbound) -> None:
        """Note that a delivered message was refused: its copies on other links are still delivered.

        Else a broker that is the first to say a message, on the wrong topic or when its share is used up, would keep
        the copies of all others from being heard.
        """
        self._deduplicator.forget(self._message_id(inbound.payload), inbound.link)

    def _limit(self, topic: str) -> int:
        return MAX_BYTES if topic.startswith(self._prefix) else OWN_MAX_BYTES

    def _receive(self, inbound: Inbound) -> bool:
        """Take a message over from a network thread; return whether it was welcome."""
        at_meeting = inbound.link in self._meeting
        if len(inbound.payload) > self._limit(inbound.topic) + (SEALING_MAX_BYTES if at_meeting else 0):
            self.oversize += 1
            return False
        home = speaker(inbound.topic)
        if home is not None and not self._allow((inbound.link, home), self._clock.now()):
            self.limited += 1
            return False
        if at_meeting:
            assert self._sealer is not None
            payload = self._sealer.unseal(inbound.topic, inbound.payload)
            if payload is None:
                self._not_opened(inbound.link)
                return False
            inbound = replace(inbound, payload=payload)
        if self._inbox:
            self._inbox.put(inbound)
        return True

    def _not_opened(self, link: str) -> None:
        """Count a message that nobody meant for us or somebody changed, and tell of the first on each link."""
        self.unreadable += 1
        if link not in self._warned and self._inbox is not None:
            self._warned.add(link)
            text = (
                f"a message at {link} could not be opened: its operator changed or made it up, "
                "or a neighbour goes by another charter; more of them are not told"
            )
            notice = LinkNotice(at=self._clock.now(), level="warning", link=link, text=text)
            self._inbox.on_loop(self._on_notice, notice)

    def _inbox_full(self, link: str) -> None:
        text = (
            f"{self._share} messages of {link}'s broker wait to be handled: new ones of it are dropped until half of "
            "them are done"
        )
        self._on_notice(LinkNotice(at=self._clock.now(), level="warning", link=link, text=text))
