"""Invariants of the safety case (docs/safety.md) that the guard's mind keeps, each with its id."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_control_supervisor import ENVELOPE, TRAITS, Seen, seen

from agent.control.clock_watch import ClockWatch
from agent.control.envelope import CLOSED, Gate
from agent.control.external import ExternalLimit
from agent.control.grid import Connection, GridWatch
from agent.control.orders import Command, Keep, Lease, LetGo
from agent.control.priorities import Party
from agent.control.settings import ControlSettings, ExternalSettings
from agent.control.supervisor import Supervisor
from agent.devices.budget import DayCounts, WriteBudget
from agent.devices.profile import load_profile

QUICK = ControlSettings(enabled=True, ramp_pct_per_s=1000, min_write_s=1)
anything = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([float("nan"), float("inf"), -32768.0, 65535.0])


def mind(settings: ControlSettings = QUICK, grid: GridWatch | None = None) -> Supervisor:
    made = Supervisor(settings, ENVELOPE, TRAITS, grid)
    made.let_go()
    return made


def asked(made: Supervisor, now_s: float, target_w: float, sample: Seen | None = None) -> float | None:
    """Ask for a power now; return what is in force then, None when the battery is on its own."""
    made.observe(sample or seen(now_s, made.target_w or 0.0))
    made.grant(Lease(target_w=target_w, reason="x", until_s=now_s + 15, party=Party.PRICE))
    match made.next(now_s):
        case Command() as command:
            made.touched()
            made.commanded(now_s, command)
            return command.battery_w
        case LetGo():
            made.let_go()
        case Keep():
            pass
    return made.target_w


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    target_w=st.floats(allow_nan=True, allow_infinity=True),
    soc_pct=anything,
    battery_w=anything,
    pv_w=anything,
    charge_max_w=st.none() | st.floats(0, 5000),
    discharge_max_w=st.none() | st.floats(0, 5000),
    net_load_w=st.none() | st.floats(-2e4, 2e4),
    external_w=st.none() | st.floats(0, 5000),
)
def test_s2_no_reading_and_no_wish_leads_outside_any_limit(
    target_w: float,
    soc_pct: float | None,
    battery_w: float | None,
    pv_w: float | None,
    charge_max_w: float | None,
    discharge_max_w: float | None,
    net_load_w: float | None,
    external_w: float | None,
) -> None:
    fuse_w = 8000.0
    made = mind(QUICK.model_copy(update={"external": ExternalSettings()}), GridWatch(limit_w=fuse_w))
    made.external.told(0, external_w, None)
    made.grid.see(Connection(monotonic_s=0, net_load_w=net_load_w))
    values = {"charge_max_w": charge_max_w, "discharge_max_w": discharge_max_w}
    sample = seen(0, battery_w, soc_pct, pv_w)
    power_w = asked(made, 0, target_w, replace(sample, values={**sample.values, **values}))
    if power_w is None:
        return
    assert None not in (soc_pct, battery_w, pv_w)
    assert -ENVELOPE.charge_w <= power_w <= ENVELOPE.discharge_w
    for most_w, moved_w in ((charge_max_w, -power_w), (discharge_max_w, power_w), (external_w, -power_w)):
        assert most_w is None or moved_w <= most_w + 1e-6
    assert soc_pct is not None
    assert power_w <= 0 or 20 < soc_pct <= 100
    assert power_w >= 0 or 0 <= soc_pct < 95
    if net_load_w is not None and power_w < 0:
        assert net_load_w - power_w <= fuse_w + 1e-6, "charging never pushes the import over the fuse"
    if net_load_w is not None and power_w > 0:
        assert net_load_w - power_w >= -fuse_w - 1e-6


def test_s2_a_fuse_that_cannot_be_watched_ends_control() -> None:
    """The inverter still answers, the meter does not: what the house draws is unknown."""
    made = mind(QUICK, GridWatch(limit_w=8000, fresh_s=15))
    assert asked(made, 0, -1000) is None, "nothing was seen yet"
    made.grid.see(Connection(monotonic_s=1, net_load_w=500))
    assert asked(made, 1, -1000) == -1000
    assert asked(made, 17, -1000) is None
    assert "its fuse cannot be kept" in made.reason
    made.grid.see(Connection(monotonic_s=18, net_load_w=None))
    assert asked(made, 18, -1000) is None


def test_s2_more_sun_than_there_are_panels_is_a_misread() -> None:
    made = Supervisor(QUICK, ENVELOPE, replace(TRAITS, pv_max_w=8000))
    made.let_go()
    assert asked(made, 0, 1000, seen(0, pv_w=3000)) == 1000
    assert asked(made, 2, 1000, seen(2, pv_w=40_000)) is None
    assert "sun is unknown" in made.reason


def test_s3_charge_has_hysteresis_and_unknown_is_both_limits() -> None:
    made = mind()
    allowed = [asked(made, 2.0 * n, 2000, seen(2.0 * n, 0, soc)) for n, soc in enumerate((21, 20, 22, 23, 24, 21))]
    assert [bool(power_w) for power_w in allowed] == [True, False, False, False, True, True]
    assert ENVELOPE.gate(None, Gate()) == ENVELOPE.gate(float("nan"), Gate()) == ENVELOPE.gate(101, Gate()) == CLOSED


def test_s4_power_grows_by_a_tenth_of_its_limit_a_second_and_shrinks_at_once() -> None:
    made = mind(ControlSettings(enabled=True))
    powers = [asked(made, float(second), 2000) for second in range(21)]
    assert powers[0] == 1500, "ten percent of 3000 W a second, five seconds apart"
    assert powers[5] == 2000
    assert asked(made, 21, 0) == 0
    assert asked(made, 26, -3000) == -1500
    assert asked(made, 31, 1000) == 1000, "through rest, and on by the ramp"


def test_s5_setpoints_near_the_last_one_wait_for_the_refresh() -> None:
    made = mind(ControlSettings(enabled=True, ramp_pct_per_s=1000))
    writes = 0
    asked(made, 0, 1000)
    for second in range(1, 60):
        made.observe(seen(second, 1000))
        made.grant(Lease(target_w=1000 + 49.0 * (second % 2), reason="x", until_s=second + 15))
        action = made.next(second)
        if isinstance(action, Command):
            writes += 1
            made.commanded(second, action)
    assert writes == 2, "the refreshes at 20 and 40 s, and nothing below 50 W between them"


def test_s5_what_a_register_bears_lasts_until_the_cloudiest_day_ends() -> None:
    """Each look wants another setpoint, as where it includes the sun; the registers bear 8000 writes a day."""
    made, profile = mind(ControlSettings(enabled=True)), load_profile("foxess_h3")
    evening = datetime(2026, 6, 1, 18, tzinfo=UTC)
    budget = WriteBudget(profile, DayCounts(day=evening.date(), writes={"remote_w": 6000}))
    written_s: list[int] = []
    for second in range(0, 6 * 3600, 2):
        made.spent, made.pace_s = None, budget.pace_s(["remote_w"], evening + timedelta(seconds=second))
        made.observe(seen(second, 1000, pv_w=3000 + 100 * (second % 4)))
        made.grant(Lease(target_w=1000, reason="x", until_s=second + 15))
        action = made.next(second)
        if isinstance(action, Command):
            made.commanded(second, action)
            budget.written("remote_w")
            written_s.append(second)
    assert 1900 < len(written_s) <= 2000, "most of what is left is of use"
    assert max(after - before for before, after in pairwise([*written_s, 6 * 3600])) <= TRAITS.refresh_s


def test_s8_power_holds_then_shrinks_then_ends_as_the_reading_grows_old() -> None:
    made = mind(QUICK)
    assert asked(made, 0, 2000) == 2000
    old = seen(0, 2000)
    powers = {}
    for second in range(1, 18):
        made.grant(Lease(target_w=2000 if second < 6 else 3000, reason="x", until_s=second + 15))
        made.observe(old)
        action = made.next(second)
        if isinstance(action, Command):
            made.commanded(second, action)
        powers[second] = made.target_w
    assert powers[4] == 2000
    assert 0 < powers[14] < powers[10] < powers[7] < 2000, "it never grows, and it shrinks"
    assert powers[16] is None


@pytest.mark.parametrize("doubt_s", [1, 4, 7, 13])
def test_s8_power_shrinks_with_the_age_of_the_reading_through_a_doubt_too(doubt_s: int) -> None:
    """A bad link makes readings old and leaves commands without an answer: the two come together."""
    made = mind(QUICK)
    asked(made, 0, 2000, seen(0, 2000))
    powers: dict[int, float] = {}
    for second in range(1, 15):
        made.grant(Lease(target_w=2000, reason="x", until_s=second + 15))
        if second == doubt_s:
            made.lost()
        action = made.next(second)
        if isinstance(action, Command):
            made.commanded(second, action)
            powers[second] = action.battery_w
    assert all(power_w <= 2000 * (15 - second) / 10 for second, power_w in powers.items() if second > 5)
    assert powers[14] == 200


def test_s8_control_does_not_begin_on_a_reading_that_is_only_good_enough_to_end_by() -> None:
    made = mind(QUICK)
    assert asked(made, 6, 2000, seen(0, 0)) is None
    assert made.reason == "no reading fresh enough to begin with"
    assert asked(made, 7, 2000, seen(6, 0)) == 2000


def test_s8_a_doubtful_value_is_no_value() -> None:
    made = mind()
    assert asked(made, 0, 1000) == 1000
    frozen = replace(seen(1, 1000), doubtful={"soc_pct": "it has not changed for minutes"})
    assert asked(made, 1, 1000, frozen) is None


@pytest.mark.parametrize(
    ("passed_s", "shown_s", "jumped"),
    [(2, 2, False), (2, 6, False), (60, 63, False), (2, 3602, True), (2, -3598, True)],
)
def test_s9_a_jump_of_the_wall_clock_is_noticed(passed_s: float, shown_s: float, jumped: bool) -> None:
    watch, noon = ClockWatch(), datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
    assert not watch.jumped(noon, 100.0)
    assert watch.jumped(noon + timedelta(seconds=shown_s), 100.0 + passed_s) is jumped
    assert not watch.jumped(noon + timedelta(seconds=shown_s + 2), 102.0 + passed_s), "it is told once"


def test_s10_a_lost_grid_ends_control_and_the_return_is_late() -> None:
    grid = GridWatch(return_after_s=300)
    made = mind(QUICK, grid)
    grid.see(Connection(monotonic_s=0, net_load_w=500, frequency_hz=50.02))
    assert asked(made, 0, 1000) == 1000
    grid.see(Connection(monotonic_s=1, net_load_w=500, frequency_hz=46.0))
    assert asked(made, 1, 1000) is None
    assert "the grid is gone" in made.reason
    grid.see(Connection(monotonic_s=10, net_load_w=500, frequency_hz=50.0))
    assert [asked(made, second, 1000) for second in (50, 100, 150, 200, 250, 300)] == [None] * 6, "not all at once"
    assert asked(made, 302, 1000) == 1000
    grid.see(Connection(monotonic_s=303, net_load_w=500, frequency_hz=60.0))
    assert asked(made, 304, 1000) == 1000, "a 60 Hz grid is a grid"


@pytest.mark.parametrize(
    ("volts", "gone"),
    [((), False), ((229.0, 231.0, 230.0), False), ((118.0,), False), ((230.0, 0.0, 0.0), False), ((160.0, 3.0), True)],
)
def test_s10_a_voltage_out_of_its_band_is_a_lost_grid(volts: tuple[float, ...], gone: bool) -> None:
    """A phase of 0 V may be one that nothing is connected to."""
    grid = GridWatch()
    grid.see(Connection(monotonic_s=0, net_load_w=500, volts=volts))
    assert (grid.trouble(1) is not None) == gone


def test_s4_after_an_outage_the_battery_stays_on_its_own_for_a_while() -> None:
    """An inverter that was silent for a minute may have been without power, and the whole street with it."""
    made = mind(QUICK, GridWatch(return_after_s=200))
    assert asked(made, 0, 1000) == 1000
    assert asked(made, 59, 1000) == 1000, "a lost minute is no outage"
    assert [asked(made, second, 1000) for second in (120, 170, 220, 270, 319)] == [None] * 5
    assert "after a power cut" in made.reason
    assert asked(made, 320, 1000) == 1000


@pytest.mark.parametrize("phases_w", [(0.0, 0.0, 0.0), (500.0, 4000.0, -3000.0), (6000.0, 0.0, 0.0)])
def test_s2_no_phase_is_pushed_over_its_fuse_wherever_the_battery_is_connected(phases_w: tuple[float, ...]) -> None:
    """The battery follows, at one phase or at all three; the meter shows what comes of it, and no fuse is overrun."""
    fuse_w = 230 * 25.0
    for shares in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1 / 3, 1 / 3, 1 / 3)):
        for wish_w in (-3000.0, 2000.0):
            made, battery_w = mind(QUICK, GridWatch(fuse_a=25.0)), 0.0
            for second in range(0, 40, 2):
                shown = tuple(at - share * battery_w for at, share in zip(phases_w, shares, strict=True))
                grid_w = sum(shown)
                made.grid.see(
                    Connection(
                        monotonic_s=second,
                        net_load_w=grid_w + battery_w,
                        battery_w=battery_w,
                        phases_w=shown,
                        volts=(230.0, 230.0, 230.0),
                    )
                )
                battery_w = asked(made, second, wish_w) or 0.0
                for at, share in zip(phases_w, shares, strict=True):
                    over_w = abs(at - share * battery_w) - max(fuse_w, abs(at))
                    assert over_w <= 1e-6, "what is over the fuse already, the battery does not make worse"
            if max(phases_w) == 0:
                assert battery_w == wish_w, "and where there is room it gets what it wants"


@pytest.mark.parametrize(("at_s", "charge_w"), [(0, 300), (9, 300), (10, 4200), (129, 4200), (131, 300), (200, 300)])
def test_s11_the_operator_s_limit_lives_by_its_heartbeat_and_begins_in_failsafe(at_s: float, charge_w: float) -> None:
    limit = ExternalLimit(ExternalSettings(heartbeat_s=120, failsafe_charge_w=300))
    if at_s >= 10:
        assert limit.told(10, 4200, None)
    band = limit.band(at_s)
    assert band is not None
    assert (-band.low_w, band.high_w) == (charge_w, float("inf"))


def test_s11_nobody_limits_a_battery_whose_owner_named_nobody() -> None:
    limit = ExternalLimit(None)
    assert not limit.told(0, 0, 0)
    assert limit.band(0) is None


def test_s15_a_person_s_stop_is_stronger_than_any_lease() -> None:
    made = mind()
    assert asked(made, 0, 1000) == 1000
    made.stopped = "control was stopped by its owner"
    assert asked(made, 1, 1000) is None
    assert made.released
    assert made.reason == "control was stopped by its owner"
    made.stopped = None
    assert asked(made, 2, 1000) == 1000
