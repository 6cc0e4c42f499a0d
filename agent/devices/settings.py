"""What the owner says about one device."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


class DeviceSettings(BaseModel):
    """One device of the home: `[devices.meter]` in the configuration.

    Attributes:
        profile: Name of a profile that comes with the product, or the path of the owner's own.
        url: Where it listens: `tcp://192.168.1.20:502`.
        unit: Modbus unit id; without it, the one of the profile.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: str = Field(min_length=1)
    url: str
    unit: int | None = Field(None, ge=0, le=255)

    @field_validator("url")
    @classmethod
    def _tcp_address(cls, url: str) -> str:
        parts = urlsplit(url)
        try:
            complete = parts.scheme == "tcp" and parts.hostname and parts.port
        except ValueError:
            complete = False
        if not complete or parts.path not in ("", "/") or parts.query or parts.username:
            raise ValueError(f"{url!r} is no device address; write it like tcp://192.168.1.20:502")
        return f"tcp://{parts.netloc}"

    def profile_from(self, folder: Path) -> str:
        """Return the profile's name, or its path with a relative one taken from `folder`."""
        if "/" not in self.profile and not self.profile.endswith((".yaml", ".yml")):
            return self.profile
        return str(folder / Path(self.profile).expanduser())
