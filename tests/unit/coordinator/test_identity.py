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
from coordinator.identity import Identity, decode_base64, encode_base64, home_id, is_sound_key, verify


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


SMALL_ORDER = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
]
"""All eight points of small order, as the literature lists them."""


def test_the_library_takes_a_key_whose_signature_fits_every_message() -> None:
    """Should this fail one day the library refuses such keys itself; we need not rely on it."""
    zero, fits_all = SMALL_ORDER[0], bytes([1]) + bytes(63)
    assert verify(zero, fits_all, b"pay me")
    assert verify(zero, fits_all, b"pay me twice")


@pytest.mark.parametrize("key", SMALL_ORDER, ids=bytes.hex)
def test_keys_of_small_order_are_not_sound(key: bytes) -> None:
    assert not is_sound_key(key)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"short",
        bytes(33),
        (2**255 - 19).to_bytes(32, "little"),
        (2**255 - 18).to_bytes(32, "little"),
        bytes([255]) * 32,
        bytes([1]) + bytes(30) + bytes([128]),
        bytes([2]) + bytes(31),
    ],
    ids=bytes.hex,
)
def test_second_spellings_and_points_off_the_curve_are_not_sound(key: bytes) -> None:
    assert not is_sound_key(key)


def test_a_key_mixed_with_a_point_of_small_order_is_not_sound() -> None:
    """A key plus the point of order two: two checks of a signature, both by the book, would differ on it."""
    key = Identity.from_seed(b"a" * 32).public_key
    number = int.from_bytes(key, "little")
    prime, y, odd = 2**255 - 19, number & (2**255 - 1), number >> 255
    mixed = ((prime - y) | ((1 - odd) << 255)).to_bytes(32, "little")
    assert is_sound_key(key)
    assert not is_sound_key(mixed)


@given(st.binary(min_size=32, max_size=32))
def test_every_key_that_is_made_is_sound(seed: bytes) -> None:
    assert is_sound_key(Identity.from_seed(seed).public_key)


def test_two_homes_share_a_secret_nobody_else_has() -> None:
    anna, bert, carl = (Identity.from_seed(bytes([n]) * 32) for n in range(3))
    secret = anna.shared_secret(bert.exchange_key, "password")
    assert secret == bert.shared_secret(anna.exchange_key, "password")
    assert secret not in (
        anna.shared_secret(bert.exchange_key, "another"),
        anna.shared_secret(carl.exchange_key, "password"),
        carl.shared_secret(anna.exchange_key, "password"),
    )
    with pytest.raises(ValueError, match=r".+"):
        anna.shared_secret(bytes(32), "password")
