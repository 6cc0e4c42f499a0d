"""What a person should know of: what is wrong right now, and what happened last. Pure."""

from agent.dashboard import time_words
from agent.dashboard.figures import STALE_AFTER_S
from agent.dashboard.picture import Picture
from agent.dashboard.topics import Notice


def warnings(picture: Picture, wall_s: float) -> list[tuple[str, str]]:
    """Return (home, text) of everything that is wrong right now, as the homes say it or as their silence shows."""
    found: list[tuple[str, str]] = []
    for home in picture.homes.values():
        age_s = home.age_s(wall_s)
        heard = f"last heard {time_words.ago(age_s, fine=False)}" if age_s is not None and age_s > STALE_AFTER_S else ""
        if not home.link_up:
            found.append((home.name, "; ".join(filter(None, [home.link, heard]))))
        elif heard:
            found.append((home.name, f"has gone quiet; {heard}"))
        found.extend((home.name, text) for text in (home.notices.warnings if home.notices else []))
    return found


def notices(picture: Picture, limit: int) -> list[tuple[str, Notice]]:
    """Return (home, notice), newest first."""
    entries = [(home.name, n) for home in picture.homes.values() if home.notices for n in home.notices.log]
    return sorted(entries, key=lambda entry: entry[1].at, reverse=True)[:limit]
