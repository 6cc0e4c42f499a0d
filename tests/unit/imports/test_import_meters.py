"""From readings to slots: no energy is lost or doubled, however the rows fall, and batches leave no seam."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.imports.columns import Chosen, Kind, Role, unit_of
from agent.imports.meters import Label, Meter
from agent.imports.slot_sums import SlotSums
from coordinator.errors import ConfigError


def meter(
    kind: Kind, *, role: Role = "grid_import", step_s: float = 900, label: Label = "start", on_change: bool = False
) -> Meter:
    unit = unit_of("W" if kind == "power" else "Wh")
    assert unit is not None
    chosen = Chosen(role=role, name="x", unit=unit, kind=kind, inverted=False, guessed=False)
    return Meter(chosen, 900, step_s=step_s, label=label, on_change=on_change)


@settings(deadline=None)
@given(
    apart=st.lists(st.integers(1, 5000), min_size=2, max_size=60),
    amounts=st.data(),
    first=st.integers(0, 10**6),
)
def test_pieces_of_any_length_keep_their_energy(apart: list[int], amounts: st.DataObject, first: int) -> None:
    energies = np.array(amounts.draw(st.lists(st.floats(0, 1e4), min_size=len(apart), max_size=len(apart))))
    ends = first + np.cumsum(apart).astype(float)
    sums = SlotSums(900)
    for part in np.array_split(np.arange(len(apart)), 3):
        sums.add((ends - apart)[part], ends[part], energies[part])
    start, end = sums.span or (0, 0)
    assert start <= first
    assert ends[-1] <= end
    assert sums.total_wh == pytest.approx(energies.sum())
    # slots that are covered whole hold just what flowed in them; the first and the last one may not be
    inner = range(start + 900, end - 900, 900)
    flowed = np.diff(np.interp([*inner, end - 900], np.r_[first, ends], np.r_[0, np.cumsum(energies)]))
    found = sums.power_w(start + 900, len(inner)) / 4
    np.testing.assert_allclose(found, flowed[: len(inner)], atol=1e-5)


@pytest.mark.parametrize("kind", ["counter", "energy", "power"])
@pytest.mark.parametrize("label", ["start", "end"])
def test_batches_leave_no_seam(kind: Kind, label: Label) -> None:
    random = np.random.default_rng(3)
    times = np.cumsum(random.choice([900, 900, 900, 1800, 9000], 200)).astype(float)
    values = random.uniform(0, 500, 200)
    values = np.cumsum(values) if kind == "counter" else np.where(random.random(200) < 0.1, np.nan, values)
    whole, parts = meter(kind, label=label), meter(kind, label=label)
    whole.feed(times, values)
    for cut in np.array_split(np.arange(200), 13):
        parts.feed(times[cut], values[cut])
    whole.close()
    parts.close()
    start, end = whole.sums.span or (0, 0)
    assert parts.sums.span == (start, end)
    slots = (end - start) // 900
    np.testing.assert_allclose(whole.sums.power_w(start, slots), parts.sums.power_w(start, slots))
    assert whole.sums.total_wh == pytest.approx(parts.sums.total_wh)
    assert (whole.rows, whole.lost_wh) == (parts.rows, pytest.approx(parts.lost_wh))


def counted(readings: list[float], **options: Role) -> tuple[float, Meter]:
    each = meter("counter", **options)  # type: ignore[arg-type]
    each.feed(900.0 * np.arange(len(readings)), np.array(readings))
    each.close()
    return each.sums.total_wh, each


def test_a_counter_that_begins_anew_goes_on_from_zero() -> None:
    total, found = counted([9000, 9200, 9400, 100, 300])
    assert total == 200 + 200 + 100 + 200
    assert found.resets == [2700.0]


def test_a_new_meter_that_does_not_begin_at_zero_leaves_one_interval_open() -> None:
    total, found = counted([9000, 9200, 7000, 7100])
    assert total == 200 + 100
    assert np.isnan(found.sums.power_w(900, 1)).all()
    assert len(found.resets) == 1


def test_a_noisy_counter_counts_nothing_twice() -> None:
    total, found = counted([100_000, 100_200, 100_150, 100_210, 100_400])
    assert total == 400
    assert (found.dips, found.resets) == (1, [])


def test_the_net_of_both_directions_may_count_back() -> None:
    total, found = counted([100, 300, 250, 0], role="grid")
    assert total == -100
    assert (found.dips, found.resets) == (0, [])


def test_a_value_written_on_change_holds_for_a_while_and_zero_for_a_day() -> None:
    each = meter("power", step_s=60, on_change=True)
    each.feed(np.array([0.0, 36_000, 37_800]), np.array([0.0, 400.0, 400.0]))
    each.close()
    power = each.sums.power_w(0, 44)
    assert power[:40].tolist() == [0.0] * 40
    assert power[40] == 400
    assert np.isnan(power[41])


def test_a_time_of_another_century_is_refused() -> None:
    sums = SlotSums(900)
    sums.add(np.array([0.0]), np.array([900.0]), np.array([1.0]))
    with pytest.raises(ConfigError, match="a time in it is wrong"):
        sums.add(np.array([4e10]), np.array([4e10 + 900]), np.array([1.0]))
