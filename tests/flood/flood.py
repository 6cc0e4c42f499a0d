"""`make flood`: a member floods a neighbour, who goes on controlling its battery and trading with the others.

    python tests/flood/flood.py [--seconds 60] [--rate 1000] [--json]

Four homes, every part a process of its own, on real brokers. One member stops its agent and publishes messages for one
neighbour on its own broker: four of nine rightly signed, the rest garbage, forged, or too large. Told is how late that
neighbour's loops come to what is due: the guard's, by its questions to the devices as these hear them, and the agent's,
by a probe in its own loop; before the flood and during it. Ends with 1 if the 99th percentile of either is 100 ms or
more during the flood, or if honest homes, the flooded one among them, do not trade.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "remove"))

from removed_street import WALL, HeldStreet, held_street
from rich.console import Console
from rich.table import Table

from agent.demo.home_files import POLL_S, HomeFiles
from agent.demo.launch import end

VICTIM, FLOODER = "home-3", "home-4"
HONEST = ("home-1", "home-2", "home-3")
SPEED = 90.0
TARGET_S = 0.1
ROUND_S = 0.12
"""Questions nearer to each other than this belong to one round of the guard's polls."""
SLOTS = 2


@dataclass
class Stretch:
    """What was measured in a stretch of time: lateness in seconds."""

    guard: list[float] = field(default_factory=list)
    agent: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    cpu_share: float = 0.0


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else float("nan")


class Rounds:
    """Notes when the guard begins a round of questions to the meter."""

    def __init__(self) -> None:
        self.begun_s: list[float] = []
        self._last_s = 0.0

    def asked(self) -> None:
        now_s = WALL.monotonic()
        if now_s - self._last_s > ROUND_S:
            self.begun_s.append(now_s)
        self._last_s = now_s

    def lateness(self, since_s: float, until_s: float) -> list[float]:
        inside = [at_s for at_s in self.begun_s if since_s <= at_s <= until_s]
        return [max(0.0, later - earlier - POLL_S) for earlier, later in itertools.pairwise(inside)]


async def measure(seconds: float, rounds: Rounds, probe: Path, pid: int) -> Stretch:
    """Measure for a while."""
    began_s, cpu_before_s = WALL.monotonic(), cpu_of(pid)
    own = []
    while WALL.monotonic() - began_s < seconds:
        due_s = WALL.monotonic() + 0.02
        await asyncio.sleep(0.02)
        own.append(WALL.monotonic() - due_s)
    until_s = WALL.monotonic()
    noted = read_probe(probe)
    return Stretch(
        guard=rounds.lateness(began_s, until_s),
        agent=[late_s for at_s, late_s in noted if began_s <= at_s <= until_s],
        own=own,
        cpu_share=(cpu_of(pid) - cpu_before_s) / (until_s - began_s),
    )


def read_probe(path: Path) -> list[tuple[float, float]]:
    """Return (moment, lateness) as the agent's probe wrote them; its last line may be half written."""
    lines = [line.split() for line in path.read_text().splitlines()[:-1]]
    return [(float(at_s), float(late_s)) for at_s, late_s in lines]


def start_probed(home: HomeFiles, probe: Path) -> "subprocess.Popen[bytes]":
    """Start a home's agent with a probe in its loop."""
    script = Path(__file__).with_name("probed_agent.py")
    with (home.folder / "agent.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(script), "--config", str(home.config), "--probe", str(probe)], stdout=log, stderr=log
        )


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    columns = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


async def flood(folder: Path, seconds: float, rate: float) -> dict[str, Any]:
    """Return the figures of a run."""
    rounds = Rounds()
    async with held_street(folder, SPEED, homes=4, held=()) as street:
        launcher, victim = street.demo.launcher, street.file(VICTIM)
        await launcher.stop(street.file(FLOODER), "agent")
        await launcher.stop(victim, "agent")
        probe = folder / "probe"
        agent = start_probed(victim, probe)
        try:
            meter = street.demo.devices[VICTIM][1]
            meter.on_request = rounds.asked
            if not await street.comes(lambda: trades(street, street.progress.now), 120):
                raise AssertionError("the homes do not trade before the flood")
            quiet = await measure(seconds / 2, rounds, probe, agent.pid)
            since = street.soon()
            flooder = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("flooder.py")),
                *("--home", str(street.file(FLOODER).folder), "--to", victim.id),
                *("--rate", str(rate), "--seconds", str(seconds + 5)),
                stdout=subprocess.PIPE,
            )
            await asyncio.sleep(4)  # its program starts
            flooded = await measure(seconds, rounds, probe, agent.pid)
            slots = street.slots_traded(list(HONEST), since)
            with_victim = len(street.partners(VICTIM, since) & set(HONEST))
            sent = json.loads((await flooder.communicate())[0])
        finally:
            await asyncio.to_thread(end, agent)
    return figures(quiet, flooded) | {"sent": sent, "slots_traded": slots, "victims_partners": with_victim}


def trades(street: HeldStreet, since: Any) -> bool:
    return bool(street.partners(VICTIM, since)) and len(street.pairs(list(HONEST), since)) >= 1


def figures(quiet: Stretch, flooded: Stretch) -> dict[str, Any]:
    """Return percentiles in milliseconds, by stretch and loop."""
    return {
        name: {
            **{
                loop: {
                    "median_ms": round(1000 * percentile(values, 50), 1),
                    "p99_ms": round(1000 * percentile(values, 99), 1),
                    "max_ms": round(1000 * max(values, default=float("nan")), 1),
                    "samples": len(values),
                }
                for loop, values in (("guard", each.guard), ("agent", each.agent), ("this program", each.own))
            },
            "agent_cpu_share": round(each.cpu_share, 3),
        }
        for name, each in (("quiet", quiet), ("flooded", flooded))
    }


def show(found: dict[str, Any]) -> None:
    table = Table(title=f"{VICTIM} while {FLOODER} floods it")
    for name in ("loop", "when", "median", "99 %", "longest", "samples"):
        table.add_column(name, justify="left" if name in ("loop", "when") else "right")
    for loop in ("guard", "agent", "this program"):
        for when in ("quiet", "flooded"):
            row = found[when][loop]
            values = [f"{row[each]:.1f} ms" for each in ("median_ms", "p99_ms", "max_ms")]
            table.add_row(loop, when, *values, str(row["samples"]))
    console = Console()
    console.print(table)
    sent = found["sent"]
    before, meanwhile = (100 * found[when]["agent_cpu_share"] for when in ("quiet", "flooded"))
    console.print(
        f"{sent['sent']} messages in {sent['seconds']} s; the agent used {before:.0f} % of a core before and "
        f"{meanwhile:.0f} % meanwhile; honest homes traded in {found['slots_traded']} slots, the flooded one with "
        f"{found['victims_partners']} of them.",
        highlight=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cw-") as folder:
        found = asyncio.run(flood(Path(folder), options.seconds, options.rate))
    found["load_average"] = [round(each, 1) for each in os.getloadavg()]
    print(json.dumps(found, indent=2)) if options.json else show(found)
    late = max(found["flooded"][loop]["p99_ms"] for loop in ("guard", "agent"))
    return 0 if late < 1000 * TARGET_S and found["slots_traded"] >= SLOTS and found["victims_partners"] else 1


if __name__ == "__main__":
    sys.exit(main())
