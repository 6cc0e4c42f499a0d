"""The files Mosquitto is started with: passwords, rules and configuration. Pure."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coordinator.broker_settings import CONNECTIONS_MAX, PACKET_MAX_BYTES, BrokerUser

Dialect = Literal["2.0", "2.1"]
"""2.1 still reads what 2.0 does; 3.0 will not."""

PASSWORDS, RULES, CERTIFICATE, PRIVATE_KEY = "passwords", "rules", "certificate.pem", "tls-key.pem"
"""Names of the files beside the configuration."""

_PBKDF2_ROUNDS = 10_000
"""Mosquitto checks a password in its only thread: about 10 ms of a PC's time, 40 ms of a Pi's, per connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where a broker listens."""

    host: str
    port: int
    tls: bool = False


def password_line(name: str, password: str, salt: bytes) -> str:
    """Return a line of a Mosquitto password file: PBKDF2 with SHA-512, its type 7. The salt has 12 bytes."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PBKDF2_ROUNDS)
    return f"{name}:$7${_PBKDF2_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def rule_lines(users: Sequence[BrokerUser]) -> list[str]:
    """Return the lines of a Mosquitto rule file; what it does not list is denied."""
    lines: list[str] = []
    for user in users:
        lines.append(f"user {user.name}")
        lines += [f"topic write {topic_filter}" for topic_filter in user.publish]
        lines += [f"topic read {topic_filter}" for topic_filter in user.subscribe]
    return lines


def config_lines(
    listeners: Sequence[Listener], files: Path, *, dialect: Dialect = "2.0", plugins: Path | None = None
) -> list[str]:
    """Return the lines of mosquitto.conf that say who may come in, and how much.

    Every limit is set: the defaults were unlimited memory before 2.1, and changed with it. `message_size_limit` is left
    alone: it drops a message and acknowledges it all the same, and 2.0.11 advises against it.

    Args:
        files: The folder of the other files.
        plugins: Where 2.1 has its plugins; needed for that dialect.
    """
    lines = []
    for listener in listeners:
        lines += [f"listener {listener.port} {listener.host}", f"max_connections {CONNECTIONS_MAX}"]
        if listener.tls:
            lines += [f"certfile {files / CERTIFICATE}", f"keyfile {files / PRIVATE_KEY}", "tls_version tlsv1.3"]
    lines.append("allow_anonymous false")
    if dialect == "2.0":
        lines += [f"password_file {files / PASSWORDS}", f"acl_file {files / RULES}"]
    else:
        assert plugins is not None
        lines += [
            f"global_plugin {plugins / 'mosquitto_password_file.so'}",
            f"plugin_opt_password_file {files / PASSWORDS}",
            f"global_plugin {plugins / 'mosquitto_acl_file.so'}",
            f"plugin_opt_acl_file {files / RULES}",
        ]
    return [
        *lines,
        f"max_packet_size {PACKET_MAX_BYTES}",
        "max_inflight_messages 100",
        "max_queued_messages 2000",
        f"max_queued_bytes {16 * PACKET_MAX_BYTES}",
        "set_tcp_nodelay true",
        "sys_interval 0",
        "connection_messages false",
    ]


def child_lines(data_dir: Path | None) -> list[str]:
    """Return the lines of mosquitto.conf for a child of ours; a service has its own place for data and log."""
    lines = ["log_dest stderr", "log_timestamp false"]
    lines += [f"log_type {kind}" for kind in ("error", "warning", "information")]
    if data_dir is not None:
        lines += ["persistence true", f"persistence_location {data_dir}/", "autosave_interval 300"]
    return lines
