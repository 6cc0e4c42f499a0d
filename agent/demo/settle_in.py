"""Writes everything the homes of a demo need: keys, charter, passwords, configurations, two weeks of history."""

import contextlib
import os
import random
import secrets
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ValidationError

from agent.dashboard.settings import DashboardSettings, Source
from agent.demo.home_files import HomeFiles, end_of, home_config, simulator_settings
from agent.demo.neighbours import Street
from agent.demo.options import DemoOptions
from agent.guard_simulated import commission_simulated
from agent.simulator.settings import ClockSettings, GateSettings
from agent.storage.home_store import HomeStore
from coordinator.broker_settings import BrokerSettings, home_users
from coordinator.charter import Charter, Member, Rules
from coordinator.charter_file import found
from coordinator.errors import ConfigError
from coordinator.identity import Identity, encode_base64
from coordinator.toml_file import toml_text

WAITING_S = 300
"""Simulated seconds that pass, at wall speed, while the homes start; then time stands still until all are there."""
RUN_UP_SHARE = 1.15
"""From the moment all are there it is this share of the charter's `ready_s` to the first slot of the books."""

RESIDUAL_SHARES = {"residual_offers_s": 0.3, "residual_expiry_s": 0.5, "residual_gate_s": 0.6}
"""Of a slot: at hundreds of times real time a meter is read, and a message travels, a good part of a slot later."""

MASKED_TIMEOUT_S = 90
"""A masked round needs every home's word; at hundreds of times real time the usual 45 s pass in an instant."""

PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The whole demo on disk."""

    street: Street
    charter: Charter
    homes: tuple[HomeFiles, ...]
    dashboard: DashboardSettings
    dashboard_file: Path
    clock: ClockSettings
    gate: GateSettings
    """Time runs at wall speed until somebody opens it."""
    end_at: datetime


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on: all are held open until all are known, so that none comes twice.

    They lie below the range from which the system takes the near ends of connections: a client that is early could
    otherwise be given the very port its broker is about to listen on.

    Raises:
        ConfigError: If there are not enough.
    """
    candidates = list(PORTS)
    random.SystemRandom().shuffle(candidates)
    found: list[int] = []
    with ExitStack() as stack:
        for port in candidates:
            if len(found) == count:
                return found
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    raise ConfigError(f"only {len(found)} of {count} ports are free from {PORTS.start} to {PORTS.stop - 1}")


def write_private(path: Path, model: BaseModel) -> None:
    """Write settings that hold passwords: for the owner's eyes only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(toml_text(model))


def _gated_clock(options: DemoOptions, street: Street, rules: Rules, anchor_at: datetime) -> ClockSettings:
    """Return a clock that waits, short of the first negotiation, until all homes are there."""
    wait_at = street.start_at - timedelta(seconds=RUN_UP_SHARE * rules.ready_s)
    gate = GateSettings(file=(options.folder / "let-go").absolute(), wait_at=wait_at)
    # Slow demos do not wait for long: what is left of the waiting when all are there passes at the demo's speed.
    waiting = timedelta(seconds=min(WAITING_S, 10 * options.speed))
    return ClockSettings(start_at=wait_at - waiting, anchor_at=anchor_at, speed=options.speed, gate=gate)


def _member(files: HomeFiles, identity: Identity, *, masked: bool) -> Member:
    try:
        return Member(
            id=files.id,
            name=files.name,
            public_key=encode_base64(identity.public_key),
            broker=f"mqtt://127.0.0.1:{files.broker_port}",
            exchange_key=encode_base64(identity.exchange_key) if masked else None,
        )
    except ValidationError:
        raise ConfigError(
            f"home {files.name!r} cannot be a member of a charter: a name is at most 24 letters, digits, blanks, dots, "
            "dashes and underscores; change it in the folder's community.toml"
        ) from None


def settle_in(options: DemoOptions, street: Street, anchor_at: datetime) -> Settled:
    """Write the demo's files.

    Args:
        anchor_at: Wall time at which the simulated clock begins to run.
    """
    residual = {name: round(share * street.slot_s) for name, share in RESIDUAL_SHARES.items()}
    masked = {"masked": True, "round_timeout_s": MASKED_TIMEOUT_S} if options.masked else {}
    rules = Rules.for_slot(street.slot_s, 86400 // street.slot_s, **residual, **masked)
    clock = _gated_clock(options, street, rules, anchor_at)
    assert clock.gate is not None
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
    members = [_member(f, identity, masked=options.masked) for f, identity in zip(files, identities, strict=True)]
    charter = Charter(
        name=street.name[:24],
        currency=street.currency,
        founded_ms=int(street.start_at.timestamp() * 1000),
        rules=rules,
        members=tuple(sorted(members, key=lambda member: member.id)),
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "charter.json").write_text(found(charter, {i.id: i for i in identities}))
    owners = {f.id: secrets.token_urlsafe(18) for f in files}
    readers = {(f.id, peer.id): secrets.token_urlsafe(18) for f in files for peer in files if peer is not f}
    for neighbour, file, identity in zip(street.homes, files, identities, strict=True):
        (file.folder / "data").mkdir(parents=True)
        identity.save(file.folder / "key.pem")
        config = home_config(options, street, neighbour, file, files, owners, readers, clock)
        write_private(file.config, config)
        commission_simulated(config, file.folder / "data", identity, neighbour.name, anchor_at)
        write_private(file.simulator, simulator_settings(neighbour, file, clock))
        peers = {peer.id: readers[file.id, peer.id] for peer in files if peer is not file}
        users = home_users(charter.community_id, file.id, owners[file.id], peers)
        write_private(file.broker, BrokerSettings(kind=options.broker, port=file.broker_port, users=users))
        with HomeStore(file.folder / "data" / "home.db") as store:
            store.import_history(neighbour.history)
    dashboard = DashboardSettings(
        title=street.name,
        port=options.page_port,
        demo=True,
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
        gate=clock.gate,
        end_at=end_of(options, street),
    )
