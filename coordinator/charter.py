"""The community's rules and members: a file that every founder signed. There is no admin key.

The community's id is the hash of the founding charter, so a changed file is another community. Changes by a quorum of
the members' signatures are a later chapter; what is here never accepts a charter that one founder did not sign.
"""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from coordinator.errors import ConfigError
from coordinator.identity import Identity, decode_base64, encode_base64, home_id, verify

PriceRule = Literal["midpoint", "marginal", "sdr"]
DEFAULT_RULE: PriceRule = "midpoint"
DisplayName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w .-]{0,23}$")]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_SCALED = (
    *("ready_s", "rounds_s", "offers_s", "expiry_s", "gate_s", "round_timeout_s"),
    *("residual_offers_s", "residual_expiry_s", "residual_gate_s"),
    "sharing_limit_wh",
)
"""What is in proportion to the slot's length."""


class Rules(_Document):
    """How the members trade. Powers are W, energies Wh, times seconds of slot time.

    They count back from the slot's start, those of the residual round on from its end.
    """

    slot_s: int = Field(900, ge=60, le=3600)
    horizon_slots: int = Field(96, ge=1, le=288)
    ready_s: int = Field(780, description="homes announce that they take part")
    rounds_s: int = Field(600, description="round 1 begins: the roster is fixed")
    offers_s: int = Field(240, description="the last round ends: buyers send offers")
    expiry_s: int = Field(150, description="offers without an answer lapse")
    gate_s: int = Field(90, description="gate closure: positions are fixed")
    round_timeout_s: int = Field(45, ge=1, description="a round waits this long for missing bids")
    round_limit: int = Field(30, ge=2, le=200)
    rho_micro: int = Field(120, ge=1, description="first step size: micro-units per kWh for each W of the mean bid")
    relaxation_pct: int = Field(160, ge=50, le=195, description="over-relaxation after the first rounds")
    unmatched_wh: int = Field(10, ge=0, description="converged: largest sum of the bids of the binding slot")
    unmatched_pct: int = Field(1, ge=0, le=20, description="the same in % of what is traded, where that is more")
    horizon_pct: int = Field(
        3, ge=0, le=100, description="converged: so much of all bids is unmatched, or moved, at most"
    )
    price_change_micro: int = Field(2000, ge=0, description="converged: largest change of the binding slot's price")
    price_rule: PriceRule = DEFAULT_RULE
    power_limit_w: int = Field(30_000, ge=1, description="largest trade of a member")
    feeder_limit_w: int = Field(0, ge=0, description="limit of what all exchange with the grid together; 0: none")
    shared_balancing: bool = Field(True, description="batteries answer the sum of all grid exchange")
    deviation_s: int = Field(5, ge=1, description="a home tells its exchange this often within a slot")
    deviation_life_s: int = Field(60, ge=4, description="an older one does not count")
    deviation_limit_w: int = Field(12_000, ge=1, description="largest exchange and headroom that count")
    sharing_limit_wh: int = Field(1000, ge=0, description="most a battery moves per slot on others' word")
    residual_round: bool = Field(True, description="after a slot, surpluses and shortfalls are traded once more")
    residual_offers_s: int = Field(150, ge=1, description="after the slot's end: buyers send offers")
    residual_expiry_s: int = Field(215, description="after the slot's end: offers without an answer lapse")
    residual_gate_s: int = Field(260, description="after the slot's end: positions are fixed, bills follow")

    @model_validator(mode="after")
    def _times_fall(self) -> Self:
        times = [self.ready_s, self.rounds_s, self.offers_s, self.expiry_s, self.gate_s]
        if times != sorted(times, reverse=True) or len(set(times)) != len(times) or self.gate_s < 0:
            raise ValueError("ready_s > rounds_s > offers_s > expiry_s > gate_s >= 0 must hold")
        if self.ready_s >= self.slot_s:
            raise ValueError("ready_s must be shorter than the slot: one slot is negotiated at a time")
        return self

    @model_validator(mode="after")
    def _residual_times_rise(self) -> Self:
        if not self.residual_offers_s < self.residual_expiry_s < self.residual_gate_s < self.slot_s:
            raise ValueError("residual_offers_s < residual_expiry_s < residual_gate_s < slot_s must hold")
        return self

    @property
    def power_limit_wh(self) -> int:
        """Largest trade of a member in a slot."""
        return self.power_limit_w * self.slot_s // 3600

    @property
    def vector_length(self) -> int:
        """Entries of prices and bids: a trade per slot of the horizon and, under a feeder limit, a grid exchange."""
        return self.horizon_slots * (2 if self.feeder_limit_w else 1)

    @property
    def balances_together(self) -> bool:
        """Whether batteries share deviations; without the residual round that would give away what nobody pays."""
        return self.shared_balancing and self.residual_round

    @classmethod
    def for_slot(cls, slot_s: int, horizon_slots: int, **changes: int | str) -> "Rules":
        """Return the default rules with every time in proportion to the slot's length."""
        times = {
            name: slot_s * cls.model_fields[name].default // cls.model_fields["slot_s"].default for name in _SCALED
        }
        base_s = cls.model_fields["slot_s"].default
        # Networks are no faster in a short slot, but in a long one as many messages must do.
        for name in ("deviation_s", "deviation_life_s"):
            times[name] = cls.model_fields[name].default * max(slot_s, base_s) // base_s
        return cls.model_validate({"slot_s": slot_s, "horizon_slots": horizon_slots, **times, **changes})


class Member(_Document):
    """One home, by pseudonym. `broker` is where the others read its messages, without credentials."""

    id: str
    name: DisplayName
    public_key: str
    broker: str

    @model_validator(mode="after")
    def _id_is_the_keys_hash(self) -> Self:
        raw = decode_base64(self.public_key)
        if len(raw) != 32 or home_id(raw) != self.id:
            raise ValueError(f"member {self.name!r}: id is not the hash of its public key")
        return self


class Charter(_Document):
    version: Literal[1] = 1
    name: DisplayName
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    founded_ms: int
    rules: Rules
    members: tuple[Member, ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _members_are_distinct(self) -> Self:
        for what in ("id", "name"):  # two keys with one id would need a broken hash
            values = [getattr(member, what) for member in self.members]
            if len(set(values)) != len(values):
                raise ValueError(f"two members share one {what}")
        if [m.id for m in self.members] != sorted(m.id for m in self.members):
            raise ValueError("members must be sorted by id")
        return self

    @cached_property
    def canonical(self) -> bytes:
        """The bytes that the founders sign."""
        return b"commonwatt charter 1\n" + self.model_dump_json().encode()

    @cached_property
    def community_id(self) -> str:
        return hashlib.blake2b(self.canonical, digest_size=8).hexdigest()

    @cached_property
    def public_keys(self) -> dict[str, bytes]:
        return {member.id: decode_base64(member.public_key) for member in self.members}

    @cached_property
    def by_id(self) -> dict[str, Member]:
        return {member.id: member for member in self.members}


class _CharterFile(_Document):
    charter: Charter
    signatures: dict[str, str]


def found(charter: Charter, founders: Mapping[str, Identity]) -> str:
    """Return the text of the charter file with every founder's signature.

    Raises:
        KeyError: If a member's key is not among `founders`.
    """
    signatures = {member.id: encode_base64(founders[member.id].sign(charter.canonical)) for member in charter.members}
    return _CharterFile(charter=charter, signatures=signatures).model_dump_json(indent=2) + "\n"


def load_charter(path: Path) -> Charter:
    """Read a charter and check every founder's signature.

    Raises:
        ConfigError: If the file cannot be read, breaks a rule, or lacks a valid signature of one member.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the charter {path}: {error.strerror}; copy it from any neighbour") from None
    try:
        file = _CharterFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {where}: {first['msg']}; copy the charter again from a neighbour") from None
    charter = file.charter
    for member in charter.members:
        try:
            signature = decode_base64(file.signatures.get(member.id, ""))
        except ValueError:
            signature = b""
        if not verify(charter.public_keys[member.id], signature, charter.canonical):
            raise ConfigError(
                f"{path}: the signature of {member.name!r} is missing or does not fit: "
                "this is not the charter the members founded; copy it again from a neighbour"
            )
    return charter
