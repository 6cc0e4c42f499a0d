"""A charter, a proposal and what a change changes, in words. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from coordinator.charter import Charter, MeetingBroker, Member, Rules
from coordinator.charter_history import Change, History
from coordinator.charter_votes import deadline_ms, only_takes_away, quorum


def when(at_ms: int) -> str:
    """Return a moment as people write it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def span(seconds: float) -> str:
    """Return a length of time in its own unit."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = f"{seconds / length:g}"
            return f"{count} {unit}" + ("" if count == "1" else "s")
    return f"{seconds:g} seconds" if seconds else "no time"


def names(ids: Iterable[str], *charters: Charter) -> str:
    """Return the names of members, as the first charter that has each calls it."""
    known = {member.id: member.name for charter in reversed(charters) for member in charter.members}
    return ", ".join(sorted(known.get(each, each) for each in ids)) or "nobody"


def member_words(member: Member) -> str:
    more = "" if member.power_limit_w is None else f", up to {member.power_limit_w / 1000:g} kW"
    meter = "" if member.meter is None else f", meter {member.meter[:8]}"
    where = member.broker or "only at the meeting brokers"
    return f"{member.name} ({member.id}, {where}{more}{meter})"


def meeting_words(broker: MeetingBroker) -> str:
    return f"{broker.name} ({broker.id}, {broker.url})"


def differences(prev: Charter, charter: Charter) -> list[str]:
    """Return what a change changes, one line each."""
    before, after = ({member.id: member for member in each.members} for each in (prev, charter))
    lines = [f"adds {member_words(member)}" for key, member in after.items() if key not in before]
    lines += [f"takes off {member.name}" for key, member in before.items() if key not in after]
    for key, member in after.items():
        lines += _entry(before[key], member) if key in before else []
    before_there, after_there = ({broker.name: broker for broker in each.meeting or ()} for each in (prev, charter))
    for name in sorted(before_there.keys() | after_there.keys()):
        was, becomes = before_there.get(name), after_there.get(name)
        if becomes is None:
            lines.append(f"takes off meeting broker {name}")
        elif was != becomes:
            lines.append(f"{'adds' if was is None else 'alters'} meeting broker {meeting_words(becomes)}")
    for name in Rules.model_fields:
        old, new = getattr(prev.rules, name), getattr(charter.rules, name)
        lines += [f"{name}: {old} becomes {new}"] if old != new else []
    if prev.change_wait_s != charter.change_wait_s:
        lines.append(f"changes wait {span(charter.change_wait_s)} instead of {span(prev.change_wait_s)}")
    return lines or ["changes nothing"]


def _entry(old: Member, new: Member) -> list[str]:
    changed = [name for name in Member.model_fields if getattr(old, name) != getattr(new, name)]
    return [f"{old.name}'s {name}: {getattr(old, name)} becomes {getattr(new, name)}" for name in changed]


def charter_lines(charter: Charter) -> list[str]:
    """Return what a charter says, for people: who, by which rules that differ from the usual ones, how it changes."""
    count = len(charter.homes)
    lines = [
        f"{charter.name} ({charter.community_id}), {charter.currency}, epoch {charter.epoch}, "
        f"in force since {when(charter.effective_ms)}",
        f"{count} members:" if count > 1 else "1 member:",
        *(f"  {member_words(member)}" for member in charter.homes),
    ]
    lines += [f"meeting broker: {meeting_words(broker)}" for broker in charter.meeting or ()]
    if away := sorted(member.name for member in charter.members if member not in charter.homes):
        lines.append(f"left or suspended, still counted in the quorum: {', '.join(away)}")
    usual = Rules()
    own = [name for name in Rules.model_fields if getattr(charter.rules, name) != getattr(usual, name)]
    said = ", ".join(f"{name} {getattr(charter.rules, name)}" for name in own)
    lines.append(f"rules: {said or 'the usual ones'}")
    if charter.rules.masked:
        lines.append(
            f"bids are masked: of {charter.roster_min} homes or more only the sum is known; "
            "with fewer, or when one fails, homes bid in the open for the coming slot alone"
        )
        if count < charter.roster_min:
            lines.append(f"with {count} homes no bid is masked yet")
    lines.append(
        f"a change needs {quorum(len(charter.members))} of {len(charter.members)} votes "
        f"and waits {span(charter.change_wait_s)}; taking a member off waits for nothing"
    )
    return lines


def proposal_lines(change: Change, history: History, now_ms: int) -> list[str]:
    """Return what a proposal changes, who voted for it, and what it still needs."""
    charter, prev = change.charter, history.known[change.charter.follows.prev if change.charter.follows else ""]
    tally = history.tallies[charter.hash]
    latest_ms = deadline_ms(charter, prev)
    lines = [
        f"proposal {charter.hash[:8]} (epoch {charter.epoch})",
        *(f"  {line}" for line in differences(prev, charter)),
        f"  votes: {len(tally.voters)} of {tally.quorum} needed: {names(tally.voters, prev)}",
    ]
    if gone := [each for each in history.overtaken(charter, now_ms) if not tally.accepted]:
        lines.append(f"  would make void what was accepted and waits: {', '.join(each.hash[:8] for each in gone)}")
    if tally.unsigned:
        lines.append(f"  own signature missing: {names(tally.unsigned, charter)}")
    if change in history.void_changes(now_ms):
        lines.append("  void, though accepted: another charter took the place of the one it follows; propose it again")
    elif tally.accepted:
        lines.append(f"  accepted: takes effect {when(charter.effective_ms)}")
    elif latest_ms is not None and now_ms > latest_ms:
        lines.append(f"  failed: votes counted until {when(latest_ms)}")
    elif only_takes_away(charter, prev):
        lines.append("  takes effect with the last vote needed: it only takes away")
    else:
        assert latest_ms is not None
        lines.append(f"  votes count until {when(latest_ms)}; takes effect {when(charter.effective_ms)}")
    return lines


def overview(history: History, coming: History | None, now_ms: int) -> list[str]:
    """Return the charter in force, what is open, and what is wrong.

    Args:
        coming: The papers of a founding or community this home is not yet a member of.
    """
    here = history.in_force(now_ms)
    lines = charter_lines(here)
    for change in (*history.open_changes(now_ms), *history.void_changes(now_ms)):
        lines += ["", *proposal_lines(change, history, now_ms)]
    for paper in history.departures:
        if paper.member in here.by_id:
            lines += ["", f"{names([paper.member], here)} leaves at {when(paper.effective_ms)}"]
    if history.rivals:
        epochs = ", ".join(f"{each.epoch} ({each.hash[:8]})" for each in history.rivals)
        lines += ["", f"TWO charters of one epoch have a quorum, so neither holds: {epochs}"]
    if liars := twice(history):
        lines += ["", f"voted for two charters of one epoch, as nobody may: {', '.join(liars)}"]
    if coming is not None:
        lines += ["", *_coming_lines(coming, now_ms)]
    return lines


def _coming_lines(coming: History, now_ms: int) -> list[str]:
    if coming.unsigned:
        head = [f"founding of {coming.charter.name!r} ({coming.charter.community_id}):"]
        body = [*charter_lines(coming.charter)[1:], f"not signed yet by {', '.join(coming.unsigned)}"]
    else:
        head = [f"{coming.charter.name!r}, where this home does not live yet:"]
        body = charter_lines(coming.in_force(now_ms))
        for change in coming.open_changes(now_ms):
            body += proposal_lines(change, coming, now_ms)
    return head + [f"  {line}" for line in body]


def twice(history: History) -> list[str]:
    """Return the names of members with votes for two charters of one epoch: by the rules that is one too many."""
    given: dict[tuple[str, int], set[str]] = {}
    for change in history.changes:
        for vote in change.votes:
            given.setdefault((vote.member, vote.epoch), set()).add(vote.charter)
    ids = {member for (member, _), charters in given.items() if len(charters) > 1}
    return sorted({member.name for charter in history.known.values() for member in charter.members if member.id in ids})
