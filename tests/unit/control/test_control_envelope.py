import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.control.envelope import CLOSED, HYSTERESIS_PCT, Envelope, Gate

LIMITS = Envelope(charge_w=3000, discharge_w=2000, reserve_pct=20, max_pct=95)
ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True)
GATES = st.builds(Gate, st.booleans(), st.booleans())


@given(ANY_NUMBER, st.none() | ANY_NUMBER, GATES)
def test_s2_s3_no_target_and_no_charge_lead_outside_the_envelope(
    target_w: float, soc_pct: float | None, before: Gate
) -> None:
    gate = LIMITS.gate(soc_pct, before)
    power_w = LIMITS.clamp(target_w, gate)
    assert -3000 <= power_w <= 2000
    if soc_pct is None or math.isnan(soc_pct) or not 0 <= soc_pct <= 100:
        assert power_w == 0
    elif soc_pct <= 20:
        assert power_w <= 0
    elif soc_pct >= 95:
        assert power_w >= 0


@given(st.floats(-3000, 2000))
def test_target_inside_the_envelope_is_kept(target_w: float) -> None:
    assert LIMITS.clamp(target_w, LIMITS.gate(50, Gate())) == target_w


def test_s3_a_closed_direction_opens_only_away_from_its_limit() -> None:
    gate, opened = Gate(), []
    for soc_pct in (21, 20, 21, 22.9, 23.1, 20.5, 94.9, 95, 92.1, 91.9):
        gate = LIMITS.gate(soc_pct, gate)
        opened.append(("c" if gate.charge else "-") + ("d" if gate.discharge else "-"))
    assert HYSTERESIS_PCT == 3
    assert opened == ["cd", "c-", "c-", "c-", "cd", "cd", "cd", "-d", "-d", "cd"]


@pytest.mark.parametrize("soc_pct", [None, math.nan, -1, 101, 6553.5, math.inf])
def test_s3_unknown_charge_closes_both_directions(soc_pct: float | None) -> None:
    assert LIMITS.gate(soc_pct, Gate()) == CLOSED


@pytest.mark.parametrize(
    "limits",
    [
        {"charge_w": -1, "discharge_w": 1},
        {"charge_w": math.nan, "discharge_w": 1},
        {"charge_w": 1, "discharge_w": math.inf},
        {"charge_w": 1, "discharge_w": 1, "reserve_pct": 95, "max_pct": 90},
        {"charge_w": 1, "discharge_w": 1, "max_pct": 101},
    ],
)
def test_envelope_that_leaves_no_room_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Envelope(**limits)
