"""What the options of `commonwatt import` come to."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from agent.cli.import_ask import Questions
from agent.forecast.calendar import Calendar, Place
from agent.imports.folder import CommunityFacts
from agent.imports.moments import zone_of
from agent.imports.prices import tariff_of
from agent.imports.table import TableOptions
from agent.planning.tariff import TariffSettings
from agent.simulator.community import Community, HomeEntry
from coordinator.errors import ConfigError
from coordinator.toml_file import explain


def zone(told: str | None, community: Community | None, questions: Questions) -> str:
    """Return the community's time zone."""
    if community is not None:
        if told not in (None, community.timezone.key):
            raise ConfigError(f"--timezone {told}: the folder's is {community.timezone.key}: leave the option out")
        return community.timezone.key
    zone = told or questions.text("Time zone, such as Europe/Berlin", "--timezone")
    zone_of(zone)
    return zone


def table_options(
    zone: str,
    time: Sequence[str] | None,
    time_format: str | None,
    label: str,
    *,
    delimiter: str | None,
    decimal: str | None,
    skip: int,
) -> TableOptions:
    match label:
        case "start" | "end":
            return TableOptions(
                zone=zone_of(zone),
                time=tuple(time or ()),
                time_format=time_format,
                label=label,
                delimiter={"tab": "\t"}.get(delimiter or "", delimiter),
                decimal=decimal,
                skip=skip,
            )
        case _:
            raise ConfigError(f"--label {label!r}: say start or end")


def facts(
    community: Community | None,
    folder: Path,
    name: str | None,
    timezone: str,
    currency: str,
    *,
    country: str | None,
    latitude: float | None,
    longitude: float | None,
) -> CommunityFacts:
    """Return what is known of the community: as it stands in its folder, or as it is told of a new one."""
    if community is not None:
        return CommunityFacts(
            name=community.name,
            timezone=timezone,
            currency=community.currency,
            country=community.country,
            latitude=community.latitude,
            longitude=community.longitude,
        )
    try:
        Calendar(Place(timezone=zone_of(timezone), country=country))
    except ValueError as error:
        raise ConfigError(f"--country {country}: {error}: two letters such as GB, or leave it out") from None
    return CommunityFacts(
        name=name or folder.resolve().name,
        timezone=timezone,
        currency=currency,
        country=country,
        latitude=latitude,
        longitude=longitude,
    )


def free_name(community: Community | None) -> str:
    taken = {home.name for home in community.homes} if community else set()
    return next(name for number in range(1, len(taken) + 2) if (name := f"home-{number}") not in taken)


def entry(
    name: str,
    battery_kwh: float | None,
    charge_kw: float | None,
    discharge_kw: float | None,
    round_trip: float,
    pv_kwp: float | None,
    fuse_a: float | None,
) -> HomeEntry:
    """Return the home as community.toml will have it."""
    battery = None
    if battery_kwh is not None:
        charge_kw = battery_kwh / 2 if charge_kw is None else charge_kw
        battery = {
            "capacity_kwh": battery_kwh,
            "charge_kw": charge_kw,
            "discharge_kw": charge_kw if discharge_kw is None else discharge_kw,
            "round_trip_efficiency": round_trip,
        }
    elif charge_kw is not None or discharge_kw is not None:
        raise ConfigError("--charge-kw and --discharge-kw belong to a battery: give --battery-kwh too")
    try:
        return HomeEntry.model_validate(
            {"name": name, "trace": "unknown", "battery": battery, "pv_kwp": pv_kwp, "fuse_a": fuse_a}
        )
    except ValidationError as error:
        raise ConfigError(f"the home's options: {explain(error, HomeEntry)}") from None


def prices(
    community: Community | None,
    import_price: float | None,
    period: Sequence[str] | None,
    export_price: float | None,
    file: Path | None,
    questions: Questions,
) -> TariffSettings | None:
    """Return the tariff that is told; None for a home that shares the existing community's."""
    if import_price is None and not period and file is None:
        if community is not None:
            if export_price is not None:
                raise ConfigError(
                    "--export-price alone: a tariff of the home's own needs --import-price or --period too"
                )
            return None
        import_price = questions.number("Price of a kWh from the grid", "--import-price, --period or --tariff")
        export_price = (
            questions.number("Price of a kWh fed in", "--export-price") if export_price is None else export_price
        )
    return tariff_of(import_price, period or (), export_price, file)
