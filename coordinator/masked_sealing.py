"""Messages to one home, for its eyes only: a whole signed message inside an encrypted one. Pure.

Encrypted with AES-SIV (RFC 5297) under a key that follows from the two homes' exchange keys, one for each direction,
and bound to the envelope it travels in. SIV needs no nonce, so that a clock set back or a restored ledger cannot make
one come twice; no two envelopes are equal, so no two sealed bodies are. Padded to one of a few sizes: who reads along
sees who speaks to whom, and when.

The keys are as old as the charter: who steals a home's key file can read what was sealed to it before.
"""

from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from coordinator.errors import LocalProtocolError, RemoteProtocolError
from coordinator.identity import decode_base64, encode_base64

SIZES = (576, 1152, 2304, 4608, 11_264)
"""Bytes of a padded message; all that homes say until a contract is made fits the first."""
WIRES_MAX_BYTES = 10_000
"""Of wires in one sealed recital: quoted, with its header and signature, it fits the last size."""


class Seals:
    """What one home knows for sealing.

    Args:
        sending: Key by neighbour, 32 bytes, for what goes there.
        receiving: Key by neighbour, for what comes from there.
    """

    def __init__(self, sending: Mapping[str, bytes], receiving: Mapping[str, bytes]) -> None:
        self._sending = {home: AESSIV(key) for home, key in sending.items()}
        self._receiving = {home: AESSIV(key) for home, key in receiving.items()}

    def seal(self, wire: bytes, to: str, envelope: str) -> str:
        """Return the body of the sealed message that carries `wire`.

        Args:
            envelope: What tells its envelope from every other one.

        Raises:
            LocalProtocolError: If the message is too large.
        """
        size = next((size for size in SIZES if len(wire) < size), None)
        if size is None:
            raise LocalProtocolError(f"a message of {len(wire)} bytes is too large to be sealed")
        padded = (wire + b"\n").ljust(size, b"\0")
        return encode_base64(self._sending[to].encrypt(padded, [envelope.encode()]))

    def open(self, body: str, sender: str, envelope: str) -> bytes:
        """Return the message inside.

        Raises:
            RemoteProtocolError: If nobody but a liar can have sealed that.
        """
        key = self._receiving.get(sender)
        try:
            padded = b"" if key is None else key.decrypt(decode_base64(body), [envelope.encode()])
        except (InvalidTag, ValueError):
            padded = b""
        wire, newline, _ = padded.rpartition(b"\n")
        if not newline:
            raise RemoteProtocolError(sender, "seal does not fit")
        return wire


def envelope_of(sender: str, to: str, inc: int, seq: int) -> str:
    """Return what a sealed body is bound to: no home says two messages with one number in one life of its ledger."""
    return f"{sender}|{to}|{inc}|{seq}"
