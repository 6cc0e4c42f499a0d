"""The owner's settings of one home: one TOML file, environment variables on top (COMMONWATT_MQTT__OWN__URL=...).

Every subsystem gets its own section and nothing else. Relative paths in the file are relative to the file.
"""

import difflib
import os
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from agent.control.settings import ControlSettings
from agent.devices.settings import DeviceSettings
from agent.forecast.calendar import Calendar, Place
from agent.planning.problem import WEAR_PER_KWH, Battery
from agent.planning.tariff import TariffSettings
from agent.simulator.settings import ClockSettings
from agent.simulator.wishes import Wishes
from coordinator.broker_settings import BrokerSettings
from coordinator.charter import DisplayName
from coordinator.errors import ConfigError
from coordinator.links import BrokerUrl, Credentials, UserName
from coordinator.toml_file import read_toml
from coordinator.zones import known_zone

PREFIX = "COMMONWATT_"
NO_SETTINGS = {"COMMONWATT_REQUIRE_ALL", "COMMONWATT_MOSQUITTO_2_1", "COMMONWATT_SHOTS"}
"""Variables of the project's own tests."""

Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HomeSection(Section):
    name: DisplayName
    """As the charter calls this home."""
    timezone: str = "UTC"
    data_dir: Path = Path("data")
    pv_kwp: float | None = Field(default=None, ge=0)
    """Installed PV power; forecasts stay below it. 0 for a home without."""
    country: str | None = Field(default=None, pattern="^[A-Z]{2}$")
    """Two letters, for public holidays."""
    location: tuple[Latitude, Longitude] | None = None
    """Degrees north and east: for the height of the sun. It leaves the home only if `weather` is on."""
    weather: bool = False
    """Ask Open-Meteo for the weather at the place, rounded to a tenth of a degree; needs the extra `weather`."""
    connection_kw: float | None = Field(default=None, gt=0)
    """Limit of the grid connection in both directions."""
    fuse_a: float | None = Field(default=None, gt=0)
    """Main fuse of each phase; counts where the meter shows power and voltage of its phases."""
    since: AwareDatetime | None = None
    """Bills count from here on; without it, from the first metered slot."""
    until: AwareDatetime | None = None
    """Bills count up to here; without it, for ever."""

    _known_zone = field_validator("timezone")(known_zone)

    @field_validator("country")
    @classmethod
    def _has_holidays(cls, country: str | None) -> str | None:
        if country is not None:
            Calendar(Place(timezone=UTC, country=country))
        return country

    @model_validator(mode="after")
    def _weather_has_a_place(self) -> "HomeSection":
        if self.weather and self.location is None:
            raise ValueError("weather is asked for a place: give location = [north, east] in degrees")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class CommunitySection(Section):
    charter: Path
    key_file: Path
    forgiven: tuple[DisplayName, ...] = ()
    """Neighbours to trade with even though it is proved that they signed two contents where one is due."""


class OwnBroker(Credentials):
    url: BrokerUrl
    username: UserName = "owner"


class PeerBroker(Credentials):
    """A neighbour's broker, as this home is let into it."""

    member: DisplayName
    url: BrokerUrl | None = None
    """Default: the address in the charter."""
    username: UserName | None = None
    """Default: this home's id."""


class MqttSection(Section):
    own: OwnBroker
    peers: tuple[PeerBroker, ...] = ()
    heartbeat_s: float = Field(default=20.0, gt=0, le=600)
    keepalive_s: int = Field(default=10, ge=1, le=600)
    retry_max_s: float = Field(default=15.0, gt=0)


class PollSection(Section):
    interval_s: float = Field(default=2.0, gt=0, le=60)
    stale_after_s: float = Field(default=15.0, gt=0)


class BatterySection(Section):
    capacity_kwh: float = Field(gt=0)
    charge_kw: float = Field(gt=0)
    discharge_kw: float = Field(gt=0)
    round_trip_efficiency: float = Field(default=0.9, gt=0, le=1)
    reserve_pct: float = Field(default=20.0, ge=0, lt=100)
    max_pct: float = Field(default=95.0, gt=0, le=100)
    wear_per_kwh: float = Field(default=WEAR_PER_KWH, ge=0)

    @model_validator(mode="after")
    def _has_room(self) -> "BatterySection":
        if self.reserve_pct >= self.max_pct:
            raise ValueError(f"reserve_pct {self.reserve_pct:g} must lie below max_pct {self.max_pct:g}")
        return self

    def battery(self) -> Battery:
        """Return the battery as planning sees it: from empty to the owner's maximum."""
        one_way = self.round_trip_efficiency**0.5
        return Battery(
            capacity_wh=1000 * self.capacity_kwh,
            charge_max_w=1000 * self.charge_kw,
            discharge_max_w=1000 * self.discharge_kw,
            efficiency_charge=one_way,
            efficiency_discharge=one_way,
            reserve_wh=10 * self.capacity_kwh * self.reserve_pct,
            max_wh=10 * self.capacity_kwh * self.max_pct,
        )


class HomeConfig(BaseSettings):
    """One home."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__")

    home: HomeSection
    community: CommunitySection
    mqtt: MqttSection
    devices: Annotated[dict[str, DeviceSettings], Field(min_length=1)]
    tariff: TariffSettings
    poll: PollSection = PollSection()
    battery: BatterySection | None = None
    control: ControlSettings = ControlSettings()
    wishes: Wishes = Wishes()
    """Cars, loads that can wait and tanks, for the plan and its reasons: no device steers them yet, so the owner does
    what the plan page says. The load forecast learns from the meter, so tell only what the record does not show yet."""
    broker: BrokerSettings | None = None
    """Start this home's broker together with the agent; without it, the broker runs on its own."""
    clock: ClockSettings | None = None
    """A simulated clock; real homes leave it out."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def load_config(path: Path) -> HomeConfig:
    """Read a home's configuration; relative paths in it become relative to its folder.

    Raises:
        ConfigError: Names file, key, cause and cure.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file; `commonwatt init` writes a commented one")
    _check_environment()
    try:
        config = read_toml(path, HomeConfig, "the home's, home.toml, which `commonwatt init` writes")
    except SettingsError as error:
        raise ConfigError(
            f"{path}: environment: {error}: unset that COMMONWATT_ variable, or name one key as in "
            "COMMONWATT_MQTT__OWN__URL"
        ) from None
    return _anchored(config, path.resolve().parent)


def _check_environment() -> None:
    """Refuse a variable that means a setting and sets none: an owner may rely on it.

    Raises:
        ConfigError: Names it, and which is meant.
    """
    sections = [name.upper() for name in HomeConfig.model_fields]
    for name in map(str.upper, os.environ):
        words = name.removeprefix(PREFIX)
        given, _, key = words.partition("__")
        if not name.startswith(PREFIX) or given in sections or name in NO_SETTINGS:
            continue
        joined = [section for section in sections if words.startswith(f"{section}_")]
        meant = [f"{section}__{words.removeprefix(f'{section}_')}" for section in joined]
        if key and not meant:
            meant = [f"{section}__{key}" for section in difflib.get_close_matches(given, sections, n=1)]
        cure = f"did you mean {PREFIX}{meant[0]}?" if meant else "unset it"
        raise ConfigError(f"environment: {name} sets nothing: {cure}")


def _anchored(config: HomeConfig, folder: Path) -> HomeConfig:
    """Make every path of the configuration absolute."""

    def walk(value: Any) -> Any:
        if isinstance(value, DeviceSettings):
            return value.model_copy(update={"profile": value.profile_from(folder)})
        if isinstance(value, BaseModel):
            changes = {name: walk(getattr(value, name)) for name in type(value).model_fields}
            return value.model_copy(update=changes)
        if isinstance(value, tuple):
            return tuple(walk(item) for item in value)
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        return folder / value if isinstance(value, Path) else value

    anchored: HomeConfig = walk(config)
    return anchored
