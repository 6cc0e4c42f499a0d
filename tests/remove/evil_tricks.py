"""What somebody who holds a wire or a broker, or a member that lies, makes of the messages that go through."""

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

from evil_wire import Heard, Trick

from coordinator.codec import encode, heading
from coordinator.errors import LocalProtocolError
from coordinator.identity import Identity
from coordinator.messages import ADAPTER, Accept, Bid, Deviation, Message, Offer, Position, Ready, Residual

Said = Iterator[tuple[float, str, bytes]]
KEPT = 300
"""Messages that a replaying carrier keeps."""


def delays(chance: random.Random, longest_s: float) -> Trick:
    """Hold back half of the messages: they come late and overtake each other."""

    def trick(heard: Heard) -> Said:
        yield (chance.uniform(0, longest_s) if chance.random() < 0.5 else 0.0), heard.topic, heard.payload

    return trick


def drops(chance: random.Random, share: float) -> Trick:
    """Lose a share of the messages."""

    def trick(heard: Heard) -> Said:
        if chance.random() >= share:
            yield 0.0, heard.topic, heard.payload

    return trick


def loses(chance: random.Random, share: float) -> Trick:
    """Lose, repeat and hold back, each for a share of the messages."""

    def trick(heard: Heard) -> Said:
        copies = 0 if chance.random() < share else 2 if chance.random() < share else 1
        for _ in range(copies):
            yield (chance.uniform(0, 1) if chance.random() < share else 0.0), heard.topic, heard.payload

    return trick


def replays(chance: random.Random) -> Trick:
    """Say every message again at some later time, to anybody who reads there."""
    kept: deque[Heard] = deque(maxlen=KEPT)

    def trick(heard: Heard) -> Said:
        yield 0.0, heard.topic, heard.payload
        kept.append(heard)
        for _ in range(3):
            old = chance.choice(kept)
            yield chance.uniform(0, 2), chance.choice([old.topic, heard.topic]), old.payload

    return trick


def forges(chance: random.Random, members: list[str]) -> Trick:
    """Change bits, and speak in the name of others without their keys, on their topics and on the own one."""

    def trick(heard: Heard) -> Said:
        yield 0.0, heard.topic, heard.payload
        bent = bytearray(heard.payload)
        bent[chance.randrange(len(bent))] ^= 1 << chance.randrange(8)
        yield 0.0, heard.topic, bytes(bent)
        _, mine, _ = heading(heard.payload) or ("", "", "")
        for other in members:
            forged = heard.payload.replace(mine.encode(), other.encode())
            yield 0.0, heard.topic, forged
            yield 0.0, heard.topic.replace(mine, other), forged

    return trick


def shows_each_another(chance: random.Random) -> Trick:
    """Let each message through to some of its readers only, never the same ones."""

    def trick(heard: Heard) -> Said:
        if random.Random(f"{heard.payload!r}{heard.reader}").random() < 0.5:
            yield 0.0, heard.topic, heard.payload

    return trick


def lies(chance: random.Random, identity: Identity) -> Trick:
    """Speak as a member that lies: other numbers to each reader, all of them rightly signed."""

    def trick(heard: Heard) -> Said:
        line = heard.payload.partition(b"\n")[0]
        message = ADAPTER.validate_json(line)
        try:
            said = encode(message.model_copy(update=_another(message, chance)), identity).wire
        except LocalProtocolError:
            said = heard.payload
        yield 0.0, heard.topic, said
        if chance.random() < 0.3:
            yield chance.uniform(0, 1), heard.topic, heard.payload  # and the truth as well: two contents for one key

    return trick


def exaggerates(chance: random.Random, identity: Identity) -> Trick:
    """Lie about the own exchange with the grid only, as much as a message can."""

    def trick(heard: Heard) -> Said:
        message = ADAPTER.validate_json(heard.payload.partition(b"\n")[0])
        if isinstance(message, Deviation):
            yield 0.0, heard.topic, encode(message.model_copy(update=_another(message, chance)), identity).wire
        else:
            yield 0.0, heard.topic, heard.payload

    return trick


def _another(message: Message, chance: random.Random) -> dict[str, Any]:
    """Return fields with other values than the truth."""
    match message:
        case Ready():
            return {"prices": tuple(chance.randint(-500_000, 900_000) for _ in message.prices)}
        case Bid():
            return {"energy_wh": tuple(chance.randint(-2500, 2500) for _ in message.energy_wh)}
        case Offer():
            return {"energy_wh": 5 * message.energy_wh}
        case Accept():
            return {"offer_hash": "0f" * 16}
        case Position():
            return {"root": "f0" * 16, "bought_wh": 0, "sold_wh": message.bought_wh}
        case Residual():
            return {"energy_wh": 4 * message.energy_wh}
        case Deviation():
            return {"power_w": chance.choice([-1, 1]) * 10**7, "give_w": 10**7, "take_w": 10**7}
        case _:
            return {}
