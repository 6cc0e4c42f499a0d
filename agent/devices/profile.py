"""Finding and loading device profiles. Every error names the file, the key, the cause and the cure."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from agent.devices.choices import all_choices, resolve
from agent.devices.rules import find_problems
from agent.devices.schema import KEYS, Profile
from coordinator.errors import ConfigError

__all__ = ["Profile", "available_profiles", "load_profile", "profiles_folder", "read_profile"]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Safe loading, in C where PyYAML was built with it: an eighth of the time."""


def profiles_folder() -> Path:
    """Return where the profiles lie: inside the installed package, else in the repository beside it."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "firmware_config" / "profiles"
    return installed if installed.is_dir() else package.parent / "firmware-config" / "profiles"


def available_profiles() -> list[str]:
    """Return the names of the profiles that come with the product, sorted."""
    return sorted(path.stem for path in profiles_folder().glob("*.yaml"))


def load_profile(name_or_path: str | Path, chosen: Mapping[str, str] | None = None) -> Profile:
    """Return a profile by its name (`eastron_sdm630`) or by the path of a YAML file of the owner's.

    The file must be right for every combination of its parameters, not only for the chosen one.

    Args:
        chosen: The installer's choices, value by parameter; a parameter without one takes its first value.

    Raises:
        ConfigError: If there is no such profile or it breaks a rule; the text is for the owner.
    """
    path = _find(str(name_or_path))
    data = _parse(path)
    try:
        wanted = _checked(path, data, chosen or {})
        for other in all_choices(data):
            _checked(path, data, other)
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from None
    return wanted


def read_profile(name_or_path: str | Path, chosen: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a profile's plain data after the installer's choices, checked as `load_profile` does.

    Raises:
        ConfigError: If there is no such profile or it breaks a rule.
    """
    load_profile(name_or_path, chosen)
    return resolve(_parse(_find(str(name_or_path))), chosen or {})


def _checked(path: Path, data: Mapping[str, Any], chosen: Mapping[str, str]) -> Profile:
    try:
        resolved = resolve(data, chosen)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    profile = Profile.model_validate(resolved)
    problems = find_problems(profile, path.stem)
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(f"{path}: {first.key}: {first.cause}; {first.cure}{more}")
    return profile


def _find(name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such profile file; check the path or name one of {_listed()}")
        return path
    path = profiles_folder() / f"{name}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(name, available_profiles(), n=1)
        cure = f"did you mean {near[0]!r}?" if near else f"there are {_listed()}"
        raise ConfigError(f"{path}: there is no profile {name!r}; {cure}")
    return path


def _listed() -> str:
    return ", ".join(available_profiles())


def _parse(path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); check the file and its rights") from None
    except yaml.YAMLError as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = f"line {mark.line + 1}: " if mark else ""
        cause = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
        raise ConfigError(f"{path}: {where}is no YAML ({cause}); check indentation, colons and brackets") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: is no profile; it must begin with keys such as schema: 1 and profile: {path.stem}")
    return data


def _explain(path: Path, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    match first["type"]:
        case "extra_forbidden":
            wrong = str(first["loc"][-1])
            near = difflib.get_close_matches(wrong, sorted(KEYS - {wrong}), n=1)
            cure = f"did you mean {near[0]!r}?" if near else "remove it"
            return f"{path}: {key}: is no key of a profile here; {cure}"
        case "missing":
            return f"{path}: {key}: is missing; add it"
        case _:
            return f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}; it is {first['input']!r:.80}"
