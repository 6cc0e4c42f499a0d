"""Adding one paper to a history. Pure."""

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
