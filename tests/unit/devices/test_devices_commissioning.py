import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from fault_bench import bench
from pydantic import ValidationError

from agent.devices.commissioning import (
    AgreedEnvelope,
    CommissioningError,
    CommissioningRecord,
    CommissioningStep,
    DeviceIdentity,
    make_record,
    profile_id,
    read_record,
    record_path,
    sign_record,
    write_record,
)
from agent.devices.profile import load_profile
from agent.simulator.sunspec_device import SunSpecInverter
from coordinator.identity import Identity, encode_base64

NOON = datetime(2026, 6, 12, 10, tzinfo=UTC)
HOME, OTHER = Identity.from_seed(b"h" * 32), Identity.from_seed(b"o" * 32)
HYBRID = load_profile("sunspec_hybrid")
INVERTER = DeviceIdentity(manufacturer="Sun", model="Hybrid 10", serial="4711")
WHERE = "unit 1 at tcp://10.0.0.9:502"
STEP = CommissioningStep(what="charge", by="agent", at=NOON, answer="moved the right way", measured={"battery_w": -200})


def record(identity: Identity = HOME, says: DeviceIdentity = INVERTER, **changes: object) -> CommissioningRecord:
    envelope = AgreedEnvelope(charge_w=5000, discharge_w=4000, reserve_pct=20, max_pct=95)
    made = make_record(identity, HYBRID, says, WHERE, reversion_s=60, envelope=envelope, steps=[STEP])
    return made.model_copy(update=changes)


@dataclass
class Kept:
    """A file, and how it is read back."""

    path: Path

    def read(self, identity: Identity = HOME, says: DeviceIdentity = INVERTER, where: str = WHERE):  # type: ignore[no-untyped-def]
        return read_record(self.path, identity.public_key, profile_id(HYBRID), says.device_id(where))

    def refusal(self) -> str:
        with pytest.raises(CommissioningError) as caught:
            self.read()
        return str(caught.value)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    path = record_path(tmp_path / "data", "inverter")
    write_record(path, record(), HOME)
    return Kept(path)


def test_a_record_is_read_back_as_it_was_written(kept: Kept) -> None:
    assert kept.path.name == "commissioning-inverter.json"
    assert kept.read() == record()


def test_a_missing_record_names_the_command_that_makes_one(tmp_path: Path) -> None:
    assert "`commonwatt commission` checks the device with you" in Kept(tmp_path / "none.json").refusal()


def test_no_byte_of_a_record_can_be_changed(kept: Kept) -> None:
    right = kept.path.read_bytes()
    # The newline at the very end belongs to the file, not to the record.
    for index in range(len(right) - 1):
        kept.path.write_bytes(right[:index] + bytes((right[index] ^ 1,)) + right[index + 1 :])
        assert "damaged or was changed" in kept.refusal(), index


@pytest.mark.parametrize("left", [0, 1, 100, -90, -2])
def test_half_a_record_is_none(kept: Kept, left: int) -> None:
    kept.path.write_bytes(kept.path.read_bytes()[:left])
    assert "damaged" in kept.refusal()


def test_a_record_of_another_home_is_refused_with_its_cure(kept: Kept) -> None:
    kept.path.write_bytes(sign_record(record(OTHER), OTHER))
    assert f"signed with another key (home {OTHER.id}): use that home's key file" in kept.refusal()


def test_a_record_that_only_claims_to_be_ours_is_refused(kept: Kept) -> None:
    forged = record(OTHER).model_copy(update={"home": HOME.id, "public_key": encode_base64(HOME.public_key)})
    line = forged.model_dump_json().encode()
    kept.path.write_bytes(line + b"\n" + encode_base64(OTHER.sign(line)).encode())
    assert "damaged or was changed" in kept.refusal()


def test_another_device_at_the_address_has_no_record(kept: Kept) -> None:
    with pytest.raises(
        CommissioningError, match=r"another device \(Sun/Hybrid 10/4711\) than .*\(Sun/Hybrid 10/4712\)"
    ):
        kept.read(says=INVERTER.model_copy(update={"serial": "4712"}))


def test_a_device_with_a_serial_number_may_move_and_one_without_may_not(kept: Kept) -> None:
    moved = "unit 1 at tcp://10.0.0.77:502"
    assert kept.read(where=moved).link == WHERE
    nameless = DeviceIdentity(model="SUN2000")
    write_record(kept.path, record(says=nameless), HOME)
    kept.read(says=nameless)
    with pytest.raises(CommissioningError, match="correct its url"):
        kept.read(says=nameless, where=moved)


def test_another_profile_has_no_record(kept: Kept) -> None:
    with pytest.raises(CommissioningError, match="made with profile sunspec_hybrid, the settings now say sungrow_sh"):
        read_record(kept.path, HOME.public_key, profile_id(load_profile("sungrow_sh")), INVERTER.device_id(WHERE))


def test_a_record_ends_when_a_sign_in_the_profile_changes_and_not_with_its_title(kept: Kept) -> None:
    battery = HYBRID.points["battery_w"].model_copy(update={"sign": "charge"})
    turned = HYBRID.model_copy(update={"points": {**HYBRID.points, "battery_w": battery}})
    with pytest.raises(CommissioningError, match="or a choice in it, was changed since this device was commissioned"):
        read_record(kept.path, HOME.public_key, profile_id(turned), INVERTER.device_id(WHERE))
    assert profile_id(HYBRID.model_copy(update={"title": "better said", "sources": ("a", "b")})) == profile_id(HYBRID)


def test_a_choice_of_the_installer_is_part_of_what_was_commissioned() -> None:
    assert profile_id(load_profile("sungrow_sh")) != profile_id(load_profile("sungrow_sh", {"meter": "other"}))


def test_a_record_written_in_another_way_than_ours_is_refused(kept: Kept) -> None:
    line = record().model_dump_json(indent=1).replace("\n", "").encode()
    kept.path.write_bytes(line + b"\n" + encode_base64(HOME.sign(line)).encode())
    assert "no commissioning record of this version" in kept.refusal()


def test_nobody_signs_for_another_home() -> None:
    with pytest.raises(CommissioningError, match=f"this key signs for home {OTHER.id}, not for {HOME.id}"):
        sign_record(record(), OTHER)


@pytest.mark.parametrize("at", [NOON.replace(tzinfo=None), NOON.astimezone(timezone(timedelta(hours=2)))])
def test_times_of_a_record_are_in_utc(at: datetime) -> None:
    with pytest.raises(ValidationError):
        CommissioningStep(what="charge", by="agent", at=at, answer="moved")


def test_a_record_that_cannot_be_read_says_who_must_be_able_to(kept: Kept) -> None:
    kept.path.unlink()
    kept.path.mkdir()
    assert "cannot be read (Is a directory): give it to the user that runs this" in kept.refusal()


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ("sunspec_hybrid", ("Commonwatt", "Simulated hybrid inverter", "exhibit")),
        ("huawei_sun2000", ("", "SUN2000", "")),
        ("sungrow_sh", ("", "", "")),
    ],
)
def test_a_device_says_of_itself_what_its_profile_can_ask(profile: str, says: tuple[str, str, str]) -> None:
    async def main() -> None:
        async with bench(None, profile) as it:
            identity = await it.device.read_identity()
            assert (identity.manufacturer, identity.model, identity.serial) == says
            assert identity.device_id(it.device.where) == ("/".join(says) if says[2] else it.device.where)

    asyncio.run(main())


def test_after_a_reconnect_the_device_is_asked_again_who_it_is() -> None:
    async def main() -> None:
        async with bench(None, "sunspec_hybrid") as it:
            assert (await it.device.read_identity()).serial == "exhibit"
            asked = it.exhibit.line.requests
            await it.device.read_identity()
            assert it.exhibit.line.requests == asked, "known, over this connection"
            it.exhibit.device._inner = SunSpecInverter(it.exhibit.live, rating_w=9000, serial="another", unit=1)
            await it.link.close()
            assert (await it.device.read_identity()).serial == "another"

    asyncio.run(main())
