"""What of a community's papers a home keeps: one signer cannot fill them. Pure.

Everything a quorum accepted is kept. Of proposals that have none yet, those that follow such a charter and that a
member voted for; of each member the latest few. A proposal that could still find a quorum has other voters, too, and
comes with their papers again: leaving it out here decides nothing.
"""

from coordinator.charter import Charter
from coordinator.charter_history import History

OPEN_MAX = 15
"""Proposals kept on one member's word alone: 64 members at it together do not fill what a history may hold."""


def without_flood(history: History) -> History:
    """Return the papers without proposals that nobody with a vote wants, or that one member has too many of.

    Raises:
        ConfigError: If a proposal follows a charter that is not here.
    """
    history.refuse_lost()
    accepted = {history.charter.hash} | {key for key, tally in history.tallies.items() if tally.accepted}
    rooted: set[str] = {history.charter.hash}
    wanted: dict[str, list[Charter]] = {}
    for change in sorted(history.changes, key=lambda each: each.charter.epoch):  # after what it follows
        charter = change.charter
        if charter.follows is None or charter.follows.prev not in rooted:
            continue
        if charter.hash in accepted:
            rooted.add(charter.hash)
        else:
            for voter in history.tallies[charter.hash].voters:
                wanted.setdefault(voter, []).append(charter)
    latest = [sorted(each, key=lambda charter: (charter.epoch, charter.hash))[-OPEN_MAX:] for each in wanted.values()]
    kept = rooted | {charter.hash for charters in latest for charter in charters}
    if kept >= history.known.keys():
        return history
    changes = tuple(change for change in history.changes if change.charter.hash in kept)
    return History(
        charter=history.charter, signatures=history.signatures, changes=changes, departures=history.departures
    )
