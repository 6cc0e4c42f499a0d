"""How commissioning talks to the world: what a step may ask for and what it gets back. No I/O.

A step is a generator: it yields a request and receives the reply, so that each step reads from top to bottom like the
conversation that it is, and a test can be the owner, the house and the inverter.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agent.devices.commissioning import CommissioningError
from agent.devices.reading import HomeReading

T = TypeVar("T")

PATIENCE_S = 30.0
"""So long the devices may show nothing that can be used."""
NEEDED = frozenset({"grid_w", "pv_w", "battery_w", "soc_pct"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question to the owner; the reply is one of `answers`. `key` names it in a file of answers."""

    key: str
    text: str
    answers: tuple[str, ...] = ("yes", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Something the owner should know; no reply."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Look at all devices once; the reply is a `HomeReading`.

    Attributes:
        doing: What is watched, for a progress bar.
        since_s: For how long already, of `for_s`.
    """

    doing: str = "looking"
    since_s: float = 0.0
    for_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Set the device's timer; the reply is why the battery must not be commanded, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Command the battery, + discharges; the reply is what the device did instead, or None."""

    battery_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """Compare what the device showed at the last look with what it was last told; the reply is a `Standing`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    """Hand the battery back; the reply is what the device did instead, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a device stands to its last command.

    Attributes:
        off_w: How far it is from the power that was written, of the battery or of battery and sun together [W]; 0
            where that cannot be told.
        still: The register by which it says that it obeys, with its value, where the power alone proves nothing.
    """

    off_w: float
    still: str | None


Request = Ask | Tell | Look | Prepare | Command | Compare | LetGo
Reply = str | HomeReading | Standing | None
Talk = Generator[Request, Reply, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Powers:
    """Mean powers of a while; + flows into the house bus."""

    grid_w: float
    pv_w: float
    battery_w: float

    @property
    def sum_w(self) -> float:
        """What the house uses, if every sign is right."""
        return self.grid_w + self.pv_w + self.battery_w


def ask(key: str, text: str, answers: tuple[str, ...] = ("yes", "no")) -> Talk[str]:
    reply = yield Ask(key=key, text=text, answers=answers)
    assert isinstance(reply, str)
    return reply


def tell(text: str) -> Talk[None]:
    yield Tell(text=text)


def command(battery_w: float) -> Talk[None]:
    """Command the battery.

    Raises:
        CommissioningError: The device did something else.
    """
    refused = yield Command(battery_w=battery_w)
    if refused is not None:
        raise CommissioningError(f"the device does not take a command: {refused}")


def compare() -> Talk[Standing]:
    reply = yield Compare()
    assert isinstance(reply, Standing)
    return reply


def look(doing: str = "looking", since_s: float = 0.0, for_s: float = 0.0) -> Talk[HomeReading]:
    """Return a reading all of whose powers may be believed.

    Raises:
        CommissioningError: There is none for `PATIENCE_S`.
    """
    first_s: float | None = None
    while True:
        reading = yield Look(doing=doing, since_s=since_s, for_s=for_s)
        assert isinstance(reading, HomeReading)
        lacking = sorted(NEEDED & set(reading.missing))
        if not lacking and None not in (reading.grid_w, reading.pv_w, reading.battery_w, reading.soc_pct):
            return reading
        first_s = reading.monotonic_s if first_s is None else first_s
        if reading.monotonic_s - first_s > PATIENCE_S:
            what = ", ".join(lacking) or "the battery's charge"
            raise CommissioningError(f"no value of {what} that can be believed: correct what `commonwatt check` says")


def watch(doing: str, for_s: float, *, hold_w: float | None = None, every_s: float = 5.0) -> Talk[list[HomeReading]]:
    """Return the readings of a while, at least one.

    Args:
        hold_w: Command this battery power at the beginning, and again every `every_s` seconds; always right after a
            look, because a command may need the sun of that moment, and the owner may have been asked something.

    Raises:
        CommissioningError: The device does not take the command, or shows nothing.
    """
    readings: list[HomeReading] = []
    begun_s = held_s = 0.0
    if hold_w is not None:
        yield from look()
    while True:
        if hold_w is not None and (not readings or readings[-1].monotonic_s - held_s >= every_s):
            yield from command(hold_w)
            held_s = readings[-1].monotonic_s if readings else float("-inf")
        reading = yield from look(doing, readings[-1].monotonic_s - begun_s if readings else 0.0, for_s)
        if not readings:
            begun_s = reading.monotonic_s
            held_s = max(held_s, begun_s)
        readings.append(reading)
        if reading.monotonic_s - begun_s >= for_s:
            return readings


def powers(reading: HomeReading) -> Powers:
    return Powers(grid_w=reading.grid_w or 0.0, pv_w=reading.pv_w or 0.0, battery_w=reading.battery_w or 0.0)


def mean(readings: Sequence[HomeReading], share: float = 1.0) -> Powers:
    """Return the mean powers of the last `share` of some readings, at least of one."""
    last = [powers(reading) for reading in readings[-max(1, round(share * len(readings))) :]]
    return Powers(
        grid_w=sum(each.grid_w for each in last) / len(last),
        pv_w=sum(each.pv_w for each in last) / len(last),
        battery_w=sum(each.battery_w for each in last) / len(last),
    )
