"""Adding papers to a history, and which of them are kept. Pure."""

from collections.abc import Iterable

from coordinator.charter import Charter
from coordinator.charter_flood import without_flood
from coordinator.charter_history import Change, History
from coordinator.charter_votes import Departure, Vote, is_of
from coordinator.errors import ConfigError


def community_of(paper: Change | Vote | Departure) -> str:
    """Return the id of the community it is of."""
    return paper.charter.community_id if isinstance(paper, Change) else paper.community


def add_paper(history: History, paper: Change | Vote | Departure) -> History:
    """Return the history with one more paper.

    Raises:
        ConfigError: If the paper fits nothing there.
    """
    match paper:
        case Change():
            return history.merged(History(charter=history.charter, signatures={}, changes=(paper,)))
        case Vote():
            if paper.charter not in history.known:
                raise ConfigError(
                    f"a vote for a proposal that is not here ({paper.charter[:8]}): add the proposal, too"
                )
            return history.with_votes([paper])
        case Departure():
            members = [member for charter in history.line() for member in charter.members]
            if not any(is_of(paper, member) for member in members):
                raise ConfigError("a departure is signed by nobody who may say so")
            return history.merged(History(charter=history.charter, signatures={}, departures=(paper,)))


def kept(history: History, given: Iterable[Charter], lines: list[str]) -> tuple[History, list[str]]:
    """Return the papers that are kept of those that came, all checked, and what is to be said.

    Raises:
        ConfigError: If a signature fits nothing, or one of the proposals given by itself is not among them.
    """
    wanted = without_flood(history)
    wanted.check()
    left_out = history.known.keys() - wanted.known.keys()
    for charter in given:
        if charter.hash in left_out:
            raise ConfigError(
                f"proposal {charter.hash[:8]}: no member has signed it in time, its signers have newer ones, or it "
                "follows one that is not accepted here: a neighbour's `charter invite` has all that counts"
            )
    if left_out:
        lines = [
            *lines,
            f"Left out {len(left_out)} proposals: no member signed them in time, or its newest are others.",
        ]
    return wanted, lines
