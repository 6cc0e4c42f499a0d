"""`make fuzz-envelopes`: made-up and broken messages into the verifier, with nothing but its promised error coming out.

    python tests/benchmarks/fuzz_envelopes.py [CASES] [--seed N] [--json]

Messages of every kind are drawn from the models themselves, signed by a member, then broken: bytes flipped, cut, moved
and put in; values replaced by what other JSON readers take (floats, huge numbers, a name twice, deep nests, lone
surrogates). More than half are signed again after that, so that they get past the signature to the parser. What is
accepted must be exactly what its encoding says.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "unit" / "coordinator"))

from neighbourhood import START
from rich.console import Console
from rich.progress import track
from sealed import Street

from coordinator.clock import unix_ms
from coordinator.codec import Verifier
from coordinator.errors import RemoteProtocolError
from coordinator.identity import encode_base64
from coordinator.messages import ADAPTER

STREET = Street(3)
ME = STREET.ids[1]
SCHEMA = ADAPTER.json_schema()
KINDS: dict[str, Any] = {
    kind: SCHEMA["$defs"][ref.rsplit("/", 1)[1]] for kind, ref in SCHEMA["discriminator"]["mapping"].items()
}
REDRAW = 0.2
"""Drawing costs more than breaking: a message is broken in several ways before another takes its place."""
HEX, HOME, WORDS = "0123456789abcdef", "abcdefghijklmnopqrstuvwxyz234567", "abcdefghijklmnopqrstuvwxyz "
HOSTILE = (
    *("null", "true", "-0", "1e2", "1.0", "1e999", "NaN", "-Infinity", "9" * 400, str(2**63), str(-(2**64)), '"1"'),
    *('"\\ud800"', '"\\u0000"', '"' + "a" * 9000 + '"', "[" * 3000 + "]" * 3000, "{}", '{"a":' * 500 + "1" + "}" * 500),
    *("[]", "[[]]", "[1,", '"', "", " 1", "1 ", "1,1", "01", "+1", "0x10", "1_000", "'1'", "\ufeff1", "١"),
)
TOKENS = (b'"', b"{", b"}", b"[", b"]", b"\n", b",", b":", b"\\", b"\x00", b"\xff", b"-", b"9" * 30, b"\\ud800", b"")


@dataclass
class Count:
    """What became of the messages. `unexpected` must stay empty."""

    cases: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Cases per second of this process, drawing, breaking and signing included."""
        return self.cases / self.cpu_s if self.cpu_s else 0.0

    def plain(self) -> dict[str, Any]:
        return vars(self) | {"cases_per_cpu_s": round(self.per_s)}

    def words(self) -> str:
        lines = [f"{self.cases:>11,} messages, {self.per_s:,.0f} per second of CPU"]
        lines.append(f"{self.accepted:>11,} accepted, each exactly what its encoding says")
        lines += [f"{count:>11,} refused: {reason}" for reason, count in self.refused.most_common()]
        lines.append(f"{self.unexpected.total():>11,} unexpected {dict(self.unexpected) or ''}")
        return "\n".join(lines)


class Mill:
    """Draws messages, breaks them, and shows them to one member's verifier."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._verifier: Verifier = STREET.verifier(ME)
        self._kinds = sorted(KINDS)
        self._drawn = [self._draw() for _ in range(10 * len(KINDS))]

    def once(self, count: Count) -> None:
        wire = self._wire()
        now = START + timedelta(seconds=self._dice.choice((0, 0, 0, 0, -7200, 7200)))
        count.cases += 1
        try:
            message = self._verifier.verify(wire, now).message
        except RemoteProtocolError as error:
            count.refused[_without_numbers(error.reason)] += 1
        except Exception as error:  # the very thing this looks for
            count.unexpected[f"{type(error).__name__}: {error} ({wire[:200]!r})"] += 1
        else:
            count.accepted += 1
            if message.model_dump_json().encode() != wire.partition(b"\n")[0]:
                count.unexpected[f"accepted what it does not say ({wire[:200]!r})"] += 1

    def _wire(self) -> bytes:
        dice = self._dice
        if dice.random() < REDRAW:
            self._drawn[dice.randrange(len(self._drawn))] = self._draw()
        sender, line = dice.choice(self._drawn)
        match dice.randrange(10):
            case 0 | 1:
                return self._signed(sender, line)
            case 2 | 3 | 4:
                return self._signed(sender, self._broken(line))
            case 5 | 6 | 7:
                return self._signed(sender, self._replaced(line))
            case 8:
                return self._broken(self._signed(sender, line))
            case _:
                return line[: dice.randrange(200)] + dice.randbytes(dice.randrange(300))

    def _draw(self) -> tuple[str, bytes]:
        """Return a sender and a line that is right in every way, or nearly: the recipient and times are drawn, too."""
        dice, sender = self._dice, self._dice.choice(STREET.ids)
        schema = KINDS[dice.choice(self._kinds)]
        plain = {name: self._value(each) for name, each in schema["properties"].items()}
        sent_ms = unix_ms(START) + dice.randrange(-3_600_000, 200_000)
        plain |= {"sender": sender, "sent_ms": sent_ms, "expires_ms": sent_ms + dice.randrange(3_600_000)}
        plain["community"] = STREET.charter.community_id if dice.random() < 0.98 else plain["community"]
        plain["to"] = dice.choice((ME, ME, "*", plain["to"]))
        return sender, json.dumps(plain, separators=(",", ":")).encode()

    def _value(self, schema: dict[str, Any]) -> Any:
        dice = self._dice
        match schema:
            case {"const": constant}:
                return constant
            case {"enum": choices}:
                return dice.choice(choices)
            case {"anyOf": either}:
                return self._value(dice.choice(either))
            case {"type": "integer", "minimum": low, "maximum": high}:
                return dice.choice((low, high, dice.randint(low, high), dice.randint(max(low, -9), min(high, 9))))
            case {"type": "array", "items": items}:
                least, most = schema.get("minItems", 0), min(schema["maxItems"], 24)
                return [self._value(items) for _ in range(dice.randint(least, most))]
            case {"type": "string", "pattern": pattern}:
                return self._text(pattern)
            case {"type": "string", "maxLength": most}:
                return "".join(dice.choices(WORDS + HEX, k=dice.randrange(min(most, 200))))
        raise ValueError(f"draws nothing for {schema}")

    def _text(self, pattern: str) -> str:
        dice = self._dice
        match pattern:
            case "^[a-z2-7]{16}$":
                return "".join(dice.choices(HOME, k=16))
            case "^[0-9a-f]{16}$":
                return "".join(dice.choices(HEX, k=16))
            case "^[0-9a-f]{32}$":
                return "".join(dice.choices(HEX, k=32))
            case "^[lr][0-9a-f]{32}$":
                return dice.choice("lr") + "".join(dice.choices(HEX, k=32))
            case "^[a-z ]{1,32}$":
                return "".join(dice.choices(WORDS, k=dice.randint(1, 32)))
        raise ValueError(f"draws nothing for the pattern {pattern}")

    def _signed(self, sender: str, line: bytes) -> bytes:
        line = line.replace(b"\n", b" ")
        return line + b"\n" + encode_base64(STREET.identity(sender).sign(line)).encode()

    def _broken(self, line: bytes) -> bytes:
        dice, found = self._dice, bytearray(line)
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(found) + 1)
            found[at : at + dice.randrange(8)] = dice.choice((*TOKENS, dice.randbytes(dice.randrange(6))))
        return bytes(found)

    def _replaced(self, line: bytes) -> bytes:
        """Put a hostile value in place of one, a name twice, or names in another order."""
        dice, plain = self._dice, json.loads(line)
        names = list(plain)
        victim = dice.choice(names[5:])
        parts = [f'"{name}":{json.dumps(plain[name], separators=(",", ":"))}' for name in names]
        how = dice.randrange(4)
        if how == 0:
            parts.insert(dice.randrange(len(parts)), f'"{victim}":{dice.choice(HOSTILE)}')
        elif how == 1:
            parts.append(dice.choice(parts))
        elif how == 2:
            parts[5:] = dice.sample(parts[5:], len(parts) - 5)
        else:
            parts[names.index(victim)] = f'"{victim}":{dice.choice(HOSTILE)}'
        return ("{" + ",".join(parts) + "}").encode("utf-8", "surrogatepass")


def _without_numbers(reason: str) -> str:
    """One line per reason, not per length of a message or kind of it."""
    first, _, rest = reason.partition(" ")
    if first.isdecimal():
        return f"so many {rest}"
    return f"some kind {rest}" if first in KINDS else reason


def fuzz(cases: int, seed: int, *, bar: bool = False) -> Count:
    """Show so many messages to the verifier."""
    count, mill = Count(), Mill(seed)
    started_s = time.process_time()
    for _ in track(range(cases), "messages", console=Console(stderr=True), disable=not bar):
        mill.once(count)
    count.cpu_s = round(time.process_time() - started_s, 2)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count = fuzz(options.cases, options.seed, bar=not options.json)
    print(json.dumps(count.plain(), indent=2) if options.json else count.words())
    sys.exit(bool(count.unexpected))


if __name__ == "__main__":
    main()
