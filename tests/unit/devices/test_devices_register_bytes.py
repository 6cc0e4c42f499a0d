"""Profiles against register words written down by hand from the facts, not made from the profiles.

Each table is what a device of that make shows in its registers (0-based address: word) and what the house must read.
"""

import asyncio

import pytest
from fake_modbus import serve

from agent.devices.opening import LinkPool, open_device
from agent.devices.settings import DeviceSettings
from coordinator.clock import WallClock

Registers = dict[int, int]


def read(
    profile: str, registers: Registers, spans: list[tuple[int, int]], **parameters: str
) -> dict[str, float | None]:
    """Return what the profile reads; `spans` (first, count) are registers that hold 0 unless said otherwise."""
    words = {at: 0 for first, count in spans for at in range(first, first + count)} | registers

    async def main() -> dict[str, float | None]:
        async with serve({1: words}) as fake:
            links = LinkPool(WallClock())
            at = DeviceSettings(profile=profile, url=fake.url, unit=1, parameters=parameters)
            try:
                return dict((await open_device("it", at, links, WallClock()).poll()).values)
            finally:
                await links.close()

    return asyncio.run(main())


def is_about(values: dict[str, float | None], wanted: dict[str, float]) -> None:
    assert {name: values[name] for name in wanted} == {name: pytest.approx(value) for name, value in wanted.items()}


def test_sungrow_sh_has_the_low_word_first_and_counts_export_as_positive() -> None:
    registers = {
        5016: 4321, 5017: 0,                     # 4321 W of sun
        5213: 0xF830, 5214: 0xFFFF,              # -2000: charging
        5600: 0xFA24, 5601: 0xFFFF,              # -1500: the meter counts import, so this is export
        13002: 0x86A0, 13003: 0x0001,            # 100000 x 0.1 kWh
        13009: 1500, 13010: 0,                   # 1500 W of export
        13022: 873,                              # 87.3 %
        13026: 1234, 13027: 0, 13036: 5000, 13037: 0, 13040: 1400, 13041: 0,
        13045: 0x0000, 13046: 0x0001,            # 65536 x 0.1 kWh
        33046: 1000, 33047: 1060,                # x 10 W
    }  # fmt: skip
    values = read("sungrow_sh", registers, [(13002, 45), (13049, 3), (13079, 1)])
    is_about(values, {"pv_w": 4321, "battery_w": -2000, "grid_w": -1500, "meter_w": -1500, "soc_pct": 87.3})
    is_about(values, {"production_wh": 10_000_000, "import_wh": 500_000, "export_wh": 6_553_600})
    is_about(values, {"battery_in_wh": 140_000, "battery_out_wh": 123_400, "charge_max_w": 10_000})


def test_huawei_counts_charging_and_export_as_positive_and_may_show_export_negative() -> None:
    registers = {
        30000: 0x5355, 30001: 0x4E32, 30002: 0x3030, 30003: 0x3000,   # "SUN2000"
        32064: 0, 32065: 3500, 32080: 0, 32081: 2900,
        32106: 0x0001, 32107: 0x0000,                                 # 65536 x 10 Wh
        37113: 0xFFFF, 37114: 0xFDA8,                                 # -600: import
        37119: 0xFFFF, 37120: 0xFF9C,                                 # -100 x 10 Wh: its magnitude is meant
        37121: 0, 37122: 2500,
        37760: 455,
        37765: 0, 37766: 800,                                         # charging
        37780: 0, 37781: 100, 37782: 0, 37783: 90,
        37046: 0, 37047: 5000, 37048: 0, 37049: 4800,
    }  # fmt: skip
    spans = [(30000, 15), (32064, 18), (37113, 10), (37760, 24), (47083, 1), (47100, 1), (47246, 5)]
    values = read("huawei_sun2000", registers, spans)
    is_about(values, {"pv_w": 3500, "ac_w": 2900, "grid_w": 600, "battery_w": -800, "soc_pct": 45.5})
    is_about(values, {"export_wh": 1000, "import_wh": 25_000, "production_wh": 655_360, "discharge_max_w": 4800})


def test_huawei_s_sentinels_are_absent() -> None:
    registers = {30000: 0x5355, 30001: 0x4E32, 30002: 0x3030, 30003: 0x3000, 37760: 0xFFFF}
    registers |= {37113: 0x7FFF, 37114: 0xFFFF, 37765: 0x7FFF, 37766: 0xFFFF, 32065: 100}
    spans = [(30000, 15), (32064, 18), (32106, 2), (37113, 10), (37760, 24), (37046, 4)]
    values = read("huawei_sun2000", registers, spans)
    assert (values["grid_w"], values["battery_w"], values["soc_pct"]) == (None, None, None)
    assert values["pv_w"] == 100


def test_solis_has_magnitude_and_direction_in_one_frame() -> None:
    registers = {
        33057: 0, 33058: 2500, 33079: 0, 33080: 1200,
        33139: 64,
        33149: 0xFFFF, 33150: 0xFB50,            # -1200: only the magnitude counts
        33263: 0xFFFF, 33264: 0xFF38,            # -200: import
        33283: 1, 33284: 0, 33285: 0, 33286: 777,
    }  # fmt: skip
    spans = [(33057, 24), (33135, 16), (33263, 24)]
    charging = read("solis_hybrid", registers | {33135: 0}, spans)
    is_about(charging, {"pv_w": 2500, "ac_w": 1200, "battery_w": -1200, "grid_w": 200, "soc_pct": 64})
    is_about(charging, {"import_wh": 655_360, "export_wh": 7770})
    assert read("solis_hybrid", registers | {33135: 1}, spans)["battery_w"] == 1200
    assert read("solis_hybrid", registers | {33135: 7}, spans)["battery_w"] is None


def test_deye_s_words_lie_apart_and_high_voltage_models_count_tenfold() -> None:
    one = {0: 0x0300, 78: 0x0010, 79: 4999, 80: 0x0001, 169: 0xFE0C, 184: 71, 186: 800, 187: 650, 190: 0xFC18}
    values = read("deye_1p", one, [(72, 11), (169, 22)])
    is_about(values, {"import_wh": (65536 + 16) * 100, "grid_w": -500, "pv_w": 1450, "battery_w": -1000, "soc_pct": 71})

    three = {0: 0x0006, 588: 40, 590: 0xFF9C, 625: 0x1170, 690: 0x0001, 672: 150, 673: 0xFFFF, 674: 0xFFFF, 675: 0xFFFF}
    three |= {522: 0x0001, 523: 0x0002}
    spans = [(516, 20), (588, 103)]
    low = read("deye_3p", three, spans)
    is_about(low, {"battery_w": -100, "grid_w": 4464, "pv_w": 150, "import_wh": (2 * 65536 + 1) * 100})
    high = read("deye_3p", three, spans, battery="hv", energy="tenfold", grid_words="yes")
    is_about(high, {"battery_w": -1000, "grid_w": 70000, "pv_w": 1500, "import_wh": (2 * 65536 + 1) * 1000})


def test_a_home_with_another_meter_takes_no_grid_values_from_the_inverter() -> None:
    values = read("deye_1p", {0: 3, 184: 50}, [(72, 11), (169, 22)], meter="other")
    assert not {"grid_w", "import_wh", "export_wh"} & values.keys()


def test_carlo_gavazzi_has_the_low_word_first() -> None:
    registers = {0x00: 2304, 0x02: 2310, 0x04: 2298, 0x33: 500}
    registers |= {
        0x12: 0xD8F0,
        0x13: 0xFFFF,
        0x14: 0x2710,
        0x16: 0x03E8,
        0x28: 0x03E8,
        0x34: 0x0001,
        0x35: 0x0001,
        0x4E: 250,
    }
    values = read("carlo_gavazzi_em340", registers, [(0, 0x36), (0x4E, 2)])
    # Phases: -1000 W, 1000 W, 100 W; together 100 W.
    is_about(values, {"grid_l1_w": -1000, "grid_l2_w": 1000, "grid_l3_w": 100, "grid_w": 100, "voltage_l1_v": 230.4})
    is_about(values, {"import_wh": 6_553_700, "export_wh": 25_000, "frequency_hz": 50})


def test_abb_has_the_high_word_first_and_its_own_sentinel() -> None:
    registers = {0x8960: 0x4232, 0x8961: 0x3320, 0x5B00: 0, 0x5B01: 2301, 0x5B2C: 4998}
    registers |= {0x5B14: 0xFFFF, 0x5B15: 0x3CB0, 0x5B16: 0x7FFF, 0x5B17: 0xFFFF, 0x5003: 1500, 0x5006: 1, 0x5007: 0}
    values = read("abb_b23", registers, [(0x5B00, 45), (0x5000, 8)])
    is_about(values, {"grid_w": -500, "voltage_l1_v": 230.1, "import_wh": 15_000, "export_wh": 655_360})
    assert values["grid_l1_w"] is None


def test_shelly_has_floats_with_the_low_word_first() -> None:
    # 1234.5 is 0x449A5000, 231.5 is 0x43678000, 98765.0 is 0x47C0E680 as IEEE 754 singles.
    name = {6 + i: word for i, word in enumerate((0x5350, 0x454D, 0x2D30, 0x3033))}
    registers = name | {1013: 0x5000, 1014: 0x449A, 1020: 0x8000, 1021: 0x4367, 1162: 0xE680, 1163: 0x47C0}
    values = read("shelly_pro_3em", registers, [(6, 10), (1013, 53), (1162, 4)])
    is_about(values, {"grid_w": 1234.5, "voltage_l1_v": 231.5, "import_wh": 98_765})


def test_victron_counts_charging_as_positive_and_lets_missing_sources_out() -> None:
    registers = {808: 1000, 809: 900, 810: 800, 820: 0xFF38, 821: 100, 822: 50, 842: 0xFC18, 843: 88, 850: 400}
    registers |= dict.fromkeys((811, 812, 813), 0xFFFF) | {2901: 150, 2902: 2}
    values = read("victron_gx", registers, [(817, 3)])
    is_about(values, {"pv_w": 3100, "own_grid_w": -50, "battery_w": 1000, "soc_pct": 88, "reserve_pct": 15})


def test_sofar_and_foxess_count_export_as_positive() -> None:
    sofar = {0x0488: 150, 0x0606: 0xFFCE, 0x0608: 33, 0x0586: 120, 0x0589: 110, 0x058C: 0xFFFF, 0x068F: 1000}
    values = read("sofar_g3", sofar, [(0x0586, 7), (0x0606, 3), (0x0686, 22)])
    is_about(values, {"grid_w": -1500, "battery_w": 500, "pv_w": 2300, "soc_pct": 33, "import_wh": 100_000})

    fox = {31002: 1500, 31005: 700, 31026: 200, 31027: 0xFF9C, 31028: 0, 31036: 0xFC18, 31038: 66, 32004: 55, 32007: 44}
    values = read("foxess_h3", fox, [(31002, 4), (31026, 13), (32003, 5), (41000, 1), (44000, 4)])
    is_about(values, {"pv_w": 2200, "own_grid_w": -100, "battery_w": -1000, "soc_pct": 66, "battery_in_wh": 5500})


def test_goodwe_and_growatt_have_the_high_word_first() -> None:
    goodwe = {35105: 0, 35106: 2000, 35109: 0xFFFF, 35110: 0xFFFF, 35113: 0xFFFF, 35114: 0xFFFF, 35117: 0xFFFF}
    goodwe |= {35118: 0xFFFF, 35182: 0xFFFF, 35183: 0xFE0C, 36025: 0, 36026: 300, 37007: 90}
    goodwe |= {36015: 0x47C0, 36016: 0xE680}
    values = read("goodwe_et", goodwe, [(35105, 106), (36008, 19), (47511, 2)])
    is_about(values, {"pv_w": 2000, "battery_w": -500, "grid_w": -300, "soc_pct": 90, "export_wh": 98_765})
    assert values["pv2_w"] is None

    growatt = {1: 0, 2: 35_000, 1010: 12_000, 1012: 0, 1014: 58, 1022: 2500, 1030: 0}
    values = read("growatt_sph", growatt, [(1009, 51), (91, 2)])
    is_about(values, {"pv_w": 3500, "battery_w": 1200, "own_grid_w": 250, "soc_pct": 58})


def test_sma_shows_absent_strings_at_night_and_two_unsigned_battery_powers() -> None:
    registers = {30775: 0xFFFF, 30776: 0xFC18, 30773: 0x8000, 30961: 0x8000, 30846: 42, 31394: 1000, 30868: 250}
    spans = [(30773, 4), (30845, 2), (30865, 4), (30961, 2), (31393, 12), (30513, 4)]
    values = read("sma_storage", registers, spans)
    is_about(values, {"ac_w": -1000, "battery_w": -1000, "soc_pct": 42, "own_grid_w": -250})
    assert values["pv_w"] is None
