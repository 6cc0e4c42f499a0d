"""The agent's side of the guard's process: its devices and its battery, as if they were here.

Whatever becomes of the guard, the agent only hears less: readings grow stale, the battery counts as released, and the
link is made anew. Nothing is asked of a guard that is silent, so that nothing old is waiting for it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

from agent.config import HomeConfig
from agent.control.envelope import CLOSED, Gate
from agent.control.ports import GuardStatus, NoticeSink
from agent.control.priorities import Party
from agent.devices.errors import DeviceError
from agent.devices.profile import load_profile
from agent.devices.reading import DeviceSample
from agent.devices.schema import Profile
from agent.guard_messages import (
    MAX_REPORT_BYTES,
    LeaseRequest,
    NoticeReport,
    ReadingsReport,
    ReleaseRequest,
    Request,
    SampleReport,
    StatusReport,
    encode,
    read_report,
)
from agent.guard_server import socket_path
from coordinator.clock import Clock
from coordinator.errors import RemoteProtocolError

log = logging.getLogger(__name__)

SILENT_S = 3.0
"""A guard that says nothing for so long counts as gone: it says something every second."""
RETRY_S = 0.5
SILENT = "the guard does not answer"


class RemoteDevice:
    """A device that the guard reads. Implements `agent.devices.poller.Polled`.

    Args:
        patience_s: How long `poll` waits for something new.
    """

    def __init__(self, name: str, profile: Profile, patience_s: float) -> None:
        self.name = name
        self.profile = profile
        self.latest: DeviceSample | None = None
        self.trouble: str | None = None
        self._patience_s = patience_s
        self._news = asyncio.Event()

    async def poll(self) -> DeviceSample:
        """Return what the device said since the last call; waits for it.

        Raises:
            DeviceError: It said nothing in time.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                await self._news.wait()
        except TimeoutError:
            raise DeviceError(self.trouble or SILENT) from None
        self._news.clear()
        if self.trouble is not None or self.latest is None:
            raise DeviceError(self.trouble or SILENT)
        return self.latest

    def take(self, sample: SampleReport) -> None:
        self.latest = DeviceSample(**sample.model_dump())
        self._news.set()

    def fail(self, why: str | None) -> None:
        """Note what is wrong with it, None for nothing."""
        self.trouble = why
        if why is not None:
            self._news.set()


class RemoteGuard:
    """The guard of another process. Implements `agent.control.ports.GuardPort`."""

    def __init__(self, link: "GuardLink") -> None:
        self._link = link

    @property
    def status(self) -> GuardStatus:
        report = self._link.status
        if report is None:
            return GuardStatus(control="released", target_w=None, reason=SILENT)
        return GuardStatus(control=report.control, target_w=report.target_w, reason=report.reason, obeys=report.obeys)

    @property
    def gate(self) -> Gate:
        report = self._link.status
        return CLOSED if report is None else Gate(charge=report.may_charge, discharge=report.may_discharge)

    def lease(self, target_w: float, reason: str, *, party: Party = Party.PRICE) -> None:
        self._link.lease(target_w, reason, party)

    def release(self, reason: str) -> None:
        self._link.send(ReleaseRequest(reason=reason))


class GuardLink:
    """The connection to the guard of this home.

    Attributes:
        devices: All devices of the home, in the order of its configuration.
        guard: The guard of its battery.
    """

    def __init__(self, config: HomeConfig, clock: Clock) -> None:
        patience_s = 2 * config.poll.interval_s
        self.devices = [
            RemoteDevice(name, load_profile(each.profile, each.parameters), patience_s)
            for name, each in config.devices.items()
        ]
        self.guard = RemoteGuard(self)
        self.path: Path = socket_path(config.home.data_dir)
        self._lease_s = config.control.lease_s
        self._clock = clock
        self._by_name: Mapping[str, RemoteDevice] = {device.name: device for device in self.devices}
        self._writer: asyncio.StreamWriter | None = None
        self._status: StatusReport | None = None
        self._heard_s = -SILENT_S
        self._told_silent = False
        self._on_notice: NoticeSink = lambda level, text: None

    @property
    def now_s(self) -> float:
        """Seconds on the clock that never jumps."""
        return self._clock.monotonic()

    @property
    def silent_s(self) -> float:
        """How long the guard has said nothing."""
        return self.now_s - self._heard_s

    @property
    def status(self) -> StatusReport | None:
        """What the guard does; None while it is silent."""
        return None if self.silent_s > SILENT_S else self._status

    async def listen(self, patience_s: float) -> None:
        """Listen once until the guard has said what it does and what each device says, or until patience ends."""
        self._heard_s = self.now_s
        with contextlib.suppress(OSError, RemoteProtocolError, ValueError, TimeoutError):
            async with asyncio.timeout(patience_s):
                reader, writer = await asyncio.open_unix_connection(str(self.path), limit=MAX_REPORT_BYTES)
                try:
                    while not self._complete and (line := await reader.readline()):
                        self._take(line)
                finally:
                    writer.transport.abort()

    @property
    def _complete(self) -> bool:
        known = all(device.latest is not None or device.trouble is not None for device in self.devices)
        return known and self._status is not None

    async def run(self, on_notice: NoticeSink) -> None:
        """Keep the connection until cancelled.

        Args:
            on_notice: Gets the guard's notices, and each beginning and end of its silence.
        """
        self._on_notice = on_notice
        self._heard_s = self.now_s
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="guard's silence")
            while True:
                with contextlib.suppress(OSError, RemoteProtocolError, ValueError):
                    await self._converse()
                await asyncio.sleep(RETRY_S)

    def lease(self, target_w: float, reason: str, party: Party) -> None:
        """Ask for a battery power."""
        contract = party is Party.CONTRACT
        until_s = self.now_s + self._lease_s
        self.send(
            LeaseRequest(target_w=target_w, reason=reason, until_s=until_s, party="contract" if contract else "price")
        )

    def send(self, request: Request) -> None:
        """Tell the guard something, if it is there and listens."""
        if self._writer is not None and self.status is not None:
            self._writer.write(encode(request))

    async def _converse(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self.path), limit=MAX_REPORT_BYTES)
        self._writer = writer
        try:
            while line := await reader.readline():
                self._take(line)
        finally:
            self._writer = self._status = None
            writer.transport.abort()

    def _take(self, line: bytes) -> None:
        report = read_report(line)
        self._heard_s = self.now_s
        match report:
            case ReadingsReport():
                for name, device in self._by_name.items():
                    device.fail(report.failing.get(name))
                for sample in report.samples:
                    if (known := self._by_name.get(sample.name)) is not None:
                        known.take(sample)
            case StatusReport():
                self._status = report
            case NoticeReport():
                self._on_notice(report.level, report.text)

    async def _watch(self) -> None:
        while True:
            silent = self.silent_s > SILENT_S
            if silent and not self._told_silent:
                self._on_notice("warning", f"{SILENT}: nothing is read, and the inverter's timer ends its last command")
            elif self._told_silent and not silent:
                self._on_notice("info", "the guard answers again")
            self._told_silent = silent
            await asyncio.sleep(SILENT_S / 6)


async def is_served(path: Path) -> bool:
    """Return whether a guard listens there."""
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.transport.abort()
    return True
