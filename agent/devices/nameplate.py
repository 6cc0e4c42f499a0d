"""What a device says of itself: SunSpec's common model, else the text by which its profile knows it."""

from collections.abc import Sequence

from agent.devices.commissioning import DeviceIdentity
from agent.devices.registers import decode_text
from agent.devices.sunspec import ModelAt, ReadWords, model_points

COMMON = 1


async def read_nameplate(read: ReadWords, chain: Sequence[ModelAt], says: str) -> DeviceIdentity:
    """Read manufacturer, model and serial number.

    Args:
        read: Reads holding registers.
        chain: The device's SunSpec models; empty when it has none.
        says: The text that proved the profile; empty when a number did.

    Raises:
        DeviceError: The device could not be read.
    """
    common = next((model for model in chain if model.model_id == COMMON), None)
    if common is None:
        return DeviceIdentity(model=says[:64])
    manufacturer, model, serial = [await _text(read, common, name) for name in ("Mn", "Md", "SN")]
    return DeviceIdentity(manufacturer=manufacturer, model=model, serial=serial)


async def _text(read: ReadWords, common: ModelAt, name: str) -> str:
    point = model_points(COMMON)[name]
    return decode_text(await read(common.address + point.offset, point.size))
