"""The community's rules and members: documents that members sign. There is no admin key.

A founding is signed by every founder; the community's id is its hash and never changes. A later charter names the one
it follows; who must sign it is in charter_votes.py, which of several counts in charter_history.py.
"""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from coordinator.charter_names import skeleton
from coordinator.identity import decode_base64, home_id, is_sound_exchange_key, is_sound_key
from coordinator.links import check_url
from coordinator.messages import CommunityId, UnixMs

PriceRule = Literal["midpoint", "marginal", "sdr"]
DEFAULT_RULE: PriceRule = "midpoint"
DisplayName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w .-]{0,23}$")]
CharterHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""All 256 bits: who writes a proposal could find two texts with one shorter hash."""

WAITING_S = 7 * 86400
"""What a charter that says nothing means; part of the format, never changed."""


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


ROSTER_MIN = 5
"""In fewer homes masks hide too little of each."""

_SCALED = (
    *("ready_s", "rounds_s", "offers_s", "expiry_s", "gate_s", "round_timeout_s"),
    *("residual_offers_s", "residual_expiry_s", "residual_gate_s"),
    "sharing_limit_wh",
)
"""What is in proportion to the slot's length."""


class Rules(Document):
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
    masked: bool | None = Field(None, description="bids are masked, what is said to one home is sealed")
    masked_roster_min: int | None = Field(None, ge=5, description="fewer homes do not add up masked bids")

    @field_validator("masked")
    @classmethod
    def _open_says_nothing(cls, masked: bool | None) -> bool | None:
        return masked or None

    @model_validator(mode="after")
    def _sums_suffice(self) -> Self:
        if self.masked and self.price_rule == "sdr":
            raise ValueError("price_rule sdr needs everybody's bids: with masked bids choose midpoint or marginal")
        return self

    @model_validator(mode="after")
    def _a_day_at_most(self) -> Self:
        if 86400 % self.slot_s or self.slot_s * self.horizon_slots > 86400:
            raise ValueError("slot_s must divide a day, and slot_s * horizon_slots be a day at most: so far homes plan")
        return self

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
    def for_slot(cls, slot_s: int, horizon_slots: int, **changes: int | bool | str) -> "Rules":
        """Return the default rules with every time in proportion to the slot's length."""
        return cls.model_validate({**cls.times_for(slot_s), "horizon_slots": horizon_slots, **changes})

    @classmethod
    def times_for(cls, slot_s: int) -> dict[str, int]:
        """Return the rules that follow from the slot's length, and that: usual times, and a day as the horizon."""
        base_s = cls.model_fields["slot_s"].default
        times = {name: slot_s * cls.model_fields[name].default // base_s for name in _SCALED}
        # Networks are no faster in a short slot, but in a long one as many messages must do.
        for name in ("deviation_s", "deviation_life_s"):
            times[name] = cls.model_fields[name].default * max(slot_s, base_s) // base_s
        return {"slot_s": slot_s, "horizon_slots": 86400 // slot_s, **times}


class Member(Document):
    """One home, by pseudonym.

    Attributes:
        broker: Where the others read its messages; None when they cannot reach it but at meeting brokers.
        recovery_key: Kept away from the machine; it can suspend this member and vote for it, and nothing else.
        meter: What stands for its metering point, so that one meter is one member.
        power_limit_w: The connection it says it has, for people: what binds a trade is the limit in the rules.
        exchange_key: X25519: makes a secret with each neighbour, from which broker passwords follow.
    """

    id: str
    name: DisplayName
    public_key: str
    broker: Annotated[str, Field(pattern=r"^[!-~]{1,200}$"), AfterValidator(check_url)] | None = None
    recovery_key: str | None = None
    meter: CharterHash | None = None
    power_limit_w: Annotated[int, Field(ge=1)] | None = None
    exchange_key: str | None = None

    @model_validator(mode="after")
    def _id_is_the_keys_hash(self) -> Self:
        raw = decode_base64(self.public_key)
        if len(raw) != 32 or home_id(raw) != self.id:
            raise ValueError(f"member {self.name!r}: id is not the hash of its public key")
        return self

    @model_validator(mode="after")
    def _keys_are_sound(self) -> Self:
        if not all(is_sound_key(key) for key in self.signing_keys):
            raise ValueError(f"member {self.name!r}: a key that no home can have: signatures would fit anything")
        if self.exchange_key is not None and not is_sound_exchange_key(decode_base64(self.exchange_key)):
            raise ValueError(f"member {self.name!r}: exchange_key makes no secret with anybody")
        return self

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """The public key and, where there is one, the recovery key."""
        texts = (self.public_key,) if self.recovery_key is None else (self.public_key, self.recovery_key)
        return tuple(decode_base64(text) for text in texts)


class MeetingBroker(Document):
    """Where homes meet that cannot reach each other. Whose it is has no vote and no right.

    Attributes:
        public_key: Signs its TLS certificate; nothing else of it is trusted.
        exchange_key: X25519: makes each member's password there, as a neighbour's makes those at a home's own broker.
    """

    name: DisplayName
    url: Annotated[str, Field(pattern=r"^mqtts://[!-~]{1,190}$"), AfterValidator(check_url)]
    public_key: str
    exchange_key: str

    @property
    def id(self) -> str:
        return home_id(decode_base64(self.public_key))

    @model_validator(mode="after")
    def _keys_are_sound(self) -> Self:
        exchange = decode_base64(self.exchange_key)
        if not is_sound_key(decode_base64(self.public_key)) or not is_sound_exchange_key(exchange):
            raise ValueError(f"meeting broker {self.name!r}: a key that no broker can have")
        return self


class Follows(Document):
    """Which charter this one replaces, and from when on."""

    community: CommunityId
    epoch: Annotated[int, Field(ge=1, le=2**31)]
    prev: CharterHash
    effective_ms: UnixMs


class Charter(Document):
    """Rules and members. Without `follows` it is a founding.

    As `History.in_force` returns it, it also knows who left or was suspended (they are no members any more) and who was
    a member before (their old messages can still be read).
    """

    version: Literal[1] = 1
    name: DisplayName
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    founded_ms: UnixMs
    rules: Rules
    members: tuple[Member, ...] = Field(min_length=1, max_length=64)
    waiting_s: Annotated[int, Field(ge=0, le=90 * 86400)] | None = None
    """From the votes to the change; None is `WAITING_S`."""
    meeting: Annotated[tuple[MeetingBroker, ...], Field(min_length=1, max_length=5)] | None = None
    """Brokers of others where all members meet, all of them at once."""
    follows: Follows | None = None

    _gone: frozenset[str] = PrivateAttr(frozenset())
    _earlier: tuple["Charter", ...] = PrivateAttr(())
    _left: tuple["Charter", ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _members_are_distinct(self) -> Self:
        for what in ("id", "name", "meter"):  # two keys with one id would need a broken hash
            _refuse_twins((getattr(member, what) for member in self.members), f"two members share one {what}")
        _refuse_twins((key for member in self.members for key in member.signing_keys), "one key stands twice")
        _refuse_twins((skeleton(member.name) for member in self.members), "two members' names look alike")
        if self.rules.masked and any(member.exchange_key is None for member in self.members):
            raise ValueError("masked bids need an exchange_key of every member")
        if [m.id for m in self.members] != sorted(m.id for m in self.members):
            raise ValueError("members must be sorted by id")
        return self

    @model_validator(mode="after")
    def _all_can_be_heard(self) -> Self:
        meeting = self.meeting or ()
        for what in ("url", "public_key", "exchange_key"):
            _refuse_twins((getattr(broker, what) for broker in meeting), f"two meeting brokers share one {what}")
        names = [*(member.name for member in self.members), *(broker.name for broker in meeting)]
        _refuse_twins(map(skeleton, names), "two names look alike")
        silent = next((member.name for member in self.members if member.broker is None), None)
        if silent is not None and not meeting:
            raise ValueError(f"member {silent!r} has no broker that others reach: add meeting brokers")
        return self

    @cached_property
    def canonical(self) -> bytes:
        """The bytes that founders sign and hashes cover. What is not given is left out."""
        return b"commonwatt charter 1\n" + self.model_dump_json(exclude_none=True).encode()

    @cached_property
    def hash(self) -> str:
        return hashlib.blake2b(self.canonical, digest_size=32).hexdigest()

    @cached_property
    def community_id(self) -> str:
        if self.follows is not None:
            return self.follows.community
        return hashlib.blake2b(self.canonical, digest_size=8).hexdigest()

    @cached_property
    def terms(self) -> str:
        """What messages say to name this charter: the community's id, after a change a part of the charter's hash."""
        return self.community_id if self.follows is None else self.hash[:16]

    @property
    def epoch(self) -> int:
        """0 for the founding; every later charter of a community has a higher one than the charter it follows."""
        return 0 if self.follows is None else self.follows.epoch

    @property
    def effective_ms(self) -> int:
        return self.founded_ms if self.follows is None else self.follows.effective_ms

    @property
    def change_wait_s(self) -> int:
        """Between the votes for a change and the change."""
        return WAITING_S if self.waiting_s is None else self.waiting_s

    @cached_property
    def homes(self) -> tuple[Member, ...]:
        """The members but for those who left or were suspended."""
        return tuple(member for member in self.members if member.id not in self._gone)

    @cached_property
    def public_keys(self) -> dict[str, bytes]:
        """Of those who may speak."""
        return {member.id: decode_base64(member.public_key) for member in self.homes}

    def exchange_keys(self, me: str) -> dict[str, bytes]:
        """Return the exchange keys of the others who may speak, as far as they have one."""
        others = (member for member in self.homes if member.id != me)
        return {other.id: decode_base64(other.exchange_key) for other in others if other.exchange_key is not None}

    @property
    def roster_min(self) -> int:
        """So many homes at least add up masked bids: where the rules say nothing, as many as may change the charter.

        Who keeps a home from hearing the others must have so many in league, itself left out, to learn its bid.
        """
        return self.rules.masked_roster_min or max(ROSTER_MIN, 2 * len(self.homes) // 3 + 1)

    @cached_property
    def by_id(self) -> dict[str, Member]:
        return {member.id: member for member in self.homes}

    @cached_property
    def ever(self) -> dict[str, Member]:
        """Everybody who is or was a member, as last written; also of communities this home left."""
        return {member.id: member for charter in (*self._left, *self._earlier, self) for member in charter.members}

    @cached_property
    def earlier_terms(self) -> frozenset[str]:
        return frozenset(charter.terms for charter in self._earlier)

    def lived(
        self, gone: Iterable[str], earlier: tuple["Charter", ...] = (), left: tuple["Charter", ...] = ()
    ) -> "Charter":
        """Return this charter as it is lived.

        Args:
            gone: Ids of those who left or were suspended.
            earlier: The charters before it, from the founding on.
            left: Charters of communities that this home was in before.
        """
        made = Charter.model_validate({name: getattr(self, name) for name in type(self).model_fields})
        made._gone, made._earlier, made._left = frozenset(gone), earlier, left
        return made


def _refuse_twins(values: Iterable[object], words: str) -> None:
    given = [value for value in values if value is not None]
    if len(set(given)) != len(given):
        raise ValueError(words)
