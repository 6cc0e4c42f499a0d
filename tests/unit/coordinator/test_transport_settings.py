"""Settings of links and brokers, and the words the owner reads."""

import hashlib
import socket
from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from coordinator.broker import Access, BrokerSettings, BrokerUser, EmbeddedBroker, home_users
from coordinator.errors import ConfigError
from coordinator.links import LinkKind, LinkSettings, LinkState, describe_change, explain_failure, explain_refusal
from coordinator.mosquitto_files import Listener, child_lines, config_lines, password_line, rule_lines

GOOD = {"name": "home-3", "url": "mqtt://10.0.0.3:1884", "username": "x", "password": "secret"}


def state(kind: LinkKind, reason: str = "") -> LinkState:
    return LinkState(name="home-3", kind=kind, since=datetime(2026, 1, 1, tzinfo=UTC), reason=reason)


def test_a_link_knows_host_and_port_and_the_usual_port_when_none_is_given() -> None:
    link = LinkSettings.model_validate(GOOD)
    assert (link.host, link.port) == ("10.0.0.3", 1884)
    assert LinkSettings.model_validate(GOOD | {"url": "mqtt://broker.lan"}).port == 1883


@pytest.mark.parametrize(
    "change",
    [
        {"url": "10.0.0.3:1883"},
        {"url": "http://10.0.0.3"},
        {"url": "mqtt://"},
        {"url": "mqtt://h:0"},
        {"url": "mqtt://h:99999"},
        {"url": "mqtt://user:secret@h"},
        {"url": "mqtt://my-home..lan"},
        {"url": f"mqtt://{64 * 'x'}.lan"},
        {"url": "mqtt://h\n.lan"},
        {"url": "mqtt://h\x00"},
        {"url": "mqtt://[::1"},
        {"username": ""},
        {"username": "a b"},
        {"name": "two\nlines"},
        {"subscribe": ["a/#/b"]},
        {"password_file": "/some/file"},
        {"qos": 2},
    ],
    ids=str,
)
def test_a_wrong_link_is_refused_and_tells_no_password(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        LinkSettings.model_validate(GOOD | change)
    problems = "".join(problem["msg"] for problem in caught.value.errors())
    assert "secret" not in problems


def test_a_password_never_shows_in_print() -> None:
    assert "secret" not in repr(LinkSettings.model_validate(GOOD))
    assert "secret" not in str(BrokerUser.model_validate({"name": "a", "password": "secret"}))


def test_a_password_file_gives_its_first_line_and_an_empty_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pw"
    user = BrokerUser.model_validate({"name": "a", "password_file": file})
    file.write_text("pass word \n")
    assert user.secret() == "pass word "
    file.write_text("\n")
    with pytest.raises(ConfigError, match="pw is empty"):
        user.secret()


@pytest.mark.parametrize(
    ("before", "after", "level", "text"),
    [
        ("connecting", state("connected"), "info", "link to home-3's broker is up (NOT encrypted)"),
        ("away", state("connected"), "info", "link to home-3's broker is back (NOT encrypted)"),
        (
            "connected",
            state("away", "no answer"),
            "warning",
            "link to home-3's broker is down: no answer; trying again",
        ),
        (
            "away",
            state("refused", "wrong user name or password"),
            "warning",
            "broker mqtt://10.0.0.3:1884 refused user 'x': wrong user name or password; trying again",
        ),
    ],
)
def test_a_change_of_state_is_one_line_in_plain_words(
    before: LinkKind, after: LinkState, level: str, text: str
) -> None:
    assert describe_change(LinkSettings.model_validate(GOOD), state(before), after) == (level, text)


def test_causes_are_told_in_plain_words() -> None:
    assert explain_failure(ConnectionRefusedError(111, "Connection refused")).startswith("connection refused")
    assert explain_failure(TimeoutError()) == "no answer"
    assert explain_failure(socket.gaierror(-2, "Name or service not known")) == "host name not known"
    assert explain_failure(OSError(113, "No route to host")) == "no route to host"
    assert explain_failure(None) == "no connection"
    assert explain_refusal("Not authorized") == "wrong user name or password"
    assert explain_refusal("Banned") == "banned"


def test_a_home_lets_its_owner_do_all_and_each_peer_read_two_topics() -> None:
    access = Access(home_users("c", "h", "owner-pw", {"p": "p-pw", "q": "q-pw"}))
    assert access.login("owner", "owner-pw")
    assert access.login("p", "p-pw")
    assert not any(access.login(*pair) for pair in [("p", "q-pw"), ("p", ""), ("p", None), (None, None), ("x", "")])
    assert access.may_publish("owner", "commonwatt/h/state")
    assert not access.may_publish("p", "cw/1/c/h/pub")
    assert access.may_read("p", "cw/1/c/h/pub")
    assert access.may_read("p", "cw/1/c/h/to/p")
    assert not any(access.may_read("p", topic) for topic in ("cw/1/c/h/to/q", "cw/1/c/h/#", "commonwatt/h/state", "#"))
    assert not access.may_read(None, "cw/1/c/h/pub")


@pytest.mark.parametrize("entry", [{"name": "a"}, {"name": "a", "password": ""}, {"name": "a:b", "password": "x"}])
def test_a_broker_user_without_password_or_with_a_colon_is_refused(entry: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        BrokerUser.model_validate(entry)


def test_two_broker_users_of_one_name_are_refused() -> None:
    user = BrokerUser.model_validate({"name": "a", "password": "x"})
    with pytest.raises(ValueError, match="named twice: a"):
        EmbeddedBroker(users=[user, user])


def test_mosquittos_rules_list_what_is_allowed_and_nothing_else() -> None:
    assert rule_lines(home_users("c", "h", "pw", {"p": "p-pw"})) == [
        "user owner",
        "topic write #",
        "topic read #",
        "user p",
        "topic read cw/1/c/h/pub",
        "topic read cw/1/c/h/to/p",
    ]


def test_mosquittos_password_line_is_salted_pbkdf2() -> None:
    name, kind, rounds, salt, digest = password_line("p", "pw", b"0123456789ab").split("$")
    assert (name, kind) == ("p:", "7")
    assert b64decode(digest) == hashlib.pbkdf2_hmac("sha512", b"pw", b64decode(salt), int(rounds))
    assert int(rounds) >= 10_000


def test_mosquitto_is_told_every_limit_and_lets_nobody_in_without_a_name() -> None:
    lines = config_lines([Listener(host="127.0.0.1", port=1883)], Path("/f"))
    keys = [line.split()[0] for line in lines]
    assert "listener 1883 127.0.0.1" in lines
    assert "allow_anonymous false" in lines
    assert {"max_connections", "max_packet_size", "max_queued_messages", "max_queued_bytes"} <= set(keys)
    assert keys.index("listener") < keys.index("max_connections")
    assert "persistence_location /d/" in child_lines(Path("/d"))


def test_a_broker_listens_on_this_machine_only_unless_told_otherwise() -> None:
    settings = BrokerSettings.model_validate({"users": [{"name": "a", "password": "x"}]})
    assert (settings.kind, settings.host, settings.port) == ("auto", "127.0.0.1", 1883)


@pytest.mark.parametrize("change", [{"port": 70_000}, {"usrs": []}, {"users": [{"name": "a", "password": "x"}] * 2}])
def test_a_wrong_broker_file_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BrokerSettings.model_validate({"users": []} | change)
