"""The files of a broker that runs as a service of its own: for one home, or for a community to meet at. Pure."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from agent.config import HomeConfig
from agent.peer_links import broker_users, meeting_broker_users
from coordinator.broker_settings import BrokerUser, check_users
from coordinator.charter import Charter, MeetingBroker
from coordinator.errors import ConfigError
from coordinator.identity import Identity, encode_base64
from coordinator.links import is_encrypted, is_local, url_port
from coordinator.mosquitto_files import (
    CERTIFICATE,
    PASSWORDS,
    PRIVATE_KEY,
    RULES,
    Dialect,
    Listener,
    config_lines,
    password_line,
    rule_lines,
)
from coordinator.nats_files import USERS, hub_lines, user_lines
from coordinator.tls import issue

Program = Literal["mosquitto-2.0", "mosquitto-2.1", "nats"]

MOSQUITTO_CONFIG, NATS_CONFIG = "commonwatt.conf", "nats.conf"
SECRET_FILES = frozenset({PASSWORDS, PRIVATE_KEY, USERS})
"""Never printed."""

SERVICE_VALID = timedelta(days=5 * 365)
"""Of a certificate nobody renews by himself. Who steals its key can play this broker that long, and nothing else."""

_HEAD = "# Written by `commonwatt broker-config`: run that again when members come or go, and restart the broker."


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """What a broker is to be.

    Attributes:
        identity: Signs the certificate.
    """

    name: str
    identity: Identity
    listeners: Sequence[Listener]
    users: Sequence[BrokerUser]


def plan_own(config: HomeConfig, charter: Charter, identity: Identity) -> ServicePlan:
    """Return the broker of one home: plain on its own machine, encrypted for neighbours.

    Raises:
        ConfigError: If the home's own address is not on this machine, or a password cannot be read.
    """
    own = config.mqtt.own.url
    if is_encrypted(own) or not is_local(own):
        raise ConfigError(f"mqtt.own.url is {own}: run this on the machine of the broker, with mqtt://127.0.0.1 there")
    address, tls = charter.by_id[identity.id].broker, config.broker.tls if config.broker is not None else None
    port = url_port(address) if address is not None and is_encrypted(address) else 8883 if tls is None else tls.port
    listeners = [
        Listener(host=urlsplit(own).hostname or "", port=url_port(own)),
        Listener(host="0.0.0.0", port=port, tls=True),  # neighbours come from elsewhere
    ]
    users = broker_users(config, charter, identity)
    return ServicePlan(name=config.home.name, identity=identity, listeners=listeners, users=users)


def meeting_entry(name: str, url: str, identity: Identity) -> MeetingBroker:
    """Return what a charter says of a meeting broker."""
    return MeetingBroker(
        name=name,
        url=url,
        public_key=encode_base64(identity.public_key),
        exchange_key=encode_base64(identity.exchange_key),
    )


def plan_meeting(entry: MeetingBroker, host: str, charters: Sequence[Charter], identity: Identity) -> ServicePlan:
    """Return a meeting broker: encrypted only, for the members of some communities. Each sees its own only.

    Raises:
        ConfigError: If a charter does not have this broker, or a home is in two of them with one key.
    """
    users = tuple(user for charter in charters for user in meeting_broker_users(charter, identity))
    try:
        check_users(users)
    except ValueError as error:
        raise ConfigError(f"{error}: a key is a member of one community only") from None
    listener = Listener(host=host, port=url_port(entry.url), tls=True)
    return ServicePlan(name=entry.name, identity=identity, listeners=[listener], users=users)


def service_files(
    plan: ServicePlan,
    program: Program,
    folder: Path,
    now: datetime,
    *,
    plugins: Path | None = None,
    salt: Callable[[], bytes] = lambda: secrets.token_bytes(12),
) -> dict[str, str]:
    """Return the text of each file by its name.

    Args:
        folder: Where the files will lie on the broker's machine.
        now: By the wall's clock.
        plugins: Where Mosquitto 2.1 has its plugins; needed for that program.
        salt: Makes one for each password.
    """
    certificate = issue(plan.identity, now, SERVICE_VALID)
    if program == "nats":
        lines = {NATS_CONFIG: [_HEAD, *hub_lines(plan.listeners[0], plan.name, folder)], USERS: user_lines(plan.users)}
    else:
        dialect: Dialect = "2.1" if program == "mosquitto-2.1" else "2.0"
        lines = {
            MOSQUITTO_CONFIG: [_HEAD, *config_lines(plan.listeners, folder, dialect=dialect, plugins=plugins)],
            PASSWORDS: [password_line(user.name, user.secret() or "", salt()) for user in plan.users],
            RULES: [_HEAD, *rule_lines(plan.users)],
        }
    texts = {name: "".join(f"{line}\n" for line in each) for name, each in lines.items()}
    return texts | {CERTIFICATE: certificate.certificate.decode(), PRIVATE_KEY: certificate.private_key.decode()}
