"""Signatures that cost a microsecond instead of a hundred, for most seeds, and each message read once.

A keyed hash with the interface of coordinator.identity.Identity. Inside the simulation it cannot be forged: each key
stays in its own object, and only the check below looks it up. Every thirty-second seed runs on real Ed25519.

Whether a signature fits a line, and what the line says, follows from the bytes and the sender's key alone, and so do
the hashes of contents. Five homes and their restarts would work it out again and again, so it is remembered; what a
home makes of it (member, receiver, rate, age, and all that follows) stays its own. What a desk signs is remembered
as it was signed; that reading it gives the same again is tested on every thirty-second seed and by
tests/unit/coordinator/test_codec.py.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import coordinator.codec
from coordinator import desk, witness
from coordinator.codec import Verified, Verifier, encode
from coordinator.errors import RemoteProtocolError
from coordinator.identity import Identity
from coordinator.messages import AnyMessage

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


_signed, _heading = Verifier._signed, coordinator.codec._heading
_digest, _short = witness.digest, witness._short

_Known = dict[tuple[bytes, bytes | None], Any]
"""What a line signed by a key says, or why it is refused."""


def _remembering(known: _Known) -> Any:
    """Return the verifier's dear part with a memory of its results, messages and refusals."""

    def signed(self: Verifier, wire: bytes, sender: str, keys: Mapping[str, bytes]) -> Any:
        found = known.get(key := (wire, keys.get(sender)))
        if found is None:
            try:
                found = _signed(self, wire, sender, keys)
            except RemoteProtocolError as error:
                found = error
            known[key] = found
        if isinstance(found, RemoteProtocolError):
            raise RemoteProtocolError(found.peer, found.reason)
        return found

    return signed


def _noting(known: _Known) -> Any:
    """Return what signs a desk's messages, with that memory."""

    def signed(message: AnyMessage, identity: Identity) -> Verified[Any]:
        verified = encode(message, identity)
        known[verified.wire, identity.public_key] = verified
        return verified

    return signed


@contextmanager
def keys(*, real: bool) -> Iterator[type[Identity]]:
    """Give the class of identities to use; within the block the product checks their signatures."""
    true = coordinator.codec.verify
    if not real:
        coordinator.codec.verify = _verify
    try:
        yield Identity if real else CheapIdentity
    finally:
        coordinator.codec.verify = true


@contextmanager
def signatures(*, real: bool) -> Iterator[type[Identity]]:
    """Do what `keys` does, and remember what was verified."""
    known: _Known = {}
    Verifier._signed = _remembering(known)  # type: ignore[method-assign]
    if not real:
        desk.encode = _noting(known)
    coordinator.codec._heading = cache(_heading)
    witness.digest, witness._short = cache(_digest), lru_cache(maxsize=10_000)(_short)
    try:
        with keys(real=real) as identities:
            yield identities
    finally:
        Verifier._signed, desk.encode = _signed, encode  # type: ignore[method-assign]
        coordinator.codec._heading = _heading
        witness.digest, witness._short = _digest, _short
