"""The charter by which a home lives, now and when that changes."""

import asyncio
from datetime import datetime

from agent.charter_founding import found_alone
from agent.charter_state import CharterState
from agent.config import HomeConfig
from coordinator.charter import Charter
from coordinator.clock import Clock, unix_ms
from coordinator.errors import CommonwattError, ConfigError
from coordinator.identity import Identity

LOOK_S = 15.0
"""How often a running home looks at its charter's papers, in wall seconds."""


class CharterChangedError(CommonwattError):
    """Another charter holds from now on: the agent is to be built anew, by it."""


def current_charter(config: HomeConfig, identity: Identity, now: datetime) -> Charter:
    """Return the charter by which a home lives now; goes over to another community when that is due.

    A home whose community goes on without it, because it left, was suspended or was taken off, lives on alone.

    Raises:
        ConfigError: If the papers cannot be used.
    """
    state, now_ms = CharterState(config, identity.id), unix_ms(now)
    with state.alone():
        state.adopt(now)
        charter = state.history().in_force(now_ms)
        if identity.id not in charter.by_id and identity.id in charter.ever:
            state.replace(found_alone(config, identity, charter, now_ms))
        return state.history().in_force(now_ms, state.left())


class _Lookout:
    """Looks again and again, and checks all signatures only when papers or time can have changed what they say."""

    def __init__(self, config: HomeConfig, identity: Identity) -> None:
        self._config, self._identity = config, identity
        self._state = CharterState(config, identity.id)
        self._seen: tuple[bytes, Charter] | None = None
        self._from_ms = self._until_ms = 0

    def look(self, now: datetime) -> Charter:
        """Return what `current_charter` returns."""
        now_ms, papers = unix_ms(now), self._papers()
        if self._seen is not None and self._seen[0] == papers and self._from_ms <= now_ms < self._until_ms:
            return self._seen[1]
        self._seen = None
        charter = current_charter(self._config, self._identity, now)
        self._from_ms = now_ms
        self._until_ms = min((at_ms for at_ms in self._state.moments() if at_ms > now_ms), default=2**63)
        if self._papers() == papers:
            self._seen = (papers, charter)
        return charter

    def _papers(self) -> bytes:
        try:
            return self._state.papers()
        except OSError as error:
            raise ConfigError(f"the charter's papers cannot be read ({error.strerror})") from None


async def until_changed(charter: Charter, config: HomeConfig, identity: Identity, clock: Clock) -> None:
    """Run while `charter` holds.

    Raises:
        CharterChangedError: When it does not any more.
    """
    lookout = _Lookout(config, identity)
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            now = await asyncio.to_thread(lookout.look, clock.now())
        except ConfigError:
            continue  # somebody copies the file right now, or broke it: what was read holds, and `check` says it
        if (now.hash, now.homes) != (charter.hash, charter.homes):
            text = f"the charter of epoch {now.epoch} of {now.name!r} holds now, with {len(now.homes)} homes"
            raise CharterChangedError(text)
