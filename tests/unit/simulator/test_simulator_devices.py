"""The register images of inverter and meter, without a network."""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sunspec2 import device as sunspec

from agent.simulator.frames import READ_HOLDING, READ_INPUT, ExceptionCode, ModbusError
from agent.simulator.live import LivePlant
from agent.simulator.plant import Battery, Counters, Plant
from agent.simulator.sdm630 import Sdm630
from agent.simulator.sunspec_device import BASE, SunSpecInverter
from coordinator.clock import ManualClock

START = datetime(2025, 6, 1, 12, tzinfo=UTC)
CONTROL = BASE + 2 + 68 + 52 + 64
WSET_ENA, WSET_MOD, WSET, TIMER, REMAINING = (CONTROL + offset for offset in (22, 23, 24, 31, 33))


@dataclass
class Steady:
    load: float
    pv: float

    @property
    def pv_peak_w(self) -> float:
        return self.pv

    def load_w(self, at: datetime) -> float:
        return self.load

    def pv_w(self, at: datetime) -> float:
        return self.pv

    def next_change(self, at: datetime) -> datetime:
        return at + timedelta(days=1)


def live_plant(load: float = 500, pv: float = 3000, battery: Battery | None = None) -> LivePlant:
    counters = Counters(import_wh=1_234_500, export_wh=77_250, inverter_wh=5_000_000)
    plant = Plant(profile=Steady(load, pv), battery=battery, at=START, stored_wh=6000, counters=counters)
    return LivePlant(plant, ManualClock(START))


def hybrid(**options: float) -> tuple[LivePlant, SunSpecInverter]:
    live = live_plant(battery=Battery(capacity_wh=12_000, charge_w=4000, discharge_w=5000, lag_s=0), **options)
    return live, SunSpecInverter(live, rating_w=11_000, serial="a", unit=1)


def pass_time(live: LivePlant, seconds: float) -> None:
    assert isinstance(live.clock, ManualClock)
    live.clock.advance(timedelta(seconds=seconds))


def model(device: SunSpecInverter, model_id: int, address: int) -> sunspec.Model:
    """Return a model of the image as pysunspec2 understands its bytes."""
    size = sunspec.Model(model_id).len
    registers = device.read(READ_HOLDING, address, size)
    return sunspec.Model(model_id, data=struct.pack(f">{size}H", *registers))


def refusal(device: SunSpecInverter | Sdm630, address: int, values: list[int]) -> ExceptionCode:
    with pytest.raises(ModbusError) as caught:
        device.write(address, values)
    return caught.value.code


def test_the_hybrid_shows_its_powers_with_sunspec_signs() -> None:
    live, device = hybrid()
    pass_time(live, 60)
    inverter, storage = model(device, 103, BASE + 70), model(device, 802, BASE + 122)
    assert inverter.W.cvalue == 500
    assert inverter.DCW.cvalue == 3000
    assert storage.W.cvalue == -2500
    assert storage.SoC.cvalue == pytest.approx(100 * live.plant.stored_wh / 12_000, abs=0.005)
    assert storage.WHRtg.cvalue == 12_000
    assert (storage.WChaRteMax.cvalue, storage.WDisChaRteMax.cvalue) == (4000, 5000)
    assert inverter.WH.cvalue == pytest.approx(5_000_000 + 500 / 60, abs=1)


def test_every_register_of_a_setpoint_must_come_in_one_request() -> None:
    live, device = hybrid()
    device.write(WSET_ENA, [1])
    for address in (WSET, WSET + 1):
        assert refusal(device, address, [9]) is ExceptionCode.ILLEGAL_VALUE
    assert refusal(device, WSET_MOD, [1, 0]) is ExceptionCode.ILLEGAL_VALUE
    assert live.control.set_w == 0


def test_a_setpoint_moves_the_battery_by_what_the_sun_lacks() -> None:
    live, device = hybrid()
    device.write(TIMER, [0, 60])
    device.write(WSET_ENA, [1, 1, *struct.unpack(">HH", struct.pack(">i", 4500))])
    pass_time(live, 10)
    assert model(device, 802, BASE + 122).W.cvalue == 1500
    assert device.read(READ_HOLDING, REMAINING, 2) == [0, 50]


def test_an_expired_timer_clears_the_enable_and_frees_the_battery() -> None:
    live, device = hybrid()
    device.write(TIMER, [0, 60])
    device.write(WSET_ENA, [1, 1, 0, 4000])
    pass_time(live, 61)
    assert device.read(READ_HOLDING, WSET_ENA, 1) == [0]
    assert device.read(READ_HOLDING, REMAINING, 2) == [0, 0]
    assert model(device, 802, BASE + 122).W.cvalue == -2500


def test_what_may_not_be_written_is_refused_and_changes_nothing() -> None:
    live, device = hybrid()
    assert refusal(device, CONTROL + 14, [1]) is ExceptionCode.ILLEGAL_ADDRESS, "a limit this inverter does not have"
    assert refusal(device, REMAINING, [0, 5]) is ExceptionCode.ILLEGAL_ADDRESS, "a read-only point"
    assert refusal(device, BASE + 4, [5]) is ExceptionCode.ILLEGAL_ADDRESS, "another model"
    assert refusal(device, CONTROL + 66, [0, 0]) is ExceptionCode.ILLEGAL_ADDRESS, "past the end"
    assert refusal(device, WSET_ENA, [2]) is ExceptionCode.ILLEGAL_VALUE, "no symbol of the model"
    assert refusal(device, WSET_ENA, [1, 0]) is ExceptionCode.ILLEGAL_VALUE, "percent"
    assert live.control.target_w is None


def test_reads_outside_the_image_or_as_input_registers_are_refused() -> None:
    _, device = hybrid()
    size = 2 + 68 + 52 + 64 + 67 + 2
    assert device.read(READ_HOLDING, BASE + size - 2, 2) == [0xFFFF, 0]
    for function, address, count in ((3, BASE - 1, 2), (3, BASE + size - 1, 2), (3, 0, 3), (4, BASE, 2)):
        with pytest.raises(ModbusError):
            device.read(function, address, count)


def test_a_pv_inverter_has_no_battery_models_and_takes_no_orders() -> None:
    device = SunSpecInverter(live_plant(), rating_w=5000, serial="a", unit=1)
    assert device.read(READ_HOLDING, BASE + 2 + 68 + 52, 2) == [0xFFFF, 0]
    assert refusal(device, BASE + 2, [1]) is ExceptionCode.ILLEGAL_ADDRESS


def test_power_keeps_one_watt_steps_to_thirty_kilowatts_and_never_overflows() -> None:
    for pv, rating, resolution in ((29_999, 30_000, 1), (123_456, 125_000, 10)):
        device = SunSpecInverter(live_plant(pv=pv), rating_w=rating, serial="a", unit=1)
        assert model(device, 103, BASE + 70).W.cvalue == pytest.approx(pv, abs=resolution / 2)


def floats(meter: Sdm630, address: int, count: int) -> tuple[float, ...]:
    registers = meter.read(READ_INPUT, address, 2 * count)
    return struct.unpack(f">{count}f", struct.pack(f">{2 * count}H", *registers))


def test_the_meter_shows_import_as_positive_and_its_phases_add_up() -> None:
    for load, pv in ((4000.0, 1000.0), (500.0, 3000.0)):
        meter = Sdm630(live_plant(load, pv))
        assert floats(meter, 0x34, 1)[0] == load - pv
        assert sum(floats(meter, 0x0C, 3)) == pytest.approx(load - pv, abs=0.01)
        assert all(200 < volts < 250 for volts in floats(meter, 0, 3))
        assert floats(meter, 0x46, 1)[0] == 50


def test_the_counters_are_kilowatt_hours_of_the_net_flow() -> None:
    live = live_plant(load=500, pv=3000)
    pass_time(live, 3600)
    assert floats(Sdm630(live), 0x48, 2) == pytest.approx((1234.5, 79.75), abs=1e-3)


@pytest.mark.parametrize(
    ("function", "address", "count", "code"),
    [
        (4, 0x34, 1, ExceptionCode.ILLEGAL_VALUE),
        (4, 0, 82, ExceptionCode.ILLEGAL_VALUE),
        (4, 0x35, 2, ExceptionCode.ILLEGAL_ADDRESS),
        (4, 0x4A, 4, ExceptionCode.ILLEGAL_ADDRESS),
        (3, 0x34, 2, ExceptionCode.ILLEGAL_FUNCTION),
    ],
)
def test_the_meter_refuses_what_the_real_one_refuses(function: int, address: int, count: int, code: int) -> None:
    with pytest.raises(ModbusError) as caught:
        Sdm630(live_plant()).read(function, address, count)
    assert caught.value.code == code


def test_the_meter_takes_no_orders() -> None:
    assert refusal(Sdm630(live_plant()), 0x34, [0, 0]) is ExceptionCode.ILLEGAL_FUNCTION
