"""A member that floods a neighbour: rightly signed messages and garbage on its own broker, at a steady rate.

    python tests/flood/flooder.py --home FOLDER/homes/home-4 --to ID --rate 1000 --seconds 60

Prints one line of JSON: how many messages went out, by kind, and in how many seconds.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from agent.config import HomeConfig, load_config
from coordinator.charter import Charter
from coordinator.charter_file import load_history
from coordinator.clock import unix_ms
from coordinator.codec import MAX_BYTES, encode
from coordinator.identity import Identity
from coordinator.messages import Bid, Deviation, Offer, Presence
from coordinator.mqtt_topics import direct_topic
from coordinator.slots import Slot

BATCH_S = 0.02
KINDS = ("presence", "bid", "deviation", "offer", "wrong signature", "garbage", "forged", "broken", "too large")


class Flood:
    """Makes messages, each another one.

    Args:
        to: Whom they are for.
    """

    def __init__(self, config: HomeConfig, charter: Charter, to: str) -> None:
        self._identity = Identity.load(config.community.key_file)
        self._charter = charter
        self._to = to
        assert config.clock is not None
        self._clock = config.clock.clock()
        self._chance = random.Random(1)
        self._seq = unix_ms(self._clock.now())

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """Return (kind, payload) for ever, the kinds in turn."""
        signed = {
            "presence": lambda slot: (Presence, {}),
            "bid": lambda slot: (Bid, {"slot": slot, "round": 1, "price_hash": "0f" * 16, "energy_wh": self._vector()}),
            "deviation": lambda slot: (
                Deviation,
                {"slot": slot - 900, "power_w": self._chance.randint(-9999, 9999), "give_w": 9, "take_w": 9},
            ),
            "offer": lambda slot: (
                Offer,
                {
                    "contract_id": f"{self._chance.getrandbits(128):032x}",
                    "slot": slot,
                    "seller": self._to,
                    "energy_wh": 1,
                    "price_micro": 180_000,
                },
            ),
        }
        while True:
            for kind in KINDS:
                if kind in signed:
                    yield kind, self._signed(*signed[kind](self._slot()))
                else:
                    yield kind, self._unsigned(kind)

    def _slot(self) -> int:
        return Slot.at(self._clock.now(), self._charter.rules.slot_s).shifted(1).key

    def _vector(self) -> tuple[int, ...]:
        return tuple(self._chance.randint(-999, 999) for _ in range(self._charter.rules.horizon_slots))

    def _signed(self, kind: Any, body: dict[str, Any]) -> bytes:
        self._seq += 1
        now_ms = unix_ms(self._clock.now())
        header = {
            "community": self._charter.terms,
            "sender": self._identity.id,
            "to": self._to,
            "inc": 1,
            "seq": self._seq,
            "sent_ms": now_ms,
            "expires_ms": now_ms + 3_600_000,
        }
        return encode(kind.model_validate({**header, **body}), self._identity).wire

    def _unsigned(self, kind: str) -> bytes:
        true = self._signed(Presence, {})
        match kind:
            case "wrong signature":
                return true[:-8] + b"AAAAAA=="
            case "forged":
                other = self._chance.choice([home for home in self._charter.by_id if home != self._identity.id])
                return true.replace(self._identity.id.encode(), other.encode())
            case "broken":
                return true[: self._chance.randrange(len(true))]
            case "too large":
                return true + b"=" * MAX_BYTES
            case _:
                return self._chance.randbytes(200)


def flood(folder: Path, to: str, rate: float, seconds: float) -> dict[str, Any]:
    """Publish at the rate until the time is over; return the figures."""
    config = load_config(folder / "home.toml")
    charter = load_history(config.community.charter).charter
    messages = Flood(config, charter, to).messages()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(config.mqtt.own.username, config.mqtt.own.secret())
    host, _, port = config.mqtt.own.url.rpartition("/")[2].rpartition(":")
    client.connect(host, int(port))
    client.loop_start()
    topic = direct_topic(charter.community_id, Identity.load(config.community.key_file).id, to)
    sent: Counter[str] = Counter()
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < seconds:
        while sent.total() < rate * passed_s:
            kind, payload = next(messages)
            client.publish(topic, payload, qos=0)
            sent[kind] += 1
        time.sleep(BATCH_S)
    client.disconnect()
    client.loop_stop()
    return {"sent": sent.total(), "seconds": round(passed_s, 1), "by_kind": dict(sent)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    print(json.dumps(flood(options.home, options.to, options.rate, options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
