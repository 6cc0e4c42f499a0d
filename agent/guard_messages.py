"""What the guard's process and its clients on this machine tell each other: one line of JSON each, over a Unix socket.

Ages and ends are moments of the machine's monotonic clock, which all its processes share: a message that lay in a
buffer while somebody was stopped is as old as it is.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from coordinator.errors import RemoteProtocolError

MAX_REQUEST_BYTES = 4 * 1024
MAX_REPORT_BYTES = 64 * 1024

Text = Annotated[str, Field(max_length=600)]
Power = Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LeaseRequest(Message):
    """Follow this battery power, + discharges, until `until_s`; a contract asks for it, or the price."""

    kind: Literal["lease"] = "lease"
    target_w: Power
    reason: Text
    until_s: float
    party: Literal["contract", "price"] = "price"


class ReleaseRequest(Message):
    """Leave the battery to its own self-consumption."""

    kind: Literal["release"] = "release"
    reason: Text


class LimitRequest(Message):
    """The network operator's limit, to be repeated within its heartbeat; None is no limit in that direction."""

    kind: Literal["limit"] = "limit"
    charge_w: Annotated[float, Field(ge=0, le=1e7)] | None = None
    discharge_w: Annotated[float, Field(ge=0, le=1e7)] | None = None


class LookRequest(Message):
    """Look at once whether a person stopped control."""

    kind: Literal["look"] = "look"


Request = LeaseRequest | ReleaseRequest | LimitRequest | LookRequest


class SampleReport(Message):
    """A `DeviceSample`."""

    name: str
    at: datetime
    monotonic_s: float
    values: dict[str, float | None]
    doubtful: dict[str, str] = {}
    asleep: bool = False


class ReadingsReport(Message):
    """What the devices said since the last report, and what is wrong with which of them now."""

    kind: Literal["readings"] = "readings"
    samples: tuple[SampleReport, ...]
    failing: dict[str, str]


class StatusReport(Message):
    """What the guard does now, and which directions the battery's charge leaves open.

    Attributes:
        stopped: Whether a person stopped control and the battery is on its own.
        obeys: Whether wishes can move the battery.
    """

    kind: Literal["status"] = "status"
    control: Literal["observe", "following", "released"]
    target_w: float | None
    reason: str
    may_charge: bool
    may_discharge: bool
    stopped: bool
    obeys: bool


class NoticeReport(Message):
    """Something the owner must know."""

    kind: Literal["notice"] = "notice"
    level: Literal["info", "warning", "error"]
    text: str


Report = ReadingsReport | StatusReport | NoticeReport

_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
_REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def encode(message: Request | Report) -> bytes:
    return message.model_dump_json().encode() + b"\n"


def read_request(line: bytes) -> Request:
    """Return a client's message.

    Raises:
        RemoteProtocolError: It is none.
    """
    try:
        return _REQUEST.validate_json(line)
    except ValidationError as error:
        raise RemoteProtocolError("a client of the guard", _why(error)) from None


def read_report(line: bytes) -> Report:
    """Return the guard's message.

    Raises:
        RemoteProtocolError: It is none.
    """
    try:
        return _REPORT.validate_json(line)
    except ValidationError as error:
        raise RemoteProtocolError("the guard", _why(error)) from None


def _why(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"not a message of this protocol: {'.'.join(map(str, first['loc']))} {first['msg']}"
