"""Commands that run one part by itself: simulated devices, a broker, the page, the terminal view."""

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from agent.cli.logs import log_to_stderr
from agent.dashboard.settings import DashboardSettings
from coordinator.clock import WallClock
from coordinator.errors import ConfigError
from coordinator.toml_file import read_toml

REFRESH_S = 0.5


def simulator(
    config: Annotated[Path | None, typer.Option(help="TOML file; without it, one home on ports 5020 and 5021.")] = None,
) -> None:
    """Run simulated devices: a home's inverter and meter as real Modbus TCP servers."""
    from agent.simulator.run import run_simulator
    from agent.simulator.settings import SimulatorSettings, default_settings

    log_to_stderr()
    settings = read_toml(config, SimulatorSettings) if config else default_settings()
    asyncio.run(run_simulator(settings, typer.echo))


def broker(config: Annotated[Path, typer.Option(help="TOML file of the broker.")]) -> None:
    """Run a home's own MQTT broker: Mosquitto where it is installed, else the embedded one."""
    from coordinator.broker_settings import BrokerSettings
    from coordinator.mosquitto import run_broker

    log_to_stderr()
    asyncio.run(run_broker(read_toml(config, BrokerSettings)))


def dashboard(config: Annotated[Path, typer.Option(help="TOML file of the page.")]) -> None:
    """Serve the page: an MQTT client of the home's own topics, on this or another machine."""
    try:
        from agent.dashboard.page import run_dashboard
    except ImportError as error:
        raise ConfigError(f"the page needs {error.name}: pip install 'commonwatt[dashboard]'") from None
    log_to_stderr()
    run_dashboard(read_toml(config, DashboardSettings))


def watch(config: Annotated[Path, typer.Option(help="TOML file of the page (the same as for `dashboard`).")]) -> None:
    """Show the same as the page in this terminal."""
    from agent.dashboard.source import Feeds
    from agent.dashboard.terminal import live_view

    settings = read_toml(config, DashboardSettings)
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
