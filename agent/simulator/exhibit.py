"""One simulated device of any profile, behind a TCP port or a serial line, with a fault to switch on.

For whoever tests something against Modbus. Devices of the profiles `sunspec_hybrid` and `sunspec_pv` are the simulated
home's own and obey; the others show the same home and take writes without acting on them.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from agent.simulator.faulty_device import FaultyDevice
from agent.simulator.faulty_line import FaultyLine
from agent.simulator.frames import ModbusDevice
from agent.simulator.house_values import house_values
from agent.simulator.knobs import Fault
from agent.simulator.live import LivePlant
from agent.simulator.plant import Plant
from agent.simulator.profile_device import Data, ProfileDevice
from agent.simulator.pty_line import PtyLine
from agent.simulator.sdm630 import Sdm630
from agent.simulator.server import ModbusServer, answer_units
from agent.simulator.settings import default_settings
from agent.simulator.sunspec_device import SunSpecInverter
from coordinator.clock import Clock
from coordinator.errors import ConfigError

Wire = Literal["tcp", "rtu+tcp", "serial"]
NO_FAULT = Fault(id="F00", name="none", words="nothing is wrong")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExhibitSettings:
    """What is shown and where.

    Attributes:
        profile: The profile's data after the installer's choices.
        port: TCP port, 0 for any free one; without meaning on a serial line.
    """

    profile: Data
    fault: Fault = NO_FAULT
    wire: Wire = "tcp"
    host: str = "127.0.0.1"
    port: int = 0


class Exhibit:
    """The device, its line and its fault.

    Args:
        values: Returns what the device shows, by point name; None takes the values of a home that lives by itself.

    Raises:
        ConfigError: If the fault exists on serial lines only and the wire is Modbus TCP.
    """

    def __init__(
        self, settings: ExhibitSettings, clock: Clock, values: Callable[[], Mapping[str, float]] | None = None
    ) -> None:
        fault, profile = settings.fault, settings.profile
        if fault.rtu_only and settings.wire == "tcp":
            raise ConfigError(f"{fault.name} needs a serial line: add --wire rtu+tcp or --wire serial")
        self.settings = settings
        self.live = LivePlant(_plant(clock, fault), clock, fault.device)
        layout = ProfileDevice(profile, values or (lambda: house_values(self.live.sync(), profile["points"])))
        self.unit: int = profile.get("link", {}).get("unit", 1)
        self.device = FaultyDevice(_device(profile, self.live, layout, self.unit), layout, fault.device)
        limits = profile.get("limits", {})
        self.line = FaultyLine(
            answer_units({self.unit: self.device}),
            fault.line,
            clock.monotonic,
            clients=limits.get("max_connections"),
            idle_s=limits.get("idle_close_s"),
        )
        self._server = (
            PtyLine(self.line)
            if settings.wire == "serial"
            else ModbusServer(self.line, settings.host, settings.port, door=self.line, rtu=settings.wire == "rtu+tcp")
        )

    @property
    def url(self) -> str:
        """Where it is, as a device's url in the configuration."""
        if isinstance(self._server, PtyLine):
            return f"serial://{self._server.path}"
        return f"{self.settings.wire}://{self.settings.host}:{self._server.port}"

    def misbehave(self, on: bool) -> None:
        """Switch the fault on or off; what it made of the plant stays."""
        self.device.on = self.line.on = on
        self.live.knobs = self.settings.fault.device if on else NO_FAULT.device

    async def start(self) -> None:
        """Serve.

        Raises:
            ConfigError: If the port is taken.
        """
        await self._server.start()

    async def stop(self) -> None:
        """Stop serving."""
        await self._server.stop()


def _plant(clock: Clock, fault: Fault) -> Plant:
    home = default_settings().homes[0]
    battery = home.battery.battery(home.battery_lag_s) if home.battery else None
    if battery is not None and fault.device.lag_s is not None:
        battery = replace(battery, lag_s=fault.device.lag_s)
    plant = Plant(
        profile=home.plant.profile(),
        battery=battery,
        at=clock.now(),
        stored_wh=battery.capacity_wh / 2 if battery else 0.0,
        counters=home.counters.counters(),
    )
    plant.settle()
    return plant


def _device(profile: Data, live: LivePlant, layout: ProfileDevice, unit: int) -> ModbusDevice:
    match profile["profile"]:
        case "sunspec_hybrid":
            return SunSpecInverter(live, rating_w=11_000, serial="exhibit", unit=unit)
        case "eastron_sdm630":
            return Sdm630(live)
        case _:
            return layout


async def show(
    settings: ExhibitSettings, clock: Clock, *, fault_after_s: float, announce: Callable[[str], None] = print
) -> None:
    """Serve the device until SIGINT or SIGTERM; it behaves for the first `fault_after_s` seconds.

    Raises:
        ConfigError: If the port is taken or the fault needs another wire.
    """
    exhibit = Exhibit(settings, clock)
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)
    exhibit.misbehave(fault_after_s <= 0)
    await exhibit.start()
    try:
        announce(describe(exhibit, fault_after_s))
        if fault_after_s > 0:
            loop.call_later(fault_after_s, exhibit.misbehave, True)
        await told_to_stop.wait()
    finally:
        await exhibit.stop()


def describe(exhibit: Exhibit, fault_after_s: float) -> str:
    """Return what is served where, for the terminal."""
    settings = exhibit.settings
    lines = [f"{settings.profile['title']}: {exhibit.url}  unit {exhibit.unit}"]
    if settings.fault is not NO_FAULT:
        when = f"from {fault_after_s:g} s on" if fault_after_s > 0 else "from the start"
        lines.append(f"  fault {settings.fault.id} {settings.fault.name}, {when}: {settings.fault.words}")
    else:
        lines.append("  it behaves; --fault NAME gives it a fault, --fault list shows them all")
    return "\n".join([*lines, "Ctrl-C stops."])
