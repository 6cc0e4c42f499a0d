"""Time zones as owners write them."""

from zoneinfo import ZoneInfo


def known_zone(name: str) -> str:
    """Return the name of a time zone.

    Raises:
        ValueError: If there is none of this name; made for owners, and for pydantic validators.
    """
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown, a folder of the database, not a relative name
        raise ValueError(f"{name!r} is no time zone: write one like Europe/Berlin") from None
    return name
