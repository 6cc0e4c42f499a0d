"""Drafting a change of a charter. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.charter_blocks import Card
from agent.charter_founding import RuleChanges, altered, checked
from coordinator.charter import Charter, Follows, MeetingBroker, Member
from coordinator.charter_history import History
from coordinator.errors import ConfigError

EPOCHS_AHEAD = 1000
"""A home votes for no epoch further from those reached: who could raise them at will could use them up."""
LAST_EPOCH = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a proposal is to change."""

    cards: Sequence[Card] = ()
    meeting: Sequence[MeetingBroker] = ()
    """Brokers to add, or to alter."""
    remove: Sequence[str] = ()
    """Names of members or of meeting brokers."""
    rules: RuleChanges = field(default_factory=dict)
    waiting_s: int | None = None
    vote_s: int = 2 * 86400

    def only_removes(self, prev: Charter) -> bool:
        """Return whether this takes members off and does nothing else."""
        brokers = {broker.name for broker in prev.meeting or ()}
        adds = self.cards or self.meeting or self.rules or self.waiting_s is not None
        return bool(self.remove) and not adds and not brokers.intersection(self.remove)


def reached_epoch(history: History, own: int) -> int:
    """Return the epoch that members who keep to the rules have reached with their charters and votes.

    Fewer than a third of the members may not: as many of the highest are passed over.

    Args:
        own: The last epoch this home voted in.
    """
    line = history.line()
    last = dict.fromkeys((member.id for member in line[-1].members), 0)
    for change in history.changes:
        for vote in change.votes:
            if vote.member in last:
                last[vote.member] = max(last[vote.member], vote.epoch)
    trusted = sorted(last.values())[-1 - (len(last) - 1) // 3]
    return max(own, trusted, *(charter.epoch for charter in line))


def next_epoch(history: History, own: int) -> int:
    """Return an epoch in which all who keep to the rules can still vote.

    Raises:
        ConfigError: If there is none.
    """
    reached = reached_epoch(history, own)
    known = (charter.epoch for charter in history.known.values())
    made = max(reached, *(epoch for epoch in known if epoch <= reached + EPOCHS_AHEAD // 2)) + 1
    if made > LAST_EPOCH:
        raise ConfigError("a member voted in the last epoch there is: nothing can be proposed here any more")
    return made


def draft_change(history: History, wishes: Wishes, *, epoch: int, now_ms: int) -> Charter:
    """Return the charter that the wishes make of the one that holds, or, where they add rights, of the last accepted.

    Raises:
        ConfigError: If they cannot be had, or change nothing.
    """
    here = history.in_force(now_ms)
    only_removes = wishes.only_removes(history.line(None)[-1])
    line = history.line(now_ms if only_removes else None)
    prev = line[-1]
    wait_s = 0 if only_removes else wishes.vote_s + prev.change_wait_s
    meeting = {broker.name: broker for broker in prev.meeting or ()}
    gone = {_find(prev, name).id for name in wishes.remove if name not in meeting}
    meeting = {name: broker for name, broker in meeting.items() if name not in wishes.remove}
    meeting |= {broker.name: broker for broker in wishes.meeting}
    members = {member.id: member for member in prev.members if member.id not in gone}
    members |= {card.member.id: card.member for card in wishes.cards}
    for card in wishes.cards:
        if card.community not in (None, here.community_id):
            raise ConfigError(f"{card.member.name}'s card is for another community ({card.community})")
        if card.member.id in history.gone(line, now_ms):
            raise ConfigError(f"{card.member.name}'s key left before: it needs a new one (`commonwatt init`)")
    charter = checked(
        Charter,
        name=prev.name,
        currency=prev.currency,
        founded_ms=prev.founded_ms,
        rules=altered(prev.rules, wishes.rules),
        members=tuple(sorted(members.values(), key=lambda member: member.id)),
        waiting_s=prev.waiting_s if wishes.waiting_s is None else wishes.waiting_s,
        meeting=tuple(meeting[name] for name in sorted(meeting)) or None,
        follows=Follows(
            community=prev.community_id,
            epoch=epoch,
            prev=prev.hash,
            effective_ms=max(now_ms + 1000 * wait_s, prev.effective_ms),
        ),
    )
    if all(getattr(charter, what) == getattr(prev, what) for what in ("members", "rules", "waiting_s", "meeting")):
        raise ConfigError("that changes nothing")
    return charter


def _find(charter: Charter, name: str) -> Member:
    for member in charter.members:
        if name in (member.name, member.id):
            return member
    raise ConfigError(f"no member is called {name!r}; there are {', '.join(m.name for m in charter.members)}")
