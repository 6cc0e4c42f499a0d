"""Where a home keeps its charter's papers, and the moment when it goes over to another charter."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from agent.config import HomeConfig
from agent.data_folder import in_turn
from agent.durable import remove_durably, write_durably
from coordinator.charter import Charter, Document, Member
from coordinator.charter_file import check_founding, history_text, load_history
from coordinator.charter_history import History
from coordinator.charter_votes import Vote
from coordinator.clock import unix_ms
from coordinator.errors import ConfigError

Model = TypeVar("Model", bound=Document)

NEXT_FILE = "charter-next.json"
"""A founding that is not signed by all, or a community in which this home is not a member yet."""
VOTES_FILE = "charter-votes.json"
CARD_FILE = "charter-card.json"


class _VoteBook(Document):
    """Every vote this home ever gave: written before a vote leaves it."""

    votes: tuple[Vote, ...] = ()


class CharterState:
    """The files of one home."""

    def __init__(self, config: HomeConfig, me: str) -> None:
        self._path = config.community.charter
        self._folder = config.home.data_dir
        self.me = me

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the papers: two commands at once could give two votes."""
        with in_turn(self._folder, "charter.lock"):
            yield

    def history(self) -> History:
        """Return the papers of the community this home is in.

        Raises:
            ConfigError: As `load_history`.
        """
        return load_history(self._path)

    def coming(self) -> History | None:
        """Return the papers of a founding or a community to come; its founders may not all have signed."""
        return self._read(NEXT_FILE, History)

    def save(self, history: History) -> None:
        write_durably(self._path, history_text(history))

    def save_coming(self, history: History) -> None:
        write_durably(self._folder / NEXT_FILE, history_text(history))

    def votes(self) -> tuple[Vote, ...]:
        book = self._read(VOTES_FILE, _VoteBook)
        return book.votes if book is not None else ()

    def add_vote(self, vote: Vote) -> None:
        """Keep a vote; it is on the disk when this returns."""
        write_durably(self._folder / VOTES_FILE, _VoteBook(votes=(*self.votes(), vote)).model_dump_json(indent=2))

    def card(self) -> Member | None:
        """Return this home's entry as it was last made."""
        return self._read(CARD_FILE, Member)

    def save_card(self, member: Member) -> None:
        write_durably(self._folder / CARD_FILE, member.model_dump_json(indent=2, exclude_none=True))

    def adopt(self, now: datetime) -> Charter | None:
        """Go over to the community to come, if this home is a member of it by now; return its charter then.

        Not while it lives with others: no paper of somebody else moves a home, `charter leave` comes first.
        """
        coming = self.coming()
        if coming is None or coming.unsigned or self.lives_with_others(now):
            return None
        check_founding(coming)
        coming.check()
        charter = coming.in_force(unix_ms(now))
        if self.me not in charter.by_id:
            return None
        self.replace(coming)
        remove_durably(self._folder / NEXT_FILE)
        return charter

    def lives_with_others(self, now: datetime) -> bool:
        """Return whether this home is a member of a community with other homes in it."""
        here = self.history().in_force(unix_ms(now))
        return self.me in here.by_id and len(here.homes) > 1

    def papers(self) -> bytes:
        """Return what is on the disk of this community's papers and of those of one to come, as it is."""
        files = (self._path, self._folder / NEXT_FILE)
        return b"\0".join(file.read_bytes() if file.exists() else b"" for file in files)

    def moments(self) -> set[int]:
        """Return when, in Unix milliseconds, something in the papers takes effect."""
        histories = [self.history(), *([] if (coming := self.coming()) is None else [coming])]
        charters = {charter.effective_ms for each in histories for charter in each.known.values()}
        return charters | {paper.effective_ms for each in histories for paper in each.departures}

    def replace(self, history: History) -> None:
        """Go over to another community; the papers of the one left behind stay beside, under its id."""
        left = self.history()
        write_durably(self._path.with_name(f"charter-{left.charter.community_id}.json"), history_text(left))
        self.save(history)

    def left(self) -> tuple[Charter, ...]:
        """Return the charters of communities this home was in: its ledger has their members' messages."""
        return tuple(charter for history in self.left_histories() for charter in history.line())

    def left_histories(self) -> list[History]:
        """Return the papers of communities this home was in."""
        files = sorted(self._path.parent.glob("charter-" + "[0-9a-f]" * 16 + ".json"))
        return [load_history(file) for file in files]

    def _read(self, name: str, model: type[Model]) -> Model | None:
        path = self._folder / name
        try:
            return model.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise ConfigError(f"{path} cannot be read ({_first(error)}): restore it from your backup") from None


def _first(error: OSError | ValidationError) -> str:
    return error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error.strerror)
