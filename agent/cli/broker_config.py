"""`commonwatt broker-config`: the files of a broker that runs by itself, for this home or for homes to meet at."""

import os
import platform
from pathlib import Path
from typing import Annotated

import typer

from agent.broker_files import (
    NATS_CONFIG,
    SECRET_FILES,
    Program,
    ServicePlan,
    meeting_entry,
    plan_meeting,
    plan_own,
    service_files,
)
from agent.charter_blocks import BrokerCard, block
from agent.charter_founding import check_given
from agent.charter_now import current_charter
from agent.cli.charter import read_papers
from agent.config import load_config
from coordinator.charter import Charter, MeetingBroker
from coordinator.charter_file import check_founding
from coordinator.charter_history import History
from coordinator.clock import Clock, WallClock, unix_ms
from coordinator.errors import ConfigError
from coordinator.identity import Identity
from coordinator.links import is_encrypted
from coordinator.mosquitto import find_plugins
from coordinator.mosquitto_files import CERTIFICATE

_DEBIAN_PLUGINS = Path(f"/usr/lib/{platform.machine()}-linux-gnu/mosquitto")


def broker_config(
    papers: Annotated[
        list[Path] | None,
        typer.Argument(help="With --meeting: files with `charter invite` of its members; - is what is piped in."),
    ] = None,
    config: Annotated[Path, typer.Option(help="The home's TOML file.")] = Path("home.toml"),
    meeting: Annotated[
        str | None, typer.Option(help="A broker for others to meet at, by this name, instead of this home's.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="With --meeting: where homes reach it, mqtts://NAME_OR_ADDRESS:8883.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="With --meeting: its key, made when there is none. Default: NAME-key.pem.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="With --meeting: the address it listens on.", show_default="0.0.0.0")
    ] = None,
    program: Annotated[
        Program, typer.Option("--for", help="nats: nats-server, as a meeting broker of many communities.")
    ] = "mosquitto-2.0",
    output: Annotated[Path | None, typer.Option(help="Write the files here; without it, look only.")] = None,
    installed_at: Annotated[
        Path | None, typer.Option(help="Where they will lie on the broker's machine, if not there.")
    ] = None,
    plugins: Annotated[
        Path | None, typer.Option(help="With --for mosquitto-2.1: where its plugins lie there, if not as here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
) -> None:
    """Write the configuration, passwords and certificate of a broker that runs as a service of its own.

    Nobody types a password: what a member says follows from keys in the charter.
    """
    if meeting is None:
        of_meeting = {"an invitation": papers, "--url": url, "--key": key, "--host": host}
        if given := [name for name, value in of_meeting.items() if value]:
            raise ConfigError(f"{given[0]} is for a meeting broker: add --meeting NAME, or leave it out")
        plan, entry = _own(config), None
        if program == "nats":
            raise ConfigError("--for nats is for a meeting broker: a home's own is Mosquitto")
    else:
        identity = _key(key or Path(f"{meeting}-key.pem"), make=output is not None)
        charters = _charters(papers)
        entry = _entry(meeting, url, charters, identity)
        plan = plan_meeting(entry, host or "0.0.0.0", charters, identity)
    target = (installed_at or output or Path("/etc/mosquitto/commonwatt")).absolute()
    there = plugins or find_plugins()
    files = service_files(plan, program, target, WallClock().now(), plugins=(there or _DEBIAN_PLUGINS).absolute())
    if output is None:
        _print(files)
        typer.echo("Next: the same with --output FOLDER writes the files, with passwords and certificate.")
        return
    _write(output, files, force)
    _say(plan, entry, target, program)
    if program == "mosquitto-2.1" and there is None:
        typer.echo(f"No Mosquitto 2.1 here: its plugins are taken to lie in {_DEBIAN_PLUGINS}, as on Debian. Otherwise")
        typer.echo("run this again with --force and --plugins FOLDER (find /usr -name mosquitto_password_file.so).")


def _own(config: Path) -> ServicePlan:
    settings = load_config(config)
    identity = Identity.load(settings.community.key_file)
    clock: Clock = settings.clock.clock() if settings.clock else WallClock()
    charter = current_charter(settings, identity, clock.now())
    return plan_own(settings, charter, identity)


def _key(path: Path, *, make: bool) -> Identity:
    """Return the keys of a meeting broker; they are made once, and kept apart from what the broker itself reads."""
    if not path.exists() and not make:
        return Identity.generate()  # to look at what would be written
    if not path.exists():
        identity = Identity.generate()
        identity.save(path)
        typer.echo(f"Wrote {path}: who has it can play this broker. Keep it apart from the broker's files.")
        return identity
    return Identity.load(path)


def _charters(papers: list[Path] | None) -> list[Charter]:
    """Return the charters that hold, one for each community whose papers were given.

    Raises:
        ConfigError: If what was given is no charter, or a signature does not fit.
    """
    if not papers:
        return []
    found: dict[str, History] = {}
    for paper in read_papers(papers):
        if isinstance(paper, History):
            known = found.get(paper.charter.hash)
            found[paper.charter.hash] = paper if known is None else known.merged(paper)
    if not found:
        raise ConfigError("no charter found: ask a member for `commonwatt charter invite`")
    for history in found.values():
        check_founding(history)
        history.check()
    now_ms = unix_ms(WallClock().now())
    return [history.in_force(now_ms) for history in found.values()]


def _entry(name: str, url: str | None, charters: list[Charter], identity: Identity) -> MeetingBroker:
    brokers = [broker for charter in charters for broker in charter.meeting or ()]
    known = next((broker for broker in brokers if broker.id == identity.id), None)
    if known is not None and url is None:
        return known
    if url is None:
        raise ConfigError("--url is missing: where do homes reach this broker? mqtts://NAME_OR_ADDRESS:8883")
    if not is_encrypted(check_given(url)):
        raise ConfigError(f"{url}: a meeting broker is somebody else's, so links to it are encrypted: write mqtts://")
    return meeting_entry(name, url, identity)


def _print(files: dict[str, str]) -> None:
    for name, text in files.items():
        if name not in SECRET_FILES and name != CERTIFICATE:
            typer.echo(f"# ----- {name}\n{text}")


def _write(folder: Path, files: dict[str, str], force: bool) -> None:
    """Write the files for their owner's eyes only.

    Raises:
        ConfigError: If one is there already, or the folder cannot be written.
    """
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        raise ConfigError(f"{folder / there[0]} exists already: add --force to write over it, or choose another folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in files.items():
            new = folder / f".{name}.new"
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            new.replace(folder / name)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}): choose another folder") from None


def _say(plan: ServicePlan, entry: MeetingBroker | None, target: Path, program: Program) -> None:
    """Print who may come in, and what to do next."""
    where = ", ".join(f"{each.host}:{each.port}{' (encrypted)' if each.tls else ''}" for each in plan.listeners)
    typer.echo(f"Wrote the files of {plan.name}'s broker, which will listen on {where}.")
    typer.echo(f"{len(plan.users)} may come in." if plan.users else "Nobody may come in yet: no charter has it.")
    if entry is not None and not plan.users:
        typer.echo(f"\n{block(BrokerCard(broker=entry))}\n")
        typer.echo("Next: send the block to the members. They found with it (`charter found NAME CARDS... BLOCK_FILE`)")
        typer.echo("or vote for it (`charter propose --add BLOCK_FILE`). Then one of them sends you `charter invite`,")
        typer.echo("and the same command with that file and --force lets them in.")
        return
    if program == "nats":
        typer.echo(f"Next: chown -R nats: {target}; nats-server -c {target / NATS_CONFIG}, as the user nats")
        return
    typer.echo(f"Next: chown -R mosquitto: {target}")
    typer.echo(f"      ln -sf {target}/commonwatt.conf /etc/mosquitto/conf.d/; systemctl restart mosquitto")
    if entry is None:
        typer.echo("Then take [broker] with all its users out of home.toml: the agent need not start one any more.")
