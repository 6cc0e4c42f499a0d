"""From settings and charter to links: which are encrypted, with whose key, and who may come in."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.config import HomeConfig
from agent.peer_links import broker_users, link_settings, meeting_broker_users
from coordinator.charter import Charter, MeetingBroker, Member, Rules
from coordinator.errors import ConfigError
from coordinator.identity import Identity, encode_base64

ANNA, BERT, CARL, HUB = (Identity.from_seed(bytes([n + 1]) * 32) for n in range(4))


def member(identity: Identity, name: str, broker: str | None, exchange: bool = True) -> Member:
    return Member(
        id=identity.id,
        name=name,
        public_key=encode_base64(identity.public_key),
        exchange_key=encode_base64(identity.exchange_key) if exchange else None,
        broker=broker,
    )


def charter(*members: Member, hub_key: str | None = None) -> Charter:
    hub = MeetingBroker(
        name="hub",
        url="mqtts://hub.example:8884",
        public_key=encode_base64(HUB.public_key),
        exchange_key=hub_key or encode_base64(HUB.exchange_key),
    )
    return Charter(
        name="street",
        currency="EUR",
        founded_ms=0,
        rules=Rules(),
        members=tuple(sorted(members, key=lambda each: each.id)),
        meeting=(hub,),
    )


STREET = charter(
    member(ANNA, "anna", "mqtts://10.0.0.1:8883"),
    member(BERT, "bert", "mqtt://10.0.0.2:1883"),
    member(CARL, "carl", None),
)


def config(own: str = "mqtt://127.0.0.1:1883", **mqtt: object) -> HomeConfig:
    return HomeConfig.model_validate(
        {
            "home": {"name": "anna"},
            "community": {"charter": Path("c"), "key_file": Path("k")},
            "mqtt": {"own": {"url": own, "password": "own-pw"}, **mqtt},
            "devices": {"meter": {"profile": "eastron_sdm630", "url": "tcp://127.0.0.1:5021"}},
            "tariff": {"fixed": {"import_per_kwh": 0.3, "export_per_kwh": 0.1}},
        }
    )


def test_an_encrypted_link_trusts_the_key_of_whose_broker_it_is_and_a_plain_one_none() -> None:
    links = {link.name: link for link in link_settings(config(), STREET, BERT.id, BERT)}
    assert links["anna"].pin == STREET.by_id[ANNA.id].public_key
    assert links["hub"].pin == encode_base64(HUB.public_key)
    of_anna = {link.name: link for link in link_settings(config(), STREET, ANNA.id, ANNA)}
    assert of_anna["bert"].pin is None
    assert of_anna["bert"].wire == "NOT encrypted"


def test_a_home_without_a_broker_is_heard_at_the_meeting_broker_only() -> None:
    links = link_settings(config(), STREET, ANNA.id, ANNA)
    assert [link.name for link in links] == ["anna", "bert", "hub"]
    hub = links[-1]
    assert hub.meeting
    assert set(hub.subscribe) == {
        f"cw/1/{STREET.community_id}/{other.id}/{what}" for other in (BERT, CARL) for what in ("pub", f"to/{ANNA.id}")
    }


def test_an_address_of_one_s_own_for_a_neighbour_still_needs_the_neighbours_key() -> None:
    peers = [{"member": "bert", "url": "mqtts://192.168.1.2", "password": "x"}]
    links = {link.name: link for link in link_settings(config(peers=peers), STREET, ANNA.id, ANNA)}
    assert links["bert"].pin == STREET.by_id[BERT.id].public_key


def test_the_own_broker_on_another_machine_is_known_by_the_home_s_own_key() -> None:
    own, *_ = link_settings(config("mqtts://nas:8883"), STREET, ANNA.id, ANNA)
    assert own.pin == STREET.by_id[ANNA.id].public_key


def test_passwords_at_a_meeting_broker_are_the_same_on_both_sides_and_different_for_all() -> None:
    users = {user.name: user.secret() for user in meeting_broker_users(STREET, HUB)}
    said = {
        identity.id: link_settings(config(), STREET, identity.id, identity)[-1].secret()
        for identity in (ANNA, BERT, CARL)
    }
    assert users == said
    assert len(set(users.values())) == 3
    at_bert = {link.name: link.secret() for link in link_settings(config(), STREET, ANNA.id, ANNA)}
    assert at_bert["bert"] != at_bert["hub"]


def test_a_member_without_an_exchange_key_is_let_into_no_meeting_broker() -> None:
    street = charter(member(ANNA, "anna", "mqtts://10.0.0.1"), member(BERT, "bert", "mqtt://10.0.0.2", exchange=False))
    assert [user.name for user in meeting_broker_users(street, HUB)] == [ANNA.id]
    peers = [{"member": "anna", "password": "x"}]
    links = link_settings(config(peers=peers), street, BERT.id, BERT)
    assert not any(link.meeting for link in links)


def test_a_broker_that_a_charter_does_not_have_has_no_users_there() -> None:
    with pytest.raises(ConfigError, match="does not meet at this broker"):
        meeting_broker_users(STREET, CARL)


def test_a_meeting_broker_s_key_that_makes_no_secret_never_gets_into_a_charter() -> None:
    with pytest.raises(ValidationError, match="a key that no broker can have"):
        charter(*STREET.members, hub_key=encode_base64(bytes(32)))


def test_a_neighbour_that_cannot_be_reached_keeps_no_home_from_the_others() -> None:
    """It gave no exchange key, so no password follows, and the settings were written before it joined."""
    joined = charter(*STREET.members, member(Identity.from_seed(bytes([9]) * 32), "dora", "mqtts://d", False))
    told: list[str] = []
    links = link_settings(config(), joined, ANNA.id, ANNA, told.append)
    assert {link.name for link in links} == {"anna", "bert", "hub"}
    assert [("'dora' is missing" in text) for text in told] == [True]
    with pytest.raises(ConfigError, match="'dora' is missing"):
        link_settings(config(), joined, ANNA.id, ANNA)


def test_a_broker_that_runs_by_itself_lets_in_its_home_by_the_password_of_the_settings() -> None:
    owner, *others = broker_users(config(), STREET, ANNA)
    assert (owner.name, owner.secret(), owner.publish) == ("owner", "own-pw", ("#",))
    assert {user.name for user in others} == {BERT.id, CARL.id}
