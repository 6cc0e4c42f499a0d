"""How a part is killed, frozen, cut off or taken over, and given back: one context manager for each."""

import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Literal

from evil_wire import Trick
from removed_street import HeldStreet, children

from agent.demo.launch import Part

Fault = Callable[[HeldStreet], AbstractAsyncContextManager[None]]

VICTIM, LIAR = "home-3", "home-4"
"""A home with a battery that buys in every slot, and one without that sells."""


def ended(part: Part) -> Fault:
    """Kill a part of the victim, with all that it started."""

    @asynccontextmanager
    async def fault(street: HeldStreet) -> AsyncIterator[None]:
        pid = street.demo.launcher.pids()[VICTIM][part]
        _signal([pid, *children(pid)], signal.SIGKILL)
        yield
        await street.demo.launcher.start(street.file(VICTIM), part)

    return fault


def stopped(part: Part) -> Fault:
    """Freeze a part of the victim; an agent's guard is none of its parts here."""

    @asynccontextmanager
    async def fault(street: HeldStreet) -> AsyncIterator[None]:
        pid = street.demo.launcher.pids()[VICTIM][part]
        frozen = [pid] if part == "agent" else [pid, *children(pid)]
        _signal(frozen, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(frozen, signal.SIGCONT)

    return fault


def guard_gets(number: signal.Signals) -> Fault:
    """Kill or freeze the victim's guard; its agent starts another."""

    @asynccontextmanager
    async def fault(street: HeldStreet) -> AsyncIterator[None]:
        pid = street.guard_pid(VICTIM)
        _signal([pid], number)
        try:
            yield
        finally:
            _signal([pid], signal.SIGCONT)

    return fault


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def broker_wire(state: Literal["cut", "silent"]) -> Fault:
    """Cut, or hold without a word, all that neighbours read at the victim's broker."""

    @asynccontextmanager
    async def fault(street: HeldStreet) -> AsyncIterator[None]:
        await street.demo.brokers[VICTIM].become(state)
        yield
        await street.demo.brokers[VICTIM].become("open")

    return fault


@asynccontextmanager
async def alone(street: HeldStreet) -> AsyncIterator[None]:
    """Cut the victim's house off: nobody hears it, and it hears nobody."""
    me = street.file(VICTIM).id
    await street.demo.brokers[VICTIM].become("cut")
    for name in street.names:
        if name != VICTIM:
            await street.demo.brokers[name].refuse(frozenset({me}))
    yield
    await street.demo.brokers[VICTIM].become("open")
    for name in street.names:
        await street.demo.brokers[name].refuse(frozenset())


@asynccontextmanager
async def one_pair_apart(street: HeldStreet) -> AsyncIterator[None]:
    """Cut the wires between victim and liar, both ways."""
    for name, other in ((VICTIM, LIAR), (LIAR, VICTIM)):
        await street.demo.brokers[name].refuse(frozenset({street.file(other).id}))
    yield
    for name in (VICTIM, LIAR):
        await street.demo.brokers[name].refuse(frozenset())


def tricked(make: Callable[[HeldStreet, random.Random], Trick], at: Iterable[str]) -> Fault:
    """Have the brokers of these homes do a trick."""

    @asynccontextmanager
    async def fault(street: HeldStreet) -> AsyncIterator[None]:
        for name in at:
            street.demo.brokers[name].trick = make(street, random.Random(name))
        try:
            yield
        finally:
            for name in at:
                street.demo.brokers[name].trick = None

    return fault


def modbus(state: Literal["cut", "silent"]) -> Fault:
    @asynccontextmanager
    async def fault(street: HeldStreet) -> AsyncIterator[None]:
        for wire in street.demo.devices[VICTIM]:
            await wire.become(state)
        yield
        for wire in street.demo.devices[VICTIM]:
            await wire.become("open")

    return fault


@asynccontextmanager
async def garbled_modbus(street: HeldStreet) -> AsyncIterator[None]:
    """Change bits of what the victim's devices answer."""
    chance = random.Random(VICTIM)

    def garble(data: bytes) -> bytes:
        bent = bytearray(data)
        for _ in range(3):
            bent[chance.randrange(len(bent))] ^= 1 << chance.randrange(8)
        return bytes(bent)

    for wire in street.demo.devices[VICTIM]:
        wire.garble = garble
    try:
        yield
    finally:
        for wire in street.demo.devices[VICTIM]:
            wire.garble = None


def clock_off(by: timedelta) -> Fault:
    @asynccontextmanager
    async def fault(street: HeldStreet) -> AsyncIterator[None]:
        street.demo.set_clock_ahead(by)
        yield
        street.demo.set_clock_ahead(timedelta(0))

    return fault


@asynccontextmanager
async def forged_charter(street: HeldStreet) -> AsyncIterator[None]:
    """Put a charter with another rule, and without the signatures it needs, in the place of everybody's."""
    path = street.demo.options.folder / "charter.json"
    true = path.read_text()
    forged = true.replace('"power_limit_w": 30000', '"power_limit_w": 1')
    assert forged != true
    path.write_text(forged)
    try:
        yield
    finally:
        path.write_text(true)


def ids(street: HeldStreet) -> list[str]:
    return [street.file(name).id for name in street.names]
