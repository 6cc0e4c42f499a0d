"""The charter's file: the papers of a community as JSON, read with every signature checked."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from coordinator.charter import Charter
from coordinator.charter_history import History
from coordinator.clock import unix_ms
from coordinator.errors import ConfigError
from coordinator.identity import Identity, encode_base64


def found(charter: Charter, founders: Mapping[str, Identity]) -> str:
    """Return the text of the charter file with every founder's signature.

    Raises:
        KeyError: If a member's key is not among `founders`.
    """
    signatures = {member.id: encode_base64(founders[member.id].sign(charter.canonical)) for member in charter.members}
    return history_text(History(charter=charter, signatures=signatures))


def history_text(history: History) -> str:
    """Return the text of the file."""
    return history.model_dump_json(indent=2, exclude_none=True) + "\n"


def load_charter(path: Path, now: datetime) -> Charter:
    """Read the charter that holds now.

    Raises:
        ConfigError: As `load_history`.
    """
    return load_history(path).in_force(unix_ms(now))


def load_history(path: Path) -> History:
    """Read a charter's file and check every signature in it.

    Raises:
        ConfigError: If it cannot be read, breaks a rule, lacks a founder's signature, or has one that fits nothing.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the charter {path}: {error.strerror}; copy it from any neighbour") from None
    try:
        json.loads(text, object_pairs_hook=_once)
        history = History.model_validate_json(text)
        check_founding(history)
        history.check()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {where}: {first['msg']}; copy the charter again from a neighbour") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}; copy the charter again from a neighbour") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}; copy the charter again from a neighbour") from None
    return history


def check_founding(history: History) -> None:
    """Refuse a founding that one founder did not sign.

    Raises:
        ConfigError: It names the founder.
    """
    if history.charter.follows is not None:
        raise ConfigError("the first charter is no founding: it follows another")
    if history.unsigned:
        raise ConfigError(
            f"the signature of {history.unsigned[0]!r} is missing or does not fit: "
            "this is not the charter the members founded"
        )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: another reader could take the other value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in it")
    return found
