"""The community folder of the street from which anything may be taken away.

Three homes have sun in every other block of three hours and three in the blocks between, round the clock, so that
whatever is missing, the others have something to trade.
"""

import csv
from datetime import timedelta
from pathlib import Path

from agent.demo.options import DEFAULT_START

HOMES = tuple(f"home-{number}" for number in range(1, 9))
BLOCK_SLOTS = 12
SELLERS = {"home-1": 0, "home-2": 1, "home-4": 0, "home-5": 1, "home-6": 0, "home-8": 1}
"""Who has sun, and in which of every two blocks."""
BATTERIES = ("home-1", "home-3", "home-5", "home-7")
BATTERY = "battery = { capacity_kwh = 2.0, charge_kw = 1.5, discharge_kw = 1.5, round_trip_efficiency = 0.9 }"
BATTERY_W = 1500.0
SUN_W, LOAD_W = 2600.0, 700.0
DAYS = 20
SLOT = timedelta(minutes=15)


def write_community(folder: Path) -> Path:
    """Write the community folder of the street."""
    (folder / "homes").mkdir(parents=True)
    start = DEFAULT_START - timedelta(days=15)
    times = [start + n * SLOT for n in range(DAYS * 96)]
    tariff = [[f"{at:%Y-%m-%dT%H:%M:%SZ}", "0.30", "0.06"] for at in times]
    _write(folder / "tariff.csv", ["time_utc", "import_price_per_kwh", "export_price_per_kwh"], tariff)
    text = ['name = "street"\ntimezone = "UTC"\nslot_minutes = 15\ncurrency = "EUR"\ntariff = "tariff.csv"\n']
    for name in HOMES:
        rows = [
            [f"{at:%Y-%m-%dT%H:%M:%SZ}", LOAD_W, SUN_W if n // BLOCK_SLOTS % 2 == SELLERS.get(name) else 0.0]
            for n, at in enumerate(times)
        ]
        _write(folder / "homes" / f"{name}.csv", ["time_utc", "load_w", "pv_w"], rows)
        battery = BATTERY if name in BATTERIES else ""
        text.append(f'[[homes]]\nname = "{name}"\ntrace = "homes/{name}.csv"\npv_kwp = 3.0\n{battery}\n')
    (folder / "community.toml").write_text("\n".join(text))
    return folder


def _write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
