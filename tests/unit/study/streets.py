"""Small community folders for the study's tests: smooth sun, an evening peak, a tariff that is dear in the evening."""

import csv
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START_AT = datetime(2025, 6, 1, tzinfo=UTC)


def write_street(
    folder: Path, *, homes: int = 4, days: int = 1, slot_minutes: int = 60, flexible: bool = True, tariffs: int = 1
) -> Path:
    """Write a folder of homes: the first ones have sun, every second one has a battery.

    Args:
        flexible: False leaves sun and batteries out.
        tariffs: Different tariffs, given to the homes in turn.
    """
    (folder / "homes").mkdir(parents=True)
    count = days * 1440 // slot_minutes
    starts = [START_AT + n * timedelta(minutes=slot_minutes) for n in range(count)]
    lines = [
        'name = "elm"',
        'timezone = "Europe/Berlin"',
        f"slot_minutes = {slot_minutes}",
        'currency = "EUR"',
        'tariff = "tariff-0.csv"',
    ]
    for number in range(homes):
        lines += ["[[homes]]", f'name = "home-{number}"', f'trace = "homes/{number}.csv"']
        lines += [f'tariff = "tariff-{number % tariffs}.csv"']
        if flexible and number % 2 == 0:
            lines += ["battery = { capacity_kwh = 5.0, charge_kw = 2.5, discharge_kw = 2.5 }"]
        sun = flexible and number < (homes + 1) // 2
        rows = [
            f"{at:%Y-%m-%dT%H:%M:%SZ},{_load(at, number):.0f},{_sun(at, number) if sun else 0:.0f}" for at in starts
        ]
        (folder / "homes" / f"{number}.csv").write_text("\n".join(["time_utc,load_w,pv_w", *rows]) + "\n")
    for number in range(tariffs):
        until = starts + [starts[-1] + n * timedelta(minutes=slot_minutes) for n in range(1, 1440 // slot_minutes + 1)]
        rows = [f"{at:%Y-%m-%dT%H:%M:%SZ},{_import(at, number):.3f},0.060" for at in until]
        header = "time_utc,import_price_per_kwh,export_price_per_kwh"
        (folder / f"tariff-{number}.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "community.toml").write_text("\n".join(lines) + "\n")
    return folder


def _hour(at: datetime) -> float:
    return at.hour + at.minute / 60


def _load(at: datetime, number: int) -> float:
    return 250 + 60 * number + 9 * (at.hour % 5) + 1200 * math.exp(-(((_hour(at) - 17 - number) / 2) ** 2))


def _sun(at: datetime, number: int) -> float:
    return max(0.0, (3000 + 500 * number) * math.sin((_hour(at) - 5) / 14 * math.pi))


def _import(at: datetime, number: int) -> float:
    return (0.42 if 17 <= at.hour < 21 else 0.26) + 0.03 * number


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def recomputed_bills(folder: Path, constants: dict[str, Any]) -> dict[str, float]:
    """Return each home's bill from the files alone; checks that every slot's flows balance."""
    hours, homes = constants["slot_s"] / 3600, constants["homes"]
    flows = rows_of(folder / "flows.csv")
    place = {slot: index for index, slot in enumerate(sorted({row["slot"] for row in flows}))}
    assert len(place) == constants["slots"]
    bills: dict[str, float] = dict.fromkeys(homes, 0.0)
    net_wh: dict[tuple[str, str], int] = {}
    for row in rows_of(folder / "contracts.csv"):
        for home, sign in ((row["buyer"], 1), (row["seller"], -1)):
            net_wh[row["slot"], home] = net_wh.get((row["slot"], home), 0) + sign * int(row["energy_wh"])
            bills[home] += sign * int(row["energy_wh"]) / 1000 * float(row["price"])
    stored_wh: dict[str, list[float]] = {name: [] for name in homes}
    for row in flows:
        name, home = row["home"], homes[row["home"]]
        grid_w, battery_w = float(row["grid_w"]), float(row["battery_w"])
        assert abs(float(row["load_w"]) - float(row["pv_w"]) - battery_w - grid_w) <= 0.52 / hours
        tariff, index = constants["tariffs"][home["tariff"]], place[row["slot"]]
        left_wh = grid_w * hours - net_wh.get((row["slot"], name), 0)
        bills[name] += left_wh / 1000 * tariff["import_per_kwh" if left_wh > 0 else "export_per_kwh"][index]
        if home["battery"]:
            stored_wh[name].append(float(row["soc_pct"]) / 100 * home["battery"]["capacity_wh"])
    end = 0
    for part in constants["parts"]:
        end += part["slots"]
        for name, begun_wh in part["stored_at_start_wh"].items():
            worth = constants["tariffs"][homes[name]["tariff"]]["terminal_per_kwh"]
            more_wh = stored_wh[name][end - 1] - begun_wh
            bills[name] -= more_wh * homes[name]["battery"]["efficiency_discharge"] * worth / 1000
    return bills
