"""A SunSpec inverter: common model, 103, and with a battery 802 and 704; or a PV inverter with 1 and 103 only.

Signs as SunSpec has them: 103 W is the AC power of the whole inverter (sun and battery, + into the house), 802 W the
battery's (+ discharge; given at the AC side, so that pv = 103 W - 802 W holds to the watt), 704 WSet orders 103 W.
"""

from collections.abc import Sequence

from agent.simulator.frames import READ_HOLDING, ExceptionCode, ModbusError
from agent.simulator.live import LivePlant
from agent.simulator.plant import Battery, Plant
from agent.simulator.sunspec_model import ModelImage, scale_for

MAKER, HYBRID = "Commonwatt", "Simulated hybrid inverter"
"""What a hybrid inverter says of itself; its serial number is the name of its home."""

BASE = 40000
MARKER = (0x5375, 0x6E53)  # "SunS"
END = (0xFFFF, 0)

INT16_LIMIT = 32_000
UINT16_LIMIT = 65_000
LINE_V = 230.0
PACK_V = 400.0
CABINET_C = 35.0

OBEYED = frozenset({"WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms"})
"""Points of 704 that this inverter lets itself be written. Watts only: WSetMod knows no percent."""

WATTS = 1
SLEEPING, MPPT = 2, 4
EMPTY, DISCHARGING, CHARGING, FULL, HOLDING = 2, 3, 4, 5, 6
LITHIUM_ION, CONNECTED, LOCAL, REMOTE = 4, 3, 1, 0
BATTERY_CONNECT, INVERTER_STARTED = 1, 3


class SunSpecInverter:
    """The register image over a live plant. `rating_w` is the largest AC power it may ever show."""

    def __init__(self, live: LivePlant, *, rating_w: float, serial: str, unit: int) -> None:
        self._live = live
        self._battery = live.plant.battery
        self._common = _common(serial, unit, hybrid=self._battery is not None)
        self._inverter = _inverter(rating_w)
        self._models = [self._common, self._inverter]
        if self._battery:
            self._storage, self._control = _storage(self._battery), _control()
            self._models += [self._storage, self._control]

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """Return registers of one moment (see `ModbusDevice`)."""
        if function != READ_HOLDING:
            raise ModbusError(ExceptionCode.ILLEGAL_FUNCTION)
        size = len(MARKER) + sum(len(model.registers) for model in self._models) + len(END)
        if not BASE <= address <= address + count <= BASE + size:
            raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
        self._refresh()
        image = [*MARKER, *(register for model in self._models for register in model.registers), *END]
        return image[address - BASE : address - BASE + count]

    def write(self, address: int, values: Sequence[int]) -> None:
        """Write points of model 704, each of them whole: half a setpoint is refused, not guessed."""
        if self._battery is None:
            raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
        first = address - BASE - len(MARKER) - sum(len(model.registers) for model in self._models[:-1])
        changes: dict[str, int] = {}
        taken = 0
        for point in self._control.points.values():
            if point.offset + point.size <= first or point.offset >= first + len(values):
                continue
            if point.name not in OBEYED:
                raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
            registers = values[max(point.offset - first, 0) : point.offset - first + point.size]
            if point.offset < first or len(registers) != point.size:
                raise ModbusError(ExceptionCode.ILLEGAL_VALUE)
            changes[point.name] = point.decode(registers)
            taken += point.size
            if (point.symbols and changes[point.name] not in point.symbols) or changes.get("WSetMod", WATTS) != WATTS:
                raise ModbusError(ExceptionCode.ILLEGAL_VALUE)
        if taken != len(values):
            raise ModbusError(ExceptionCode.ILLEGAL_ADDRESS)
        self._live.write(changes)

    def _refresh(self) -> None:
        plant = self._live.sync()
        self._refresh_inverter(plant)
        if self._battery:
            self._refresh_storage(plant, self._battery)
            self._refresh_control()

    def _refresh_inverter(self, plant: Plant) -> None:
        flow = plant.flow
        phase_a = abs(flow.inverter_w) / 3 / LINE_V
        running = flow.pv_w > 0 or plant.battery is not None
        self._inverter.set(
            A=3 * phase_a, AphA=phase_a, AphB=phase_a, AphC=phase_a,
            W=flow.inverter_w, VA=abs(flow.inverter_w), WH=plant.counters.inverter_wh, DCW=flow.pv_w,
        )  # fmt: skip
        self._inverter.set_raw(St=MPPT if running else SLEEPING)

    def _refresh_storage(self, plant: Plant, battery: Battery) -> None:
        soc_pct = plant.soc_pct or 0.0
        cycles = plant.counters.battery_out_wh / battery.capacity_wh
        self._storage.set(SoC=soc_pct, DoD=100 - soc_pct, NCyc=cycles, W=plant.battery_w, A=plant.battery_w / PACK_V)
        # Under the resolution of W the battery is at rest, as far as anybody can see.
        moving = abs(plant.battery_w) >= 0.5
        resting = EMPTY if soc_pct <= 0 else FULL if soc_pct >= 100 else HOLDING
        self._storage.set_raw(
            ChaSt=resting if not moving else DISCHARGING if plant.battery_w > 0 else CHARGING,
            LocRemCtl=REMOTE if self._live.control.enabled else LOCAL,
        )

    def _refresh_control(self) -> None:
        control = self._live.control
        self._control.set_raw(
            WSetEna=int(control.enabled),
            WSet=control.set_w,
            WSetRvrt=control.revert_w,
            WSetEnaRvrt=int(control.revert_enabled),
            WSetRvrtTms=control.revert_after_s,
            WSetRvrtRem=self._live.remaining_s(),
        )


def _common(serial: str, unit: int, *, hybrid: bool) -> ModelImage:
    model = ModelImage(1)
    model.set_raw(Mn=MAKER, Md=HYBRID if hybrid else "Simulated PV inverter", Vr="1", SN=serial[:32], DA=unit)
    return model


def _inverter(rating_w: float) -> ModelImage:
    model = ModelImage(103)
    power = scale_for(rating_w, INT16_LIMIT)
    model.set_scales(
        A_SF=-1, V_SF=-1, W_SF=power, Hz_SF=-2, VA_SF=power, VAr_SF=power, PF_SF=-1, WH_SF=0, DCW_SF=power, Tmp_SF=0
    )
    model.set(PhVphA=LINE_V, PhVphB=LINE_V, PhVphC=LINE_V, Hz=50.0, VAr=0, PF=100, TmpCab=CABINET_C)
    model.set_raw(Evt1=0, Evt2=0)
    return model


def _storage(battery: Battery) -> ModelImage:
    model = ModelImage(802)
    power_w = max(battery.charge_w, battery.discharge_w)
    model.set_scales(
        AHRtg_SF=-1, WHRtg_SF=scale_for(battery.capacity_wh, UINT16_LIMIT),
        WChaDisChaMax_SF=scale_for(power_w, UINT16_LIMIT), SoC_SF=-2, DoD_SF=-2, SoH_SF=0, V_SF=-1, CellV_SF=-3,
        A_SF=-1, AMax_SF=-1, W_SF=scale_for(power_w, INT16_LIMIT),
    )  # fmt: skip
    model.set(
        AHRtg=battery.capacity_wh / PACK_V, WHRtg=battery.capacity_wh, WChaRteMax=battery.charge_w,
        WDisChaRteMax=battery.discharge_w, SoCMax=100, SoCMin=0, SoH=100, V=PACK_V,
    )  # fmt: skip
    model.set_raw(Typ=LITHIUM_ION, State=CONNECTED, AlmRst=0, SetOp=BATTERY_CONNECT, SetInvState=INVERTER_STARTED)
    model.set_raw(Evt1=0, Evt2=0, EvtVnd1=0, EvtVnd2=0)
    return model


def _control() -> ModelImage:
    model = ModelImage(704)
    model.set_scales(WSet_SF=0)
    model.set_raw(WSetMod=WATTS)
    return model
