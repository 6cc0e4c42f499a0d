"""A home whose clock is wrong is not taken by its neighbours, takes nothing of theirs, and says so; others go on."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from neighbourhood import START
from sealed import Street

from coordinator.clock import unix_ms
from coordinator.clock_check import ClockCheck
from coordinator.codec import Verifier
from coordinator.errors import RemoteProtocolError
from coordinator.messages import Presence

MINUTE = timedelta(minutes=1)
MEMORY = 10 * MINUTE
NOW_MS = unix_ms(START)


def test_a_home_that_heard_nobody_knows_nothing_of_its_clock() -> None:
    assert ClockCheck(MEMORY).ahead(START) == timedelta(0)


@given(
    st.timedeltas(-timedelta(hours=2), timedelta(hours=2)),
    st.lists(st.integers(0, 600_000), min_size=1, max_size=8),
)
def test_delays_and_replays_make_no_clock_look_wrong_while_one_message_is_quick(
    off: timedelta, delays_ms: list[int]
) -> None:
    check = ClockCheck(MEMORY)
    for sender in ("anna", "bert", "carl"):
        for delay_ms in [*delays_ms, 0, *delays_ms]:
            check.heard(sender, NOW_MS - delay_ms - unix_ms(START + off), START + off)
    assert abs(check.ahead(START + off) - off) <= timedelta(milliseconds=1)


@given(st.lists(st.integers(0, 2**47), max_size=2))
def test_two_liars_of_five_change_nothing(lies_ms: list[int]) -> None:
    check = ClockCheck(MEMORY)
    for number in range(3):
        check.heard(f"honest {number}", 0, START)
    for number, lie_ms in enumerate(lies_ms):
        check.heard(f"liar {number}", lie_ms - NOW_MS, START)
    assert check.ahead(START) == timedelta(0)


@pytest.mark.parametrize("jump", [timedelta(hours=1), -timedelta(hours=1)])
def test_a_clock_that_jumps_is_seen_with_the_next_messages_and_so_is_its_return(jump: timedelta) -> None:
    check = ClockCheck(MEMORY)
    for moment, off in ((START, timedelta(0)), (START + MINUTE, jump), (START + 2 * MINUTE, timedelta(0))):
        for sender in ("anna", "bert"):
            check.heard(sender, unix_ms(moment) - unix_ms(moment + off), moment + off)
        assert check.ahead(moment + off) == off


def test_silence_is_no_opinion() -> None:
    check = ClockCheck(MEMORY)
    check.heard("anna", -3_600_000, START + timedelta(hours=1))
    assert check.ahead(START + timedelta(hours=1) + MEMORY) == timedelta(0)


@pytest.mark.parametrize("off", [-30 * MINUTE, -3 * MINUTE, 90 * MINUTE])
def test_words_of_a_wrong_clock_are_refused_and_still_tell_of_it(off: timedelta) -> None:
    """The home is behind or ahead of its neighbours: their messages come from the future or have expired."""
    street, check = Street(3), ClockCheck(MEMORY)
    me, anna, bert = street.ids
    verifier = Verifier(street.charter, me, heard=check.heard)
    for sender in (anna, bert):
        with pytest.raises(RemoteProtocolError, match="from the future" if off < timedelta(0) else "has expired"):
            verifier.verify(street.seal(Presence, sender, now=START, life=MINUTE).wire, START + off)
    assert check.ahead(START + off) == off


def test_nobody_without_the_key_has_a_say() -> None:
    street, check = Street(3), ClockCheck(MEMORY)
    me, anna, bert = street.ids
    forged = street.seal(Presence, anna, now=START + timedelta(hours=1)).wire.replace(anna.encode(), bert.encode())
    with pytest.raises(RemoteProtocolError, match="signature"):
        Verifier(street.charter, me, heard=check.heard).verify(forged, START)
    assert check.ahead(START) == timedelta(0)
