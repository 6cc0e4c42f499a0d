"""docs/asyncapi.yaml from the models that every message goes through.

    python tests/asyncapi_document.py        writes it; a test fails while it differs from the models

What a message says comes from its model; here stands only where it is sent.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from agent.dashboard.topics import PREFIX, TOPICS, topic_name
from coordinator.codec import MAX_BYTES
from coordinator.messages import ADAPTER
from coordinator.mqtt_topics import direct_topic, pub_topic

FILE = Path(__file__).parents[1] / "docs" / "asyncapi.yaml"
REFS = "#/components/schemas/{model}"

TO_ALL = frozenset(
    {
        *("presence", "ready", "bid", "price_request", "prices", "position", "recall", "residual", "deviation"),
        *("heads", "fraud", "roster", "share", "abandon", "deviation_share"),
    }
)
"""Kinds a home says to everybody."""
TO_ONE = frozenset(
    {
        *("prices", "offer", "accept", "reject", "lapse", "position", "leaf", "position_request", "lost", "recital"),
        *("meter", "hearsay", "fraud", "settle", "settled", "told", "dispute", "ask", "quote", "sealed", "bid"),
    }
)
"""Kinds a home says to one neighbour; where bids are masked each comes inside a `sealed`."""

ABOUT = f"""\
What the homes of a Commonwatt neighbourhood say to each other, and what a home tells its own people. Written by
`python tests/asyncapi_document.py` from the models; do not edit it.

Between homes (`cw/1/...`) a message is one line of JSON, a newline, and the base64 Ed25519 signature of exactly the
bytes of that line: at most {MAX_BYTES} bytes in all. The line must be what the model itself would write: names in this
order, no blanks, every name once, whole numbers only. The sender is who signed, never the topic. Topics lie on the
sender's own broker; nobody else may write there. QoS 1 for what must arrive, 0 for the rest; never retained.
At a meeting broker the same topics hold the same messages sealed for their readers (`coordinator/sealing.py`).

The home's own topics (`{PREFIX}/...`) are plain JSON, retained, on its own broker and for whom its owner lets in.
"""


def build() -> dict[str, Any]:
    """Return the document."""
    schema = ADAPTER.json_schema(ref_template=REFS)
    signed: dict[str, Any] = dict(schema["$defs"])
    kinds = {kind: ref.rsplit("/", 1)[1] for kind, ref in schema["discriminator"]["mapping"].items()}
    _, own = models_json_schema([(model, "serialization") for model in TOPICS.values()], ref_template=REFS)
    assert not signed.keys() & own["$defs"].keys()
    messages = {kind: _message(name, signed, "application/json+ed25519") for kind, name in kinds.items()}
    messages |= {f"own_{topic}": _message(model.__name__, own["$defs"]) for topic, model in TOPICS.items()}
    pub, direct = pub_topic("{community}", "{home}"), direct_topic("{community}", "{home}", "{peer}")
    channels = {
        "toAll": _channel(pub, "What a home says to everybody.", sorted(TO_ALL), "community", "home"),
        "toOne": _channel(direct, "What a home says to one neighbour.", sorted(TO_ONE), "community", "home", "peer"),
    }
    for topic in TOPICS:
        about = f"The home's own {topic}, retained."
        channels[f"own_{topic}"] = _channel(topic_name("{name}", topic), about, [f"own_{topic}"], "name")
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Commonwatt", "version": "1", "description": ABOUT, "license": {"name": "Apache-2.0"}},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            **{f"say_{name}": _operation("send", name) for name in channels},
            **{f"hear_{name}": _operation("receive", name) for name in ("toAll", "toOne")},
        },
        "components": {"messages": messages, "schemas": {**signed, **own["$defs"]}},
    }


def _message(name: str, schemas: dict[str, Any], content_type: str = "application/json") -> dict[str, Any]:
    words = " ".join(schemas[name].get("description", name).split())
    payload = {"$ref": REFS.format(model=name)}
    return {"name": name, "contentType": content_type, "summary": words, "payload": payload}


PARAMETERS = {
    "community": "Id of the community: the hash of its founding.",
    "home": "Id of the home that says it.",
    "peer": "Id of the home that is meant.",
    "name": "The home's name, as its owner calls it.",
}


def _channel(address: str, about: str, kinds: list[str], *parameters: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": about,
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in kinds},
        "parameters": {name: {"description": PARAMETERS[name]} for name in parameters},
    }


def _operation(action: str, channel: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}


def text() -> str:
    """Return the document as YAML."""
    made: str = yaml.safe_dump(build(), sort_keys=False, allow_unicode=True, width=120)
    return made


def main() -> None:
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote {FILE.relative_to(FILE.parents[1])}")


if __name__ == "__main__":
    sys.exit(main())
