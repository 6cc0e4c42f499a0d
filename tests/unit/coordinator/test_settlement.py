"""Money of a slot: what one pays another receives, the rest is each home's own tariff, all exact."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.contracts import Contract, Status
from coordinator.quantities import MICRO
from coordinator.settlement import settle_slot, tariff_cost

STATUSES = st.sampled_from(list(Status))
PLAIN = Contract(
    id="c", slot=0, seller="anna", buyer="bert", energy_wh=500, price_micro=180_000, status=Status.COUNTED,
    offer_hash="", expires_ms=0,
)  # fmt: skip


@st.composite
def contracts(draw: st.DrawFn) -> list[Contract]:
    made = []
    for n in range(draw(st.integers(0, 12))):
        seller, buyer = draw(st.permutations(["anna", "bert", "carl"]))[:2]
        made.append(
            replace(
                PLAIN, id=str(n), seller=seller, buyer=buyer, status=draw(STATUSES),
                energy_wh=draw(st.integers(1, 10**7)), price_micro=draw(st.integers(-(10**9), 10**9)),
            )
        )  # fmt: skip
    return made


@given(contracts(), st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=3))
def test_money_and_energy_of_contracts_add_up_to_nothing(made: list[Contract], meters: list[int]) -> None:
    bills = [
        settle_slot(
            home, [c for c in made if home in (c.buyer, c.seller)], net_wh=net, import_micro=3 * 10**5, export_micro=6
        )
        for home, net in zip(("anna", "bert", "carl"), meters, strict=True)
    ]
    assert sum((bill.contracts for bill in bills), Decimal(0)) == 0
    assert sum(bill.bought_wh for bill in bills) == sum(bill.sold_wh for bill in bills)
    assert sum(bill.imbalance_wh for bill in bills) == sum(meters)


@given(contracts(), st.integers(-(10**7), 10**7), st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_a_bill_is_exact_to_the_last_decimal(made: list[Contract], net_wh: int, one: int, other: int) -> None:
    export_micro, import_micro = sorted((one, other))
    bill = settle_slot("anna", made, net_wh=net_wh, import_micro=import_micro, export_micro=export_micro)
    counted = [c for c in made if c.status is Status.COUNTED]
    bought = [c for c in counted if c.buyer == "anna"]
    sold = [c for c in counted if c.buyer != "anna"]
    imbalance_wh = net_wh - sum(c.energy_wh for c in bought) + sum(c.energy_wh for c in sold)
    exact = sum(c.energy_wh * c.price_micro for c in bought) - sum(c.energy_wh * c.price_micro for c in sold)
    exact += imbalance_wh * (import_micro if imbalance_wh > 0 else export_micro)
    assert bill.total * 1000 * MICRO == exact
    assert bill.imbalance_wh == imbalance_wh


@pytest.mark.parametrize(
    ("me", "net_wh", "contract", "imbalance"),
    [
        ("bert", 500, "0.09", "0"),  # what was bought is what flowed
        ("bert", 700, "0.09", "0.06"),  # 200 Wh more, from the grid at 0.30
        ("bert", 400, "0.09", "-0.006"),  # 100 Wh less: the grid pays 0.06
        ("anna", -500, "-0.09", "0"),
        ("anna", -300, "-0.09", "0.06"),  # sold 500, delivered 300: bought the rest
        ("anna", -800, "-0.09", "-0.018"),
    ],
)
def test_each_home_pays_its_own_tariff_for_its_own_imbalance(
    me: str, net_wh: int, contract: str, imbalance: str
) -> None:
    bill = settle_slot(me, [PLAIN], net_wh=net_wh, import_micro=300_000, export_micro=60_000)
    assert bill.contracts == Decimal(contract)
    assert bill.imbalance == Decimal(imbalance)
    assert bill.total == Decimal(contract) + Decimal(imbalance)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.COUNTED])
def test_only_what_counts_is_paid(status: Status) -> None:
    bill = settle_slot("bert", [replace(PLAIN, status=status)], net_wh=500, import_micro=300_000, export_micro=60_000)
    assert (bill.contracts, bill.bought_wh, bill.sold_wh) == (Decimal(0), 0, 0)
    assert bill.total == Decimal("0.15")


def test_one_tariff_on_the_result_of_the_slot() -> None:
    assert tariff_cost(1000, 300_000, 60_000) == Decimal("0.3")
    assert tariff_cost(-1000, 300_000, 60_000) == Decimal("-0.06")
    assert tariff_cost(0, 300_000, 60_000) == 0
