"""What a device profile may say: plain data, no expressions, unknown keys refused. All addresses are 0-based.

A profile states facts of a device. What the installer's choices make of the file (`parameters`, `defaults`, `when`,
`repeat`) is resolved in `choices.py` before it comes here; rules between the parts are in `rules.py`, finding and
loading in `profile.py`, the control part in `control_schema.py`.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from agent.devices.choices import ChoiceSpec, Part
from agent.devices.control_schema import CONTROL_PARTS, ControlsSpec
from agent.devices.registers import SIZES, NumberType, WordOrder
from agent.devices.sunspec import BASES

Kind = Literal["meter", "pv", "hybrid", "battery", "load"]
Pace = Literal["fast", "slow", "once"]
"""How often: at each poll, now and then, or once after each connect."""
Sign = Literal["import", "export", "production", "consumption", "discharge", "charge"]
"""What a positive raw value means."""

INTO_THE_HOUSE: frozenset[Sign] = frozenset({"import", "production", "discharge"})
"""Raw signs that already are the house's sign; the others are turned around."""

Address = Annotated[int, Field(ge=0, le=0xFFFF)]


class TcpSpec(Part):
    """Modbus TCP, or with `framing: rtu` the frames of a serial line inside a TCP connection."""

    port: int = Field(502, ge=1, le=65535)
    framing: Literal["socket", "rtu"] = "socket"


class RtuSpec(Part):
    """A serial line."""

    baud: int = Field(9600, ge=300, le=921600)
    format: str = Field("8N1", pattern=r"^[78][NEO][12]$")


class LinkSpec(Part):
    """How the device is reached unless the owner says otherwise."""

    tcp: TcpSpec | None = None
    rtu: RtuSpec | None = None
    unit: int = Field(1, ge=0, le=255)

    @model_validator(mode="after")
    def _some_way(self) -> "LinkSpec":
        if self.tcp is None and self.rtu is None:
            raise ValueError("needs tcp, rtu or both")
        return self


class Limits(Part):
    """What the far end bears."""

    functions: frozenset[Literal[3, 4, 6, 16]]
    max_read: int = Field(125, ge=1, le=125)
    even_counts: bool = False
    gap_ms: int = Field(0, ge=0, le=10_000)
    connect_wait_ms: int = Field(0, ge=0, le=30_000)
    timeout_ms: int = Field(1000, ge=50, le=15_000)
    retries: int = Field(0, ge=0, le=3)
    """Reads repeated after silence or a bad answer; writes never are."""
    max_connections: int | None = Field(None, ge=1)
    idle_close_s: int | None = Field(None, ge=1)


class ModelSpec(Part):
    """A SunSpec model by any of its ids, in order of preference; of several in the device's chain, the `nth`."""

    id: tuple[int, ...] = Field(min_length=1)
    nth: int = Field(1, ge=1)
    optional: bool = False
    """Whether the device may lack it; its points are absent then."""


class SunSpecSpec(Part):
    base: tuple[Address, ...] = BASES
    models: dict[str, ModelSpec] = Field(min_length=1)


class IdentifySpec(Part):
    """One proof that this is the device meant; all must hold before anything else is read.

    Either a text (`starts_with`) or a number (`within`, `one_of`), in a SunSpec model's point or in registers.
    """

    model: str | None = None
    point: str | None = None
    fc: Literal[3, 4] | None = None
    addr: Address | None = None
    type: NumberType | None = None
    length: int | None = Field(None, ge=1, le=64)
    """Registers of a text."""
    words: WordOrder = "big"
    starts_with: str | None = None
    within: tuple[float, float] | None = None
    one_of: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "IdentifySpec":
        in_model = (self.model, self.point)
        in_registers = (self.fc, self.addr)
        number = self.type is not None and self.length is None and (self.within is None) != (self.one_of is None)
        text = self.starts_with is not None and (self.within, self.one_of, self.type) == (None, None, None)
        if None not in in_model and in_registers == (None, None) and text and self.length is None:
            return self
        complete = (text and self.length is not None) or (number and self.starts_with is None)
        if None not in in_registers and in_model == (None, None) and complete:
            return self
        raise ValueError(
            "needs either model, point and starts_with, or fc, addr and length and starts_with, "
            "or fc, addr, type and one of within, one_of"
        )

    @property
    def size(self) -> int:
        """Registers to read."""
        return SIZES[self.type] if self.type else self.length or 0


class BlockSpec(Part):
    """Registers read in one frame, so that their values belong to one moment."""

    fc: Literal[3, 4]
    addr: Address
    count: int = Field(ge=1, le=125)
    every: Pace = "fast"


class CounterSpec(Part):
    """How an energy counter may behave."""

    max_w: float = Field(gt=0)
    """Faster growth than by this power is a misread."""
    on_drop: Literal["hold", "new_epoch"] = "hold"
    """`hold`: a lower value is believed after some polls only; `new_epoch`: at once (counters reset at each boot)."""
    resolution: float = Field(1.0, gt=0)
    """Step of the register [Wh]."""


class PointSpec(Part):
    """One value. It lies either in a `block` or in a SunSpec `model`; models bring type and scale factor."""

    block: str | None = None
    addr: Address | None = None
    regs: tuple[Address, ...] | None = None
    """Instead of addr: registers that do not lie side by side, high word first."""
    type: NumberType | None = None
    words: WordOrder = "big"
    bit: int | None = Field(None, ge=0, le=15)
    """Of a u16: the value is that bit, 0 or 1."""
    absent: tuple[float, ...] | None = None
    """Raw values that mean "absent"; without it, the defaults of the type."""
    scale_from: str | None = None
    """The point that holds the power of ten to apply; it must lie in the same block."""
    model: str | None = None
    point: str | None = None
    module: int | None = Field(None, ge=1)
    """Which repetition of the model's repeating group the point is in."""
    every: Pace = "fast"
    """Of a model's point; a block says it for its points."""
    scale: float = 1.0
    unit: str = ""
    sign: Sign | None = None
    abs: bool = False
    """Take the magnitude: some firmware shows a counter negative."""
    range: tuple[float, float] | None = None
    """In the point's unit and the house's sign; a value outside is dropped, never clipped."""
    one_of: dict[int, str] | None = None
    """Raw values that are allowed, with their meaning; another one is dropped."""
    max_step: float | None = Field(None, gt=0)
    """A larger change from one poll to the next is doubtful until the next poll confirms it."""
    counter: CounterSpec | None = None
    access: Literal["r", "rw"] = "r"
    memory: Literal["volatile", "stored", "unknown"] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "PointSpec":
        one_address = (self.addr is None) != (self.regs is None)
        in_registers = self.block is not None and one_address and self.type is not None
        in_block = in_registers and self.model is None and self.point is None and self.module is None
        in_model = None not in (self.model, self.point) and {self.block, self.addr, self.regs, self.type} == {None}
        if not (in_block or (in_model and self.scale_from is None)):
            raise ValueError("needs either block, addr (or regs) and type, or model and point")
        if self.regs is not None and len(self.regs) != self.size:
            raise ValueError(f"regs must name the {self.size} registers of a {self.type}")
        if self.bit is not None and self.type != "u16":
            raise ValueError("bit needs type u16")
        return self

    @property
    def factor(self) -> float:
        """Raw units to the point's unit in the house's sign (scale factor registers come on top)."""
        return self.scale if self.sign is None or self.sign in INTO_THE_HOUSE else -self.scale

    @property
    def size(self) -> int:
        """Registers of a block's point."""
        return SIZES[self.type] if self.type else 0

    @property
    def addresses(self) -> tuple[int, ...]:
        """The registers of a block's point, in the order in which the words are decoded."""
        if self.regs is not None:
            return self.regs
        return () if self.addr is None else tuple(range(self.addr, self.addr + self.size))


class DerivedSpec(Part):
    """A value made of points of the same poll; absent when any of them is, or more than `least` allows.

    Either a `sum` (`[+ac_w, -battery_w]`), or a `magnitude` whose sign the point `direction` says by `signs`.
    """

    sum: tuple[Annotated[str, Field(pattern=r"^[+-]\w+$")], ...] | None = Field(None, min_length=1)
    least: int | None = Field(None, ge=1)
    """Parts of the sum that must be known; the others may be inputs that nothing is connected to."""
    floor: float | None = None
    magnitude: str | None = None
    direction: str | None = None
    signs: dict[int, Literal[-1, 0, 1]] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "DerivedSpec":
        direction = (self.magnitude, self.direction, self.signs)
        if (self.sum is not None and direction == (None, None, None)) or (self.sum is None and None not in direction):
            return self
        raise ValueError("needs either sum, or magnitude, direction and signs")

    @property
    def inputs(self) -> Iterator[str]:
        """Names of the points it is made of."""
        if self.sum is not None:
            yield from (term[1:] for term in self.sum)
        else:
            yield from (name for name in (self.magnitude, self.direction) if name is not None)


class WithinSpec(Part):
    """How far two values may differ; both limits must be broken for a miss."""

    abs: float = Field(gt=0)
    rel: float = Field(0.0, ge=0)


class CheckSpec(Part):
    """Two ways to the same figure: a sum or product of points, and another point. A miss makes `equals` doubtful."""

    sum: tuple[str, ...] | None = Field(None, min_length=2)
    product: tuple[str, str] | None = None
    equals: str
    within: WithinSpec

    @model_validator(mode="after")
    def _one_form(self) -> "CheckSpec":
        if (self.sum is None) == (self.product is None):
            raise ValueError("needs either sum or product")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.sum or self.product or ()


class AsleepSpec(Part):
    """What night looks like: a device that had faded out (`below_w` or less) and then shows one of `looks`.

    While it sleeps the points `zero` are 0, and counters keep their last value.
    """

    looks: frozenset[Literal["refuses", "silent", "absent"]] = Field(min_length=1)
    below_w: float = Field(gt=0)
    zero: tuple[str, ...] = Field(min_length=1)


class Profile(Part):
    """Everything known of one kind of device, for one set of the installer's choices."""

    schema_: Literal[1] = Field(alias="schema")
    profile: str
    title: str
    kind: Kind
    evidence: Literal["desk", "simulated", "hardware"]
    """`desk`: from papers and other projects only, so it may read but not command unless the owner unlocks that."""
    link: LinkSpec = LinkSpec(tcp=TcpSpec())
    limits: Limits
    parameters: dict[str, ChoiceSpec] = Field(default_factory=dict)
    sunspec: SunSpecSpec | None = None
    identify: tuple[IdentifySpec, ...] = ()
    blocks: dict[str, BlockSpec] = Field(default_factory=dict)
    points: dict[str, PointSpec] = Field(min_length=1)
    derived: dict[str, DerivedSpec] = Field(default_factory=dict)
    checks: tuple[CheckSpec, ...] = ()
    asleep: AsleepSpec | None = None
    frozen_after_s: float | None = Field(None, gt=0)
    """All fast registers unchanged for this long: the device repeats itself instead of measuring."""
    control: ControlsSpec | None = None
    quirks: tuple[str, ...] = ()
    sources: tuple[str, ...] = Field(min_length=1)

    @property
    def provides(self) -> frozenset[str]:
        """Names of all values a poll may give."""
        return frozenset(name for name, point in self.points.items() if point.access == "r") | frozenset(self.derived)

    def pace(self, name: str) -> Pace:
        """Return how often a point is read."""
        point = self.points[name]
        return self.blocks[point.block].every if point.block is not None else point.every


PARTS: tuple[type[Part], ...] = (
    Profile,
    LinkSpec,
    TcpSpec,
    RtuSpec,
    Limits,
    ChoiceSpec,
    SunSpecSpec,
    ModelSpec,
    IdentifySpec,
    BlockSpec,
    CounterSpec,
    PointSpec,
    DerivedSpec,
    WithinSpec,
    CheckSpec,
    AsleepSpec,
    *CONTROL_PARTS,
)
KEYS: frozenset[str] = frozenset(field.alias or name for part in PARTS for name, field in part.model_fields.items())
"""Every key a profile may use anywhere, to propose the nearest to a wrong one."""
