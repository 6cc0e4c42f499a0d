"""What the guard is asked for, and what it does about it. Pure."""

import math
from dataclasses import dataclass

from agent.control.effect import Tolerance
from agent.control.priorities import Party


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A wish of the agent's, which ends by itself; `party` is who has it, a contract or the price."""

    target_w: float
    reason: str
    until_s: float
    party: Party = Party.PRICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What the guard must know of the device: timers and how its effect shows.

    Attributes:
        pv_max_w: More sun than this is a misread: a setpoint that includes it would move the battery by as much.
    """

    reversion_s: int
    refresh_s: float
    includes_pv: bool
    tolerance: Tolerance
    pv_max_w: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Write a setpoint now: `battery_w` + discharges, `pv_w` flows behind the same inverter.

    Attributes:
        until_s: When wish and reading it follows from have grown old: what was not written by then must not be.
    """

    battery_w: float
    pv_w: float
    reason: str
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    """Hand the battery back to the device now."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Write nothing now."""


Action = Command | LetGo | Keep
