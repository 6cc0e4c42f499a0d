"""What `commonwatt charter` reads from a terminal and prints on it."""

import contextlib
import io
import json
import secrets
import sys
import termios
from collections.abc import Sequence
from dataclasses import asdict

import typer

from agent.charter_blocks import block
from agent.charter_desk import Said
from agent.charter_rules import rule_words, rules_lines
from agent.charter_words import overview
from coordinator.charter import Rules
from coordinator.charter_history import History
from coordinator.charter_votes import quorum
from coordinator.errors import ConfigError


def at_terminal() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty()


def pasted() -> str:
    """Return what is piped or pasted into the terminal, up to an empty line after a block's end."""
    if not at_terminal():
        return sys.stdin.read()
    typer.echo("Paste the blocks, then press Enter on an empty line:", err=True)
    lines: list[str] = []
    for line in sys.stdin:
        lines.append(line)
        if not line.strip() and any("END COMMONWATT" in each for each in lines):
            break
    return "".join(lines)


def agrees(question: Sequence[str], *, as_json: bool) -> bool:
    """Show what would be signed and ask.

    What was pasted must not answer: the rest of it is thrown away, and the answer is a number it cannot know.

    Raises:
        ConfigError: If nobody can be asked.
    """
    if as_json or not at_terminal():
        raise ConfigError("nobody can be asked here: look with `commonwatt charter show`, then add --yes to sign")
    echo(question, err=True)
    with contextlib.suppress(termios.error, io.UnsupportedOperation):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    number = str(10 + secrets.randbelow(90))
    typed: str = typer.prompt(f"Type {number} to sign this, n not to", err=True)
    return typed.strip() == number


def show(said: Said, *, as_json: bool) -> None:
    """Print what was done, the blocks to pass on, and what comes next."""
    blocks = [block(paper) for paper in said.papers]
    if as_json:
        plain = {"lines": list(said.lines), "blocks": blocks, "next": list(said.next_steps)}
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
        return
    echo(said.lines)
    for each in blocks:
        typer.echo(f"\n{each}\n")
    echo([f"Next: {step.removeprefix('Next: ')}" if n == 0 else step for n, step in enumerate(said.next_steps)])


def echo(lines: Sequence[str], *, err: bool = False) -> None:
    for line in lines:
        typer.echo(line, err=err)


def show_rules(rules: Rules, *, as_json: bool) -> None:
    """Print every rule with its bounds and its value here."""
    if as_json:
        here = rules.model_dump(mode="json")
        plain = [{**asdict(each), "here": here[each.name]} for each in rule_words()]
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        echo(rules_lines(rules))


def show_json(history: History, coming: History | None, now_ms: int) -> None:
    """Print the charter in force and what is proposed, for scripts."""
    here = history.in_force(now_ms)
    plain = {
        "community": here.community_id,
        "epoch": here.epoch,
        "hash": here.hash,
        "quorum": quorum(len(here.members)),
        "waiting_s": here.change_wait_s,
        "charter": here.model_dump(mode="json", exclude_none=True),
        "absent": sorted({member.id for member in here.members} - set(here.by_id)),
        "proposals": [
            {
                "hash": change.charter.hash,
                "epoch": change.charter.epoch,
                "effective_ms": change.charter.effective_ms,
                "votes": sorted(history.tallies[change.charter.hash].voters),
                "accepted": history.tallies[change.charter.hash].accepted,
            }
            for change in history.open_changes(now_ms)
        ],
        "void": [change.charter.hash for change in history.void_changes(now_ms)],
        "coming": None if coming is None else {"community": coming.charter.community_id, "unsigned": coming.unsigned},
        "text": overview(history, coming, now_ms),
    }
    typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
