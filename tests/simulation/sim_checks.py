"""The invariants of one honest home, checked after every commit and every message sent.

They keep books of their own, from what is committed and sent, and share no code with the books they check.

I1  accepted and not lapsed <= what the home decided to sell     I6  no two contents for one key
I2  offered or bound <= what the home decided to buy             I9  an accept known before the gate counts
I4  what is signed and binds is durable before it is sent        I5, I3, I7, I10, I11: see sim_world.py and sim_end.py
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from coordinator.ledger import Entry, Mark, Origin

SessionKey = tuple[int, str]

FIRM = frozenset(
    {
        *("offer", "accept", "reject", "lapse", "position", "leaf", "meter", "residual"),
        *("settle", "settled", "dispute", "fraud"),
    }
)
"""Kinds that bind their sender, so must be durable before they are sent."""


class ViolationError(AssertionError):
    """A promise was broken."""


def require(true: bool, invariant: str, text: str) -> None:
    if not true:
        raise ViolationError(f"{invariant}: {text}")


def content_key(said: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return what a message may be said about only once per incarnation, or None for what may be said again."""
    match said["kind"]:
        case "offer" | "lapse":
            key: tuple[Any, ...] = (said["kind"], said["contract_id"])
        case "accept" | "reject":
            key = ("answer", said["contract_id"])
        case "position":
            key = ("position", said["slot"], said["trade"])
        case "leaf":
            key = ("leaf", said["slot"], said["trade"], said["to"])
        case "bid":
            key = ("bid", said["slot"], said["round"])
        case "ready" | "residual":
            key = (said["kind"], said["slot"])
        case "meter":
            key = ("meter", said["slot"], said["to"])
        case "settle":
            key = ("settle", said["to"], said["number"])
        case _:
            return None
    return (said["inc"], *key)


@lru_cache(maxsize=5000)
def parsed(wire: bytes) -> dict[str, Any]:
    """Return what a message says, nothing if it was garbled on the way; the same object to all who ask."""
    try:
        said = from_json(wire.partition(b"\n")[0])
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


class HomeChecks:
    """What one home has committed and said."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.said: dict[tuple[Any, ...], bytes] = {}
        """Of all incarnations: nothing erases what once was on the wire."""
        self.forget()

    def forget(self) -> None:
        """The ledger was replaced: what follows is told by its entries."""
        self.durable: set[bytes] = set()
        self.ready: set[int] = set()
        self._may_sell_wh: dict[SessionKey, int] = {}
        self._may_buy_wh: dict[SessionKey, int] = {}
        self._sold: defaultdict[SessionKey, dict[str, tuple[str, int]]] = defaultdict(dict)
        self._bought: defaultdict[SessionKey, dict[str, int]] = defaultdict(dict)
        self._bound: defaultdict[SessionKey, set[str]] = defaultdict(set)
        self._offers: dict[str, tuple[SessionKey, str, int]] = {}
        self._closed: set[SessionKey] = set()

    # What is committed

    def committed(self, entries: Sequence[Entry], may_buy_wh: dict[int, int], incarnation: int) -> None:
        """Take entries that are durable now.

        Args:
            may_buy_wh: What the household decided to buy, by slot.
            incarnation: The ledger's; what was said in an earlier one was checked then.
        """
        closing: dict[SessionKey, set[str]] = {}
        touched: set[SessionKey] = set()
        for entry in entries:
            if isinstance(entry.content, Mark):
                self._mark(entry.content)
            elif entry.origin is Origin.OWN:
                self.durable.add(entry.wire)
                earlier = entry.content.message.inc != incarnation
                self._own(entry.content.message, closing, set() if earlier else touched)
            elif entry.content.message.sender == self.home:
                self.durable.add(entry.wire)  # regained: decided by a home that knew more
                if entry.kind == "offer":
                    self._peers(entry.content.message)
            else:
                self._peers(entry.content.message)
        for session, counted in closing.items():
            require(
                self._bound[session] <= counted, "I9", f"a countersignature known before the gate of {session} is lost"
            )
        for session in touched:
            require(session not in self._closed - closing.keys(), "I1", f"a trade after the own position of {session}")
            sold_wh = sum(wh for _, wh in self._sold[session].values())
            require(sold_wh <= self._may_sell_wh.get(session, 0), "I1", f"{sold_wh} Wh sold in {session}")
            bought_wh = sum(self._bought[session].values())
            wish_wh = may_buy_wh.get(session[0], 0) if session[1] == "slot" else self._may_buy_wh.get(session, 0)
            require(bought_wh <= wish_wh or not bought_wh, "I2", f"{bought_wh} Wh bought in {session}, not {wish_wh}")

    def _mark(self, mark: Mark) -> None:
        if mark.kind == "ready":
            self.ready.add(mark.slot)
        elif mark.kind == "mandate":
            self._may_sell_wh[mark.slot, str(mark.data["trade"])] = int(mark.data["sell_wh"])

    def _own(self, message: Any, closing: dict[SessionKey, set[str]], touched: set[SessionKey]) -> None:
        match message.kind:
            case "accept":
                session, buyer, wh = self._offers[message.contract_id]
                self._sold[session][message.contract_id] = (buyer, wh)
                touched.add(session)
            case "offer":
                session = (message.slot, message.trade)
                self._offers[message.contract_id] = (session, message.seller, message.energy_wh)
                self._bought[session][message.contract_id] = message.energy_wh
                touched.add(session)
            case "lapse":
                session, _, _ = self._offers[message.contract_id]
                self._bought[session].pop(message.contract_id, None)
            case "residual":
                self._may_buy_wh[message.slot, "residual"] = message.energy_wh
            case "position":
                closing.setdefault((message.slot, message.trade), set())
                self._closed.add((message.slot, message.trade))
            case "leaf" if (message.slot, message.trade) in closing:
                closing[message.slot, message.trade] |= set(message.contract_ids)

    def _peers(self, message: Any) -> None:
        match message.kind:
            case "offer":
                session = (message.slot, message.trade)
                self._offers[message.contract_id] = (session, message.sender, message.energy_wh)
            case "reject":
                session, _, _ = self._offers[message.contract_id]
                self._bought[session].pop(message.contract_id, None)
            case "accept":
                session, _, _ = self._offers[message.contract_id]
                if session not in self._closed and message.contract_id in self._bought[session]:
                    self._bound[session].add(message.contract_id)
            case "lapse":
                session, _, _ = self._offers[message.contract_id]
                self._sold[session].pop(message.contract_id, None)
            case "leaf":
                sold = self._sold[message.slot, message.trade]
                for contract, (buyer, _) in list(sold.items()):
                    if buyer == message.sender and contract not in message.contract_ids:
                        del sold[contract]

    # What is sent

    def sent(self, wire: bytes) -> str:
        """Check a message on its way out; return its kind."""
        said = parsed(wire)
        kind: str = said["kind"]
        if kind in FIRM and said["sender"] == self.home:  # a neighbour's proof may be passed on
            require(wire in self.durable, "I4", f"{kind} of {self.home} was sent and is not durable")
        if kind == "ready":
            require(said["slot"] in self.ready, "I4", f"ready of {self.home} was sent and is not durable")
        key = content_key(said)
        if key is not None and said["sender"] == self.home:
            content = _content(kind, wire.partition(b"\n")[0])
            require(self.said.setdefault(key, content) == content, "I6", f"{self.home} signed two contents for {key}")
        return kind


def _content(kind: str, line: bytes) -> bytes:
    """Return what must be the same each time: what binds byte for byte, of a bid what it says, to whomever."""
    return line if kind in FIRM else line.partition(b',"expires_ms":')[2].partition(b",")[2]
