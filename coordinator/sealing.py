"""Sealed messages: at a meeting broker its operator sees who speaks, when and how much, and nothing of what. Pure.

Two members share a secret that follows from their exchange keys in the charter. A message is encrypted once with a key
of its own; that key stands in front of it once for each reader, masked with what only the two can compute, behind a
short label by which the reader finds it. No state, no key exchange, no order of messages: what is lost is lost alone.

    nonce (16) | number of readers (1) | that many times: label (4), masked key (16) | ChaCha20-Poly1305 of the message

Who gets a member's key later can read what was sealed for it before: TLS, not this, is against those who record.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from coordinator.identity import Identity
from coordinator.mqtt_topics import direct_reader, speaker

_NONCE, _LABEL, _KEY, _TAG = 16, 4, 16, 16
_SLOT = _LABEL + _KEY
READERS_MAX = 255
SEALING_MAX_BYTES = _NONCE + 1 + READERS_MAX * _SLOT + _TAG
"""By so much at most a sealed message is longer."""

_ONCE = bytes(12)
"""The cipher's nonce: its key is used for one message only."""


class Sealer:
    """One member's side of sealing.

    Args:
        others: Exchange key by id of the other members; who has none reads nothing here.
        random: Returns so many random bytes.

    Raises:
        ValueError: If an exchange key leaves nothing to chance; its text is whose.
    """

    def __init__(
        self,
        identity: Identity,
        community: str,
        others: Mapping[str, bytes],
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._random = random
        purpose = f"sealed message|{community}|"
        self._to: dict[str, bytes] = {}
        self._from: dict[str, bytes] = {}
        for other, key in others.items():
            try:
                self._to[other] = identity.shared_secret(key, purpose + identity.id)
                self._from[other] = identity.shared_secret(key, purpose + other)
            except ValueError as error:
                raise ValueError(other) from error

    def seal(self, topic: str, message: bytes) -> bytes:
        """Return the message for those who may read the topic: all other members, or one."""
        reader = direct_reader(topic)
        secrets_of = self._to.values() if reader is None else [self._to[reader]] if reader in self._to else []
        nonce, key = self._random(_NONCE), self._random(_KEY)
        slots = b"".join(_label(secret, nonce) + _masked(secret, nonce, key) for secret in secrets_of)
        return nonce + bytes([len(slots) // _SLOT]) + slots + _cipher(key).encrypt(_ONCE, message, topic.encode())

    def unseal(self, topic: str, sealed: bytes) -> bytes | None:
        """Return the message; None if it is not for this home, or not from who speaks on that topic."""
        secret = self._from.get(speaker(topic) or "")
        if secret is None or len(sealed) <= _NONCE:
            return None
        nonce, begin = sealed[:_NONCE], _NONCE + 1
        end = begin + sealed[_NONCE] * _SLOT
        if len(sealed) < end:
            return None  # cut short
        label = _label(secret, nonce)
        for at in range(begin, end, _SLOT):
            if sealed[at : at + _LABEL] != label:
                continue
            key = _masked(secret, nonce, sealed[at + _LABEL : at + _SLOT])
            try:
                return _cipher(key).decrypt(_ONCE, sealed[end:], topic.encode())
            except InvalidTag:
                continue  # another reader's label that is the same by chance, or a forgery
        return None


def _label(secret: bytes, nonce: bytes) -> bytes:
    return hashlib.blake2b(nonce, key=secret, digest_size=_LABEL, person=b"cw seal label").digest()


def _masked(secret: bytes, nonce: bytes, key: bytes) -> bytes:
    mask = hashlib.blake2b(nonce, key=secret, digest_size=_KEY, person=b"cw seal mask").digest()
    return bytes(a ^ b for a, b in zip(key, mask, strict=True))


def _cipher(key: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(hashlib.blake2b(key, digest_size=32, person=b"cw seal key").digest())
