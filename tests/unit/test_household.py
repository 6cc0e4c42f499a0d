"""A home's books and targets, computed by hand beside it."""

import gc
import json
import weakref
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.devices.energy import SlotEnergy
from agent.devices.reading import HomeReading
from agent.forecast.forecaster import Forecast
from agent.forecast.history import History
from agent.household import KEPT_SLOTS, Facts, TradingHome
from agent.planning.problem import Battery
from agent.planning.shadow import Shadow
from agent.planning.tariff import TariffSettings, open_tariff
from agent.savings import Savings
from agent.simulator.wishes import Wishes
from coordinator.charter import Rules
from coordinator.contracts import Contract, Status
from coordinator.household import MeterReading
from coordinator.negotiation import Finished
from coordinator.settlement import settle_slot
from coordinator.slots import Slot

START = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
SLOT = Slot.at(START, 3600)
RULES = Rules.for_slot(3600, 12)
BATTERY = Battery(capacity_wh=10_000, charge_max_w=3000, discharge_max_w=3000)
FLAT = {"fixed": {"import_per_kwh": 0.30, "export_per_kwh": 0.06}}
DEAR_EVENING = {
    "time_of_use": [
        {"from": "00:00", "to": "10:00", "import_per_kwh": 0.20},
        {"from": "10:00", "to": "24:00", "import_per_kwh": 0.40},
    ],
    "export_per_kwh": 0.06,
}


class FixedForecaster:
    """Always expects the same."""

    def __init__(self, load_w: float, pv_w: float) -> None:
        self.load_w, self.pv_w = load_w, pv_w
        self.fitted: list[History] = []

    def fit(self, history: History, weather: None) -> None:
        self.fitted.append(history)

    def predict(self, first: Slot, count: int, history: History, weather: None) -> Forecast:
        return Forecast(
            first=first,
            load_w=np.full(count, self.load_w),
            pv_w=np.full(count, self.pv_w),
            load_band_w=np.full((count, 3), self.load_w),
            pv_band_w=np.full((count, 3), self.pv_w),
            load_source="naive",
            pv_source="naive",
        )


def home(battery: Battery | None = BATTERY, tariff: dict[str, Any] = FLAT, **options: Any) -> TradingHome:
    facts = Facts(
        name="home 1",
        timezone=UTC,
        tariff=open_tariff(TariffSettings.model_validate(tariff), "UTC", Path()),
        battery=battery,
    )
    forecaster: Any = FixedForecaster(options.pop("load_w", 1000.0), options.pop("pv_w", 0.0))
    return TradingHome(facts, RULES, forecaster, **options)


def reading(at: datetime, soc_pct: float | None) -> HomeReading:
    return HomeReading(
        at=at, monotonic_s=0.0, grid_w=0.0, pv_w=0.0, battery_w=0.0, load_w=0.0, soc_pct=soc_pct, import_wh=0.0,
        export_wh=0.0, quality="valid", missing=(),
    )  # fmt: skip


def energy(slot: Slot, net_wh: int, load_wh: float | None, pv_wh: float | None, soc_pct: float | None) -> SlotEnergy:
    return SlotEnergy(
        slot=slot, import_wh=max(net_wh, 0), export_wh=max(-net_wh, 0), load_wh=load_wh, pv_wh=pv_wh, battery_wh=0.0,
        soc_pct=soc_pct, estimated=False,
    )  # fmt: skip


def contract(status: Status = Status.COUNTED, energy_wh: int = 400, buyer: str = "me", seller: str = "you") -> Contract:
    return Contract(
        id=f"{status.value}{buyer}", slot=SLOT.key, seller=seller, buyer=buyer, energy_wh=energy_wh,
        price_micro=180_000, status=status, offer_hash="", expires_ms=0,
    )  # fmt: skip


def live(of: TradingHome, done: SlotEnergy, contracts: tuple[Contract, ...] = ()) -> None:
    """Let a slot pass: planned, metered, settled."""
    slot = done.slot
    of.target(slot, slot.start_at)
    of.slot_done(done)
    import_micro, export_micro = of.tariff_micro(slot)
    bill = settle_slot("me", contracts, net_wh=done.net_wh, import_micro=import_micro, export_micro=export_micro)
    meter = MeterReading(import_wh=done.import_wh, export_wh=done.export_wh)
    of.settled(slot, meter, bill, contracts)


def finished(slot: Slot, rounds: int = 5, **bids: int) -> Finished:
    return Finished(
        slot=slot,
        rounds=rounds,
        converged=True,
        prices_micro=(180_000,) * RULES.horizon_slots,
        bids_wh={name: (wh,) * RULES.horizon_slots for name, wh in bids.items()},
        me="me",
    )


# Books


def test_the_three_bills_of_a_home_without_a_battery() -> None:
    mine = home(battery=None)
    live(mine, energy(SLOT, 1000, 1200.0, 200.0, None), (contract(), contract(Status.VOID)))
    books = mine.savings
    assert books.bill_no_battery == books.bill_alone == Decimal("0.30")
    assert books.bill_traded == Decimal("0.072") + Decimal("0.18")  # 400 Wh at 0.18, 600 Wh at 0.30
    assert (books.bought_wh, books.utility_wh, books.import_wh) == (400, 600, 1000)
    assert (books.contracts, books.contracts_void, books.slots) == (1, 1, 1)


def test_what_is_exported_is_paid_at_the_feed_in_price_and_what_is_sold_at_its_own() -> None:
    mine = home(battery=None)
    live(mine, energy(SLOT, -1000, 500.0, 1500.0, None), (contract(buyer="you", seller="me"),))
    books = mine.savings
    assert books.bill_no_battery == Decimal("-0.06")
    assert books.bill_traded == Decimal("-0.072") + Decimal("-0.036")
    assert (books.sold_wh, books.utility_wh, books.export_wh) == (400, 0, 1000)


def test_at_one_price_for_all_hours_every_way_to_serve_a_load_costs_the_same() -> None:
    """The shadow imports all, to which all is the same; the real battery gave 950 Wh. The load costs 0.36 each way."""
    mine = home()
    mine.observe(reading(START, 50.0))
    live(mine, energy(SLOT, 250, 1200.0, 0.0, 40.0))
    books = mine.savings
    assert books.no_battery == Decimal("0.36")
    assert books.alone == Decimal("0.36")
    assert books.traded == Decimal("0.075")
    assert mine.shadow is not None
    assert mine.shadow.stored_wh == pytest.approx(5000, abs=1)
    for bill in (books.bill_no_battery, books.bill_alone, books.bill_traded):
        assert bill == pytest.approx(Decimal("0.36"), abs=Decimal("0.0005"))


def test_books_begin_with_what_was_stored_when_the_slot_began() -> None:
    """The reading that closes a slot is already one of the next slot."""
    mine = home()
    mine.observe(reading(START, 50.0))
    mine.observe(reading(START + timedelta(minutes=30), 45.0))
    mine.observe(reading(SLOT.end_at, 40.0))
    mine.slot_done(energy(SLOT, 0, 950.0, 0.0, 40.0))
    assert mine.savings.start_wh == 5000.0


@pytest.mark.parametrize("restart", [False, True])
def test_what_the_battery_gave_while_the_agent_was_away_is_in_no_bill(restart: bool) -> None:
    """Six hours of them: the home without neighbours did not live through them, and lost nothing by them."""
    through, away = home(), home()
    for each in (through, away):
        each.observe(reading(START, 90.0))
        live(each, energy(SLOT, 1000, 1000.0, 0.0, 90.0))
    if restart:
        kept = json.loads(json.dumps(away.savings.dump()))
        away = home(savings=Savings.load(kept), shadow=away.shadow)
    else:
        for n in range(1, 13):
            away.slot_done(energy(SLOT.shifted(n), 0, None, None, 90.0 - 5 * n))
    later = SLOT.shifted(13)
    away.observe(reading(later.start_at, 30.0))
    live(away, energy(later, 1000, 1000.0, 0.0, 30.0))
    live(through, energy(SLOT.shifted(1), 1000, 1000.0, 0.0, 90.0))
    assert away.savings.skipped_wh == -6000
    assert away.savings.bill_traded == through.savings.bill_traded == Decimal("0.6")
    assert away.savings.bill_alone == through.savings.bill_alone


def test_bills_begin_when_it_is_known_what_is_in_the_battery() -> None:
    mine = home()
    mine.observe(reading(START, None))
    live(mine, energy(SLOT, 1000, 1000.0, 0.0, None))
    assert mine.savings.slots == 0
    mine.observe(reading(SLOT.end_at, None))
    live(mine, energy(SLOT.shifted(1), 1000, 1000.0, 0.0, 80.0))
    assert mine.savings.start_wh == 8000
    assert mine.savings.bill_traded == Decimal("0.3")


def test_the_terminal_price_is_that_of_the_slots_lived_through() -> None:
    mine = home(tariff=DEAR_EVENING)
    mine.observe(reading(START, 50.0))
    live(mine, energy(SLOT, 1000, 1000.0, 0.0, 60.0))
    assert mine.savings.bill_traded == Decimal("0.2") - Decimal("0.95") * Decimal("0.2")
    for n in (1, 2, 3):
        live(mine, energy(SLOT.shifted(n), 1000, 1000.0, 0.0, 60.0))
    # three slots at 0.40 later the cheapest quarter is still the one slot at 0.20
    assert mine.savings.bill_traded == Decimal("1.4") - Decimal("0.95") * Decimal("0.2")


def test_books_go_on_after_a_restart_as_if_there_had_been_none() -> None:
    def slots() -> list[SlotEnergy]:
        return [energy(SLOT.shifted(n), 700 + 100 * n, 1100.0, 100.0 * n, 50.0 - n) for n in range(4)]

    through, first = home(tariff=DEAR_EVENING), home(tariff=DEAR_EVENING)
    for each in (through, first):
        each.observe(reading(START, 50.0))
    for done in slots():
        live(through, done)
    for done in slots()[:2]:
        live(first, done)
    assert first.shadow is not None
    kept = json.loads(json.dumps(first.savings.dump()))
    again = home(tariff=DEAR_EVENING, savings=Savings.load(kept), shadow=Shadow(first.shadow.stored_wh))
    again.observe(reading(SLOT.shifted(2).start_at, 48.0))
    for done in slots()[2:]:
        live(again, done)
    assert again.savings == through.savings


def test_a_restart_before_the_bill_loses_no_slot() -> None:
    """The bill comes minutes after the meter; what the meter's slot brought is kept until then."""
    mine = home()
    mine.observe(reading(SLOT.start_at, 50.0))
    done = energy(SLOT, 1000, 1200.0, 200.0, 45.0)
    mine.target(SLOT, SLOT.start_at)
    mine.slot_done(done)
    (kept,) = json.loads(json.dumps(mine.unbilled()))
    again = home(unbilled=[kept], shadow=mine.shadow, savings=mine.savings)
    bill = settle_slot("me", (), net_wh=1000, import_micro=300_000, export_micro=60_000)
    meter = MeterReading(import_wh=1000, export_wh=0)
    for each in (again, mine):
        each.savings = Savings(efficiency_discharge=0.9)
        each.settled(SLOT, meter, bill, ())
        each.settled(SLOT, meter, bill, ())
        assert each.unbilled() == []
    assert again.savings == mine.savings
    assert again.savings.slots == 1


def test_only_slots_within_the_books_are_counted() -> None:
    mine = home(since=SLOT.shifted(1).start_at, until=SLOT.shifted(3).start_at)
    for n in range(4):
        mine.negotiated(finished(SLOT.shifted(n), rounds=10 + n, me=5, you=-5), 180_000)
        live(mine, energy(SLOT.shifted(n), 1000, 1000.0, 0.0, 50.0))
    assert mine.savings.slots == 2
    assert mine.savings.rounds_mean == 11.5
    assert len(mine.latest_settled(10)) == 2


def test_a_slot_whose_load_nobody_knows_is_in_no_bill() -> None:
    mine = home()
    mine.slot_done(energy(SLOT, 1000, None, None, 50.0))
    bill = settle_slot("me", (), net_wh=1000, import_micro=300_000, export_micro=60_000)
    mine.settled(SLOT, MeterReading(import_wh=1000, export_wh=0), bill, ())
    assert (mine.savings.slots, mine.savings.bill_traded) == (0, 0)


def test_what_is_settled_is_told_with_its_forecast_and_contracts() -> None:
    news: list[tuple[str, Slot]] = []
    mine = home(battery=None, pv_w=250.0, on_change=lambda change, slot: news.append((change, slot)))
    mine.negotiated(finished(SLOT, me=400, you=-400), 180_000)
    live(mine, energy(SLOT, 1000, 1200.0, 200.0, None), (contract(),))
    assert news == [("market", SLOT), ("plan", SLOT), ("settled", SLOT)]
    (done,) = mine.latest_settled(5)
    assert (done.forecast_load_wh, done.forecast_pv_wh) == (1000.0, 250.0)
    assert done.tariff_micro == (300_000, 60_000)
    assert done.contracts == (contract(),)
    assert mine.result(SLOT) == (finished(SLOT, me=400, you=-400), 180_000)


# Targets


def test_the_target_of_a_slot_is_the_plan_with_its_firm_trades() -> None:
    mine = home(battery=None)
    mine.prepare(SLOT, START)
    mine.negotiated(finished(SLOT, me=400, you=-400), 180_000)
    mine.gate_closed(SLOT, 400, START)
    target = mine.known_target(SLOT)
    assert target is not None
    assert target.net_wh == pytest.approx(1000)  # what the meter should show: 600 from the grid, 400 bought
    assert target.traded_wh == 400
    assert mine.target(SLOT, START) is target


def test_a_battery_is_asked_to_deliver_what_was_sold() -> None:
    mine = home()
    mine.observe(reading(START, 50.0))
    mine.prepare(SLOT, START)
    mine.negotiated(finished(SLOT, me=-500, you=500), 290_000)
    mine.gate_closed(SLOT, -500, START)
    target = mine.known_target(SLOT)
    assert target is not None
    assert target.battery_w >= 500 - 1
    assert target.net_wh == pytest.approx(1000 - target.battery_w, abs=1)


def test_what_the_owner_wishes_is_in_the_plan_and_its_reasons() -> None:
    mine = home(battery=None)
    laundry = {"name": "laundry", "energy_kwh": 1, "power_kw": 2, "from": f"{SLOT.start_at:%H:%M}", "to": "18:00"}
    mine.facts = replace(mine.facts, wishes=Wishes.model_validate({"shiftables": [laundry]}))
    plan = mine.target(SLOT, START).plan
    (flow,) = plan.schedule.flexible
    assert (flow.charge_w * SLOT.hours).sum() == pytest.approx(1000, abs=2)
    running = [reason for reason, watts in zip(plan.reasons, flow.charge_w, strict=True) if watts > 100]
    assert running
    assert all(reason.startswith("laundry takes") for reason in running)


@pytest.mark.parametrize(("others", "share"), [({"you": -250, "they": -250}, 0.5), ({"they": 800}, 0.0), ({}, 0.0)])
def test_of_the_trades_bid_for_later_only_what_is_matched_counts(others: dict[str, int], share: float) -> None:
    """Each hour the home wants 1000 Wh; the long side is scaled down."""
    mine = home(battery=None)
    preparation = mine.prepare(SLOT, START)
    assert preparation is not None
    bids = preparation.bidder.bid([100_000] * 12, [0.0] * 12)
    assert bids == pytest.approx([1000] * 12, abs=400)
    wanted = bids[0]
    scaled = {name: wh * wanted // 1000 for name, wh in others.items()}
    mine.negotiated(finished(SLOT, me=wanted, **scaled), 100_000)
    mine.gate_closed(SLOT, 0, START)
    target = mine.known_target(SLOT)
    assert target is not None
    assert target.plan.schedule.trade_w[0] == 0
    assert target.plan.schedule.trade_w[1:] == pytest.approx(np.array(bids[1:]) * share, abs=2)


def test_the_plan_shows_the_prices_that_contracts_will_have_not_the_negotiated_ones() -> None:
    mine = home(battery=None)
    assert mine.prepare(SLOT, START) is not None
    mine.negotiated(finished(SLOT, me=400, you=-400), 111_000)
    mine.gate_closed(SLOT, 400, START)
    target = mine.known_target(SLOT)
    assert target is not None
    prices = [sum(mine.tariff_micro(slot)) / 2e6 for slot in SLOT.horizon(RULES.horizon_slots)]  # the midpoint rule
    assert target.plan.price_per_kwh == pytest.approx(prices, abs=1e-6)


def test_s10_a_home_without_grid_promises_nothing_until_it_is_back() -> None:
    mine = home()
    mine.grid_gone = True
    assert mine.prepare(SLOT, START) is None
    mine.grid_gone = False
    assert mine.prepare(SLOT, START) is not None


def test_the_solver_of_a_negotiation_that_is_over_leaves_the_memory() -> None:
    """A day of them would be 70 MB."""
    mine = home()
    preparation = mine.prepare(SLOT, START)
    assert preparation is not None
    first = weakref.ref(preparation.bidder)
    del preparation
    for later in range(1, 10):
        mine.prepare(SLOT.shifted(later), START + timedelta(hours=later))
    gc.collect()
    assert first() is None


def test_without_a_result_no_later_trade_counts() -> None:
    mine = home(battery=None)
    preparation = mine.prepare(SLOT, START)
    assert preparation is not None
    assert min(preparation.bidder.bid([100_000] * 12, [0.0] * 12)) > 0
    mine.gate_closed(SLOT, 0, START)
    target = mine.known_target(SLOT)
    assert target is not None
    assert (target.plan.schedule.trade_w == 0).all()


def test_what_pays_within_the_slot_follows_from_the_plan() -> None:
    mine = home(tariff=DEAR_EVENING)
    mine.observe(reading(START, 50.0))
    assert mine.target(SLOT, START).reach_w[1] < 0, "before the dear hours it charges; a shortage comes from the grid"
    mine.observe(reading(START, 90.0))
    assert mine.target(SLOT.shifted(11), START).reach_w[1] == np.inf, "four dear hours leave more than is needed"


def test_a_slot_that_was_not_negotiated_is_planned_alone() -> None:
    mine = home(tariff=DEAR_EVENING)
    mine.observe(reading(START, 50.0))
    assert mine.known_target(SLOT) is None
    target = mine.target(SLOT, START)
    assert target.traded_wh == 0
    assert (target.plan.schedule.trade_w == 0).all()
    mine.gate_closed(SLOT.shifted(1), 0, START)  # after a restart the planner of the slot may be gone
    assert mine.known_target(SLOT.shifted(1)) is not None


def test_what_was_agreed_before_a_restart_is_delivered_after_it() -> None:
    mine = home()
    mine.observe(reading(START, 50.0))
    target = mine.target(SLOT, START, firm_wh=-500)
    assert target.traded_wh == -500
    assert target.battery_w >= 500 - 1
    assert mine.target(SLOT, START) is target


def test_the_next_slot_is_planned_with_what_the_battery_will_hold_then() -> None:
    mine = home(tariff=DEAR_EVENING)
    mine.observe(reading(START, 50.0))
    running = mine.target(SLOT, START)
    assert running.battery_w < -100  # charges before the dear hours
    half = START + timedelta(minutes=30)
    mine.observe(reading(half, 55.0))
    mine.prepare(SLOT.shifted(1), half)
    expected = 5500 - running.battery_w * 0.5 * BATTERY.efficiency_charge
    problem = mine.target(SLOT.shifted(1), half).plan.problem
    assert problem.stored_wh == pytest.approx(min(expected, BATTERY.capacity_wh))


def test_what_is_in_the_battery_counts_as_it_is_where_no_plan_says_more() -> None:
    mine = home()
    assert mine.target(SLOT, START).plan.problem.stored_wh == 5000  # never seen: half full
    mine.observe(reading(START, 30.0))
    assert mine.target(SLOT.shifted(5), START).plan.problem.stored_wh == 3000
    assert home(battery=None).target(SLOT, START).plan.problem.stored_wh == 0


def test_a_trade_is_kept_only_within_the_own_tariff() -> None:
    mine = home(battery=None)
    mine.prepare(SLOT, START)
    assert mine.keep(SLOT, 400, 180_000) == 400
    assert mine.keep(SLOT, 400, 300_001) == 0
    assert mine.keep(SLOT, -400, 180_000) == 0  # it has nothing to sell


# A battery that nobody commands


def observed(soc_pct: float | None = 90.0, **options: Any) -> TradingHome:
    mine = home(**options)
    mine.commands_battery = False
    mine.observe(reading(START, soc_pct))
    return mine


def test_nothing_is_sold_from_a_battery_that_is_only_observed() -> None:
    """It serves the home by itself, 1000 W, until its 9000 Wh are gone."""
    mine = observed()
    preparation = mine.prepare(SLOT, START)
    assert preparation is not None
    bids = preparation.bidder.bid([600_000] * 12, [-500.0] * 12)
    assert bids == [0] * 12, "nothing to sell, and nothing worth buying"
    bids = preparation.bidder.bid([100_000] * 12, [0.0] * 12)
    assert bids[:8] == [0] * 8
    assert bids[9:] == pytest.approx([1000] * 3, abs=400), "when it is empty the home buys"
    assert mine.keep(SLOT, -500, 290_000) == 0
    target = mine.target(SLOT, START)
    assert (target.net_wh, target.battery_w) == pytest.approx((0, 1000), abs=1)
    assert target.plan.reasons[0] == "the home runs on its own; the battery gives by itself"


def test_the_sun_that_an_observed_battery_will_take_is_not_sold() -> None:
    """2000 W to spare, of which it takes the 5000 Wh it has room for."""
    mine = observed(50.0, load_w=500.0, pv_w=2500.0)
    preparation = mine.prepare(SLOT, START)
    assert preparation is not None
    bids = preparation.bidder.bid([200_000] * 12, [0.0] * 3 + [-2000.0] * 9)
    assert bids[:2] == [0, 0]
    assert bids[3:] == pytest.approx([-2000] * 9, abs=1)
    target = mine.target(SLOT, START)
    assert (target.net_wh, target.battery_w) == pytest.approx((0, -2000), abs=1)
    assert target.plan.soc_pct is not None
    assert target.plan.soc_pct[-1] == pytest.approx(100)
    assert target.plan.reasons[0].endswith("; the battery charges by itself")
    problem, schedule = target.plan.problem, target.plan.schedule
    served_w = schedule.grid_w + schedule.trade_w + problem.pv_w - schedule.curtailed_w + schedule.battery_w
    assert served_w == pytest.approx(problem.load_w)
    later = START + timedelta(minutes=30)
    mine.prepare(SLOT.shifted(1), later)
    taken_wh = 1000 * BATTERY.efficiency_charge
    expected_pct = (5000 + 3 * taken_wh) / 100  # half of this slot and all of the next
    soc_pct = mine.target(SLOT.shifted(1), later).plan.soc_pct
    assert soc_pct is not None
    assert soc_pct[0] == pytest.approx(expected_pct, abs=0.1)


def test_control_that_ends_while_a_slot_is_negotiated_sells_nothing_more() -> None:
    mine = home(tariff={"fixed": {"import_per_kwh": 0.20, "export_per_kwh": 0.06}}, load_w=100.0)
    mine.observe(reading(START, 90.0))
    mine.prepare(SLOT, START)
    assert mine.keep(SLOT, -500, 290_000) == -500
    mine.commands_battery = False
    assert mine.keep(SLOT, -500, 290_000) == 0
    mine.gate_closed(SLOT, 0, START)
    target = mine.known_target(SLOT)
    assert target is not None
    assert target.plan.reasons[0].endswith("the battery gives by itself")
    later = SLOT.shifted(1)
    mine.prepare(later, START)
    mine.commands_battery = True
    assert mine.keep(later, -500, 290_000) == 0, "it was not bid with"
    mine.gate_closed(later, 0, START)
    target = mine.known_target(later)
    assert target is not None
    assert "by itself" not in target.plan.reasons[0], "commanded again: the slot is planned with it"


def test_what_was_sold_before_control_ended_is_paid_for_and_expected_so() -> None:
    mine = home()
    mine.observe(reading(START, 90.0))
    mine.prepare(SLOT, START)
    mine.commands_battery = False
    mine.gate_closed(SLOT, -500, START)
    target = mine.known_target(SLOT)
    assert target is not None
    assert (target.net_wh, target.battery_w) == pytest.approx((0, 1000), abs=1)


def test_without_neighbours_an_observed_battery_would_have_done_the_same() -> None:
    """A battery that plans command would wait for the dear hours; this one gives in the cheap one too."""
    mine = observed(50.0, tariff=DEAR_EVENING)
    given_pct = 10 / BATTERY.efficiency_discharge
    live(mine, energy(SLOT, 0, 1000, 0, 50 - given_pct))
    live(mine, energy(SLOT.shifted(1), 0, 1000, 0, 50 - 2 * given_pct))
    assert mine.savings.bill_alone == pytest.approx(mine.savings.bill_traded, abs=Decimal("0.0001"))
    assert mine.shadow is not None
    assert mine.shadow.stored_wh == pytest.approx(100 * (50 - 2 * given_pct))


def test_an_observed_battery_whose_charge_nobody_reads_is_left_out() -> None:
    mine = observed(None)
    target = mine.target(SLOT, START)
    assert (target.net_wh, target.battery_w) == pytest.approx((1000, 0))
    assert target.plan.soc_pct is None


# Memory


def test_learning_and_planning_see_only_the_past() -> None:
    rows = [(SLOT.key + n * 3600, 100.0 + n, 0.0) for n in range(-48, 10)]
    mine = home(rows=rows)
    assert mine.history(SLOT, 1).slots == 24
    assert mine.history(SLOT, 1).end_key == SLOT.key
    mine.learn(SLOT)
    fitted: Any = mine.forecaster
    assert fitted.fitted[0].end_key == SLOT.key


def test_only_so_many_slots_stay_in_memory() -> None:
    mine = home(battery=None)
    for n in range(KEPT_SLOTS + 5):
        mine.prepare(SLOT.shifted(n), SLOT.shifted(n).start_at)
    assert mine.forecast(SLOT) is None
    assert mine.forecast(SLOT.shifted(4)) is None
    assert mine.forecast(SLOT.shifted(5)) is not None
    assert mine.forecast(SLOT.shifted(KEPT_SLOTS + 4)) is not None


def test_an_unseen_slots_load_follows_from_the_meter() -> None:
    mine = home(battery=None, pv_w=300.0)
    mine.target(SLOT, START)
    unseen = replace(energy(SLOT, 900, None, None, None), battery_wh=None)
    mine.slot_done(unseen)
    bill = settle_slot("me", (), net_wh=900, import_micro=300_000, export_micro=60_000)
    mine.settled(SLOT, MeterReading(import_wh=900, export_wh=0), bill, ())
    assert mine.latest_settled(1)[0].energy.load_wh == 1200.0
    assert mine.savings.bill_no_battery == Decimal("0.27")
