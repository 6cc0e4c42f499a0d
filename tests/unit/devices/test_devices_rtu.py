"""The bytes of serial lines: what counts as an answer, and what may still be owed."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devices.mbap import find_fault
from agent.devices.rtu import LATEST_S, Owed, find_answer, other_count
from agent.simulator.frames import checksum


def frame(*body: int) -> bytes:
    return bytes(body) + checksum(bytes(body))


def read_request(unit: int, fc: int, address: int, count: int) -> bytes:
    return frame(unit, fc, *address.to_bytes(2, "big"), *count.to_bytes(2, "big"))


ASKED = read_request(1, 3, 100, 2)
ANSWER = frame(1, 3, 4, 0, 7, 0, 9)


def test_checksum_is_the_one_of_the_specification() -> None:
    # The example of the serial line specification: function 7 to unit 2.
    assert frame(2, 7) == bytes.fromhex("0207 4112")
    assert find_answer(bytes.fromhex("010302000A 3843"), read_request(1, 3, 0, 1)) == bytes.fromhex("010302000A 3843")


@pytest.mark.parametrize(
    ("heard", "found"),
    [
        pytest.param(ANSWER, ANSWER, id="the answer"),
        pytest.param(b"\x00\xff" + ANSWER + b"\x55", ANSWER, id="noise around it"),
        pytest.param(ASKED + ANSWER, ANSWER, id="echo of the request"),
        pytest.param(frame(2, 3, 4, 0, 1, 0, 2) + ANSWER, ANSWER, id="another unit's before it"),
        pytest.param(frame(1, 3, 2, 0, 1) + ANSWER, ANSWER, id="a late answer of another length before it"),
        pytest.param(frame(1, 0x83, 2), frame(1, 0x83, 2), id="an exception"),
        pytest.param(ANSWER[:-1], b"", id="not whole yet"),
        pytest.param(ANSWER[:-1] + b"\x00", b"", id="broken checksum"),
        pytest.param(frame(1, 4, 4, 0, 7, 0, 9), b"", id="another function"),
        pytest.param(frame(2, 3, 4, 0, 7, 0, 9), b"", id="another unit"),
        pytest.param(frame(1, 3, 6, 0, 7, 0, 9, 0, 1), b"", id="too long"),
        pytest.param(b"", b"", id="nothing"),
    ],
)
def test_only_the_exact_answer_counts(heard: bytes, found: bytes) -> None:
    assert find_answer(heard, ASKED) == found


def test_writes_must_be_acknowledged_with_their_own_address_and_value() -> None:
    single = frame(1, 6, 0, 5, 0, 7)
    assert find_answer(single, single) == single
    assert find_answer(frame(1, 6, 0, 5, 0, 8), single) == b""
    several = frame(1, 16, 0, 5, 0, 2, 4, 0, 1, 0, 2)
    assert find_answer(frame(1, 16, 0, 5, 0, 2), several) == frame(1, 16, 0, 5, 0, 2)
    assert find_answer(frame(1, 16, 0, 6, 0, 2), several) == b""


@given(st.binary(max_size=300))
def test_whatever_a_line_delivers_is_no_answer_unless_its_checksum_says_so(heard: bytes) -> None:
    found = find_answer(heard, ASKED)
    assert found == b"" or (found in heard and checksum(found[:-2]) == found[-2:] and found[0] == 1)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_an_answer_is_found_in_any_noise(before: bytes, after: bytes) -> None:
    # Unless the noise itself ends in what begins an answer, which a checksum then refuses as a whole.
    assert find_answer(before + ANSWER + after, ASKED) == ANSWER


def test_mutated_answers_are_dropped_or_whole_and_never_an_exception_of_ours() -> None:
    rng = random.Random(3)
    asked = struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 100, 8)
    answer = struct.pack(">HHHBBB8H", 7, 0, 19, 1, 3, 16, *range(8))
    serial = frame(1, 3, 16, *answer[9:])
    passed = 0
    for _ in range(20_000):
        mutated = bytearray(answer)
        for _ in range(rng.randint(1, 3)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        cut = bytes(mutated[: rng.choice((len(mutated), rng.randrange(len(mutated))))])
        whole = len(cut) == len(answer) and cut[:2] == asked[:2]
        if find_fault(cut, asked) is None and whole and cut[:6] == answer[:6]:
            passed += 1
            assert cut[7:9] == answer[7:9] or cut[7] & 0x80, "another function or length got through"
        on_line = bytes((cut[6:] if len(cut) > 6 else cut) + checksum(b"x"))
        assert find_answer(on_line, read_request(1, 3, 100, 8)) in (b"", serial)
    assert passed > 1000, "flipped data of the right length decodes: plausibility is what is left against it"


def test_what_timed_out_may_be_taken_for_a_request_of_the_same_shape_only() -> None:
    owed = Owed()
    assert not owed
    owed.add(ASKED, 0.0)
    assert owed.could_be(read_request(1, 3, 500, 2)), "the address is not in the answer"
    assert not owed.could_be(read_request(1, 3, 100, 4))
    assert not owed.could_be(read_request(1, 4, 100, 2))
    assert not owed.could_be(read_request(2, 3, 100, 2))
    owed.forget_old(LATEST_S - 1)
    assert owed
    owed.forget_old(LATEST_S)
    assert not owed
    owed.add(ASKED, 0.0)
    owed.settled()
    assert not owed


@pytest.mark.parametrize("count", [1, 2, 3, 10, 125])
def test_the_other_count_differs_keeps_parity_and_is_allowed(count: int) -> None:
    other = other_count(count)
    assert other != count
    assert other % 2 == count % 2
    assert 1 <= other <= 125
