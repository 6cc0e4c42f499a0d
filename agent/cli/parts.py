"""Commands that run one part by itself: simulated devices, a broker, the page, the terminal view."""

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.live import Live

from agent.cli.logs import log_to_stderr
from agent.dashboard.settings import DashboardSettings
from coordinator.clock import WallClock
from coordinator.errors import ConfigError
from coordinator.toml_file import read_toml

REFRESH_S = 0.5
Wire = Literal["tcp", "rtu+tcp", "serial"]
PAGE_WANTED = "the page's, dashboard.toml, which `commonwatt init` wrote beside the home's"


def simulator(
    config: Annotated[Path | None, typer.Option(help="TOML file; without it, one home on ports 5020 and 5021.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Serve one device of this profile instead of a home (name or YAML file).")
    ] = None,
    choose: Annotated[
        list[str] | None, typer.Option("--choose", help="A choice of the profile: meter=other. May be repeated.")
    ] = None,
    fault: Annotated[str | None, typer.Option(help="Give the device this fault; `list` shows them all.")] = None,
    fault_after: Annotated[
        float | None, typer.Option(min=0, help="Seconds before the fault begins.", show_default="0")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="TCP port of the device; 0 takes a free one.", show_default="5020"),
    ] = None,
    wire: Annotated[
        Wire | None, typer.Option(help="Modbus TCP, RTU in TCP, or a pseudo terminal.", show_default="tcp")
    ] = None,
) -> None:
    """Run simulated devices: a home's inverter and meter as real Modbus servers, or one device with a fault."""
    log_to_stderr()
    if profile is not None or fault is not None:
        if config is not None:
            raise ConfigError("--config describes homes, --profile and --fault one device: leave one of them out")
        if fault_after is not None and fault is None:
            raise ConfigError("--fault-after says when a fault begins: say which with --fault (`list` shows them all)")
        port = 5020 if port is None else port
        _one_device(profile or "sunspec_hybrid", choose or [], fault, fault_after or 0.0, port, wire or "tcp")
        return
    options = {"--choose": choose, "--fault-after": fault_after, "--port": port, "--wire": wire}
    if of_one := [name for name, value in options.items() if value is not None]:
        raise ConfigError(f"{of_one[0]} is for one device: add --profile NAME; a home's ports stand in a --config file")
    from agent.simulator.run import run_simulator
    from agent.simulator.settings import SimulatorSettings, default_settings

    wanted = "a file of the simulator, whose homes stand in [[homes]]"
    settings = read_toml(config, SimulatorSettings, wanted) if config else default_settings()
    asyncio.run(run_simulator(settings, typer.echo))


def _one_device(
    profile: str,
    choices: list[str],
    fault: str | None,
    after_s: float,
    port: int,
    wire: Wire,
) -> None:
    from agent.devices.profile import read_profile
    from agent.simulator.exhibit import NO_FAULT, ExhibitSettings, show
    from agent.simulator.faults import find_fault, listing

    if fault == "list":
        typer.echo(listing())
        return
    chosen = dict(choice.partition("=")[::2] for choice in choices)
    settings = ExhibitSettings(
        profile=read_profile(profile, chosen), fault=find_fault(fault) if fault else NO_FAULT, wire=wire, port=port
    )
    asyncio.run(show(settings, WallClock(), fault_after_s=after_s, announce=typer.echo))


def broker(config: Annotated[Path, typer.Option(help="TOML file of the broker.")]) -> None:
    """Run an MQTT broker by a file of its own; the one in a home's [broker] is started by `run` already."""
    from coordinator.broker_settings import BrokerSettings
    from coordinator.mosquitto import run_broker

    log_to_stderr()
    wanted = "a broker's own file, with port and users (the broker of a home's [broker] is started by `run`)"
    asyncio.run(run_broker(read_toml(config, BrokerSettings, wanted)))


def dashboard(config: Annotated[Path, typer.Option(help="TOML file of the page.")]) -> None:
    """Serve the page: an MQTT client of the home's own topics, on this or another machine."""
    try:
        from agent.dashboard.page import run_dashboard
    except ImportError as error:
        raise ConfigError(f"the page needs {error.name}: pip install 'commonwatt[dashboard]'") from None
    log_to_stderr()
    run_dashboard(read_toml(config, DashboardSettings, PAGE_WANTED))


def watch(config: Annotated[Path, typer.Option(help="TOML file of the page (the same as for `dashboard`).")]) -> None:
    """Show the same as the page in this terminal."""
    from agent.dashboard.source import Feeds
    from agent.dashboard.terminal import live_view

    settings = read_toml(config, DashboardSettings, PAGE_WANTED)
    clock = WallClock()

    async def show() -> None:
        with Feeds(settings, clock) as feeds, Live(console=Console(), screen=True, refresh_per_second=4) as live:
            picture = feeds.picture()
            while True:
                feeds.drain(picture)
                live.update(live_view(picture, settings, clock.monotonic()))
                await asyncio.sleep(REFRESH_S)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(show())
