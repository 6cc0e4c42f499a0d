"""Whether registers show the device that a profile describes, and what they show, in words. Pure."""

from collections.abc import Sequence

from agent.devices.registers import decode, decode_text
from agent.devices.schema import IdentifySpec


def shown(proof: IdentifySpec, words: Sequence[int]) -> str | float | None:
    """Return what the registers of a proof say; None for a number that stands for "absent"."""
    if proof.starts_with is not None:
        return decode_text(words)
    assert proof.type is not None
    return decode(words, proof.type, order=proof.words, absent=())


def proves(proof: IdentifySpec, value: str | float | None) -> bool:
    """Return whether that is what the profile's device shows there."""
    if value is None:
        return False
    if proof.starts_with is not None:
        return str(value).startswith(proof.starts_with)
    if proof.one_of is not None:
        return value in proof.one_of
    low, high = proof.within or (0.0, 0.0)
    return low <= float(value) <= high


def expected(proof: IdentifySpec) -> str:
    """Say what the profile's device shows there."""
    if proof.starts_with is not None:
        return repr(proof.starts_with)
    if proof.one_of is not None:
        return " or ".join(map(str, proof.one_of))
    low, high = proof.within or (0.0, 0.0)
    return f"{low:g} to {high:g}"


def in_words(value: str | float | None) -> str:
    """Say what a register showed."""
    if value is None:
        return "nothing"
    return repr(value) if isinstance(value, str) else f"{value:g}"
