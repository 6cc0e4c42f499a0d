"""What must hold when the network has healed: every two honest books agree, and everything is settled.

The truth is worked out from the signed messages in all ledgers, without the product's own fold: a contract counts if
and only if the seller countersigned it and the buyer's leaf contains it.

I3   both sides agree with the truth      I5   redelivery of everything commits nothing
I7   every slot is settled                I10  money sums to zero
I11  each bill is its contracts and the imbalance at the own tariff
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sim_checks import require

from coordinator.contract_book import ContractBook
from coordinator.contracts import Contract, Status
from coordinator.ledger import Mark, Origin

if TYPE_CHECKING:
    from sim_host import Host
    from sim_world import World

OPEN = frozenset({Status.OFFERED, Status.BOUND, Status.ACCEPTED})
REDELIVERED, REDELIVERED_IN = 0.3, 4
"""So many of all messages are said again, in one of so many histories."""
FINAL_KINDS = frozenset(
    {
        *("offer", "accept", "reject", "lapse", "position", "leaf", "position_request", "meter"),
        *("settle", "settled", "dispute", "fraud"),
    }
)


def check_the_end(world: "World") -> None:
    """Raise ViolationError if anything is not as it must be."""
    honest = {host.id: host for host in world.honest}
    books = {home: _book(host) for home, host in honest.items()}
    accepted, in_leaf, offers = _truth(list(honest.values()))
    counted = accepted & in_leaf
    for home, book in books.items():
        for contract in book.values():
            _check_contract(contract, home, honest, books, counted)
    for host in honest.values():
        reborn = host.desk.trader.book.reborn if host.desk is not None else None
        liars = {h.id for h in world.hosts if h.liar}
        require(reborn is None or reborn.unheard <= liars, "I7", f"{host.id} waits for its neighbours' memory")
        _check_bills(host, [offers[c] for c in counted if c in books[host.id]], books[host.id], set(honest))
    if not world.lying:
        _check_money(list(honest.values()))
    world.evidence.check_the_end(counted, offers)
    world.count["contracts"] += len(accepted)
    world.count["counted"] += len(counted)
    if world.seed % REDELIVERED_IN == 0:
        _check_redelivery(world)


def _book(host: "Host") -> dict[str, Contract]:
    """Return what the home's process would know of its contracts after a restart; it must be what it knows now."""
    desk, entries = host.desk, host.everything()
    assert desk is not None
    peers = set(host.world.by_id) - {host.id}
    book = ContractBook(me=host.id, rules=host.world.rules, incarnation=host.store.incarnation, peers=peers)
    book.replay(entries)
    anew = {contract.id: contract for contract in book.contracts()}
    for contract in desk.trader.book.contracts():
        require(anew[contract.id] == contract, "I4", f"{host.id} knows what its ledger does not: {contract}")
    return anew


def _truth(hosts: list["Host"]) -> tuple[set[str], set[str], dict[str, Any]]:
    """Return the ids that a seller countersigned, those in a buyer's leaf, and all offers."""
    accepted: set[str] = set()
    in_leaf: set[tuple[str, str]] = set()
    offers: dict[str, Any] = {}
    for host in hosts:
        for entry in host.everything():
            if isinstance(entry.content, Mark):
                continue
            message = entry.content.message
            match message.kind:
                case "offer":
                    offers[message.contract_id] = message
                case "accept":
                    accepted.add(message.contract_id)
                case "leaf":
                    in_leaf |= {(message.sender, contract) for contract in message.contract_ids}
    return accepted, {c for c, offer in offers.items() if (offer.sender, c) in in_leaf}, offers


def _check_contract(
    contract: Contract, home: str, honest: dict[str, "Host"], books: dict[str, dict[str, Contract]], counted: set[str]
) -> None:
    other = contract.seller if contract.buyer == home else contract.buyer
    if other not in honest:
        return
    require(contract.status not in OPEN, "I7", f"{home} still waits: {contract}")
    counts = contract.status is Status.COUNTED
    require(counts == (contract.id in counted), "I3", f"{home} has {contract}, the signatures say otherwise")
    facts = (contract.session, contract.seller, contract.buyer, contract.energy_wh, contract.price_micro)
    theirs = books[other].get(contract.id)
    if counts:
        require(theirs is not None, "I3", f"{other} does not know {contract}")
        assert theirs is not None
        their_facts = (theirs.session, theirs.seller, theirs.buyer, theirs.energy_wh, theirs.price_micro)
        require(facts == their_facts and theirs.status is Status.COUNTED, "I3", f"{contract} is not {theirs}")


def _money(wh: int, micro_per_kwh: int) -> Decimal:
    return Decimal(wh) * micro_per_kwh / 10**9


def _check_bills(host: "Host", counted: list[Any], book: dict[str, Contract], honest: set[str]) -> None:
    """I7 and I11: every metered slot that waits for no liar's word has one bill, and it is right."""
    waiting = {c.slot for c in book.values() if c.status in OPEN and not {c.buyer, c.seller} <= honest}
    bills = {mark.slot: mark.data for mark in host.store.marks("settled")}
    reborn = host.desk.trader.book.reborn if host.desk is not None else None
    import_micro, export_micro = host.home.tariff
    for mark in host.store.marks("metered"):
        if mark.slot not in bills:
            unheard = reborn is not None and reborn.unheard and reborn.covers(mark.slot)
            require(unheard or mark.slot in waiting, "I7", f"{host.id} has no bill of slot {mark.slot}")
            continue
        bill = bills[mark.slot]
        bought = [c for c in counted if c.slot == mark.slot and c.sender == host.id]
        sold = [c for c in counted if c.slot == mark.slot and c.sender != host.id]
        bought_wh, sold_wh = sum(c.energy_wh for c in bought), sum(c.energy_wh for c in sold)
        net_wh = int(mark.data["import_wh"]) - int(mark.data["export_wh"])
        left_wh = net_wh - bought_wh + sold_wh
        total = _money(left_wh, import_micro if left_wh > 0 else export_micro)
        total += sum(_money(c.energy_wh, c.price_micro) for c in bought)
        total -= sum(_money(c.energy_wh, c.price_micro) for c in sold)
        due = (bought_wh, sold_wh, net_wh, total)
        paid = (bill["bought_wh"], bill["sold_wh"], bill["net_wh"], Decimal(str(bill["total"])))
        require(paid == due, "I11", f"{host.id} bills {paid} for slot {mark.slot}, not {due}")


def _check_money(hosts: list["Host"]) -> None:
    """I10: with the grid left aside, what the homes pay each other for a slot that all have billed is nothing."""
    bills = [{mark.slot: mark.data for mark in host.store.marks("settled")} for host in hosts]
    metered = {mark.slot for host in hosts for mark in host.store.marks("metered")}
    total = Decimal(0)
    for slot in metered.intersection(*bills):
        for host, of in zip(hosts, bills, strict=True):
            data, (import_micro, export_micro) = of[slot], host.home.tariff
            left_wh = int(data["net_wh"]) - int(data["bought_wh"]) + int(data["sold_wh"])
            total += Decimal(str(data["total"])) - _money(left_wh, import_micro if left_wh > 0 else export_micro)
    require(total == 0, "I10", f"the homes together pay each other {total}")


def _check_redelivery(world: "World") -> None:
    """I5: what was ever kept, said again to everybody, changes no decided contract, and once more commits nothing.

    The first time may bring what was lost, such as a meter's reading or the lapse of what is decided by now.
    """
    wires: dict[str, set[bytes]] = {host.id: set() for host in world.hosts}
    everybody: set[bytes] = set()
    for host in world.honest:
        for entry in host.everything():
            drawn = world.draw.random() < REDELIVERED
            if drawn and entry.origin is not Origin.LOCAL and entry.kind in FINAL_KINDS:
                wires.get(entry.content.message.to, everybody).add(entry.wire)  # type: ignore[union-attr]
    for host in world.honest:
        assert host.desk is not None
        book = host.desk.trader.book
        contracts = {contract.id: contract for contract in book.contracts()}
        waiting = {contract for contract, of in contracts.items() if of.status in OPEN}  # for a liar's word
        for again in (False, True):
            before = host.commits
            for wire in sorted(wires[host.id] | everybody):
                host.desk.receive(wire, host.now())
            require(not again or host.commits == before, "I5", f"{host.id} commits when all is said a third time")
            later = {contract.id: contract for contract in book.contracts()}
            same = later.keys() == contracts.keys() and all(later[c] == contracts[c] for c in later.keys() - waiting)
            require(same, "I5", f"{host.id} changes its contracts when all is said again")
