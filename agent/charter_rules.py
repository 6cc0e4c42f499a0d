"""The rules of a charter by name: what each means, what it may be and what it usually is. Pure."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from coordinator.charter import Rules
from coordinator.errors import ConfigError

_WORDS = {
    "slot_s": "length of a slot; `charter found` fits the times below to it",
    "horizon_slots": "so many slots ahead are negotiated together",
    "round_limit": "so many rounds at most",
    "price_rule": "how contracts are priced (docs/market.md)",
}
"""Of the rules that do not describe themselves in the model."""
ORDERS = (
    "slot_s > ready_s > rounds_s > offers_s > expiry_s > gate_s",
    "residual_offers_s < residual_expiry_s < residual_gate_s < slot_s",
)
"""What must hold between rules, besides the bounds of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleWords:
    """One rule as people write and read it."""

    name: str
    usual: str
    bounds: str
    meaning: str


def rule_words() -> Iterator[RuleWords]:
    """Yield every rule there is."""
    for name, info in Rules.model_fields.items():
        meaning = info.description or _WORDS[name]
        yield RuleWords(name=name, usual=written(info.default, info), bounds=_bounds(info), meaning=meaning)


def written(value: object, info: FieldInfo) -> str:
    """Return a value as `--rule` takes it."""
    if bool in _kinds(info):
        return "true" if value else "false"
    return "more than 2/3" if value is None else str(value)  # of the homes: the only rule without a value of its own


def _bounds(info: FieldInfo) -> str:
    kinds = _kinds(info)
    if bool in kinds:
        return "true, false"
    if int not in kinds:
        return ", ".join(map(str, kinds))
    least = next((each.ge for each in info.metadata if isinstance(each, Ge)), None)
    most = next((each.le for each in info.metadata if isinstance(each, Le)), None)
    if least is None:
        return "in order, see below"
    return f"{least} or more" if most is None else f"{least} to {most}"


def _kinds(info: FieldInfo) -> tuple[Any, ...]:
    """Return the types of a union, the words of a choice, or the type itself."""
    return get_args(info.annotation) or (info.annotation,)


def rules_lines(rules: Rules) -> list[str]:
    """Return every rule with its value here, for a terminal."""
    rows = [("rule", "here", "usual", "may be", "")]
    for each in rule_words():
        here = written(getattr(rules, each.name), Rules.model_fields[each.name])
        rows.append((each.name, here, each.usual, each.bounds, each.meaning))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    cells = (zip(row, [*widths, 0], strict=True) for row in rows)
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in row).rstrip() for row in cells]
    return [*lines, "", *(f"always: {order}" for order in ORDERS)]


def rule_value(name: str, text: str) -> int | bool | str:
    """Return what `--rule NAME=TEXT` says; whether it fits the other rules is the charter's to say.

    Raises:
        ConfigError: There is no such rule, or it is no number where one is due.
    """
    if name not in Rules.model_fields:
        raise ConfigError(f"--rule {name}: {_unknown(name)}")
    flag = {"true": True, "false": False}.get(text.lower())
    if flag is not None or text.isdecimal():
        return int(text) if flag is None else flag
    if int in _kinds(Rules.model_fields[name]):
        raise ConfigError(f"--rule {name}={text}: write a whole number, as in gate_s=60")
    return text


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, Rules.model_fields, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"there is no such rule: {meant}`commonwatt charter show --rules` lists all"
