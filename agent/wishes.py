"""From what people say of their cars, machines and tanks to what a plan of one horizon knows of them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, time, timedelta, tzinfo

import numpy as np

from agent.planning.flexible import Shiftable, Tank, Vehicle
from agent.planning.problem import Flexible
from agent.simulator.wishes import ShiftableSettings, TankSettings, VehicleSettings, Wishes
from coordinator.slots import Slot


def flexible_of(
    wishes: Wishes, first: Slot, slots: int, zone: tzinfo, stored_wh: Mapping[str, float] | None = None
) -> tuple[Flexible, ...]:
    """Return the home's flexible things as the horizon of `slots` slots from `first` on sees them.

    A second stay or window within the horizon is a thing of its own, called "... (2)". Slots that a stay or window
    covers only in part do not count for it.

    Args:
        stored_wh: Energy now, by name: in a car that is at home, given to a load whose window has begun, and heat above
            the surroundings in a tank. What is not told is planned as if nothing had been done yet.
    """
    known = stored_wh or {}
    things: list[Flexible] = []
    for car in wishes.vehicles:
        things += _stays(car, first, slots, zone, known)
    for load in wishes.shiftables:
        things += _windows(load, first, slots, zone, known)
    return (*things, *(_tank(tank, first, slots, zone, known) for tank in wishes.tanks))


def _stays(
    car: VehicleSettings, first: Slot, slots: int, zone: tzinfo, known: Mapping[str, float]
) -> Iterator[Flexible]:
    for name, begin, end in _spans(car.name, car.arrives, car.leaves, first, slots, zone):
        arrival_wh = 1000 * car.arrives_with_kwh
        yield Vehicle(
            name=name,
            arrival=begin,
            departure=end,
            needed_wh=1000 * car.needed_kwh,
            arrival_wh=known.get(car.name, arrival_wh) if begin <= 0 else arrival_wh,
            capacity_wh=1000 * car.capacity_kwh,
            charge_max_w=1000 * car.charge_kw,
            discharge_max_w=1000 * car.discharge_kw,
            efficiency=car.efficiency,
            reserve_wh=1000 * car.reserve_kwh,
        )


def _windows(
    load: ShiftableSettings, first: Slot, slots: int, zone: tzinfo, known: Mapping[str, float]
) -> Iterator[Flexible]:
    for name, begin, end in _spans(load.name, load.earliest, load.deadline, first, slots, zone):
        done_wh = known.get(load.name, 0.0) if begin <= 0 else 0.0
        yield Shiftable(
            name=name,
            energy_wh=max(0.0, 1000 * load.energy_kwh - done_wh),
            earliest=begin,
            deadline=end,
            power_max_w=1000 * load.power_kw,
        )


def _tank(tank: TankSettings, first: Slot, slots: int, zone: tzinfo, known: Mapping[str, float]) -> Tank:
    drawn_wh = np.zeros(slots)
    for text in tank.drawn_at:
        for at in _times(text, first, slots, zone):
            index = int((at - first.start_at) // first.length)
            if 0 <= index < slots:
                drawn_wh[index] += 1000 * tank.drawn_kwh_per_day / len(tank.drawn_at)
    middle_c = (tank.lowest_c + tank.highest_c) / 2
    planned = Tank.of_water(
        name=tank.name,
        litres=tank.litres,
        temperature_c=middle_c if tank.initial_c is None else tank.initial_c,
        lowest_c=tank.lowest_c,
        highest_c=tank.highest_c,
        heater_max_w=1000 * tank.heater_kw,
        cop=tank.cop,
        loss_per_h=1 - (1 - tank.loss_pct_per_day / 100) ** (1 / 24),
        drawn_wh=drawn_wh,
        surroundings_c=tank.surroundings_c,
    )
    return planned if tank.name not in known else replace(planned, stored_wh=known[tank.name])


def _spans(name: str, begins: str, ends: str, first: Slot, slots: int, zone: tzinfo) -> Iterator[tuple[str, int, int]]:
    """Yield name, first slot and the slot after the last one of every daily span that touches the horizon."""
    count = 0
    for begin in _times(begins, first, slots, zone):
        end = next(at for at in _times(ends, first, slots, zone) if at > begin)
        begin_slot = -int((first.start_at - begin) // first.length)  # rounded up
        end_slot = int((end - first.start_at) // first.length)
        if begin_slot >= slots:
            return
        if end_slot > max(begin_slot, 0):
            count += 1
            yield (name if count == 1 else f"{name} ({count})"), begin_slot, end_slot


def _times(text: str, first: Slot, slots: int, zone: tzinfo) -> Iterator[datetime]:
    """Yield when a local time of day comes, from the day before the horizon until two days after it."""
    day = first.start_at.astimezone(zone).date() - timedelta(days=1)
    end_at = first.start_at + slots * first.length + timedelta(days=2)
    while (at := datetime.combine(day, time.fromisoformat(text), zone)) < end_at:
        yield at
        day += timedelta(days=1)
