"""The commissioning record: what was checked at one device of this home, by whom and when, signed with the home's key.

A file of two lines, like a message between homes: one line of JSON, then the base64 Ed25519 signature of exactly that
line. Without a record that fits its device no write function code leaves this home: whoever commands a battery calls
`read_record` first, with `profile_id` and `device_id` of the device as it shows itself now.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from agent.devices.schema import Profile
from agent.durable import write_durably
from coordinator.codec import digest
from coordinator.errors import CommonwattError
from coordinator.identity import Identity, decode_base64, encode_base64, home_id, verify
from coordinator.messages import HomeId

MAX_BYTES = 64 * 1024
FACTS = {"sunspec", "blocks", "points", "derived", "control"}
"""The parts of a profile that decide what a value means and what is written."""

Text = Annotated[str, Field(min_length=1, max_length=400)]
Whole = Annotated[int, Field(ge=-(10**9), le=10**9)]


class CommissioningError(CommonwattError):
    """There is no record that allows to command this device. The text names cause and cure."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DeviceIdentity(Part):
    """What a device says of itself; empty where it says nothing."""

    manufacturer: str = Field("", max_length=64)
    model: str = Field("", max_length=64)
    serial: str = Field("", max_length=64)

    def device_id(self, where: str) -> str:
        """Return what tells this device from every other.

        Args:
            where: Its unit and address: all there is of a device without a serial number.
        """
        if self.serial:
            return "/".join((self.manufacturer, self.model, self.serial))
        return where


class AgreedEnvelope(Part):
    """The limits the owner agreed to, positive numbers."""

    charge_w: Whole
    discharge_w: Whole
    reserve_pct: float = Field(ge=0, le=100)
    max_pct: float = Field(ge=0, le=100)


class CommissioningStep(Part):
    """One thing that was checked.

    Attributes:
        what: The step's name: `meaning`, `load`, `charge`, ...
        by: Who judged it: the owner who looked, or the agent that measured.
        measured: Whole numbers by name; names carry units, powers have the house's sign.
    """

    what: Text
    by: Literal["owner", "agent"]
    at: AwareDatetime
    answer: Text
    measured: dict[str, Whole] = {}

    @field_validator("at")
    @classmethod
    def _in_utc(cls, at: AwareDatetime) -> AwareDatetime:
        if at.utcoffset() != timedelta(0):
            raise ValueError("times of a record are in UTC")
        return at


class CommissioningRecord(Part):
    """Everything that was checked at one device.

    Attributes:
        home: Id of the home; `public_key` is the raw key it belongs to, in base64.
        profile: `profile_id` of the profile it was commissioned with.
        device: `device_id` of the device; `identity` is what it said of itself.
        link: Unit and address at which it answered.
        reversion_s: After how long without a word the device was seen to end our command [s]; None for a device that
            never does, which the owner unlocked in so many words.
    """

    v: Literal[1] = 1
    home: HomeId
    public_key: str
    profile: Text
    device: Text
    identity: DeviceIdentity
    link: Text
    reversion_s: Annotated[int, Field(gt=0, le=86_400)] | None
    envelope: AgreedEnvelope
    steps: tuple[CommissioningStep, ...] = Field(min_length=1, max_length=100)


def profile_id(profile: Profile) -> str:
    """Return a profile's name and a hash of its register map and control.

    A record holds for the facts that were tested: with another sign, scale or control step in the file, or another
    choice of the installer, it ends.
    """
    facts = profile.model_dump_json(include=FACTS, exclude_defaults=True)
    return f"{profile.profile}@{digest(facts.encode())[:12]}"


def make_record(
    identity: Identity,
    profile: Profile,
    device: DeviceIdentity,
    where: str,
    *,
    reversion_s: int | None,
    envelope: AgreedEnvelope,
    steps: Sequence[CommissioningStep],
) -> CommissioningRecord:
    """Return the record of a device of this home; `sign_record` or `write_record` makes it hold."""
    return CommissioningRecord(
        home=identity.id,
        public_key=encode_base64(identity.public_key),
        profile=profile_id(profile),
        device=device.device_id(where),
        identity=device,
        link=where,
        reversion_s=reversion_s,
        envelope=envelope,
        steps=tuple(steps),
    )


def record_path(data_dir: Path, device_name: str) -> Path:
    """Return where the record of a device lies, by the name the owner gave it."""
    return data_dir / f"commissioning-{device_name}.json"


def sign_record(record: CommissioningRecord, identity: Identity) -> bytes:
    """Return the bytes of the file.

    Raises:
        CommissioningError: If the record is that of another home.
    """
    if record.home != identity.id or record.public_key != encode_base64(identity.public_key):
        raise CommissioningError(f"this key signs for home {identity.id}, not for {record.home}: use that home's own")
    line = record.model_dump_json().encode()
    return line + b"\n" + encode_base64(identity.sign(line)).encode() + b"\n"


def write_record(path: Path, record: CommissioningRecord, identity: Identity) -> None:
    """Sign the record and put it at `path`, whole or not at all.

    Raises:
        CommissioningError: If it is that of another home.
        ConfigError: If it cannot be written.
    """
    write_durably(path, sign_record(record, identity).decode())


def read_record(path: Path, public_key: bytes, profile_id: str, device_id: str) -> CommissioningRecord:
    """Return the record, if it was signed by this home for this profile and this device.

    Args:
        public_key: The home's own raw key; what the record says of its key does not count.
        profile_id: `profile_id(device.profile)`.
        device_id: `(await device.read_identity()).device_id(device.where)`, of the device as it answers now.

    Raises:
        CommissioningError: Names cause and cure.
    """
    record = read_signed(path, public_key)
    if record.profile != profile_id:
        raise CommissioningError(_other_profile(path, record.profile, profile_id))
    if record.device != device_id:
        raise CommissioningError(
            f"{path} was made for another device ({record.device}) than the one that answers now ({device_id}): "
            f"correct its url, or {_AGAIN}"
        )
    return record


def read_signed(path: Path, public_key: bytes) -> CommissioningRecord:
    """Return the record if it was signed by this home, for whatever device and profile.

    Raises:
        CommissioningError: Names cause and cure.
    """
    record = _parse(path, _signed_line(path, public_key))
    if record.home != home_id(public_key) or record.public_key != encode_base64(public_key):
        raise CommissioningError(f"{path} is a record of home {record.home}, not of this one: {_AGAIN}")
    return record


_AGAIN = "run `commonwatt commission` again"


def _signed_line(path: Path, public_key: bytes) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise CommissioningError(
            f"no commissioning record {path}: `commonwatt commission` checks the device with you and writes it"
        ) from None
    except OSError as error:
        raise CommissioningError(
            f"{path} cannot be read ({error.strerror}): give it to the user that runs this"
        ) from None
    line, newline, rest = data.partition(b"\n")
    damaged = f"{path} is damaged or was changed after it was signed: restore it from your backup, or {_AGAIN}"
    try:
        signature = decode_base64(rest.removesuffix(b"\n"))
    except ValueError:
        raise CommissioningError(damaged) from None
    if not newline or not verify(public_key, signature, line):
        raise CommissioningError(_not_ours(path, line, signature) or damaged)
    return line


def _not_ours(path: Path, line: bytes, signature: bytes) -> str | None:
    """Return the text for a whole record of another key, None when it is not whole."""
    try:
        record = CommissioningRecord.model_validate_json(line)
        theirs = decode_base64(record.public_key)
    except ValueError:
        return None
    if not verify(theirs, signature, line):
        return None
    return f"{path} was signed with another key (home {record.home}): use that home's key file, or {_AGAIN}"


def _parse(path: Path, line: bytes) -> CommissioningRecord:
    unknown = f"{path} is no commissioning record of this version: {_AGAIN}"
    try:
        record = CommissioningRecord.model_validate_json(line)
    except ValidationError:
        raise CommissioningError(unknown) from None
    if record.model_dump_json().encode() != line:
        raise CommissioningError(unknown)
    return record


def _other_profile(path: Path, theirs: str, ours: str) -> str:
    name, other = ours.partition("@")[0], theirs.partition("@")[0]
    if name == other:
        return f"{path}: profile {name}, or a choice in it, was changed since this device was commissioned: {_AGAIN}"
    return f"{path} was made with profile {other}, the settings now say {name}: correct profile, or {_AGAIN}"
