"""Fits a home's forecasts when it starts and every night, beside the loop that trades and controls."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from agent.config import HomeConfig
from agent.control.ports import NoticeSink
from agent.forecast.training import TrainingError, train
from agent.household import HISTORY_DAYS, TradingHome
from agent.memory import HomeMemory
from coordinator.clock import Clock
from coordinator.slots import Slot

HOUR = 0
SPREAD_MIN = 50
"""Daily learning in the first hour of the local day, at a minute of the home's own: neighbours take turns."""


class NightlyLearning:
    """The learning of one home.

    Args:
        running_slot: Returns the slot that runs now.
        turn: A number of the home's own.
    """

    def __init__(
        self,
        home: TradingHome,
        memory: HomeMemory,
        config: HomeConfig,
        clock: Clock,
        on_notice: NoticeSink,
        *,
        running_slot: Callable[[], Slot],
        turn: int,
    ) -> None:
        self._home = home
        self._memory = memory
        self._clock = clock
        self._on_notice = on_notice
        self._running_slot = running_slot
        self._minute = 5 + turn % SPREAD_MIN
        self._zone = config.home.zone
        self._simulated = config.clock is not None

    async def run(self) -> None:
        """Fit now and every night; APScheduler knows local nights, a simulated clock has its own."""
        await self._learn()
        if not self._simulated:
            scheduler = AsyncIOScheduler(timezone=self._zone)
            scheduler.add_job(self._learn, CronTrigger(hour=HOUR, minute=self._minute, timezone=self._zone))
            scheduler.start()
            try:
                await asyncio.Event().wait()
            finally:
                scheduler.shutdown(wait=False)
        while True:
            local = self._clock.now().astimezone(self._zone)
            night = local.replace(hour=HOUR, minute=self._minute, second=0, microsecond=0)
            await self._clock.sleep_until(night if night > local else night + timedelta(days=1))
            await self._learn()

    async def _learn(self) -> None:
        """Train a copy of the forecaster beside the loop; it takes over when it is ready."""
        slot, home = self._running_slot(), self._home
        try:
            trained = await asyncio.to_thread(train, home.forecaster, home.history(slot, HISTORY_DAYS), home.weather)
        except TrainingError as error:
            self._on_notice("warning", str(error))
        else:
            home.forecaster = trained.forecaster
            if trained.cpu_s:
                took = f"{trained.cpu_s:.1f} s of CPU, {trained.peak_mb:.0f} MB"
                self._on_notice("info", f"forecasts learned anew ({took})")
        self._memory.prune(self._running_slot())
