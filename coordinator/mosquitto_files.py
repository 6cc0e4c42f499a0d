"""The files Mosquitto is started with: passwords, rules and configuration. Pure."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from coordinator.broker_settings import CONNECTIONS_MAX, PACKET_MAX_BYTES, BrokerUser

_PBKDF2_ROUNDS = 10_000
"""Mosquitto checks a password in its only thread: about 10 ms of a PC's time, 40 ms of a Pi's, per connection."""


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


def config_lines(host: str, port: int, files: Path, data_dir: Path | None) -> list[str]:
    """Return the lines of mosquitto.conf, for 2.0 and 2.1.

    Every limit is set: the defaults were unlimited memory before 2.1, and changed with it. `message_size_limit` is left
    alone: it drops a message and acknowledges it all the same, and 2.0.11 advises against it.
    """
    lines = [
        f"listener {port} {host}",
        f"max_connections {CONNECTIONS_MAX}",
        "allow_anonymous false",
        f"password_file {files / 'passwords'}",
        f"acl_file {files / 'rules'}",
        f"max_packet_size {PACKET_MAX_BYTES}",
        "max_inflight_messages 100",
        "max_queued_messages 2000",
        f"max_queued_bytes {16 * PACKET_MAX_BYTES}",
        "set_tcp_nodelay true",
        "sys_interval 0",
        "connection_messages false",
        "log_dest stderr",
        "log_timestamp false",
        *(f"log_type {kind}" for kind in ("error", "warning", "information")),
    ]
    if data_dir is not None:
        lines += ["persistence true", f"persistence_location {data_dir}/", "autosave_interval 300"]
    return lines
