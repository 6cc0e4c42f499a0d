"""A broker's settings: where it listens, who may come in, and what each may read and write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from coordinator.links import Credentials, Filter, UserName
from coordinator.mqtt_topics import direct_topic, pub_topic

BrokerKind = Literal["auto", "mosquitto", "embedded"]

PACKET_MAX_BYTES = 512 * 1024
"""Well above everything we send: a broker that closes on a packet gets it again at every reconnect."""
CONNECTIONS_MAX = 256


class BrokerUser(Credentials):
    """Who may connect. Nobody gets in without a password, and nothing is allowed that is not listed."""

    name: UserName
    publish: tuple[Filter, ...] = ()
    subscribe: tuple[Filter, ...] = ()

    @model_validator(mode="after")
    def _has_password(self) -> "BrokerUser":
        if self.password_file is None and (self.password is None or not self.password.get_secret_value()):
            raise ValueError(f"user {self.name!r} has no password: give password or password_file")
        return self


class TlsSettings(BaseModel):
    """Where a broker listens for encrypted links."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8883
    key_file: Path | None = None
    """The key that signs the certificate; a home's agent takes the home's own without being told."""


class BrokerSettings(BaseModel):
    """The file of `commonwatt broker --config FILE`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: BrokerKind = "auto"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 1883
    """0 takes any free port."""
    tls: TlsSettings | None = None
    """Also listen here, encrypted; without it, not."""
    users: tuple[BrokerUser, ...]
    data_dir: Path | None = None
    """Where Mosquitto keeps retained messages over a restart; None keeps nothing."""

    @model_validator(mode="after")
    def _distinct_users(self) -> "BrokerSettings":
        check_users(self.users)
        return self


def check_users(users: tuple[BrokerUser, ...]) -> None:
    """Refuse two users of one name: which of the two rules would hold is the broker's secret.

    Raises:
        ValueError: If a name occurs twice.
    """
    names = [user.name for user in users]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"users named twice: {', '.join(sorted(twice))}")


def home_users(community: str, home: str, owner_password: str, peers: Mapping[str, str]) -> tuple[BrokerUser, ...]:
    """Return the users of a home's own broker: its owner may do everything, each peer may read what is meant for it.

    Args:
        community: Id of the community.
        home: Id of the home.
        peers: Password by id of the peer; the id is the user name.
    """
    owner = BrokerUser(name="owner", password=SecretStr(owner_password), publish=("#",), subscribe=("#",))
    return (owner, *readers(community, home, peers))


def meeting_users(community: str, passwords: Mapping[str, str]) -> tuple[BrokerUser, ...]:
    """Return the members as users of a meeting broker: each speaks as itself, and reads what is for all and for it.

    Args:
        passwords: By id of the member; the id is the user name.
    """
    return tuple(
        BrokerUser(
            name=member,
            password=SecretStr(password),
            publish=(pub_topic(community, member), direct_topic(community, member, "+")),
            subscribe=(pub_topic(community, "+"), direct_topic(community, "+", member)),
        )
        for member, password in passwords.items()
    )


def readers(community: str, home: str, peers: Mapping[str, str]) -> tuple[BrokerUser, ...]:
    """Return the peers among the users of a home's own broker. Args as `home_users`."""
    return tuple(
        BrokerUser(
            name=peer,
            password=SecretStr(password),
            subscribe=(pub_topic(community, home), direct_topic(community, home, peer)),
        )
        for peer, password in peers.items()
    )
