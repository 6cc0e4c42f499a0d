"""The live rule, told by messages and steered by steps, does what the study's rule on whole slots does."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.control.envelope import Envelope, Gate
from agent.control.headroom import Storage, room
from agent.control.sharing import Sharing, Situation
from agent.planning.problem import Battery
from agent.planning.worth import Worth
from agent.study.within import Fleet, Moment, wanted_w
from coordinator.balancing import Numbers
from coordinator.charter import Rules
from coordinator.slots import Slot

RULES = Rules(sharing_limit_wh=10**6, deviation_limit_w=10**6)
SLOT = Slot.at(datetime(2026, 6, 1, 9, tzinfo=UTC), RULES.slot_s)
BATTERY = Battery(capacity_wh=50_000, charge_max_w=3000, discharge_max_w=2500)
ENVELOPE = Envelope(charge_w=3000, discharge_w=2500, reserve_pct=0, max_pct=100)
STORAGE = Storage(capacity_wh=50_000, efficiency_charge=0.95, efficiency_discharge=0.95)
IMPORT, EXPORT, WEAR = 0.30, 0.06, 0.01
HOMES = 3


def situation(deviation_w: float, grid_w: float, battery_w: float, value: float) -> Situation:
    worth = Worth(
        stored_per_kwh=value,
        import_per_kwh=IMPORT,
        export_per_kwh=EXPORT,
        efficiency_charge=0.95,
        efficiency_discharge=0.95,
        wear_per_kwh=WEAR,
    )
    lowest, highest = worth.reach_w(battery_w)
    reach_w = float(lowest), float(highest)
    can = room(STORAGE, ENVELOPE, Gate(), 50.0, planned_w=battery_w, left_s=900, reach_w=reach_w)
    net_w = 1000 + deviation_w
    return Situation(net_w=net_w, smooth_w=net_w, planned_w=1000, grid_w=grid_w, room=can, day=date(2026, 6, 1))


def done_w(homes: list[Situation], *, shared: bool) -> list[float]:
    """Return what the batteries do on top of their plans once everybody has heard everybody."""
    minds = [Sharing(rules=RULES, interval_s=5, life_s=60, range_w=10**9) for _ in homes]
    told: list[Numbers] = []
    for mind, home in zip(minds, homes, strict=True):
        mind.step(SLOT.start_at, SLOT, home, ())
        assert mind.news is not None
        told.append(mind.news)
    does = []
    for n, (mind, home) in enumerate(zip(minds, homes, strict=True)):
        others = [*told[:n], *told[n + 1 :]] if shared else []
        result = mind.step(SLOT.start_at + timedelta(seconds=1), SLOT, home, others)
        does.append(home.beyond_w(home.net_w) - home.grid_w - result.left_w)
    return does


each = st.tuples(st.floats(-4000, 4000), st.floats(-3000, 3000), st.floats(-2900, 2400), st.floats(0, 0.4))


@pytest.mark.parametrize("shared", [True, False])
@given(homes=st.lists(each, min_size=HOMES, max_size=HOMES))
@settings(max_examples=60, deadline=None)
def test_batteries_do_as_in_the_study(shared: bool, homes: list[tuple[float, float, float, float]]) -> None:
    deviation_w, grid_w, battery_w, value = (np.array(column) for column in zip(*homes, strict=True))
    moment = Moment(
        planned_w=battery_w,
        grid_w=grid_w,
        deviation_w=deviation_w,
        value_per_kwh=value,
        import_per_kwh=np.full(HOMES, IMPORT),
        export_per_kwh=np.full(HOMES, EXPORT),
    )
    fleet = Fleet.of([BATTERY] * HOMES)
    study_w = wanted_w(moment, fleet, np.full(HOMES, 25_000.0), SLOT.hours, WEAR, shared=shared) - battery_w
    live_w = done_w([situation(*home) for home in homes], shared=shared)
    assert live_w == pytest.approx(study_w.tolist(), abs=4)  # messages are whole watts
