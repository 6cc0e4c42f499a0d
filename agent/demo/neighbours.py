"""Who lives in the demo: six made-up homes, or the homes of a community folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from agent.demo.options import DEFAULT_START, DemoOptions
from agent.planning.tariff import Period, TariffSettings
from agent.simulator.community import load_community
from agent.simulator.settings import BatterySettings, GeneratorSettings, TraceSettings
from agent.storage.home_store import StoredSlot
from coordinator.errors import ConfigError
from coordinator.slots import Slot

HISTORY_DAYS = 14
ZONE = "Europe/Berlin"

TARIFF = TariffSettings(
    time_of_use=(
        Period.model_validate({"from": "22:00", "to": "06:00", "import_per_kwh": 0.15}),
        Period.model_validate({"from": "06:00", "to": "17:00", "import_per_kwh": 0.28}),
        Period.model_validate({"from": "17:00", "to": "22:00", "import_per_kwh": 0.42}),
    ),
    export_per_kwh=0.06,
)

_KINDS: tuple[tuple[float, float, float], ...] = (
    # pv_kwp, battery kWh, size of the household
    (5.5, 7.5, 1.3),
    (5.0, 0.0, 1.1),
    (0.0, 7.5, 1.5),
    (0.0, 0.0, 1.4),
    (4.0, 5.0, 1.2),
    (5.5, 0.0, 1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One home to be: its life, its battery, its tariff and its past."""

    name: str
    plant: GeneratorSettings | TraceSettings
    pv_kwp: float | None
    has_pv: bool
    battery: BatterySettings | None
    tariff: TariffSettings
    history: Sequence[StoredSlot]


@dataclass(frozen=True, slots=True, kw_only=True)
class Street:
    """All homes and what they share."""

    name: str
    currency: str
    timezone: str
    slot_s: int
    start_at: datetime
    homes: tuple[Neighbour, ...]


def _history(plant: GeneratorSettings | TraceSettings, first: Slot) -> list[StoredSlot]:
    """Return the two weeks before `first`, as an owner would bring them along."""
    slots = HISTORY_DAYS * 86400 // first.length_s
    start_at = first.start_at - timedelta(days=HISTORY_DAYS)
    profile = plant.profile()
    return [
        StoredSlot(
            key=int(row.start_at.timestamp()),
            length_s=first.length_s,
            load_wh=None if row.load_w is None else row.load_w * first.hours,
            pv_wh=None if row.pv_w is None else row.pv_w * first.hours,
            source="import",
        )
        for row in profile.history_rows(start_at, slots, first.length_s)
    ]


def built_in(options: DemoOptions) -> Street:
    """Return the made-up neighbourhood: the same for the same seed."""
    start_at = options.start_at or DEFAULT_START
    first = Slot.at(start_at, 900)
    homes = []
    for number in range(options.homes or len(_KINDS)):
        pv_kwp, battery_kwh, load_scale = _KINDS[number % len(_KINDS)]
        plant = GeneratorSettings(
            seed=100 * options.seed + number,
            weather_seed=options.seed,
            timezone=ZONE,
            pv_kwp=pv_kwp,
            load_scale=load_scale,
        )
        battery = None
        if battery_kwh:
            power_kw = battery_kwh / 2
            battery = BatterySettings(capacity_kwh=battery_kwh, charge_kw=power_kw, discharge_kw=power_kw)
        homes.append(
            Neighbour(
                name=f"home-{number + 1}",
                plant=plant,
                pv_kwp=pv_kwp,
                has_pv=pv_kwp > 0,
                battery=battery,
                tariff=TARIFF,
                history=_history(plant, first),
            )
        )
    return Street(
        name="Demo Street", currency="EUR", timezone=ZONE, slot_s=900, start_at=first.start_at, homes=tuple(homes)
    )


def from_folder(options: DemoOptions) -> Street:
    """Return the homes of a community folder.

    Raises:
        ConfigError: If the folder is wrong, or does not cover the demo's time and the two weeks before it.
    """
    assert options.traces is not None
    community = load_community(options.traces)
    begin = community.start_at + timedelta(days=HISTORY_DAYS)
    end = community.start_at + timedelta(seconds=community.slots * community.slot_s) - timedelta(hours=options.hours)
    start_at = options.start_at or _morning(begin, community.timezone)
    if not begin <= start_at <= end:
        raise ConfigError(
            f"--start {start_at:%Y-%m-%d %H:%M} UTC: {options.traces} can start from {begin:%Y-%m-%d %H:%M} "
            f"to {end:%Y-%m-%d %H:%M} UTC ({HISTORY_DAYS} days of history before, {options.hours:g} hours after)"
        )
    first = Slot.at(start_at, community.slot_s)
    homes = []
    for home in community.homes[: options.homes]:
        plant = TraceSettings(kind="trace", file=home.trace_path.resolve(), slot_minutes=community.slot_s // 60)
        homes.append(
            Neighbour(
                name=home.name,
                plant=plant,
                pv_kwp=home.pv_kwp,
                has_pv=home.has_pv,
                battery=home.battery,
                tariff=TariffSettings(file=home.tariff_path.resolve()),
                history=_history(plant, first),
            )
        )
    return Street(
        name=community.name,
        currency=community.currency,
        timezone=community.timezone.key,
        slot_s=community.slot_s,
        start_at=first.start_at,
        homes=tuple(homes),
    )


def _morning(after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first 09:00 local time at or after a moment."""
    local = after.astimezone(zone)
    morning = local.replace(hour=9, minute=0, second=0, microsecond=0)
    return morning if morning >= local else morning + timedelta(days=1)


def neighbours(options: DemoOptions) -> Street:
    """Return who lives in the demo.

    Raises:
        ConfigError: If a community folder cannot be used.
    """
    return from_folder(options) if options.traces else built_in(options)
