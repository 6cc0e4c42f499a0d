"""`make fuzz`: broken answers into the whole reading path, from bytes to the command that the guard would write.

    python tests/benchmarks/fuzz_frames.py [FRAMES] [--seed N] [--jobs N] [--json]

One answer of a simulated device in each poll is broken in one of twelve ways. It goes through our link, pymodbus's
framer and decoder, the frame reader, the profile, the judge and the guard's mind, all of them the real ones; only the
socket is missing, and time is moved by hand. Nothing but a `DeviceError` may come out, and no command outside the
owner's limits. The checksums of RTU and TCP see nearly all of this on a real line: what is shown here is the case that
a gateway or firmware corrupts a value before the checksum is made.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import unittest.mock
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from typing import Any

from broken_frames import BREAKS, break_frame
from fuzz_count import Count
from rich.console import Console
from rich.progress import Progress

from agent.control.effect import Tolerance
from agent.control.envelope import Envelope
from agent.control.orders import Command, Lease, Traits
from agent.control.settings import ControlSettings
from agent.control.supervisor import Supervisor
from agent.devices.address import Kind
from agent.devices.device import Device
from agent.devices.errors import DeviceError, DeviceRefusedError
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.profile import load_profile, read_profile
from agent.devices.reading import DeviceSample
from agent.devices.wire import Wire
from agent.simulator.frames import Frame, RtuFrame, answer, parse_header
from agent.simulator.profile_device import ProfileDevice
from coordinator.clock import ManualClock

NOON = datetime(2026, 6, 12, 10, tzinfo=UTC)
OWNER = Envelope(charge_w=3000, discharge_w=4000, reserve_pct=20, max_pct=95)
SETTINGS = ControlSettings(enabled=True)
TRAITS = Traits(
    reversion_s=60, refresh_s=20, includes_pv=True, tolerance=Tolerance(after_s=30, abs_w=200, rel=0.1), pv_max_w=20_000
)
HOUSE = {
    "grid_w": 1500.0, "meter_w": 1500.0, "pv_w": 4000.0, "ac_w": 1500.0, "battery_w": -2500.0, "soc_pct": 55.0,
    "grid_l1_w": 500.0, "grid_l2_w": 500.0, "grid_l3_w": 500.0, "import_wh": 5_000_000.0, "export_wh": 1_000_000.0,
}  # fmt: skip
LINES: tuple[tuple[str, Kind], ...] = (
    ("eastron_sdm630", "tcp"),
    ("sungrow_sh", "tcp"),
    ("sunspec_hybrid", "tcp"),
    ("huawei_sun2000", "tcp"),
    ("carlo_gavazzi_em340", "rtu+tcp"),
)
PART = 10_000
"""Frames that one seed breaks."""
_ENDLESS = 1_000_000_000
_RECOVERY = 12
"""Honest polls after which every value must be believed again; a counter that jumped is held for five."""


class Socketless:
    """In place of a connection: each request is answered at once, and what is no whole answer is a timeout.

    Attributes:
        answers: How many answers there were since it was last set.
        break_at: Which of them is broken, counted from 0; None for none.
    """

    def __init__(self, device: ProfileDevice, kind: Kind, dice: random.Random) -> None:
        self.answers = 0
        self.break_at: int | None = None
        self.wire: Any = None
        self.failed: Exception | None = None
        self.how = BREAKS[0]
        self._device = device
        self._dice = dice
        self._rtu = kind != "tcp"
        self._before = b""
        self._known: dict[bytes, bytes] = {}

    def write(self, request: bytes) -> None:
        """Answer a request, later, as asyncio's transports do."""
        honest = data = self._answer(request)
        if self.answers == self.break_at:
            data = break_frame(self.how, honest, self._before, self._dice, rtu=self._rtu)
        self.answers += 1
        self._before = honest
        asyncio.get_running_loop().call_soon(self._deliver, data)

    def close(self) -> None:
        """There is nothing to close."""

    def _answer(self, request: bytes) -> bytes:
        if self._rtu:
            return RtuFrame(unit=request[0], pdu=self._registers(request[1:-2])).encode()
        transaction, unit, _ = parse_header(request[:7])
        return Frame(transaction=transaction, unit=unit, pdu=self._registers(request[7:])).encode()

    def _registers(self, pdu: bytes) -> bytes:
        """The house stands still: the same question has the same answer."""
        if pdu not in self._known:
            self._known[pdu] = answer(self._device, pdu)
        return self._known[pdu]

    def _deliver(self, data: bytes) -> None:
        try:
            self.wire.data_received(data)
        except Exception as error:  # asyncio would call it a fatal error of the protocol, and close the connection
            self.failed = error
        if not self.wire._answer.done():
            self.wire._answer.set_exception(TimeoutError())


class Mill:
    """One device and our whole reading of it."""

    def __init__(self, profile: str, kind: Kind, dice: random.Random, count: Count) -> None:
        self._dice, self._count = dice, count
        self._clock = ManualClock(NOON)
        self._line = Socketless(ProfileDevice(read_profile(profile), HOUSE.copy), kind, dice)
        link = ModbusLink(f"{kind}://127.0.0.1:1", self._clock, LinkLimits(timeout_s=60.0, silences=_ENDLESS))
        # That the house stands still here is no fault.
        unfrozen = load_profile(profile).model_copy(update={"frozen_after_s": None})
        self._device = Device("it", unfrozen, link, self._clock)
        wire = Wire(link._framing.find)
        wire.transport, self._line.wire = self._line, wire
        link._wire, link.generation = wire, 1
        self._truth: dict[str, float | None] | None = None
        self._frames = 1

    async def once(self) -> None:
        """Poll once with one broken answer, and see what comes of it."""
        if self._truth is None:
            await self._settle()
        self._line.how, self._line.break_at = self._dice.choice(BREAKS), self._dice.randrange(self._frames)
        self._count.frames += 1
        try:
            sample = await self._poll()
        except DeviceRefusedError:
            self._count.refused += 1
        except DeviceError:
            self._count.dropped += 1
        except Exception as error:
            self._count.unexpected[repr(error)] += 1
        else:
            self._judge(sample)
        if self._line.failed is not None:
            self._count.unexpected[repr(self._line.failed)] += 1
            self._line.failed = None

    async def _poll(self) -> DeviceSample:
        # Slow frames are due each time, and no answer is owed any more.
        self._clock.advance(timedelta(seconds=31))
        self._line.answers = 0
        sample = await self._device.poll()
        self._frames = self._line.answers
        return sample

    async def _settle(self) -> None:
        """Poll with nothing broken until every value is believed again."""
        self._line.break_at = None
        for _ in range(_RECOVERY):
            sample = await self._poll()
            if not sample.doubtful and None not in sample.values.values():
                self._truth = dict(sample.values)
                return
        self._count.unexpected["a value that was not believed again"] += 1

    def _judge(self, sample: DeviceSample) -> None:
        assert self._truth is not None
        wrong = {name for name, value in self._truth.items() if sample.values[name] != value}
        believed = [name for name in wrong if sample.values[name] is not None and name not in sample.doubtful]
        if not wrong and not sample.doubtful:
            self._count.same += 1
            return
        if believed:
            self._count.believed += 1
            self._count.far += any(self._far(name, sample) for name in believed)
        elif sample.doubtful:
            self._count.doubtful += 1
        else:
            self._count.absent += 1
        self._truth = None
        self._command(sample)

    def _far(self, name: str, sample: DeviceSample) -> bool:
        assert self._truth is not None
        value, truth = sample.values[name] or 0.0, self._truth[name] or 0.0
        return abs(value - truth) > max(0.1 * abs(truth), 50.0)

    def _command(self, sample: DeviceSample) -> None:
        """Let the guard's mind act upon what was read; nothing may come out that the owner does not allow."""
        mind = Supervisor(SETTINGS, OWNER, TRAITS)
        mind.let_go()
        mind.observe(sample)
        target_w = self._dice.choice((-1e5, -2500.0, 0.0, 800.0, 1e5))
        mind.grant(Lease(target_w=target_w, reason="as planned", until_s=sample.monotonic_s + 15))
        match mind.next(sample.monotonic_s):
            case Command(battery_w=battery_w):
                self._count.commands += 1
                self._count.outside += not -OWNER.charge_w <= battery_w <= OWNER.discharge_w


async def fuzz(frames: int, seed: int) -> Count:
    """Break so many frames, of each kind of device in turn; the same seed breaks the same frames."""
    dice, count = random.Random(seed), Count()
    mills = [Mill(profile, kind, dice, count) for profile, kind in LINES]
    # A device that says it is busy is asked again after a pause, which here would only take time.
    with unittest.mock.patch("agent.devices.reader.BUSY_PAUSES_S", ()):
        for number in range(frames):
            await mills[number % len(mills)].once()
    return count


def fuzz_part(frames: int, seed: int) -> Count:
    """Fuzz in a process of its own."""
    return asyncio.run(fuzz(frames, seed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; does not change the result")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    parts = [min(PART, args.frames - begun) for begun in range(0, args.frames, PART)]
    count = Count()
    with Progress(console=Console(stderr=True), transient=True) as progress, ProcessPoolExecutor(args.jobs) as pool:
        task = progress.add_task("breaking frames", total=args.frames)
        running = [pool.submit(fuzz_part, frames, 1000 * args.seed + number) for number, frames in enumerate(parts)]
        for done in as_completed(running):
            count.add(done.result())
            progress.update(task, completed=count.frames)
    print(json.dumps(count.plain(), indent=2) if args.json else count.words())
    return 1 if count.unexpected or count.outside else 0


if __name__ == "__main__":
    sys.exit(main())
