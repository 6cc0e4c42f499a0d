"""The home's own MQTT topics: plain JSON for its people, published on its own broker only, retained.

`commonwatt/<home>/<topic>`, where `<home>` is the name the owner chose. Powers in W and signed as everywhere: positive
flows into the house bus (grid + import, pv + generation, battery + discharge); trades: + buys. Anybody the owner lets
into the broker may subscribe; the page is such a client and knows nothing else.
"""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

PREFIX = "commonwatt"

Quality = Literal["valid", "doubtful", "stale", "absent"]


class Topic(BaseModel):
    """Base of all topics. `home` is the home's display name, `at` the time of the content (UTC)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: str
    at: datetime


class State(Topic):
    """Live powers, once a poll. A value that is not known is null, never 0."""

    grid_w: float | None
    pv_w: float | None
    battery_w: float | None
    load_w: float | None
    soc_pct: float | None
    quality: Quality
    control: Literal["observe", "following", "released"]
    target_w: float | None
    """Battery power asked for, + discharges; null unless control is following."""
    reason: str
    """Why the battery does what it does, in plain words."""
    trading_w: float
    """Power bought from (+) or sold to (-) neighbours by the contracts of the running slot."""
    sharing: bool = False
    """Whether this home tells its neighbours how far it is from its plan, and hears the same of them."""
    sharing_with: int = 0
    """How many neighbours' deviations count now."""
    shared_w: float = 0.0
    """What the battery gives (+) or takes (-) for the neighbours, on top of what it would do alone."""


class Trade(BaseModel):
    """One contract of a slot, seen from this home."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract_id: str
    partner: str
    energy_wh: int
    """+ bought, - sold."""
    price_per_kwh: Decimal
    status: Literal["offered", "bound", "counted", "void"]
    trade: Literal["slot", "residual"] = "slot"
    """Agreed before the slot, or after it in the residual round."""


class Market(Topic):
    """The result of the newest negotiation."""

    slot_start_at: datetime
    slot_end_at: datetime
    rounds: int
    price_per_kwh: Decimal | None
    """Agreed with neighbours; null when none took part."""
    import_price_per_kwh: Decimal
    export_price_per_kwh: Decimal
    bought_wh: int
    sold_wh: int
    unmatched_wh: int
    trades: list[Trade]
    reason: str
    """Why this home traded or did not, in plain words."""


class Running(Market):
    """The same for the slot that runs now, so that a page opened in mid-slot is complete.

    The state publisher derives it from `Market` when the slot begins; nobody else needs to publish it.
    """


class PlannedSlot(BaseModel):
    """One slot of the plan; powers are means over the slot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_at: datetime
    load_w: float
    pv_w: float
    battery_w: float
    trade_w: float
    grid_w: float
    soc_pct: float | None
    import_price_per_kwh: float
    export_price_per_kwh: float
    price_per_kwh: float
    """Negotiated (for the slots ahead: expected) neighbourhood price."""
    reason: str


class Plan(Topic):
    """The plan of the horizon, newest first slot first."""

    slots: list[PlannedSlot]
    gave_way: list[str] = []
    """What the owner's wishes do not get, one sentence each."""


class SettledSlot(BaseModel):
    """One slot after the meter was read; energies are Wh of the slot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_at: datetime
    load_wh: float
    pv_wh: float
    battery_wh: float
    import_wh: int
    export_wh: int
    soc_pct: float | None
    bought_wh: int
    sold_wh: int
    price_per_kwh: Decimal | None
    forecast_load_wh: float | None
    forecast_pv_wh: float | None
    import_price_per_kwh: Decimal | None = None
    export_price_per_kwh: Decimal | None = None
    trades: list[Trade] = []
    """The slot's contracts with their last status, so that the trades of the day survive a restart of the page."""


class Accuracy(BaseModel):
    """How yesterday's load forecast, made when the day began, did: mean absolute errors in W."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean_w: float
    """Mean load of the day."""
    mae_w: float
    mae_day_w: float | None
    """Error of repeating the day before instead."""
    inside_pct: float | None
    """Share of slots within the forecast's 80 % band."""


class Day(Topic):
    """The settled slots of the last 24 hours, oldest first."""

    slots: list[SettledSlot]
    yesterday: Accuracy | None = None


class Savings(Topic):
    """Bills since the agent's books begin (demo: since its start), by the definitions of docs/architecture.md."""

    currency: str
    since_at: datetime
    slots: int
    bill_no_battery: Decimal
    bill_alone: Decimal
    bill_traded: Decimal
    bought_wh: int
    sold_wh: int
    imported_wh: int
    exported_wh: int
    utility_wh: int = 0
    """Bought from the grid at the tariff, on top of what neighbours sold."""
    contracts: int
    contracts_void: int
    rounds_mean: float


class Peer(BaseModel):
    """One neighbour, by pseudonym."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    online: bool
    last_seen_at: datetime | None


class Peers(Topic):
    community: str
    community_id: str
    self_id: str
    members: list[Peer]
    price_rule: str
    currency: str = ""
    """Of the charter, and so of all prices; empty: not said."""
    masked: bool = False
    """Whether neighbours see only the sum of all bids."""


class Notice(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    at: datetime
    level: Literal["info", "warning", "error"]
    text: str


class Notices(Topic):
    """The last notices, newest first: changes of state and warnings, in plain words."""

    warnings: list[str]
    """What is wrong right now; empty when all is well."""
    log: list[Notice]


TOPICS: dict[str, type[Topic]] = {
    "state": State,
    "market": Market,
    "running": Running,
    "plan": Plan,
    "day": Day,
    "savings": Savings,
    "peers": Peers,
    "notices": Notices,
}


def topic_name(home: str, kind: str) -> str:
    """Return the MQTT topic of one of the home's own messages."""
    return f"{PREFIX}/{home}/{kind}"
