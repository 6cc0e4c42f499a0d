"""`commonwatt init`: the files of a first home. Complete, commented, and never written over anything."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from agent.dashboard.settings import DashboardSettings, Source
from agent.first_config import CONFIG, PAGE
from coordinator.charter import Charter, Member, Rules
from coordinator.charter_file import found
from coordinator.clock import WallClock, unix_ms
from coordinator.errors import ConfigError
from coordinator.identity import Identity, encode_base64
from coordinator.toml_file import explain, toml_text

BROKER_URL = "mqtt://127.0.0.1:1883"
CONFIG_FILE = "home.toml"
KEY_FILE = "key.pem"
CHARTER_FILE = "charter.json"
PASSWORD_FILE = "owner.password"
PAGE_FILE = "dashboard.toml"


def write_first_files(folder: Path, *, name: str, timezone: str, currency: str) -> Path:
    """Write a home's settings, key, charter of this one home, broker password and page settings.

    The devices are those of `commonwatt simulator`; everything works as written.

    Args:
        name: The home's name, as neighbours will see it.

    Returns:
        The path of the settings.

    Raises:
        ConfigError: If a file exists already, a value cannot be used, or the folder cannot be written.
    """
    identity = Identity.generate()
    charter = _charter(identity, name, currency)
    password = secrets.token_urlsafe(18)
    page = _page(name, timezone, password)
    texts = {
        CHARTER_FILE: found(charter, {identity.id: identity}),
        PASSWORD_FILE: password + "\n",
        PAGE_FILE: PAGE + toml_text(page),
        CONFIG_FILE: _fill(
            CONFIG,
            NAME=json.dumps(name, ensure_ascii=False),
            TIMEZONE=json.dumps(timezone),
            CURRENCY=currency,
            COMMUNITY=charter.community_id,
            HOME=identity.id,
            BROKER=json.dumps(BROKER_URL),
        ),
    }
    _write(folder, identity, texts)
    return folder / CONFIG_FILE


def _charter(identity: Identity, name: str, currency: str) -> Charter:
    try:
        member = Member(id=identity.id, name=name, public_key=encode_base64(identity.public_key), broker=BROKER_URL)
        return Charter(
            name=name, currency=currency, founded_ms=unix_ms(WallClock().now()), rules=Rules(), members=(member,)
        )
    except ValidationError as error:
        raise ConfigError(
            f"{_explain(error)}. A name is up to 24 letters, digits, blanks, dots and dashes; a currency is like EUR"
        ) from None


def _page(name: str, timezone: str, password: str) -> DashboardSettings:
    try:
        ZoneInfo(timezone)
        source = Source(home=name, url=BROKER_URL, username="owner", password=password)
        return DashboardSettings(sources=[source], timezone=timezone)
    except (KeyError, OSError, ValueError):
        raise ConfigError(f"timezone: {timezone!r} is no time zone: write one like Europe/Berlin") from None


def _explain(error: ValidationError) -> str:
    return explain(error, Charter)


def _fill(template: str, **values: str) -> str:
    for key, value in values.items():
        template = template.replace(f"@{key}@", value)
    return template


def _write(folder: Path, identity: Identity, texts: Mapping[str, str]) -> None:
    """Write the files for the owner's eyes only. The settings come last: once they are there, all is."""
    for file in (KEY_FILE, *texts):
        if (folder / file).exists():
            raise _exists(folder / file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        identity.save(folder / KEY_FILE)
        for file, text in texts.items():
            descriptor = os.open(folder / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as target:
                target.write(text)
    except FileExistsError as error:
        raise _exists(Path(error.filename)) from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}): choose another folder") from None


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"{path} exists already and is never overwritten: move it away, or choose another folder")
