"""Ed25519 keys of a home. A home's id is a hash of its public key: a pseudonym that nobody hands out."""

import base64
import hashlib
import os
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
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
