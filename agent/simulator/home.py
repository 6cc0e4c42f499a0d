"""A simulated home in motion: its plant, and the inverter and the meter that show it over Modbus TCP."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from agent.simulator.frames import ModbusDevice
from agent.simulator.live import LivePlant
from agent.simulator.plant import Plant
from agent.simulator.sdm630 import Sdm630
from agent.simulator.server import ModbusServer, answer_units
from agent.simulator.settings import HomeSettings
from agent.simulator.state import restore, save
from agent.simulator.sunspec_device import SunSpecInverter
from coordinator.clock import Clock

log = logging.getLogger(__name__)

TICK_S = 1.0
"""Wall seconds between two looks at an unwatched plant, each of which saves its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a home's devices listen. `inverter` is None in a home with neither PV nor battery."""

    inverter: int | None
    meter: int


class SimulatedHome:
    """One home. `start` puts its devices on the network, `stop` takes them off and saves the plant.

    Off the network the plant lives on: after another `start` its counters and its reversion timer are where they
    would have been. In a new process, `settings.state_file` brings the plant back, without any setpoint.

    Raises:
        ConfigError: If the home's trace cannot be used.
    """

    def __init__(self, settings: HomeSettings, clock: Clock) -> None:
        self.settings = settings
        self._live = LivePlant(_plant(settings, clock), clock)
        self._meter_server: ModbusServer | None = None
        self._inverter_server: ModbusServer | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._unsaved = False

    @property
    def plant(self) -> Plant:
        """The plant as it is now."""
        return self._live.sync()

    @property
    def ports(self) -> Ports:
        """The ports that `start` bound.

        Raises:
            RuntimeError: If the home is not started.
        """
        if self._meter_server is None:
            raise RuntimeError(f"{self.settings.name} is not started")
        return Ports(
            inverter=self._inverter_server.port if self._inverter_server else None, meter=self._meter_server.port
        )

    async def start(self) -> None:
        """Serve the devices.

        Raises:
            ConfigError: If a port is taken or the state file cannot be used.
        """
        settings = self.settings
        if settings.state_file:
            restore(settings.state_file, self._live.plant, self._live.clock.now())
        meter_units: dict[int, ModbusDevice] = {settings.meter_unit: Sdm630(self._live)}
        inverter = self._inverter()
        try:
            if inverter and settings.shares_a_port:
                meter_units[settings.inverter_unit] = inverter
            elif inverter:
                self._inverter_server = await _serve(
                    {settings.inverter_unit: inverter}, settings, settings.inverter_port
                )
            self._meter_server = await _serve(meter_units, settings, settings.meter_port)
        except BaseException:
            await self.stop()
            raise
        if inverter and settings.shares_a_port:
            self._inverter_server = self._meter_server
        self._ticker = asyncio.create_task(self._tick(), name=f"{settings.name} plant")

    async def stop(self) -> None:
        """Leave the network and save the plant; harmless when not started."""
        if self._ticker:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._look()
        for server in (self._inverter_server, self._meter_server):
            if server:
                await server.stop()
        self._ticker = self._meter_server = self._inverter_server = None

    def _inverter(self) -> SunSpecInverter | None:
        plant = self._live.plant
        pv_w = plant.profile.pv_peak_w
        if not pv_w and not plant.battery:
            return None
        battery_w = max(plant.battery.charge_w, plant.battery.discharge_w) if plant.battery else 0.0
        name, unit = self.settings.name, self.settings.inverter_unit
        return SunSpecInverter(self._live, rating_w=pv_w + battery_w, serial=name, unit=unit)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._look()

    def _look(self) -> None:
        """Bring the plant to now and save it."""
        plant = self._live.sync()
        if not (path := self.settings.state_file):
            return
        try:
            save(path, plant)
            self._unsaved = False
        except OSError as error:
            if not self._unsaved:
                log.warning("%s: cannot save the plant to %s: %s", self.settings.name, path, error.strerror)
            self._unsaved = True


async def _serve(units: dict[int, ModbusDevice], settings: HomeSettings, port: int) -> ModbusServer:
    server = ModbusServer(answer_units(units), settings.host, port)
    await server.start()
    return server


def _plant(settings: HomeSettings, clock: Clock) -> Plant:
    battery = settings.battery.battery(settings.battery_lag_s) if settings.battery else None
    plant = Plant(
        profile=settings.plant.profile(),
        battery=battery,
        at=clock.now(),
        stored_wh=battery.capacity_wh * settings.battery.initial_soc_pct / 100 if battery and settings.battery else 0.0,
        counters=settings.counters.counters(),
    )
    plant.settle()
    return plant
