"""docs/asyncapi.yaml says what the models say, and real traffic is what it says."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[2]))
sys.path.append(str(Path(__file__).parents[1] / "coordinator"))

from asyncapi_document import FILE, TO_ALL, TO_ONE, text
from neighbourhood import Neighbourhood

from agent.dashboard.topics import TOPICS
from coordinator.messages import ADAPTER

DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
KINDS = set(ADAPTER.json_schema()["discriminator"]["mapping"])


def test_the_document_is_what_the_models_say() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run: python tests/asyncapi_document.py"


def test_every_kind_of_message_and_every_topic_of_a_home_is_in_it() -> None:
    assert KINDS == TO_ALL | TO_ONE
    assert set(DOCUMENT["components"]["messages"]) == KINDS | {f"own_{topic}" for topic in TOPICS}


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_real_traffic_says_on_each_channel_only_what_it_lists(tmp_path: Path, loss: float) -> None:
    homes = Neighbourhood(tmp_path, homes=4, seed=3, loss=loss)
    homes.run_slots(3)
    said = {(ADAPTER.validate_json(wire.partition(b"\n")[0]).kind, to == "*") for _, to, wire in homes.sent}
    homes.audit()
    assert {kind for kind, to_all in said if to_all} <= set(DOCUMENT["channels"]["toAll"]["messages"])
    assert {kind for kind, to_all in said if not to_all} <= set(DOCUMENT["channels"]["toOne"]["messages"])
    assert {"ready", "bid", "offer", "accept", "position", "leaf", "meter", "residual"} <= {kind for kind, _ in said}
