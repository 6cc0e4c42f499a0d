"""Two buyers and a seller over a network that loses, repeats and reorders, with crashes and clocks that differ."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from neighbourhood import START
from pair import Party, Wires
from sealed import SLOT, Street

from coordinator.charter import Rules
from coordinator.contracts import Status
from coordinator.ledger import Origin
from coordinator.messages import EVERYBODY, Trade
from coordinator.sessions import Session

RULES = Rules(horizon_slots=4, expiry_s=120, gate_s=90, round_timeout_s=45, residual_expiry_s=230, residual_gate_s=260)
STREET = Street(3, RULES)
RETRY = timedelta(seconds=RULES.round_timeout_s)
SKEW_MAX_S = 60
"""Two clocks may differ by what messages may be dated ahead."""
SOLD = frozenset({Status.ACCEPTED, Status.COUNTED})
FINAL = frozenset({Status.REJECTED, Status.LAPSED, Status.FREED, Status.COUNTED, Status.VOID})
DEAD = FINAL - {Status.COUNTED}


class Trade(RuleBasedStateMachine):
    """The runs begin with offers on their way; most of them shortly before the gates, where clocks matter."""

    @initialize(
        sell_wh=st.integers(0, 400),
        skews=st.lists(st.integers(-SKEW_MAX_S, SKEW_MAX_S), min_size=3, max_size=3),
        before_gate_s=st.sampled_from([31, 60, 100, 200, 700]),
        wishes=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 250)), min_size=1, max_size=4),
        decided=st.booleans(),
        trade=st.sampled_from(["slot", "residual"]),
    )
    def begin(
        self,
        sell_wh: int,
        skews: list[int],
        before_gate_s: int,
        wishes: list[tuple[int, int]],
        decided: bool,
        trade: Trade,
    ) -> None:
        self.session = Session(SLOT.key, trade)
        self.gate_at = self.session.gate_at(RULES)
        self.parties = [
            Party(STREET, home, timedelta(seconds=skew), self.session)
            for home, skew in zip(STREET.ids, skews, strict=True)
        ]
        *self.buyers, self.seller = self.parties
        self.now = max(START, self.gate_at - timedelta(seconds=before_gate_s))
        self.flying: list[tuple[Party, bytes]] = []
        self.answers: dict[str, set[bytes]] = {}
        self.final: dict[tuple[str, str], Status] = {}
        self.sell_wh, self.decided = sell_wh, False
        if decided:
            self.decide_what_to_sell(0)
        self.close_due_gates()
        for who, energy_wh in wishes:
            self.offer(who, energy_wh, 180_000)

    def post(self, sender: Party, wires: Wires) -> None:
        for to, wire in wires:
            self.flying += [(p, wire) for p in self.parties if p is not sender and to in (EVERYBODY, p.home)]

    def arrive(self, receiver: Party, wire: bytes) -> None:
        self.post(receiver, receiver.receive(wire, self.now))
        kept = len(receiver.entries)
        receiver.receive(wire, self.now)
        assert len(receiver.entries) == kept  # redelivery changes nothing

    def close_due_gates(self) -> None:
        for party in self.parties:
            if party.clock(self.now) >= self.gate_at and not party.book.closed(self.session):
                self.post(party, party.close_gate(self.now))

    @precondition(lambda self: not self.decided)
    @rule(floor=st.sampled_from([0, 170_000]))
    def decide_what_to_sell(self, floor: int) -> None:
        self.decided = True
        self.seller.mandate(self.sell_wh, floor, self.now)

    @rule(who=st.integers(0, 1), energy_wh=st.integers(1, 250), price=st.sampled_from([160_000, 180_000]))
    def offer(self, who: int, energy_wh: int, price: int) -> None:
        buyer = self.buyers[who]
        if not buyer.book.closed(self.session) and len(buyer.contracts) < 4:
            self.post(buyer, [(self.seller.home, buyer.offer(self.seller.home, energy_wh, price, self.now))])

    @precondition(lambda self: self.flying)
    @rule(index=st.integers(0, 30))
    def deliver(self, index: int) -> None:
        self.arrive(*self.flying.pop(index % len(self.flying)))

    @precondition(lambda self: self.flying)
    @rule(index=st.integers(0, 30))
    def deliver_and_repeat_later(self, index: int) -> None:
        self.arrive(*self.flying[index % len(self.flying)])

    @precondition(lambda self: self.flying)
    @rule(index=st.integers(0, 30), count=st.integers(1, 4))
    def lose(self, index: int, count: int) -> None:
        for _ in range(min(count, len(self.flying))):
            self.flying.pop(index % len(self.flying))

    @rule(seconds=st.sampled_from([5, 30, 45, 60, 120]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        for party in self.parties:
            self.post(party, party.tick(self.now))
        self.close_due_gates()

    @rule(who=st.integers(0, 2))
    def crash_and_restart(self, who: int) -> None:
        party = self.parties[who]
        before = party.contracts
        party.restart()
        assert party.contracts == before

    @invariant()
    def nothing_is_sold_above_the_mandate(self) -> None:
        sold = [c.energy_wh for c in self.seller.contracts.values() if c.status in SOLD]
        assert sum(sold) <= self.sell_wh

    @invariant()
    def no_side_counts_what_is_dead_on_the_other(self) -> None:
        theirs = self.seller.contracts
        for buyer in self.buyers:
            for contract_id, mine in buyer.contracts.items():
                if mine.status is Status.COUNTED:
                    assert theirs[contract_id].status not in DEAD
                elif contract_id in theirs and theirs[contract_id].status is Status.COUNTED:
                    assert mine.status not in DEAD

    @invariant()
    def what_is_final_stays(self) -> None:
        for party in self.parties:
            for contract_id, contract in party.contracts.items():
                key = (party.home, contract_id)
                assert self.final.get(key, contract.status) is contract.status
                if contract.status in FINAL:
                    self.final[key] = contract.status

    @invariant()
    def every_offer_has_one_answer_for_ever(self) -> None:
        for entry in self.seller.entries:
            if entry.origin is Origin.OWN and entry.kind in {"accept", "reject"}:
                self.answers.setdefault(entry.content.message.contract_id, set()).add(entry.wire)
        assert all(len(said) == 1 for said in self.answers.values())

    def teardown(self) -> None:
        """After the network heals, every contract is decided and both sides agree."""
        if not hasattr(self, "parties"):
            return
        self.now = max(self.now, self.gate_at + timedelta(seconds=SKEW_MAX_S))
        for _ in range(8):
            self.close_due_gates()
            for party in self.parties:
                self.post(party, party.tick(self.now))
            while self.flying:
                self.arrive(*self.flying.pop(0))
            self.now += RETRY
        assert all(party.book.resolved(self.session) for party in self.parties)
        assert all(c.status in FINAL for party in self.parties for c in party.contracts.values())
        counted = [{i: c for i, c in p.contracts.items() if c.status is Status.COUNTED} for p in self.parties]
        assert counted[0] | counted[1] == counted[2]
        assert sum(party.book.net_wh(self.session) for party in self.parties) == 0
        self.what_is_final_stays()
        self.nothing_is_sold_above_the_mandate()
        self.every_offer_has_one_answer_for_ever()


Trade.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestTrade = pytest.mark.timeout(300)(Trade.TestCase)  # a failure takes its time to be made small
