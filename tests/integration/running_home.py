"""One real home for the tests of `init`, `check` and `run`: files by `init` on free ports, devices, an agent."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

import agent.simulator.home
from agent.config import load_config
from agent.devices.profile import profiles_folder
from agent.first_files import write_first_files
from agent.guard_simulated import commission_simulated
from agent.runtime import Agent
from agent.simulator.frames import Frame
from agent.simulator.home import SimulatedHome
from agent.simulator.settings import BatterySettings, GeneratorSettings, HomeSettings
from coordinator.broker import BrokerUser, EmbeddedBroker
from coordinator.clock import ScaledClock
from coordinator.identity import Identity

NOON = datetime(2024, 6, 12, 10, tzinfo=UTC)
WRITES = (5, 6, 15, 16, 22, 23)
"""Every function code of Modbus that writes."""


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on; all are held open until all are known, so that none comes twice."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in sockets]


@dataclass
class Files:
    """What `init` wrote, moved to free ports and made quick; nothing else is changed."""

    folder: Path
    inverter_port: int
    meter_port: int
    broker_port: int
    tls_port: int

    @property
    def config(self) -> Path:
        return self.folder / "home.toml"

    @property
    def password(self) -> str:
        return (self.folder / "owner.password").read_text().strip()

    def edit(self, *changes: tuple[str, str]) -> None:
        """Replace texts in the settings, each of which must be there."""
        text = self.config.read_text()
        for before, after in changes:
            assert before in text, before
            text = text.replace(before, after)
        self.config.write_text(text)

    def without_own_broker(self) -> None:
        """Take [broker] out, as the comment on it says."""
        text = self.config.read_text()
        begin = text.index("# This home's broker, started")
        self.config.write_text(text[:begin] + text[text.index("# The devices, each") :])


def with_ports(text: str, ports: dict[str, int]) -> str:
    """Return settings with other ports, all at once: a free port may itself begin with a usual one."""
    return re.sub("|".join(ports), lambda found: str(ports[found[0]]), text)


def move_ports(folder: Path) -> Files:
    """Give a folder that `init` wrote other ports."""
    ports = free_ports(4)
    others = dict(zip(("5020", "5021", "1883", "8883"), ports, strict=True))
    for name in ("home.toml", "dashboard.toml"):
        (folder / name).write_text(with_ports((folder / name).read_text(), others))
    return Files(folder, *ports)


def first_home(folder: Path, own_broker: bool = False) -> Files:
    files = move_ports(write_first_files(folder, name="home-1", timezone="Europe/Berlin", currency="EUR").parent)
    files.edit(("#interval_s = 2.0", "interval_s = 0.2"), ("#retry_max_s = 15.0", "retry_max_s = 0.5"))
    files.edit(("#return_s = 600.0", "return_s = 0.0"))  # the machine that tests may have just started
    if not own_broker:
        files.without_own_broker()
    return files


def narrow_hybrid(folder: Path, most_w: int, soc_pct: tuple[int, int] = (0, 100)) -> Path:
    """Write a profile of the simulated inverter that says it bears no more than this; return its path."""
    text = (profiles_folder() / "sunspec_hybrid.yaml").read_text(encoding="utf-8")
    text = text.replace("profile: sunspec_hybrid", "profile: narrow_hybrid")
    clamp = f"    clamp: {{charge_w: {most_w}, discharge_w: {most_w}, soc_pct: {list(soc_pct)}}}\n"
    path = folder / "narrow_hybrid.yaml"
    path.write_text(text.replace("    timer: revert_s\n", f"    timer: revert_s\n{clamp}"), encoding="utf-8")
    return path


def commission(files: Files) -> None:
    """Write the record of the home's simulated inverter."""
    config = load_config(files.config)
    identity = Identity.load(config.community.key_file)
    commission_simulated(config, config.home.data_dir, identity, "home-1", datetime.now(UTC))


def devices(files: Files, meter_unit: int = 1, at: datetime = NOON, soc_pct: float = 50.0) -> SimulatedHome:
    """Return the default home of `commonwatt simulator`, at noon, on the ports of the files; not started."""
    settings = HomeSettings(
        inverter_port=files.inverter_port,
        meter_port=files.meter_port,
        meter_unit=meter_unit,
        plant=GeneratorSettings(pv_kwp=6.0),
        battery=BatterySettings(capacity_kwh=10.0, charge_kw=5.0, discharge_kw=5.0, initial_soc_pct=soc_pct),
    )
    return SimulatedHome(settings, ScaledClock(at, datetime.now(UTC), 1.0))


def broker(files: Files, password: str | None = None) -> EmbeddedBroker:
    """Return a broker on the port of the files whose owner has this password; the right one by default."""
    owner = BrokerUser(name="owner", password=password or files.password, publish=("#",), subscribe=("#",))
    return EmbeddedBroker("127.0.0.1", files.broker_port, (owner,))


@dataclass
class Running:
    """An agent at work and what it told."""

    agent: Agent
    notices: list[tuple[str, str]] = field(default_factory=list)

    def about(self, subject: str) -> list[str]:
        """Return the notices that have a text in them, in order."""
        return [text for _, text in self.notices if subject in text]

    @property
    def polls(self) -> datetime | None:
        poller = self.agent._poller
        return poller.latest.at if poller is not None and poller.latest is not None else None

    @property
    def quality(self) -> str | None:
        poller = self.agent._poller
        return poller.latest.quality if poller is not None and poller.latest is not None else None


@contextlib.asynccontextmanager
async def running(files: Files) -> AsyncIterator[Running]:
    notices: list[tuple[str, str]] = []
    here = Running(Agent(load_config(files.config), lambda level, text: notices.append((level, text))), notices)
    task = asyncio.create_task(here.agent.run())
    try:
        yield here
        assert not task.done(), "the agent ended by itself"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], object], within_s: float = 15.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.02)


def count_requests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the function code of every request that reaches a simulated device from now on."""
    codes: list[int] = []
    honest = agent.simulator.home.answer_units

    def counting(units):
        reply = honest(units)

        async def noted(request: Frame) -> bytes | None:
            codes.append(request.pdu[0])
            return await reply(request)

        return noted

    monkeypatch.setattr(agent.simulator.home, "answer_units", counting)
    return codes
