"""Our homes on the CityLearn Challenge 2022: its districts, its batteries, its figures, beside what others got there.

python tests/benchmarks/citylearn.py ../shared/data/fontana17 [--forecast naive] [--days 61] [--work FOLDER] [--json]

Every phase's homes live the year as one neighbourhood and forecast, plan, negotiate and trade by the product's own
classes. Two lines: `delayed` keeps the competition's rule that what is decided after one hour acts in the next, come
what may; in `real_time` batteries answer what really comes within the hour, as a real inverter does. docs/study.md says
what the homes are told to care for. With --work forecasts are kept.
"""

import argparse
import csv
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from citylearn_rules import PHASES, Batteries, Scores, scores, weighted
from rich.console import Console
from rich.table import Table

from agent.forecast.history import slot_keys
from agent.forecast.weather import Weather
from agent.planning.problem import Floats
from agent.simulator.community import load_community
from agent.study.books import terminal_prices
from agent.study.foresight import Expectation, Kind, Outlooks, expectations, outlooks, together
from agent.study.lives import Life, Lives, lives_of
from agent.study.strategies import Homes
from agent.study.street import Options, Street
from agent.study.walk import REFIT_DAYS, forecaster_of, walk_forward
from agent.study.within import Moment, wanted_w
from coordinator.charter import Rules
from coordinator.quantities import MICRO

Control = Literal["delayed", "real_time"]
CONTROLS: tuple[Control, ...] = ("delayed", "real_time")

CARBON_PER_KG = 1.5
"""What a kg of CO2 is priced in the homes' tariff: without batteries the districts pay 1.5 to 1.8 per kg they emit, and
the score weighs both shares alike."""
RISE_PER_KWH_KW = 0.3
"""By how much the grid's price rises per kW; stands for ramping and load factor, which no tariff knows."""
EFFICIENCY = 0.911
"""Of a battery, one way, as its home believes: that of the environment up to 30 % of the power, where most happens."""

WEATHER = ("outdoor_dry_bulb_temperature", "diffuse_solar_irradiance", "direct_solar_irradiance")
"""What homes know of every hour of the next day: the environment tells it to every agent, 24 h ahead and without error.
"""

PUBLISHED: dict[str, tuple[float | None, float | None, float | None, float | None]] = {
    "no batteries": (1.0, 1.0, 1.0, 1.0),
    "decision transformer (homes 6-17)": (None, None, None, 0.952),
    "rules in searched order (MAD-CATS)": (0.870, None, None, None),
    "central optimiser, the winner's forecasts": (0.798, None, 0.899, None),
    "the same, plans averaged": (None, None, 0.887, None),
    "central optimiser, 7-day mean (own run)": (0.833, 0.828, 0.895, 0.862),
    "central optimiser, truth known (own run)": (0.653, 0.657, 0.713, 0.684),
}
"""Score of each phase and, where it is known, the final one; sources in docs/study.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One phase's homes under one rule, as a task for a process."""

    folder: Path
    phase: str
    control: Control
    kind: Kind
    work: Path
    hours: int | None


def live(case: Case) -> Scores:
    """Live through the case."""
    lives, price, carbon = _lives(case.folder)
    homes = tuple(_tempted(lives.homes[place], price + CARBON_PER_KG * carbon) for place in PHASES[case.phase][0])
    lives, hours = replace(lives, homes=homes), case.hours or lives.slots
    options = Options(
        rules=Rules.for_slot(lives.first.length_s, 24),
        rise_per_kwh_kw=RISE_PER_KWH_KW,
        terminal_per_kwh=tuple(terminal_prices(lives, lives.first, hours)),
    )
    street = Street(lives, lives.first, options)
    expected = _expected(case, lives, hours)
    planning, batteries = Homes(street, trading=True), Batteries(len(homes))
    without_wh = (street.load_w - street.pv_w)[:, :hours]
    net_wh = without_wh.copy()
    for t in range(1, hours):  # nothing was decided before the first hour
        planned = planning.plan(t, batteries.stored_wh, expected[t])
        wanted = planned.battery_w
        if case.control == "real_time":
            moment = Moment(
                planned_w=planned.battery_w,
                grid_w=planned.grid_w,
                deviation_w=without_wh[:, t] - (expected[t].load_w[:, 0] - expected[t].pv_w[:, 0]),
                value_per_kwh=planned.value_per_kwh,
                import_per_kwh=street.import_micro[:, t] / MICRO,
                export_per_kwh=street.export_micro[:, t] / MICRO,
            )
            wanted = wanted_w(
                moment, street.fleet, batteries.stored_wh, street.hours, options.wear_per_kwh, shared=True
            )
        net_wh[:, t] -= batteries.run(wanted)
    return scores(net_wh, without_wh, price[:hours], carbon[:hours])


def self_consumption(folder: Path, phase: str, *, delayed: bool, hours: int | None = None) -> Scores:
    """Let every battery follow its home's net load, of this hour or of the last one."""
    lives, price, carbon = _lives(folder)
    homes = [lives.homes[place] for place in PHASES[phase][0]]
    hours, lag = hours or lives.slots, int(delayed)
    without_wh = np.array([home.load_w - home.pv_w for home in homes])[:, :hours]
    net_wh, batteries = without_wh.copy(), Batteries(len(homes))
    for t in range(1, hours):
        net_wh[:, t] -= batteries.run(without_wh[:, t - lag])
    return scores(net_wh, without_wh, price[:hours], carbon[:hours])


@cache
def _lives(folder: Path) -> tuple[Lives, Floats, Floats]:
    """Return the homes, and price per kWh and kg of CO2 per kWh of every hour of the record."""
    community = load_community(folder)
    lives = lives_of(community)
    carbon = _columns(community.carbon_path, ("kg_co2_per_kwh",))[:, 0]
    return lives, lives.homes[0].import_micro[: lives.slots] / MICRO, carbon[: lives.slots]


def _columns(path: Path | None, names: Sequence[str]) -> Floats:
    """Return columns of one of the folder's files, shape (hours, names)."""
    assert path is not None, "the folder lacks its carbon or its weather file"
    with gzip.open(path, "rt") as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


def _tempted(life: Life, price_per_kwh: Floats) -> Life:
    """Return a home with this tariff, no pay for exports, and what it believes of its battery.

    Beyond the record, where only plans look, the last day repeats.
    """
    prices = np.concatenate([price_per_kwh, price_per_kwh[-24:]])
    micro = np.rint(MICRO * prices).astype(np.int64)
    assert life.battery is not None
    battery = replace(life.battery, efficiency_charge=EFFICIENCY, efficiency_discharge=EFFICIENCY)
    return replace(life, import_micro=micro, export_micro=np.zeros_like(micro), battery=battery, stored_wh=0.0)


def _expected(case: Case, lives: Lives, hours: int) -> list[Expectation]:
    """Return what the homes expect at each of the first hours of the record."""
    kind = case.kind
    if kind == "perfect":
        return expectations(lives, kind, lives.first, hours, 24)
    return together([_outlooks(case.folder, life, kind, case.work, hours) for life in lives.homes])


def _outlooks(folder: Path, life: Life, kind: Literal["naive", "model"], work: Path, hours: int) -> Outlooks:
    path = work / f"{kind}-{life.name}-{hours}.npz"
    if path.exists():
        with np.load(path) as file:
            return file["load_w"], file["pv_w"]
    lives, _, _ = _lives(folder)
    if kind == "naive":
        load_w, pv_w = outlooks(lives, life, kind, lives.first, hours, 24, REFIT_DAYS)
    else:
        weather = Weather(first_key=lives.first.key, values=_columns(load_community(folder).weather_path, WEATHER))
        keys = slot_keys(lives.first, hours)
        made = list(walk_forward(forecaster_of(lives, life), life.history, keys, 24, weather=weather))
        load_w, pv_w = np.concatenate([each.load_w for each in made]), np.concatenate([each.pv_w for each in made])
    draft = path.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez(draft, load_w=load_w, pv_w=pv_w)
    draft.replace(path)
    return load_w, pv_w


def foresee(folder: Path, kind: Kind, work: Path, place: int, hours: int | None) -> None:
    """Make and keep one home's forecasts."""
    lives, _, _ = _lives(folder)
    if kind != "perfect":
        _outlooks(folder, lives.homes[place], kind, work, hours or lives.slots)


def measure(
    folder: Path, *, kind: Kind = "model", hours: int | None = None, work: Path | None = None
) -> dict[str, list[Scores]]:
    """Return the phases' scores by how batteries are steered: by us, under both rules, and by self-consumption.

    Args:
        hours: Of the record; None: all.
    """
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        kept = work or Path(scratch)
        kept.mkdir(parents=True, exist_ok=True)
        made = [
            pool.submit(foresee, folder, kind, kept, place, hours) for phase in PHASES.values() for place in phase[0]
        ]
        for each in made:
            each.result()
        found = {}
        for control in CONTROLS:
            cases = [
                Case(folder=folder, phase=phase, control=control, kind=kind, work=kept, hours=hours) for phase in PHASES
            ]
            found[f"ours_{control}"] = pool.map(live, cases)
        scored = {name: list(phases) for name, phases in found.items()}
    for control in CONTROLS:
        scored[f"self_consumption_{control}"] = [
            self_consumption(folder, phase, delayed=control == "delayed", hours=hours) for phase in PHASES
        ]
    return scored


def figures(found: dict[str, list[Scores]]) -> dict[str, float]:
    """Return the final score of every line."""
    return {name: weighted([each.score for each in phases]) for name, phases in found.items()}


_TITLES = {
    "self_consumption_delayed": "self-consumption, an hour late",
    "self_consumption_real_time": "self-consumption in real time",
    "ours_delayed": "Commonwatt, an hour late",
    "ours_real_time": "Commonwatt in real time",
}


def table(found: dict[str, list[Scores]]) -> Table:
    shown = Table("", *PHASES, "score", "price", "emission", "ramping", "load factor")
    for name, known in PUBLISHED.items():
        shown.add_row(name, *("" if value is None else f"{value:.3f}" for value in known))
    for name, title in _TITLES.items():
        phases = found[name]
        parts = [weighted([getattr(each, part) for each in phases]) for part in Scores.__slots__]
        values = [*(each.score for each in phases), weighted([each.score for each in phases]), *parts]
        shown.add_row(title, *(f"{value:.3f}" for value in values), style="bold" if name.startswith("ours") else "")
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="community folder of the competition's 17 homes")
    parser.add_argument("--forecast", choices=("naive", "model", "perfect"), default="model")
    parser.add_argument("--days", type=int, help="only the first days; published scores are of the whole year")
    parser.add_argument("--work", type=Path, help="folder of forecasts that are kept; default: none are")
    parser.add_argument("--json", action="store_true", help="print the final scores as JSON")
    args = parser.parse_args(arguments)
    hours = None if args.days is None else 24 * args.days
    found = measure(args.folder, kind=args.forecast, hours=hours, work=args.work)
    if args.json:
        json.dump(figures(found), sys.stdout, indent=1)
    else:
        Console(width=None if sys.stdout.isatty() else 140).print(table(found))


if __name__ == "__main__":
    main()
