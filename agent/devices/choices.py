"""What the installer's choices make of a profile's file, before it is checked. Pure.

Four conveniences of the file end here: `parameters` (a choice that changes the map, such as the word order), `when`
(what a choice changes of a point, or `null` to leave it out), `defaults` (keys of all points in blocks; the word order
also of what identifies the device) and `repeat` (the same point for every phase or string).
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from coordinator.errors import ConfigError

Data = dict[str, Any]


class Part(BaseModel):
    """Base of every part of a profile: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class ChoiceSpec(Part):
    """One question to the installer; the first of `values` holds without an answer."""

    ask: str
    values: tuple[str, ...] = Field(min_length=2)


class RepeatSpec(Part):
    """The point again `count` times, each `step` registers on; its name carries `{n}`, counted from 1."""

    count: int = Field(ge=2, le=32)
    step: int = Field(ge=1, le=1000)


def all_choices(data: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield every combination of the file's choices, the one without answers first."""
    questions = _questions(data)
    for values in itertools.product(*(question.values for question in questions.values())):
        yield dict(zip(questions, values, strict=True))


def resolve(data: Mapping[str, Any], chosen: Mapping[str, str]) -> Data:
    """Return the profile's data for these choices; what is wrong elsewhere in the file is left for the schema.

    Args:
        chosen: Value by name of the parameter; the others take their first.

    Raises:
        ConfigError: A choice or an answer that does not exist, or a `when` or `repeat` that cannot be understood.
        ValidationError: A parameter or `repeat` with wrong keys.
    """
    questions = _questions(data)
    for name, value in chosen.items():
        if name not in questions:
            raise ConfigError(f"there is no parameter {name!r}; {_known(questions)}")
        if value not in questions[name].values:
            raise ConfigError(f"parameter {name} cannot be {value!r}; it is one of {', '.join(questions[name].values)}")
    answers = {name: question.values[0] for name, question in questions.items()} | dict(chosen)
    resolved = {key: value for key, value in data.items() if key != "defaults"}
    defaults = _apply("defaults", data.get("defaults", {}), questions, answers)
    points, proofs = data.get("points"), data.get("identify")
    if isinstance(points, dict):
        resolved["points"] = dict(_points(points, defaults, questions, answers))
    if isinstance(proofs, list) and "words" in defaults:
        resolved["identify"] = [_like_points(proof, defaults["words"]) for proof in proofs]
    return resolved


def _like_points(proof: Any, words: object) -> Any:
    """Return a proof that reads a number in the word order of the points."""
    return {"words": words} | proof if isinstance(proof, dict) and "type" in proof else proof


def _questions(data: Mapping[str, Any]) -> dict[str, ChoiceSpec]:
    parameters = data.get("parameters") or {}
    if not isinstance(parameters, dict):
        return {}  # the schema says what is wrong
    return {name: ChoiceSpec.model_validate(value) for name, value in parameters.items()}


def _known(questions: Mapping[str, ChoiceSpec]) -> str:
    return f"there are {', '.join(questions)}" if questions else "this profile has none"


def _points(
    points: Mapping[str, Any], defaults: Data, questions: Mapping[str, ChoiceSpec], answers: Mapping[str, str]
) -> Iterator[tuple[str, Any]]:
    for name, spec in points.items():
        if not isinstance(spec, dict):
            yield name, spec
            continue
        if _left_out(f"points.{name}", spec, questions, answers):
            continue
        own = _apply(f"points.{name}", spec, questions, answers)
        full = defaults | own if "block" in own else own
        repeat = full.pop("repeat", None)
        if repeat is None:
            yield name, full
        else:
            yield from _repeated(name, full, RepeatSpec.model_validate(repeat))


def _repeated(name: str, spec: Data, repeat: RepeatSpec) -> Iterator[tuple[str, Data]]:
    if "{n}" not in name or "addr" not in spec:
        raise ConfigError(f"points.{name}.repeat: needs {{n}} in the point's name, and addr; write {name}_{{n}}")
    for index in range(repeat.count):
        yield name.replace("{n}", str(index + 1)), spec | {"addr": spec["addr"] + index * repeat.step}


def _apply(key: str, spec: Mapping[str, Any], questions: Mapping[str, ChoiceSpec], answers: Mapping[str, str]) -> Data:
    """Return a part with the changes of its `when` that hold: `when: {"battery=hv": {scale: 10}}`."""
    result = {name: value for name, value in spec.items() if name != "when"}
    for changes in _holding(key, spec, questions, answers):
        result |= changes or {}
    return result


def _left_out(
    key: str, spec: Mapping[str, Any], questions: Mapping[str, ChoiceSpec], answers: Mapping[str, str]
) -> bool:
    """Return whether a `when` that holds leaves the point out: `when: {"meter=other": null}`."""
    return None in list(_holding(key, spec, questions, answers))


def _holding(
    key: str, spec: Mapping[str, Any], questions: Mapping[str, ChoiceSpec], answers: Mapping[str, str]
) -> Iterator[Data | None]:
    for condition, changes in (spec.get("when") or {}).items():
        name, _, value = condition.partition("=")
        known = name in questions and value in questions[name].values
        if not known or not (changes is None or isinstance(changes, dict)):
            raise ConfigError(f"{key}.when: {condition!r} is no choice of this file; write it like parameter=value")
        if answers[name] == value:
            yield changes
