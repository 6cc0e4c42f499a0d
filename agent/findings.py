"""What a check found: one line for the owner."""

from dataclasses import asdict, dataclass

RUNS = "running"
"""The subject of what is said of a home that runs while it is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. A wrong one says cause and cure in one sentence.

    Attributes:
        subject: What was looked at: "settings", "meter", "own broker".
    """

    ok: bool
    subject: str
    text: str

    def plain(self) -> dict[str, bool | str]:
        """Return the finding as it is printed as JSON."""
        return asdict(self)


def good(subject: str, text: str) -> Finding:
    return Finding(ok=True, subject=subject, text=text)


def wrong(subject: str, text: str) -> Finding:
    return Finding(ok=False, subject=subject, text=text)
