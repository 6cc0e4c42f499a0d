"""What is taken away in turn: for each row of CONTROL_POINTS.md who is killed, frozen, cut off or taken over, and how."""

import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from evil_tricks import delays, drops, exaggerates, forges, lies, loses, replays, shows_each_another
from evil_wire import Trick
from removed_street import HOMES, WRONG_CLOCK, HeldStreet, children

from agent.demo.launch import Part

How = Literal["killed", "frozen", "cut off", "taken over"]
Fault = Callable[[HeldStreet], AbstractAsyncContextManager[None]]

VICTIM, LIAR = "home-3", "home-4"
"""A home with a battery that buys in every slot, and one without that sells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One part that is taken away.

    Attributes:
        row: The component in CONTROL_POINTS.md.
        what: What exactly, in a few words.
        touched: Homes that need not trade while it lasts; all others have to.
        own_way: Homes whose battery has to be on its own once the inverter's timer has ended.
        without_devices: Homes whose devices cannot be asked.
        lasts_s: At least so long [wall s].
    """

    row: str
    how: How
    what: str
    fault: Fault
    touched: tuple[str, ...] = (VICTIM,)
    own_way: tuple[str, ...] = ()
    without_devices: tuple[str, ...] = ()
    lasts_s: float = 0.0
    liar: str | None = None


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
    for name in HOMES:
        if name != VICTIM:
            await street.demo.brokers[name].refuse(frozenset({me}))
    yield
    await street.demo.brokers[VICTIM].become("open")
    for name in HOMES:
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
    return [street.file(name).id for name in HOMES]


NEIGHBOUR, OWN = "a neighbour's broker", "own broker"
CASES = (
    Case(row=OWN, how="killed", what="its broker's process", fault=ended("broker")),
    Case(row=OWN, how="frozen", what="its broker's process", fault=stopped("broker")),
    Case(row=OWN, how="cut off", what="its house from all neighbours", fault=alone),
    Case(row=NEIGHBOUR, how="cut off", what="what it tells others is held", fault=broker_wire("silent"), lasts_s=15),
    Case(row=NEIGHBOUR, how="taken over", what="it delays half of all messages by up to 10 minutes",
         fault=tricked(lambda street, chance: delays(chance, 600 / street.demo.speed), [VICTIM])),
    Case(row=NEIGHBOUR, how="taken over", what="it drops half of all messages",
         fault=tricked(lambda street, chance: drops(chance, 0.5), [VICTIM])),
    Case(row=NEIGHBOUR, how="taken over", what="it replays old messages, three for each new one",
         fault=tricked(lambda street, chance: replays(chance), [VICTIM])),
    Case(row=NEIGHBOUR, how="taken over", what="it forges messages of every home, sixteen for each true one",
         fault=tricked(lambda street, chance: forges(chance, ids(street)), [VICTIM])),
    Case(row=NEIGHBOUR, how="taken over", what="it shows each neighbour another half of the messages",
         fault=tricked(lambda street, chance: shows_each_another(chance), [VICTIM])),
    Case(row="wire between homes", how="cut off", what="two homes from each other", fault=one_pair_apart,
         touched=(VICTIM, LIAR)),
    Case(row="messages and their loss", how="taken over",
         what="every wire loses, repeats and delays a tenth of all messages",
         fault=tricked(lambda street, chance: loses(chance, 0.1), HOMES), touched=()),
    Case(row="a neighbour that lies or stalls", how="killed", what="its agent", fault=ended("agent"),
         own_way=(VICTIM,)),
    Case(row="a neighbour that lies or stalls", how="frozen", what="its agent", fault=stopped("agent"),
         own_way=(VICTIM,)),
    Case(row="a neighbour that lies or stalls", how="taken over",
         what="it signs other prices, bids, offers, positions for each reader",
         fault=tricked(lambda street, chance: lies(chance, street.identity(LIAR)), [LIAR]),
         touched=(LIAR,), liar=LIAR),
    Case(row="a neighbour that lies about its deviation", how="taken over", what="it signs the largest numbers there are",
         fault=tricked(lambda street, chance: exaggerates(chance, street.identity(LIAR)), [LIAR]),
         touched=(LIAR,), liar=LIAR),
    Case(row="charter (members, rules)", how="taken over", what="the paper of all homes is another, unsigned one",
         fault=forged_charter, touched=(), lasts_s=17),
    Case(row="battery and inverter", how="killed", what="its guard", fault=guard_gets(signal.SIGKILL)),
    Case(row="battery and inverter", how="frozen", what="its guard", fault=guard_gets(signal.SIGSTOP)),
    Case(row="battery and inverter", how="killed", what="its inverter and meter", fault=ended("simulator"),
         without_devices=(VICTIM,)),
    Case(row="battery and inverter", how="frozen", what="its inverter and meter", fault=stopped("simulator"),
         without_devices=(VICTIM,)),
    Case(row="Modbus network", how="cut off", what="agent and guard from the devices", fault=modbus("cut"),
         own_way=(VICTIM,)),
    Case(row="Modbus network", how="taken over", what="three bits of every answer are changed", fault=garbled_modbus,
         own_way=(VICTIM,)),
    Case(row="clock (NTP)", how="taken over", what="a home's clock is set 20 minutes ahead",
         fault=clock_off(timedelta(minutes=20)), touched=(WRONG_CLOCK,)),
    Case(row="clock (NTP)", how="taken over", what="a home's clock is set 20 minutes back",
         fault=clock_off(timedelta(minutes=-20)), touched=(WRONG_CLOCK,)),
)  # fmt: skip
