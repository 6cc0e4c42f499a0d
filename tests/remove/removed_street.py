"""Eight homes of which anything may be taken away: every part a process, every link through a wire that we hold."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "integration"))

from demo_helpers import ALIVE, RunningDemo, started
from evil_wire import BrokerWire, Wire
from street_folder import HOMES, write_community

from agent.config import HomeConfig
from agent.demo.director import Demo
from agent.demo.home_files import HomeFiles
from agent.demo.neighbours import Street
from agent.demo.options import DEFAULT_START, DemoOptions
from agent.demo.settle_in import Settled, free_ports, write_private
from agent.simulator.settings import GateSettings
from coordinator.clock import Pace, WallClock
from coordinator.identity import Identity
from coordinator.toml_file import read_toml

WRONG_CLOCK = "home-7"
WALL = WallClock()


class HeldDemo(Demo):
    """The demo, with a wire of ours in every link between two programs of two parties.

    Args:
        held: Homes whose brokers are read through our wires; devices always are.
    """

    def __init__(self, options: DemoOptions, held: Collection[str] = HOMES) -> None:
        super().__init__(options)
        self._held = held
        self.brokers: dict[str, BrokerWire] = {}
        self.devices: dict[str, tuple[Wire, ...]] = {}
        self.own_clock: GateSettings | None = None
        self.ahead = timedelta(0)
        """How far the clock of the home with a clock of its own is ahead."""

    async def _settle_in(self, street: Street) -> Settled:
        settled = await super()._settle_in(street)
        ports = iter(free_ports(3 * len(settled.homes)))
        for home in settled.homes:
            self.brokers[home.name] = BrokerWire(next(ports), home.broker_port)
            self.devices[home.name] = Wire(next(ports), home.inverter_port), Wire(next(ports), home.meter_port)
        for home in settled.homes:
            write_private(home.config, self._rewired(read_toml(home.config, HomeConfig), home))
        for wire in self.wires():
            await wire.start()
        return settled

    def wires(self) -> Iterator[Wire]:
        yield from self.brokers.values()
        for pair in self.devices.values():
            yield from pair

    def _rewired(self, config: HomeConfig, home: HomeFiles) -> HomeConfig:
        """Lead every link of a home through its wire; one home has a clock of its own."""
        peers = tuple(
            peer.model_copy(update={"url": f"mqtt://127.0.0.1:{self.brokers[peer.member].port}"})
            if peer.member in self._held
            else peer
            for peer in config.mqtt.peers
        )
        devices = {
            name: device.model_copy(update={"url": f"tcp://127.0.0.1:{self._device_wire(home, device.url).port}"})
            for name, device in config.devices.items()
        }
        clock = config.clock
        if home.name == WRONG_CLOCK and clock is not None and clock.gate is not None:
            gate = clock.gate.model_copy(update={"file": home.folder / "let-go"})
            self.own_clock = gate
            clock = clock.model_copy(update={"gate": gate})
        mqtt = config.mqtt.model_copy(update={"peers": peers})
        return config.model_copy(update={"mqtt": mqtt, "devices": devices, "clock": clock})

    def _device_wire(self, home: HomeFiles, url: str) -> Wire:
        return next(wire for wire in self.devices[home.name] if url.endswith(f":{wire.target}"))

    def _set_pace(self, settled: Settled, speed: float, *, notice_s: float) -> None:
        super()._set_pace(settled, speed, notice_s=notice_s)
        self._tell_own_clock(settled.gate.paces()[-1])

    def _tell_own_clock(self, pace: Pace) -> None:
        if self.own_clock is not None:
            self.own_clock.set_pace(Pace(wall_at=pace.wall_at, at=pace.at + self.ahead, speed=pace.speed))

    def set_clock_ahead(self, by: timedelta) -> None:
        """Set the clock of that home ahead of all others (behind, if negative), in one jump."""
        assert self.settled is not None
        self.ahead = by
        self._set_pace(self.settled, self.speed, notice_s=0.5)


@dataclass
class HeldStreet(RunningDemo):
    """The street while its time runs, looked at as an outsider can: by the homes' topics and ledgers."""

    demo: HeldDemo

    @property
    def settled(self) -> Settled:
        assert self.demo.settled is not None
        return self.demo.settled

    @property
    def names(self) -> list[str]:
        """All homes."""
        return [home.name for home in self.settled.homes]

    def identity(self, name: str) -> Identity:
        return Identity.load(self.file(name).folder / "key.pem")

    def guard_pid(self, name: str) -> int:
        """Return the process that the home's agent started: its guard."""
        agent = self.demo.launcher.pids()[name]["agent"]
        return children(agent)[0]

    def pairs(self, names: list[str], since: datetime) -> set[frozenset[str]]:
        """Return the pairs of these homes of which both speak of a contract between them for a slot from `since` on."""
        heard = {name: self.partners(name, since) for name in names}
        return {frozenset((a, b)) for a in names for b in names if a < b and b in heard[a] and a in heard[b]}

    def slots_traded(self, names: list[str], since: datetime) -> int:
        """Return in how many slots from `since` on some of these homes have contracts with each other."""
        return len(
            {
                at
                for name in names
                for at, trade in self.home(name).trades()
                if at >= since and trade.partner in names and trade.status in ALIVE and trade.energy_wh
            }
        )

    def hears_all(self, name: str) -> bool:
        peers = self.home(name).peers
        return peers is not None and all(peer.online for peer in peers.members)

    def well(self, name: str) -> bool:
        """Return whether a home reads its devices and hears all others."""
        home = self.home(name)
        return home.link_up and home.state is not None and home.state.quality == "valid" and self.hears_all(name)

    async def comes(self, true: Callable[[], object], within_s: float) -> bool:
        """Wait until something is seen; return whether it was in time.

        Raises:
            AssertionError: If the street ended; its own error, if it ended by one.
        """
        give_up_s = WALL.monotonic() + within_s
        while not true():
            if self.task.done():
                self.task.result()
                raise AssertionError("the street ended by itself")
            if WALL.monotonic() > give_up_s:
                return False
            await asyncio.sleep(0.1)
        return True


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    return [each for each in _processes() if _parent(each) == pid]


def _processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


@contextlib.asynccontextmanager
async def held_street(
    folder: Path, speed: float, homes: int = len(HOMES), held: Collection[str] = HOMES, processes: bool = True
) -> AsyncIterator[HeldStreet]:
    """Start the street, or the first homes of it, and yield it once its time runs."""
    traces = write_community(folder / "street")
    # Every child of ours, and every process that one of them starts, finds this tree first.
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[2]))
    options = DemoOptions(
        folder=folder / "d",
        traces=traces,
        homes=homes,
        hours=100,
        speed=speed,
        start_at=DEFAULT_START,
        page=False,
        processes=processes,
    )
    demo = HeldDemo(options, held)
    try:
        async with started(demo, HeldStreet) as street:
            yield street
    finally:
        for wire in demo.wires():
            await wire.stop()
