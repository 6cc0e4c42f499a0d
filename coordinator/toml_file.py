"""TOML files to settings and back, with errors an owner can act on."""

import difflib
import json
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from coordinator.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, model: type[Model], wanted: str = "one with other sections") -> Model:
    """Read a TOML file into `model`; relative paths in it are taken as they stand.

    Args:
        wanted: Which file belongs here, for whoever names one of another kind.

    Raises:
        ConfigError: If the file is missing, is no TOML, or does not fit; the text names file, key, cause and cure.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file: correct the name") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}): make it a readable text file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    try:
        return model(**data)
    except ValidationError as error:
        if _is_of_another_kind(data, model):
            raise ConfigError(
                f"{path}: this is another kind of file (it has {', '.join(data)}): name {wanted}"
            ) from None
        raise ConfigError(f"{path}: {explain(error, model)}") from error


def _is_of_another_kind(data: dict[str, Any], model: type[BaseModel]) -> bool:
    """Tell a file for another command from one with mistakes: little of it is known, and what is needed is missing."""
    strange = data.keys() - model.model_fields.keys()
    missing = {name for name, info in model.model_fields.items() if info.is_required()} - data.keys()
    return len(strange) > 1 and 2 * len(strange) > len(data) and bool(missing)


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return what is wrong, key by key; for one that does not exist, which is meant or where it belongs."""
    return "; ".join(_explain(problem, model) for problem in error.errors(include_url=False))


def _explain(problem: Any, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the file"
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key{_cure(problem['loc'], model)}"
        case "missing":
            return f"{key}: missing, add it"
        case _:
            shown = "" if isinstance(problem["input"], dict | list) else f" (it is {problem['input']!r})"
            return f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}"


class _Place(NamedTuple):
    """Where a key may stand."""

    key: str
    header: str
    """Of its table: `[battery]`, `[[mqtt.peers]]`, `[devices.NAME]`; empty before the first table."""
    is_table: bool


def _cure(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Say what an unknown key should be: the nearest of its own table, unless that of another is much nearer."""
    wrong, tables = str(loc[-1]), [model]
    for part in loc[:-1]:
        fields = [table.model_fields[str(part)] for table in tables if part in table.model_fields]
        inner = [table for field in fields for table, _ in _tables(field.annotation)]
        tables = inner or tables  # the names of a table and the numbers of a list are no fields

    def likeness(place: _Place) -> float:
        return difflib.SequenceMatcher(None, place.key, wrong).ratio()

    places = list(_places(model))
    here = max((place for table in tables for place in _places(table) if not place.header), key=likeness)
    best = max(places, key=likeness)
    much_nearer = likeness(best) == 1 or likeness(best) > likeness(here) + 0.25
    if likeness(here) >= 0.6 and (wrong in here.key or not much_nearer):
        return f", did you mean {here.key}?"
    if likeness(best) < 0.75:
        return ": remove it"
    if best.is_table:
        return f", did you mean a section {best.header[:-1] + '.' if best.header else '['}{best.key}]?"
    headers = list(dict.fromkeys(place.header for place in places if place.key == best.key))[:3]
    where = f"into {' or '.join(headers)}" if headers[0] else "before the first section"
    return f", {best.key} belongs {where}"


def _places(model: type[BaseModel], at: str = "", header: str = "") -> Iterator[_Place]:
    for name, info in model.model_fields.items():
        key, tables = info.alias or name, list(_tables(info.annotation))
        yield _Place(key, header, bool(tables))
        for table, form in tables:
            inner = form.format(f"{at}.{key}" if at else key)
            yield from _places(table, inner.strip("[]"), inner)


def _tables(annotation: Any, form: str = "[{}]") -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the tables that a field may hold, each with the form of its header."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, form
    if (kind := get_origin(annotation)) in (list, tuple):
        form = "[[{}]]"
    elif kind is dict:
        form = "[{}.NAME]"
    for argument in get_args(annotation):
        yield from _tables(argument, form)


def toml_text(model: BaseModel) -> str:
    """Return settings as TOML that `read_toml` reads back to the same settings. None is left out.

    Passwords are written out: the file must be for its owner's eyes only.
    """
    return "\n".join(_table(model.model_dump(exclude_none=True), "")) + "\n"


def _table(values: dict[str, Any], name: str) -> Iterator[str]:
    tables = {key: value for key, value in values.items() if isinstance(value, dict) or _is_tables(value)}
    for key, value in values.items():
        if key not in tables:
            yield f"{key} = {_scalar(value)}"
    for key, value in tables.items():
        inner = f"{name}{key}"
        for table in value if isinstance(value, list | tuple) else [value]:
            yield ""
            yield f"[[{inner}]]" if isinstance(value, list | tuple) else f"[{inner}]"
            yield from _table(table, f"{inner}.")


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, dict) for item in value)


def _scalar(value: object) -> str:
    if isinstance(value, SecretStr):
        return json.dumps(value.get_secret_value(), ensure_ascii=False)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    # TOML writes strings, booleans and plain numbers the way JSON does.
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
