"""A running home goes over to another charter by itself, and lives on alone when it is in none."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent import charter_now
from agent.charter_founding import make_card, meter_commitment
from agent.charter_now import CharterChangedError, current_charter, until_changed
from agent.charter_state import CharterState
from agent.config import HomeConfig, load_config
from agent.first_files import write_first_files
from coordinator.broker_settings import BrokerSettings
from coordinator.charter import Charter, Rules
from coordinator.charter_history import History
from coordinator.charter_votes import depart
from coordinator.clock import ManualClock, unix_ms
from coordinator.errors import ConfigError
from coordinator.identity import Identity, encode_base64

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


class Home:
    def __init__(self, folder: Path, name: str) -> None:
        self.config: HomeConfig = load_config(write_first_files(folder, name=name, timezone="UTC", currency="EUR"))
        self.identity = Identity.load(self.config.community.key_file)
        self.state = CharterState(self.config, self.identity.id)
        self.member, _ = make_card(self.config, self.identity, self.state)

    def charter(self, now: datetime = NOW) -> Charter:
        return current_charter(self.config, self.identity, now)


@pytest.fixture
def homes(tmp_path: Path) -> list[Home]:
    """Two homes alone, with the founding of both of them signed by both and waiting."""
    made = [Home(tmp_path / name, name) for name in ("anna", "bert")]
    members = tuple(sorted((home.member for home in made), key=lambda member: member.id))
    charter = Charter(name="elm", currency="EUR", founded_ms=unix_ms(NOW), rules=Rules(), members=members)
    signatures = {home.identity.id: encode_base64(home.identity.sign(charter.canonical)) for home in made}
    for home in made:
        home.state.save_coming(History(charter=charter, signatures=signatures))
    return made


def test_a_founding_signed_by_all_is_gone_over_to_and_the_old_papers_stay(homes: list[Home]) -> None:
    anna = homes[0]
    alone = anna.state.history().charter
    assert anna.charter().name == "elm"
    assert [charter.hash for charter in anna.state.left()] == [alone.hash]
    assert anna.state.coming() is None
    assert anna.charter().name == "elm"


def test_a_founding_that_one_has_not_signed_changes_nothing(homes: list[Home]) -> None:
    anna, coming = homes[0], homes[0].state.coming()
    assert coming is not None
    anna.state.save_coming(coming.model_copy(update={"signatures": {}}))
    assert anna.charter().name == "anna"


def test_a_running_home_notices(homes: list[Home], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charter_now, "LOOK_S", 0.001)
    anna = homes[0]
    with pytest.raises(CharterChangedError, match="epoch 0 of 'elm'"):
        asyncio.run(until_changed(anna.state.history().charter, anna.config, anna.identity, ManualClock(NOW)))

    async def stays() -> None:
        async with asyncio.timeout(0.1):
            await until_changed(anna.charter(), anna.config, anna.identity, ManualClock(NOW))

    with pytest.raises(TimeoutError):
        asyncio.run(stays())


def test_papers_are_checked_again_only_when_they_or_the_time_can_have_changed_what_holds(
    homes: list[Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, looks, real = homes[0], [], current_charter
    anna.charter()

    def counted(config: HomeConfig, identity: Identity, now: datetime) -> Charter:
        looks.append(now)
        return real(config, identity, now)

    monkeypatch.setattr(charter_now, "current_charter", counted)
    lookout = charter_now._Lookout(anna.config, anna.identity)
    for minute in range(5):
        assert lookout.look(NOW + timedelta(minutes=minute)).name == "elm"
    assert looks == [NOW]
    history = anna.state.history()
    word = depart(history.charter.community_id, homes[1].identity.id, homes[1].identity, unix_ms(NOW) + 3_600_000)
    anna.state.save(history.merged(History(charter=history.charter, signatures={}, departures=(word,))))
    assert len(lookout.look(NOW + timedelta(minutes=5)).homes) == 2
    assert len(lookout.look(NOW + timedelta(minutes=59)).homes) == 2
    assert len(lookout.look(NOW + timedelta(minutes=60)).homes) == 1
    assert len(looks) == 3


def test_a_home_that_lives_with_others_is_moved_by_no_paper_of_theirs(homes: list[Home]) -> None:
    anna = homes[0]
    anna.charter()
    elsewhere = Charter(
        name="oak", currency="EUR", founded_ms=unix_ms(NOW), rules=Rules(), members=anna.state.history().charter.members
    )
    signatures = {home.identity.id: encode_base64(home.identity.sign(elsewhere.canonical)) for home in homes}
    anna.state.save_coming(History(charter=elsewhere, signatures=signatures))
    assert anna.charter().name == "elm"
    history = anna.state.history()
    word = depart(history.charter.community_id, anna.identity.id, anna.identity, unix_ms(NOW))
    anna.state.save(history.merged(History(charter=history.charter, signatures={}, departures=(word,))))
    assert anna.charter().name == "oak"


def test_who_left_lives_on_alone_and_still_knows_its_partners_keys(homes: list[Home]) -> None:
    anna, bert = homes
    anna.charter()
    history = anna.state.history()
    word = depart(history.charter.community_id, anna.identity.id, anna.identity, unix_ms(NOW) + 3_600_000)
    anna.state.save(history.merged(History(charter=history.charter, signatures={}, departures=(word,))))
    assert len(anna.charter().homes) == 2
    after = anna.charter(NOW + timedelta(hours=1))
    assert [member.id for member in after.homes] == [anna.identity.id]
    assert after.community_id != history.charter.community_id
    assert bert.identity.id in after.ever
    assert bert.identity.id not in after.public_keys


def test_equal_meters_have_equal_marks_however_they_are_written() -> None:
    assert meter_commitment("de 0001 77") == meter_commitment("DE000177") != meter_commitment("DE000178")


def test_a_card_is_made_once_and_its_recovery_key_may_be_gone(homes: list[Home]) -> None:
    anna = homes[0]
    path = anna.config.community.key_file.with_name("recovery.pem")
    assert path.stat().st_mode & 0o077 == 0
    path.unlink()
    again, lines = make_card(anna.config, anna.identity, anna.state, broker="mqtts://10.0.0.1:8883")
    assert again == anna.member.model_copy(update={"broker": "mqtts://10.0.0.1:8883"})
    assert not path.exists()
    assert not any("recovery" in line for line in lines)


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("mqtt://10.0.0.1:1883", "mqtt://10.0.0.1:1883 is not encrypted"),
        ("mqtts://10.0.0.1:8883", '[broker.tls] is missing: add it with host = "0.0.0.0"'),
        ("mqtts://127.0.0.1:8883", "is for this machine only: give --broker mqtts://ADDRESS:8883"),
        ("none", None),
    ],
)
def test_a_card_s_address_comes_with_what_neighbours_need_to_get_through(
    homes: list[Home], address: str, advice: str | None
) -> None:
    anna = homes[0]
    broker = BrokerSettings(users=())
    member, lines = make_card(
        anna.config.model_copy(update={"broker": broker}), anna.identity, anna.state, broker=address
    )
    assert member.broker == (None if address == "none" else address)
    assert [advice in line for line in lines] == [True] if advice else not lines
    again, _ = make_card(anna.config, anna.identity, anna.state)
    assert again == member, "asked again without an address, a card keeps it"


def test_an_address_nobody_can_connect_to_never_gets_into_a_card(homes: list[Home]) -> None:
    anna = homes[0]
    for wrong in ("10.0.0.1", "https://10.0.0.1", "mqtts://user@10.0.0.1", "mqtts://10.0.0.1:99999", ""):
        with pytest.raises(ConfigError):
            make_card(anna.config, anna.identity, anna.state, broker=wrong)
