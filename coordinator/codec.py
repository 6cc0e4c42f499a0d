"""Bytes on the wire: one line of JSON, a newline, the base64 Ed25519 signature of exactly that line.

Strict both ways: the model's own encoding of what was parsed must equal the received bytes, so two parsers cannot read
two meanings into one signature. Checks run from cheap to dear: size, member, rate, signature, parse.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from coordinator.charter import Charter
from coordinator.clock import unix_ms
from coordinator.errors import LocalProtocolError, RemoteProtocolError
from coordinator.identity import Identity, decode_base64, encode_base64, verify
from coordinator.messages import ADAPTER, EVERYBODY, AnyMessage, Message

MAX_BYTES = 16 * 1024
TRADING = frozenset({"ready", "bid", "price_request", "prices", "offer", "residual", "deviation"}) | {
    *("roster", "share", "abandon", "deviation_share", "ask", "quote")
}
"""What is said to trade with somebody from now on."""
NEW_BUSINESS = TRADING | {"presence", "heads", "hearsay"}
"""What is said by the rules in force only; statements on what was agreed before hold under any later charter."""
MAX_AHEAD_MS = 120_000
"""A message may be dated this far in our future: two homes whose clocks differ by less still understand each other."""

M = TypeVar("M", bound=Message)
_HEAD = re.compile(
    r'\{"v":1,"kind":"([a-z_]{1,24})","community":"([0-9a-f]{16})","sender":"([a-z2-7]{16})","to":"([^"\n]{1,16})"'
)
_HEAD_MAX = 160
_TOKEN = object()


class Verified(Generic[M]):
    """A message whose signature was checked. Only this module can make one."""

    __slots__ = ("_content", "message", "wire")

    def __init__(self, message: M, wire: bytes, token: object) -> None:
        if token is not _TOKEN:
            raise LocalProtocolError("only the verifier makes Verified messages")
        self.message = message
        self.wire = wire
        self._content: bytes | None = None

    @property
    def content(self) -> bytes:
        """What the message says, without its header: worked out once, however often it is compared."""
        if self._content is None:
            line = self.wire.partition(b"\n")[0]
            body = line.partition(b'"expires_ms":')[2].partition(b",")[2]
            self._content = str(self.message.kind).encode() + b"," + body
        return self._content

    @staticmethod
    def narrow(verified: "Verified[Any]", kind: type[M]) -> "Verified[M]":
        """Return the same message with its type known.

        Raises:
            LocalProtocolError: If it is of another kind.
        """
        if not isinstance(verified.message, kind):
            raise LocalProtocolError(f"{verified.message!r} is no {kind.__name__}")
        return verified

    def __repr__(self) -> str:
        return f"Verified({self.message!r})"


def digest(data: bytes) -> str:
    """Return the 128-bit BLAKE2b hash that ids and references use, in hex."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def message_id(wire: bytes) -> str:
    """Return the id of a wire message: the hash of its signed line, never of its signature."""
    return digest(wire.partition(b"\n")[0])


def _heading(wire: bytes) -> tuple[str, ...] | None:
    """Return kind, terms, sender and receiver as a wire message claims them, unchecked."""
    head = _HEAD.match(wire[:_HEAD_MAX].decode("ascii", "replace"))
    return None if head is None else head.groups()


def heading(wire: bytes) -> tuple[str, str, str] | None:
    """Return kind, sender and receiver as a wire message claims them, unchecked."""
    head = _heading(wire)
    return None if head is None else (head[0], head[2], head[3])


def encode(message: AnyMessage, identity: Identity) -> Verified[Any]:
    """Sign a message of our own.

    Raises:
        LocalProtocolError: If the message names another sender or is too large to send.
    """
    if message.sender != identity.id:
        raise LocalProtocolError(f"cannot sign for {message.sender}")
    line = message.model_dump_json().encode()
    wire = line + b"\n" + encode_base64(identity.sign(line)).encode()
    if len(wire) > MAX_BYTES:
        raise LocalProtocolError(f"message of {len(wire)} bytes is over the limit of {MAX_BYTES}")
    return Verified(message, wire, _TOKEN)


def _parse(line: bytes, peer: str) -> AnyMessage:
    try:
        message = ADAPTER.validate_json(line)
    except (ValidationError, RecursionError):
        raise RemoteProtocolError(peer, "not a message of this protocol") from None
    if message.model_dump_json().encode() != line:
        raise RemoteProtocolError(peer, "not written in the one canonical way")
    return message


class Verifier:
    """Turns bytes from anywhere into verified messages of this community.

    Args:
        charter: Whose members may speak.
        me: Own id: messages to somebody else are refused.
        allow: Called with (sender, link) before the signature is checked; False drops the message (rate limit).
        heard: Called when the signature fits, however old or young the message is, with sender, how far ahead of ours
            its time is [ms], and our time.
    """

    def __init__(
        self,
        charter: Charter,
        me: str,
        allow: Callable[[tuple[str, str], datetime], bool] | None = None,
        heard: Callable[[str, int, datetime], None] = lambda sender, ahead_ms, now: None,
    ) -> None:
        self._charter = charter
        self._terms, self._keys = charter.terms, charter.public_keys
        self._ever = {home: decode_base64(member.public_key) for home, member in charter.ever.items()}
        self._addressees = frozenset({EVERYBODY, me})
        self._allow = allow
        self._heard = heard

    def verify(self, wire: bytes, now: datetime, link: str = "") -> Verified[Any]:
        """Return the message.

        Args:
            link: Over which it came: who names others as senders of garbage uses up their share there and nowhere else.

        Raises:
            RemoteProtocolError: For everything that is wrong with it, and nothing else ever.
        """
        sender = self._cheap_checks(wire, now, link)
        verified = self._signed(wire, sender, self._keys)
        message, now_ms = verified.message, unix_ms(now)
        self._heard(sender, message.sent_ms - now_ms, now)
        if message.expires_ms <= now_ms:
            raise RemoteProtocolError(sender, f"{message.kind} has expired")
        if message.sent_ms > now_ms + MAX_AHEAD_MS:
            raise RemoteProtocolError(sender, f"{message.kind} comes from the future: are both clocks right?")
        return verified

    def reopen(self, wire: bytes) -> Verified[Any]:
        """Verify a message from our own ledger again: no expiry and no rate limit, and former members count.

        Raises:
            RemoteProtocolError: If it is not a message of somebody who is or was a member.
        """
        head = _heading(wire)
        if head is None:
            raise RemoteProtocolError("?", "not a message of this protocol")
        return self._signed(wire, head[2], self._ever)

    def _cheap_checks(self, wire: bytes, now: datetime, link: str) -> str:
        if len(wire) > MAX_BYTES:
            raise RemoteProtocolError("?", f"{len(wire)} bytes are over the limit of {MAX_BYTES}")
        head = _heading(wire)
        if head is None or b"\n" not in wire:
            raise RemoteProtocolError("?", "not a message of this protocol")
        kind, terms, sender, to = head
        if terms != self._terms:
            self._check_earlier(kind, terms, sender)
        if sender not in self._keys:
            raise RemoteProtocolError(sender, "is not a member")
        if to not in self._addressees:
            raise RemoteProtocolError(sender, "was meant for somebody else")
        if self._allow is not None and not self._allow((sender, link), now):
            raise RemoteProtocolError(sender, "sends too much")
        return sender

    def _check_earlier(self, kind: str, terms: str, sender: str) -> None:
        if terms not in self._charter.earlier_terms:
            raise RemoteProtocolError(sender, "belongs to another community")
        if kind in NEW_BUSINESS:
            raise RemoteProtocolError(sender, "goes by an earlier charter")

    def _signed(self, wire: bytes, sender: str, keys: Mapping[str, bytes]) -> Verified[Any]:
        public_key = keys.get(sender)
        if public_key is None:
            raise RemoteProtocolError(sender, "is not a member")
        line, _, signed = wire.partition(b"\n")
        try:
            signature = decode_base64(signed)
        except ValueError:
            raise RemoteProtocolError(sender, "signature is not base64") from None
        if not verify(public_key, signature, line):
            raise RemoteProtocolError(sender, "signature does not fit")
        return Verified(_parse(line, sender), wire, _TOKEN)
