"""The walk through commissioning: what is asked, measured and proven before a battery may be commanded. No I/O.

Nothing is commanded before the owner has confirmed every value and a known load has shown the meter's sign; then a
small pulse shows that battery and meter move the right way, and silence that the device ends a command by itself.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.commission_judge import Facts, judge_load, judge_pulse, load_words, pulse_words
from agent.commission_talk import LetGo, Powers, Prepare, Talk, ask, command, compare, look, mean, powers, tell, watch
from agent.devices.commissioning import AgreedEnvelope, CommissioningError, CommissioningStep
from agent.devices.reading import HomeReading
from agent.live_words import device_words

ROOM_PCT = 2.0
"""The battery must be so far inside the owner's limits: a pulse needs room both ways."""
LOAD_TRIES = 3
PULSE_TRIES = 2
STEADY = 1 / 3
"""Share of a pulse that is measured, at its end: batteries take their time."""
LATE = (1.25, 10.0)
"""How much later than its timer a device may end a command: share of it, and seconds. 80 s were seen for 60."""
SOON = 0.5
"""A device that ends a command in less than this share of its timer would drop out between two refreshes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long and how much. The defaults suit a real home."""

    pulse_w: float = 200.0
    pulse_s: float = 60.0
    settle_s: float = 10.0
    load_w: float = 1000.0
    load_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be commissioned.

    Attributes:
        reversion_s: The device's timer as it will be set; None for a device without one, which the owner unlocked.
        refresh_s: How often a command is repeated.
        sun: Whether any device reads panels.
        narrowed: In which words the device bears less than the owner's settings allow.
    """

    meter: Facts
    battery: Facts
    envelope: AgreedEnvelope
    reversion_s: int | None
    refresh_s: float
    sun: bool = True
    narrowed: str | None = None
    times: Times = field(default_factory=Times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All is well. `reversion_s` is how long the device took to end a command, its timer at least."""

    steps: tuple[CommissioningStep, ...]
    reversion_s: int | None


def walk(plan: Plan) -> Talk[Outcome]:
    """Walk the owner through everything.

    Raises:
        CommissioningError: Something is wrong; names cause and cure. The battery may still be under command.
    """
    allowed_w, pulse_w = min(plan.envelope.charge_w, plan.envelope.discharge_w), plan.times.pulse_w
    if allowed_w < pulse_w:
        raise CommissioningError(
            f"[battery] allows {allowed_w} W, less than the {pulse_w:g} W that show whether the battery obeys: it can "
            "only be read"
        )
    steps = yield from _meaning(plan)
    steps += yield from _known_load(plan)
    free = yield from _begin(plan)
    steps += yield from _pulses(plan)
    reversion_s = None
    if plan.reversion_s is not None:
        reversion_s, step = yield from _reversion(plan, plan.reversion_s, free)
        steps.append(step)
    refused = yield LetGo()
    if refused is not None:
        raise CommissioningError(f"the battery cannot be handed back: {refused}")
    steps.append((yield from _limits(plan)))
    return Outcome(steps=tuple(steps), reversion_s=reversion_s)


def _meaning(plan: Plan) -> Talk[list[CommissioningStep]]:
    """Let the owner compare what is read with what the devices themselves show."""
    asked = "Does its display say that, amount and direction"
    steps = [(yield from _confirm("grid", ("grid_w",), asked, plan.meter))]
    if plan.sun:
        steps.append((yield from _confirm("sun", ("pv_w",), "Does the inverter or its app say that", plan.battery)))
    asked = "Does the inverter or its app say that, charge and direction"
    steps.append((yield from _confirm("battery", ("battery_w", "soc_pct"), asked, plan.battery)))
    return steps


def _confirm(key: str, names: tuple[str, ...], asked: str, device: Facts) -> Talk[CommissioningStep]:
    while True:
        reading = yield from look()
        shown: Mapping[str, float | None] = {name: getattr(reading, name) for name in names}
        text = f"{device.name} says: {device_words(shown)}. {asked}?"
        answer = yield from ask(key, text, ("yes", "no", "again"))
        if answer == "yes":
            return _step(reading, key, "owner", "it matches", {name: value or 0.0 for name, value in shown.items()})
        if answer == "no":
            raise CommissioningError(
                f"what [devices.{device.name}] shows is not what the device shows: check its url and unit, its profile "
                f"({device.profile}) and the answers to the profile's questions; `commonwatt scan` proposes some"
            )


def _known_load(plan: Plan) -> Talk[list[CommissioningStep]]:
    times = plan.times
    text = f"Switch on a kettle, or another load of {times.load_w / 1000:g} kW or more, and leave it on."
    for left in range(LOAD_TRIES - 1, -1, -1):
        before = mean((yield from watch("measuring the house as it is", times.settle_s)))
        if (yield from ask("load", f"{text} Is it on?", ("yes", "stop"))) == "stop":
            raise CommissioningError("stopped before the check with a known load: run this again when you have one")
        readings = yield from watch("looking for the load", times.load_s)
        after, verdict = mean(readings, 0.5), judge_load(before, [powers(each) for each in readings], times.load_w)
        if verdict == "right":
            measured = _moves(before, after)
            step = _step(readings[-1], "load", "agent", "import and battery rose with the load", measured)
            yield from tell(f"Seen: {measured['load_w']:.0f} W more.")
            yield from ask("load_off", "Switch it off again. Is it off?", ("yes",))
            return [step]
        if verdict != "unseen" or not left:
            raise CommissioningError(load_words(verdict, plan.meter, plan.battery))
        yield from tell("Nothing moved enough. Switch it off, and let us try once more.")
        yield from ask("load_off", "Is it off?", ("yes",))
    raise AssertionError("unreachable")


def _begin(plan: Plan) -> Talk[Powers]:
    """Ask for leave and set the timer; return what the house does without any command."""
    times = plan.times
    readings = yield from watch("measuring the house as it is", times.settle_s)
    soc_pct, low, high = readings[-1].soc_pct or 0.0, plan.envelope.reserve_pct, plan.envelope.max_pct
    if not low + ROOM_PCT <= soc_pct <= high - ROOM_PCT:
        raise CommissioningError(
            f"the battery is at {soc_pct:.0f} % and your limits are {low:g} and {high:g} %: a pulse needs room both "
            "ways. Run this again when it is in between"
        )
    minutes = math.ceil((5 * times.pulse_s + 1.5 * (plan.reversion_s or 0)) / 60)
    text = (
        f"Now the battery rests, charges with {times.pulse_w:.0f} W, rests, and gives {times.pulse_w:.0f} W, each for "
        f"{times.pulse_s:.0f} s, and then is left alone to see that it returns by itself: {minutes} minutes in all. "
        "Ctrl-C hands it back at once. Shall it begin?"
    )
    if (yield from ask("pulse", text)) == "no":
        raise CommissioningError("stopped before the pulse: run this again when it suits")
    refused = yield Prepare()
    if refused is not None:
        raise CommissioningError(f"nothing would end a command when this computer fails: {refused}; do not control it")
    return mean(readings)


def _pulses(plan: Plan) -> Talk[list[CommissioningStep]]:
    steps = []
    for key, wanted_w in (("charge", -plan.times.pulse_w), ("give", plan.times.pulse_w)):
        for left in range(PULSE_TRIES - 1, -1, -1):
            rest = mean((yield from _held(plan, "the battery rests", 0.0)), STEADY)
            doing = f"it {'gives' if wanted_w > 0 else 'charges with'} {abs(wanted_w):.0f} W"
            readings = yield from _held(plan, doing, wanted_w)
            during = mean(readings, STEADY)
            verdict, moved = judge_pulse(rest, during, wanted_w), _moves(rest, during)
            if verdict == "right":
                break
            if verdict not in ("restless", "meter_turned") or not left:
                seen_w = moved["battery_w"]
                raise CommissioningError(pulse_words(verdict, seen_w, wanted_w, plan.meter, plan.battery))
            yield from tell("The meter does not show the pulse: perhaps something was switched just then. Once more.")
        measured = moved | {"pulse_w": wanted_w, "pulse_s": plan.times.pulse_s}
        steps.append(_step(readings[-1], key, "agent", "battery and meter moved the right way", measured))
        yield from tell(f"Seen: battery {moved['battery_w']:+.0f} W, grid {moved['grid_w']:+.0f} W.")
    return steps


def _reversion(plan: Plan, timer_s: int, free: Powers) -> Talk[tuple[int, CommissioningStep]]:
    """Command what the battery would not do by itself, fall silent, and see it return."""
    held_w = max((-plan.times.pulse_w, plan.times.pulse_w), key=lambda power_w: abs(power_w - free.battery_w))
    held = yield from _held(plan, "once more under command", held_w)
    yield from command(held_w)
    silent_s, since_s, latest_s = held[-1].monotonic_s, 0.0, LATE[0] * timer_s + LATE[1]
    away = 0
    while True:
        reading = yield from look("silent: it must return by itself", since_s, latest_s)
        since_s = reading.monotonic_s - silent_s
        stands = yield from compare()
        away = away + 1 if stands.off_w >= plan.times.pulse_w / 2 else 0
        if away >= 2 and stands.still is None:
            break
        if since_s > latest_s:
            obeys = "does what it was told" if stands.still is None or not away else f"shows {stands.still}"
            raise CommissioningError(
                f"{since_s:.0f} s after the last word the battery still {obeys}, although its timer says {timer_s} s: "
                "when this computer fails nothing would end a command. Do not control this device"
            )
    if since_s < SOON * timer_s:
        raise CommissioningError(
            f"the device ended the command {since_s:.0f} s after the last word, its timer says {timer_s} s: either "
            f"something else commands it too (an app, another controller: end that), or its timer is not in seconds"
        )
    step = _step(reading, "reversion", "agent", "it returned by itself", {"after_s": since_s, "timer_s": timer_s})
    yield from tell(f"Seen: {since_s:.0f} s after the last word it was on its own again.")
    return max(timer_s, math.ceil(since_s)), step


def _limits(plan: Plan) -> Talk[CommissioningStep]:
    limits, reading = plan.envelope, (yield from look())
    if plan.narrowed is not None:
        yield from tell(f"{plan.battery.name}: {plan.narrowed}.")
    text = (
        f"From now on Commonwatt may charge the battery with up to {limits.charge_w} W to {limits.max_pct:g} %, and "
        f"let it give up to {limits.discharge_w} W down to {limits.reserve_pct:g} %. Do you agree?"
    )
    if (yield from ask("limits", text)) == "no":
        raise CommissioningError(
            "no agreement on the limits: write the ones you want into [battery], and run this again"
        )
    measured = {"charge_w": limits.charge_w, "discharge_w": limits.discharge_w}
    return _step(reading, "limits", "owner", "agreed", measured)


def _held(plan: Plan, doing: str, power_w: float) -> Talk[list[HomeReading]]:
    return (yield from watch(doing, plan.times.pulse_s, hold_w=power_w, every_s=plan.refresh_s))


def _moves(before: Powers, after: Powers) -> dict[str, float]:
    return {
        "grid_w": after.grid_w - before.grid_w,
        "battery_w": after.battery_w - before.battery_w,
        "load_w": after.sum_w - before.sum_w,
    }


def _step(reading: HomeReading, what: str, by: str, answer: str, measured: Mapping[str, float]) -> CommissioningStep:
    return CommissioningStep(
        what=what,
        by="owner" if by == "owner" else "agent",
        at=reading.at,
        answer=answer,
        measured={name: round(value) for name, value in measured.items()},
    )
