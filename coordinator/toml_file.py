"""TOML files to settings and back, with errors an owner can act on."""

import difflib
import json
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from coordinator.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, model: type[Model]) -> Model:
    """Read a TOML file into `model`; relative paths in it are taken as they stand.

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
        raise ConfigError(f"{path}: {explain(error, model)}") from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return what is wrong, key by key, with the nearest right key for one that does not exist."""
    return "; ".join(_explain(problem, model) for problem in error.errors(include_url=False))


def _explain(problem: Any, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the file"
    match problem["type"]:
        case "extra_forbidden":
            near = _nearest(problem["loc"], model)
            return f"{key}: unknown key" + (f", did you mean {near}?" if near else ": remove it")
        case "missing":
            return f"{key}: missing, add it"
        case _:
            shown = "" if isinstance(problem["input"], dict | list) else f" (it is {problem['input']!r})"
            return f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}"


def _nearest(loc: tuple[int | str, ...], model: type[BaseModel]) -> str | None:
    """Return the right key nearest to a wrong one: of its own section, else of any other."""
    wrong, sections = str(loc[-1]), [model]
    for part in loc[:-1]:
        inner = [i for section in sections if part in section.model_fields for i in _field_models(section, str(part))]
        sections = inner or sections  # the names of a table and the numbers of a list are no fields
    own = {key for section in sections for key in section.model_fields}
    for keys in (own, set(_keys(model)) - {wrong}):
        if near := difflib.get_close_matches(wrong, sorted(keys), n=1):
            return near[0]
    return None


def _field_models(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    return list(_models_in(model.model_fields[name].annotation))


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield name
        for inner in _models_in(info.annotation):
            yield from _keys(inner)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


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
