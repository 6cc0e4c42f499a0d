"""`commonwatt stop`: the owner's hand on the battery. Works without any network, and holds until taken back."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.config import HomeConfig, load_config
from coordinator.errors import CommonwattError

PATIENCE_S = 2.0


def stop(
    config: Annotated[Path, typer.Option(help="The home's TOML file.")] = Path("home.toml"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Let control begin again, also after it was given up.")
    ] = False,
) -> None:
    """Leave the battery to its inverter now, and keep it so over restarts until `stop --resume`."""
    from agent.guard_state import FileBrakes

    settings = load_config(config)
    brakes = FileBrakes(settings.home.data_dir)
    if resume:
        brakes.resume()
        typer.echo("Control may begin again; it begins with a release, on fresh readings.")
        return
    brakes.stop("its owner")
    match asyncio.run(_released(settings)):
        case None:
            typer.echo("Stopped, and nothing commands the battery: no guard runs.")
            typer.echo(f"A last command ends by the inverter's own timer, within {_timer_s(settings)} s.")
        case True:
            typer.echo("Stopped: the battery is on its own.")
        case False:
            typer.echo("Stopped for later, but the guard has not released the battery yet.", err=True)
            timer_s = _timer_s(settings)
            typer.echo(f"The inverter's own timer does within {timer_s} s; or switch it off there.", err=True)
            raise typer.Exit(1)
    typer.echo("`commonwatt stop --resume` lets control begin again.")


def _timer_s(settings: HomeConfig) -> int:
    """Return when a last command ends by itself; of a device that cannot be known, what the settings say."""
    from agent.devices.opening import LinkPool, open_devices
    from agent.guard_setup import commanded, longest_s
    from coordinator.clock import WallClock

    try:
        device = commanded(settings, open_devices(settings.devices, LinkPool(WallClock()), WallClock()))
    except CommonwattError:
        device = None
    return settings.control.reversion_s if device is None else longest_s(settings, device)


async def _released(settings: HomeConfig) -> bool | None:
    """Make the guard look; return whether it says that the battery is on its own, None when there is no guard."""
    from agent.guard_messages import MAX_REPORT_BYTES, LookRequest, StatusReport, encode, read_report
    from agent.guard_server import socket_path

    try:
        path = str(socket_path(settings.home.data_dir))
        reader, writer = await asyncio.open_unix_connection(path, limit=MAX_REPORT_BYTES)
    except OSError:
        return None
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(encode(LookRequest()))
            while line := await reader.readline():
                report = read_report(line)
                if isinstance(report, StatusReport) and report.stopped:
                    return True
    except TimeoutError:
        pass
    finally:
        writer.transport.abort()
    return False
