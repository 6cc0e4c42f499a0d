"""Which profiles fit what a device showed, and the evidence for each. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.devices.commissioning import DeviceIdentity
from agent.devices.layout import Frame, find_models
from agent.devices.proof import expected, in_words, proves, shown
from agent.devices.schema import IdentifySpec, Profile
from agent.devices.sunspec import ModelAt


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A profile with one answer to each of its questions; `chosen` are those that differ from its first ones."""

    profile: Profile
    chosen: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What one unit showed.

    Attributes:
        chain: Its SunSpec models; empty when it speaks none.
        words: Registers by frame; a frame that was refused is not there.
    """

    says: DeviceIdentity
    chain: Sequence[ModelAt]
    words: Mapping[Frame, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A profile that fits.

    Attributes:
        evidence: One line for each proof that holds.
        texts: Proofs by a name that the device says.
        numbers: Proofs by a number other than 0, SunSpec's models included: a device may show 0 everywhere.
    """

    candidate: Candidate
    evidence: tuple[str, ...]
    texts: int
    numbers: int


def proof_frames(candidates: Iterable[Candidate]) -> list[Frame]:
    """Return the registers that the proofs of all these profiles need, each once."""
    return sorted({_frame(proof) for each in candidates for proof in each.profile.identify if proof.model is None})


def match(candidate: Candidate, traces: Traces) -> Match | None:
    """Return how a profile fits, or None when one of its proofs fails."""
    profile = candidate.profile
    evidence: list[str] = []
    texts = numbers = 0
    if profile.sunspec is not None:
        models = find_models(profile, traces.chain)
        if any(handle not in models and not spec.optional for handle, spec in profile.sunspec.models.items()):
            return None
        ids = sorted({model.model_id for handle, model in models.items() if handle != "common"})
        evidence.append(f"SunSpec model{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids))}")
        numbers += len(ids)
    for proof in profile.identify:
        value = _value(proof, traces)
        if not proves(proof, value):
            return None
        evidence.append(_evidence(proof, value))
        texts += isinstance(value, str)
        numbers += isinstance(value, int | float) and value != 0
    return Match(candidate=candidate, evidence=tuple(evidence), texts=texts, numbers=numbers)


def _frame(proof: IdentifySpec) -> Frame:
    assert proof.fc is not None
    assert proof.addr is not None
    return Frame(proof.fc, proof.addr, proof.size)


def _value(proof: IdentifySpec, traces: Traces) -> str | float | None:
    if proof.model is not None:
        return {"Mn": traces.says.manufacturer, "Md": traces.says.model}.get(proof.point or "")
    words = traces.words.get(_frame(proof))
    return None if words is None else shown(proof, words)


def _evidence(proof: IdentifySpec, value: str | float | None) -> str:
    if proof.model is not None:
        return f"it says it is made by {in_words(value)}"
    where = f"register {proof.addr} (function {proof.fc}) reads {in_words(value)}"
    return where if proof.starts_with is not None else f"{where}, expected {expected(proof)}"
