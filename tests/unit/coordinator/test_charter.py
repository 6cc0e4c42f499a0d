"""The charter: rules and members that every founder signed, and nobody can change alone."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from neighbourhood import START, make_charter
from pydantic import ValidationError

from coordinator.charter import Charter, Member, Rules
from coordinator.charter_file import found, load_charter
from coordinator.charter_names import skeleton
from coordinator.errors import ConfigError
from coordinator.identity import Identity, encode_base64, home_id

FOUNDERS = [Identity.from_seed(bytes([n + 1]) * 32) for n in range(3)]
STRANGER = Identity.from_seed(b"s" * 32)
CHARTER = make_charter(FOUNDERS, Rules())
SIGNED = found(CHARTER, {founder.id: founder for founder in FOUNDERS})


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "charter.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    content = json.loads(SIGNED)
    change(content)
    return json.dumps(content)


def test_what_all_founders_signed_is_read_as_it_was_founded(tmp_path: Path) -> None:
    charter = load_charter(written(tmp_path, SIGNED), START)
    assert charter == CHARTER
    assert charter.community_id == CHARTER.community_id
    assert charter.public_keys == {founder.id: founder.public_key for founder in FOUNDERS}
    assert charter.by_id[FOUNDERS[0].id].name == "home 1"


@pytest.mark.parametrize("missing", range(3))
def test_a_charter_that_one_founder_did_not_sign_is_refused(tmp_path: Path, missing: int) -> None:
    absent = CHARTER.members[missing]
    for text in (
        changed(lambda c: c["signatures"].pop(absent.id)),
        changed(lambda c: c["signatures"].update({absent.id: ""})),
        changed(lambda c: c["signatures"].update({absent.id: "!"})),
        changed(lambda c: c["signatures"].update({absent.id: encode_base64(STRANGER.sign(CHARTER.canonical))})),
    ):
        with pytest.raises(ConfigError, match=absent.name):
            load_charter(written(tmp_path, text), START)


def test_founding_needs_the_key_of_every_member() -> None:
    with pytest.raises(KeyError):
        found(CHARTER, {founder.id: founder for founder in FOUNDERS[1:]})


def test_a_founder_cannot_change_a_rule_or_a_member_alone(tmp_path: Path) -> None:
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda c: c["charter"]["rules"].update(price_rule="marginal"),
        lambda c: c["charter"]["rules"].update(rho_micro=151),
        lambda c: c["charter"].update(name="other street"),
        lambda c: c["charter"].update(founded_ms=1),
        lambda c: c["charter"]["members"][0].update(broker="mqtt://elsewhere:1883"),
        lambda c: c["charter"]["members"].pop(),
    ]
    for change in changes:
        text = changed(change)
        altered = Charter.model_validate_json(json.dumps(json.loads(text)["charter"]))
        assert altered.community_id != CHARTER.community_id
        with pytest.raises(ConfigError, match="does not fit"):
            load_charter(written(tmp_path, text), START)
        alone = json.loads(text)
        alone["signatures"][FOUNDERS[0].id] = encode_base64(FOUNDERS[0].sign(altered.canonical))
        with pytest.raises(ConfigError):
            load_charter(written(tmp_path, json.dumps(alone)), START)


def test_no_changed_byte_makes_another_charter(tmp_path: Path) -> None:
    """A byte of the layout may change; what is signed may not."""
    raw, r = SIGNED.encode(), random.Random(1)
    refused = 0
    for _ in range(400):
        at = r.randrange(len(raw))
        altered = raw[:at] + bytes([raw[at] ^ (1 << r.randrange(8))]) + raw[at + 1 :]
        try:
            assert load_charter(written(tmp_path, altered), START) == CHARTER
        except ConfigError:
            refused += 1
    assert refused > 300


def test_a_file_that_is_not_there_or_not_a_charter_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="copy it from any neighbour"):
        load_charter(tmp_path / "none.json", START)
    for text in ("", "[]", "{}", "\udcff".encode("utf-8", "surrogateescape")):
        with pytest.raises(ConfigError, match="copy the charter again"):
            load_charter(written(tmp_path, text), START)
    with pytest.raises(ConfigError, match=r"charter\.rules\.colour"):
        load_charter(written(tmp_path, changed(lambda c: c["charter"]["rules"].update(colour="red"))), START)


def of_members(*members: Member) -> Charter:
    return Charter(name="test street", currency="EUR", founded_ms=0, rules=Rules(), members=members)


def test_members_are_written_in_one_order() -> None:
    assert of_members(*CHARTER.members).community_id == CHARTER.community_id
    with pytest.raises(ValidationError, match="sorted by id"):
        of_members(*CHARTER.members[::-1])


def test_two_members_cannot_share_a_key_or_a_name() -> None:
    first, second = CHARTER.members[:2]
    with pytest.raises(ValidationError, match="share one id"):
        of_members(first, first.model_copy(update={"name": "another"}))
    with pytest.raises(ValidationError, match="share one name"):
        of_members(first, second.model_copy(update={"name": first.name}))


def test_an_id_cannot_be_chosen() -> None:
    honest = CHARTER.members[0]
    for public_key in (encode_base64(STRANGER.public_key), encode_base64(b"short"), "!"):
        with pytest.raises(ValidationError):
            Member.model_validate({**dict(honest), "public_key": public_key})


def test_no_key_stands_twice_under_two_names_or_as_two_kinds_of_key() -> None:
    first, second = CHARTER.members[:2]
    spare = encode_base64(STRANGER.public_key)
    for one, two in (
        ({"recovery_key": spare}, {"recovery_key": spare}),
        ({"recovery_key": second.public_key}, {}),
        ({"recovery_key": first.public_key}, {}),
    ):
        with pytest.raises(ValidationError, match="one key stands twice"):
            of_members(*(Member.model_validate({**dict(m), **c}) for m, c in ((first, one), (second, two))))


def test_one_meter_is_one_member() -> None:
    first, second = (Member.model_validate({**dict(m), "meter": "0f" * 32}) for m in CHARTER.members[:2])
    with pytest.raises(ValidationError, match="share one meter"):
        of_members(first, second)


def test_a_key_that_fits_every_message_is_no_member() -> None:
    zero = bytes([1]) + bytes(31)
    for changes in (
        {"id": home_id(zero), "public_key": encode_base64(zero)},
        {"recovery_key": encode_base64(zero)},
        {"recovery_key": encode_base64(bytes([255]) * 32)},
    ):
        with pytest.raises(ValidationError, match="no home can have"):
            Member.model_validate({**dict(CHARTER.members[0]), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        *({"exchange_key": encode_base64(bytes([n]) + bytes(31))} for n in (0, 1)),
        {"exchange_key": encode_base64(bytes([0xEC, *[0xFF] * 30, 0x7F]))},
        {"exchange_key": encode_base64(bytes(31))},
        *({"broker": url} for url in ("foo", "http://x", "mqtts://10.8.0.4:99999", "mqtts://me@10.8.0.4")),
    ],
)
def test_what_would_stop_the_homes_that_use_it_never_gets_into_a_charter(changes: dict[str, str]) -> None:
    """Who votes is shown no key: a home could join with one at which the others' agents end."""
    with pytest.raises(ValidationError):
        Member.model_validate({**dict(CHARTER.members[0]), **changes})


@pytest.mark.parametrize("rules", [{"slot_s": 3600}, {"horizon_slots": 97}, {"slot_s": 1000, "horizon_slots": 10}])
def test_a_horizon_is_a_day_at_most_in_slots_that_divide_it(rules: dict[str, int]) -> None:
    """Homes forecast no further: such rules would end every agent at the same minute."""
    with pytest.raises(ValidationError, match="a day at most"):
        Rules(**rules)


@pytest.mark.parametrize("founded_ms", [-1, 10**18])
def test_a_founding_is_of_a_day_that_can_be_printed(founded_ms: int) -> None:
    with pytest.raises(ValidationError, match=r"1 validation error for Charter\nfounded_ms"):
        Charter(name="lane", currency="EUR", founded_ms=founded_ms, rules=Rules(), members=CHARTER.members)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("home 1", "Home 1"),
        ("home 1", "home-1"),
        ("home 1", "home l"),
        ("home 1", "homeI"),
        ("oak 10", "oak 1O"),
        ("corner", "comer"),
        ("anna", "\u0061nn\u0430"),
        ("bert", "be\u0301rt"),
    ],
)
def test_names_that_people_take_for_each_other_are_refused(one: str, other: str) -> None:
    first, second = CHARTER.members[:2]
    with pytest.raises(ValidationError, match="look alike"):
        of_members(*(Member.model_validate({**dict(m), "name": n}) for m, n in ((first, one), (second, other))))


def test_names_that_differ_in_a_number_are_different() -> None:
    assert len({skeleton(f"home {n}") for n in range(1, 400)}) == 399


def test_a_name_that_stands_twice_in_the_file_is_refused(tmp_path: Path) -> None:
    text = SIGNED.replace('"currency": "EUR"', '"currency": "EUR", "currency": "EUR"')
    with pytest.raises(ConfigError, match="stands twice"):
        load_charter(written(tmp_path, text), START)


def test_what_a_charter_does_not_say_is_no_part_of_what_is_signed() -> None:
    """So that charters of the first builds stay what they were."""
    assert b"null" not in CHARTER.canonical
    assert all(word not in CHARTER.canonical for word in (b"follows", b"waiting_s", b"recovery_key", b"exchange_key"))
    assert CHARTER.change_wait_s == 7 * 86400


@pytest.mark.parametrize("name", ["", "-home", "a" * 25, "home/1", "home\n1", "<b>"])
def test_names_are_plain_words(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        Charter.model_validate({**CHARTER.model_dump(), "members": CHARTER.members, "name": name})


TIMES = ("ready_s", "rounds_s", "offers_s", "expiry_s", "gate_s")


@pytest.mark.parametrize(("earlier", "later"), list(itertools.pairwise(TIMES)))
def test_the_times_of_a_slot_must_fall(earlier: str, later: str) -> None:
    plain = Rules().model_dump()
    for change in ({later: plain[earlier]}, {later: plain[earlier] + 1}, {earlier: plain[later]}):
        with pytest.raises(ValidationError, match="must hold"):
            Rules.model_validate({**plain, **change})


def test_a_gate_after_the_start_or_two_slots_at_once_are_refused() -> None:
    plain = Rules().model_dump()
    assert Rules.model_validate({**plain, "gate_s": 0}).gate_s == 0
    for change in ({"gate_s": -1}, {"ready_s": plain["slot_s"]}):
        with pytest.raises(ValidationError, match=r"must hold|one slot is negotiated"):
            Rules.model_validate({**plain, **change})


RESIDUAL_TIMES = ("residual_offers_s", "residual_expiry_s", "residual_gate_s")


@pytest.mark.parametrize(("earlier", "later"), list(itertools.pairwise((*RESIDUAL_TIMES, "slot_s"))))
def test_the_times_of_the_residual_round_must_rise_and_end_before_the_next_one(earlier: str, later: str) -> None:
    plain = Rules().model_dump()
    for value in (plain[later], plain[later] + 1):
        with pytest.raises(ValidationError, match="residual_gate_s < slot_s must hold"):
            Rules.model_validate({**plain, earlier: value})


@pytest.mark.parametrize("slot_s", [60, 300, 900, 1800, 3600])
def test_times_scale_with_the_slot(slot_s: int) -> None:
    plain, rules = Rules(), Rules.for_slot(slot_s, 24, price_rule="sdr", round_limit=7)
    assert (rules.slot_s, rules.horizon_slots, rules.price_rule, rules.round_limit) == (slot_s, 24, "sdr", 7)
    for name in (*TIMES, *RESIDUAL_TIMES, "round_timeout_s"):
        assert getattr(rules, name) == getattr(plain, name) * slot_s // plain.slot_s
    assert rules.round_timeout_s >= 1
    assert rules.sharing_limit_wh == plain.sharing_limit_wh * slot_s // plain.slot_s
    longer = max(1.0, slot_s / plain.slot_s)  # a network is no faster in a short slot
    assert (rules.deviation_s, rules.deviation_life_s) == (plain.deviation_s * longer, plain.deviation_life_s * longer)


def test_a_change_wins_over_the_scaled_time() -> None:
    plain = Rules.for_slot(3600, 24)
    assert Rules.for_slot(3600, 24, gate_s=10) == plain.model_copy(update={"gate_s": 10})
    with pytest.raises(ValidationError):
        Rules.for_slot(3600, 24, gate_s=plain.expiry_s)


def test_scaling_to_the_default_slot_changes_nothing() -> None:
    assert Rules.for_slot(Rules().slot_s, Rules().horizon_slots) == Rules()
