"""What `study --report` writes of the life with trading, so that anybody can recompute its bills."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.study.engine import Part
from agent.study.lives import Life
from agent.study.record import Record
from agent.study.report import ContractRow, FlowRow, write_report
from agent.study.study_words import Study, assumptions
from coordinator.quantities import MICRO, from_micro

_BILL = (
    "sum over slots of contracts (bought minus sold at their price) + imbalance (grid_w * hours, which is whole Wh, "
    "minus net contracted energy, at the import price when positive, else at the export price), minus, for every part, "
    "(energy stored at its end - stored_at_start_wh) * efficiency_discharge * terminal_per_kwh"
)
_FLOWS = (
    "mean powers of the slot; load_w = grid_w + pv_w + battery_w but for the meter's rounding to whole Wh; soc_pct at "
    "the slot's end"
)


def write_study_report(folder: Path, study: Study) -> None:
    """Write contracts.csv, flows.csv and constants.json; one part of the period is in memory at a time.

    Raises:
        ConfigError: If the folder cannot be written.
    """
    write_report(folder, _contracts(study), _flows(study), constants(study))


def traded_parts(study: Study) -> list[Part]:
    return study.answer.parts["traded"]


def record_of(part: Part) -> Record:
    assert part.file is not None  # the engine names it for every part
    return Record.read(part.file)


def _contracts(study: Study) -> Iterator[ContractRow]:
    names = [life.name for life in study.lives.homes]
    for part in traded_parts(study):
        for step, deal in record_of(part).trades():
            assert deal.kind != "auction"
            yield ContractRow(
                slot=part.segment.booked.shifted(step).start_at,
                seller=names[deal.seller],
                buyer=names[deal.buyer],
                energy_wh=deal.energy_wh,
                price=from_micro(deal.price_micro),
                kind=deal.kind,
            )


def _flows(study: Study) -> Iterator[FlowRow]:
    lives, hours = study.lives, study.question.first.hours
    for part in traded_parts(study):
        record, begin = record_of(part), lives.index(part.segment.booked)
        for step in range(part.segment.slots):
            at = part.segment.booked.shifted(step).start_at
            for i, life in enumerate(lives.homes):
                yield FlowRow(
                    slot=at,
                    home=life.name,
                    load_w=float(life.load_w[begin + step]),
                    pv_w=float(life.pv_w[begin + step]),
                    battery_w=float(record.battery_w[step, i]),
                    soc_pct=_soc_pct(life, float(record.stored_wh[step, i])),
                    grid_w=float(record.net_wh[step, i]) / hours,
                )


def _soc_pct(life: Life, stored_wh: float) -> float | None:
    return 100 * stored_wh / life.battery.capacity_wh if life.battery else None


def constants(study: Study) -> dict[str, Any]:
    """Return all that, beside the two tables, the figures follow from."""
    question, lives = study.question, study.lives
    leads = _leads(study)
    return {
        "community": lives.name,
        "currency": lives.currency,
        "timezone": str(lives.timezone),
        "first_slot": f"{question.first.start_at:%Y-%m-%dT%H:%M:%SZ}",
        "slots": question.slots,
        "slot_s": question.first.length_s,
        "strategy": "traded",
        "bill": _BILL,
        "flows": _FLOWS,
        "rules": question.options.rules.model_dump(),
        "tariffs": {f"tariff-{number}": _tariff(study, home) for number, home in enumerate(leads.values(), 1)},
        "homes": {
            life.name: {"tariff": f"tariff-{list(leads).index(_key(life)) + 1}", "battery": _battery(life)}
            for life in lives.homes
        },
        "parts": [_part(study, part) for part in traded_parts(study)],
        "assumptions": assumptions(study),
        "figures": study.figures,
    }


def _key(life: Life) -> bytes:
    return life.import_micro.tobytes() + life.export_micro.tobytes()


def _leads(study: Study) -> dict[bytes, int]:
    """Return the number of the first home of every tariff."""
    leads: dict[bytes, int] = {}
    for number, life in enumerate(study.lives.homes):
        leads.setdefault(_key(life), number)
    return leads


def _tariff(study: Study, home: int) -> dict[str, Any]:
    life, begin = study.lives.homes[home], study.lives.index(study.question.first)
    span = slice(begin, begin + study.question.slots)
    return {
        "import_per_kwh": (life.import_micro[span] / MICRO).tolist(),
        "export_per_kwh": (life.export_micro[span] / MICRO).tolist(),
        "terminal_per_kwh": float(traded_parts(study)[0].books.terminal_per_kwh[home]),
    }


def _battery(life: Life) -> dict[str, float] | None:
    battery = life.battery
    if battery is None:
        return None
    return {
        "capacity_wh": battery.capacity_wh,
        "charge_max_w": battery.charge_max_w,
        "discharge_max_w": battery.discharge_max_w,
        "efficiency_charge": battery.efficiency_charge,
        "efficiency_discharge": battery.efficiency_discharge,
    }


def _part(study: Study, part: Part) -> dict[str, Any]:
    stored = {
        life.name: float(wh)
        for life, wh in zip(study.lives.homes, part.books.start_wh.tolist(), strict=True)
        if life.battery
    }
    return {
        "first_slot": f"{part.segment.booked.start_at:%Y-%m-%dT%H:%M:%SZ}",
        "slots": part.segment.slots,
        "stored_at_start_wh": stored,
    }
