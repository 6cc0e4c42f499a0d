"""What a profile may say about commanding a battery: ordered steps, the device's timer, and how the effect is seen."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from agent.devices.choices import Part

Variable = Literal["=reversion_s", "=reversion_min", "=battery_w", "=ac_w", "=charge_w", "=discharge_w", "=magnitude_w"]
"""What the guard fills in: the timer in seconds or whole minutes (rounded down), the wanted battery power and
pv + wanted battery (both in the house's sign), and the wanted power split by direction (each >= 0)."""
Direction = Literal["charge", "idle", "discharge"]


class StepSpec(Part):
    """Write a point: a fixed value, a variable, or by `case` the value that belongs to the wanted direction."""

    write: str
    value: float | Variable | None = None
    case: dict[Direction, float] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "StepSpec":
        if (self.value is None) == (self.case is None):
            raise ValueError("needs either value or case")
        if self.case is not None and len(self.case) != 3:
            raise ValueError("case needs charge, idle and discharge")
        return self


class RequireSpec(Part):
    """A point that must show `equals`: the owner sets it at the device; it is read before each command."""

    point: str
    equals: float


class ClampSpec(Part):
    """What the device bears, whatever the owner allows."""

    charge_w: float = Field(ge=0)
    discharge_w: float = Field(ge=0)
    soc_pct: tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]] = (0.0, 100.0)


class VanishSpec(Part):
    """What the device does when we fall silent: who ends our command, after what, and what then holds."""

    by: Literal["device", "ui", "nobody"]
    after: str
    goes_to: str


class EffectSpec(Part):
    """How the battery must be seen to follow; both limits must be broken for a miss."""

    point: str = "battery_w"
    after_s: float = Field(gt=0)
    abs_w: float = Field(gt=0)
    rel: float = Field(gt=0)


class ConfirmSpec(Part):
    read_back: tuple[str, ...] = Field(min_length=1)
    effect: EffectSpec


class ControlSpec(Part):
    """How to command the battery. `timer` is the reversion timer; without one, control needs the owner's unlock."""

    timer: str | None
    require: tuple[RequireSpec, ...] = ()
    clamp: ClampSpec | None = None
    prepare: tuple[StepSpec, ...] = ()
    cycle: tuple[StepSpec, ...] = Field(min_length=1)
    release: tuple[StepSpec, ...] = Field(min_length=1)
    lease_s: int = Field(gt=0)
    """The longest time the timer may be set to."""
    refresh_s: int = Field(gt=0)
    when_we_vanish: VanishSpec
    confirm: ConfirmSpec
    write_budget_per_day: int | None = Field(None, gt=0)
    """Writes a day that each register of the cycle bears; needed where its memory class is unknown."""

    @property
    def includes_pv(self) -> bool:
        """Whether the setpoint is the power of the whole inverter, so that it moves with the sun."""
        return any(step.value == "=ac_w" for step in self.cycle)


class ControlsSpec(Part):
    battery_w: ControlSpec


CONTROL_PARTS: tuple[type[Part], ...] = (
    StepSpec,
    RequireSpec,
    ClampSpec,
    VanishSpec,
    EffectSpec,
    ConfirmSpec,
    ControlSpec,
    ControlsSpec,
)
