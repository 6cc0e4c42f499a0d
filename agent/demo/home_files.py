"""One home of the demo on disk: where its files are, and what its owner would have written into them."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from agent.config import (
    BatterySection,
    CommunitySection,
    HomeConfig,
    HomeSection,
    MqttSection,
    OwnBroker,
    PeerBroker,
    PollSection,
)
from agent.control.settings import ControlSettings
from agent.demo.neighbours import Neighbour, Street
from agent.demo.options import DemoOptions
from agent.devices.settings import DeviceSettings
from agent.simulator.settings import ClockSettings, HomeSettings, SimulatorSettings

POLL_S = 0.25
"""At 360 times real time a poll each quarter second sees every 90 simulated seconds."""
COUNTER_STALE_S = 2.0
CONTROL_STALE_S = 6.0
"""The battery's power fades from a third of this on: a busy machine polls less often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeFiles:
    """One home of the demo, ready to be started."""

    name: str
    id: str
    folder: Path
    inverter_port: int
    meter_port: int
    broker_port: int

    @property
    def config(self) -> Path:
        return self.folder / "home.toml"

    @property
    def simulator(self) -> Path:
        return self.folder / "simulator.toml"

    @property
    def broker(self) -> Path:
        return self.folder / "broker.toml"

    @property
    def ledger(self) -> Path:
        return self.folder / "data" / "ledger.db"


def end_of(options: DemoOptions, street: Street) -> datetime:
    """Return when the books end: after whole trading periods."""
    periods = max(1, math.ceil(options.hours * 3600 / street.slot_s))
    return street.start_at + timedelta(seconds=periods * street.slot_s)


def home_config(
    options: DemoOptions,
    street: Street,
    neighbour: Neighbour,
    file: HomeFiles,
    files: tuple[HomeFiles, ...],
    owners: dict[str, str],
    readers: dict[tuple[str, str], str],
    clock: ClockSettings,
) -> HomeConfig:
    """Return a home's configuration, as its owner would write it.

    Args:
        owners: Password of each broker's owner, by home id.
        readers: Password by (home that reads, home whose broker it reads).
    """
    devices = {"meter": DeviceSettings(profile="eastron_sdm630", url=f"tcp://127.0.0.1:{file.meter_port}", unit=1)}
    if neighbour.battery or neighbour.has_pv:
        profile = "sunspec_hybrid" if neighbour.battery else "sunspec_pv"
        url = f"tcp://127.0.0.1:{file.inverter_port}"
        devices["inverter"] = DeviceSettings(profile=profile, url=url, unit=1)
    battery = None
    if neighbour.battery is not None:
        battery = BatterySection(
            **neighbour.battery.model_dump(exclude={"initial_soc_pct"}), reserve_pct=0.0, max_pct=100.0
        )
    peers = tuple(
        PeerBroker(member=peer.name, password=SecretStr(readers[peer.id, file.id]))
        for peer in files
        if peer is not file
    )
    own = OwnBroker(url=f"mqtt://127.0.0.1:{file.broker_port}", password=SecretStr(owners[file.id]))
    return HomeConfig(
        home=HomeSection(
            name=file.name,
            timezone=street.timezone,
            data_dir=Path("data"),
            pv_kwp=neighbour.pv_kwp if neighbour.has_pv else 0.0,
            since=street.start_at,
            until=end_of(options, street),
        ),
        community=CommunitySection(charter=Path("../../charter.json"), key_file=Path("key.pem")),
        mqtt=MqttSection(own=own, peers=peers, heartbeat_s=1.0, keepalive_s=5, retry_max_s=2.0),
        devices=devices,
        tariff=neighbour.tariff,
        poll=PollSection(interval_s=POLL_S, stale_after_s=COUNTER_STALE_S),
        battery=battery,
        # Times of control are the wall's: where a day passes in minutes, the ramp of a street is no matter.
        control=ControlSettings(
            enabled=battery is not None,
            reversion_s=10,
            lease_s=3.0,
            stale_after_s=CONTROL_STALE_S,
            min_write_s=0.2,
            ramp_pct_per_s=10 * max(1.0, options.speed),
            return_s=0.0,
            tick_s=0.2,
        ),
        clock=clock,
    )


def simulator_settings(neighbour: Neighbour, file: HomeFiles, clock: ClockSettings) -> SimulatorSettings:
    """Return what lives behind the home's Modbus sockets."""
    home = HomeSettings(
        name=neighbour.name,
        inverter_port=file.inverter_port,
        meter_port=file.meter_port,
        state_file=file.folder / "plant.json",
        plant=neighbour.plant,
        battery=neighbour.battery,
    )
    return SimulatorSettings(clock=clock, homes=(home,))
