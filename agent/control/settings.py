"""What the owner says about control."""

from pydantic import BaseModel, ConfigDict, Field


class ExternalSettings(BaseModel):
    """`[control.external]`: the network operator may limit the battery, through a program on this machine.

    Attributes:
        heartbeat_s: A limit older than this has ended; then the failsafe holds until the next one.
        failsafe_charge_w: Most charging power while the operator is silent.
        failsafe_discharge_w: Most discharging power then; None for no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    heartbeat_s: float = Field(120.0, gt=0, le=3600)
    failsafe_charge_w: float = Field(0.0, ge=0)
    failsafe_discharge_w: float | None = Field(None, ge=0)


class ControlSettings(BaseModel):
    """`[control]` in the configuration. All times are wall seconds, whatever the speed of the slots.

    Attributes:
        enabled: Whether the owner wants the battery commanded at all. It is, once it has been commissioned too.
        reversion_s: The device's own timer, after which it forgets our command; refreshed at a third of it.
        lease_s: How long one wish of the agent's holds when it is not renewed.
        stale_after_s: Age from which a reading may not be acted upon; from a third of it on, power only shrinks.
        deadband_w: Setpoint changes below this wait for the next refresh.
        min_write_s: Least time between two setpoints; registers and batteries dislike haste.
        ramp_pct_per_s: How fast the battery's power may grow, in percent of its limit; it may always shrink at once.
        jitter_s: At the start of a slot each home goes on as before for a random part of this, so that the homes of a
            street do not all move at once; slot seconds, at most a fifteenth of the slot.
        return_s: After a power cut that the street may have shared, each home waits for a random part of this.
        tick_s: How often the guard looks when nothing happens.
        misses: Readings in a row that must show the battery elsewhere before control is given up.
        external: Who else may limit the battery; None for nobody.
        share: Whether this home tells its neighbours how far it is from its plan, and shares such deviations.
        share_wh_per_day: Most the battery moves per day for the neighbours on top of its own; None for no such limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    reversion_s: int = Field(60, ge=3, le=60)
    lease_s: float = Field(15.0, gt=0, le=15)
    stale_after_s: float = Field(15.0, gt=0, le=60)
    deadband_w: float = Field(50.0, ge=0)
    min_write_s: float = Field(5.0, ge=0)
    ramp_pct_per_s: float = Field(10.0, gt=0)
    jitter_s: float = Field(60.0, ge=0, le=600)
    return_s: float = Field(600.0, ge=0, le=3600)
    tick_s: float = Field(0.5, gt=0, le=5)
    misses: int = Field(3, ge=1)
    external: ExternalSettings | None = None
    share: bool = True
    share_wh_per_day: float | None = Field(None, ge=0)
