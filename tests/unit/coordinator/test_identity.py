"""Keys: written once, readable by their owner only, ids that nobody hands out."""

import base64
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import ConfigError
from coordinator.identity import Identity, decode_base64, encode_base64, home_id, verify


def test_a_saved_key_comes_back_as_the_same_home(tmp_path: Path) -> None:
    identity = Identity.generate()
    identity.save(tmp_path / "key.pem")
    loaded = Identity.load(tmp_path / "key.pem")
    assert (loaded.id, loaded.public_key) == (identity.id, identity.public_key)
    assert verify(identity.public_key, loaded.sign(b"hello"), b"hello")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    Identity.from_seed(b"a" * 32).save(path)
    kept = path.read_bytes()
    with pytest.raises(FileExistsError):
        Identity.from_seed(b"b" * 32).save(path)
    assert path.read_bytes() == kept


def test_a_key_file_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Identity.generate().save(tmp_path / "key.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def _pem(key: object, **how: object) -> bytes:
    encryption = how.get("encryption", NoEncryption())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a private key"),
        (b"not a key\n", "is not a private key"),
        (_pem(generate_private_key(SECP256R1())), "another kind"),
        (_pem(Ed25519PrivateKey.generate(), encryption=BestAvailableEncryption(b"secret")), "is not a private key"),
    ],
)
def test_a_file_that_holds_no_usable_key_is_named_with_its_cure(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        Identity.load(tmp_path / "key.pem")
    assert "key.pem" in str(caught.value)


def test_a_missing_key_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="commonwatt init"):
        Identity.load(tmp_path / "none.pem")


def test_a_key_file_that_cannot_be_read_is_the_owners_to_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Identity.load(tmp_path)


def test_ids_follow_from_keys_and_nothing_else() -> None:
    identity = Identity.from_seed(b"a" * 32)
    assert identity.id == home_id(identity.public_key) == Identity.from_seed(b"a" * 32).id
    assert len(identity.id) == 16
    assert set(identity.id) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert len({Identity.from_seed(bytes([n]) * 32).id for n in range(200)}) == 200


def test_a_signature_fits_one_key_and_one_payload_only() -> None:
    one, other = Identity.from_seed(b"a" * 32), Identity.from_seed(b"b" * 32)
    signature = one.sign(b"payload")
    assert verify(one.public_key, signature, b"payload")
    assert not verify(other.public_key, signature, b"payload")
    assert not verify(one.public_key, signature, b"Payload")
    assert not verify(one.public_key, signature[:-1], b"payload")
    assert not verify(b"short", signature, b"payload")


@given(st.binary(max_size=80))
def test_base64_has_one_spelling(raw: bytes) -> None:
    text = encode_base64(raw)
    assert decode_base64(text) == decode_base64(text.encode()) == raw


@given(st.binary(min_size=1, max_size=80).filter(lambda raw: len(raw) % 3), st.integers(1, 3))
def test_base64_with_stray_last_bits_is_refused(raw: bytes, stray: int) -> None:
    """Decoders drop the last bits, so two texts would mean the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    text = base64.b64encode(raw).decode()
    head, padding = text.rstrip("="), text[len(text.rstrip("=")) :]
    other = head[:-1] + alphabet[alphabet.index(head[-1]) + stray] + padding
    assert base64.b64decode(other) == raw
    with pytest.raises(ValueError, match="canonical"):
        decode_base64(other)


@pytest.mark.parametrize("text", ["QUJ", "QU J", "QUI=\n", "QUI-", "QUJD====", "\u00e4"])
def test_text_that_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_base64(text)
