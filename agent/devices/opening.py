"""From the owner's settings to devices that share their links."""

from agent.devices.device import Device
from agent.devices.link import LinkLimits, ModbusLink
from agent.devices.profile import load_profile
from agent.devices.settings import DeviceSettings
from coordinator.clock import Clock


class LinkPool:
    """Hands out one link per host and port: many devices allow one connection only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[str, ModbusLink] = {}

    def link(self, url: str, limits: LinkLimits) -> ModbusLink:
        """Return the link to `url`, as slow as its slowest user needs it."""
        link = self._links.get(url)
        if link is None:
            link = self._links[url] = ModbusLink(url, self._clock, limits)
        link.limits = link.limits.slower(limits)
        return link

    async def close(self) -> None:
        """Close all links."""
        for link in self._links.values():
            await link.close()


def open_device(name: str, settings: DeviceSettings, links: LinkPool, clock: Clock) -> Device:
    """Return a device as the owner configured it; nothing is connected yet.

    Raises:
        ConfigError: The profile cannot be used.
    """
    profile = load_profile(settings.profile)
    limits = LinkLimits(
        timeout_s=profile.limits.timeout_ms / 1000,
        gap_s=profile.limits.gap_ms / 1000,
        connect_wait_s=profile.limits.connect_wait_ms / 1000,
    )
    return Device(name, profile, links.link(settings.url, limits), clock, settings.unit)
