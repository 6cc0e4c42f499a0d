"""Holds messages against docs/asyncapi.yaml as a reader of that file alone would: no model of ours is asked."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

ABOUT = {"title", "description", "default"}
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class BreachError(Exception):
    """A message that the document does not describe; the text says where and why."""


class Checker:
    """Knows the document.

    Args:
        document: docs/asyncapi.yaml, read.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._addresses = {
            name: re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(channel["address"])))
            for name, channel in document["channels"].items()
        }

    def check(self, topic: str, payload: bytes) -> tuple[str, str]:
        """Return channel and message of what was said on a topic.

        Raises:
            BreachError: If the document does not allow it.
        """
        found = [(name, match) for name, each in self._addresses.items() if (match := each.fullmatch(topic))]
        if len(found) != 1:
            raise BreachError(f"{topic} is the address of {len(found)} channels")
        name, match = found[0]
        allowed = self._document["channels"][name]["messages"]
        signed = "community" in match.groupdict()
        value = json.loads(_line(payload) if signed else payload)
        kind = value.get("kind") if signed else next(iter(allowed))
        if kind not in allowed:
            raise BreachError(f"{name} carries no {kind}")
        self._holds(self._at(self._at(allowed[kind]["$ref"])["payload"]["$ref"]), value, kind)
        # What was said to everybody may be said again to the one who asks for it.
        if signed and (value["sender"] != match["home"] or value["to"] not in ("*", match.groupdict().get("peer"))):
            raise BreachError(f"{topic}: it says {value['sender']} to {value['to']}")
        return name, kind

    def _at(self, reference: str) -> Any:
        place: Any = self._document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        return place

    def _holds(self, schema: Mapping[str, Any], value: Any, where: str) -> None:
        for word, said in sorted(schema.items(), key=lambda item: item[0] != "type"):
            if word in ABOUT or word in ("properties", "required", "additionalProperties"):
                continue
            if word == "$ref":
                self._holds(self._at(said), value, where)
            elif word == "items":
                for number, item in enumerate(value):
                    self._holds(said, item, f"{where}[{number}]")
            elif not self._one_holds(word, said, value, where):
                raise BreachError(f"{where}: {value!r:.60} is against {word}: {said!r:.60}")
        if isinstance(value, dict):
            self._object_holds(schema, value, where)

    def _one_holds(self, word: str, said: Any, value: Any, where: str) -> bool:
        match word:
            case "anyOf":
                return any(self._is(each, value, where) for each in said)
            case "type":
                return isinstance(value, TYPES[said]) and (said == "boolean" or not isinstance(value, bool))
            case "const":
                return bool(value == said)
            case "enum":
                return value in said
            case "format":
                return said == "date-time" and datetime.fromisoformat(value).tzinfo is not None
            case "pattern":
                return re.search(said, value) is not None
            case "minimum" | "minLength" | "minItems":
                return bool((value if word == "minimum" else len(value)) >= said)
            case "maximum" | "maxLength" | "maxItems":
                return bool((value if word == "maximum" else len(value)) <= said)
        raise BreachError(f"{where}: the document says {word!r}, which this check does not know")

    def _is(self, schema: Mapping[str, Any], value: Any, where: str) -> bool:
        try:
            self._holds(schema, value, where)
        except BreachError:
            return False
        return True

    def _object_holds(self, schema: Mapping[str, Any], value: Mapping[str, Any], where: str) -> None:
        known = schema.get("properties", {})
        if missing := set(schema.get("required", ())) - value.keys():
            raise BreachError(f"{where}: without {', '.join(sorted(missing))}")
        others = schema.get("additionalProperties", True)
        for name, each in value.items():
            if name in known:
                self._holds(known[name], each, f"{where}.{name}")
            elif others is False:
                raise BreachError(f"{where}: {name} is not in the document")
            elif isinstance(others, dict):
                self._holds(others, each, f"{where}.{name}")


def _line(payload: bytes) -> bytes:
    """Return the signed line, after a look at the shape of what follows it."""
    line, _, signature = payload.partition(b"\n")
    try:
        length = len(base64.b64decode(signature, validate=True))
    except binascii.Error:
        length = 0
    if length != 64:
        raise BreachError("no signature of 64 bytes follows the line")
    if len(payload) > 16 * 1024:
        raise BreachError(f"{len(payload)} bytes")
    return line
