"""What a member does with its community's charter: papers in, papers out, one vote per epoch, ever."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.charter_blocks import BrokerCard, Card, Paper
from agent.charter_papers import add_paper, community_of, kept
from agent.charter_proposal import EPOCHS_AHEAD, Wishes, draft_change, next_epoch, reached_epoch
from agent.charter_state import CharterState
from agent.charter_words import when
from agent.config import HomeConfig
from coordinator.charter import Charter, Member
from coordinator.charter_history import Change, History
from coordinator.charter_votes import Departure, Vote, cast, deadline_ms, depart
from coordinator.clock import unix_ms
from coordinator.errors import ConfigError
from coordinator.identity import Identity, encode_base64


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a step did, what to pass on, and what comes next."""

    lines: Sequence[str] = ()
    papers: Sequence[Paper] = ()
    next_steps: Sequence[str] = ()


class CharterDesk:
    """The papers of one member, worked on by one command at a time (`CharterState.alone`)."""

    def __init__(self, config: HomeConfig, now: datetime) -> None:
        self._config = config
        self._identity = Identity.load(config.community.key_file)
        self.me = self._identity.id
        self.state = CharterState(config, self.me)
        self.now = now
        self.now_ms = unix_ms(now)

    # Becoming a member

    def found(self, charter: Charter) -> Said:
        """Sign a founding as the first."""
        return self._sign_founding(History(charter=charter, signatures={}))

    def _sign_founding(self, draft: History) -> Said:
        mine = {self.me: encode_base64(self._identity.sign(draft.charter.canonical))}
        signed = draft.merged(History(charter=draft.charter, signatures=mine))
        self.state.save_coming(signed)
        return Said(lines=[f"Signed the founding of {draft.charter.name!r}."], papers=[signed])

    # Papers from others

    def take(self, papers: Iterable[Paper]) -> list[str]:
        """Add papers to this home's; return what was new, in words.

        Raises:
            ConfigError: If one does not belong here or carries a signature that does not fit. Nothing is kept then.
        """
        history, coming = self.state.history(), self.state.coming()
        lines: list[str] = []
        given: list[Charter] = []
        for paper in papers:
            match paper:
                case Card():
                    lines.append(f"{paper.member.name}'s card: use it with `charter found` or `charter propose --add`.")
                case BrokerCard():
                    lines.append(f"The card of {paper.broker.name}, a broker: use it as you would use a home's.")
                case History() if paper.charter == history.charter:
                    history = history.merged(paper)
                case History():
                    coming = self._coming(coming, paper)
                case Change() | Vote() | Departure():
                    community = community_of(paper)
                    given += [paper.charter] if isinstance(paper, Change) else []
                    if community == history.charter.community_id:
                        history = add_paper(history, paper)
                    elif coming is not None and community == coming.charter.community_id:
                        coming = add_paper(coming, paper)
                    else:
                        raise ConfigError(
                            f"a paper of another community ({community}): this home is in "
                            f"{history.charter.name!r} ({history.charter.community_id})"
                        )
        history, lines = kept(history, given, lines)
        if coming is not None:
            coming, lines = kept(coming, given, lines)
            self.state.save_coming(coming)
        self.state.save(history)
        return lines

    def _coming(self, coming: History | None, paper: History) -> History:
        if coming is not None and coming.charter == paper.charter:
            return coming.merged(paper)
        for left in self.state.left_histories():
            if left.charter == paper.charter:
                paper = paper.merged(left)
        if self.me in paper.gone(paper.line(), self.now_ms):
            raise ConfigError(
                f"this home left {paper.charter.name!r}, and with this key for good: to join again it needs a folder "
                "and a key of its own (`commonwatt init FOLDER`)"
            )
        mine = next((member for member in paper.charter.members if member.id == self.me), None)
        if paper.unsigned and mine is None:
            raise ConfigError(f"the founding of {paper.charter.name!r} does not name this home: send your card first")
        if paper.unsigned and mine != self.state.card():
            raise ConfigError(f"the founding of {paper.charter.name!r} has another entry for this home than its card")
        return paper

    def subjects(self) -> list[History]:
        """Return the papers this home may sign in: of its community, and of one it is to be in."""
        coming = self.state.coming()
        return [self.state.history()] if coming is None else [self.state.history(), coming]

    def papers_of(self, charter: Charter) -> History:
        """Return the papers in which a founding or a proposal is."""
        return next(history for history in self.subjects() if charter.hash in history.known)

    # Proposals and votes

    def propose(self, wishes: Wishes) -> Said:
        """Write a change and vote for it.

        Raises:
            ConfigError: If it cannot be had. Nothing is kept then.
        """
        return self._propose(self.state.history(), wishes)

    def _propose(self, history: History, wishes: Wishes) -> Said:
        charter = draft_change(history, wishes, epoch=next_epoch(history, self._own_epoch(history)), now_ms=self.now_ms)
        return self._sign(add_paper(history, Change(charter=charter)), charter)

    def _own_epoch(self, history: History) -> int:
        """Return the last epoch this home voted in."""
        mine = (vote.epoch for vote in self.state.votes() if vote.community == history.charter.community_id)
        return max(mine, default=0)

    def awaiting(self) -> list[Charter]:
        """Return what this home could sign now: an unfinished founding, or open proposals it has not voted for."""
        foundings = [history.charter for history in self.subjects() if self._config.home.name in history.unsigned]
        changes = [
            change.charter
            for history in self.subjects()
            for change in ([] if history.unsigned else history.open_changes(self.now_ms))
            if not any(vote.member == self.me for vote in change.votes)
            and self._may(change.charter, history)
            and self.barred_by(change.charter) is None
        ]
        return foundings + changes

    def barred_by(self, charter: Charter) -> str | None:
        """Return why this home may not vote for a proposal; None if it may."""
        history = self.papers_of(charter)
        return _bar(charter, self._given(charter, history, self.me)) or self._too_far(charter, history)

    def _too_far(self, charter: Charter, history: History) -> str | None:
        latest = reached_epoch(history, self._own_epoch(history)) + EPOCHS_AHEAD
        return f"no epoch after {latest} is voted for yet" if charter.epoch > latest else None

    def _given(self, charter: Charter, history: History, member: str) -> list[Vote]:
        """Return every vote of the member that is known here."""
        given = [vote for vote in self.state.votes() if vote.community == charter.community_id]
        given += [vote for change in history.changes for vote in change.votes]
        return [vote for vote in given if vote.member == member]

    def open(self) -> list[Charter]:
        """Return every proposal there is time to vote for."""
        return [
            change.charter
            for history in self.subjects()
            for change in ([] if history.unsigned else history.open_changes(self.now_ms))
            if self._in_time(change.charter, _prev(change.charter, history))
        ]

    def _may(self, charter: Charter, history: History) -> bool:
        prev = _prev(charter, history)
        concerned = any(member.id == self.me for each in (prev, charter) for member in each.members)
        return concerned and self._in_time(charter, prev)

    def _in_time(self, charter: Charter, prev: Charter) -> bool:
        latest_ms = deadline_ms(charter, prev)
        return latest_ms is None or self.now_ms <= latest_ms

    def vote(self, charter: Charter, recovery: Path | None = None) -> Said:
        """Sign a founding or vote for a proposal.

        Args:
            recovery: Vote with this recovery key for the member it belongs to, instead of with this home's key.

        Raises:
            ConfigError: If that member voted in that epoch or a later one for something else, or the time is over.
        """
        history = self.papers_of(charter)
        return self._sign_founding(history) if charter.follows is None else self._sign(history, charter, recovery)

    def _sign(self, history: History, charter: Charter, recovery: Path | None = None) -> Said:
        """Vote for a proposal that is in the papers; both are kept then, and not before all is checked."""
        prev = _prev(charter, history)
        if not self._in_time(charter, prev):
            raise ConfigError("the time to vote for it is over: propose it again")
        identity = self._identity if recovery is None else Identity.load(recovery)
        member = self.me if recovery is None else _of_recovery(prev, identity, recovery).id
        entry = next((each for each in charter.members if each.id == self.me), None)
        if entry is not None and entry not in prev.members and entry != self.state.card():
            raise ConfigError("it has another entry for this home than its card: do not sign it")
        history.check()
        history = history.with_votes([self._cast(charter, history, member, identity)])
        self._keep(history)
        change = next(each for each in history.changes if each.charter == charter)
        return Said(
            lines=[f"Voted for proposal {charter.hash[:8]} of epoch {charter.epoch}."],
            papers=[Change(charter=charter, votes=change.votes)],
        )

    def _cast(self, charter: Charter, history: History, member: str, identity: Identity) -> Vote:
        """Return the member's vote, durable before anybody sees it."""
        mine = self._given(charter, history, member)
        for vote in mine:
            if vote.charter == charter.hash:
                return vote
        if (bar := _bar(charter, mine) or self._too_far(charter, history)) is not None:
            raise ConfigError(f"{bar}: propose this again, it then has an epoch that can be voted for")
        vote = cast(charter, member, identity, self.now_ms)
        self.state.add_vote(vote)
        return vote

    def _keep(self, history: History) -> None:
        history.check()
        if history.charter == self.state.history().charter:
            self.state.save(history)
        else:
            self.state.save_coming(history)

    # Going

    def leave(self, in_s: int) -> Said:
        """Say that this home leaves, and propose the charter without it."""
        history = self.state.history()
        if len(history.in_force(self.now_ms).homes) == 1:
            raise ConfigError("this home is alone: there is nobody to leave")
        paper = depart(history.charter.community_id, self.me, self._identity, self.now_ms + 1000 * in_s)
        history = add_paper(history, paper)
        left = f"This home leaves {history.charter.name!r} at {when(paper.effective_ms)}."
        try:
            proposed = self._propose(history, Wishes(remove=[self.me]))
        except ConfigError as error:  # to leave, nobody has to agree
            self.state.save(history)
            return Said(lines=[left, f"The charter without it was not proposed: {error}."], papers=[paper])
        return Said(lines=[left, *proposed.lines], papers=[paper, *proposed.papers])

    def suspend(self, recovery: Path) -> Said:
        """Suspend the member whose recovery key this is, at once and without a vote."""
        history, identity = self.state.history(), Identity.load(recovery)
        member = _of_recovery(history.line(self.now_ms)[-1], identity, recovery)
        paper = depart(history.charter.community_id, member.id, identity, self.now_ms)
        self.state.save(add_paper(history, paper))
        text = f"{member.name} is suspended: who has this paper hears nothing from it any more."
        return Said(lines=[text], papers=[paper])


def _bar(charter: Charter, given: Iterable[Vote]) -> str | None:
    """Return which vote forbids one for `charter`: of its epoch or a later one, for another; None if none does."""
    others = [vote.epoch for vote in given if vote.charter != charter.hash and vote.epoch >= charter.epoch]
    text = "this member voted for another proposal in epoch {}, and nobody votes twice or back"
    return text.format(max(others)) if others else None


def _prev(charter: Charter, history: History) -> Charter:
    assert charter.follows is not None
    return history.known[charter.follows.prev]


def _of_recovery(charter: Charter, recovery: Identity, path: Path) -> Member:
    text = encode_base64(recovery.public_key)
    for member in charter.members:
        if member.recovery_key == text:
            return member
    raise ConfigError(f"{path} is the recovery key of no member of {charter.name!r}")
