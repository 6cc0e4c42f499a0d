"""Pairwise masks: each home adds to its numbers what only a pair of homes can compute; in the sum all that cancels.

    share of i = numbers of i + sum over j > i of PRG(secret of i and j, what for)
                              - sum over j < i of PRG(secret of i and j, what for)        modulo 2^32

A share alone, and any sum that lacks one home's share, is noise to whoever lacks one of the pair secrets in it. The sum
over all of the roster is exact (Bonawitz et al., "Practical secure aggregation", CCS 2017, without its recovery of
dropouts: what lacks a share is given up). `purpose` must name everything that tells two inputs apart, the roster among
it: two inputs under one mask would show their difference.

Any modulus above the range of the sums hides all of the inputs, and one of 64 members' largest bids is below 2^31. With
2^64 a share of a day of quarter hours would be longer than two open bids. Pure.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from coordinator.errors import LocalProtocolError
from coordinator.identity import decode_base64, encode_base64

_WORD = np.dtype("<u4")
Words = NDArray[np.uint32]
LARGEST = 10**7
"""No number is larger, either way: so many members' sum fits into a word with its sign."""


def roster_hash(terms: str, slot: int, lives: Mapping[str, int]) -> str:
    """Return what names a roster.

    Args:
        terms: The charter it goes by.
        lives: Incarnation of each home by id.
    """
    homes = "|".join(f"{home}.{lives[home]}" for home in sorted(lives))
    return hashlib.blake2b(f"roster|{terms}|{slot}|{homes}".encode(), digest_size=16).hexdigest()


def question_hash(roster: str, course: str) -> str:
    """Return what names the question a share answers: the hashes of the roster, and of prices and step size."""
    return hashlib.blake2b(f"question|{roster}|{course}".encode(), digest_size=16).hexdigest()


class PairMasks:
    """What one home knows for masking.

    Args:
        me: Own id.
        secrets: By neighbour: 32 bytes that only it and this home know, for masks and nothing else.
    """

    def __init__(self, me: str, secrets: Mapping[str, bytes]) -> None:
        self._me = me
        self._secrets = dict(secrets)

    def share(self, numbers: Sequence[int], roster: Collection[str], purpose: str) -> str:
        """Return the numbers under the masks of the whole roster, as it is said on the wire.

        Raises:
            KeyError: If the roster has a home without a secret.
            LocalProtocolError: If a number is too large.
        """
        if max(map(abs, numbers)) > LARGEST:
            raise LocalProtocolError(f"{max(map(abs, numbers))} is too large a number to be masked")
        masked = np.array(numbers, dtype=np.int64).astype(np.uint32)
        for home in roster:
            if home != self._me:
                mask = _stream(self._secrets[home], purpose, len(numbers))
                masked = masked + mask if self._me < home else masked - mask
        return encode_base64(masked.astype(_WORD).tobytes())


def _stream(secret: bytes, purpose: str, count: int) -> Words:
    """Return the pseudo-random words of a pair: SHAKE-256 over secret (of fixed length) and purpose."""
    words = hashlib.shake_256(secret + purpose.encode()).digest(_WORD.itemsize * count)
    return np.frombuffer(words, dtype=_WORD).astype(np.uint32)


def words_of(share: str) -> Words:
    """Return the words of a share.

    Raises:
        ValueError: If it is not the base64 of whole words.
    """
    return np.frombuffer(decode_base64(share), dtype=_WORD).astype(np.uint32)


def total(shares: Iterable[Words]) -> tuple[int, ...]:
    """Return the sums that the shares of a whole roster come to; of anything less it is noise."""
    summed: Words = np.sum(np.stack(list(shares)), axis=0, dtype=np.uint32)
    return tuple(summed.astype(np.int32).tolist())
