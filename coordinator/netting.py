"""Who pays whom, so that everybody has what is due with the fewest transfers. Exact amounts, no rounding.

Homes whose balances sum to zero can settle among themselves, n of them with n - 1 transfers. So the fewest transfers
come from the most such groups; finding them is hard in general, and exact here for up to `EXACT_MAX` homes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coordinator.errors import LocalProtocolError

EXACT_MAX = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One payment, in 1e-9 of the currency."""

    payer: str
    payee: str
    amount_nano: int


def fewest_transfers(due_nano: Mapping[str, int]) -> list[Transfer]:
    """Return payments after which nobody is owed anything; the fewest possible for up to `EXACT_MAX` homes.

    Args:
        due_nano: What each home is to get; negative is what it is to pay.

    Raises:
        LocalProtocolError: If the sum is not zero.
    """
    if sum(due_nano.values()) != 0:
        raise LocalProtocolError("what some are owed is not what others owe")
    homes = sorted(home for home, nano in due_nano.items() if nano)
    groups = _zero_groups([due_nano[home] for home in homes]) if len(homes) <= EXACT_MAX else [range(len(homes))]
    return [t for group in groups for t in _settle({homes[i]: due_nano[homes[i]] for i in group})]


def _zero_groups(amounts: Sequence[int]) -> list[list[int]]:
    """Return the indices in as many groups as there can be with each a sum of zero.

    most[S] is the number of groups in the set S, when its members leave one by one and each time the sum of those
    who are still there is zero, a group is complete.
    """
    everybody = (1 << len(amounts)) - 1
    total, most = [0] * (everybody + 1), [0] * (everybody + 1)
    for some in range(1, everybody + 1):
        lowest = (some & -some).bit_length() - 1
        total[some] = total[some & (some - 1)] + amounts[lowest]
        most[some] = max(most[some ^ 1 << i] for i in range(len(amounts)) if some >> i & 1) + (total[some] == 0)
    groups: list[list[int]] = []
    left = everybody
    while left:
        if total[left] == 0:
            groups.append([])
        complete = total[left] == 0
        leaves = next(i for i in range(len(amounts)) if left >> i & 1 and most[left ^ 1 << i] + complete == most[left])
        groups[-1].append(leaves)
        left ^= 1 << leaves
    return groups


def _settle(due_nano: Mapping[str, int]) -> list[Transfer]:
    """Let the largest debtor pay the largest creditor, again and again: at most one transfer less than homes."""
    left = dict(due_nano)
    transfers: list[Transfer] = []
    while any(left.values()):
        payer = min(left, key=lambda home: (left[home], home))
        payee = max(left, key=lambda home: (left[home], home))
        amount = min(-left[payer], left[payee])
        left[payer] += amount
        left[payee] -= amount
        transfers.append(Transfer(payer=payer, payee=payee, amount_nano=amount))
    return transfers
