from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.devices.counter import NEW_EPOCH_AFTER, SteadyCounter
from agent.devices.energy import Counters, SlotEnergy, SlotMeter
from agent.devices.reading import HomeReading, Quality

START = datetime(2024, 6, 12, 10, tzinfo=UTC)
SLOT_S = 900


def reading(
    second: float,
    import_wh: float | None,
    export_wh: float | None = 0.0,
    *,
    load_w: float = 1000.0,
    soc_pct: float | None = 50.0,
    quality: Quality = "valid",
) -> HomeReading:
    return HomeReading(
        at=START + timedelta(seconds=second),
        monotonic_s=second,
        grid_w=load_w,
        pv_w=0.0,
        battery_w=0.0,
        load_w=load_w,
        soc_pct=soc_pct,
        import_wh=import_wh,
        export_wh=export_wh,
        quality=quality,
        missing=(),
    )


def feed(meter: SlotMeter, *readings: HomeReading) -> list[SlotEnergy]:
    return [energy for item in readings for energy in meter.add(item)]


def steady(first: int, last: int, step: int, wh_per_s: float = 0.25) -> list[HomeReading]:
    return [reading(second, 1000 + second * wh_per_s) for second in range(first, last + 1, step)]


def test_slot_s_energy_is_the_counter_at_its_ends() -> None:
    closed = feed(SlotMeter(SLOT_S), *steady(0, 1800, 10))
    assert [(energy.slot.start_at, energy.import_wh, energy.export_wh) for energy in closed] == [
        (START, 225, 0),
        (START + timedelta(seconds=900), 225, 0),
    ]
    assert [energy.net_wh for energy in closed] == [225, 225]
    assert not any(energy.estimated for energy in closed)


def test_boundary_between_two_readings_is_interpolated() -> None:
    closed = feed(SlotMeter(SLOT_S), *steady(-35, 925, 40))
    assert [energy.import_wh for energy in closed] == [225]


@given(
    st.lists(st.tuples(st.floats(1, 700), st.floats(0, 20), st.floats(0, 20)), min_size=5, max_size=80),
    st.floats(0, 5e6),
)
def test_no_watt_hour_is_lost_or_doubled_over_many_slots(steps: list[tuple[float, float, float]], first: float) -> None:
    seconds, imports, exports = [0.0], [first], [first / 2]
    for wait_s, import_wh, export_wh in steps:
        seconds.append(seconds[-1] + wait_s)
        imports.append(imports[-1] + import_wh)
        exports.append(exports[-1] + export_wh)
    closed = feed(SlotMeter(SLOT_S), *map(reading, seconds, imports, exports))
    assert len(closed) == int(seconds[-1] // SLOT_S)
    end_s = len(closed) * SLOT_S
    # Within 1 Wh over all slots together, which is the last boundary's rounding: no slot adds an error of its own.
    assert sum(energy.import_wh for energy in closed) == pytest.approx(
        np.interp(end_s, seconds, imports) - first, abs=1
    )
    assert sum(energy.export_wh for energy in closed) == pytest.approx(
        np.interp(end_s, seconds, exports) - first / 2, abs=1
    )


def test_powers_are_integrated_by_straight_lines() -> None:
    ramp = [reading(second, 1000.0, load_w=second) for second in range(0, 901, 100)]
    (energy,) = feed(SlotMeter(SLOT_S), *ramp)
    assert energy.load_wh == pytest.approx(450 * 900 / 3600)
    assert (energy.pv_wh, energy.battery_wh) == (0, 0)


def test_charge_is_the_one_at_the_slot_s_end() -> None:
    (energy,) = feed(
        SlotMeter(SLOT_S),
        reading(0, 1000, soc_pct=40),
        reading(600, 1100, soc_pct=46),
        reading(800, 1100, soc_pct=48),
        reading(1000, 1100, soc_pct=50),
    )
    assert energy.soc_pct == pytest.approx(49)


def test_late_start_leaves_out_the_slot_whose_beginning_nobody_saw() -> None:
    meter = SlotMeter(SLOT_S)
    closed = feed(meter, *steady(100, 1800, 10))
    assert [energy.slot.start_at for energy in closed] == [START + timedelta(seconds=900)]


def test_gap_is_measured_by_the_counters_and_marked_as_estimated() -> None:
    closed = feed(SlotMeter(SLOT_S), *steady(0, 600, 10), *steady(3000, 3600, 10))
    assert [energy.import_wh for energy in closed] == [225, 225, 225, 225]
    assert [energy.estimated for energy in closed] == [True, True, True, True]
    assert [energy.load_wh for energy in closed] == pytest.approx([250] * 4)


def test_slot_after_a_gap_is_exact_again() -> None:
    closed = feed(SlotMeter(SLOT_S), *steady(0, 10, 10), *steady(1790, 2700, 10))
    assert [energy.estimated for energy in closed] == [True, True, False]


def test_power_that_was_seen_less_than_half_of_the_slot_is_unknown() -> None:
    dead = [reading(second, 1000 + second, quality="stale") for second in range(310, 1801, 10)]
    closed = feed(SlotMeter(SLOT_S), *steady(0, 300, 10, 1.0), *dead)
    assert [(energy.import_wh, energy.load_wh, energy.estimated) for energy in closed] == [
        (900, None, True),
        (900, None, True),
    ]


def test_power_that_was_seen_for_most_of_the_slot_is_scaled_up_and_marked() -> None:
    dead = [reading(second, 1000 + second, quality="absent") for second in range(610, 901, 10)]
    (energy,) = feed(SlotMeter(SLOT_S), *steady(0, 600, 10, 1.0), *dead)
    assert energy.load_wh == pytest.approx(250)
    assert energy.estimated


def test_short_drop_of_a_counter_is_held_and_brings_no_energy() -> None:
    stream = steady(0, 900, 10)
    stream[30:33] = [reading(second, 0.0) for second in (300, 310, 320)]
    (energy,) = feed(SlotMeter(SLOT_S), *stream)
    assert (energy.import_wh, energy.estimated) == (225, True)


def test_misread_counter_brings_no_energy() -> None:
    stream = steady(0, 900, 10)
    stream[30] = reading(300, 429e6)
    (energy,) = feed(SlotMeter(SLOT_S), *stream)
    assert (energy.import_wh, energy.estimated) == (225, True)


def test_counter_that_was_reset_for_good_goes_on_without_a_jump() -> None:
    counter = SteadyCounter(100_000)
    counter.add(START, 5000)
    seen = [counter.add(START + timedelta(seconds=10 * (i + 1)), 2.0 + i)[0] for i in range(NEW_EPOCH_AFTER + 3)]
    assert seen[: NEW_EPOCH_AFTER - 1] == [5000] * (NEW_EPOCH_AFTER - 1)
    assert seen[NEW_EPOCH_AFTER:] == [5001, 5002, 5003]


def test_counter_with_steps_of_a_kilowatt_hour_loses_nothing() -> None:
    counter = SteadyCounter(100_000)
    assert [counter.add(START + timedelta(seconds=i), 1000.0 * (i // 3))[0] for i in range(7)] == [
        0, 0, 0, 1000, 1000, 1000, 2000,
    ]  # fmt: skip


def test_so_far_counts_from_the_slot_s_start() -> None:
    meter = SlotMeter(SLOT_S)
    feed(meter, *steady(-5, 395, 10))
    assert meter.so_far(START + timedelta(seconds=400)) == pytest.approx((395 * 0.25, 0))


def test_so_far_is_unknown_after_a_late_start_and_when_the_meter_is_away() -> None:
    meter = SlotMeter(SLOT_S)
    assert meter.so_far(START) is None
    feed(meter, *steady(100, 400, 10))
    assert meter.so_far(START + timedelta(seconds=400)) is None
    feed(meter, *steady(410, 1000, 10))
    assert meter.so_far(START + timedelta(seconds=1000)) == pytest.approx((25, 0))
    assert meter.so_far(START + timedelta(seconds=1400)) is None


def test_so_far_is_zero_in_the_moment_between_a_slot_s_start_and_its_first_reading() -> None:
    meter = SlotMeter(SLOT_S)
    feed(meter, *steady(0, 890, 10))
    assert meter.so_far(START + timedelta(seconds=901)) == (0, 0)


def test_repeated_or_incomplete_reading_counts_for_nothing() -> None:
    meter = SlotMeter(SLOT_S)
    feed(meter, *steady(0, 800, 10))
    assert feed(meter, reading(800, 9e9), reading(790, 0), reading(850, None)) == []
    (energy,) = feed(meter, *steady(810, 900, 10))
    assert (energy.import_wh, energy.estimated) == (225, False)


def test_a_restart_in_the_middle_of_a_slot_loses_nothing_of_it() -> None:
    before = SlotMeter(SLOT_S)
    assert len(feed(before, *steady(-5, 1205, 10))) == 1
    assert before.since is not None
    assert before.since.at == START + timedelta(seconds=SLOT_S)
    after = SlotMeter(SLOT_S, since=before.since)
    assert [(e.slot.start_at, e.import_wh) for e in feed(after, *steady(1265, 2705, 10))] == [
        (START + timedelta(seconds=900), 225),
        (START + timedelta(seconds=1800), 225),
    ]
    assert after.so_far(START + timedelta(seconds=2705)) == pytest.approx((1.25, 0))


def test_a_slot_that_was_over_while_the_home_was_away_is_closed_by_the_first_reading() -> None:
    before = SlotMeter(SLOT_S)
    feed(before, *steady(0, 950, 10))
    after = SlotMeter(SLOT_S, since=before.since)
    assert [energy.import_wh for energy in feed(after, reading(3600, 1900))] == [225, 225, 225]


@pytest.mark.parametrize("wrong_s", [365 * 86_400, 3 * 86_400])
def test_a_clock_that_was_far_ahead_neither_invents_slots_nor_ends_metering(wrong_s: int) -> None:
    said: list[str] = []
    meter = SlotMeter(SLOT_S, on_anew=said.append)
    feed(meter, *steady(0, 1000, 10))
    ahead = reading(1010 + wrong_s, 1252.5)
    assert meter.add(ahead) == []
    closed = feed(meter, *steady(1020, 2700, 10))
    assert [(e.slot.start_at, e.import_wh) for e in closed] == [(START + timedelta(seconds=1800), 225)]
    assert len(said) == 2
    assert "no reading for" in said[0]
    assert "behind the newest reading" in said[1]


def test_a_kept_time_of_the_far_future_is_not_waited_for_but_a_clock_that_is_not_set_yet_is() -> None:
    for ahead_s, closes in ((365 * 86_400, 1), (3600, 0)):
        since = Counters(at=START + timedelta(seconds=ahead_s), import_wh=1000, export_wh=0)
        meter = SlotMeter(SLOT_S, since=since)
        assert len(feed(meter, *steady(0, 900, 10))) == closes


def test_a_pause_of_a_day_is_closed_slot_by_slot_and_one_of_weeks_is_not() -> None:
    said: list[str] = []
    for pause_s, closes in ((86_400, 96), (14 * 86_400, 0)):
        meter = SlotMeter(SLOT_S, on_anew=said.append)
        feed(meter, *steady(0, 600, 10))
        assert len(feed(meter, reading(600 + pause_s, 30_000))) == closes
    assert len(said) == 1
