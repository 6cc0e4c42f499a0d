"""From the owner's settings to devices that share their links."""

from collections.abc import Mapping

from agent.devices.address import Line, parse_address
from agent.devices.device import Device
from agent.devices.link import ModbusLink
from agent.devices.link_limits import LinkLimits
from agent.devices.profile import load_profile
from agent.devices.schema import Profile, RtuSpec
from agent.devices.settings import DeviceSettings
from coordinator.clock import Clock
from coordinator.errors import ConfigError

_BITS_OF_PAUSE = 3.5 * 11
"""Silence that ends a frame on a serial line."""


class LinkPool:
    """Hands out one link per host and port, or serial port: many devices allow one connection only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[str, ModbusLink] = {}

    def link(self, url: str, limits: LinkLimits, line: Line | None = None) -> ModbusLink:
        """Return the link to `url`, as slow as its slowest user needs it.

        Raises:
            ConfigError: If two devices want the same serial line set differently.
        """
        address = parse_address(url)
        link = self._links.get(address.url)
        if link is None:
            link = self._links[address.url] = ModbusLink(address.url, self._clock, limits, line)
        if address.kind != "tcp" and line is not None and line != link.line:
            raise ConfigError(
                f"{address.url}: two devices want this line set differently ({_words(link.line)} and {_words(line)}): "
                "set baud, bits and echo of both alike, at the devices and here"
            )
        link.limits = link.limits.slower(limits)
        return link

    async def close(self) -> None:
        """Close all links."""
        for link in self._links.values():
            await link.close()


def open_devices(settings: Mapping[str, DeviceSettings], links: LinkPool, clock: Clock) -> list[Device]:
    """Return all devices of a home; nothing is connected yet.

    Raises:
        ConfigError: A profile cannot be used.
    """
    return [open_device(name, each, links, clock) for name, each in settings.items()]


def open_device(name: str, settings: DeviceSettings, links: LinkPool, clock: Clock) -> Device:
    """Return a device as the owner configured it; nothing is connected yet.

    Raises:
        ConfigError: The profile cannot be used.
    """
    profile = owner_profile(settings)
    rtu = profile.link.rtu or RtuSpec()
    line = settings.line(rtu.baud, rtu.format)
    link = links.link(settings.url, link_limits(profile, settings.url, line), line)
    return Device(name, profile, link, clock, settings.unit)


def owner_profile(settings: DeviceSettings) -> Profile:
    """Return a device's profile as the owner lets it be used.

    One that nobody tested (`evidence: desk`) comes without its control, unless the owner unlocks it; so does one that
    knows no timer that ends our command.

    Raises:
        ConfigError: The profile cannot be used.
    """
    profile = load_profile(settings.profile, settings.parameters)
    if (profile.evidence == "desk" and not settings.unlock_control) or (
        profile.control is not None and profile.control.battery_w.timer is None and not settings.unlock_no_reversion
    ):
        profile = profile.model_copy(update={"control": None})
    return profile


def link_limits(profile: Profile, url: str, line: Line) -> LinkLimits:
    """Return what a profile's device bears behind this address."""
    limits = profile.limits
    on_wire = parse_address(url).kind == "serial"
    return LinkLimits(
        timeout_s=limits.timeout_ms / 1000,
        gap_s=max(limits.gap_ms / 1000, _BITS_OF_PAUSE / line.baud if on_wire else 0.0),
        connect_wait_s=limits.connect_wait_ms / 1000,
        retries=limits.retries,
        max_connections=limits.max_connections,
    )


def _words(line: Line) -> str:
    return f"{line.baud} baud {line.format}{', echo' if line.echo else ''}"
