"""What `market solve --report` writes of a negotiated horizon."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.planning.problem import HomeProblem
from agent.study.market import Market
from agent.study.report import ContractRow, FlowRow, write_report
from coordinator.quantities import from_micro


def write_market_report(folder: Path, market: Market) -> None:
    """Write contracts.csv, flows.csv and constants.json of a market.

    Raises:
        ConfigError: If the folder cannot be written.
    """
    write_report(folder, _contracts(market), _flows(market), constants(market))


def _contracts(market: Market) -> Iterator[ContractRow]:
    slots = market.slots
    for trade in market.trades:
        yield ContractRow(
            slot=slots[trade.index].start_at,
            seller=trade.seller,
            buyer=trade.buyer,
            energy_wh=trade.energy_wh,
            price=from_micro(trade.price_micro),
        )


def _flows(market: Market) -> Iterator[FlowRow]:
    for index, slot in enumerate(market.slots):
        for home in market.homes:
            problem, plan = market.planners[home.name].problem, home.traded
            # what a car or a boiler takes is load to the meter
            load_w = float(problem.load_w[index] - plan.unserved_w[index] - plan.flexible_w[index])
            pv_w = float(problem.pv_w[index] - plan.curtailed_w[index])
            battery_w = float(plan.battery_w[index])
            yield FlowRow(
                slot=slot.start_at,
                home=home.name,
                load_w=load_w,
                pv_w=pv_w,
                battery_w=battery_w,
                soc_pct=None if home.soc_pct is None else home.soc_pct[index],
                grid_w=load_w - pv_w - battery_w,
            )


def constants(market: Market) -> dict[str, Any]:
    """Return all that, beside the two tables, the figures follow from."""
    return {
        "community": market.community.name,
        "currency": market.community.currency,
        "timezone": market.community.timezone.key,
        "first_slot": f"{market.first.start_at:%Y-%m-%dT%H:%M:%SZ}",
        "slot_s": market.first.length_s,
        "forecast": "the record itself" if market.known else "mean of the last seven days",
        "cost": (
            "sum over slots of contracts (bought minus sold at their price) + imbalance (grid_w * hours minus net "
            "contracted energy, at the import price when positive, else at the export price) + wear_per_kwh / 2 * "
            "|battery_w| * hours, minus terminal_per_kwh * efficiency_discharge * energy stored at the end; cars, "
            "tanks and load that an island leaves unserved come on top"
        ),
        "soc_pct": "at the slot's end",
        "rules": market.rules.model_dump(),
        "tariffs": {name: _tariff(problem) for name, problem in _distinct(market).items()},
        "homes": {home.name: _home(market, home.name) for home in market.homes},
        "figures": market.figures(),
    }


def _key(problem: HomeProblem) -> tuple[bytes, bytes]:
    return problem.import_per_kwh.tobytes(), problem.export_per_kwh.tobytes()


def _distinct(market: Market) -> dict[str, HomeProblem]:
    """Return one home of every tariff, under the tariff's name in the report."""
    tariffs = {_key(planner.problem): planner.problem for planner in market.planners.values()}
    return {f"tariff-{number}": problem for number, problem in enumerate(tariffs.values(), 1)}


def _tariff(problem: HomeProblem) -> dict[str, Any]:
    return {
        "import_per_kwh": problem.import_per_kwh.tolist(),
        "export_per_kwh": problem.export_per_kwh.tolist(),
        "terminal_per_kwh": problem.terminal_per_kwh,
    }


def _home(market: Market, name: str) -> dict[str, Any]:
    problem = market.planners[name].problem
    tariff = next(key for key, other in _distinct(market).items() if _key(other) == _key(problem))
    battery = problem.battery
    if battery is None:
        return {"tariff": tariff, "battery": None}
    return {
        "tariff": tariff,
        "battery": {
            "capacity_wh": battery.capacity_wh,
            "charge_max_w": battery.charge_max_w,
            "discharge_max_w": battery.discharge_max_w,
            "efficiency_charge": battery.efficiency_charge,
            "efficiency_discharge": battery.efficiency_discharge,
            "stored_at_start_wh": problem.start_wh,
            "wear_per_kwh": problem.wear_per_kwh,
        },
    }
