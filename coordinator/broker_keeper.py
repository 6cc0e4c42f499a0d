"""Keeps a home's broker serving for as long as the home runs, with a certificate that is never old."""

import asyncio
from collections.abc import Callable
from typing import Literal

from coordinator.broker import Broker
from coordinator.clock import WallClock
from coordinator.errors import ConfigError

WATCH_S = 1.0
RETRY_S = 5.0
_wall = WallClock()


async def keep_serving(broker: Broker, on_notice: Callable[[Literal["info", "warning"], str], None]) -> None:
    """Start a broker again whenever it ended, until cancelled; what stops that is told once.

    Args:
        broker: Started by the caller, who also stops it.
    """
    told: str | None = None
    while True:
        await asyncio.sleep(WATCH_S if told is None else RETRY_S)
        renew = broker.alive and broker.certificate_is_old(_wall.now())
        if renew:
            on_notice("info", f"own broker on {broker.tls_url} starts anew for a new certificate")
            await asyncio.to_thread(broker.stop)
        if broker.alive:
            continue
        if told is None and not renew:
            on_notice("warning", f"own broker on {broker.url} ended; starting it again")
        try:
            await asyncio.to_thread(broker.start)
        except ConfigError as error:
            if told != str(error):
                on_notice("warning", f"own broker: {error}; trying again")
            told = str(error)
        else:
            told = None
            on_notice("info", f"own broker serves again on {broker.url}")
