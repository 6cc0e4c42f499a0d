"""Rules by name: what a person can look up is what the model says."""

from pathlib import Path

import pytest

from agent.charter_rules import ORDERS, rule_value, rule_words, rules_lines
from coordinator.charter import Rules
from coordinator.errors import ConfigError

DOCUMENT = Path(__file__).parents[2] / "docs/charter.md"


def test_the_document_has_every_rule_as_the_model_has_it() -> None:
    rows = [f"| `{each.name}` | {each.usual} | {each.bounds} | {each.meaning} |" for each in rule_words()]
    table = "\n".join(["| rule | usual | may be | meaning |", "|---|---|---|---|", *rows])
    text = DOCUMENT.read_text(encoding="utf-8")
    assert table in text, table
    assert all(f"`{order}`" in text for order in ORDERS)


def test_every_rule_is_shown_with_its_value_here() -> None:
    head, *lines = rules_lines(Rules(gate_s=60, masked=True))
    assert head.split() == ["rule", "here", "usual", "may", "be"]
    shown = {line.split()[0]: line.split()[1:3] for line in lines if line}
    assert shown.keys() == {*Rules.model_fields, "always:"}
    assert shown["gate_s"] == ["60", "90"]
    assert shown["masked"] == ["true", "false"]


def test_bounds_are_those_that_hold() -> None:
    bounds = {each.name: each.bounds for each in rule_words()}
    assert bounds["slot_s"] == "60 to 3600"
    assert bounds["rho_micro"] == "1 or more"
    assert bounds["price_rule"] == "midpoint, marginal, sdr"
    assert bounds["masked"] == bounds["residual_round"] == "true, false"
    assert bounds["gate_s"] == "in order, see below"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gate", "60", r"there is no such rule: did you mean gate_s\? `commonwatt charter show --rules` lists all"),
        ("foo", "1", "there is no such rule: `commonwatt charter show --rules` lists all"),
        ("slot_s", "long", "--rule slot_s=long: write a whole number"),
    ],
)
def test_a_rule_that_cannot_be_meant_names_the_cure(name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rule_value(name, text)


def test_values_are_what_they_look_like() -> None:
    given = [("gate_s", "60"), ("masked", "True"), ("price_rule", "sdr")]
    assert [rule_value(name, text) for name, text in given] == [60, True, "sdr"]
