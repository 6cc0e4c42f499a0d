"""Homes that lie. Each runs the real desk and twists what it says; it holds its own key and nobody else's."""

import json
from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from sim_checks import parsed
from sim_faults import STYLES
from sim_host import Host

from coordinator.codec import encode, message_id
from coordinator.contracts import contract_id
from coordinator.errors import LocalProtocolError
from coordinator.identity import Identity, encode_base64
from coordinator.messages import ADAPTER
from coordinator.sessions import Session

if TYPE_CHECKING:
    from sim_world import World

REMEMBERED = 300
HEX = "0123456789abcdef"
SILENT_KINDS = ("accept", "reject", "lapse", "position", "leaf", "offer", "bid")
DAY_MS = 86_400_000


class Liar(Host):
    """See the module's text; `styles` says how it lies."""

    liar = True

    def __init__(self, world: "World", number: int, identity: Identity, draw: Random) -> None:
        super().__init__(world, number, identity, draw)
        self.styles = frozenset(draw.sample(STYLES, draw.randint(2, 4)))
        self._silent = frozenset(draw.sample(SILENT_KINDS, draw.randint(1, 4)))
        self._heard: deque[bytes] = deque(maxlen=REMEMBERED)
        self._own: deque[bytes] = deque(maxlen=REMEMBERED)
        self._seq = 10**12

    # Twisting what the honest desk would say

    def send(self, to: str, wire: bytes, firm: bool) -> None:
        self.effect()
        self._own.append(wire)
        said = parsed(wire)
        kind = said["kind"]
        if "silent" in self.styles and kind in self._silent:
            return
        if kind == "offer" and "floods" in self.styles and self.draw.random() < 0.5:
            self._flood(to, Session(said["slot"], said["trade"]), said["price_micro"])  # where the seller has energy
            return
        receivers = self.world.hosts if to == "*" else [self.world.by_id[to]]
        for host in receivers:
            if host is self:
                continue
            told = wire
            if "equivocates" in self.styles and self.draw.random() < 0.4:
                told = self._twisted(wire)
            if "late" in self.styles and kind in {"accept", "position", "lapse"}:
                self.world.in_s(self.draw.uniform(60, 400), host.deliver, told)
            else:
                self.world.carry(self, [host], told)

    def _twisted(self, wire: bytes) -> bytes:
        """Return another content for the same key, well signed."""
        said = json.loads(wire.partition(b"\n")[0])
        draw = self.draw
        match said["kind"]:
            case "accept":
                said |= {"kind": "reject", "reason": "sold out"}
            case "reject":
                said["kind"] = "accept"
                del said["reason"]
            case "offer":
                said["energy_wh"] += draw.randint(1, 500)
            case "position":
                said["root"] = "".join(draw.choices(HEX, k=32))
            case "leaf":
                said["contract_ids"] = said["contract_ids"][1:]
            case "bid":
                said["energy_wh"] = [draw.randint(-2000, 2000) for _ in said["energy_wh"]]
            case "ready":
                said["prices"] = [draw.randint(-(10**9), 10**9) for _ in said["prices"]]
            case "residual":
                said["energy_wh"] = draw.randint(-5000, 5000)
            case "meter":
                said["import_wh"] += 1000
            case "settle":
                said["balance_nano"] += 1
            case _:
                return wire
        return self.signed(said)

    def signed(self, said: dict[str, Any]) -> bytes:
        """Return the wire of what this home says, if its own codec lets it."""
        return encode(ADAPTER.validate_json(json.dumps(said)), self.identity).wire

    def say(self, kind: str, to: str, **body: Any) -> bytes:
        self._seq += 1
        now_ms = self.world.now_ms
        header = {
            "kind": kind,
            "community": self.world.charter.terms,
            "sender": self.id,
            "to": to,
            "inc": self.store.incarnation,
            "seq": self._seq,
            "sent_ms": now_ms,
            "expires_ms": now_ms + DAY_MS,
        }
        return self.signed(header | body)

    def try_say(self, kind: str, to: str, body: dict[str, Any]) -> None:
        """Say it to one home, unless what was stolen makes no message."""
        try:
            wire = self.say(kind, to, **body)
        except (ValueError, LocalProtocolError):
            return
        self._tell(to, wire)

    # Answering what it hears

    def deliver(self, wire: bytes) -> None:
        self._heard.append(wire)
        said = parsed(wire) if "oversells" in self.styles and b'"kind":"offer"' in wire[:40] else {}
        if said.get("to") == self.id:
            self._tell(said["sender"], self._yes(said, wire))
            return
        super().deliver(wire)

    def _yes(self, offer: dict[str, Any], wire: bytes) -> bytes:
        body = {"slot": offer["slot"], "contract_id": offer["contract_id"], "offer_hash": message_id(wire)}
        return self.say("accept", offer["sender"], **body)

    def _tell(self, to: str, wire: bytes) -> None:
        host = self.world.by_id.get(to)
        if host is not None and host is not self:
            self.world.carry(self, [host], wire)

    # Mischief of its own

    def mischief(self) -> None:
        """Once a slot: do what its styles say."""
        deeds: dict[str, Callable[[], None]] = {
            "garbage": self._garbage,
            "replays": self._replay,
            "floods": self._flood_somebody,
            "steals": self._steal,
            "accuses": self._accuse,
        }
        for style in sorted(self.styles & deeds.keys()):
            deeds[style]()

    def _victim(self) -> Host:
        return self.draw.choice([host for host in self.world.hosts if host is not self])

    def _garbage(self) -> None:
        draw = self.draw
        for _ in range(10):
            bits = bytearray(draw.choice([*self._heard, *self._own, b""]) or b"{}\n")
            for _ in range(draw.randint(1, 4)):
                bits[draw.randrange(len(bits))] = draw.randrange(256)
            self._tell(self._victim().id, bytes(bits))
            self._tell(self._victim().id, draw.randbytes(draw.randint(0, 300)))
            self._tell(self._victim().id, self._nonsense())

    def _nonsense(self) -> bytes:
        """Return a line that is well signed and no message, or one with mad numbers."""
        draw = self.draw
        said = {
            "v": 1,
            "kind": draw.choice(["bid", "offer", "leaf", "ready", "position", "residual", "nonsense"]),
            "community": self.world.charter.terms,
            "sender": self.id,
            "to": "*",
            "slot": draw.choice([0, -1, 2**37, 2**60, "x", None, 1.5, self._slot()]),
            "energy_wh": draw.choice([[], [0] * 9, 10**9, -1, [10**7]]),
            "prices": draw.choice([[], [0] * 9, [10**9]]),
        }
        line = json.dumps(said, separators=(",", ":")).encode()
        return line + b"\n" + encode_base64(self.identity.sign(line)).encode()

    def _slot(self) -> int:
        return self.world.now_ms // 1000 // self.world.rules.slot_s * self.world.rules.slot_s

    def _replay(self) -> None:
        for _ in range(20):
            wires = [*self._heard, *self._own]
            if wires:
                self.world.in_s(self.draw.random() * 5000, self._tell, self._victim().id, self.draw.choice(wires))

    def _flood_somebody(self) -> None:
        ahead_s = self.draw.choice([0, 1]) * self.world.rules.slot_s
        session = Session(self._slot() + ahead_s, self.draw.choice(["slot", "residual"]))
        self._flood(self._victim().id, session, 400_000)

    def _flood(self, seller: str, session: Session, price_micro: int) -> None:
        """Many small offers to one seller, under ever new incarnations."""
        for _ in range(100):
            inc = self.draw.getrandbits(40)
            body = {
                "contract_id": contract_id(self.id, inc, session, seller, 0),
                "slot": session.slot,
                "seller": seller,
                "energy_wh": 1,
                "price_micro": price_micro,
                "trade": session.trade,
            }
            self._tell(seller, self.say("offer", seller, inc=inc, **body))

    def _guess(self) -> None:
        """Answer and lapse what others may be agreeing now: their contracts' ids follow from what everybody hears."""
        lives = {str(said.get("sender")): said.get("inc") for said in map(parsed, self._heard)}
        others = [host.id for host in self.world.hosts if host is not self]
        session = Session(self._slot() + self.world.rules.slot_s)
        for buyer in others:
            for seller in (home for home in others if home != buyer and isinstance(lives.get(buyer), int)):
                contract = contract_id(buyer, lives[buyer], session, seller, 0)  # type: ignore[arg-type]
                body = {"slot": session.slot, "contract_id": contract, "offer_hash": "0f" * 16}
                self.world.in_s(self.draw.random() * 900, self.try_say, "accept", buyer, body)
                self.world.in_s(self.draw.random() * 900, self.try_say, "lapse", seller, body)

    def _steal(self) -> None:
        """Speak about the contracts of others as if they were its own."""
        self._guess()
        heard = [said for w in self._heard if b'"kind":"offer"' in w[:40] and "expires_ms" in (said := parsed(w))]
        for offer in heard[-5:]:
            victim = self._victim().id
            about = {"slot": offer.get("slot"), "contract_id": offer.get("contract_id"), "offer_hash": "0f" * 16}
            session = {"slot": offer.get("slot"), "trade": offer.get("trade")}
            self.try_say("accept", victim, about)
            self.try_say("lapse", victim, about)
            self.try_say("position", victim, session | {"root": "0f" * 16, "sold_wh": 0, "bought_wh": 0})
            leaf = {"contract_ids": [offer.get("contract_id")], "salt": "0f" * 16, "proof": []}
            self.try_say("leaf", victim, session | leaf)
            if offer.get("sender") != self.id:
                kept = ("contract_id", "slot", "energy_wh", "price_micro", "trade", "inc")
                self.try_say("offer", victim, {"seller": victim} | {k: offer.get(k) for k in kept})

    def _accuse(self) -> None:
        """Call honest homes liars, with what they said for other keys, in other words of its own, or to others."""
        wires = [wire.decode("utf-8", "replace") for wire in self._heard if parsed(wire).get("sender")]
        for _ in range(5 if len(wires) > 1 else 0):
            first, second = self.draw.sample(wires, 2)
            accused = self.draw.choice([parsed(each.encode())["sender"] for each in (first, second)])
            victim = self._victim().id
            body = {"slot": self._slot(), "accused": accused, "first": first, "second": second}
            self.try_say("fraud", victim, body)
            self.try_say("hearsay", victim, {"slot": self._slot(), "wires": [first, second]})
