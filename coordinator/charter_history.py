"""Everything known of a community's charter, and which charter is in force. Pure.

A history is a set of signed papers: the founding, proposals with the votes for them, departures. Two homes with the
same papers see the same charter in force, whatever the order in which they got them; to exchange papers is to merge
sets. Proposals and accepted changes differ only in their votes.
"""

from collections.abc import Iterable
from functools import cached_property

from coordinator.charter import Charter, Document, Member
from coordinator.charter_votes import Departure, Tally, Vote, is_of, names, tally
from coordinator.errors import ConfigError
from coordinator.identity import decode_base64, verify

CHANGES_MAX = 1000
"""Of one history: a change a month for eighty years. A home that merges more merges somebody's flood."""


class Change(Document):
    """A charter that follows another, or would, with the votes for it."""

    charter: Charter
    votes: tuple[Vote, ...] = ()


class History(Document):
    """The papers of one community. `charter` is its founding."""

    charter: Charter
    signatures: dict[str, str]
    changes: tuple[Change, ...] = ()
    departures: tuple[Departure, ...] = ()

    @cached_property
    def unsigned(self) -> tuple[str, ...]:
        """Names of the founders whose signature is missing or does not fit."""
        return tuple(
            member.name
            for member in self.charter.members
            if not self._signed_founding(self.signatures.get(member.id, ""), member)
        )

    def _signed_founding(self, text: str, founder: Member) -> bool:
        try:
            signature = decode_base64(text)
        except ValueError:
            return False
        return verify(decode_base64(founder.public_key), signature, self.charter.canonical)

    @cached_property
    def known(self) -> dict[str, Charter]:
        """Every charter by its hash, accepted or not."""
        return {charter.hash: charter for charter in (self.charter, *(change.charter for change in self.changes))}

    @cached_property
    def tallies(self) -> dict[str, Tally]:
        """How each proposal stands, by its hash."""
        return {change.charter.hash: self._tally(change) for change in self.changes}

    def _tally(self, change: Change) -> Tally:
        return tally(change.charter, self.known[_prev(change.charter)], change.votes)

    def check(self) -> None:
        """Refuse papers that do not belong here or carry a signature that fits nothing.

        Raises:
            ConfigError: One short sentence on the first of them.
        """
        if len(self.changes) > CHANGES_MAX:
            raise ConfigError(f"more than {CHANGES_MAX} proposals")
        self.refuse_lost()
        for change in self.changes:
            prev = self.known[_prev(change.charter)]
            if (problem := self.tallies[change.charter.hash].objection) is not None:
                raise ConfigError(f"epoch {change.charter.epoch} cannot follow epoch {prev.epoch}: {problem}")
            for vote in change.votes:
                entries = (*prev.members, *(change.charter.members if vote.key == "own" else ()))
                if not names(vote, change.charter) or not any(is_of(vote, entry) for entry in entries):
                    raise ConfigError(f"a vote for epoch {change.charter.epoch} is of nobody who may vote")
        for departure in self.departures:
            if departure.community != self.charter.community_id or not self._fits(departure):
                raise ConfigError("a departure is signed by nobody who may say so")

    def refuse_lost(self) -> None:
        """Refuse a proposal that follows a charter that is not here.

        Raises:
            ConfigError: It names the epoch.
        """
        lost = [change.charter.epoch for change in self.changes if _prev(change.charter) not in self.known]
        if lost:
            raise ConfigError(
                f"epoch {lost[0]} follows a charter that is not here: a neighbour's `charter invite` has it"
            )

    def _fits(self, departure: Departure) -> bool:
        return any(
            is_of(departure, member)
            for charter in self.known.values()
            if charter is self.charter or self.tallies[charter.hash].accepted
            for member in charter.members
        )

    def line(self, now_ms: int | None = None) -> tuple[Charter, ...]:
        """Return the charters from the founding to the one in force; without a time, also what is still to come.

        Of several that follow one charter counts the one whose followers reach the highest epoch (`_reach`). Two that
        reach the same one need more than a third of the members to have signed twice: then neither counts; where they
        are of one epoch, `rivals` names them.
        """
        line = [self.charter]
        while (after := self._after(line[-1], now_ms)) is not None:
            line.append(after)
        return tuple(line)

    def _after(self, prev: Charter, now_ms: int | None) -> Charter | None:
        accepted = self._accepted.get(prev.hash, [])
        reach = {
            each.hash: self._reach(each, prev) for each in accepted if now_ms is None or each.effective_ms <= now_ms
        }
        furthest = [each for each in accepted if reach.get(each.hash, -1) == max(reach.values(), default=0)]
        return furthest[0] if len(furthest) == 1 else None

    def _reach(self, charter: Charter, prev: Charter) -> int:
        """Return the epoch up to which the members of `prev` have gone on from `charter`, which follows it.

        That is its own epoch, or that of a later charter on it for which more than a third of them voted: at least one
        of those keeps to the rules, and votes for nothing older any more. So a vote dated back does not bring to life
        what was passed over long ago; and whom `charter` itself brought in cannot lift it.
        """
        ids = {member.id for member in prev.members}
        epoch, after = charter.epoch, list(self._accepted.get(charter.hash, []))
        while after:
            later = after.pop()
            after += self._accepted.get(later.hash, [])
            if 3 * len(self.tallies[later.hash].voters & ids) > len(ids):
                epoch = max(epoch, later.epoch)
        return epoch

    @cached_property
    def _accepted(self) -> dict[str, list[Charter]]:
        """The accepted charters, by the hash of the one they follow."""
        found: dict[str, list[Charter]] = {}
        for change in self.changes:
            if self.tallies[change.charter.hash].accepted:
                found.setdefault(_prev(change.charter), []).append(change.charter)
        return found

    @cached_property
    def rivals(self) -> tuple[Charter, ...]:
        """Accepted charters of one epoch that follow the same one: more than a third of its members signed twice."""
        accepted = [(prev, charter) for prev, charters in self._accepted.items() for charter in charters]
        keys = [(prev, charter.epoch) for prev, charter in accepted]
        return tuple(charter for prev, charter in accepted if keys.count((prev, charter.epoch)) > 1)

    def in_force(self, now_ms: int, left: tuple[Charter, ...] = ()) -> Charter:
        """Return the charter that holds now, without those who left.

        Args:
            left: Charters of communities that this home was in before.
        """
        line = self.line(now_ms)
        return line[-1].lived(self.gone(line, now_ms), line[:-1], left)

    def gone(self, line: Iterable[Charter], now_ms: int) -> set[str]:
        """Return who left or was suspended, judged by the last charter that names each. A suspension is never early."""
        entries = {member.id: member for charter in line for member in charter.members}
        return {
            paper.member
            for paper in self.departures
            if (paper.key == "recovery" or paper.effective_ms <= now_ms)
            and (entry := entries.get(paper.member)) is not None
            and is_of(paper, entry)
        }

    def open_changes(self, now_ms: int) -> list[Change]:
        """Return what follows the charter in force or one that is to follow it, and does not hold yet; oldest first."""
        held, here = self._held_and_followed(now_ms)
        return [each for each in self._sorted if _prev(each.charter) in here and each.charter.hash not in held]

    def void_changes(self, now_ms: int) -> list[Change]:
        """Return what was accepted and will not hold: another charter took the place of the one it follows."""
        held, here = self._held_and_followed(now_ms)
        return [
            each
            for each in self._sorted
            if self.tallies[each.charter.hash].accepted
            and each.charter.effective_ms > now_ms
            and each.charter.hash not in held
            and _prev(each.charter) not in here
        ]

    def overtaken(self, charter: Charter, now_ms: int) -> list[Charter]:
        """Return the accepted charters still to come that would never hold if this one were accepted."""
        accepted = self._accepted.get(_prev(charter), [])
        return [each for each in accepted if now_ms < each.effective_ms and each.epoch < charter.epoch]

    def _held_and_followed(self, now_ms: int) -> tuple[set[str], set[str]]:
        """Return the hashes of what held until now, and of what a change may follow: what holds and what is to."""
        line = self.line(now_ms)
        held = {charter.hash for charter in line}
        return held, {charter.hash for charter in self.line()} - held | {line[-1].hash}

    @cached_property
    def _sorted(self) -> list[Change]:
        return sorted(self.changes, key=lambda change: (change.charter.epoch, change.charter.hash))

    def merged(self, other: "History") -> "History":
        """Return the union of two sets of papers of one community, written in one order.

        Of votes that differ only in their date the earliest is kept: it counts whenever one of them does. Of two
        signatures of one founder the one that fits is.
        """
        charters = {**self.known, **other.known}
        votes: dict[str, dict[tuple[str, str], Vote]] = {key: {} for key in charters if key != self.charter.hash}
        for change in (*self.changes, *other.changes):
            given = votes[change.charter.hash]
            for vote in change.votes:
                given[vote.member, vote.key] = min(given.get((vote.member, vote.key), vote), vote, key=_vote_order)
        # Every part was checked when it was read; checking it again at each merge would be most of the work.
        changes = [
            Change.model_construct(charter=charters[key], votes=tuple(given[by] for by in sorted(given)))
            for key, given in votes.items()
        ]
        gone: dict[tuple[str, str], Departure] = {}
        for paper in (*self.departures, *other.departures):
            by = (paper.member, "own" if paper.key == "own" else paper.signature)  # a recovery key may be a later one
            gone[by] = min(gone.get(by, paper), paper, key=lambda each: (each.effective_ms, each.signature))
        return History(
            charter=self.charter,
            signatures=self._signatures(other),
            changes=tuple(sorted(changes, key=lambda each: (each.charter.epoch, each.charter.hash))),
            departures=tuple(gone[by] for by in sorted(gone)),
        )

    def _signatures(self, other: "History") -> dict[str, str]:
        """Return the founders' signatures of both, those that fit before others."""
        found: dict[str, str] = {}
        for founder in self.charter.members:
            given = {each.signatures[founder.id] for each in (self, other) if founder.id in each.signatures}
            if given:
                misfits = {text: not self._signed_founding(text, founder) for text in given} if len(given) > 1 else {}
                found[founder.id] = min(given, key=lambda text: (misfits.get(text, False), text))
        return found

    def with_votes(self, votes: Iterable[Vote]) -> "History":
        """Return these papers with further votes for known proposals; a vote for an unknown one is left out."""
        given = tuple(votes)
        more = tuple(
            Change(charter=change.charter, votes=tuple(vote for vote in given if names(vote, change.charter)))
            for change in self.changes
        )
        return self.merged(History(charter=self.charter, signatures={}, changes=more))


def _vote_order(vote: Vote) -> tuple[int, str]:
    return vote.voted_ms, vote.signature


def _prev(charter: Charter) -> str:
    return "" if charter.follows is None else charter.follows.prev
