"""Two homes sign what all their contracts come to, whatever is lost, and deny what their own ledger does not say."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from neighbourhood import START
from sealed import RULES, SLOT, Street

from coordinator.accounts import dual_signed
from coordinator.codec import Verified, encode
from coordinator.contracts import Contract, Status
from coordinator.effects import Again, Effect, Keep, Note, Say, Whisper
from coordinator.errors import RemoteProtocolError
from coordinator.fraud import proof
from coordinator.ledger import Entry, local, own, peer
from coordinator.messages import Dispute, Settle, Settled
from coordinator.statements import REMINDERS, Statements

STREET = Street(3)
LOW, HIGH, OTHER = STREET.ids
DAY = timedelta(days=1)


def contract(number: int, buyer: str, seller: str, status: Status = Status.COUNTED, slot: int = SLOT.key) -> Contract:
    return Contract(
        id=f"{number:032x}",
        slot=slot,
        seller=seller,
        buyer=buyer,
        energy_wh=100 + number,
        price_micro=123_457,
        status=status,
        offer_hash="0a" * 16,
        expires_ms=0,
    )


@dataclass
class Book:
    """What statements ask of a contract book."""

    known: dict[str, Contract] = field(default_factory=dict)
    reborn: Any = None

    def contracts(self) -> list[Contract]:
        return list(self.known.values())

    def status(self, contract: str) -> Status | None:
        return self.known[contract].status if contract in self.known else None


class Side:
    """One home's accounts and what is durable of them."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.inc = 7
        self.entries: list[Entry] = []
        self.book = Book()
        self._seq = 0
        self.restart()

    def restart(self, entries: int | None = None) -> None:
        """Begin a process on the first so many entries."""
        self.entries = self.entries[:entries]
        book: Any = self.book
        verifier = STREET.verifier(self.home)
        self.statements = Statements(me=self.home, verifier=verifier, rules=RULES, book=book, every=DAY)
        self.statements.replay(self.entries)

    def reborn(self, entries: int) -> None:
        """Begin another life on a backup."""
        self.inc += 1
        self.restart(entries)

    def learn(self, *contracts: Contract) -> None:
        self.book.known |= {each.id: each for each in contracts}

    def perform(self, effects: Iterable[Effect], now: datetime) -> list[bytes]:
        made: list[Entry] = []
        out: list[bytes] = []
        for effect in effects:
            match effect:
                case Say() | Whisper():
                    signed = self.sign(effect.kind, effect.to, now, effect.body)
                    made += [own(signed, now)] if isinstance(effect, Say) else []
                    out.append(signed.wire)
                case Again():
                    out.append(effect.wire)
                case Keep():
                    made.append(peer(effect.verified, now))
                case Note():
                    made.append(local(effect.mark, now))
        self.entries += made
        self.statements.replay(made)
        return out

    def sign(self, kind: type, to: str, now: datetime, body: dict[str, Any]) -> Verified[Any]:
        self._seq += 1
        header = STREET.header(self.home, to, now, timedelta(days=30)) | {"seq": self._seq, "inc": self.inc}
        message: Any = kind.model_validate({**header, **body})  # type: ignore[attr-defined]
        return encode(message, STREET.identity(self.home))

    def tick(self, now: datetime) -> list[bytes]:
        out: list[bytes] = []
        while effects := self.statements.tick(now):
            out += self.perform(effects, now)
        return out

    def receive(self, wire: bytes, now: datetime) -> list[bytes]:
        verified = STREET.verifier(self.home).verify(wire, now)
        return self.perform(self.statements.receive(verified, now), now)

    def of(self, kind: str) -> list[Any]:
        return [entry.content.message for entry in self.entries if entry.kind == kind]  # type: ignore[union-attr]


def pair(*contracts: Contract) -> tuple[Side, Side]:
    low, high = Side(LOW), Side(HIGH)
    for side in (low, high):
        side.learn(*contracts)
    return low, high


def talk(low: Side, high: Side, now: datetime, lost: Iterable[int] = ()) -> None:
    """Tick both, and let them talk until nobody answers; messages with these numbers are lost."""
    queue = [(high, wire) for wire in low.tick(now)] + [(low, wire) for wire in high.tick(now)]
    number = 0
    while queue:
        side, wire = queue.pop(0)
        if number not in set(lost):
            answers = side.receive(wire, now)
            queue += [(low if side is high else high, each) for each in answers]
        number += 1
        assert number < 50


def agreed(side: Side, partner: str) -> tuple[int, str, int]:
    account = side.statements.of(partner)
    return account.number, account.hash, account.balance_nano


LATER = START + DAY + timedelta(hours=1)
BOUGHT, SOLD = contract(1, LOW, HIGH), contract(2, HIGH, LOW)
NET_NANO = 101 * 123_457 - 102 * 123_457


def test_both_sign_the_exact_sum_of_what_counts_on_both_sides() -> None:
    low, high = pair(BOUGHT, SOLD, contract(3, LOW, HIGH, Status.VOID))
    talk(low, high, START + timedelta(hours=2))
    assert agreed(low, HIGH)[0] == 0  # not so soon
    talk(low, high, LATER)
    assert agreed(low, HIGH) == agreed(high, LOW)
    assert agreed(low, HIGH)[::2] == (1, NET_NANO)
    assert set(low.of("settle")[0].contract_ids) == {BOUGHT.id, SOLD.id}
    talk(low, high, LATER + DAY)
    assert len(low.of("settle")) == 1  # nothing new


def test_what_undecided_contracts_come_to_waits_for_the_next_statement() -> None:
    low, high = pair(BOUGHT)
    high.learn(contract(1, LOW, HIGH, Status.ACCEPTED))
    talk(low, high, LATER)
    assert agreed(high, LOW)[0] == 0
    assert not high.of("dispute")
    high.learn(BOUGHT)
    talk(low, high, LATER + timedelta(hours=1))
    assert agreed(low, HIGH) == agreed(high, LOW)
    assert agreed(low, HIGH)[0] == 1


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_statement_or_a_lost_answer_is_healed_by_the_next_message_and_a_restart(lost: int) -> None:
    low, high = pair(BOUGHT)
    talk(low, high, LATER, lost=[lost])
    assert agreed(low, HIGH)[0] == 0
    low.restart()
    high.restart()
    talk(low, high, LATER + timedelta(minutes=5))
    assert agreed(low, HIGH) == agreed(high, LOW)
    assert len(low.of("settle")) == len(high.of("settled")) == 1


@pytest.mark.parametrize("who", [LOW, HIGH])
@pytest.mark.parametrize("backup", [1, 0])
def test_a_restored_or_lost_ledger_of_either_side_gets_back_what_both_signed(who: str, backup: int) -> None:
    low, high = pair(BOUGHT)
    talk(low, high, LATER)
    for number in (4, 5):
        more = contract(number, LOW, HIGH, slot=SLOT.key + number * 86_400)
        low.learn(more)
        high.learn(more)
        talk(low, high, START + (number + 1.2) * DAY)
    before = agreed(low, HIGH)
    assert before[0] == 3
    side = low if who == LOW else high
    side.reborn(entries=3 * backup)
    more = contract(6, HIGH, LOW, slot=SLOT.key + 8 * 86_400)
    low.learn(more)
    high.learn(more)
    for hour in range(4):
        talk(low, high, START + 9.5 * DAY + timedelta(hours=hour))
    assert agreed(low, HIGH) == agreed(high, LOW)
    number, _, balance_nano = agreed(low, HIGH)
    assert number > before[0]
    assert balance_nano == before[2] - 106 * 123_457
    said = [each for s in (low, high) for each in s.entries if each.kind == "settle"]
    assert not any(proof(a.content, b.content) for a in said for b in said)  # type: ignore[arg-type]


@pytest.mark.parametrize("who", [LOW, HIGH])
@pytest.mark.parametrize("backup", [1, 0])
def test_a_restored_ledger_gets_back_what_both_signed_though_nothing_new_is_to_be_stated(who: str, backup: int) -> None:
    low, high = pair(BOUGHT)
    talk(low, high, LATER)
    before = agreed(low, HIGH)
    side = low if who == LOW else high
    side.book.known.clear()  # too old to be in mind
    side.reborn(entries=backup)
    talk(low, high, LATER + timedelta(hours=1))
    talk(low, high, LATER + 2 * DAY)
    assert agreed(low, HIGH) == agreed(high, LOW) == before
    assert before[0] == 1


def test_two_homes_that_have_nothing_to_tell_each_other_say_so_once_a_day() -> None:
    low, high = pair(BOUGHT)
    talk(low, high, LATER)
    hours = [LATER + n * timedelta(hours=1) for n in range(1, 73)]
    assert [sum(len(side.tick(now)) for now in hours) for side in (low, high)] == [3, 3]


def test_what_one_side_denies_is_disputed_on_both_and_the_rest_goes_on() -> None:
    low, high = pair(BOUGHT)
    low.learn(contract(9, HIGH, LOW))
    talk(low, high, LATER)
    assert [each.reason for each in low.of("dispute")] == ["not counted here"]
    assert low.of("dispute") == high.of("dispute")
    talk(low, high, LATER + timedelta(hours=1))
    assert agreed(low, HIGH) == agreed(high, LOW)
    assert agreed(low, HIGH)[::2] == (2, 101 * 123_457)
    assert low.statements.of(HIGH).disputed == {contract(9, HIGH, LOW).id}


def states(side: Side, to: str, **changes: Any) -> bytes:
    body = {"slot": SLOT.key, "number": 1, "prev": "0" * 32, "contract_ids": (BOUGHT.id,), "balance_nano": 1}
    return side.sign(Settle, to, LATER, {**body, **changes}).wire


def test_a_wrong_sum_and_a_contract_stated_twice_are_disputed_and_a_flood_of_them_is_not_answered() -> None:
    low, high = pair(BOUGHT)
    high.tick(LATER)
    right = 101 * 123_457
    answers = [high.receive(states(low, HIGH, number=n, balance_nano=right + n), LATER) for n in range(1, 9)]
    assert [bool(each) for each in answers] == [True] * 3 + [False] * 5
    assert {each.reason for each in high.of("dispute")} == {"another sum"}
    (signed,) = high.receive(states(low, HIGH, number=20, balance_nano=right), LATER)
    assert b'"kind":"settled"' in signed
    again = states(low, HIGH, number=21, prev=agreed(high, LOW)[1], balance_nano=2 * right)
    later = LATER + 2 * DAY
    answers = [high.receive(again, later + n * timedelta(seconds=RULES.slot_s)) for n in range(REMINDERS)]
    assert all(b'"kind":"told"' in each and signed.split(b"\n")[-1][:20] in each for (each,) in answers)
    (denied,) = high.receive(again, later + DAY)
    assert b'"kind":"dispute"' in denied
    assert high.of("dispute")[-1].reason == "covered before"


def test_statements_of_the_wrong_home_or_of_others_are_refused() -> None:
    low, high = pair(BOUGHT)
    with pytest.raises(RemoteProtocolError, match="mine to state"):
        low.receive(states(high, LOW), LATER)
    to_all = low.sign(Settle, "*", LATER, {**STATED, "balance_nano": 101 * 123_457}).wire
    high.tick(LATER)
    with pytest.raises(RemoteProtocolError, match="to others"):
        high.receive(to_all, LATER)
    of_others = low.sign(Settle, OTHER, LATER, {**STATED, "balance_nano": 3}).wire
    for sender, receiver in ((high, low), (low, high)):
        body = {"slot": SLOT.key, "statement": of_others.decode()}
        with pytest.raises(RemoteProtocolError):
            receiver.receive(sender.sign(Settled, receiver.home, LATER, body).wire, LATER)


STATED: dict[str, Any] = {"slot": SLOT.key, "number": 1, "prev": "0" * 32, "contract_ids": (BOUGHT.id,)}


def test_a_dispute_that_is_about_nothing_open_changes_nothing() -> None:
    low, high = pair(BOUGHT)
    body = {
        "slot": SLOT.key,
        "number": 1,
        "statement_hash": "0a" * 16,
        "reason": "another sum",
        "contract_ids": (BOUGHT.id,),
    }
    assert low.receive(high.sign(Dispute, LOW, LATER, body).wire, LATER) == []
    talk(low, high, LATER)
    assert agreed(low, HIGH)[0] == 1


def with_gap(who: str, lost: tuple[int, ...] = (2,)) -> tuple[Side, Side, int]:
    """Return a pair with four statements of which one home, or both, lack some in the middle, and the balance."""
    low, high = pair(BOUGHT)
    talk(low, high, LATER)
    for number in (2, 3, 4):
        more = contract(number, LOW, HIGH, slot=SLOT.key + number * 86_400)
        for side in (low, high):
            side.learn(more)
        talk(low, high, LATER + number * DAY)
    _, _, balance_nano = agreed(low, HIGH)
    for side in (low, high):
        if who in {side.home, "both"}:
            names = [each.message.statement.encode() for each in settled_of(side) if number_of(each) in lost]
            kept = [e for e in side.entries if not any(name in (e.wire, words_of(e)) for name in names)]
            side.entries = kept
            side.reborn(entries=len(kept))
    return low, high, balance_nano


def settled_of(side: Side) -> list[Any]:
    return [entry.content for entry in side.entries if entry.kind == "settled"]


def words_of(entry: Entry) -> bytes:
    return entry.content.message.statement.encode() if entry.kind == "settled" else b""  # type: ignore[union-attr]


def number_of(settled: Any) -> int:
    return dual_signed(settled, STREET.verifier(LOW)).number


@pytest.mark.parametrize("who", [LOW, HIGH])
@pytest.mark.parametrize("lost", [(2,), (3,), (2, 3), (1, 2)])
def test_a_statement_lost_between_two_others_is_got_back_though_both_know_the_newest(
    who: str, lost: tuple[int, ...]
) -> None:
    low, high, _ = with_gap(who, lost)
    assert agreed(low, HIGH) == agreed(high, LOW)
    side, partner = (low, HIGH) if who == LOW else (high, LOW)
    missing = side.statements.of(partner)
    assert missing.due
    for day in (6, 7):
        talk(low, high, LATER + day * DAY)
    assert not side.statements.of(partner).due
    assert sorted(low.statements.of(HIGH).chain) == sorted(high.statements.of(LOW).chain) == [1, 2, 3, 4]
    assert low.statements.of(HIGH).whole_to == 4
    assert agreed(low, HIGH) == agreed(high, LOW)
    assert agreed(low, HIGH)[0] == 4


def test_a_proposer_that_states_anew_what_it_lost_is_reminded_of_it_and_there_is_no_dispute() -> None:
    low, high, balance_nano = with_gap(LOW, (3,))
    more = contract(6, HIGH, LOW, slot=SLOT.key + 6 * 86_400)
    for side in (low, high):
        side.learn(more)
    talk(low, high, LATER + 7 * DAY, lost=[0, 2])  # its greeting; the other's is answered in time to be lost, too
    for hour in (1, 2):
        talk(low, high, LATER + 7 * DAY + timedelta(hours=hour))
    assert low.of("dispute") == high.of("dispute") == []
    assert agreed(low, HIGH) == agreed(high, LOW)
    assert agreed(low, HIGH)[2] == balance_nano - 106 * 123_457
    assert agreed(low, HIGH)[0] == 6  # 5 named it again


def test_what_both_lost_between_two_statements_stops_nothing_and_is_not_asked_for_without_end() -> None:
    low, high, balance_nano = with_gap("both", (2, 3))
    assert agreed(low, HIGH)[2] == balance_nano
    for day in (6, 7, 8):
        talk(low, high, LATER + day * DAY)
    assert agreed(low, HIGH) == agreed(high, LOW)
    assert agreed(low, HIGH)[0] == 5  # what 2 and 3 named counts on both sides, and nobody remembers naming it
    assert low.of("dispute") == []
    assert low.statements.of(HIGH).due == {}


@pytest.mark.parametrize("lacks", [((2,), (3,)), ((3,), (2,))])
def test_two_homes_that_miss_different_statements_complete_each_other(
    lacks: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    low, _, balance_nano = with_gap(LOW, lacks[0])
    _, high, _ = with_gap(HIGH, lacks[1])
    for day in (6, 7, 8):
        talk(low, high, LATER + day * DAY)
    for side, partner in ((low, HIGH), (high, LOW)):
        assert side.statements.of(partner).whole_to == 4
        assert agreed(side, partner)[::2] == (4, balance_nano)


def test_older_statements_that_nobody_remembers_are_told_and_asked_for_once_a_day_at_most() -> None:
    low, high, _ = with_gap(LOW, (2,))
    high.entries = [entry for entry in high.entries if entry.slot > SLOT.key + 2 * 86_400]
    high.restart()
    assert sorted(high.statements.of(LOW).chain) == [3, 4]
    hours = [LATER + 6 * DAY + n * timedelta(hours=1) for n in range(72)]
    said = 0
    for now in hours:
        queue = [(high, wire) for wire in low.tick(now)] + [(low, wire) for wire in high.tick(now)]
        for side, wire in queue:
            said += 1
            queue += [(low if side is high else high, each) for each in side.receive(wire, now)]
    assert said <= 3 * 6
    assert agreed(low, HIGH) == agreed(high, LOW)


@pytest.mark.parametrize("twice", [1, 2])
def test_two_chains_of_restored_ledgers_become_one_and_every_contract_stands_in_it_once(twice: int) -> None:
    """Both lost a statement, signed others, and one of them finds the lost one: both hold the same chain again."""
    low, high = pair(BOUGHT)
    talk(low, high, LATER)
    early, late = contract(4, LOW, HIGH, slot=SLOT.key + 86_400), contract(5, LOW, HIGH, slot=SLOT.key + 2 * 86_400)
    kept = len(low.entries), len(high.entries)
    for side in (low, high):
        side.learn(early)
    talk(low, high, LATER + DAY)
    lost = [wire for wire in (entry.wire for entry in low.entries) if b'"kind":"settled"' in wire[:40]][-1]
    low.reborn(kept[0])
    high.reborn(kept[1])
    for side in (low, high):
        side.learn(late)
    for day in range(twice):
        talk(low, high, LATER + (2 + day) * DAY)
        more = contract(6 + day, HIGH, LOW, slot=SLOT.key + (3 + day) * 86_400)
        for side in (low, high):
            side.learn(more)
    assert agreed(low, HIGH) == agreed(high, LOW)
    low.receive(lost, LATER + 4 * DAY)
    for day in range(4, 9):
        talk(low, high, LATER + day * DAY)
    assert agreed(low, HIGH) == agreed(high, LOW)
    mine, theirs = low.statements.of(HIGH), high.statements.of(LOW)
    assert [each.hash for each in mine.chain.values()] == [each.hash for each in theirs.chain.values()]
    stated = [c for each in mine.chain.values() for c in each.statement.message.contract_ids]
    assert sorted(stated) == sorted(low.book.known)
    sign = {LOW: 1, HIGH: -1}
    assert mine.balance_nano == sum(sign[c.buyer] * c.energy_wh * c.price_micro for c in low.book.known.values())
