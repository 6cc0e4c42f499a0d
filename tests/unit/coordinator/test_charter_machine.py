"""Any order of proposals, votes and news: fewer than a third of liars never get two charters of one epoch accepted."""

import itertools
from typing import Any

from charter_people import DAY_MS, FOUNDED_MS, Person, founding, successor, with_votes
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from coordinator.charter import Charter, Rules
from coordinator.charter_history import History
from coordinator.charter_votes import deadline_ms, objection

PEOPLE = [Person(n) for n in range(7)]
OUTSIDERS = [Person(20 + n) for n in range(3)]
EVERYBODY = PEOPLE + OUTSIDERS
WAITING_S = 2 * 86_400


class Proposals(RuleBasedStateMachine):
    """Honest members vote once per epoch and never back, on what holds or is to come as they know it; liars for all.

    Every honest member has papers of its own and gets others' only when told. A liar signs whatever it sees.
    """

    proposals: Any = Bundle("proposals")

    @initialize(size=st.integers(1, 7), data=st.data())
    def found(self, size: int, data: Any) -> None:
        founders = PEOPLE[:size]
        most = (size - 1) // 3
        self.liars = {p.id for p in data.draw(st.lists(st.sampled_from(founders), max_size=most, unique=True))}
        self.start = founding(founders, waiting_s=WAITING_S)
        self.papers: dict[str, History] = {person.id: self.start for person in EVERYBODY}
        self.all = self.start
        self.voted: dict[str, int] = {}
        self.now_ms = FOUNDED_MS
        self.reached = 0

    @rule(
        target=proposals,
        proposer=st.sampled_from(EVERYBODY),
        head=st.booleans(),
        gate_s=st.integers(10, 80),
        epochs=st.integers(1, 3),
        add=st.lists(st.sampled_from(EVERYBODY), max_size=2, unique=True),
        remove=st.lists(st.sampled_from(EVERYBODY), max_size=1),
        days=st.integers(0, 6),
    )
    def propose(self, proposer: Person, head: bool, gate_s: int, epochs: int, add: Any, remove: Any, days: int) -> Any:
        """Anybody may write anything that can follow; the epoch may jump ahead."""
        line = self.papers[proposer.id].line(None if head else self.now_ms)
        prev = line[-1]
        removed = {person.id for person in remove}
        if not {member.id for member in prev.members} - removed:
            return prev
        only_removes = bool(removed) and not add
        charter = successor(
            prev,
            add=[person.member() for person in add if person.id not in removed],
            remove=remove,
            epoch=prev.epoch + epochs,
            effective_ms=max(self.now_ms + days * DAY_MS, prev.effective_ms),
            rules=prev.rules if only_removes else Rules(gate_s=gate_s),
        )
        if self._liars_in(charter) * 3 >= len(charter.members):
            return prev
        self._tell(proposer, with_votes(self.start, charter, []))
        return charter

    def _liars_in(self, charter: Charter) -> int:
        return sum(member.id in self.liars for member in charter.members)

    @rule(charter=proposals, voter=st.sampled_from(EVERYBODY))
    def vote(self, charter: Charter, voter: Person) -> None:
        if charter.follows is None:
            return
        papers = self._knowing(voter, charter)
        prev = papers.known[charter.follows.prev]
        at_ms = self.now_ms
        if voter.id in self.liars:
            at_ms = min(at_ms, deadline_ms(charter, prev) or at_ms)  # a liar dates back
        else:
            current = {papers.line(self.now_ms)[-1].hash, papers.line()[-1].hash}
            if charter.epoch <= self.voted.get(voter.id, 0) or prev.hash not in current or objection(charter, prev):
                return
            self.voted[voter.id] = charter.epoch
        if any(member.id == voter.id for each in (prev, charter) for member in each.members):
            self._tell(voter, with_votes(papers, charter, [voter.vote(charter, at_ms)]))

    def _knowing(self, person: Person, charter: Charter) -> History:
        """Show a person a proposal with all charters before it, and no vote for the proposal itself."""
        known, chain = self.all.known, [charter]
        while (follows := chain[-1].follows) is not None:
            chain.append(known[follows.prev])
        hashes = {each.hash for each in chain}
        before = tuple(change for change in self.all.changes if change.charter.hash in hashes - {charter.hash})
        self._tell(person, History(charter=self.start.charter, signatures={}, changes=before))
        self._tell(person, with_votes(self.start, charter, []))
        return self.papers[person.id]

    def _tell(self, person: Person, papers: History) -> None:
        self.papers[person.id] = self.papers[person.id].merged(papers)
        self.all = self.all.merged(self.papers[person.id])

    @rule(teller=st.sampled_from(EVERYBODY), hearer=st.sampled_from(EVERYBODY))
    def gossip(self, teller: Person, hearer: Person) -> None:
        self._tell(hearer, self.papers[teller.id])

    @rule(hours=st.integers(1, 60))
    def time_passes(self, hours: int) -> None:
        self.now_ms += hours * DAY_MS // 24

    @invariant()
    def no_epoch_has_two_charters(self) -> None:
        assert not self.all.rivals

    @invariant()
    def the_papers_fit_each_other(self) -> None:
        self.all.check()

    @invariant()
    def votes_dated_back_never_take_the_charter_back(self) -> None:
        reached = self.all.line()[-1].epoch
        assert reached >= self.reached
        self.reached = reached

    @invariant()
    def who_knows_the_same_lives_by_the_same(self) -> None:
        heard = [papers.merged(self.all) for papers in (self.start, self.papers[PEOPLE[0].id])]
        assert len({(h.in_force(self.now_ms).hash, h.line()[-1].hash) for h in heard}) == 1

    @invariant()
    def whoever_holds_was_let_in_by_honest_members(self) -> None:
        """Every accepted charter has, of the one before it, more honest votes than half of the honest members."""
        for prev, charter in itertools.pairwise(self.all.line()):
            honest = {member.id for member in prev.members} - self.liars
            assert 2 * len(self.all.tallies[charter.hash].voters & honest) > len(honest)


TestProposals = Proposals.TestCase
TestProposals.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
