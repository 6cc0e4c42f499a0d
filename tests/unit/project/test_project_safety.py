"""docs/safety.md says what is tested: every invariant has a test, and every such test is in the table."""

import pytest
from safety_table import BEGIN, DOCUMENT, END, INVARIANTS, listed, safety_tests


@pytest.mark.parametrize("number", INVARIANTS)
def test_every_invariant_has_a_test_with_its_id_in_the_name(number: int) -> None:
    assert safety_tests()[number], f"no test_s{number}_..."


def test_the_table_names_the_tests_there_are() -> None:
    there = {test for found in safety_tests().values() for test in found}
    assert listed(DOCUMENT.read_text(encoding="utf-8")) == there, "run `make safety`"


def test_no_release_carries_a_failed_invariant() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "FAILED" not in text.partition(BEGIN)[2].partition(END)[0]
