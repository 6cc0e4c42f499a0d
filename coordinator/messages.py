"""What homes say to each other: integers and strings only, so that the same bytes mean the same on every machine.

Every message carries the same header. `sender` is believed only because of the signature (codec.py). Slots are named by
the Unix second of their start, energies are whole Wh (+ buys), prices are micro-units of the currency per kWh.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from coordinator.masked_messages import Abandon, Ask, DeviationShare, Quote, Roster, Sealed, Share
from coordinator.message_base import (
    EVERYBODY,
    PRICE_MAX_MICRO,
    CommunityId,
    ContractId,
    EnergyWh,
    Hash,
    HeadroomW,
    HomeId,
    Message,
    PowerW,
    PriceMicro,
    SlotKey,
    Trade,
    TradedWh,
    UnixMs,
    Vector,
)

__all__ = [
    "ADAPTER",
    "EVERYBODY",
    "PRICE_MAX_MICRO",
    "Abandon",
    "Accept",
    "AnyMessage",
    "Ask",
    "Bid",
    "CommunityId",
    "ContractId",
    "Deviation",
    "DeviationShare",
    "EnergyWh",
    "Hash",
    "HeadroomW",
    "HomeId",
    "Lapse",
    "Leaf",
    "Lost",
    "Message",
    "Meter",
    "Offer",
    "Position",
    "PositionRequest",
    "PowerW",
    "Presence",
    "PriceMicro",
    "PriceRequest",
    "Prices",
    "Quote",
    "Ready",
    "Recall",
    "Recital",
    "Reject",
    "Residual",
    "Roster",
    "Sealed",
    "Share",
    "SlotKey",
    "Trade",
    "TradedWh",
    "UnixMs",
    "Vector",
]


class Presence(Message):
    """I am here."""

    kind: Literal["presence"] = "presence"


class Ready(Message):
    """I take part in the negotiation of `slot`; `prices` are my opening prices for the horizon that starts there."""

    kind: Literal["ready"] = "ready"
    slot: SlotKey
    prices: Vector


class Bid(Message):
    """My answer to the prices with hash `price_hash`: what I would trade in each slot of the horizon, Wh, + buys.

    The hash is of the prices and the step size, under a feeder limit the exchange with the grid follows the trades.
    """

    kind: Literal["bid"] = "bid"
    slot: SlotKey
    round: Annotated[int, Field(ge=1, le=1000)]
    price_hash: Hash
    energy_wh: Annotated[tuple[EnergyWh, ...], Field(min_length=1, max_length=576)]


class PriceRequest(Message):
    """I lost a bid and do not know the prices with this hash: who does?"""

    kind: Literal["price_request"] = "price_request"
    slot: SlotKey
    round: Annotated[int, Field(ge=1, le=1000)]
    price_hash: Hash


class Prices(Message):
    """The price vector and step size of a round, for a neighbour who asked, or for all when nobody agrees."""

    kind: Literal["prices"] = "prices"
    slot: SlotKey
    round: Annotated[int, Field(ge=1, le=1000)]
    prices: Vector
    rho_micro: Annotated[int, Field(ge=1, le=PRICE_MAX_MICRO)]


class Offer(Message):
    """Buyer to seller, firm until `expires_ms`: I buy this much from you at this price."""

    kind: Literal["offer"] = "offer"
    contract_id: ContractId
    slot: SlotKey
    seller: HomeId
    energy_wh: TradedWh
    price_micro: PriceMicro
    trade: Trade = "slot"


class Accept(Message):
    """Seller's countersignature over the offer with this hash."""

    kind: Literal["accept"] = "accept"
    slot: SlotKey
    contract_id: ContractId
    offer_hash: Hash


class Reject(Message):
    """Seller's final no."""

    kind: Literal["reject"] = "reject"
    slot: SlotKey
    contract_id: ContractId
    offer_hash: Hash
    reason: Annotated[str, Field(pattern=r"^[a-z ]{1,32}$")]


class Lapse(Message):
    """Buyer's final word on an offer that had no answer in time: it binds nobody any more."""

    kind: Literal["lapse"] = "lapse"
    slot: SlotKey
    contract_id: ContractId
    offer_hash: Hash


class Position(Message):
    """My contracts of `slot`, fixed at my gate closure: a Merkle root over one leaf per partner."""

    kind: Literal["position"] = "position"
    slot: SlotKey
    root: Hash
    sold_wh: Annotated[int, Field(ge=0, le=10**8)]
    bought_wh: Annotated[int, Field(ge=0, le=10**8)]
    trade: Trade = "slot"


class Leaf(Message):
    """To one partner: the ids of our contracts in my position of `slot`, and the proof that they are in its root."""

    kind: Literal["leaf"] = "leaf"
    slot: SlotKey
    contract_ids: Annotated[tuple[ContractId, ...], Field(max_length=64)]
    salt: Hash
    proof: Annotated[tuple[Annotated[str, Field(pattern=r"^[lr][0-9a-f]{32}$")], ...], Field(max_length=8)]
    trade: Trade = "slot"


class PositionRequest(Message):
    """You are my partner in `slot` and I have not got your position and leaf."""

    kind: Literal["position_request"] = "position_request"
    slot: SlotKey
    trade: Trade = "slot"


class Lost(Message):
    """Buyer to seller, from a ledger that was restored: what you have no leaf of mine for is void."""

    kind: Literal["lost"] = "lost"
    slot: SlotKey
    trade: Trade = "slot"


class Recall(Message):
    """My ledger was restored from a backup: what did we sign to each other for the slots from `slot` to `until`?"""

    kind: Literal["recall"] = "recall"
    slot: SlotKey
    until: SlotKey


class Recital(Message):
    """To one home that asked: what we signed to each other, word by word, in parts.

    `asker_inc` is the incarnation of the home that asked. `undecided` of our contracts wait for a word: ask again.
    """

    kind: Literal["recital"] = "recital"
    slot: SlotKey
    asker_inc: Annotated[int, Field(ge=0, le=2**53)]
    part: Annotated[int, Field(ge=1, le=1000)]
    parts: Annotated[int, Field(ge=1, le=1000)]
    undecided: Annotated[int, Field(ge=0, le=10**6)]
    wires: Annotated[tuple[Annotated[str, Field(max_length=12_000)], ...], Field(max_length=64)]


class Meter(Message):
    """To the partners of a slot: what my meter counted in it."""

    kind: Literal["meter"] = "meter"
    slot: SlotKey
    import_wh: Annotated[int, Field(ge=0, le=10**8)]
    export_wh: Annotated[int, Field(ge=0, le=10**8)]


class Residual(Message):
    """After `slot`, to everybody: how my meter differs from my contracts, Wh (+ short, wants to buy; - has left over).

    `price_micro` is what the grid would take or pay for it: my import price when short, else my export price.
    """

    kind: Literal["residual"] = "residual"
    slot: SlotKey
    energy_wh: EnergyWh
    price_micro: PriceMicro


class Deviation(Message):
    """Now, in the running slot: what I would exchange with the grid beyond my contracts before my battery reacts
    (+ imports), and how much more than planned my battery could give and take over the rest of it."""

    kind: Literal["deviation"] = "deviation"
    slot: SlotKey
    power_w: PowerW
    give_w: HeadroomW
    take_w: HeadroomW


class Seen(BaseModel):
    """What was heard of one home about one slot, as short hashes in the order of `fraud.PLACES`; ---- is nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    slot: SlotKey
    home: HomeId
    said: Annotated[str, Field(pattern=r"^([0-9a-f]{4}|----){1,40}$")]


class Heads(Message):
    """Once a slot, to everybody: what I heard each home say to all, and against whom I hold a proof of fraud.

    Who heard something else says so (`hearsay`). The hashes are salted, so that nobody can choose two contents that
    have one.
    """

    kind: Literal["heads"] = "heads"
    slot: SlotKey
    salt: Hash
    seen: Annotated[tuple[Seen, ...], Field(max_length=256)]
    proven: Annotated[tuple[HomeId, ...], Field(max_length=64)]


class Hearsay(Message):
    """To one home whose heads show that it heard other words: mine, as they were signed."""

    kind: Literal["hearsay"] = "hearsay"
    slot: SlotKey
    wires: Annotated[tuple[Annotated[str, Field(max_length=12_000)], ...], Field(min_length=1, max_length=64)]


class Fraud(Message):
    """Proof that `accused` signed two contents where one life of a ledger signs one: both, for anybody to check."""

    kind: Literal["fraud"] = "fraud"
    slot: SlotKey
    accused: HomeId
    first: Annotated[str, Field(max_length=12_000)]
    second: Annotated[str, Field(max_length=12_000)]


class Settle(Message):
    """Between two homes, by the one with the lower id: what all that counts between us comes to, so far.

    The contracts named are those not in an earlier statement. `balance_nano` is cumulative: what the sender owes the
    receiver for all contracts since the first, in 1e-9 of the currency (Wh times micro-units per kWh), exactly;
    negative when it is owed. `prev` is the hash of the statement before that both signed.
    """

    kind: Literal["settle"] = "settle"
    slot: SlotKey
    number: Annotated[int, Field(ge=1, le=2**31)]
    prev: Hash
    contract_ids: Annotated[tuple[ContractId, ...], Field(min_length=1, max_length=128)]
    balance_nano: Annotated[int, Field(ge=-(10**24), le=10**24)]


class Settled(Message):
    """My signature on your statement, which stands in it whole: this one message is what both signed."""

    kind: Literal["settled"] = "settled"
    slot: SlotKey
    statement: Annotated[str, Field(max_length=12_000)]


class Told(Message):
    """What both of us signed, and you may have lost; the newest I have is `number`, with the hash `newest`.

    Up to number `whole` I miss none between two others; less than `number` asks for those above it.
    """

    kind: Literal["told"] = "told"
    slot: SlotKey
    number: Annotated[int, Field(ge=0, le=2**31)]
    newest: Hash
    whole: Annotated[int, Field(ge=0, le=2**31)]
    wires: Annotated[tuple[Annotated[str, Field(max_length=14_000)], ...], Field(max_length=16)]


class Dispute(Message):
    """I do not sign your statement with this hash: of these contracts my ledger says something else."""

    kind: Literal["dispute"] = "dispute"
    slot: SlotKey
    number: Annotated[int, Field(ge=1, le=2**31)]
    statement_hash: Hash
    reason: Literal["not counted here", "covered before", "another sum"]
    contract_ids: Annotated[tuple[ContractId, ...], Field(max_length=128)]


AnyMessage = (
    Presence
    | Ready
    | Bid
    | PriceRequest
    | Prices
    | Offer
    | Accept
    | Reject
    | Lapse
    | Position
    | Leaf
    | PositionRequest
    | Lost
    | Recall
    | Recital
    | Meter
    | Residual
    | Deviation
    | Heads
    | Hearsay
    | Fraud
    | Settle
    | Settled
    | Told
    | Dispute
    | Roster
    | Share
    | Abandon
    | DeviationShare
    | Ask
    | Quote
    | Sealed
)

ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(Annotated[AnyMessage, Field(discriminator="kind")])
