import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devices.registers import SIZES, NumberType, decode, decode_text, encode, scale_factor


@pytest.mark.parametrize(
    ("words", "kind", "value"),
    [
        ([0xFFFE], "i16", -2),
        ([0xFFFE], "u16", 65534),
        ([0x0001, 0x0002], "u32", 65538),
        ([0xFFFF, 0xFF38], "i32", -200),
        ([0x43E6, 0x8000], "f32", 461.0),
        ([0, 0, 1, 0], "u64", 65536),
        ([0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE], "i64", -2),
        ([0x4059, 0, 0, 0], "f64", 100.0),
    ],
)
def test_registers_read_as_the_standard_says(words: list[int], kind: NumberType, value: float) -> None:
    assert decode(words, kind) == value


def test_little_word_order_turns_words_but_not_bytes() -> None:
    assert decode([0x0002, 0x0001], "u32", order="little") == 65538
    assert encode(65538, "u32", order="little") == [0x0002, 0x0001]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([0x8000], "i16"),
        ([0xFFFF], "u16"),
        ([0x8000, 0], "i32"),
        ([0xFFFF, 0xFFFF], "u32"),
        ([0x7FC0, 0], "f32"),
        ([0x7F80, 0], "f32"),
        ([0xFF80, 0], "f32"),
        ([0x8000, 0, 0, 0], "i64"),
        ([0x7FF8, 0, 0, 0], "f64"),
    ],
)
def test_a_sentinel_is_absent_and_not_a_number(words: list[int], kind: NumberType) -> None:
    assert decode(words, kind) is None


def test_a_profile_may_name_its_own_sentinels() -> None:
    assert decode([0x7FFF], "i16", absent=(0x7FFF,)) is None
    assert decode([0x8000], "i16", absent=(0x7FFF,)) == -32768


def test_a_wrong_number_of_registers_is_refused() -> None:
    with pytest.raises(ValueError, match="2 registers, not 1"):
        decode([1], "f32")


@pytest.mark.parametrize(
    ("value", "kind"), [(40000, "i16"), (-1, "u16"), (math.nan, "f32"), (math.inf, "i32"), (1e300, "f32")]
)
def test_what_does_not_fit_a_register_is_never_written(value: float, kind: NumberType) -> None:
    with pytest.raises(ValueError, match="register"):
        encode(value, kind)


def test_a_value_that_reads_as_absent_is_never_written() -> None:
    with pytest.raises(ValueError, match="absent"):
        encode(-32768, "i16")


@given(st.sampled_from(["i16", "u16", "i32", "u32", "f64"]), st.integers(0, 30000), st.sampled_from(["big", "little"]))
def test_what_is_written_reads_back(kind: NumberType, value: int, order: str) -> None:
    words = encode(value, kind, order=order)  # type: ignore[arg-type]
    assert len(words) == SIZES[kind]
    assert decode(words, kind, order=order) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "factor"), [(0, 1.0), (0xFFFE, 0.01), (3, 1000.0), (0x8000, None), (99, None), (0xFFF0, None)]
)
def test_a_scale_factor_is_a_power_of_ten_or_absent(word: int, factor: float | None) -> None:
    assert scale_factor(word) == (None if factor is None else pytest.approx(factor))


def test_text_ends_at_the_first_zero() -> None:
    assert decode_text([0x4672, 0x6F00, 0x5858]) == "Fro"
