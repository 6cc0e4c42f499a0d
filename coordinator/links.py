"""What a link to a broker is: its settings, its state, what arrives on it, what it tells the owner."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from coordinator.errors import ConfigError
from coordinator.identity import decode_base64, is_sound_key
from coordinator.mqtt_topics import check_filter
from coordinator.tls import NO_TLS, explain_tls

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}

_REFUSALS = {
    "Bad user name or password": "wrong user name or password",
    "Not authorized": "wrong user name or password",
    "Client identifier not valid": "client id not accepted",
    "Server unavailable": "it is not serving at the moment",
}

LinkKind = Literal["connecting", "connected", "away", "refused"]

Filter = Annotated[str, AfterValidator(check_filter)]
UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Also a line start in a password file and a word in a rule file: no colon, blank or line break."""


class Credentials(BaseModel):
    """A password in the settings themselves, or in a file of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    password: SecretStr | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _one_password(self) -> "Credentials":
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        return self

    def secret(self) -> str | None:
        """Return the password; None when there is none.

        Raises:
            ConfigError: If the password file cannot be read or is empty.
        """
        if self.password_file is None:
            return None if self.password is None else self.password.get_secret_value()
        try:
            secret = self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"password_file {self.password_file} cannot be read ({error}): create it, readable by this program"
            ) from error
        if not secret:
            raise ConfigError(f"password_file {self.password_file} is empty: write the password into its first line")
        return secret


def check_url(url: str) -> str:
    """Return the address of a broker, or refuse it (a pydantic validator)."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{url!r} is not of the form mqtts://host:port (encrypted) or mqtt://host:port")
    if parts.username is not None:
        raise ValueError("the user belongs in username and password (or password_file), not in the url")
    try:
        parts.hostname.encode("idna")  # as is done to look it up: no label may be empty or have over 63 bytes
    except UnicodeError:
        raise ValueError(f"{url!r}: such a host name cannot be used") from None
    if not url.isprintable():
        raise ValueError(f"{url!r} has a control character")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{url!r} has no usable port: write one between 1 and 65535")
    return url


BrokerUrl = Annotated[str, AfterValidator(check_url)]


def is_encrypted(url: str) -> bool:
    return urlsplit(url).scheme == "mqtts"


def url_port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or DEFAULT_PORTS[parts.scheme]


def is_local(url: str) -> bool:
    """Return whether only this machine can reach an address."""
    host = urlsplit(url).hostname or ""
    return host.startswith("127.") or host in ("localhost", "::1")


def check_pin(pin: str) -> str:
    """Return the key that signs a broker's certificate, or refuse it (a pydantic validator)."""
    if not is_sound_key(decode_base64(pin)):
        raise ValueError("it is no public key: 44 signs, as the charter shows them")
    return pin


Pin = Annotated[str, AfterValidator(check_pin)]
"""An Ed25519 public key in base64: whose certificate a link trusts, and nobody else's."""


class LinkSettings(Credentials):
    """One broker to talk to.

    `name` is whose broker it is, as the owner calls that home; it stands in notices. `subscribe` holds MQTT filters;
    they should not overlap, or some brokers deliver a message once per filter.
    """

    name: Annotated[str, Field(pattern=r"^[\w][\w .-]{0,63}$")]
    url: BrokerUrl
    username: UserName
    pin: Pin | None = None
    """Whose signature the broker's certificate must have; for `mqtts://` addresses, and only for those."""
    publish: bool = False
    meeting: bool = False
    """Somebody else's broker where homes meet: what is for neighbours is published there too, sealed; nothing else."""
    subscribe: tuple[Filter, ...] = ()

    @model_validator(mode="after")
    def _encrypted_is_pinned(self) -> "LinkSettings":
        if is_encrypted(self.url) and self.pin is None:
            raise ValueError(f"{self.url}: whose key signs its certificate? Give pin, or write mqtt:// (not encrypted)")
        if self.pin is not None and not is_encrypted(self.url):
            raise ValueError(f"{self.url} is not encrypted: write mqtts://, or leave pin out")
        return self

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return url_port(self.url)

    @property
    def encrypted(self) -> bool:
        return is_encrypted(self.url)

    @property
    def wire(self) -> str:
        """What somebody on the way sees, in words."""
        if self.encrypted:
            return "encrypted"
        return "within this machine" if is_local(self.url) else "NOT encrypted"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """Times and bounds of links; all times are wall seconds."""

    keepalive_s: int = 5
    """A silent broker is noticed after about twice this time."""
    connect_timeout_s: float = 5.0
    retry_min_s: float = 1.0
    retry_max_s: float = 15.0
    watch_s: float = 1.0
    """How often the link's network thread is checked for being alive."""
    flood_per_s: float = 200.0
    """A broker with one home's words that sends so many per second beyond what is taken is hung up on, like one that
    breaks MQTT's rules ..."""
    rest_s: float = 60.0
    """... for so long; twice as long each time it goes on at once ..."""
    rest_max_s: float = 3600.0
    """... but no longer than this."""
    outbox: int = 500
    """QoS 1 messages held while the broker is away; above it the newest is dropped."""
    inbox: int = 2000
    """Received messages held until they are read, over all links; of a link that holds more than its share of them the
    newest is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """One received message. `topic` is a hint of the broker's: who sent it is who signed the payload."""

    link: str
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """A link as it is now. `reason` says why, in plain words, also when it is connected."""

    name: str
    kind: LinkKind
    since: datetime
    reason: str

    @property
    def connected(self) -> bool:
        return self.kind == "connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkNotice:
    """One line for the owner: a change of a link's state."""

    at: datetime
    level: Literal["info", "warning", "error"]
    link: str
    text: str


OnNotice = Callable[[LinkNotice], None]
"""Called on the event loop, never on a network thread."""


def explain_refusal(reason: str) -> str:
    """Return why a broker answered CONNECT with a refusal, in plain words."""
    return _REFUSALS.get(reason, reason.lower())


def explain_failure(error: BaseException | None) -> str:
    """Return why no connection came about, in plain words."""
    match error:
        case ConnectionRefusedError():
            return "connection refused (nothing listens there)"
        case ConnectionResetError():  # of a connection that was there: in the handshake
            return NO_TLS
        case TimeoutError() if "handshake" in str(error):
            return NO_TLS
        case TimeoutError():
            return "no answer"
        case socket.gaierror():
            return "host name not known"
        case ssl.SSLError():
            return explain_tls(error)
        case UnicodeError():
            return "host name cannot be used"
        case OSError():
            return (error.strerror or str(error)).lower()
        case _:
            return "no connection"


def describe_change(
    settings: LinkSettings, before: LinkState, after: LinkState
) -> tuple[Literal["info", "warning"], str]:
    """Return level and text of the owner's notice for a change of state."""
    whose = f"{settings.name}'s broker"
    wire = "" if is_local(settings.url) else f" ({settings.wire})"
    match after.kind:
        case "connected" if before.kind == "connecting":
            return "info", f"link to {whose} is up{wire}"
        case "connected":
            return "info", f"link to {whose} is back{wire}"
        case "refused":
            return "warning", f"broker {settings.url} refused user '{settings.username}': {after.reason}; trying again"
        case _:
            return "warning", f"link to {whose} is down: {after.reason}; trying again"
