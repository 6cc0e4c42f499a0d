"""Tables of any origin: their form is found out, local clocks are understood, and energy is kept."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from import_sources import NEW, START_AT, finding, kinds, load_w, report, run, sun_w

from agent.simulator.community import load_community
from coordinator.errors import ConfigError

BERLIN = ZoneInfo("Europe/Berlin")


def write(
    path: Path, header: str, row: Callable[[datetime, int], str], *, start: datetime, count: int, minutes: int
) -> Path:
    """Write a line per step of UTC."""
    lines = [header, *(row(start + n * timedelta(minutes=minutes), n) for n in range(count))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def hour(at: datetime) -> float:
    return at.hour + at.minute / 60


def test_a_german_meter_export_needs_no_word_about_its_form(tmp_path: Path) -> None:
    def row(at: datetime, _: int) -> str:
        local = at.astimezone(BERLIN)
        return f"{local:%d.%m.%Y %H:%M};{load_w(hour(at)) / 4000:.4f};{sun_w(hour(at)) / 4000:.4f}".replace(
            ".", ","
        ).replace(f"{local:%d,%m,%Y}", f"{local:%d.%m.%Y}")

    path = write(tmp_path / "lastgang.csv", "Zeit;Verbrauch kWh;PV kWh", row, start=START_AT, count=96 * 3, minutes=15)
    found = report(path, tmp_path / "elm", "--load", "Verbrauch kWh", "--pv", "PV kWh", *NEW)
    assert found["energy_wh"]["load"] == pytest.approx(sum(load_w(n / 4 % 24) for n in range(96 * 3)) / 4, abs=5)
    community = load_community(tmp_path / "elm")
    assert (community.slot_s, community.start_at) == (900, START_AT)
    np.testing.assert_allclose(community.homes[0].load_w, [load_w(n / 4 % 24) for n in range(96 * 3)], atol=0.3)
    assert {each["kind"] for each in found["columns"]} == {"energy"}
    assert "energy of each interval by the course" in finding(found, "guessed")["text"]


@pytest.mark.parametrize(
    ("header", "form", "option"),
    [
        ("time,load_w", "%Y-%m-%dT%H:%M:%SZ", ()),
        ("time\tload (W)", "%Y-%m-%d %H:%M:%S+00:00", ()),
        ("time|Load kW", "%Y/%m/%d %H:%M", ("--times-zone", "UTC")),
        ("time,load_w", "%m/%d/%Y %I:%M %p", ("--times-zone", "UTC")),
        ("Time,load", "%d/%m/%Y %H:%M", ("--times-zone", "+00:00", "--time-format", "%d/%m/%Y %H:%M")),
    ],
)
def test_many_ways_to_write_a_time_mean_the_same(
    tmp_path: Path, header: str, form: str, option: tuple[str, ...]
) -> None:
    delimiter = next(each for each in ",\t|" if each in header)
    kilo = 1000 if "kW" in header else 1
    path = write(
        tmp_path / "power.csv",
        header,
        lambda at, n: f"{at:{form}}{delimiter}{load_w(n / 2 % 24) / kilo}",
        start=START_AT,
        count=48,
        minutes=30,
    )
    name = header.split(delimiter)[1]
    found = report(path, tmp_path / "elm", "--load", f"{name}=W" if name == "load" else name, *option, *NEW)
    assert (found["from"], found["slot_minutes"]) == (START_AT.isoformat(), 30)
    np.testing.assert_allclose(load_community(tmp_path / "elm").homes[0].load_w, [load_w(n / 2) for n in range(48)])


def test_a_time_that_can_be_read_in_two_ways_is_asked_for(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "time,load_w",
        lambda at, n: f"{at:%d/%m/%Y %H:%M},500",
        start=START_AT,
        count=48,
        minutes=60,
    )
    with pytest.raises(ConfigError, match=r"'01/06/2025 00:00' can be read in two ways: .*--time-format"):
        run(path, tmp_path / "elm", "--load", "load_w", *NEW)


def test_unix_seconds_gzip_and_a_date_beside_a_time_of_day_are_understood(tmp_path: Path) -> None:
    lines = ["ts,load_w", *(f"{START_AT.timestamp() + 900 * n:.0f},400" for n in range(96))]
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    assert report(tmp_path / "a.csv.gz", tmp_path / "elm", "--load", "load_w", *NEW)["from"] == START_AT.isoformat()
    path = write(
        tmp_path / "b.csv",
        "Datum;Uhrzeit;kWh",
        lambda at, n: f"{at:%d.%m.%Y;%H:%M};0,1",
        start=START_AT,
        count=96,
        minutes=15,
    )
    times = ("--time", "Datum", "--time", "Uhrzeit", "--times-zone", "UTC")
    found = report(path, tmp_path / "oak", "--load", "kWh=kWh,interval", *times, *NEW)
    assert (found["from"], found["energy_wh"]["load"]) == (START_AT.isoformat(), 9600.0)


def test_the_hour_that_clocks_show_twice_is_told_apart_by_the_order_of_lines(tmp_path: Path) -> None:
    start = datetime(2025, 10, 25, 22, tzinfo=UTC)  # local midnight before the change
    path = write(
        tmp_path / "a.csv",
        "time,load_w",
        lambda at, n: f"{at.astimezone(BERLIN):%Y-%m-%d %H:%M},{100 + n}",
        start=start,
        count=100 + 96,
        minutes=15,
    )
    found = report(path, tmp_path / "elm", "--load", "load_w", *NEW)
    home = load_community(tmp_path / "elm").homes[0]
    assert home.load_w.tolist() == [100 + n for n in range(196)]
    assert found["missing_slots"]["load"] == 0


def test_the_hour_that_clocks_skip_is_no_gap_and_a_clock_without_summer_time_is_told_how(tmp_path: Path) -> None:
    start = datetime(2026, 3, 27, 23, tzinfo=UTC)  # two local days, the second has 23 hours, and one more
    rows = {"count": 24 + 23 + 24, "minutes": 60, "start": start}
    summer = write(
        tmp_path / "a.csv", "time,load_w", lambda at, n: f"{at.astimezone(BERLIN):%Y-%m-%d %H:%M},{n}", **rows
    )  # type: ignore[arg-type]
    found = report(summer, tmp_path / "elm", "--load", "load_w", *NEW)
    assert (found["slots"], found["missing_slots"]["load"], found["left_out"]) == (71, 0, [])
    assert (
        "2026-03-29: the clock changed, the day has 23 slots, 23 of them known"
        in finding(found, "clock_change")["text"]
    )
    winter = write(
        tmp_path / "b.csv",
        "time,load_w",
        lambda at, n: f"{at + timedelta(hours=1):%Y-%m-%d %H:%M},{n}",
        **rows,  # type: ignore[arg-type]
    )
    wrong = report(winter, tmp_path / "oak", "--load", "load_w", *NEW)
    assert "say so: --times-zone +01:00" in wrong["left_out"][0]
    right = report(winter, tmp_path / "ash", "--load", "load_w", "--times-zone", "+01:00", *NEW)
    assert (right["slots"], right["missing_slots"]["load"], right["left_out"]) == (71, 0, [])
    assert load_community(tmp_path / "ash").homes[0].load_w.tolist() == list(range(71))


def test_a_time_at_the_end_of_its_interval_is_moved_to_the_beginning(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "time,kWh",
        lambda at, n: f"{at + timedelta(minutes=15):%Y-%m-%dT%H:%MZ},{n}",
        start=START_AT,
        count=96,
        minutes=15,
    )
    found = report(path, tmp_path / "elm", "--load", "kWh=kWh,interval", "--label", "end", *NEW)
    home = load_community(tmp_path / "elm").homes[0]
    assert (found["from"], found["slots"]) == (START_AT.isoformat(), 96)
    assert home.load_w[:10].tolist() == [4000 * n for n in range(10)]


def test_a_file_whose_newest_line_comes_first_is_turned_round(tmp_path: Path) -> None:
    lines = [f"{START_AT + timedelta(hours=n):%Y-%m-%dT%H:%MZ},{1000 + n / 2}" for n in range(48)]
    (tmp_path / "a.csv").write_text("\n".join(["time,meter kWh", *reversed(lines)]) + "\n")
    found = report(tmp_path / "a.csv", tmp_path / "elm", "--load", "meter kWh", *NEW)
    assert found["columns"][0]["kind"] == "counter"
    assert found["energy_wh"]["load"] == 23_500.0
    assert set(load_community(tmp_path / "elm").homes[0].load_w.tolist()) == {500.0}


def test_minutes_add_up_to_slots_and_gaps_stay_missing(tmp_path: Path) -> None:
    def row(at: datetime, n: int) -> str:
        return f"{at:%Y-%m-%dT%H:%MZ},{'unavailable' if 100 <= n < 131 else n % 60}"

    path = write(tmp_path / "a.csv", "time,load_w", row, start=START_AT, count=600, minutes=1)
    found = report(path, tmp_path / "elm", "--load", "load_w", *NEW)
    load = load_community(tmp_path / "elm").homes[0].load_w
    assert np.flatnonzero(np.isnan(load)).tolist() == [6, 7, 8]
    assert load[:4].tolist() == [7, 22, 37, 52]
    assert "3 slots (7.5 %) missing: 1 gap, the longest of 0.75 h" in finding(found, "missing_load")["text"]


def test_sums_below_a_table_are_left_out_and_told(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "time,load_w",
        lambda at, n: f"{at:%Y-%m-%dT%H:%MZ},500",
        start=START_AT,
        count=48,
        minutes=60,
    )
    with path.open("a") as file:
        file.write("Sum,24000\n")
    assert report(path, tmp_path / "elm", "--load", "load_w", *NEW)["left_out"] == ["lines without a time, left out: 1"]


def test_what_cannot_be_true_is_reported_and_becomes_missing(tmp_path: Path) -> None:
    def row(at: datetime, n: int) -> str:
        load = {30: 5e6, 40: -700, 41: -20}.get(n, 250 if 100 <= n < 130 else load_w(hour(at)))
        return f"{at:%Y-%m-%dT%H:%MZ},{load},{sun_w(hour(at)) + (800 if n == 23 else 0)}"

    path = write(tmp_path / "a.csv", "time,load_w,sun W", row, start=START_AT, count=24 * 8, minutes=60)
    place = ("--latitude", 52.5, "--longitude", 13.4)
    found = report(path, tmp_path / "elm", "--load", "load_w", "--pv", "sun W", *place, *NEW)
    wanted = {"peak_load", "negative_load", "slightly_negative_load", "stuck_load", "sun_at_night", "missing_load"}
    assert kinds(found) == wanted
    assert "1 slot above 43.5 kW (up to 5000 kW)" in finding(found, "peak_load")["text"]
    assert "2025-06-01 23:00 UTC" in finding(found, "sun_at_night")["text"]
    load = load_community(tmp_path / "elm").homes[0].load_w
    assert np.isnan(load[[30, 40]]).all()
    assert load[41] == 0
    assert finding(found, "stuck_load")["count"] == 30


def test_a_wrong_time_zone_is_suspected_by_the_suns_middle(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "time,load_w,pv_w",
        lambda at, n: f"{at:%Y-%m-%dT%H:%MZ},400,{sun_w((hour(at) + 18) % 24)}",
        start=START_AT,
        count=96,
        minutes=60,
    )
    found = report(path, tmp_path / "elm", "--load", "load_w", "--pv", "pv_w", *NEW)
    assert {"sun_off_noon", "sun_at_night"} <= kinds(found)


def test_flows_that_contradict_a_measured_load_are_told(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "time,load_w,grid_w",
        lambda at, n: f"{at:%Y-%m-%dT%H:%MZ},{load_w(hour(at))},{load_w(hour(at)) / 2}",
        start=START_AT,
        count=96,
        minutes=60,
    )
    found = report(path, tmp_path / "elm", "--load", "load_w", "--grid", "grid_w", *NEW)
    assert "a column is missing or means something else" in finding(found, "balance")["text"]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("time,load_w\n", (), "no line below a header"),
        ("just words\nmore words\n", (), "name the --delimiter"),
        ("a,b\n1,2\n3,4\n", (), "no column holds times: name it with --time"),
        ("time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,2\n", (), "its unit is not known"),
        ("time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,2\n", ("--load", "x=kWh"), "does it count up"),
        ("time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,2\n", ("--load", "x=Volt"), "'Volt' is no unit"),
        ("time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,2\n", ("--load", "x=kWh,often"), "'often' says nothing"),
        (
            "time,x\n2025-06-01T00:00Z,1\n2025-06-02T00:00Z,2\n2025-06-03T00:00Z,2\n",
            ("--load", "x=W"),
            "needs one an hour",
        ),
        (
            "time,x\n2025-06-01T00:00Z,1\n2025-06-01T02:00Z,2\n2025-06-01T01:00Z,3\n",
            ("--load", "x=W"),
            "line 4: 2025-06-01 01:00 UTC comes after 2025-06-01 02:00 UTC",
        ),
        (
            "time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,2\n",
            ("--load", "x=W", "--grid", "x=W", "--grid-import", "x=W"),
            "the net of both directions",
        ),
        ("time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,2\n", ("--pv", "x=W"), "what does the home consume"),
        (
            "time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,2\n",
            ("--load", "x=W", "--label", "middle"),
            "say start or end",
        ),
        (
            "time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,2\n",
            ("--load", "x=W", "--slot-minutes", "7"),
            "does not divide a day",
        ),
        (
            "time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,2\n",
            ("--load", "x=W", "--from", "2025-07-01"),
            "nothing is left between",
        ),
        ("time,x\n2025-06-01T00:00Z,1\n2025-06-01T01:00Z,1\n3025-06-01T01:00Z,2\n", ("--load", "x=W"), "spans"),
    ],
)
def test_what_cannot_be_read_names_cause_and_cure(
    tmp_path: Path, text: str, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        run(tmp_path / "a.csv", tmp_path / "elm", *(options or ("--load", "x")), *NEW)
    assert not (tmp_path / "elm").exists()
