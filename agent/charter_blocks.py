"""Charter papers as blocks of text that survive mail and chats: quoted, indented, amid other words. Pure."""

import hashlib
import re
import zlib
from collections.abc import Sequence
from textwrap import wrap

from pydantic import ValidationError

from coordinator.charter import Document, MeetingBroker, Member
from coordinator.charter_history import Change, History
from coordinator.charter_votes import Departure, Vote
from coordinator.errors import ConfigError
from coordinator.identity import decode_base64, encode_base64
from coordinator.messages import CommunityId

_CHECK_BYTES = 6
_LINE = 72
MAX_CHARACTERS = 4_000_000
_BEGIN = re.compile(r"BEGIN COMMONWATT ([A-Z]+)")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")


class Card(Document):
    """Who wants to be a member. `community` is the one it answers, None for a founding."""

    member: Member
    community: CommunityId | None = None


class BrokerCard(Document):
    """Where homes could meet, as `commonwatt broker-config` prints it."""

    broker: MeetingBroker


Paper = Card | BrokerCard | History | Change | Vote | Departure
_KINDS: dict[str, type[Paper]] = {
    "CARD": Card,
    "BROKER": BrokerCard,
    "CHARTER": History,
    "PROPOSAL": Change,
    "VOTE": Vote,
    "DEPARTURE": Departure,
}


def block(paper: Paper) -> str:
    """Return the paper as a block of text."""
    kind = next(name for name, model in _KINDS.items() if model is type(paper))
    body = _plain(paper)
    text = encode_base64(_check(kind, body) + zlib.compress(body, 9))
    return "\n".join((f"-----BEGIN COMMONWATT {kind}-----", *wrap(text, _LINE), f"-----END COMMONWATT {kind}-----"))


def read_blocks(text: str) -> list[Paper]:
    """Return the papers in a text, in order; what stands around them does not matter.

    Raises:
        ConfigError: If there is none, or one is damaged.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{len(text)} characters are no charter's papers")
    starts = list(_BEGIN.finditer(text))
    if not starts:
        raise ConfigError("no block found: copy all from -----BEGIN COMMONWATT to -----END COMMONWATT")
    ends: Sequence[int] = [each.start() for each in starts[1:]] + [len(text)]
    return [_read(start[1], text[start.end() : end]) for start, end in zip(starts, ends, strict=True)]


def _read(kind: str, rest: str) -> Paper:
    model = _KINDS.get(kind)
    if model is None:
        raise ConfigError(f"a block of the kind {kind} is not known: is this Commonwatt older than your neighbour's?")
    inside, end, _ = rest.partition(f"END COMMONWATT {kind}")
    if not end:
        raise ConfigError(f"the end of the {kind} is missing: copy all, with the line -----END COMMONWATT {kind}-----")
    damaged = ConfigError(f"the {kind} was damaged on its way: copy it again, or send it as a file")
    try:
        raw = decode_base64(_NOT_BASE64.sub("", inside))
    except ValueError:
        raise damaged from None
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(raw[_CHECK_BYTES:], MAX_CHARACTERS)
    except zlib.error:
        raise damaged from None
    if raw[:_CHECK_BYTES] != _check(kind, body):
        raise damaged
    try:
        paper = model.model_validate_json(body)
    except (ValidationError, RecursionError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "too deep"
        raise ConfigError(f"the {kind} cannot be used: {why}") from None
    if _plain(paper) != body:
        raise ConfigError(f"the {kind} is not written in the one right way: whoever made it tampered with it")
    return paper


def _plain(paper: Paper) -> bytes:
    return paper.model_dump_json(exclude_none=True).encode()


def _check(kind: str, body: bytes) -> bytes:
    """Against accidents only; signatures are against people."""
    return hashlib.blake2b(kind.encode() + body, digest_size=_CHECK_BYTES).digest()
