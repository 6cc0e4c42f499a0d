"""What can be wrong with a simulated device: plain settings, all off. `faults.py` names the useful combinations."""

from dataclasses import dataclass, field
from typing import Literal

Silence = Literal["never", "always", "first"]
Writes = Literal["obey", "ack_only", "refuse", "undo", "first_word"]
Counter = Literal["drop", "reset", "negative", "jump", "coarse"]
Length = Literal["right", "short", "long", "odd", "undecodable", "echo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineKnobs:
    """Faults between a device's registers and the client: timing, connections, bytes.

    Attributes:
        delay_s: Answers come so much later; the device answers nothing else meanwhile.
        late_every: Only each n-th answer is delayed.
        silent: Requests that are never answered; `first` are the first ones of each connection.
        silent_first: How many of those.
        ready_after_s: A connection's requests are ignored for so long.
        min_gap_s: Requests that come sooner after the last answer are spoiled.
        clients: Connections at a time; None is any number.
        newest_wins: A client too many ends the others instead of being refused.
        busy_after_close_s: Nobody is let in for so long after a connection ended.
        idle_close_s: A connection without requests is closed after so long.
        hang_up: Close after an answer, in the middle of one, or before it.
        hang_up_every: Each n-th request.
        half_open: The connection stays and nothing comes any more.
        before: Bytes of noise before each answer.
        crc_wrong_every: Each n-th answer has a wrong checksum (serial lines only).
        echo: The request comes back before the answer (serial lines only).
        refuse: Exception code by address range (first, last) of reads.
        refuse_all: Exception code for every request, for the first `refuse_count` ones of each ten.
        answers_as: The unit in the answers instead of the one that was asked.
        transaction: `zero`, or `wrong`.
        copies: How often each answer is sent.
        one_by_one: Every byte in a packet of its own.
        length: What is wrong with the length of the answers.
    """

    delay_s: float = 0.0
    late_every: int = 1
    silent: Silence = "never"
    silent_first: int = 1
    ready_after_s: float = 0.0
    min_gap_s: float = 0.0
    clients: int | None = None
    newest_wins: bool = False
    busy_after_close_s: float = 0.0
    idle_close_s: float | None = None
    hang_up: Literal["never", "before", "after", "middle"] = "never"
    hang_up_every: int = 10
    half_open: bool = False
    before: bytes = b""
    crc_wrong_every: int = 0
    echo: bool = False
    refuse: tuple[tuple[int, int, int], ...] = ()
    refuse_all: int | None = None
    refuse_count: int = 10
    answers_as: int | None = None
    transaction: Literal["right", "zero", "wrong"] = "right"
    copies: int = 1
    one_by_one: bool = False
    length: Length = "right"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKnobs:
    """Faults of the device itself: what its registers say, and what it makes of writes.

    Attributes:
        absent: Points that show the sentinel of their type.
        shows: Raw value by point, shown in each `every`-th read.
        times: Raw values of these points are multiplied.
        negated: Points whose raw sign is turned round.
        swap_words: Values of several registers have their words in the opposite order.
        torn: Points whose low word is of the moment before.
        scale_apart: Scale factor registers show another power in every second read.
        frozen: All registers stay as they are.
        counters: What energy counters do.
        counter_reads: For how many reads a counter stays low after `drop`.
        missing: Points whose registers are refused.
        identity_gone: What identifies the device shows zeros: another device at its address.
        writes: What becomes of a write that is acknowledged.
        undo_after_s: When `undo` takes it back.
        setpoint_factor: A setpoint is understood as so many times its value.
        timer_factor: The reversion timer runs so many times its time; 0 is never.
        leaves_after_s: The device leaves remote control by itself so long after a write.
        lag_s: Time constant of the battery's power.
    """

    absent: tuple[str, ...] = ()
    shows: tuple[tuple[str, float], ...] = ()
    every: int = 1
    times: tuple[tuple[str, float], ...] = ()
    negated: tuple[str, ...] = ()
    swap_words: bool = False
    torn: tuple[str, ...] = ()
    scale_apart: bool = False
    frozen: bool = False
    counters: Counter | None = None
    counter_reads: int = 2
    missing: tuple[str, ...] = ()
    identity_gone: bool = False
    writes: Writes = "obey"
    undo_after_s: float = 1.0
    setpoint_factor: float = 1.0
    timer_factor: float = 1.0
    leaves_after_s: float | None = None
    lag_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault with a name: `F09` of the catalogue, `late_answer`, and what it is in words."""

    id: str
    name: str
    words: str
    line: LineKnobs = field(default_factory=LineKnobs)
    device: DeviceKnobs = field(default_factory=DeviceKnobs)
    rtu_only: bool = False
