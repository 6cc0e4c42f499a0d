"""Clocks of real homes differ: what a neighbour says a moment before our own time has come is not lost."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from neighbourhood import START, Neighbourhood

from coordinator.codec import encode
from coordinator.messages import Ready
from coordinator.slots import Slot


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Neighbourhood]:
    street = Neighbourhood(tmp_path, homes=3)
    yield street
    street.audit()  # closes the ledgers


def test_a_ready_from_a_clock_slightly_ahead_counts_in_the_roster(street: Neighbourhood) -> None:
    slot = Slot.at(START, street.rules.slot_s).shifted(1)
    ready_at = slot.start_at - timedelta(seconds=street.rules.ready_s)
    (ahead, desk), (late, other) = list(street.desks.items())[:2]
    desk.tick(ready_at)
    wire = street.sent[-1][2]
    assert other.receive(wire, ready_at - timedelta(seconds=0.3)) is not None
    other.tick(ready_at)
    other.tick(slot.start_at - timedelta(seconds=street.rules.rounds_s))
    assert other.trader.negotiation is not None
    assert other.trader.negotiation.roster == {ahead, late}


def test_a_ready_for_an_earlier_slot_than_the_one_joined_is_not_taken_for_it(street: Neighbourhood) -> None:
    slot = Slot.at(START, street.rules.slot_s).shifted(1)
    ready_at = slot.start_at - timedelta(seconds=street.rules.ready_s)
    desk, (late, other) = next(iter(street.desks.values())), list(street.desks.items())[1]
    desk.tick(ready_at)
    assert other.receive(street.sent[-1][2], ready_at) is not None
    next_ready_at = ready_at + timedelta(seconds=street.rules.slot_s)
    other.tick(next_ready_at)
    other.tick(next_ready_at + timedelta(seconds=street.rules.ready_s - street.rules.rounds_s))
    assert other.trader.negotiation is not None
    assert other.trader.negotiation.roster == {late}


def test_an_early_ready_for_another_horizon_is_its_senders_error(street: Neighbourhood) -> None:
    sender, other = street.identities[0], street.desks[street.identities[1].id]
    slot = Slot.at(START, street.rules.slot_s).shifted(1)
    sent_ms = int(START.timestamp() * 1000)
    short = Ready(
        community=street.charter.community_id,
        sender=sender.id,
        to="*",
        inc=1,
        seq=1,
        sent_ms=sent_ms,
        expires_ms=sent_ms + 900_000,
        slot=slot.key,
        prices=(1, 2),
    )
    assert other.receive(encode(short, sender).wire, START) is None
    assert any("vector" in reason for reason in other.refused)
