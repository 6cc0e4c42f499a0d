"""The fewest payments that leave nobody with a claim."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import LocalProtocolError
from coordinator.netting import EXACT_MAX, fewest_transfers


def fewest_by_hand(amounts: list[int]) -> int:
    """Return homes minus zero-sum groups, by trying all."""
    rest = [a for a in amounts if a]
    if not rest:
        return 0
    best = len(rest) - 1
    for size in range(1, len(rest)):
        for chosen in combinations(range(1, len(rest)), size - 1):
            group = {0, *chosen}
            if sum(rest[i] for i in group) == 0:
                others = [a for i, a in enumerate(rest) if i not in group]
                best = min(best, size - 1 + fewest_by_hand(others))
    return best


amounts = st.lists(st.integers(-6, 6), min_size=1, max_size=6)


@given(amounts)
def test_nobody_has_a_claim_afterwards_and_fewer_transfers_do_not_exist(some: list[int]) -> None:
    every = [*some, -sum(some)]
    due = {f"home {i}": nano for i, nano in enumerate(every)}
    transfers = fewest_transfers(due)
    for transfer in transfers:
        assert transfer.amount_nano > 0
        due[transfer.payer] += transfer.amount_nano
        due[transfer.payee] -= transfer.amount_nano
    assert not any(due.values())
    assert len(transfers) == fewest_by_hand(every)


def test_two_pairs_need_two_transfers_and_not_three() -> None:
    transfers = fewest_transfers({"a": 5, "b": -3, "c": 3, "d": -5})
    assert {(t.payer, t.payee, t.amount_nano) for t in transfers} == {("b", "c", 3), ("d", "a", 5)}


def test_more_homes_are_settled_too_with_at_most_one_transfer_less() -> None:
    homes = EXACT_MAX + 20
    due = {f"{i:02}": i + 1 for i in range(homes - 1)}
    due["99"] = -sum(due.values())
    assert len(fewest_transfers(due)) == homes - 1


def test_claims_without_debts_are_refused() -> None:
    with pytest.raises(LocalProtocolError):
        fewest_transfers({"a": 1})
