"""What control needs of the home, without knowing any device. `agent.devices` fits these."""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

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
    """What the controlled device said in one poll: `battery_w`, `soc_pct`, `pv_w`, by name."""

    @property
    def monotonic_s(self) -> float: ...
    @property
    def values(self) -> Mapping[str, float | None]: ...


class BatteryPort(Protocol):
    """A battery that can be commanded. A text returned says what the device did instead; None is success.

    The three commands raise `CommonwattError` when the link fails: then nothing is known, and the device's own timer
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
    def refresh_s(self) -> int: ...
    @property
    def effect_after_s(self) -> float: ...
    @property
    def effect_abs_w(self) -> float: ...
    @property
    def effect_rel(self) -> float: ...
    async def prepare(self, reversion_s: int) -> str | None: ...
    async def command(self, battery_w: float, pv_w: float, reversion_s: int) -> str | None: ...
    async def release(self) -> str | None: ...
