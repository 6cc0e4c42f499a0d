"""What all messages of homes share: the fields' types and the header.

Slots are named by the Unix second of their start, energies are whole Wh (+ buys), prices are micro-units of the
currency per kWh.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

HomeId = Annotated[str, Field(pattern=r"^[a-z2-7]{16}$")]
CommunityId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
ContractId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
SlotKey = Annotated[int, Field(ge=0, le=2**37)]
"""Up to the year 6325: a time that no calendar has must not reach the code behind the verifier."""
UnixMs = Annotated[int, Field(ge=0, le=2**47)]
EnergyWh = Annotated[int, Field(ge=-(10**7), le=10**7)]
TradedWh = Annotated[int, Field(ge=1, le=10**7)]
PowerW = Annotated[int, Field(ge=-(10**7), le=10**7)]
HeadroomW = Annotated[int, Field(ge=0, le=10**7)]
PRICE_MAX_MICRO = 10**9
PriceMicro = Annotated[int, Field(ge=-PRICE_MAX_MICRO, le=PRICE_MAX_MICRO)]
Vector = Annotated[tuple[PriceMicro, ...], Field(min_length=1, max_length=576)]

Trade = Literal["slot", "residual"]
"""Agreed for the slot before it, or afterwards on what the meters showed."""

EVERYBODY = "*"


class Message(BaseModel):
    """The header.

    `community` is `Charter.terms`: the charter it goes by. `inc` counts the sender's incarnations (new ledger = new
    incarnation), `seq` its messages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    v: Literal[1] = 1
    kind: str
    community: CommunityId
    sender: HomeId
    to: HomeId | Literal["*"]
    inc: Annotated[int, Field(ge=0, le=2**53)]
    seq: Annotated[int, Field(ge=0, le=2**53)]
    sent_ms: UnixMs
    expires_ms: UnixMs
