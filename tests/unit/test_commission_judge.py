import pytest

from agent.commission_judge import Facts, Pulse, judge_load, judge_pulse, load_words, pulse_words
from agent.commission_talk import Powers

METER = Facts(name="meter", profile="eastron_sdm630", questions={})
ASKED = Facts(name="meter", profile="sunspec_meter", questions={"positive": "What does a positive power mean?"})
INVERTER = Facts(name="inverter", profile="sungrow_sh", questions={})


def at(grid_w: float = 0.0, battery_w: float = 0.0, pv_w: float = 0.0) -> Powers:
    return Powers(grid_w=grid_w, pv_w=pv_w, battery_w=battery_w)


@pytest.mark.parametrize(
    ("since", "verdict"),
    [
        ([at(2000), at(2000), at(2000)], "right"),
        ([at(2000), at(900, 1100), at(0, 2000), at(0, 2000)], "right"),
        ([at(0, 2000)] * 4, "right"),
        ([at(2000, -1000, 1000), at(1500, -1000, 1500)], "right"),
        ([at(-2000), at(-2000), at(-2000)], "meter_turned"),
        ([at(-2000), at(-900, 1100), at(0, 2000), at(0, 2000)], "meter_turned"),
        ([at(1500, -500), at(500, -1500), at(0, -2000), at(0, -2000)], "battery_turned"),
        ([at(200), at(300), at(-100), at(0)], "unseen"),
    ],
)
def test_a_known_load_shows_what_counts_the_wrong_way(since: list[Powers], verdict: str) -> None:
    assert judge_load(at(), since, 1000.0) == verdict


def test_a_cloud_while_the_kettle_boils_is_no_wrong_meter() -> None:
    before = at(grid_w=-3000, pv_w=4000)
    assert judge_load(before, [at(grid_w=1000, pv_w=2000)] * 4, 1000.0) == "right"
    brighter = [at(grid_w=-4000, pv_w=7000)] * 4
    assert judge_load(before, brighter, 1000.0) == "right"


@pytest.mark.parametrize("wanted_w", [-200.0, 200.0])
@pytest.mark.parametrize(
    ("battery", "meter", "verdict"),
    [
        (1.0, 1.0, "right"),
        (0.8, 1.3, "right"),
        (0.0, 0.0, "ignored"),
        (0.1, -0.2, "ignored"),
        (-1.0, -1.0, "turned"),
        (-1.0, 1.0, "battery_turned"),
        (1.0, -1.0, "meter_turned"),
        (1.0, 0.0, "restless"),
        (1.0, 5.0, "restless"),
        (0.0, 1.0, "restless"),
        (-1.0, 0.0, "restless"),
        (10.0, 10.0, "other_size"),
        (0.3, 0.3, "other_size"),
    ],
)
def test_a_pulse_shows_who_moved_which_way(battery: float, meter: float, verdict: Pulse, wanted_w: float) -> None:
    """`battery` and `meter` are what was seen, in pulses; right is 1 for both."""
    rest = at(grid_w=400, battery_w=20)
    during = at(grid_w=400 - meter * wanted_w, battery_w=20 + battery * wanted_w)
    assert judge_pulse(rest, during, wanted_w) == verdict


def test_the_sun_may_change_during_a_pulse() -> None:
    assert judge_pulse(at(grid_w=-2000, pv_w=3000), at(grid_w=-800, pv_w=2000, battery_w=-200), -200.0) == "right"


def test_each_fault_is_told_with_what_to_change_and_where() -> None:
    assert "question `positive` the other way, in [devices.meter]" in load_words("meter_turned", ASKED, INVERTER)
    assert "copy of profile eastron_sdm630 in which `sign` of grid_w" in load_words("meter_turned", METER, INVERTER)
    assert "copy of profile sungrow_sh in which `sign` of battery_w" in load_words("battery_turned", METER, INVERTER)
    assert "is meter at the grid connection of this house" in load_words("unseen", METER, INVERTER)
    for verdict, words in (
        ("ignored", "allow external control in the inverter's menu"),
        ("other_size", "moved by 2000 W: its setpoint is in another unit or scale"),
        ("turned", "in which `sign` of the setpoint is the opposite"),
        ("battery_turned", "inverter shows the opposite: name a copy of profile sungrow_sh"),
        ("meter_turned", "moved the other way: it counts the wrong way round"),
        ("restless", "Switch off what comes and goes"),
    ):
        said = pulse_words(verdict, 2000.0, 200.0, METER, INVERTER)  # type: ignore[arg-type]
        assert words in said
        assert said.startswith("the battery was told to give 200 W")
