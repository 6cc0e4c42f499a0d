"""What a device profile may say: plain data, no expressions, unknown keys refused. All addresses are 0-based.

A profile states facts of a device; rules between its parts are in `rules.py`, finding and loading in `profile.py`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.devices.registers import SIZES, NumberType, WordOrder
from agent.devices.sunspec import BASES

Kind = Literal["meter", "pv", "hybrid", "battery"]
Sign = Literal["import", "export", "production", "consumption", "discharge", "charge"]
"""What a positive raw value means."""

INTO_THE_HOUSE: frozenset[Sign] = frozenset({"import", "production", "discharge"})
"""Raw signs that already are the house's sign; the others are turned around."""

Address = Annotated[int, Field(ge=0, le=0xFFFF)]
Variable = Literal["=reversion_s", "=battery_w", "=ac_w"]
"""What the guard fills in: the timer, the wanted battery power, and pv + wanted battery (both in the house's sign)."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class TcpSpec(_Part):
    port: int = Field(502, ge=1, le=65535)


class LinkSpec(_Part):
    """How the device is reached unless the owner says otherwise."""

    tcp: TcpSpec = TcpSpec()
    unit: int = Field(1, ge=0, le=255)


class Limits(_Part):
    """What the far end bears."""

    functions: frozenset[Literal[3, 4, 6, 16]]
    max_read: int = Field(125, ge=2, le=125)
    even_counts: bool = False
    gap_ms: int = Field(0, ge=0)
    connect_wait_ms: int = Field(0, ge=0)
    timeout_ms: int = Field(1000, ge=50)


class ModelSpec(_Part):
    """A SunSpec model by any of its ids; the first in the device's chain is taken."""

    id: tuple[int, ...] = Field(min_length=1)


class SunSpecSpec(_Part):
    base: tuple[Address, ...] = BASES
    models: dict[str, ModelSpec] = Field(min_length=1)


class IdentifySpec(_Part):
    """One proof that this is the device meant; all must hold before anything else is read."""

    model: str | None = None
    point: str | None = None
    starts_with: str | None = None
    fc: Literal[3, 4] | None = None
    addr: Address | None = None
    type: NumberType | None = None
    words: WordOrder = "big"
    within: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "IdentifySpec":
        text = (self.model, self.point, self.starts_with)
        number = (self.fc, self.addr, self.type, self.within)
        if (None not in text and number == (None,) * 4) or (None not in number and text == (None,) * 3):
            return self
        raise ValueError("needs either model, point and starts_with, or fc, addr, type and within")


class BlockSpec(_Part):
    """Registers read in one frame, so that their values belong to one moment."""

    fc: Literal[3, 4]
    addr: Address
    count: int = Field(ge=1, le=125)


class PointSpec(_Part):
    """One value. It lies either in a `block` or in a SunSpec `model`; models bring type and scale factor."""

    block: str | None = None
    addr: Address | None = None
    type: NumberType | None = None
    words: WordOrder = "big"
    absent: tuple[float, ...] | None = None
    """Raw values that mean "absent"; without it, the defaults of the type."""
    model: str | None = None
    point: str | None = None
    scale: float = 1.0
    unit: str = ""
    sign: Sign | None = None
    range: tuple[float, float] | None = None
    """In the point's unit and the house's sign; a value outside is dropped, never clipped."""
    access: Literal["r", "rw"] = "r"
    memory: Literal["volatile", "stored", "unknown"] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "PointSpec":
        in_block = None not in (self.block, self.addr, self.type) and self.model is None and self.point is None
        in_model = None not in (self.model, self.point) and {self.block, self.addr, self.type} == {None}
        if in_block or in_model:
            return self
        raise ValueError("needs either block, addr and type, or model and point")

    @property
    def factor(self) -> float:
        """Raw units to the point's unit in the house's sign (scale factor registers come on top)."""
        return self.scale if self.sign is None or self.sign in INTO_THE_HOUSE else -self.scale

    @property
    def size(self) -> int:
        """Registers of a block's point."""
        return SIZES[self.type] if self.type else 0


class DerivedSpec(_Part):
    """A sum of points of the same poll, `[+ac_w, -battery_w]`; absent when any of them is."""

    sum: tuple[Annotated[str, Field(pattern=r"^[+-]\w+$")], ...] = Field(min_length=2)
    floor: float | None = None


class StepSpec(_Part):
    write: str
    value: float | Variable


class VanishSpec(_Part):
    """What the device does when we fall silent: who ends our command, after what, and what then holds."""

    by: Literal["device", "ui", "nobody"]
    after: str
    goes_to: str


class EffectSpec(_Part):
    """How the battery must be seen to follow; both limits must be broken for a miss."""

    after_s: float = Field(gt=0)
    abs_w: float = Field(gt=0)
    rel: float = Field(gt=0)


class ConfirmSpec(_Part):
    read_back: tuple[str, ...] = Field(min_length=1)
    effect: EffectSpec


class ControlSpec(_Part):
    """How to command the battery. `timer` is the reversion timer [s]; no timer in the device, no control."""

    timer: str
    prepare: tuple[StepSpec, ...] = ()
    cycle: tuple[StepSpec, ...] = Field(min_length=1)
    release: tuple[StepSpec, ...] = Field(min_length=1)
    lease_s: int = Field(gt=0)
    """The longest time the timer may be set to."""
    refresh_s: int = Field(gt=0)
    when_we_vanish: VanishSpec
    confirm: ConfirmSpec

    @property
    def includes_pv(self) -> bool:
        """Whether the setpoint is the power of the whole inverter, so that it moves with the sun."""
        return any(step.value == "=ac_w" for step in self.cycle)


class ControlsSpec(_Part):
    battery_w: ControlSpec


class Profile(_Part):
    """Everything known of one kind of device."""

    schema_: Literal[1] = Field(alias="schema")
    profile: str
    title: str
    kind: Kind
    evidence: Literal["desk", "simulated", "hardware"]
    link: LinkSpec = LinkSpec()
    limits: Limits
    sunspec: SunSpecSpec | None = None
    identify: tuple[IdentifySpec, ...] = ()
    blocks: dict[str, BlockSpec] = {}
    points: dict[str, PointSpec] = Field(min_length=1)
    derived: dict[str, DerivedSpec] = {}
    control: ControlsSpec | None = None
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = Field(min_length=1)

    @property
    def provides(self) -> frozenset[str]:
        """Names of all values a poll may give."""
        return frozenset(name for name, point in self.points.items() if point.access == "r") | frozenset(self.derived)


PARTS: tuple[type[_Part], ...] = (
    Profile,
    LinkSpec,
    TcpSpec,
    Limits,
    SunSpecSpec,
    ModelSpec,
    IdentifySpec,
    BlockSpec,
    PointSpec,
    DerivedSpec,
    StepSpec,
    VanishSpec,
    EffectSpec,
    ConfirmSpec,
    ControlSpec,
    ControlsSpec,
)
KEYS: frozenset[str] = frozenset(field.alias or name for part in PARTS for name, field in part.model_fields.items())
"""Every key a profile may use anywhere, to propose the nearest to a wrong one."""
