"""Writes everything the homes of a demo need: keys, charter, passwords, configurations, two weeks of history."""

import os
import secrets
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, SecretStr

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
from agent.dashboard.settings import DashboardSettings, Source
from agent.demo.neighbours import Neighbour, Street
from agent.demo.options import DemoOptions
from agent.devices.settings import DeviceSettings
from agent.simulator.settings import ClockSettings, HomeSettings, SimulatorSettings
from agent.storage.home_store import HomeStore
from coordinator.broker_settings import BrokerSettings, home_users
from coordinator.charter import Charter, Member, Rules, found
from coordinator.identity import Identity, encode_base64
from coordinator.toml_file import toml_text

POLL_S = 0.25
"""At 360 times real time a poll each quarter second sees every 90 simulated seconds."""
COUNTER_STALE_S = 2.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The whole demo on disk."""

    street: Street
    charter: Charter
    homes: tuple[HomeFiles, ...]
    dashboard: DashboardSettings
    dashboard_file: Path
    clock: ClockSettings
    end_at: datetime


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on: all are held open until all are known, so that none comes twice."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(s.getsockname()[1]) for s in sockets]


def write_private(path: Path, model: BaseModel) -> None:
    """Write settings that hold passwords: for the owner's eyes only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(toml_text(model))


def settle_in(options: DemoOptions, street: Street, anchor_at: datetime, lead_s: float) -> Settled:
    """Write the demo's files.

    Args:
        anchor_at: Wall time at which the simulated clock begins to run.
        lead_s: Wall seconds before the books begin: the time the homes have to start up.
    """
    start_at = street.start_at - timedelta(seconds=lead_s * options.speed)
    clock = ClockSettings(start_at=start_at, anchor_at=anchor_at, speed=options.speed)
    identities = [Identity.generate() for _ in street.homes]
    ports = free_ports(3 * len(street.homes) + 1)
    files = tuple(
        HomeFiles(
            name=home.name,
            id=identity.id,
            folder=options.folder / "homes" / home.name,
            inverter_port=ports[3 * n],
            meter_port=ports[3 * n + 1],
            broker_port=ports[3 * n + 2],
        )
        for n, (home, identity) in enumerate(zip(street.homes, identities, strict=True))
    )
    members = [
        Member(
            id=f.id,
            name=f.name,
            public_key=encode_base64(identity.public_key),
            broker=f"mqtt://127.0.0.1:{f.broker_port}",
        )
        for f, identity in zip(files, identities, strict=True)
    ]
    charter = Charter(
        name=street.name[:24],
        currency=street.currency,
        founded_ms=int(street.start_at.timestamp() * 1000),
        rules=Rules.for_slot(street.slot_s, 86400 // street.slot_s),
        members=tuple(sorted(members, key=lambda member: member.id)),
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "charter.json").write_text(found(charter, {i.id: i for i in identities}))
    owners = {f.id: secrets.token_urlsafe(18) for f in files}
    readers = {(f.id, peer.id): secrets.token_urlsafe(18) for f in files for peer in files if peer is not f}
    for neighbour, file, identity in zip(street.homes, files, identities, strict=True):
        (file.folder / "data").mkdir(parents=True)
        identity.save(file.folder / "key.pem")
        write_private(file.config, _home_config(options, street, neighbour, file, files, owners, readers, clock))
        write_private(file.simulator, _simulator(neighbour, file, clock))
        peers = {peer.id: readers[file.id, peer.id] for peer in files if peer is not file}
        users = home_users(charter.community_id, file.id, owners[file.id], peers)
        write_private(file.broker, BrokerSettings(kind=options.broker, port=file.broker_port, users=users))
        with HomeStore(file.folder / "data" / "home.db") as store:
            store.import_history(neighbour.history)
    dashboard = DashboardSettings(
        title=street.name,
        port=options.page_port,
        demo=True,
        currency=street.currency,
        timezone=street.timezone,
        sources=[
            Source(home=f.name, url=f"mqtt://127.0.0.1:{f.broker_port}", username="owner", password=owners[f.id])
            for f in files
        ],
    )
    dashboard_file = options.folder / "dashboard.toml"
    write_private(dashboard_file, dashboard)
    return Settled(
        street=street,
        charter=charter,
        homes=files,
        dashboard=dashboard,
        dashboard_file=dashboard_file,
        clock=clock,
        end_at=street.start_at + timedelta(hours=options.hours),
    )


def _home_config(
    options: DemoOptions,
    street: Street,
    neighbour: Neighbour,
    file: HomeFiles,
    files: tuple[HomeFiles, ...],
    owners: dict[str, str],
    readers: dict[tuple[str, str], str],
    clock: ClockSettings,
) -> HomeConfig:
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
            until=street.start_at + timedelta(hours=options.hours),
        ),
        community=CommunitySection(charter=Path("../../charter.json"), key_file=Path("key.pem")),
        mqtt=MqttSection(own=own, peers=peers, heartbeat_s=1.0, keepalive_s=5, retry_max_s=2.0),
        devices=devices,
        tariff=neighbour.tariff,
        poll=PollSection(interval_s=POLL_S, stale_after_s=COUNTER_STALE_S),
        battery=battery,
        # The simulated inverter was commissioned by the one who wrote it.
        control=ControlSettings(
            enabled=battery is not None,
            commissioned=battery is not None,
            reversion_s=10,
            lease_s=3.0,
            stale_after_s=COUNTER_STALE_S,
            min_write_s=0.2,
            tick_s=0.2,
        ),
        clock=clock,
    )


def _simulator(neighbour: Neighbour, file: HomeFiles, clock: ClockSettings) -> SimulatorSettings:
    home = HomeSettings(
        name=neighbour.name,
        inverter_port=file.inverter_port,
        meter_port=file.meter_port,
        state_file=file.folder / "plant.json",
        plant=neighbour.plant,
        battery=neighbour.battery,
    )
    return SimulatorSettings(clock=clock, homes=(home,))
