"""Messages to one home, for its eyes only: a whole signed message inside a sealed one, padded to one of a few sizes.

Sealed as at a meeting broker (sealing.py), but on every link, so that own brokers, other readers of a link and members
that are let in see who speaks to whom, when, and a size that tells nothing.
"""

from collections.abc import Mapping

from coordinator.errors import LocalProtocolError, RemoteProtocolError
from coordinator.identity import Identity, decode_base64, encode_base64
from coordinator.mqtt_topics import direct_topic
from coordinator.sealing import Sealer

SIZES = (576, 1152, 2304, 4608, 11_264)
"""Bytes of a padded message; all that homes say until a contract is made fits the first."""
WIRES_MAX_BYTES = 10_000
"""Of wires in one sealed recital: quoted, with its header and signature, it fits the last size."""


class PairSeals:
    """What one home knows for sealing.

    Args:
        others: Exchange key of each neighbour.

    Raises:
        ValueError: If an exchange key leaves nothing to chance; its text is whose.
    """

    def __init__(self, identity: Identity, community: str, others: Mapping[str, bytes]) -> None:
        self._me, self._community = identity.id, community
        self._sealer = Sealer(identity, community, others)

    def seal(self, wire: bytes, to: str) -> str:
        """Return the body of the sealed message that carries `wire`.

        Raises:
            LocalProtocolError: If the message is too large.
        """
        size = next((size for size in SIZES if len(wire) < size), None)
        if size is None:
            raise LocalProtocolError(f"a message of {len(wire)} bytes is too large to be sealed")
        topic = direct_topic(self._community, self._me, to)
        return encode_base64(self._sealer.seal(topic, (wire + b"\n").ljust(size, b"\0")))

    def open(self, body: str, sender: str) -> bytes:
        """Return the message inside.

        Raises:
            RemoteProtocolError: If it was not sealed by that home for this one.
        """
        try:
            padded = self._sealer.unseal(direct_topic(self._community, sender, self._me), decode_base64(body))
        except ValueError:
            padded = None
        wire, newline, _ = (padded or b"").rpartition(b"\n")
        if not newline:
            raise RemoteProtocolError(sender, "seal does not fit")
        return wire
