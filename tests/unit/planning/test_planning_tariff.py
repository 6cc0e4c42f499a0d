import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from agent.planning.tariff import Tariff, TariffSettings, open_tariff
from coordinator.errors import ConfigError
from coordinator.slots import Slot

BERLIN = "Europe/Berlin"
DEMO = {
    "time_of_use": [
        {"from": "22:00", "to": "06:00", "import_per_kwh": 0.15},
        {"from": "06:00", "to": "17:00", "import_per_kwh": 0.28},
        {"from": "17:00", "to": "22:00", "import_per_kwh": 0.42},
    ],
    "export_per_kwh": 0.06,
}


def tou(timezone: str = BERLIN) -> Tariff:
    return open_tariff(TariffSettings.model_validate(DEMO), timezone, Path())


def slot(text: str, length_s: int = 900) -> Slot:
    return Slot.at(datetime.fromisoformat(text).replace(tzinfo=UTC), length_s)


def write(path: Path, *lines: str) -> Tariff:
    text = "\n".join(["time_utc,import_price_per_kwh,export_price_per_kwh", *lines]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return open_tariff(TariffSettings(file=Path(path.name)), "UTC", path.parent)


def test_fixed_tariff_has_exact_prices_at_all_times() -> None:
    settings = TariffSettings.model_validate({"fixed": {"import_per_kwh": 0.2834567, "export_per_kwh": 0.1}})
    tariff = open_tariff(settings, BERLIN, Path())
    assert tariff.import_micro(slot("2026-01-01T00:00")) == 283457
    assert tariff.export_micro(slot("2030-07-01T12:00", 3600)) == 100_000


def test_time_of_use_follows_local_clocks_in_winter_and_summer() -> None:
    tariff = tou()
    assert tariff.import_micro(slot("2026-01-15T05:00")) == 280_000  # 06:00 local
    assert tariff.import_micro(slot("2026-01-15T04:45")) == 150_000
    assert tariff.import_micro(slot("2026-07-15T04:00")) == 280_000  # 06:00 local summer time
    assert tariff.import_micro(slot("2026-07-15T03:45")) == 150_000
    assert tariff.import_micro(slot("2026-07-15T15:00")) == 420_000


@pytest.mark.parametrize(
    ("day", "count"), [("2026-03-28T23:00", 92), ("2026-10-24T22:00", 100), ("2026-06-01T22:00", 96)]
)
def test_local_days_of_92_96_and_100_quarter_hours_have_a_price_each(day: str, count: int) -> None:
    imports, exports = tou().prices(slot(day), count)
    assert imports.shape == exports.shape == (count,)
    # the night is what gets shorter or longer, never the evening
    assert (imports == 0.42).sum() == 20
    assert (imports == 0.28).sum() == 44
    assert (imports == 0.15).sum() == count - 64
    assert (exports == 0.06).all()


def test_slot_across_a_price_change_costs_the_mean_of_its_parts() -> None:
    settings = TariffSettings.model_validate(
        {
            "time_of_use": [
                {"from": "00:00", "to": "12:30", "import_per_kwh": 0.1},
                {"from": "12:30", "to": "24:00", "import_per_kwh": 0.3},
            ],
            "export_per_kwh": 0.0,
        }
    )
    assert open_tariff(settings, "UTC", Path()).import_micro(slot("2026-01-01T12:00", 3600)) == 200_000


@pytest.mark.parametrize("name", ["tariff.csv", "tariff.csv.gz"])
def test_file_prices_hold_for_a_step_of_the_file_and_no_longer(tmp_path: Path, name: str) -> None:
    tariff = write(tmp_path / name, "2026-01-01T00:00:00Z,0.22,0.05", "2026-01-01T01:00:00Z,0.54,0.05")
    assert tariff.import_micro(slot("2026-01-01T00:45")) == 220_000
    assert tariff.import_micro(slot("2026-01-01T01:45")) == 540_000
    with pytest.raises(ConfigError, match=rf"{name}.*no price for 2026-01-01 02:00 UTC.*to 2026-01-01 02:00"):
        tariff.import_micro(slot("2026-01-01T02:00"))
    with pytest.raises(ConfigError, match="no price for 2025-12-31 23:45"):
        tariff.prices(slot("2025-12-31T23:45"), 2)


def test_gap_in_a_file_is_not_bridged_with_the_last_price(tmp_path: Path) -> None:
    rows = [f"2026-01-01T{hour:02d}:00:00Z,0.2,0.05" for hour in (0, 1, 2, 5)]
    tariff = write(tmp_path / "t.csv", *rows)
    with pytest.raises(ConfigError, match="no price for 2026-01-01 03:00"):
        tariff.prices(slot("2026-01-01T02:00", 3600), 3)


def test_finer_file_prices_are_averaged_over_a_slot(tmp_path: Path) -> None:
    rows = [
        f"2026-01-01T00:{minute:02d}:00Z,{price},0.0" for minute, price in ((0, 0.1), (15, 0.2), (30, 0.3), (45, 0.5))
    ]
    imports, _ = write(tmp_path / "t.csv", *rows).prices(slot("2026-01-01T00:00", 3600), 1)
    np.testing.assert_allclose(imports, [0.275])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2026-01-01T00:00:00Z,0.05,0.22", "export price 0.22 exceeds"),
        ("2026-01-01T00:00:00,0.22,0.05", "has no zone"),
        ("2026-01-01T00:00:00Z,x,0.05", "not a time and two prices"),
        ("2026-01-01T00:00:00Z,NaN,0.05", "not a time and two prices"),
        ("2026-01-01T00:00:00Z,0.22", "2 cells where 3 belong"),
    ],
)
def test_unusable_row_is_named_with_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"t\.csv, line 2.*{said}"):
        write(tmp_path / "t.csv", row)


def test_unsorted_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sorted by time.*2026-01-01 00:00"):
        write(tmp_path / "t.csv", "2026-01-01T01:00:00Z,0.2,0.1", "2026-01-01T00:00:00Z,0.2,0.1")


@pytest.mark.parametrize("content", [b"", b"time,price\n", b"\x00\xff\xfe\x9f", b"\x1f\x8b\x08broken"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_file_that_is_no_tariff_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"t\.csv"):
        open_tariff(TariffSettings(file=Path(name)), "UTC", tmp_path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv.*cannot be read"):
        open_tariff(TariffSettings(file=Path("nowhere.csv")), "UTC", tmp_path)


def test_export_above_import_is_refused_with_the_time() -> None:
    settings = TariffSettings.model_validate({**DEMO, "export_per_kwh": 0.2})
    with pytest.raises(ConfigError, match=r"at 2026-01-15 03:00 UTC the export price 0\.2 exceeds"):
        open_tariff(settings, BERLIN, Path()).prices(slot("2026-01-15T03:00"), 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fixed": {"import_per_kwh": 0.3, "export_per_kwh": 0.1}}, "exactly one"),
        ({"export_per_kwh": None}, "needs it"),
        ({"time_of_use": DEMO["time_of_use"][:2]}, "no period of time_of_use covers 17:00"),  # type: ignore[index]
        ({"time_of_use": [*DEMO["time_of_use"], DEMO["time_of_use"][0]]}, "two periods"),  # type: ignore[index,misc]
        ({"time_of_use": [{"from": "6 am", "to": "24:00", "import_per_kwh": 1}]}, "not a time of day"),
        ({"time_of_use": [{"from": "06:01", "to": "24:00", "import_per_kwh": 1}]}, "multiples of 5"),
        ({"exports": 1}, "exports"),
    ],
)
def test_wrong_settings_say_what_is_wrong(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TariffSettings.model_validate({**DEMO, **change})


def test_unknown_timezone_is_named() -> None:
    with pytest.raises(ConfigError, match="Europe/Nowhere"):
        tou("Europe/Nowhere")


def live(path: Path, *hours: int, price: float = 0.3) -> Tariff:
    """Write a file with a price for each of these hours of 2026-03-01, and open it for a running home."""
    rows = [
        f"{datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=h):%Y-%m-%dT%H:%M:%SZ},{price + h / 100},0.05"
        for h in hours
    ]
    write(path, *rows)
    return open_tariff(TariffSettings(file=Path(path.name)), "UTC", path.parent, live=True)


def test_a_running_home_plans_past_the_end_of_its_file_with_the_day_befores_prices(tmp_path: Path) -> None:
    """Tomorrow's prices are published in the afternoon; a plan of the morning looks a day ahead."""
    tariff = live(tmp_path / "tariff.csv", *range(30))
    imports, _ = tariff.prices(slot("2026-03-01T20:00", 3600), 24)
    assert imports[:10] == pytest.approx([0.3 + h / 100 for h in range(20, 30)])
    assert imports[10:] == pytest.approx([0.3 + h / 100 for h in range(6, 20)])
    assert tariff.trouble(datetime(2026, 3, 2, 5, tzinfo=UTC)) == ""
    for day in (2, 9):
        at = datetime(2026, 3, day, 7, tzinfo=UTC)
        assert tariff.import_micro(Slot.at(at, 900)) == 370_000
        assert "no prices since 2026-03-02 06:00 UTC: the day before's are used; add rows" in tariff.trouble(at)


def test_a_running_home_sees_what_is_added_to_its_file_and_outlives_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "tariff.csv"
    tariff = live(path, *range(24))
    noon = slot("2026-03-02T12:00", 3600)
    assert tariff.import_micro(noon) == 420_000
    live(path, *range(48))
    assert tariff.import_micro(noon) == 660_000
    path.write_text("nonsense\n")
    assert tariff.import_micro(noon) == 660_000
    assert "the first line must be" in tariff.trouble(noon.start_at)
    path.unlink()
    assert tariff.import_micro(noon) == 660_000
    assert "cannot be read" in tariff.trouble(noon.start_at)
    live(path, *range(48), price=0.1)
    assert tariff.import_micro(noon) == 460_000
    assert tariff.trouble(noon.start_at) == ""


def test_a_running_home_needs_a_price_for_now_to_begin_with(tmp_path: Path) -> None:
    tariff = live(tmp_path / "tariff.csv", *range(24))
    with pytest.raises(ConfigError, match="no price for 2026-02-28"):
        tariff.import_micro(slot("2026-02-28T12:00"))


def test_prices_of_a_year_are_not_kept_in_memory() -> None:
    tariff = tou()
    for first in range(0, 5000 * 900, 900):
        tariff.import_micro(Slot(1_767_225_600 + first, 900))
    assert len(tariff._known) <= 1_000
