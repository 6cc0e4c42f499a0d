"""Names that people cannot tell apart: in one community no two members may have them. Pure."""

import unicodedata

# Letters of other scripts that look like a Latin one, and signs that fonts draw alike. After casefold.
_ALIKE = str.maketrans(
    {
        **dict(zip("аеорсухіјѕһԁԛԝькмтвн", "aeopcyxijshdqwbkmtbh", strict=True)),
        **dict(zip("ανορτυικχγηω", "avoptuikxynw", strict=True)),
        **dict.fromkeys("1iıɩ", "l"),
        "0": "o",
    }
)
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))


def skeleton(name: str) -> str:
    """Return what a glance at the name leaves: names with one skeleton are taken for each other.

    Case, accents, blanks, dots, dashes and full width go; letters and digits that look alike become one of them.
    """
    plain = "".join(
        char for char in unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name)) if char.isalnum()
    )
    alike = plain.casefold().translate(_ALIKE)
    for pair, letter in _PAIRS:
        alike = alike.replace(pair, letter)
    return alike
