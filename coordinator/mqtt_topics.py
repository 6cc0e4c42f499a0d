"""Topic names of the neighbourhood and what an MQTT filter lets through. Pure.

`cw/1/<community>/<home>/pub` is what a home tells everybody, `cw/1/<community>/<home>/to/<peer>` what it tells one
peer. Both lie on the sender's own broker: the first levels always name who publishes, never who is to obey.
"""

from functools import lru_cache

PREFIX = "cw/1/"
_TOPIC_BYTES_MAX = 512
"""The longest of ours has a quarter of it. A broker may send topics of 64 KiB: whatever remembers some must not."""


def pub_topic(community: str, home: str) -> str:
    """Return the topic on which `home` speaks to the whole community."""
    return f"{PREFIX}{community}/{home}/pub"


def direct_topic(community: str, home: str, peer: str) -> str:
    """Return the topic on which `home` speaks to `peer` alone."""
    return f"{PREFIX}{community}/{home}/to/{peer}"


def speaker(topic: str) -> str | None:
    """Return the home that a neighbourhood's topic belongs to; None for other topics."""
    levels = topic.split("/")
    return levels[3] if topic.startswith(PREFIX) and len(levels) > 4 else None


def direct_reader(topic: str) -> str | None:
    """Return the one home that a direct topic is for; None for other topics."""
    levels = topic.split("/")
    return levels[5] if speaker(topic) is not None and levels[4] == "to" and len(levels) == 6 else None


def check_topic(topic: str) -> str:
    """Return a topic that may be published on.

    Raises:
        ValueError: If it is empty, too long, has a wildcard or a control character, or starts with `$`.
    """
    _check_text(topic)
    if "+" in topic or "#" in topic:
        raise ValueError(f"topic {topic!r} has a wildcard: wildcards belong in filters")
    if topic.startswith("$"):
        raise ValueError(f"topic {topic!r} starts with $: such topics belong to the broker")
    return topic


def check_filter(topic_filter: str) -> str:
    """Return a well-formed subscription filter.

    Raises:
        ValueError: If a wildcard stands where MQTT does not allow it, or the text cannot be a topic.
    """
    _check_text(topic_filter)
    levels = topic_filter.split("/")
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != len(levels) - 1):
            raise ValueError(f"filter {topic_filter!r}: # must be the whole last level")
        if "+" in level and level != "+":
            raise ValueError(f"filter {topic_filter!r}: + must be a whole level")
    return topic_filter


def _check_text(text: str) -> None:
    if not text or len(text.encode()) > _TOPIC_BYTES_MAX:
        raise ValueError(f"a topic has 1 to {_TOPIC_BYTES_MAX} bytes")
    # Filters are written into the broker's rule file, one a line: a line break in one would be a second rule.
    if not text.isprintable() or text != text.strip():
        raise ValueError(f"topic {text!r} has a control character or blanks at its ends")


def covers(allowed: str, wanted: str) -> bool:
    """Return whether everything that `wanted` matches is matched by `allowed` too; never for what is too long.

    Args:
        allowed: A filter.
        wanted: A filter or a topic; for a topic the answer is whether the filter matches it.
    """
    return len(wanted) <= _TOPIC_BYTES_MAX and _covers(allowed, wanted)


@lru_cache(maxsize=4096)
def _covers(allowed: str, wanted: str) -> bool:
    allowed_levels, wanted_levels = allowed.split("/"), wanted.split("/")
    if wanted.startswith("$") and allowed_levels[0] in ("#", "+"):
        return False
    for index, level in enumerate(allowed_levels):
        if level == "#":
            return True
        if index >= len(wanted_levels) or wanted_levels[index] == "#":
            return False
        if level not in ("+", wanted_levels[index]):
            return False
    return len(allowed_levels) == len(wanted_levels)
