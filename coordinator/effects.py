"""What a decision asks of the shell (desk.py), which performs it in this order: sign, make durable, apply, send."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coordinator.codec import Verified
from coordinator.ledger import Mark
from coordinator.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Sign, make durable, apply, then send."""

    kind: type[Message]
    to: str
    expires_at: datetime
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisper:
    """Sign and send; binds nobody, so it is not kept."""

    kind: type[Message]
    to: str
    expires_at: datetime
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Make durable, then apply, what a peer said, or repeated to us of what we had said ourselves and lost."""

    verified: Verified[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Make a local mark durable, then apply."""

    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Send once more, byte for byte, what was durably said before."""

    wire: bytes
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recite:
    """Send a peer what the ledger holds of it for the slots from `since` to `until`, to its life that asked."""

    to: str
    asker_inc: int
    since: int
    until: int
    undecided: int


Effect = Say | Whisper | Keep | Note | Again | Recite
