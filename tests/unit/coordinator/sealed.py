"""Signed messages of a small community, for tests of what stands behind the verifier."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from neighbourhood import START, make_charter

from coordinator.charter import Rules
from coordinator.clock import unix_ms
from coordinator.codec import Verified, Verifier, encode
from coordinator.identity import Identity
from coordinator.messages import EVERYBODY, Message
from coordinator.sessions import Session
from coordinator.slots import Slot

HOUR = timedelta(hours=1)
RULES = Rules(horizon_slots=4)
SLOT = Slot.at(START, RULES.slot_s).shifted(1)
SESSION = Session(SLOT.key)


class Street:
    """`homes` members, sorted by id; everybody can sign."""

    def __init__(self, homes: int, rules: Rules = RULES, salt: int = 0) -> None:
        self.seeds = [bytes([salt, n + 1]) * 16 for n in range(homes)]
        made = [Identity.from_seed(seed) for seed in self.seeds]
        self.rules = rules
        self.members = sorted(made, key=lambda identity: identity.id)
        self.charter = make_charter(self.members, rules)

    @property
    def ids(self) -> list[str]:
        return [identity.id for identity in self.members]

    def identity(self, home: str) -> Identity:
        return next(identity for identity in self.members if identity.id == home)

    def verifier(self, me: str, allow: Callable[[tuple[str, str], datetime], bool] | None = None) -> Verifier:
        return Verifier(self.charter, me, allow)

    def header(self, sender: str, to: str = EVERYBODY, now: datetime = START, life: timedelta = HOUR) -> dict[str, Any]:
        return {
            "community": self.charter.community_id,
            "sender": sender,
            "to": to,
            "inc": 7,
            "seq": 1,
            "sent_ms": unix_ms(now),
            "expires_ms": unix_ms(now + life),
        }

    def seal(
        self,
        kind: type[Message],
        sender: str,
        to: str = EVERYBODY,
        now: datetime = START,
        life: timedelta = HOUR,
        **body: Any,
    ) -> Verified[Any]:
        """Return a message of `sender`, signed with its key."""
        message: Any = kind.model_validate({**self.header(sender, to, now, life), **body})
        return encode(message, self.identity(sender))
