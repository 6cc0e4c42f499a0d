"""`commonwatt commission`: the owner and the agent look at a battery together before it may be commanded."""

import asyncio
import os
import signal
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from agent.config import HomeConfig, load_config
from coordinator.errors import ConfigError

if TYPE_CHECKING:
    from agent.commission import Times
    from agent.commission_talk import Ask, Look

INTERRUPTED = 130
STDIN = 0


def commission(
    config: Annotated[Path, typer.Option(help="The home's TOML file.")] = Path("home.toml"),
    answers: Annotated[Path | None, typer.Option(help="TOML file with an answer to every question.")] = None,
    pulse_s: Annotated[float, typer.Option(min=1, max=600, hidden=True)] = 60.0,
    settle_s: Annotated[float, typer.Option(min=1, max=600, hidden=True)] = 10.0,
    load_s: Annotated[float, typer.Option(min=1, max=600, hidden=True)] = 20.0,
) -> None:
    """Check signs, effect and timer of a battery with you, and write the signed record that lets it be commanded."""
    from agent.commission import Times
    from agent.data_folder import only_guard

    settings = load_config(config)
    owner = Terminal(Console(highlight=False, soft_wrap=True), read_answers(answers), Lines(STDIN))
    times = Times(pulse_s=pulse_s, settle_s=settle_s, load_s=load_s)
    with only_guard(settings.home.data_dir), owner:
        try:
            path = asyncio.run(_until_stopped(settings, owner, times))
        except asyncio.CancelledError:
            owner.tell("Stopped; no record was written.")
            raise typer.Exit(INTERRUPTED) from None
    owner.tell(f"All is well. Wrote {path}.")
    if not settings.control.enabled:
        owner.tell("Next: write enabled = true under [control], then start `commonwatt run`.")


async def _until_stopped(settings: HomeConfig, owner: "Terminal", times: "Times") -> Path:
    from agent.commission_devices import open_rig
    from agent.commission_rig import commission as walk
    from coordinator.clock import WallClock
    from coordinator.identity import Identity

    identity = Identity.load(settings.community.key_file)
    async with open_rig(settings, WallClock()) as rig:
        task = asyncio.ensure_future(walk(rig, owner, identity, times))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await task


def read_answers(path: Path | None) -> Mapping[str, str] | None:
    """Return the answers in a file by the key of their question; None without a file.

    Raises:
        ConfigError: It cannot be read.
    """
    if path is None:
        return None
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f'{path}: cannot be read as answers ({error}); write lines like grid = "yes"') from None
    return {key: str(value) for key, value in found.items()}


class Lines:
    """Lines of a file descriptor, without holding up the rest of the program."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._typed = b""

    async def next(self) -> str:
        """Return the next line that is typed.

        Raises:
            ConfigError: Nobody can type any more.
        """
        while b"\n" not in self._typed:
            await self._readable()
            more = os.read(self._descriptor, 4096)
            if not more:
                raise ConfigError("nobody answers here: run this in a terminal, or give --answers FILE")
            self._typed += more
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(errors="replace")

    async def _readable(self) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        try:
            loop.add_reader(self._descriptor, ready.set)
        except PermissionError:
            return  # a plain file is always readable
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._descriptor)


class Terminal:
    """The owner in front of a terminal, or a file of answers. Implements `agent.commission_rig.Owner`."""

    def __init__(self, console: Console, answers: Mapping[str, str] | None, typed: Lines) -> None:
        self._console = console
        self._answers = answers
        self._lines = typed
        columns = (TextColumn("  {task.description}"), BarColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task: TaskID | None = None
        self._doing = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._rest()

    async def ask(self, question: "Ask") -> str:
        self._rest()
        choice = "/".join(question.answers)
        self._console.print(f"\n{question.text}", style="bold", markup=False)
        if self._answers is not None:
            answer = self._answers.get(question.key)
            if answer is None or answer not in question.answers or answer == "again":
                raise ConfigError(f"the file of answers has no {question.key} = one of {choice}")
            self._console.print(f"[{choice}] {answer}", markup=False)
            return answer
        while True:
            self._console.print(f"[{choice}] ", end="", markup=False)
            typed = (await self._lines.next()).strip().lower()
            meant = [answer for answer in question.answers if typed and answer.startswith(typed)]
            if len(meant) == 1:
                return meant[0]

    def tell(self, text: str) -> None:
        self._rest()
        self._console.print(text, markup=False)

    def watch(self, look: "Look") -> None:
        """Show a bar where a while is watched; one look alone needs none."""
        if look.for_s <= 0:
            return
        if self._task is None or look.doing != self._doing:
            self._rest()
            self._doing = look.doing
            self._task = self._progress.add_task(look.doing, total=look.for_s)
            self._progress.start()
        self._progress.update(self._task, completed=look.since_s, total=look.for_s)

    def _rest(self) -> None:
        if self._task is not None:
            self._progress.stop()
            self._progress.remove_task(self._task)
            self._task = None
