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


async def until_changed(charter: Charter, config: HomeConfig, identity: Identity, clock: Clock) -> None:
    """Run while `charter` holds.

    Raises:
        CharterChangedError: When it does not any more.
    """
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            now = current_charter(config, identity, clock.now())
        except ConfigError:
            continue  # somebody copies the file right now, or broke it: what was read holds, and `check` says it
        if (now.hash, now.homes) != (charter.hash, charter.homes):
            text = f"the charter of epoch {now.epoch} of {now.name!r} holds now, with {len(now.homes)} homes"
            raise CharterChangedError(text)
