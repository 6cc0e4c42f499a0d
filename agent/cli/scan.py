"""`commonwatt scan`: which devices are there, which profile fits each and why. Reads only."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coordinator.clock import WallClock

if TYPE_CHECKING:
    from agent.devices.address import Address
    from agent.devices.scan import Found, Outcome, Proposal, Search

_SHOWN = 3
"""Proposals shown for a device; --json has them all."""
_COLORS = {"certain": "bold green", "likely": "green", "possible": "yellow"}
_SECTIONS = {"meter": "meter", "pv": "pv", "hybrid": "inverter", "battery": "battery", "load": "load"}


def scan(
    where: Annotated[
        list[str],
        typer.Argument(
            metavar="WHERE...", help="192.168.1.20, 192.168.1.20:1502, 192.168.1.10-40, 192.168.1.0/24, /dev/ttyUSB0."
        ),
    ],
    port: Annotated[list[int] | None, typer.Option(help="Port to try instead of the usual ones. Repeatable.")] = None,
    units: Annotated[str | None, typer.Option(help="Unit ids to ask instead of the usual ones: 1-4,71.")] = None,
    baud: Annotated[list[int] | None, typer.Option(help="Speed of a serial line, 8N1. Repeatable.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=15, help="Seconds to wait for an answer.")] = 1.0,
    many: Annotated[bool, typer.Option("--many", help="Allow more than 1024 hosts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Find Modbus devices and the profiles that fit them, with the evidence. Reads only, one question at a time."""
    from agent.devices import scan as finding
    from agent.devices.address import Line
    from agent.devices.scan_reach import check_reach
    from agent.devices.scan_targets import Door, parse_units, targets

    console = Console(stderr=True)
    with console.status("reading the profiles"):
        candidates = finding.all_candidates()
    doors = [Door(port=each) for each in port] if port else finding.usual_doors(candidates)
    hosts = targets(where, doors, many=many)
    check_reach(address for host in hosts for address in host)
    search = finding.Search(
        candidates=candidates,
        units=parse_units(units) if units else finding.usual_units(candidates),
        lines=[Line(baud=each) for each in baud] if baud else finding.usual_lines(candidates),
        timeout_s=timeout,
        gap_s=finding.GAP_S,
    )
    outcome = _look(hosts, search, console)
    if as_json:
        typer.echo(json.dumps(asdict(outcome), indent=2, ensure_ascii=False, default=_plain))
    else:
        _show(outcome, sum(map(len, hosts)), Console(highlight=False, soft_wrap=True))
    if not outcome.found:
        raise typer.Exit(1)


def _plain(part: BaseModel) -> dict[str, str]:
    return part.model_dump()


def _look(hosts: "Sequence[Sequence[Address]]", search: "Search", console: Console) -> "Outcome":
    from agent.devices.scan import Outcome, scan_all

    outcome = Outcome()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("looking", total=sum(map(len, hosts)))

        def done(address: "Address") -> None:
            progress.update(task, advance=1, description=f"{len(outcome.found)} found, looked at {escape(address.url)}")

        try:
            asyncio.run(scan_all(hosts, search, WallClock(), outcome, done))
        except KeyboardInterrupt:
            console.print("Stopped; this was found until then:")
    return outcome


def _show(outcome: "Outcome", looked_at: int, console: Console) -> None:
    for found in outcome.found:
        console.print(f"[bold]{escape(found.url)}[/], unit {found.unit}{escape(_says(found))}")
        for proposal in found.proposals[:_SHOWN]:
            _show_proposal(proposal, console)
        if len({each.sure for each in found.proposals[:2]}) < len(found.proposals[:2]):
            console.print("  several fit as well: take the one whose name is on the device", style="yellow")
        if found.proposals:
            console.print("\n".join(f"    {line}" for line in _settings(found)), style="cyan", markup=False)
        else:
            console.print("  no profile fits: write one (docs/devices.md), or try other --units", style="yellow")
        console.print()
    for url in outcome.mute:
        console.print(
            f"{url} lets us in and answers nothing: try other --units, a longer --timeout, or the other wire "
            f"({_other_wire(url)})",
            style="yellow",
            markup=False,
        )
    if not outcome.found:
        console.print(
            f"No Modbus device at {looked_at} address{'' if looked_at == 1 else 'es'}. Is Modbus switched on in the "
            "device's menu, is the port another one (--port), does it allow this machine?"
        )


def _says(found: "Found") -> str:
    said = " ".join(filter(None, (found.says.manufacturer, found.says.model)))
    serial = f", serial {found.says.serial}" if found.says.serial else ""
    models = f" (SunSpec models {', '.join(map(str, found.models))})" if found.models else ""
    return f": {said}{serial}{models}" if said or models else ""


def _show_proposal(proposal: "Proposal", console: Console) -> None:
    from agent.devices.balance import OF_THE_HOME
    from agent.live_words import device_words

    known, whole = proposal.plausible
    chosen = "".join(f", {name} = {value}" for name, value in proposal.chosen.items())
    color = _COLORS[proposal.sure]
    console.print(f"  [{color}]{proposal.sure}[/] {proposal.profile}{escape(chosen)}: {escape(proposal.title)}")
    for line in proposal.evidence:
        console.print(f"    {escape(line)}", style="dim")
    shown = device_words(proposal.values) if proposal.values.keys() & OF_THE_HOME - {"soc_pct"} else ""
    console.print(f"    {known} of {whole} values are plausible{shown and ': '}{shown}", style="dim")


def _settings(found: "Found") -> list[str]:
    """Return what the owner writes into the configuration for the best proposal."""
    from agent.devices.profile import load_profile

    best = found.proposals[0]
    profile = load_profile(best.profile)
    lines = [f"[devices.{_SECTIONS[profile.kind]}]", f'profile = "{best.profile}"', f'url = "{found.url}"']
    if found.unit != profile.link.unit:
        lines.append(f"unit = {found.unit}")
    if found.line is not None and profile.link.rtu is not None and found.line.baud != profile.link.rtu.baud:
        lines.append(f"baud = {found.line.baud}")
    if best.chosen:
        answers = ", ".join(f'{name} = "{value}"' for name, value in best.chosen.items())
        lines.append(f"parameters = {{ {answers} }}")
    return lines


def _other_wire(url: str) -> str:
    return url.removeprefix("rtu+") if url.startswith("rtu+") else f"rtu+{url}"
