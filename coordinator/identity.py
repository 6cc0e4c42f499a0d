"""Ed25519 keys of a home. A home's id is a hash of its public key: a pseudonym that nobody hands out."""

import base64
import hashlib
import os
from functools import cached_property, lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from coordinator.errors import ConfigError


def home_id(public_key: bytes) -> str:
    """Return the id that belongs to a raw 32-byte public key: 16 characters of a-z2-7 (80 bits of BLAKE2b)."""
    return base64.b32encode(hashlib.blake2b(public_key, digest_size=10).digest()).decode().lower()


class Identity:
    """A home's key pair. The private key never leaves this object but to its own file."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.public_key: bytes = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id: str = home_id(self.public_key)

    @classmethod
    def generate(cls) -> "Identity":
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "Identity":
        """Return the identity of a 32-byte seed: for simulations that must repeat, never for a real home."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: Path) -> "Identity":
        """Read the key file.

        Raises:
            ConfigError: If the file is missing, cannot be read, or is no Ed25519 key.
        """
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            raise ConfigError(
                f"no key file {path}: `commonwatt init` makes one, or restore it from your backup"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"cannot read the key file {path}: {error.strerror}; only the user that owns it may"
            ) from None
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"{path} is not a private key ({error}): restore it from your backup") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(
                f"{path} holds a key of another kind: commonwatt needs Ed25519; `commonwatt init` makes one"
            )
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the key file, readable by its owner only.

        Raises:
            FileExistsError: If the file exists: a key is never overwritten.
        """
        pem = self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())

    def sign(self, payload: bytes) -> bytes:
        return self._private_key.sign(payload)

    def certify(self, certificate: x509.CertificateBuilder) -> x509.Certificate:
        """Return a certificate signed with this key (see tls.py)."""
        return certificate.sign(self._private_key, None)

    @cached_property
    def _exchange(self) -> X25519PrivateKey:
        """A second key for secrets with one neighbour, made from the first: there is one file to keep."""
        seed = self._private_key.private_bytes_raw()
        made = hashlib.blake2b(seed, digest_size=32, person=b"cw exchange key").digest()
        return X25519PrivateKey.from_private_bytes(made)

    @property
    def exchange_key(self) -> bytes:
        """The public half of what `shared_secret` needs; 32 bytes."""
        return self._exchange.public_key().public_bytes_raw()

    def shared_secret(self, exchange_key: bytes, purpose: str) -> bytes:
        """Return 32 bytes that only this home and the owner of `exchange_key` can compute, others for each purpose.

        Raises:
            ValueError: If that key leaves nothing to chance (a point of small order).
        """
        shared = self._exchange.exchange(X25519PublicKey.from_public_bytes(exchange_key))
        return hashlib.blake2b(purpose.encode(), key=shared, digest_size=32).digest()


_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_ORDER = 2**252 + 27742317777372353535851937790883648493
_Point = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z."""
_ZERO: _Point = (0, 1, 1, 0)


@lru_cache(maxsize=4096)
def is_sound_key(public_key: bytes) -> bool:
    """Return whether 32 bytes are a public key that some private key can have, written in the one right way.

    The library takes any point of the curve: with the zero point as key, one signature fits every message. Only a
    point of the group of prime order other than zero is sound; that leaves out all eight points of small order, what
    is mixed with one, points off the curve, and second spellings of a coordinate.

    References: RFC 8032 sections 5.1.3 and 5.1.4; Chalkias et al., "Taming the many EdDSAs".
    """
    if len(public_key) != 32:
        return False
    point = _decoded(int.from_bytes(public_key, "little"))
    if point is None or _same_as_zero(point):
        return False
    product = _ZERO
    for bit in f"{_ORDER:b}":  # a public value: how long this takes tells nothing
        product = _sum(product, product)
        if bit == "1":
            product = _sum(product, point)
    return _same_as_zero(product)


def _decoded(number: int) -> _Point | None:
    y, odd = number & (2**255 - 1), number >> 255
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and odd):
        return None
    if x & 1 != odd:
        x = _P - x
    return x, y, 1, x * y % _P


def _sum(p: _Point, q: _Point) -> _Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _same_as_zero(point: _Point) -> bool:
    return point[0] % _P == 0 and (point[1] - point[2]) % _P == 0


@lru_cache(maxsize=1024)
def _public_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


def verify(public_key: bytes, signature: bytes, payload: bytes) -> bool:
    """Return whether `signature` over `payload` was made with the key that belongs to `public_key`."""
    try:
        _public_key(public_key).verify(signature, payload)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=4096)
def is_sound_exchange_key(public_key: bytes) -> bool:
    """Return whether `Identity.shared_secret` can be used with this X25519 key; with points of small order it cannot.

    References: RFC 7748 section 6.1: private numbers are multiples of eight, so any of them finds all such points.
    """
    try:
        X25519PrivateKey.from_private_bytes(bytes(32)).exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError:
        return False
    return True


def encode_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def decode_base64(text: str | bytes) -> bytes:
    """Decode canonical base64.

    Raises:
        ValueError: If the text is not base64, or not the one way to write these bytes.
    """
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw) != (text.encode() if isinstance(text, str) else text):
        raise ValueError("base64 text is not canonical")
    return raw
