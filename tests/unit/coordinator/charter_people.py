"""People with keys, and the papers they sign, for tests of charters."""

from collections.abc import Iterable
from typing import Any

from coordinator.charter import Charter, Follows, Member, Rules
from coordinator.charter_history import Change, History
from coordinator.charter_votes import Vote, cast
from coordinator.identity import Identity, encode_base64

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
FOUNDED_MS = 1_780_000_000_000


class Person:
    """A home with its two keys."""

    def __init__(self, number: int, name: str | None = None) -> None:
        self.own = Identity.from_seed(bytes([number + 1]) * 32)
        self.recovery = Identity.from_seed(bytes([number + 1, 255]) * 16)
        self.id = self.own.id
        self.name = name or f"home {number}"

    def member(self, **changes: Any) -> Member:
        plain = {
            "id": self.id,
            "name": self.name,
            "public_key": encode_base64(self.own.public_key),
            "recovery_key": encode_base64(self.recovery.public_key),
            "broker": "mqtt://127.0.0.1:1883",
        }
        return Member.model_validate({**plain, **changes})

    def vote(self, charter: Charter, at_ms: int) -> Vote:
        return cast(charter, self.id, self.own, at_ms)


def sorted_members(members: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(sorted(members, key=lambda member: member.id))


def founding(people: Iterable[Person], name: str = "elm street", **changes: Any) -> History:
    founders = list(people)
    plain = {
        "name": name,
        "currency": "EUR",
        "founded_ms": FOUNDED_MS,
        "rules": Rules(),
        "members": sorted_members(person.member() for person in founders),
    }
    charter = Charter.model_validate({**plain, **changes})
    return History(
        charter=charter,
        signatures={person.id: encode_base64(person.own.sign(charter.canonical)) for person in founders},
    )


def successor(
    prev: Charter,
    *,
    add: Iterable[Member] = (),
    remove: Iterable[Person] = (),
    epoch: int | None = None,
    effective_ms: int = FOUNDED_MS + 2 * WEEK_MS,
    **changes: Any,
) -> Charter:
    """Return a charter that follows another; `changes` are fields of the charter, `follows` ones of its `follows`."""
    gone = {person.id for person in remove}
    members = {member.id: member for member in prev.members if member.id not in gone} | {m.id: m for m in add}
    follows = {
        "community": prev.community_id,
        "epoch": prev.epoch + 1 if epoch is None else epoch,
        "prev": prev.hash,
        "effective_ms": effective_ms,
    } | changes.pop("follows", {})
    plain = {name: getattr(prev, name) for name in ("name", "currency", "founded_ms", "rules", "waiting_s")}
    return Charter.model_validate(
        {**plain, "members": sorted_members(members.values()), "follows": Follows(**follows), **changes}
    )


def with_votes(history: History, charter: Charter, votes: Iterable[Vote]) -> History:
    change = Change(charter=charter, votes=tuple(votes))
    return history.merged(History(charter=history.charter, signatures={}, changes=(change,)))
