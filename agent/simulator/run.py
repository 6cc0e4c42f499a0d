"""`commonwatt simulator`: homes that run until told to stop."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from agent.simulator.home import SimulatedHome
from agent.simulator.settings import SimulatorSettings


async def run_simulator(settings: SimulatorSettings, announce: Callable[[str], None] = print) -> None:
    """Serve the homes until SIGINT or SIGTERM, then save them.

    Args:
        settings: The clock and the homes.
        announce: Receives one text for people once every device answers.

    Raises:
        ConfigError: If a trace, a state file or a port cannot be used.
    """
    clock = settings.make_clock()
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)
    homes = [SimulatedHome(home, clock) for home in settings.homes]
    async with AsyncExitStack() as stack:
        for home in homes:
            await home.start()
            stack.push_async_callback(home.stop)
        announce(describe(homes, clock.speed))
        await told_to_stop.wait()


def describe(homes: Sequence[SimulatedHome], speed: float) -> str:
    """Return where each device listens and what to try next, for the terminal."""
    lines = []
    for home in homes:
        flow, soc_pct, ports = home.plant.flow, home.plant.soc_pct, home.ports
        battery = "" if soc_pct is None else f", battery {soc_pct:.0f} % full"
        lines.append(f"{home.settings.name}: using {flow.load_w:.0f} W, sun gives {flow.pv_w:.0f} W{battery}")
        if ports.inverter is not None:
            kind = "PV inverter" if soc_pct is None else "hybrid inverter, battery can be commanded"
            lines.append(
                f"  inverter  {_url(home, ports.inverter)}  unit {home.settings.inverter_unit}  SunSpec {kind}"
            )
        lines.append(f"  meter     {_url(home, ports.meter)}  unit {home.settings.meter_unit}  Eastron SDM630")
    first = homes[0]
    pace = "in real time" if speed == 1 else f"{speed:g} times as fast as real time"
    lines += [
        "",
        f"Running {pace}. Ctrl-C stops.",
        "Next, in another terminal: `commonwatt init` writes a config for an agent; put these addresses in, then",
        "`commonwatt check` and `commonwatt run`. Or read the grid power with any Modbus tool:",
        f"  mbpoll -m tcp -p {first.ports.meter} -a {first.settings.meter_unit} -t 3:float -B -r 53 -c 1 -1 "
        f"{first.settings.host}",
    ]
    return "\n".join(lines)


def _url(home: SimulatedHome, port: int) -> str:
    return f"tcp://{home.settings.host}:{port}"
