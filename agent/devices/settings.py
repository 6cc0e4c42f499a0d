"""What the owner says about one device."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agent.devices.address import Line, parse_address
from coordinator.errors import ConfigError


class DeviceSettings(BaseModel):
    """One device of the home: `[devices.meter]` in the configuration.

    Attributes:
        profile: Name of a profile that comes with the product, or the path of the owner's own.
        url: Where it listens: `tcp://192.168.1.20:502` (Modbus TCP), `rtu+tcp://192.168.1.20:8899` (the frames of a
            serial line in a TCP connection) or `serial:///dev/ttyUSB0`.
        unit: Modbus unit id; without it, the one of the profile.
        baud: Speed of a serial line; without it, the profile's.
        bits: Data bits, parity and stop bits of a serial line (`8N1`); without it, the profile's.
        echo: Whether the serial adapter hears its own requests.
        parameters: The installer's answers to the profile's questions, by name.
        unlock_control: Command a device whose profile nobody has tested on hardware; the owner has tested it.
        unlock_no_reversion: Command a device that has no timer to end our command; in so many words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: str = Field(min_length=1)
    url: str
    unit: int | None = Field(None, ge=0, le=255)
    baud: int | None = Field(None, ge=300, le=921_600)
    bits: str | None = Field(None, pattern=r"^[78][NEO][12]$")
    echo: bool = False
    parameters: dict[str, str] = {}
    unlock_control: bool = False
    unlock_no_reversion: Literal["I know that nothing ends the last command when this computer or its link fails"] | (
        None
    ) = None

    @field_validator("url")
    @classmethod
    def _device_address(cls, url: str) -> str:
        try:
            return parse_address(url).url
        except ConfigError as error:
            raise ValueError(str(error)) from None

    def profile_from(self, folder: Path) -> str:
        """Return the profile's name, or its path with a relative one taken from `folder`."""
        if "/" not in self.profile and not self.profile.endswith((".yaml", ".yml")):
            return self.profile
        return str(folder / Path(self.profile).expanduser())

    def line(self, baud: int, form: str) -> Line:
        """Return how the serial line is set, with the profile's `baud` and `form` where the owner says nothing."""
        return Line(baud=self.baud or baud, format=self.bits or form, echo=self.echo)
