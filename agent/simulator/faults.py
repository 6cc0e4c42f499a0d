"""The catalogue of faults that occur in the field, each of which a simulated device can be given by name."""

from agent.simulator.frames import checksum
from agent.simulator.knobs import DeviceKnobs, Fault, LineKnobs
from coordinator.errors import ConfigError

_STRINGS = ("pv_w", "pv1_w", "pv2_w")
_POWERS = ("grid_w", "pv_w", "battery_w", "ac_w")
_OTHERS = tuple(bytes.fromhex(frame) for frame in ("090300000002", "09030400010002"))
"""Another master asks unit 9 for two registers, and unit 9 answers."""


def _line(number: int, name: str, words: str, knobs: LineKnobs, *, rtu_only: bool = False) -> Fault:
    return Fault(id=f"F{number:02}", name=name, words=words, line=knobs, rtu_only=rtu_only)


def _device(number: int, name: str, words: str, knobs: DeviceKnobs) -> Fault:
    return Fault(id=f"F{number:02}", name=name, words=words, device=knobs)


CATALOGUE: tuple[Fault, ...] = (
    _line(1, "silent", "no answer at all", LineKnobs(silent="always")),
    _line(1, "slow_answer", "each answer takes 3 s", LineKnobs(delay_s=3.0)),
    _line(2, "one_client", "a second connection is refused", LineKnobs(clients=1)),
    _line(2, "newest_client", "a second connection ends the first", LineKnobs(clients=1, newest_wins=True)),
    _line(3, "port_in_use", "nobody is let in for 2 s after a connection ended", LineKnobs(busy_after_close_s=2.0)),
    _line(3, "idle_close", "a connection is closed after 1 s without a request", LineKnobs(idle_close_s=1.0)),
    _line(4, "first_request_lost", "the first request of a connection is ignored", LineKnobs(silent="first")),
    _line(4, "slow_start", "nothing is answered for 1 s after connecting", LineKnobs(ready_after_s=1.0)),
    _line(5, "impatient", "a request within 50 ms of the last answer is spoiled", LineKnobs(min_gap_s=0.05)),
    _line(6, "half_open", "the connection stays and nothing comes any more", LineKnobs(half_open=True)),
    _line(7, "close_after_answer", "the connection is closed after each tenth answer", LineKnobs(hang_up="after")),
    _line(
        7, "close_mid_frame", "the connection is closed in the middle of each tenth answer", LineKnobs(hang_up="middle")
    ),
    _line(8, "noise", "bytes of noise before each answer", LineKnobs(before=b"\x00\xff\x7e"), rtu_only=True),
    _line(
        8,
        "second_master",
        "another master's request and its answer come before each answer",
        LineKnobs(before=b"".join(frame + checksum(frame) for frame in _OTHERS)),
        rtu_only=True,
    ),
    _line(8, "bad_crc", "each third checksum is wrong", LineKnobs(crc_wrong_every=3), rtu_only=True),
    _line(8, "echo", "the line repeats each request", LineKnobs(echo=True), rtu_only=True),
    _line(9, "late_answer", "each third answer comes 1.5 s late", LineKnobs(delay_s=1.5, late_every=3)),
    _device(
        10,
        "missing_registers",
        "some registers are refused",
        DeviceKnobs(missing=("meter_w", "own_grid_w", "frequency_hz")),
    ),
    _line(11, "busy", "busy (exception 6) to two requests of ten", LineKnobs(refuse_all=6, refuse_count=2)),
    _line(11, "always_busy", "busy (exception 6) to every request", LineKnobs(refuse_all=6)),
    _line(12, "no_path", "the gateway has no path to the unit (exception 10)", LineKnobs(refuse_all=10)),
    _line(12, "unit_away", "the unit behind the gateway is away (exception 11)", LineKnobs(refuse_all=11)),
    _line(13, "exception_zero", "exception 0, which no standard knows", LineKnobs(refuse_all=0)),
    _line(13, "login_needed", "exception 0x80: a login is needed", LineKnobs(refuse_all=0x80)),
    _line(14, "wrong_unit", "answers carry another unit id", LineKnobs(answers_as=42)),
    _device(14, "other_device", "another device took over the address", DeviceKnobs(identity_gone=True)),
    _device(15, "sentinel", "the powers show the value that means absent", DeviceKnobs(absent=_POWERS)),
    _device(16, "torn_value", "32-bit powers have words of two moments", DeviceKnobs(torn=_POWERS, every=2)),
    _device(17, "scale_change", "scale factors change from read to read", DeviceKnobs(scale_apart=True)),
    _line(18, "night", "connections are refused, as many inverters do at night", LineKnobs(clients=0)),
    _device(18, "night_absent", "the sun's power shows absent, as at night", DeviceKnobs(absent=_STRINGS)),
    _device(19, "counter_drop", "counters show 0 for two reads", DeviceKnobs(counters="drop")),
    _device(19, "counter_reset", "counters begin again at 0", DeviceKnobs(counters="reset")),
    _device(19, "counter_negative", "counters are negative", DeviceKnobs(counters="negative")),
    _device(19, "counter_jump", "counters are far too high for one read", DeviceKnobs(counters="jump")),
    _device(19, "counter_coarse", "counters move in steps of 1 kWh", DeviceKnobs(counters="coarse")),
    _device(20, "frozen", "every register stays as it is", DeviceKnobs(frozen=True)),
    _device(
        21, "tenfold", "powers are ten times too large, as after an update", DeviceKnobs(times=(("grid_w", 10.0),))
    ),
    _device(22, "swapped_words", "the words of each value are the other way round", DeviceKnobs(swap_words=True)),
    _device(23, "dongle", "registers that the LAN port has are missing", DeviceKnobs(missing=("battery_w",))),
    _line(24, "short_answer", "answers lack a register", LineKnobs(length="short")),
    _line(24, "long_answer", "answers have a register too many", LineKnobs(length="long")),
    _line(24, "odd_bytes", "answers have an odd number of bytes", LineKnobs(length="odd")),
    _line(24, "undecodable", "answers are of no known function", LineKnobs(length="undecodable")),
    _line(24, "payload_echo", "writes are acknowledged with all they carried", LineKnobs(length="echo")),
    _line(25, "duplicate", "each answer comes twice", LineKnobs(copies=2)),
    _line(25, "transaction_zero", "answers carry transaction 0", LineKnobs(transaction="zero")),
    _line(25, "wrong_transaction", "answers carry another transaction", LineKnobs(transaction="wrong")),
    _line(25, "single_bytes", "each byte comes in a packet of its own", LineKnobs(one_by_one=True)),
    _device(26, "ack_only", "writes are acknowledged, read back, and have no effect", DeviceKnobs(writes="ack_only")),
    _device(27, "undone", "writes are taken back after 1 s", DeviceKnobs(writes="undo")),
    _device(28, "short_timer", "the reversion timer runs out in a sixth of its time", DeviceKnobs(timer_factor=1 / 6)),
    _device(28, "long_timer", "the reversion timer takes a third longer", DeviceKnobs(timer_factor=4 / 3)),
    _device(29, "no_reversion", "a command stays for ever", DeviceKnobs(timer_factor=0.0)),
    _device(30, "leaves_remote", "remote control ends by itself after 1 s", DeviceKnobs(leaves_after_s=1.0)),
    _device(31, "sluggish", "the battery follows with a time constant of 20 s", DeviceKnobs(lag_s=20.0)),
    _device(32, "worn_register", "nothing is wrong: the writes of each register are counted", DeviceKnobs()),
    _device(33, "half_write", "of a value in two words only the first is taken", DeviceKnobs(writes="first_word")),
    _device(34, "opposite_sign", "grid and battery count the other way", DeviceKnobs(negated=("grid_w", "battery_w"))),
    _device(35, "minutes", "the reversion timer counts minutes", DeviceKnobs(timer_factor=60.0)),
    _device(36, "no_limits", "the device charges and discharges whatever its state of charge", DeviceKnobs()),
    _device(37, "spike", "each fourth read the charge is 2500 %", DeviceKnobs(shows=(("soc_pct", 2500.0),), every=4)),
    _device(38, "percent", "setpoints are taken for per cent of a tenth", DeviceKnobs(setpoint_factor=0.01)),
)
FAULTS: dict[str, Fault] = {fault.name: fault for fault in CATALOGUE}


def find_fault(name: str) -> Fault:
    """Return the fault of that name.

    Raises:
        ConfigError: If there is none; the text lists them all.
    """
    if name in FAULTS:
        return FAULTS[name]
    raise ConfigError(f"there is no fault {name!r}; there are\n{listing()}")


def listing() -> str:
    """Return all faults, one a line."""
    return "\n".join(f"  {fault.id} {fault.name}: {fault.words}" for fault in CATALOGUE)
