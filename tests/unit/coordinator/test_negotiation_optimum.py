"""Twenty homes with real planners find, without a centre, what one optimiser with everybody's data would find."""

import random
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hall import Hall
from neighbourhood import START
from sealed import Street

from agent.planning.central import central_optimum
from agent.planning.home_model import HomeModel
from agent.planning.planner import Planner
from agent.planning.problem import Battery
from agent.planning.tariff import TariffSettings, open_tariff
from coordinator.charter import Rules
from coordinator.matching import match
from coordinator.negotiation import Finished
from coordinator.slots import Slot

HOMES = 20
TARIFF = open_tariff(
    TariffSettings.model_validate(
        {
            "time_of_use": [
                {"from": "22:00", "to": "06:00", "import_per_kwh": 0.15},
                {"from": "06:00", "to": "17:00", "import_per_kwh": 0.28},
                {"from": "17:00", "to": "22:00", "import_per_kwh": 0.42},
            ],
            "export_per_kwh": 0.06,
        }
    ),
    "UTC",
    Path(),
)


def planners(seed: int, rules: Rules, slot: Slot) -> list[Planner]:
    """Return homes of which about every second has a battery, and three of five a roof."""
    r, n = np.random.default_rng(seed), rules.horizon_slots
    hour = (slot.start_at.hour + np.arange(n) * 24 / n) % 24
    battery = Battery(capacity_wh=6400, charge_max_w=3000, discharge_max_w=3000)
    return [
        Planner(
            first=slot,
            load_w=r.uniform(100, 600, n) + 1500 * r.random() * np.exp(-(((hour - r.uniform(7, 21)) / 2) ** 2)),
            pv_w=(r.random() < 0.6) * r.uniform(1500, 6000) * np.maximum(0, np.sin((hour - 6) / 12 * np.pi)),
            tariff=TARIFF,
            battery=battery if r.random() < 0.5 else None,
            stored_wh=r.uniform(0, 4000),
            rho_micro=rules.rho_micro,
            timezone=ZoneInfo("UTC"),
        )
        for _ in range(HOMES)
    ]


def matched_wh(result: Finished) -> dict[str, list[int]]:
    """Return what each home trades in every slot of the horizon when all final bids are matched, whole Wh."""
    slots = list(result.slot.horizon(len(result.prices_micro)))
    trades = {home: [0] * len(slots) for home in result.bids_wh}
    for i, slot in enumerate(slots):
        for pair in match({home: bid[i] for home, bid in result.bids_wh.items()}, slot.key // slot.length_s):
            trades[pair.buyer][i] += pair.energy_wh
            trades[pair.seller][i] -= pair.energy_wh
    return trades


@pytest.mark.parametrize(("slots", "seed"), [(24, 1), (24, 5), (96, 3), (96, 4)])
def test_negotiation_from_cold_captures_nearly_all_that_a_centre_could_save(slots: int, seed: int) -> None:
    rules = Rules.for_slot(86400 // slots, slots)
    slot = Slot.at(START, rules.slot_s).shifted(1)
    homes, street = planners(seed, rules, slot), Street(HOMES, rules)
    openings = [home.opening_prices() for home in homes]
    results = list(Hall(street, homes, slot, openings, order=random.Random(seed)).run().values())
    assert all(result == results[0] for result in results)
    assert results[0].converged
    assert results[0].rounds <= 30

    trades = matched_wh(results[0])
    assert np.array(list(trades.values())).sum(axis=0).tolist() == [0] * slots
    models = [HomeModel(home.problem) for home in homes]
    plans = [m.with_trades(np.array(trades[h]) / slot.hours) for m, h in zip(models, street.ids, strict=True)]
    assert all(plan.deliverable for plan in plans)
    alone, traded = sum(model.alone().cost for model in models), sum(plan.cost for plan in plans)
    central = central_optimum([home.problem for home in homes])
    assert alone - central > 1.0  # there is something to capture
    assert traded >= central - 0.01  # and no way to do better
    assert (alone - traded) / (alone - central) >= 0.97
