"""What the page needs to know: where it listens and whose topics it reads."""

from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.dashboard.topics import PREFIX, TOPICS
from coordinator.links import Pin, is_encrypted, url_port
from coordinator.zones import known_zone


class Source(BaseModel):
    """One home's broker, as a reader is let into it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Annotated[str, Field(min_length=1, max_length=64)]
    url: str
    """`mqtt://host:port` or, encrypted, `mqtts://host:port`; ports 1883 and 8883 when left out."""
    pin: Pin | None = None
    """The home's public key, as in the charter: for `mqtts://`, so that the password is told to nobody else."""
    username: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None

    @field_validator("home")
    @classmethod
    def _can_be_part_of_a_topic(cls, home: str) -> str:
        if set(home) & set("+#/\0"):
            raise ValueError("a home's name is part of its topics and cannot contain + # or /")
        return home

    @field_validator("url")
    @classmethod
    def _is_a_broker(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/") or parts.username:
            raise ValueError(f"{url!r} is not a broker: write mqtt://host:port, user and password in their own keys")
        try:
            if parts.port == 0:
                raise ValueError
        except ValueError:
            raise ValueError(f"{url!r} has no usable port: write one between 1 and 65535") from None
        return url

    @model_validator(mode="after")
    def _encrypted_is_pinned(self) -> "Source":
        if is_encrypted(self.url) != (self.pin is not None):
            raise ValueError(f"{self.url}: mqtts://, and only that, needs pin: the home's key in the charter")
        return self

    @property
    def broker_host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def broker_port(self) -> int:
        return url_port(self.url)

    @property
    def topic_filters(self) -> tuple[str, ...]:
        """The kinds this program knows, one filter each: nothing else on the broker is asked for."""
        return tuple(f"{PREFIX}/{self.home}/{kind}" for kind in TOPICS)


class DashboardSettings(BaseModel):
    """The page's own section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = "Commonwatt"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    sources: Annotated[list[Source], Field(min_length=1)]
    demo: bool = False
    """True: times come from a simulation and the page says so."""
    timezone: str = "UTC"

    _known_zone = field_validator("timezone")(known_zone)

    @field_validator("sources")
    @classmethod
    def _homes_differ(cls, sources: list[Source]) -> list[Source]:
        names = [source.home for source in sources]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"home {twice!r} is listed twice: every home needs its own name")
        return sources

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)
