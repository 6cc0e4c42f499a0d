"""What the home tells its own broker: every topic is valid JSON of its model, and says why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from agent import showing
from agent.control.controller import Shared
from agent.control.guard import GuardStatus
from agent.dashboard.topics import Topic
from agent.devices.energy import SlotEnergy
from agent.devices.reading import HomeReading
from agent.household import Settled, SlotTarget
from agent.planning.planner import Planner
from agent.planning.problem import Battery
from agent.planning.tariff import TariffSettings, open_tariff
from agent.savings import Savings
from coordinator.charter import Charter, Member, Rules
from coordinator.contracts import Contract, Status
from coordinator.identity import Identity, encode_base64
from coordinator.masked_events import MaskedFinished
from coordinator.negotiation import Finished
from coordinator.peers import Presence
from coordinator.settlement import settle_slot
from coordinator.slots import Slot

AT = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
SLOT = Slot.at(AT, 3600)
MEMBERS = sorted((Identity.from_seed(bytes([n + 1]) * 32) for n in range(3)), key=lambda identity: identity.id)
ME, SUNNY, DARK = (identity.id for identity in MEMBERS)
CHARTER = Charter(
    name="elm street",
    currency="EUR",
    founded_ms=0,
    rules=Rules(price_rule="midpoint"),
    members=tuple(
        Member(id=i.id, name=name, public_key=encode_base64(i.public_key), broker="mqtt://127.0.0.1")
        for i, name in zip(MEMBERS, ("own home", "sunny home", "dark home"), strict=True)
    ),
)
READING = HomeReading(
    at=AT, monotonic_s=1.0, grid_w=400.0, pv_w=None, battery_w=-100.0, load_w=None, soc_pct=55.5, import_wh=1.0,
    export_wh=2.0, quality="stale", missing=("pv_w", "load_w"),
)  # fmt: skip
BOUGHT = Contract(
    id="0f" * 16, slot=SLOT.key, seller=SUNNY, buyer=ME, energy_wh=300, price_micro=180_001, status=Status.COUNTED,
    offer_hash="", expires_ms=0,
)  # fmt: skip
AFTERWARDS = replace(BOUGHT, id="0b" * 16, trade="residual", energy_wh=100, price_micro=10**6)
SOLD = replace(BOUGHT, id="0e" * 16, seller=ME, buyer=DARK, energy_wh=100, price_micro=220_001)


def planner(battery: Battery | None = None) -> Planner:
    settings = TariffSettings.model_validate({"fixed": {"import_per_kwh": 0.30, "export_per_kwh": 0.06}})
    return Planner(
        first=SLOT, load_w=np.full(24, 500.0), pv_w=np.linspace(0, 2300, 24), battery=battery, stored_wh=1000.0,
        tariff=open_tariff(settings, "UTC", Path()), rho_micro=150, timezone=ZoneInfo("Europe/Berlin"),
    )  # fmt: skip


def finished(**bids: int) -> Finished:
    names = {"me": ME, "sunny": SUNNY, "dark": DARK}
    vectors = {names[name]: (wh,) for name, wh in bids.items()}
    return Finished(slot=SLOT, rounds=7, converged=True, prices_micro=(180_000, 1), bids_wh=vectors)


def valid(topic: Topic) -> Any:
    """Return the topic as a subscriber gets it; every number survives the way."""
    assert type(topic).model_validate_json(topic.model_dump_json()) == topic
    return topic


# State


@pytest.mark.parametrize(
    ("shared", "expected"),
    [(None, (False, 0, 0.0)), (Shared(), (True, 0, 0.0)), (Shared(given_w=-250.04, homes=3), (True, 3, -250.0))],
)
def test_the_state_tells_whether_and_how_the_home_balances_with_others(
    shared: Shared | None, expected: tuple[bool, int, float]
) -> None:
    guard = GuardStatus(control="observe", target_w=None, reason="x")
    shown = valid(showing.state("own home", READING, guard, None, shared))
    assert (shown.sharing, shown.sharing_with, shown.shared_w) == expected


def test_what_is_not_known_is_null_and_never_zero() -> None:
    guard = GuardStatus(control="released", target_w=None, reason="the meter is silent")
    shown = valid(showing.state("own home", READING, guard, None))
    assert (shown.pv_w, shown.load_w, shown.target_w) == (None, None, None)
    assert (shown.grid_w, shown.battery_w, shown.soc_pct, shown.quality) == (400.0, -100.0, 55.5, "stale")
    assert (shown.control, shown.reason, shown.trading_w) == ("released", "the meter is silent", 0.0)


def test_the_running_trade_is_shown_as_power() -> None:
    quarter = Slot.at(AT, 900)
    plan = planner().schedule([0])
    target = SlotTarget(slot=quarter, net_wh=0.0, battery_w=0.0, traded_wh=-100, plan=plan)
    guard = GuardStatus(control="following", target_w=250.0, reason="keeps the plan")
    assert valid(showing.state("own home", READING, guard, target)).trading_w == -400.0


# Masked bids


def masked(own_wh: int, partners: tuple[str, ...] = (SUNNY, DARK)) -> MaskedFinished:
    return MaskedFinished(
        slot=SLOT, rounds=7, converged=True, prices_micro=(180_000, 1), bids_wh={ME: (own_wh,)}, me=ME,
        totals_wh=(3,), partners=partners, roster="0" * 32, balancing=frozenset(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (masked(500), "no neighbour had any left to sell, or none answered in time"),
        (masked(-500), "no neighbour had any left to buy, or none answered in time"),
        (masked(0), "nothing wanted at the neighbourhood's price"),
        (masked(500, ()), "no neighbour took part"),
    ],
)
def test_a_masked_market_says_why_without_anybody_elses_bid(result: MaskedFinished, why: str) -> None:
    market = valid(showing.market("own home", AT, SLOT, (result, 1), [], (300_000, 60_000), ME))
    assert (market.reason, market.unmatched_wh) == (why, 3)


def test_masks_that_were_given_up_are_said_with_what_that_showed() -> None:
    opened = replace(finished(me=500, sunny=-500), opened="a home fell silent")
    market = valid(showing.market("own home", AT, SLOT, (opened, 1), [], (300_000, 60_000), ME))
    assert market.reason.endswith(
        "masked bids of 09:00 UTC were given up (a home fell silent): neighbours saw that period's bid, no later"
    )
    assert showing.given_up((masked(500), 1)) == showing.given_up(None) == ""


# Market


def test_trades_are_signed_and_named_from_this_homes_side() -> None:
    bought, sold = showing.trades(ME, CHARTER, [BOUGHT, SOLD])
    assert (bought.partner, bought.energy_wh, bought.price_per_kwh) == ("sunny home", 300, Decimal("0.180001"))
    assert (sold.partner, sold.energy_wh, sold.price_per_kwh) == ("dark home", -100, Decimal("0.220001"))
    assert [t.trade for t in showing.trades(ME, CHARTER, [BOUGHT, AFTERWARDS])] == ["slot", "residual"]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (Status.OFFERED, "offered"),
        (Status.BOUND, "bound"),
        (Status.ACCEPTED, "bound"),
        (Status.COUNTED, "counted"),
        (Status.REJECTED, "void"),
        (Status.LAPSED, "void"),
        (Status.FREED, "void"),
        (Status.VOID, "void"),
    ],
)
def test_every_status_has_a_word_for_people(status: Status, shown: str) -> None:
    (trade,) = showing.trades(ME, CHARTER, [replace(BOUGHT, status=status)])
    assert trade.status == shown


def market(result: Finished | None, *contracts: Contract) -> Any:
    made = showing.trades(ME, CHARTER, contracts)
    known = None if result is None else (result, 175_000)
    return valid(showing.market("own home", AT, SLOT, known, made, (300_000, 60_000), ME))


def test_the_market_shows_what_is_alive_and_at_which_price() -> None:
    shown = market(finished(me=300, sunny=-310), BOUGHT, SOLD, replace(BOUGHT, id="x", status=Status.LAPSED))
    assert (shown.bought_wh, shown.sold_wh, shown.unmatched_wh, shown.rounds) == (300, 100, 10, 7)
    assert shown.price_per_kwh == Decimal("0.175")
    assert (shown.import_price_per_kwh, shown.export_price_per_kwh) == (Decimal("0.3"), Decimal("0.06"))
    assert (shown.slot_start_at, shown.slot_end_at) == (AT, AT + timedelta(hours=1))
    assert len(shown.trades) == 3


def test_a_price_that_was_negotiated_with_nobody_is_none() -> None:
    shown = market(None)
    assert (shown.price_per_kwh, shown.rounds, shown.reason) == (None, 0, "no negotiation for this slot")
    assert shown.import_price_per_kwh == Decimal("0.3")
    lone = market(finished(me=300))
    assert (lone.price_per_kwh, lone.reason) == (None, "no neighbour took part")


@pytest.mark.parametrize(
    ("bids", "reason"),
    [
        ({"me": 300}, "no neighbour took part"),
        ({"me": 0, "sunny": -5}, "nothing wanted at the neighbourhood's price"),
        ({"me": 300, "sunny": 0, "dark": 5}, "no neighbour had energy left to sell"),
        ({"me": -300, "sunny": -5, "dark": 0}, "no neighbour wanted to buy"),
        ({"me": 300, "sunny": -5}, "no contract came about in time"),
        ({"me": -300, "dark": 5}, "no contract came about in time"),
    ],
)
def test_who_did_not_trade_is_told_why(bids: dict[str, int], reason: str) -> None:
    assert market(finished(**bids)).reason == reason
    assert market(finished(**bids), replace(BOUGHT, status=Status.REJECTED)).reason == reason


def test_who_traded_is_told_how_much() -> None:
    assert market(finished(me=300, sunny=-300), BOUGHT).reason.startswith("bought 300 Wh")
    assert market(finished(me=-100, dark=100), SOLD).reason.startswith("sold 100 Wh")


# Plan


@pytest.mark.parametrize("battery", [None, Battery(capacity_wh=5000, charge_max_w=2000, discharge_max_w=2000)])
def test_the_plan_balances_in_every_slot_and_gives_a_reason(battery: Battery | None) -> None:
    plan = planner(battery).schedule([100, 50])
    shown = valid(showing.plan("own home", AT, plan))
    assert [slot.start_at for slot in shown.slots] == [AT + timedelta(hours=n) for n in range(24)]
    for slot in shown.slots:
        assert slot.load_w == pytest.approx(slot.grid_w + slot.pv_w + slot.battery_w, abs=0.3)
        assert slot.reason
        assert (slot.soc_pct is None) == (battery is None)
    assert [slot.trade_w for slot in shown.slots[:2]] == [100.0, 50.0]
    assert (shown.slots[0].import_price_per_kwh, shown.slots[0].price_per_kwh) == (0.3, 0.18)


def test_the_plan_says_what_wishes_do_not_get() -> None:
    plan = replace(planner().schedule([0]), gave_way=("car: 10.0 of 12.0 kWh by 13:00",))
    assert valid(showing.plan("own home", AT, plan)).gave_way == ["car: 10.0 of 12.0 kWh by 13:00"]


# Day, savings, peers


def settled(*contracts: Contract, net_wh: int = 500) -> Settled:
    bill = settle_slot(ME, contracts, net_wh=net_wh, import_micro=300_000, export_micro=60_000)
    return Settled(
        energy=SlotEnergy(
            slot=SLOT, import_wh=max(net_wh, 0) + 20, export_wh=max(-net_wh, 0) + 20, load_wh=500.004, pv_wh=None,
            battery_wh=-12.345, soc_pct=None, estimated=False,
        ),
        bill=bill,
        contracts=contracts,
        tariff_micro=(300_000, 60_000),
        forecast_load_wh=480.0,
        forecast_pv_wh=None,
    )  # fmt: skip


def test_a_settled_slot_shows_the_net_of_the_meter_and_the_mean_price_of_its_trades() -> None:
    other = replace(BOUGHT, id="0d" * 16, seller=DARK, energy_wh=100, price_micro=220_000)
    void = replace(BOUGHT, id="0c" * 16, price_micro=10**9, status=Status.VOID)
    shown = valid(showing.day("own home", AT, [settled(BOUGHT, other, void)], ME, CHARTER)).slots[0]
    assert (shown.import_wh, shown.export_wh, shown.bought_wh, shown.sold_wh) == (500, 0, 400, 0)
    assert shown.price_per_kwh == Decimal("0.190001")  # (300 * 0.180001 + 100 * 0.22) / 400, to a millionth
    assert (shown.load_wh, shown.pv_wh, shown.battery_wh) == (500.0, 0.0, -12.35)
    assert (shown.forecast_load_wh, shown.forecast_pv_wh) == (480.0, None)
    assert [trade.status for trade in shown.trades] == ["counted", "counted", "void"]


def test_what_was_balanced_afterwards_counts_as_energy_but_is_not_the_slots_price() -> None:
    shown = valid(showing.day("own home", AT, [settled(BOUGHT, AFTERWARDS)], ME, CHARTER)).slots[0]
    assert (shown.bought_wh, shown.price_per_kwh) == (400, Decimal("0.180001"))
    only = valid(showing.day("own home", AT, [settled(AFTERWARDS)], ME, CHARTER)).slots[0]
    assert (only.bought_wh, only.price_per_kwh) == (100, None)


def test_a_slot_without_trades_has_no_price() -> None:
    shown = valid(showing.day("own home", AT, [settled(net_wh=-300)], ME, CHARTER)).slots[0]
    assert (shown.price_per_kwh, shown.import_wh, shown.export_wh) == (None, 0, 300)


def test_savings_are_shown_to_the_last_decimal() -> None:
    books = Savings(efficiency_discharge=1.0, no_battery=Decimal("1.234567891"), alone=Decimal("0.1"), rounds=10)
    books.traded, books.negotiations, books.utility_wh = Decimal("-0.000000001"), 3, 42
    shown = valid(showing.savings("own home", AT, books, "EUR", AT - timedelta(days=1)))
    assert (shown.bill_no_battery, shown.bill_alone) == (Decimal("1.234567891"), Decimal("0.1"))
    assert shown.bill_traded == Decimal("-0.000000001")
    assert (shown.rounds_mean, shown.currency, shown.utility_wh) == (3.333, "EUR", 42)
    assert shown.since_at == AT - timedelta(days=1)


def test_peers_are_all_members_and_the_home_itself_is_there() -> None:
    presence = Presence(frozenset({SUNNY, DARK}), absent_after_s=60)
    presence.heard(SUNNY, 0.0, AT)
    presence.heard(DARK, 100.0, AT)
    presence.lost(100.0)
    shown = valid(showing.peers("own home", AT, ME, CHARTER, presence))
    assert {peer.name: peer.online for peer in shown.members} == {
        "own home": True,
        "sunny home": False,
        "dark home": True,
    }
    assert [peer.last_seen_at for peer in shown.members if peer.id == SUNNY] == [AT]
    assert (shown.self_id, shown.community_id, shown.price_rule) == (ME, CHARTER.community_id, "midpoint")
    assert shown.currency == "EUR"
