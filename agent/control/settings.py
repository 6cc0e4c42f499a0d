"""What the owner says about control."""

from pydantic import BaseModel, ConfigDict, Field


class ControlSettings(BaseModel):
    """`[control]` in the configuration. All times are wall seconds, whatever the speed of the slots.

    Attributes:
        enabled: Whether the owner wants the battery commanded at all.
        commissioned: Whether signs and effect were checked on this installation; without it nothing is ever written.
        reversion_s: The device's own timer, after which it forgets our command; refreshed at a third of it.
        lease_s: How long one wish of the agent's holds when it is not renewed.
        stale_after_s: Age from which a reading may not be acted upon.
        deadband_w: Setpoint changes below this wait for the next refresh.
        min_write_s: Least time between two setpoints; registers and batteries dislike haste.
        tick_s: How often the guard looks when nothing happens.
        misses: Readings in a row that must show the battery elsewhere before control is given up.
        share: Whether this home tells its neighbours how far it is from its plan, and shares such deviations.
        share_wh_per_day: Most the battery moves per day for the neighbours on top of its own; None for no such limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    commissioned: bool = False
    reversion_s: int = Field(60, ge=3, le=60)
    lease_s: float = Field(15.0, gt=0, le=60)
    stale_after_s: float = Field(15.0, gt=0, le=60)
    deadband_w: float = Field(30.0, ge=0)
    min_write_s: float = Field(5.0, ge=0)
    tick_s: float = Field(0.5, gt=0, le=5)
    misses: int = Field(3, ge=1)
    share: bool = True
    share_wh_per_day: float | None = Field(None, ge=0)

    @property
    def may_write(self) -> bool:
        """Whether the guard may send anything but reads."""
        return self.enabled and self.commissioned
