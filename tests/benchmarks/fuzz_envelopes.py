"""`make fuzz-envelopes`: made-up and broken messages into the verifier, with nothing but its promised error coming out.

    python tests/benchmarks/fuzz_envelopes.py [CASES] [--seed N] [--jobs N] [--results FILE] [--json]

Messages of every kind are drawn from the models themselves, signed by a member, then broken: bytes flipped, cut, moved
and put in; values replaced by what other JSON readers take (floats, huge numbers, a name twice, deep nests, lone
surrogates). More than half are signed again after that, so that they get past the signature to the parser. What is
accepted must be exactly what its encoding says.

Each hundred thousand have a seed of their own. Of sixteen such lots one is signed with Ed25519, the others with the
keyed hash of the simulation: what is fuzzed stands before and behind the arithmetic of a signature. With --results a
run that was stopped goes on where it was.
"""

import argparse
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("unit/coordinator", "simulation")]

from neighbourhood import START
from rich.console import Console
from rich.progress import track
from sealed import Street
from sim_keys import CheapIdentity, keys
from sim_results import in_parallel, version_of

from coordinator.clock import unix_ms
from coordinator.codec import Verifier
from coordinator.errors import RemoteProtocolError
from coordinator.identity import Identity, encode_base64
from coordinator.messages import ADAPTER

STREET = Street(3)
ME = STREET.ids[1]
CHEAP = {made.id: made for made in (CheapIdentity.from_seed(seed) for seed in STREET.seeds)}
TRUE = {member.id: member for member in STREET.members}
NOW = (*[START] * 4, START - timedelta(hours=2), START + timedelta(hours=2))
LOT = 100_000
TRUE_LOTS = 16
"""One lot of so many is signed with Ed25519."""
SCHEMA = ADAPTER.json_schema()
KINDS: dict[str, Any] = {
    kind: SCHEMA["$defs"][ref.rsplit("/", 1)[1]] for kind, ref in SCHEMA["discriminator"]["mapping"].items()
}
REDRAW = 0.03
"""Drawing costs more than breaking: a message is broken in many ways before another takes its place."""
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

    def add(self, other: "Count") -> None:
        self.cases += other.cases
        self.accepted += other.accepted
        self.refused.update(other.refused)
        self.unexpected.update(other.unexpected)
        self.cpu_s += other.cpu_s

    def words(self) -> str:
        lines = [f"{self.cases:>11,} messages, {self.per_s:,.0f} per second of CPU"]
        lines.append(f"{self.accepted:>11,} accepted, each exactly what its encoding says")
        lines += [f"{count:>11,} refused: {reason}" for reason, count in self.refused.most_common()]
        lines.append(f"{self.unexpected.total():>11,} unexpected {dict(self.unexpected) or ''}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A message that is right in every way, or nearly: its sender, its line, and the line's `"name":value`s."""

    sender: str
    line: bytes
    parts: list[str]


class Mill:
    """Draws messages, breaks them, and shows them to one member's verifier."""

    def __init__(self, seed: int, identities: Mapping[str, Identity]) -> None:
        self._dice = random.Random(seed)
        self._identities = identities
        self._verifier: Verifier = STREET.verifier(ME)
        self._kinds = sorted(KINDS)
        self._drawn = [self._draw() for _ in range(10 * len(KINDS))]

    def once(self, count: Count) -> None:
        wire = self._wire()
        count.cases += 1
        try:
            message = self._verifier.verify(wire, self._dice.choice(NOW)).message
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
        drawn = dice.choice(self._drawn)
        match int(dice.random() * 10):
            case 0 | 1:
                return self._signed(drawn.sender, drawn.line)
            case 2 | 3 | 4:
                return self._signed(drawn.sender, self._broken(drawn.line))
            case 5 | 6 | 7:
                return self._signed(drawn.sender, self._replaced(drawn.parts))
            case 8:
                return self._broken(self._signed(drawn.sender, drawn.line))
            case _:
                return drawn.line[: dice.randrange(200)] + dice.randbytes(dice.randrange(300))

    def _draw(self) -> Drawn:
        """Return a message with drawn values; the recipient and times are drawn, too."""
        dice, sender = self._dice, self._dice.choice(STREET.ids)
        schema = KINDS[dice.choice(self._kinds)]
        plain = {name: self._value(each) for name, each in schema["properties"].items()}
        sent_ms = unix_ms(START) + dice.randrange(-3_600_000, 200_000)
        plain |= {"sender": sender, "sent_ms": sent_ms, "expires_ms": sent_ms + dice.randrange(3_600_000)}
        plain["community"] = STREET.charter.community_id if dice.random() < 0.98 else plain["community"]
        plain["to"] = dice.choice((ME, ME, "*", plain["to"]))
        parts = [f'"{name}":{json.dumps(value, separators=(",", ":"))}' for name, value in plain.items()]
        return Drawn(sender, ("{" + ",".join(parts) + "}").encode(), parts)

    def _value(self, schema: dict[str, Any]) -> Any:
        dice = self._dice
        match schema:
            case {"const": constant}:
                return constant
            case {"enum": choices}:
                return dice.choice(choices)
            case {"$ref": ref}:
                parts = SCHEMA["$defs"][ref.rsplit("/", 1)[1]]["properties"]
                return {name: self._value(each) for name, each in parts.items()}
            case {"anyOf": either}:
                return self._value(dice.choice(either))
            case {"type": "boolean"}:
                return dice.random() < 0.5
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
            case "^([0-9a-f]{4}|----){1,40}$":
                heard = ("".join(dice.choices(HEX, k=4)) if dice.random() < 0.8 else "----" for _ in range(40))
                return "".join(list(heard)[: dice.randint(1, 40)])
            case "^[A-Za-z0-9+/]+={0,2}$":
                return encode_base64(dice.randbytes(4 * dice.randint(1, 24)))
        raise ValueError(f"draws nothing for the pattern {pattern}")

    def _signed(self, sender: str, line: bytes) -> bytes:
        line = line.replace(b"\n", b" ")
        return line + b"\n" + encode_base64(self._identities[sender].sign(line)).encode()

    def _broken(self, line: bytes) -> bytes:
        dice, found = self._dice, bytearray(line)
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(found) + 1)
            found[at : at + dice.randrange(8)] = dice.choice((*TOKENS, dice.randbytes(dice.randrange(6))))
        return bytes(found)

    def _replaced(self, drawn: list[str]) -> bytes:
        """Put a hostile value in place of one, a name twice, or names in another order."""
        dice, parts = self._dice, drawn.copy()
        at = dice.randrange(5, len(parts))
        hostile = f"{parts[at].partition(':')[0]}:{dice.choice(HOSTILE)}"
        how = int(dice.random() * 4)
        if how == 0:
            parts.insert(dice.randrange(len(parts)), hostile)
        elif how == 1:
            parts.append(dice.choice(parts))
        elif how == 2:
            parts[5:] = dice.sample(parts[5:], len(parts) - 5)
        else:
            parts[at] = hostile
        return ("{" + ",".join(parts) + "}").encode("utf-8", "surrogatepass")


def _without_numbers(reason: str) -> str:
    """One line per reason, not per length of a message or kind of it."""
    first, _, rest = reason.partition(" ")
    if first.isdecimal():
        return f"so many {rest}"
    return f"some kind {rest}" if first in KINDS else reason


def fuzz(cases: int, seed: int, *, real: bool = False) -> Count:
    """Show so many messages to the verifier.

    Args:
        real: Sign with Ed25519.
    """
    count = Count()
    started_s = time.process_time()
    with keys(real=real):
        mill = Mill(seed, TRUE if real else CHEAP)
        for _ in range(cases):
            mill.once(count)
    count.cpu_s = round(time.process_time() - started_s, 2)
    return count


def fuzz_lot(cases: int, seed: int) -> tuple[int, Count]:
    return seed, fuzz(cases, seed, real=seed % TRUE_LOTS == 0)


def fuzz_lots(options: argparse.Namespace) -> Count:
    """Fuzz the lots that the results do not hold yet, and return what all of them came to."""
    version = version_of([Path(__file__)])
    lot = min(LOT, options.cases)
    seeds = range(options.seed, options.seed + options.cases // lot)
    done: dict[int, Count] = {}
    if options.results is not None and options.results.exists():
        rows = map(json.loads, filter(None, options.results.read_text(encoding="utf-8").splitlines()))
        done = {row["seed"]: Count(**row["count"]) for row in rows if (row["code"], row["lot"]) == (version, lot)}
    left = [seed for seed in seeds if seed not in done]
    counts = in_parallel(partial(fuzz_lot, lot), left, options.jobs)
    for seed, count in track(counts, "lots", len(left), console=Console(stderr=True), disable=options.json):
        done[seed] = count
        if options.results is not None:
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"code": version, "lot": lot, "seed": seed, "count": vars(count)}) + "\n")
    total = Count()
    for seed in seeds:
        total.add(done[seed])
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first lot")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--results", type=Path, help="file that keeps each lot's outcome, to go on with")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count = fuzz_lots(options)
    print(json.dumps(count.plain(), indent=2) if options.json else count.words())
    sys.exit(bool(count.unexpected))


if __name__ == "__main__":
    main()
