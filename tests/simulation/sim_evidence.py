"""What must hold of proofs and pair statements, worked out from the messages alone.

I8   no honest home is ever accused; who told honest homes two things for many keys is proved to all of them
I3   two honest homes have signed the same statements, each of contracts that count, each contract once
     (or counted, in ledgers that both were lost since: their statement is then all that is left)
I10  what a pair's statements come to is what its contracts come to, exactly; so all statements sum to zero
I7   every contract that is old enough is stated, and honest homes dispute nothing
I11  a ledger read as a whole has no problem: what counts, bills and statements follow from its signatures (but for
     statements with a liar, who may have told an earlier life of the ledger something else)
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any

from sim_checks import content_key, parsed, require

from coordinator.accounts import Account
from coordinator.ledger_reading import read

if TYPE_CHECKING:
    from sim_host import Host
    from sim_world import World

STATE_SLOTS = 5
"""Days are short here: so often a pair states."""
SETTLED_SLOTS = 10
"""Older contracts must be stated when the network has been well for `HEAL_SLOTS`."""
MANY = 12
"""So many keys with two contents cannot all be missed by the heads of slots whose messages are lost."""
UNPROVED = frozenset({"meter"})
"""What may be said twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """What a liar says for a key."""

    liar: str
    key: tuple[Any, ...]
    expires_ms: int
    content: bytes


class Evidence:
    """Of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._heard: dict[str, dict[tuple[Any, ...], set[bytes]]] = defaultdict(lambda: defaultdict(set))
        """By liar and key: the contents that reached honest homes."""
        self._empty: set[str] = set()
        self._restored: set[str] = set()
        self._offers: dict[str, Any] = {}
        """That honest homes ever signed, whatever became of their ledgers."""
        self._accepted: set[str] = set()
        self._in_leaf: set[tuple[str, str]] = set()
        self._read: dict[bytes, _Word | None] = {}
        """What messages say for a key, and None for all other messages."""

    def desk_options(self) -> dict[str, Any]:
        """Return how desks are made: in half of the worlds everybody goes on trading with proved liars."""
        forgiven = list(self._world.by_id) if self._world.seed % 2 else []
        every = timedelta(seconds=STATE_SLOTS * self._world.rules.slot_s)
        return {"forgiven": forgiven, "state_every": every}

    def delivered(self, host: "Host", wire: bytes) -> None:
        """Note what reaches an honest home that is up."""
        if host.liar:
            return
        if wire not in self._read:
            self._read[wire] = self._word(parsed(wire))
        word = self._read[wire]
        if word is not None and word.expires_ms > self._world.now_ms:
            self._heard[word.liar][word.key].add(word.content)

    def _word(self, said: dict[str, Any]) -> "_Word | None":
        sender = self._world.by_id.get(str(said.get("sender")))
        if sender is None or not sender.liar or said.get("kind") in UNPROVED:
            return None
        key = _key(said)
        if key is None:
            return None
        body = {k: v for k, v in said.items() if k not in {"seq", "sent_ms", "expires_ms", "community", "to"}}
        content = repr(sorted(body.items())).encode()
        return _Word(liar=sender.id, key=key, expires_ms=said.get("expires_ms", 0), content=content)

    def restored(self, host: "Host") -> None:
        """Note who forgot something; one without a useful backup begins as a new home, and its people must talk."""
        self._restored.add(host.id)
        if not [entry for entry in host.everything() if entry.kind not in {"born", "ready"}]:
            self._empty.add(host.id)

    def committed(self, host: "Host", message: Any) -> None:
        match message.kind:
            case "offer":
                self._offers[message.contract_id] = message
            case "accept":
                self._accepted.add(message.contract_id)
            case "leaf":
                self._in_leaf |= {(message.sender, contract) for contract in message.contract_ids}
            case "fraud":
                self._world.count["proofs"] += 1
                accused = self._world.by_id[message.accused]
                self._world.count["false accusations"] += not accused.liar
                require(accused.liar, "I8", f"{host.id} accuses the honest {message.accused}")

    def _once_counted(self, contract: str) -> bool:
        """Return whether it counted in ledgers of which both were lost since."""
        return contract in self._accepted and (self._offers[contract].sender, contract) in self._in_leaf

    # The end

    def check_the_end(self, counted: set[str], offers: dict[str, Any]) -> None:
        """Raise ViolationError if anything is not as it must be.

        Args:
            counted: Ids of the contracts that count by all signatures.
            offers: The offers by contract id.
        """
        honest = self._world.honest
        liars = [host.id for host in self._world.hosts if host.liar]
        for liar, keys in self._heard.items():
            twice = sum(len(contents) > 1 for contents in keys.values())
            self._world.count["equivocations"] += twice
            for host in honest if twice >= MANY else ():
                assert host.desk is not None
                proved = {accused for accused, _ in host.desk.witness.proofs}
                require(liar in proved, "I8", f"{host.id} has no proof against {liar}, who said {twice} things twice")
        for host in honest:
            problems = read(host.everything(), self._world.charter, host.id).problems
            mine = [each for each in problems if not any(liar in each for liar in liars)]
            require(not mine, "I11", f"the ledger of {host.id} read as a whole: {mine}")
        for low, high in combinations(sorted(honest, key=lambda host: host.id), 2):
            self._check_pair(low, high, counted, offers)

    def _check_pair(self, low: "Host", high: "Host", counted: set[str], offers: dict[str, Any]) -> None:
        mine, theirs = _account(low, high.id), _account(high, low.id)
        require(
            (mine.number, mine.hash) == (theirs.number, theirs.hash),
            "I3",
            f"{low.id} has statement {mine.number} with {high.id}, who has {theirs.number}",
        )
        if self._empty & {low.id, high.id}:
            return
        require(not mine.disputes and not theirs.disputes, "I7", f"{low.id} and {high.id} are honest and in dispute")
        chain = {**mine.chain, **theirs.chain}
        stated = [contract for each in chain.values() for contract in each.statement.message.contract_ids]
        require(len(stated) == len(set(stated)), "I3", f"{low.id} and {high.id} state a contract twice")
        both_lost = {low.id, high.id} <= self._restored
        forgotten = {contract for contract in stated if both_lost and self._once_counted(contract)}
        require(set(stated) <= counted | forgotten, "I3", f"{low.id} and {high.id} state what does not count")
        between = [o for c in counted if {(o := offers[c]).sender, o.seller} == {low.id, high.id}]
        old_s = self._world.now_ms // 1000 - SETTLED_SLOTS * self._world.rules.slot_s
        missing = {o.contract_id for o in between if o.slot < old_s} - set(stated)
        require(not missing, "I7", f"{low.id} and {high.id} never stated {sorted(missing)}")
        owed = sum(
            (1 if o.sender == low.id else -1) * o.energy_wh * o.price_micro
            for o in map(self._offers.__getitem__, stated)
        )
        require(mine.balance_nano == owed, "I10", f"{low.id} states {mine.balance_nano} to {high.id}, not {owed}")
        self._world.count["statements"] += len(chain)


def _key(said: dict[str, Any]) -> tuple[Any, ...] | None:
    try:
        return content_key(said)
    except KeyError:
        return None


def _account(host: "Host", partner: str) -> Account:
    assert host.desk is not None
    return host.desk.statements.of(partner)
