"""What the batteries of the street really do, asked at the devices past agent, guard and wires."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from removed_street import WALL, HeldStreet
from street_folder import BATTERIES, BATTERY_W

from agent.devices.device import Device
from agent.devices.errors import DeviceError
from agent.devices.opening import LinkPool, open_device
from agent.devices.settings import DeviceSettings

LOOK_S = 0.5
NEAR_W = 200.0
"""A battery on its own keeps the grid this near to zero, between two moments of a home that lives 180 times as fast."""
GOOD_SHARE = 0.9
"""The rest are looks in which sun, load or command had just changed."""
REVERSION_S, SLACK_S = 10.0, 2.0
"""The inverters' timer in the street: whoever commanded and died is forgotten after that."""


@dataclass
class Looks:
    """What was seen of one battery: how often within its limits, commanded, on its own and following the house."""

    seen: int = 0
    outside: int = 0
    commanded: int = 0
    commanded_late: int = 0
    follows: int = 0
    astray: int = 0

    @property
    def goes_on(self) -> bool:
        good = self.follows + self.commanded
        return self.seen > 0 and self.outside == 0 and good >= GOOD_SHARE * self.seen

    def note(self, switched: bool, power_w: float, soc_pct: float, grid_w: float) -> None:
        """Take one look: whether it is commanded, its power (+ discharges), its charge, and the house at the grid."""
        self.seen += 1
        self.outside += abs(power_w) > BATTERY_W + 1 or not 0 <= soc_pct <= 100
        if switched:
            self.commanded += 1
            return
        gives_all = power_w > BATTERY_W - NEAR_W or soc_pct < 1
        takes_all = power_w < NEAR_W - BATTERY_W or soc_pct > 99
        good = abs(grid_w) < NEAR_W or (grid_w > 0 and gives_all) or (grid_w < 0 and takes_all)
        self.follows += good
        self.astray += not good

    def words(self) -> str:
        return f"{self.seen} looks: {self.follows} on its own, {self.commanded} by plan, {self.astray} astray"


class Witness:
    """Looks at all batteries again and again.

    Args:
        on_their_own: Homes whose battery nobody may command any more once the inverters' timers have ended.
        without: Homes whose devices are taken away, and cannot be asked.
    """

    def __init__(self, street: HeldStreet, on_their_own: Iterable[str] = (), without: Iterable[str] = ()) -> None:
        there = set(street.names) - set(without)
        self.looks = {name: Looks() for name in BATTERIES if name in there}
        self._street = street
        self._on_their_own = set(on_their_own)
        self._tasks: list[asyncio.Task[None]] = []
        self._pool = LinkPool(WALL)

    async def __aenter__(self) -> "Witness":
        self._tasks = [asyncio.create_task(self._watch(name)) for name in self.looks]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pool.close()

    def astray(self, name: str) -> str | None:
        """Return what is wrong with a home's battery, None for nothing."""
        looks = self.looks[name]
        if looks.commanded_late:
            return f"{name}'s battery is still commanded after {REVERSION_S:.0f} s ({looks.words()})"
        return None if looks.goes_on else f"{name}'s battery does not follow ({looks.words()})"

    async def _watch(self, name: str) -> None:
        home = self._street.file(name)
        inverter = self._open(f"{name}/inverter", "sunspec_hybrid", home.inverter_port)
        meter = self._open(f"{name}/meter", "eastron_sdm630", home.meter_port)
        began_s = WALL.monotonic()
        while True:
            try:
                switched = (await inverter.read_points(["set_enable"]))["set_enable"]
                battery, grid = (await inverter.poll()).values, (await meter.poll()).values
            except DeviceError:
                pass
            else:
                power_w, soc_pct = battery["battery_w"] or 0.0, battery["soc_pct"] or 0.0
                self.looks[name].note(bool(switched), power_w, soc_pct, grid["grid_w"] or 0.0)
                late = WALL.monotonic() - began_s > REVERSION_S + SLACK_S
                self.looks[name].commanded_late += bool(switched) and late and name in self._on_their_own
            await asyncio.sleep(LOOK_S)

    def _open(self, name: str, profile: str, port: int) -> Device:
        return open_device(name, DeviceSettings(profile=profile, url=f"tcp://127.0.0.1:{port}"), self._pool, WALL)
