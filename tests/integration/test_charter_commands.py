"""Three people found a community at three machines by copying blocks of text, a fourth joins, one leaves."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from running_home import Files, first_home, running, until
from typer.testing import CliRunner

from agent.charter_blocks import block, read_blocks
from agent.charter_now import current_charter
from agent.cli.main import app
from agent.config import load_config
from agent.first_files import write_first_files
from coordinator.charter import Charter, Follows
from coordinator.charter_history import Change, History
from coordinator.charter_votes import cast
from coordinator.errors import ConfigError
from coordinator.identity import Identity

WEEK = timedelta(days=7)


class Home:
    """One person's folder and terminal."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.config = write_first_files(folder, name=name, timezone="Europe/Berlin", currency="EUR")
        self._plain = self.config.read_text()

    def at(self, moment: datetime) -> None:
        """Let this home's clock show another time."""
        now = datetime.now(UTC)
        clock = f"\n[clock]\nstart_at = {moment.isoformat()}\nanchor_at = {now.isoformat()}\nspeed = 1.0\n"
        self.config.write_text(self._plain + clock)

    def charter(self, *words: str | Path, paste: str = "") -> str:
        """Run `commonwatt charter ...` and return what it printed."""
        command = ["charter", *map(str, words), "--config", str(self.config)]
        result = CliRunner().invoke(app, command, input=paste)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    def show(self) -> dict[str, object]:
        shown: dict[str, object] = json.loads(self.charter("show", "--json"))
        return shown

    @property
    def members(self) -> list[str]:
        charter = self.show()["charter"]
        assert isinstance(charter, dict)
        return sorted(member["name"] for member in charter["members"])


def found(homes: list[Home], *options: str) -> None:
    """Found a community as the documents say: cards, a founding, everybody's signatures."""
    first, *others = homes
    cards = "".join(home.charter("join", "--founding") for home in others)
    founding = first.charter("found", "Elm Street", *options, "-", paste=cards)
    answers = "".join(home.charter("vote", "--yes", paste=founding) for home in others)
    for home in homes:
        home.charter("vote", paste=founding + answers)


@pytest.fixture
def homes(tmp_path: Path) -> list[Home]:
    return [Home(tmp_path / name, name) for name in ("anna", "bert", "carl", "dora")]


def test_three_found_a_fourth_joins_one_leaves(homes: list[Home]) -> None:
    anna, bert, carl, dora = homes
    found(homes[:3])
    ids = {home.show()["community"] for home in homes[:3]}
    assert len(ids) == 1
    assert all(home.members == ["anna", "bert", "carl"] for home in homes[:3])

    card = dora.charter("join", paste=bert.charter("invite"))
    (dora.folder / "card.txt").write_text(card)
    proposal = bert.charter("propose", "--add", dora.folder / "card.txt")
    assert "adds dora" in proposal
    votes = "".join(home.charter("vote", "--yes", paste=proposal) for home in (anna, carl, dora))
    for home in homes:
        home.charter("vote", paste=proposal + votes)
    assert all(home.members == ["anna", "bert", "carl"] for home in homes[:3])
    later = datetime.now(UTC) + WEEK + timedelta(days=3)
    for home in homes:
        home.at(later)
    assert dora.members == ["dora"], "until its agent or a vote looks, a home keeps its papers"
    dora.charter("vote", paste=votes)
    assert all(home.members == ["anna", "bert", "carl", "dora"] for home in homes)
    assert {home.show()["community"] for home in homes} == ids

    goodbye = bert.charter("leave", "--yes", "--in-hours", "0")
    more = "".join(home.charter("vote", "--yes", paste=goodbye) for home in (anna, carl))
    for home in (anna, carl, dora):
        home.charter("vote", "--yes", paste=goodbye + more)
        assert home.members == ["anna", "carl", "dora"]


def _history(home: Home) -> History:
    return next(paper for paper in read_blocks(home.charter("invite")) if isinstance(paper, History))


def _unsigned(charter: Charter, epoch: int) -> Change:
    follows = Follows(
        community=charter.community_id, epoch=epoch, prev=charter.hash, effective_ms=charter.founded_ms + 10**10
    )
    plain = {name: getattr(charter, name) for name in Charter.model_fields}
    return Change(charter=Charter.model_validate({**plain, "follows": follows}))


def test_papers_without_a_signature_change_nothing_and_stop_nobody(homes: list[Home]) -> None:
    """They need no key, and a history of them is a short block: neither proposing, leaving nor starting may suffer."""
    found(homes[:3])
    anna, bert = homes[:2]
    founded = _history(anna)
    with pytest.raises(ConfigError, match="no member has signed it"):
        bert.charter("vote", paste=block(_unsigned(founded.charter, 2**31)))
    many = tuple(_unsigned(founded.charter, epoch) for epoch in range(1, 1201))
    flood = block(History(charter=founded.charter, signatures=founded.signatures, changes=many))
    assert "Left out 1200 proposals" in bert.charter("vote", paste=flood)
    assert "Voted for proposal" in bert.charter("propose", "--rule", "gate_s=60")
    assert [change.charter.epoch for change in _history(bert).changes] == [1]


def test_a_member_that_votes_far_ahead_uses_up_nobodys_epochs(homes: list[Home]) -> None:
    found(homes)
    anna, carl, dora = homes[0], *homes[2:]
    charter = _history(anna).charter
    key = Identity.load(dora.folder / "key.pem")
    for epoch in (2**31, 600):
        far = _unsigned(charter, epoch).charter
        paper = Change(charter=far, votes=(cast(far, key.id, key, charter.founded_ms),))
        said = carl.charter("vote", "--yes", paste=block(paper))
        assert ("no epoch after 1000 is voted for yet" in said) == (epoch > 1000)
        assert ("BEGIN" in said) == (epoch < 1000)
    assert "epoch 601" in carl.charter("propose", "--rule", "gate_s=60")
    goodbye = carl.charter("leave", "--yes")
    assert "DEPARTURE" in goodbye
    assert "epoch 602" in goodbye


def test_who_left_is_moved_back_by_no_old_invitation(homes: list[Home]) -> None:
    found(homes[:3])
    old, carl = homes[0].charter("invite"), homes[2]
    carl.charter("leave", "--yes", "--in-hours", "0")
    carl.at(datetime.now(UTC) + timedelta(minutes=5))
    config = load_config(carl.config)
    current_charter(config, Identity.load(config.community.key_file), datetime.now(UTC) + timedelta(minutes=5))
    assert carl.members == ["carl"]
    with pytest.raises(ConfigError, match="left 'Elm Street', and with this key for good"):
        carl.charter("vote", paste=old)
    assert carl.members == ["carl"]


def test_a_longer_slot_brings_its_times_and_never_more_than_a_day(homes: list[Home]) -> None:
    found(homes[:3])
    anna = homes[0]
    assert "horizon_slots: 96 becomes 24" in anna.charter("propose", "--rule", "slot_s=3600")
    for rule in ("horizon_slots=192", "slot_s=1000"):
        with pytest.raises(ConfigError, match="a day at most"):
            anna.charter("propose", "--rule", rule)


def test_a_removal_says_what_it_makes_void_and_that_stays_to_be_seen(homes: list[Home]) -> None:
    found(homes, "--waiting-days", "1")
    anna, bert, carl = homes[:3]
    waits = anna.charter("propose", "--rule", "gate_s=60")
    votes = "".join(home.charter("vote", "--yes", paste=waits) for home in (bert, carl))
    assert "accepted: takes effect" in anna.charter("vote", paste=votes)
    removal = anna.charter("propose", "--remove", "dora")
    assert "would make void what was accepted and waits" in removal
    votes = "".join(home.charter("vote", "--yes", paste=removal) for home in (bert, carl))
    anna.charter("vote", paste=votes)
    assert "void, though accepted" in anna.charter("show")
    assert len(anna.show()["void"]) == 1  # type: ignore[arg-type]


def test_a_suspended_key_is_out_at_once_on_every_machine_that_has_the_paper(homes: list[Home]) -> None:
    found(homes[:3])
    anna, bert, carl = homes[:3]
    word = anna.charter("suspend", bert.folder / "recovery.pem")
    bert_id = Identity.load(bert.folder / "key.pem").id
    assert anna.show()["absent"] == [bert_id]
    assert carl.show()["absent"] == []
    carl.charter("vote", paste=word)
    assert carl.show()["absent"] == [bert_id]
    with pytest.raises(ConfigError, match="recovery key of no member"):
        anna.charter("suspend", homes[3].folder / "key.pem")


def test_nobody_votes_twice_in_one_epoch_or_without_being_asked(homes: list[Home]) -> None:
    found(homes[:3])
    anna, bert, carl = homes[:3]
    one, other = anna.charter("propose", "--rule", "gate_s=60"), bert.charter("propose", "--rule", "gate_s=30")
    carl.charter("vote", "--yes", paste=one)
    refused = carl.charter("vote", "--yes", paste=other)
    assert "nobody votes twice" in refused
    assert "BEGIN" not in refused
    hashes = [paper.charter.hash for paper in read_blocks(other) if isinstance(paper, Change)]
    with pytest.raises(ConfigError, match="nobody votes twice"):
        carl.charter("vote", "--yes", "--proposal", hashes[0][:8], paste=other)
    assert "voted for two" not in carl.charter("show")
    assert "BEGIN" not in carl.charter("vote", "--yes", paste=one), "the same proposal again asks for no second vote"
    later = carl.charter("propose", "--rule", "round_limit=20")
    with pytest.raises(ConfigError, match="nobody can be asked"):
        bert.charter("vote", paste=later)
    assert "BEGIN" in bert.charter("vote", "--yes", paste=later), "it has a later epoch"


def test_at_a_terminal_it_shows_what_would_be_signed_and_asks(
    homes: list[Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cli.charter_view.at_terminal", lambda: True)
    monkeypatch.setattr("secrets.randbelow", lambda below: 1)
    anna, bert = homes[:2]
    founding = anna.charter("found", "Elm Street", paste=bert.charter("join", "--founding") + "\n")
    # A terminal's waiting input is thrown away before the question; here there is none, so only the block is pasted.
    founding = founding[founding.index("-----BEGIN") : founding.index("\n\nNext:")]
    for answer in ("n", "y", "yes", "10"):
        no = bert.charter("vote", paste=f"{founding}\n\n{answer}\n")
        assert "2 members:" in no
        assert "Not signed." in no
        assert "BEGIN" not in no
    monkeypatch.setattr("secrets.randbelow", lambda below: 37)
    yes = bert.charter("vote", paste=f"{founding}\n\n47\n")
    assert "Signed the founding of 'Elm Street'." in yes
    assert "BEGIN COMMONWATT CHARTER" in yes
    assert bert.members == ["anna", "bert"]


def test_the_vote_is_on_the_disk_before_it_is_shown(homes: list[Home], monkeypatch: pytest.MonkeyPatch) -> None:
    found(homes[:3])
    anna, bert = homes[:2]
    proposal = anna.charter("propose", "--rule", "gate_s=60")

    def power_cut(self: object, history: object) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as cut:
        cut.setattr("agent.charter_desk.CharterDesk._keep", power_cut)
        with pytest.raises(OSError, match="power cut"):
            bert.charter("vote", "--yes", paste=proposal)
    kept = json.loads((bert.folder / "data" / "charter-votes.json").read_text())["votes"]
    assert len(kept) == 1
    printed = read_blocks(bert.charter("vote", "--yes", paste=proposal))
    assert kept[0]["signature"] in printed[0].model_dump_json()


def test_a_founding_that_names_another_key_for_this_home_is_not_signed(homes: list[Home]) -> None:
    anna, bert, carl = homes[:3]
    cards = bert.charter("join", "--founding") + carl.charter("join", "--founding")
    founding = anna.charter("found", "Elm Street", "-", paste=cards)
    bert.charter("join", "--founding", "--broker", "mqtt://10.0.0.9:1883")
    with pytest.raises(ConfigError, match="another entry for this home"):
        bert.charter("vote", "--yes", paste=founding)
    with pytest.raises(ConfigError, match="does not name this home"):
        homes[3].charter("vote", "--yes", paste=founding)


def test_damaged_cut_and_foreign_text_says_what_to_do(homes: list[Home]) -> None:
    card = homes[1].charter("join", "--founding")
    middle = card.index("-----BEGIN") + 120
    for text, words in (
        ("hello", "no block found"),
        (card[: card.index("-----END")], "the end of the CARD is missing"),
        (card[:middle] + ("A" if card[middle] != "A" else "B") + card[middle + 1 :], "damaged on its way"),
        (card.replace("CARD", "SPELL"), "not known"),
    ):
        with pytest.raises(ConfigError, match=words):
            homes[0].charter("found", "Elm Street", "-", paste=text)


def test_a_block_survives_a_chat(homes: list[Home]) -> None:
    card = homes[1].charter("join", "--founding")
    quoted = "Bert wrote:\r\n" + "".join(f" > {line}\r\n" for line in card.splitlines()) + "Regards\r\n"
    dashes = quoted.replace("-----", "\u2014")
    for text in (card, quoted, dashes, dashes + quoted):
        papers = read_blocks(text)
        assert papers[0] == read_blocks(card)[0]


def members_online(running_home: object) -> int:
    node = running_home.agent._node  # type: ignore[attr-defined]
    return 0 if node is None else len(list(node.peers.online()))


def test_founders_find_each_other_without_a_password_ever_typed(tmp_path: Path) -> None:
    """Broker passwords follow from the keys in the charter: two agents hear each other."""
    folders = [first_home(tmp_path / name, own_broker=True) for name in ("one", "two")]
    folders[1].edit(('name = "home-1"', 'name = "house-2"'))
    (folders[1].folder / "charter.json").unlink()
    other = write_first_files(tmp_path / "spare", name="house-2", timezone="Europe/Berlin", currency="EUR").parent
    for file in ("charter.json", "key.pem"):
        (folders[1].folder / file).write_bytes((other / file).read_bytes())
    (folders[1].folder / "key.pem").chmod(0o600)

    def charter(files: Files, *words: str, paste: str = "") -> str:
        result = CliRunner().invoke(app, ["charter", *words, "--config", str(files.config)], input=paste)
        assert result.exception is None, result.exception
        return result.output

    card = charter(folders[1], "join", "--founding", "--broker", f"mqtt://127.0.0.1:{folders[1].broker_port}")
    broker = f"mqtt://127.0.0.1:{folders[0].broker_port}"
    founding = charter(folders[0], "found", "Elm Street", "-", "--broker", broker, paste=card)
    answer = charter(folders[1], "vote", "--yes", paste=founding)
    charter(folders[0], "vote", paste=answer)

    async def together() -> None:
        async with contextlib.AsyncExitStack() as stack:
            life = [await stack.enter_async_context(running(files)) for files in folders]
            await until(lambda: all(members_online(home) == 1 for home in life), within_s=40)

    asyncio.run(together())
