"""What homes say to each other only where the charter masks bids (docs/masked.md)."""

from typing import Annotated, Literal

from pydantic import Field

from coordinator.message_base import Hash, Message, PriceMicro, SlotKey, Trade, Vector

Masked = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=3_100)]
"""Base64 of 4 bytes for each number: alone it is noise, only the sum over the whole roster means something."""


class Roster(Message):
    """I take part in the masked negotiation of `slot`, under exactly this roster, once in my life.

    `roster` is the hash of the homes and their incarnations, `price_hash` of the prices that open it. `warm`: I begin
    where the last negotiation ended. `balances`: I tell my deviations in the slot, masked.
    """

    kind: Literal["roster"] = "roster"
    slot: SlotKey
    roster: Hash
    price_hash: Hash
    warm: bool
    balances: bool


class Share(Message):
    """My bid over the horizon, as `bid`, with the masks I share with everybody else in the roster added to it.

    `question` is the hash of the roster and of the prices and step size that it answers.
    """

    kind: Literal["share"] = "share"
    slot: SlotKey
    round: Annotated[int, Field(ge=1, le=1000)]
    question: Hash
    numbers: Masked


class Abandon(Message):
    """The masked negotiation of `slot` is over without a result: I bid in the open, for the binding slot only.

    `prices` are my opening prices for that: of this one slot and, under a feeder limit, of its feeder.
    """

    kind: Literal["abandon"] = "abandon"
    slot: SlotKey
    prices: Annotated[Vector, Field(max_length=2)]


class DeviationShare(Message):
    """My deviation in the running slot, as `deviation` and masked: of the slot's tick with this number."""

    kind: Literal["deviation_share"] = "deviation_share"
    slot: SlotKey
    roster: Hash
    tick: Annotated[int, Field(ge=0, le=3600)]
    numbers: Masked


class Ask(Message):
    """Sealed, to one home: I want to buy, at this price at most. Have you got some left to sell?"""

    kind: Literal["ask"] = "ask"
    slot: SlotKey
    price_micro: PriceMicro
    trade: Trade = "slot"


class Quote(Message):
    """Sealed, to a home that asked: what I have left to sell, and the least I take for it; 0: nothing for you."""

    kind: Literal["quote"] = "quote"
    slot: SlotKey
    energy_wh: Annotated[int, Field(ge=0, le=10**7)]
    price_micro: PriceMicro
    trade: Trade = "slot"


class Sealed(Message):
    """Any message to one home, encrypted to it: a whole signed message, padded to one of a few sizes."""

    kind: Literal["sealed"] = "sealed"
    body: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=15_900)]
