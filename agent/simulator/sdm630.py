"""An Eastron SDM630 energy meter at the house connection: input registers, big-endian f32, even addresses only.

Positive power and current flow into the house (import). Counters are those of the net flow over the three phases, in
kWh as f32, so they lose 1 Wh steps above 16.7 MWh, as on the real meter. Registers between the known ones read 0.
"""

import struct
from collections.abc import Sequence

from agent.simulator.frames import READ_INPUT, ExceptionCode, ModbusError
from agent.simulator.live import LivePlant
from agent.simulator.plant import Plant

MAX_READ = 80
VOLTAGE, CURRENT, PHASE_POWER, TOTAL_POWER, FREQUENCY, IMPORT, EXPORT = 0x00, 0x06, 0x0C, 0x34, 0x46, 0x48, 0x4A
SIZE = EXPORT + 2

LINE_V = 231.0
LINE_OHM = 0.25
"""Impedance of the street: importing lowers the voltage a little, exporting raises it."""
LOAD_SHARES = (0.5, 0.3, 0.2)
"""How the household's appliances spread over the phases; the inverter feeds all three alike."""
LINE_HZ = 50.0


class Sdm630:
    """The meter's registers over a live plant."""

    def __init__(self, live: LivePlant) -> None:
        self._live = live

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """Return registers of one moment (see `ModbusDevice`)."""
        if function != READ_INPUT:
            raise ModbusError(ExceptionCode.ILLEGAL_FUNCTION)
        if count % 2 or count > MAX_READ:
            raise ModbusError(ExceptionCode.ILLEGAL_VALUE)
        if address % 2 or address + count > SIZE:
            raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
        values = measured(self._live.sync())
        data = struct.pack(f">{SIZE // 2}f", *(values.get(at, 0.0) for at in range(0, SIZE, 2)))
        return struct.unpack(f">{SIZE}H", data)[address : address + count]

    def write(self, address: int, values: Sequence[int]) -> None:
        """Refuse: a meter has nothing to command."""
        raise ModbusError(ExceptionCode.ILLEGAL_FUNCTION)


def measured(plant: Plant) -> dict[int, float]:
    """Return the meter's values by register address."""
    flow = plant.flow
    values = {
        TOTAL_POWER: flow.grid_w,
        FREQUENCY: LINE_HZ,
        IMPORT: plant.counters.import_wh / 1000,
        EXPORT: plant.counters.export_wh / 1000,
    }
    for phase, share in enumerate(LOAD_SHARES):
        power_w = share * flow.load_w - flow.inverter_w / 3
        voltage_v = LINE_V - LINE_OHM * power_w / LINE_V
        values[VOLTAGE + 2 * phase] = voltage_v
        values[CURRENT + 2 * phase] = abs(power_w) / voltage_v
        values[PHASE_POWER + 2 * phase] = power_w
    return values
