"""Signatures that cost a microsecond instead of a hundred, for most seeds.

A keyed hash with the interface of coordinator.identity.Identity. Inside the simulation it cannot be forged: each key
stays in its own object, and only the check below looks it up. Every sixteenth seed runs on real Ed25519.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import coordinator.codec
from coordinator.identity import Identity

_KEYS: dict[bytes, bytes] = {}


class CheapIdentity(Identity):
    """Has a true public key, as the charter demands; signs by a keyed hash of 64 bytes."""

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        made = cls(Ed25519PrivateKey.from_private_bytes(seed))
        _KEYS[made.public_key] = hashlib.blake2b(seed, digest_size=32).digest()
        return made

    def sign(self, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, key=_KEYS[self.public_key], digest_size=64).digest()


def _verify(public_key: bytes, signature: bytes, payload: bytes) -> bool:
    return hashlib.blake2b(payload, key=_KEYS[public_key], digest_size=64).digest() == signature


@contextmanager
def signatures(*, real: bool) -> Iterator[type[Identity]]:
    """Give the class of identities to use; within the block the product checks their signatures."""
    true = coordinator.codec.verify
    if not real:
        coordinator.codec.verify = _verify
    try:
        yield Identity if real else CheapIdentity
    finally:
        coordinator.codec.verify = true
