"""nats-server's files for its MQTT side, for a meeting broker of many homes: configuration and users. Pure.

Its MQTT is 3.1.1 with QoS 0 and 1 and what else we use; QoS 2 and MQTT 5, which it refuses, we do not.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from coordinator.broker_settings import PACKET_MAX_BYTES, BrokerUser
from coordinator.mosquitto_files import CERTIFICATE, PRIVATE_KEY, Listener

USERS = "users.conf"
HUB_CONNECTIONS_MAX = 4096

_DELIVERY = "$MQTT.sub.>"
"""Subscriptions with QoS 1 are delivered over subjects of the server's own, which releases before 2.12.3 want allowed.
Clients still cannot subscribe to them."""


def hub_lines(listener: Listener, name: str, files: Path) -> list[str]:
    """Return the lines of nats.conf.

    Args:
        name: The server's name; MQTT needs one.
        files: The folder of the other files; what the server stores is kept below it.
    """
    return [
        f"server_name: {json.dumps(name)}",
        'listen: "127.0.0.1:-1"  # NATS itself: any port of this machine; no user may use it',
        f"max_payload: {PACKET_MAX_BYTES}",
        f"max_connections: {HUB_CONNECTIONS_MAX}",
        f"max_pending: {32 * PACKET_MAX_BYTES}",
        f"jetstream {{ store_dir: {json.dumps(str(files / 'store'))}, max_memory_store: 64MB, max_file_store: 1GB }}",
        f"include {USERS}",
        "mqtt {",
        f"  host: {json.dumps(listener.host)}",
        f"  port: {listener.port}",
        "  max_ack_pending: 2000",
        "  tls {",
        f"    cert_file: {json.dumps(str(files / CERTIFICATE))}",
        f"    key_file: {json.dumps(str(files / PRIVATE_KEY))}",
        "  }",
        "}",
    ]


def user_lines(users: Sequence[BrokerUser]) -> list[str]:
    """Return the lines of users.conf.

    The passwords are written as they are: they are hashes of keys, 256 bits each, and the server could only hash them
    with bcrypt, which takes a second of its CPU for every dozen of logins. Nobody but the server may read the file.
    """
    return ["authorization {", "  users: [", *(f"    {_user(user)}" for user in users), "  ]", "}"]


def _user(user: BrokerUser) -> str:
    fields = {
        "user": user.name,
        "password": user.secret(),
        "permissions": {
            "publish": [_subject(topic) for topic in user.publish],
            "subscribe": [*map(_subject, user.subscribe), _DELIVERY],
        },
        "allowed_connection_types": ["MQTT"],
    }
    return json.dumps(fields)


def _subject(topic_filter: str) -> str:
    """Return what NATS calls a filter of ours, which has no dots and no blanks."""
    return topic_filter.replace("/", ".").replace("+", "*").replace("#", ">")
