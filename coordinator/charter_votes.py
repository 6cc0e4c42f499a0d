"""Who must agree before one charter follows another. Pure: what counts follows from signed documents alone.

A change needs more than two thirds of the members of the charter before it, each counted once, whichever of its two
keys signed; and the own signature of every member whose entry is new or different. The quorum is computed from the
earlier charter and never read from anywhere. Two quorums of one charter share more than a third of its members, so two
changes of one epoch cannot both have one while fewer than a third of the members sign twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from coordinator.charter import Charter, CharterHash, Document, Member
from coordinator.identity import Identity, decode_base64, encode_base64, verify
from coordinator.messages import CommunityId, HomeId, UnixMs

KeyKind = Literal["own", "recovery"]


class Vote(Document):
    """One member's word for one charter."""

    community: CommunityId
    epoch: Annotated[int, Field(ge=1, le=2**31)]
    charter: CharterHash
    member: HomeId
    key: KeyKind = "own"
    voted_ms: UnixMs
    signature: str = ""

    @property
    def signed_bytes(self) -> bytes:
        return b"commonwatt vote 1\n" + self.model_dump_json(exclude={"signature"}).encode()


class Departure(Document):
    """A member's own word that it is none any more, from a moment on. It cannot be taken back.

    `own` is who leaves; `recovery` is who suspends a key that was stolen or lost.
    """

    community: CommunityId
    member: HomeId
    key: KeyKind
    effective_ms: UnixMs
    signature: str = ""

    @property
    def signed_bytes(self) -> bytes:
        return b"commonwatt departure 1\n" + self.model_dump_json(exclude={"signature"}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How a proposal stands.

    Attributes:
        quorum: So many members must vote for it.
        voters: Ids of the members who did, in time.
        unsigned: Ids of the homes whose entry is new or different and that did not sign it themselves.
        objection: Why no number of votes helps; None when nothing is in the way.
    """

    quorum: int
    voters: frozenset[str]
    unsigned: frozenset[str]
    objection: str | None = None

    @property
    def accepted(self) -> bool:
        return self.objection is None and not self.unsigned and len(self.voters) >= self.quorum


def quorum(members: int) -> int:
    """Return how many of so many members must agree: more than two thirds."""
    return 2 * members // 3 + 1


def only_takes_away(charter: Charter, prev: Charter) -> bool:
    """Return whether a change does nothing but take members off: it need not wait."""
    kept = ("rules", "waiting_s", "meeting")
    same = all(getattr(charter, what) == getattr(prev, what) for what in kept)
    return same and set(charter.members) < set(prev.members)


def objection(charter: Charter, prev: Charter) -> str | None:
    """Return why `charter` cannot follow `prev`, whoever votes for it; None when it can."""
    follows = charter.follows
    if follows is None:
        return "it is a founding"
    if follows.community != prev.community_id:
        return "it belongs to another community"
    if follows.prev != prev.hash:
        return "it follows another charter"
    if follows.epoch <= prev.epoch:
        return f"its epoch {follows.epoch} is not after {prev.epoch}"
    if follows.effective_ms < prev.effective_ms:
        return "it would take effect before the charter it follows"
    for what in ("name", "currency", "founded_ms"):
        if getattr(charter, what) != getattr(prev, what):
            return f"it changes the community's {what}"
    return None


def deadline_ms(charter: Charter, prev: Charter) -> int | None:
    """Return until when votes count, so that everybody has the waiting time to object or leave; None: always."""
    return None if only_takes_away(charter, prev) else charter.effective_ms - 1000 * prev.change_wait_s


def tally(charter: Charter, prev: Charter, votes: Iterable[Vote]) -> Tally:
    """Count the votes for `charter` to follow `prev`. A vote that does not count changes nothing."""
    before = {member.id: member for member in prev.members}
    own_word = {member.id for member in charter.members if before.get(member.id) != member}
    latest_ms = deadline_ms(charter, prev)
    voters: set[str] = set()
    signed: set[str] = set()
    for vote in votes:
        if not names(vote, charter) or (latest_ms is not None and vote.voted_ms > latest_ms):
            continue
        member = before.get(vote.member)
        if member is not None and is_of(vote, member):
            voters.add(member.id)
        entry = next((each for each in charter.members if each.id == vote.member), None)
        if entry is not None and vote.key == "own" and is_of(vote, entry):
            signed.add(entry.id)
    return Tally(
        quorum=quorum(len(prev.members)),
        voters=frozenset(voters),
        unsigned=frozenset(own_word - signed),
        objection=objection(charter, prev),
    )


def names(vote: Vote, charter: Charter) -> bool:
    """Return whether the vote is for this charter; the community and the epoch it names must fit, too."""
    return (vote.community, vote.epoch, vote.charter) == (charter.community_id, charter.epoch, charter.hash)


def is_of(paper: Vote | Departure, member: Member) -> bool:
    """Return whether the member's key signed it, the one that it names."""
    text = member.public_key if paper.key == "own" else member.recovery_key
    if text is None or paper.member != member.id:
        return False
    try:
        signature = decode_base64(paper.signature)
    except ValueError:
        return False
    return verify(decode_base64(text), signature, paper.signed_bytes)


def cast(charter: Charter, member: str, identity: Identity, voted_ms: int) -> Vote:
    """Return a member's signed vote. Whether it may still be given is for `agent.charter_desk` to say.

    Args:
        identity: The member's own key, or its recovery key.
    """
    plain = Vote(
        community=charter.community_id,
        epoch=charter.epoch,
        charter=charter.hash,
        member=member,
        key="own" if identity.id == member else "recovery",
        voted_ms=voted_ms,
    )
    return plain.model_copy(update={"signature": encode_base64(identity.sign(plain.signed_bytes))})


def depart(community: str, member: str, identity: Identity, effective_ms: int) -> Departure:
    """Return a member's signed word that it leaves, or by its recovery key, that its key is suspended."""
    kind: KeyKind = "own" if identity.id == member else "recovery"
    plain = Departure(community=community, member=member, key=kind, effective_ms=effective_ms)
    return plain.model_copy(update={"signature": encode_base64(identity.sign(plain.signed_bytes))})
