"""What arrives on the links' network threads, waiting for the one event loop that handles it."""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable

from coordinator.links import Inbound, LinkNotice


class Inbox:
    """A bounded queue from many threads to one event loop. A full one refuses, it never blocks a network thread.

    Each link has its share, so that a neighbour who floods us costs us no word of another.

    Args:
        share: Most messages of one link.
        on_episode: Told the link whose share is full, once until half of it is done.
    """

    def __init__(self, share: int, loop: asyncio.AbstractEventLoop, on_episode: Callable[[str], None]) -> None:
        self.dropped = 0
        self._share = share
        self._loop = loop
        self._on_episode = on_episode
        self._items: deque[Inbound] = deque()
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._ready = asyncio.Event()
        self._overflowing: set[str] = set()
        self._closed = False

    def put(self, item: Inbound) -> None:
        """Take an item or drop it; from any thread."""
        with self._lock:
            if self._closed:
                return
            if self._waiting[item.link] < self._share:
                self._waiting[item.link] += 1
                self._items.append(item)
                if len(self._items) == 1:  # one wake-up per batch, so a stalled loop does not pile up wake-ups either
                    self._loop.call_soon_threadsafe(self._ready.set)
                return
            self.dropped += 1
            if item.link not in self._overflowing:
                self._overflowing.add(item.link)
                self._loop.call_soon_threadsafe(self._on_episode, item.link)

    async def get(self) -> Inbound | None:
        """Return the oldest item; None once closed."""
        # Others get their turn after each message: while a flood lasts, the queue is never empty.
        await asyncio.sleep(0)
        while True:
            with self._lock:
                if self._closed:
                    return None
                if self._items:
                    item = self._items.popleft()
                    self._waiting[item.link] -= 1
                    if self._waiting[item.link] <= self._share // 2:
                        self._overflowing.discard(item.link)
                    return item
                self._ready.clear()
            await self._ready.wait()

    def on_loop(self, callback: Callable[[LinkNotice], None], notice: LinkNotice) -> None:
        """Have something told on the event loop; from any thread."""
        with self._lock:
            if not self._closed:
                self._loop.call_soon_threadsafe(callback, notice)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._items.clear()
        self._ready.set()
