from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from agent.dashboard.publisher import StatePublisher
from agent.dashboard.topics import Market, Notices, Running, Savings, State, Topic
from coordinator.clock import ManualClock
from coordinator.errors import LocalProtocolError

START = datetime(2026, 5, 12, 10, 0, tzinfo=UTC)


class Wire:
    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []

    def publish(self, topic: str, payload: bytes, retain: bool) -> None:
        self.sent.append((topic, payload, retain))


def state(at: datetime) -> State:
    return State(
        home="a",
        at=at,
        grid_w=1.0,
        pv_w=None,
        battery_w=None,
        load_w=1.0,
        soc_pct=None,
        quality="valid",
        control="observe",
        target_w=None,
        reason="",
        trading_w=0.0,
    )


def test_live_state_goes_out_at_most_once_a_wall_second() -> None:
    wire, clock = Wire(), ManualClock(START)
    publisher = StatePublisher(wire.publish, clock)
    for _ in range(40):
        publisher.publish(state(clock.now()))
        clock.advance(timedelta(milliseconds=250))
    assert len(wire.sent) == 10
    assert all(topic == "commonwatt/a/state" and retain for topic, _, retain in wire.sent)


def test_polls_a_little_faster_than_a_second_are_not_halved() -> None:
    wire, clock = Wire(), ManualClock(START)
    publisher = StatePublisher(wire.publish, clock)
    for _ in range(20):
        publisher.publish(state(clock.now()))
        clock.advance(timedelta(milliseconds=990))
    assert len(wire.sent) >= 18


def test_a_state_without_a_new_moment_is_not_repeated() -> None:
    wire, clock = Wire(), ManualClock(START)
    publisher = StatePublisher(wire.publish, clock)
    assert publisher.publish(state(START))
    clock.advance(timedelta(seconds=5))
    assert not publisher.publish(state(START))


def test_other_kinds_go_out_at_once_and_only_when_they_say_something_new() -> None:
    wire, clock = Wire(), ManualClock(START)
    publisher = StatePublisher(wire.publish, clock)
    calm = Notices(home="a", at=START, warnings=[], log=[])
    assert publisher.publish(calm)
    assert not publisher.publish(calm.model_copy(update={"at": START + timedelta(seconds=1)}))
    assert publisher.publish(calm.model_copy(update={"warnings": ["meter silent"]}))
    assert len(wire.sent) == 2


def test_what_was_published_reads_back_exactly_as_money() -> None:
    wire = Wire()
    books = Savings(
        home="a",
        at=START,
        currency="EUR",
        since_at=START,
        slots=1,
        bill_no_battery=Decimal("1.234567891"),
        bill_alone=Decimal("0.1"),
        bill_traded=Decimal("-0.3"),
        bought_wh=1,
        sold_wh=2,
        imported_wh=3,
        exported_wh=4,
        contracts=1,
        contracts_void=0,
        rounds_mean=2.5,
    )
    StatePublisher(wire.publish, ManualClock(START)).publish(books)
    assert Savings.model_validate_json(wire.sent[0][1]) == books


def test_a_reader_who_comes_in_mid_slot_finds_the_running_slots_result() -> None:
    wire, clock = Wire(), ManualClock(START)
    publisher = StatePublisher(wire.publish, clock)
    ahead = Market(
        home="a",
        at=START,
        slot_start_at=START + timedelta(minutes=15),
        slot_end_at=START + timedelta(minutes=30),
        rounds=3,
        price_per_kwh=Decimal("0.2"),
        import_price_per_kwh=Decimal("0.3"),
        export_price_per_kwh=Decimal("0.06"),
        bought_wh=0,
        sold_wh=0,
        unmatched_wh=0,
        trades=[],
        reason="",
    )
    publisher.publish(ahead)
    for minutes in (0, 14, 15, 20, 29, 30):
        publisher.publish(state(START + timedelta(minutes=minutes)))
    running = [payload for topic, payload, _ in wire.sent if topic == "commonwatt/a/running"]
    assert [Running.model_validate_json(payload).slot_start_at for payload in running] == [ahead.slot_start_at]


def test_a_restarted_broker_gets_everything_again() -> None:
    wire, clock = Wire(), ManualClock(START)
    publisher = StatePublisher(wire.publish, clock)
    publisher.publish(state(START))
    publisher.publish(Notices(home="a", at=START, warnings=[], log=[]))
    before = list(wire.sent)
    publisher.repeat()
    assert wire.sent == before * 2


def test_a_model_that_is_no_topic_is_our_own_mistake() -> None:
    publisher = StatePublisher(Wire().publish, ManualClock(START))
    with pytest.raises(LocalProtocolError):
        publisher.publish(Topic(home="a", at=START))
