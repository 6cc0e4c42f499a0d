"""A simulated house to commission: inverter with a fault, meter, kettle, and an owner who answers by a script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from running_home import NOON, first_home

from agent.commission import Times
from agent.commission_devices import Rig, open_rig
from agent.commission_rig import commission
from agent.commission_talk import Ask, Look
from agent.config import HomeConfig, load_config
from agent.devices.profile import read_profile
from agent.simulator.exhibit import NO_FAULT, Exhibit, ExhibitSettings
from agent.simulator.faults import FAULTS
from agent.simulator.sdm630 import Sdm630
from agent.simulator.server import ModbusServer, answer_units
from coordinator.clock import ManualClock
from coordinator.identity import Identity

KETTLE_W = 2000.0
LATER = datetime.max.replace(tzinfo=NOON.tzinfo)


@dataclass
class House:
    """People and sun, changed by hand."""

    load: float = 600.0
    sun: float = 1500.0
    kettle: bool = False
    pv_peak_w: float = 6000.0

    def load_w(self, at: datetime) -> float:
        return self.load + KETTLE_W * self.kettle

    def pv_w(self, at: datetime) -> float:
        return self.sun

    def next_change(self, at: datetime) -> datetime:
        return LATER


@dataclass
class Script:
    """An owner: `yes` to everything, switches the kettle as asked, and does what a test adds.

    Attributes:
        answers: Other answers, by the question's key; several are given one after the other.
        on_look: Called at each look, with how often there was one of that kind.
    """

    house: House
    answers: dict[str, list[str]] = field(default_factory=dict)
    on_look: Callable[[Look, int], Awaitable[None]] | None = None
    obeys: bool = True
    asked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    looks: dict[str, int] = field(default_factory=dict)
    latest: Look | None = None

    async def ask(self, question: Ask) -> str:
        self.asked.append(question.key)
        if question.key in ("load", "load_off") and self.obeys:
            self.house.kettle = question.key == "load"
        given = self.answers.get(question.key)
        return given.pop(0) if given else "yes"

    def tell(self, text: str) -> None:
        self.told.append(text)

    def watch(self, look: Look) -> None:
        self.looks[look.doing] = self.looks.get(look.doing, 0) + 1
        self.latest = look


@dataclass
class Stage:
    """Everything together, on a clock that is moved by hand."""

    config: HomeConfig
    identity: Identity
    clock: ManualClock
    house: House
    exhibit: Exhibit
    script: Script

    @property
    def commanded_w(self) -> float | None:
        """What the inverter is told to do now."""
        self.exhibit.live.sync()
        return self.exhibit.live.control.target_w

    async def nap(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))
        if self.script.on_look is not None and self.script.latest is not None:
            await self.script.on_look(self.script.latest, self.script.looks[self.script.latest.doing])
        await asyncio.sleep(0)

    def rig(self):  # type: ignore[no-untyped-def]
        return open_rig(self.config, self.clock, self.nap)

    async def run(self, times: Times | None = None) -> Path:
        """Commission; return the record's path."""
        async with self.rig() as rig:
            assert isinstance(rig, Rig)
            return await commission(rig, self.script, self.identity, times or Times())


@asynccontextmanager
async def stage(
    folder: Path,
    fault: str | None = None,
    *,
    edits: tuple[tuple[str, str], ...] = (),
    house: House | None = None,
) -> AsyncIterator[Stage]:
    """Serve a house at noon with a half full battery; the fault acts from the beginning.

    Args:
        edits: Changes of the settings' text.
    """
    files = first_home(folder / "home")
    files.edit(("interval_s = 0.2", "interval_s = 2.0"), *edits)
    house, clock = house or House(), ManualClock(NOON)
    chosen = FAULTS[fault] if fault else NO_FAULT
    settings = ExhibitSettings(profile=read_profile("sunspec_hybrid"), fault=chosen, port=files.inverter_port)
    exhibit = Exhibit(settings, clock)
    exhibit.live.plant.profile = house
    exhibit.live.plant.settle()
    meter = ModbusServer(answer_units({1: Sdm630(exhibit.live)}), "127.0.0.1", files.meter_port)
    await exhibit.start()
    await meter.start()
    try:
        identity = Identity.load(files.folder / "key.pem")
        yield Stage(load_config(files.config), identity, clock, house, exhibit, Script(house))
    finally:
        await meter.stop()
        await exhibit.stop()
