"""The guard as its own small process: it alone reads and commands the home's devices, and serves them locally.

It knows no neighbour, no market and no plan, and opens nothing but the devices' links and one Unix socket.
"""

import asyncio
import logging
from collections.abc import Iterator

from agent.config import HomeConfig
from agent.control.guard import Guard
from agent.control.priorities import Party
from agent.data_folder import make_data_folder
from agent.devices.opening import LinkPool, open_devices
from agent.devices.poller import Poller
from agent.devices.reading import HomeReading
from agent.guard_messages import (
    LeaseRequest,
    LimitRequest,
    LookRequest,
    NoticeReport,
    ReadingsReport,
    ReleaseRequest,
    Report,
    Request,
    SampleReport,
    StatusReport,
)
from agent.guard_server import GuardServer, socket_path
from agent.guard_setup import connection, open_guard
from agent.guard_watchdog import notify_systemd
from coordinator.clock import Clock, WallClock
from coordinator.errors import ConfigError
from coordinator.identity import Identity

log = logging.getLogger(__name__)

STATUS_S = 1.0
"""How often clients hear what the guard does, also when nothing changed: that is how they know that it lives."""
CHANGE_S = 0.1
"""How soon they hear of a change."""
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class GuardProcess:
    """The guard of one home.

    Raises:
        ConfigError: If a file it needs cannot be used, or nothing here may be commanded.
    """

    def __init__(self, config: HomeConfig) -> None:
        self._config = config
        self._clock: Clock = config.clock.clock() if config.clock else WallClock()
        self._links = LinkPool(self._clock)
        self._devices = open_devices(config.devices, self._links, self._clock)
        public_key = Identity.load(config.community.key_file).public_key
        make_data_folder(config.home.data_dir)
        guard = open_guard(config, self._devices, self._clock, public_key, self._notice, _alive)
        if guard is None:
            raise ConfigError("nothing here may be commanded: the guard needs [battery], control.enabled and a device")
        self._guard: Guard = guard
        self._server = GuardServer(socket_path(config.home.data_dir), self._asked, self._greeting)
        self._poller = Poller(
            self._devices,
            self._clock,
            interval_s=config.poll.interval_s,
            stale_after_s=config.poll.stale_after_s,
            on_reading=self._read,
            on_notice=_log_notice,
            zone=config.home.zone,
        )
        self._sent_s: dict[str, float] = {}

    async def run(self) -> None:
        """Guard until cancelled. Begins and ends with a release."""
        try:
            await self._server.start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._poller.run(), name="poll")
                tasks.create_task(self._guard.run(), name="guard")
                tasks.create_task(self._tell_status(), name="status")
                notify_systemd("READY=1")
        finally:
            notify_systemd("STOPPING=1")
            await self._server.stop()
            await self._links.close()

    def _read(self, reading: HomeReading) -> None:
        self._guard.see(connection(reading, self._devices, self._guard.name, self._config.poll.stale_after_s))
        new = [each for each in self._samples() if self._sent_s.get(each.name) != each.monotonic_s]
        self._sent_s |= {each.name: each.monotonic_s for each in new}
        self._server.send(ReadingsReport(samples=tuple(new), failing=self._poller.failing))

    def _samples(self) -> Iterator[SampleReport]:
        for device in self._devices:
            if (sample := device.latest) is not None:
                yield SampleReport(
                    name=sample.name,
                    at=sample.at,
                    monotonic_s=sample.monotonic_s,
                    values=dict(sample.values),
                    doubtful=dict(sample.doubtful),
                    asleep=sample.asleep,
                )

    def _greeting(self) -> list[Report]:
        return [self._status(), ReadingsReport(samples=tuple(self._samples()), failing=self._poller.failing)]

    def _status(self) -> StatusReport:
        status, gate = self._guard.status, self._guard.gate
        return StatusReport(
            control=status.control,
            target_w=status.target_w,
            reason=status.reason,
            may_charge=gate.charge,
            may_discharge=gate.discharge,
            stopped=self._guard.stopped,
            obeys=status.obeys,
        )

    async def _tell_status(self) -> None:
        told, told_s = None, 0.0
        while True:
            status, now_s = self._status(), self._clock.monotonic()
            if status != told or now_s - told_s >= STATUS_S:
                self._server.send(status)
                told, told_s = status, now_s
            await asyncio.sleep(CHANGE_S)

    def _asked(self, request: Request) -> None:
        match request:
            case LeaseRequest():
                party = Party.CONTRACT if request.party == "contract" else Party.PRICE
                self._guard.lease(request.target_w, request.reason, until_s=request.until_s, party=party)
            case ReleaseRequest():
                self._guard.release(request.reason)
            case LimitRequest():
                if not self._guard.limit(request.charge_w, request.discharge_w):
                    self._notice("warning", "somebody tried to limit the battery: that needs [control.external]")
            case LookRequest():
                self._guard.look()

    def _notice(self, level: str, text: str) -> None:
        _log_notice(level, text)
        self._server.send(NoticeReport.model_validate({"level": level, "text": text}))


def _log_notice(level: str, text: str) -> None:
    log.log(_LEVELS[level], "%s", text)


def _alive() -> None:
    notify_systemd("WATCHDOG=1")
