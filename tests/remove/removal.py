"""Takes one part away, watches the rest, gives it back, and says what became of it."""

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from battery_witness import REVERSION_S, SLACK_S, Witness
from removal_cases import Case
from removed_street import ALIVE, WALL, HeldStreet, children

from coordinator.audit import Books, audit, read_books
from coordinator.contracts import Status

SLOTS = 2
"""In so many slots that were agreed on while the part was away the others must have traded."""
READY_S, TRADE_S, RETURN_S = 90.0, 90.0, 120.0
"""Patience before, during and after, in wall seconds."""
OWN_WAY_S = REVERSION_S + SLACK_S + 4
"""So long a fault lasts after which a battery must be on its own, so that it is seen to be."""
ESTABLISHED, LISTENS = "01", "0A"


@dataclass
class Result:
    """What became of one case."""

    case: Case
    slots: int = 0
    batteries: str = ""
    back_s: float | None = None
    strangers: set[str] = field(default_factory=set)
    connections: int = 0
    told: int = 0
    wrong: list[str] = field(default_factory=list)
    since: datetime | None = None
    until: datetime | None = None
    made_before: set[str] = field(default_factory=set)
    counted: int = 0

    @property
    def passed(self) -> bool:
        return not self.wrong

    def plain(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {
            "row": self.case.row,
            "how": self.case.how,
            "what": self.case.what,
            "slots_traded_by_others": self.slots,
            "contracts_counted_among_others": self.counted,
            "contracts_made_before": len(self.made_before),
            "batteries": self.batteries,
            "back_after_s": self.back_s,
            "connections_looked_at": self.connections,
            "messages_of_tricks": self.told,
            "passed": self.passed,
            "wrong": self.wrong,
        }


async def remove(street: HeldStreet, case: Case) -> Result:
    """Carry out one case."""
    result = Result(case)
    others = [name for name in street.names if name not in case.touched]

    def rest_is_well() -> bool:
        return all(map(street.well, street.names)) and len(street.pairs(street.names, street.progress.now)) >= SLOTS

    if not await street.comes(rest_is_well, READY_S):
        result.wrong.append(f"before: not all were well ({_ailing(street)})")
    result.made_before = _made(street, street.progress.now)
    look_for_strangers(street, result)
    async with case.fault(street), Witness(street, case.own_way, case.without_devices) as witness:
        began_s, told = WALL.monotonic(), sum(wire.told for wire in street.demo.brokers.values())
        result.since = since = street.soon()
        if not await street.comes(lambda: street.slots_traded(others, since) >= SLOTS, TRADE_S):
            result.wrong.append("the others do not trade with each other")
        lasts_s = max(case.lasts_s, OWN_WAY_S if case.own_way else 0.0)
        await asyncio.sleep(max(0.0, lasts_s - (WALL.monotonic() - began_s)))
        if case.says and not await street.comes(
            lambda: all(_says(street, name, case.says) for name in case.touched), 15
        ):
            result.wrong.append(f"{', '.join(case.touched)} did not tell its owner")
        result.slots = street.slots_traded(others, since)
        result.until = street.progress.now
        result.told = sum(wire.told for wire in street.demo.brokers.values()) - told
        result.wrong += [why for name in witness.looks if (why := witness.astray(name))]
        looks = witness.looks.values()
        result.batteries = (
            f"{len(witness.looks)}: {sum(each.follows for each in looks)} looks on their own, "
            f"{sum(each.commanded for each in looks)} by plan, {sum(each.astray for each in looks)} astray"
        )
        look_for_strangers(street, result)
    await _take_back(street, case, result)
    return result


async def _take_back(street: HeldStreet, case: Case, result: Result) -> None:
    began_s, after = WALL.monotonic(), street.soon()

    # Who was proved to lie stays alone until the people forgive it; then all others have to trade.
    trading = [name for name in street.names if name != case.liar] if case.proved else case.touched

    def is_back() -> bool:
        return all(map(street.well, street.names)) and all(street.partners(name, after) for name in trading)

    if await street.comes(is_back, RETURN_S):
        result.back_s = round(WALL.monotonic() - began_s, 1)
    else:
        silent = [name for name in trading if not street.partners(name, after)]
        result.wrong.append(f"afterwards: {_ailing(street)}; without new trades: {', '.join(silent) or 'nobody'}")
    if case.proved and case.liar is not None:
        unaware = [name for name in trading if not any("it is proved" in each for each in _warnings(street, name))]
        if unaware:
            result.wrong.append(f"{', '.join(unaware)} did not tell of the proof")
        if partners := street.partners(case.liar, after):
            result.wrong.append(f"{', '.join(sorted(partners))} still traded with {case.liar}")


def _says(street: HeldStreet, name: str, text: str) -> bool:
    notices = street.home(name).notices
    return notices is not None and any(text in each.text for each in notices.log)


def _warnings(street: HeldStreet, name: str) -> list[str]:
    notices = street.home(name).notices
    return [] if notices is None else notices.warnings


def _ailing(street: HeldStreet) -> str:
    return f"not well: {', '.join(name for name in street.names if not street.well(name)) or 'nobody'}"


def _made(street: HeldStreet, now: datetime) -> set[str]:
    """Return the contracts of slots to come, or running, of which both homes speak."""
    said: dict[str, int] = {}
    for name in street.names:
        for at, trade in street.home(name).trades():
            if at >= now and trade.status in ALIVE:
                said[trade.contract_id] = said.get(trade.contract_id, 0) + 1
    return {each for each, homes in said.items() if homes == 2}


def look_for_strangers(street: HeldStreet, result: Result) -> None:
    """Note every address that an agent or a guard is connected to and that is in no home's settings."""
    known = {f"127.0.0.1:{wire.port}" for wire in street.demo.wires()}
    known |= {f"127.0.0.1:{home.broker_port}" for home in street.settled.homes}
    for parts in street.demo.launcher.pids().values():
        for pid in (parts["agent"], *children(parts["agent"])):
            with contextlib.suppress(OSError):  # a process that was killed
                ends = far_ends(pid)
                result.connections += len(ends)
                result.strangers |= ends - known
    if result.strangers:
        result.wrong.append(f"connected to strangers: {', '.join(sorted(result.strangers))}")


def far_ends(pid: int) -> set[str]:
    """Return the addresses a process is connected to over TCP or listens for over UDP, by the kernel's word."""
    inodes, found = set(), set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(os.readlink(path).removeprefix("socket:[").rstrip("]"))
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[9] in inodes and columns[3] != LISTENS and (table[:3] == "udp" or columns[3] == ESTABLISHED):
                found.add(_address(columns[2]))
    return found


def _address(text: str) -> str:
    address, port = text.split(":")
    octets = bytes.fromhex(address)[::-1] if len(address) == 8 else bytes.fromhex(address)
    return f"{'.'.join(map(str, octets))}:{int(port, 16)}"


def compare_ledgers(street: HeldStreet, results: list[Result]) -> dict[str, object]:
    """Compare all ledgers, chain and signatures first, and find in them what was agreed on before and meanwhile.

    A member that lied is judged by nobody's word but its partners'.
    """
    liars = {result.case.liar for result in results} - {None}
    charter = street.settled.charter
    books = {home.id: read_books(home.ledger, charter, home.id) for home in street.settled.homes}
    names = {home.id: home.name for home in street.settled.homes}
    honest = {home: each for home, each in books.items() if names[home] not in liars}
    found = audit(honest)
    for result in results:
        result.counted = _counted(honest, {home for home in honest if names[home] not in result.case.touched}, result)
        if not result.counted:
            result.wrong.append("no contract of the others counts in both ledgers")
        if lost := result.made_before & _uncounted(honest):
            result.wrong.append(f"{len(lost)} contracts made before do not count")
    return {
        "contracts_counted": found.contracts_counted,
        "contracts_void": found.contracts_void,
        "ledger_mismatches": found.ledger_mismatches,
        "wh_sold_twice": found.wh_sold_twice,
        "ledgers": len(books),
    }


def _counted(books: dict[str, Books], others: set[str], result: Result) -> int:
    assert result.since is not None
    assert result.until is not None
    first, last = result.since.timestamp(), result.until.timestamp()
    ids = [
        {c.id for c in books[home].contracts.values() if c.status is Status.COUNTED and first <= c.slot <= last + 900}
        for home in others
    ]
    every = [contract for contracts in ids for contract in contracts]
    return sum(every.count(contract) == 2 for contract in set(every))


def _uncounted(books: dict[str, Books]) -> set[str]:
    return {
        contract.id
        for each in books.values()
        for contract in each.contracts.values()
        if contract.status not in (Status.COUNTED,) and {contract.buyer, contract.seller} <= books.keys()
    }
