"""Seventeen homes, each with its own key, ledger, link and planner, agree on prices over a real Mosquitto."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.simulator.settings import GeneratorSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from negotiation_over_mqtt import ROUNDS, negotiate

from agent.study.homes import HISTORY_DAYS

pytestmark = pytest.mark.mosquitto

FIRST = datetime(2026, 6, 15, 7, 0, tzinfo=UTC)
HOMES = 17
KINDS = ((8.0, 10.0), (6.0, 0.0), (0.0, 7.5), (0.0, 0.0), (5.0, 5.0))
"""(kWp, kWh) of the homes, over and over."""


def write_street(folder: Path) -> None:
    """Write a community folder of made-up homes: two weeks of the past and the day ahead, in hours."""
    (folder / "homes").mkdir()
    begin = FIRST - timedelta(days=HISTORY_DAYS)
    hours = [begin + timedelta(hours=n) for n in range(24 * (HISTORY_DAYS + 1))]
    toml = ['name = "seventeen"', 'timezone = "UTC"', "slot_minutes = 60", 'currency = "EUR"', 'tariff = "tariff.csv"']
    for number in range(HOMES):
        pv_kwp, battery_kwh = KINDS[number % len(KINDS)]
        settings = GeneratorSettings(seed=number, timezone="UTC", pv_kwp=pv_kwp, load_scale=0.7 + 0.05 * number)
        rows = settings.profile().history_rows(begin, len(hours), 3600)
        lines = [f"{row.start_at.isoformat()},{row.load_w},{row.pv_w}" for row in rows]
        (folder / f"homes/{number}.csv").write_text("\n".join(["time_utc,load_w,pv_w", *lines]) + "\n")
        toml += ["[[homes]]", f'name = "home {number}"', f'trace = "homes/{number}.csv"', f"pv_kwp = {pv_kwp}"]
        if battery_kwh:
            power_kw = battery_kwh / 2
            toml.append(
                f"battery = {{capacity_kwh = {battery_kwh}, charge_kw = {power_kw}, discharge_kw = {power_kw}}}"
            )
    (folder / "community.toml").write_text("\n".join(toml) + "\n")
    prices = [f"{at.isoformat()},{0.42 if 17 <= at.hour < 22 else 0.28 if at.hour >= 6 else 0.15},0.06" for at in hours]
    header = "time_utc,import_price_per_kwh,export_price_per_kwh"
    (folder / "tariff.csv").write_text("\n".join([header, *prices]) + "\n")


@pytest.mark.timeout(120)
def test_seventeen_homes_find_the_central_optimum_by_messages_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_street(tmp_path)
    figures = negotiate(tmp_path, FIRST)
    with capsys.disabled():
        print(
            f" captured {figures['captured']:.4f} in {figures['rounds']} rounds of {figures['ms_per_round']} ms", end=""
        )
    assert (figures["homes"], figures["slots"], figures["rounds"]) == (HOMES, 24, ROUNDS)
    assert figures["captured"] >= 0.97
    assert figures["captured"] <= 1.001, "nobody beats the optimum: the figure would be wrong"
