"""What control needs of the home, without knowing any device. `agent.devices` fits these."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.control.envelope import Gate
from agent.control.priorities import Party

NoticeSink = Callable[[Literal["info", "warning", "error"], str], None]
"""Takes a notice for the owner: its level and its text."""


class Reading(Protocol):
    """The home at one moment; + flows into the house bus, None is unknown."""

    @property
    def load_w(self) -> float | None: ...
    @property
    def pv_w(self) -> float | None: ...
    @property
    def soc_pct(self) -> float | None: ...
    @property
    def quality(self) -> Literal["valid", "doubtful", "stale", "absent"]: ...
    @property
    def missing(self) -> tuple[str, ...]: ...


class Sample(Protocol):
    """What the controlled device said in one poll, by name.

    `battery_w`, `soc_pct` and `pv_w`; `charge_max_w` and `discharge_max_w` where the battery's management says them.
    """

    @property
    def monotonic_s(self) -> float: ...
    @property
    def values(self) -> Mapping[str, float | None]: ...
    @property
    def doubtful(self) -> Mapping[str, str]: ...


class BatteryPort(Protocol):
    """A battery that can be commanded. A text returned says what the device did instead; None is success.

    The commands raise `CommonwattError` when the link fails: then nothing is known, and the device's own timer
    releases the battery.
    """

    @property
    def name(self) -> str: ...
    @property
    def latest(self) -> Sample | None: ...
    @property
    def generation(self) -> int:
        """Grows with each new connection: what was prepared before may be gone; 0 while there is none."""
        ...

    @property
    def includes_pv(self) -> bool:
        """Whether the setpoint is pv + battery, and so must follow the sun."""
        ...

    @property
    def reversion_max_s(self) -> int: ...
    @property
    def reverts(self) -> bool:
        """Whether the device ends our command by itself when we vanish."""
        ...

    @property
    def spent(self) -> str | None:
        """Which register may not be written any more today, in words; None while all may."""
        ...

    @property
    def pace_s(self) -> float:
        """Seconds between commands that may still be given today until the day ends."""
        ...

    @property
    def look_s(self) -> float:
        """What one look of the guard takes at most, where the link is as slow and lossy as it may be."""
        ...

    @property
    def refresh_s(self) -> int: ...
    @property
    def effect_after_s(self) -> float: ...
    @property
    def effect_abs_w(self) -> float: ...
    @property
    def effect_rel(self) -> float: ...
    async def prepare(self, reversion_s: int) -> str | None: ...
    async def command(self, battery_w: float, pv_w: float, reversion_s: int, not_after_s: float) -> str | None: ...
    async def overwritten(self) -> str | None:
        """Return what of our last command somebody else has changed since."""
        ...

    async def release(self) -> str | None: ...
    def close(self) -> None:
        """Keep what must outlive this process."""
        ...


Permit = Callable[[], Awaitable[str | None]]
"""Looks whether the device that answers now may be written to; returns why not, or None when it may. Raises
`CommonwattError` when the device cannot be asked."""


class Brakes(Protocol):
    """What must outlive the guard: a person's stop, and that control was given up."""

    def prove(self) -> None:
        """Show that something can be kept now.

        Raises:
            ConfigError: It cannot.
        """
        ...

    def stopped(self) -> str | None:
        """Return why a person stopped control, or None."""
        ...

    def given_up(self) -> str | None:
        """Return why control was given up until a person resets it, or None."""
        ...

    def give_up(self, why: str) -> None:
        """Keep that control was given up.

        Raises:
            ConfigError: It cannot be kept.
        """
        ...


class GuardPort(Protocol):
    """The guard as the agent knows it, in this process or in its own."""

    @property
    def status(self) -> "GuardStatus": ...
    @property
    def gate(self) -> Gate: ...
    def lease(self, target_w: float, reason: str, *, party: Party = Party.PRICE) -> None:
        """Ask for a battery power, + discharges, until the lease ends by itself."""
        ...

    def release(self, reason: str) -> None:
        """Leave the battery to its own self-consumption."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStatus:
    """What the guard does now. `target_w` is the battery power in force, + discharges; None unless following.

    Attributes:
        obeys: Whether wishes can move the battery: it may be written to, and nobody ended control.
    """

    control: Literal["observe", "following", "released"]
    target_w: float | None
    reason: str
    obeys: bool = False
