"""A home's entry for a charter, and the draft of a community's founding."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent.charter_blocks import Card
from agent.charter_state import CharterState
from agent.config import HomeConfig
from coordinator.charter import Charter, MeetingBroker, Member, Rules
from coordinator.charter_history import History
from coordinator.errors import ConfigError
from coordinator.identity import Identity, encode_base64
from coordinator.links import check_url, is_encrypted, is_local

Model = TypeVar("Model", bound=BaseModel)
RuleChanges = dict[str, int | bool | str]
NO_BROKER = "none"
"""Given as address: nobody can reach this home, it speaks and listens at meeting brokers only."""


def make_card(
    config: HomeConfig,
    identity: Identity,
    state: CharterState,
    *,
    broker: str | None = None,
    meter: str | None = None,
    power_limit_w: int | None = None,
) -> tuple[Member, list[str]]:
    """Return this home's entry for a charter, and what was done for it; made once, from then on only altered.

    Args:
        broker: Where neighbours read this home's messages, or `none` where they cannot reach it; by default the
            address on this machine.
        meter: As `meter_commitment` returns it.
    """
    kept, lines = state.card(), []
    if kept is None:
        path = recovery_path(config)
        recovery = Identity.load(path) if path.exists() else Identity.generate()
        if not path.exists():
            recovery.save(path)
            lines.append(f"Wrote {path}: it suspends this home should its key be stolen. Move it off this machine.")
        recovery_key: str | None = encode_base64(recovery.public_key)
    else:
        recovery_key = kept.recovery_key
    member = checked(
        Member,
        id=identity.id,
        name=config.home.name,
        public_key=encode_base64(identity.public_key),
        exchange_key=encode_base64(identity.exchange_key),
        recovery_key=recovery_key,
        broker=_address(broker, kept, config),
        meter=meter or (kept.meter if kept else None),
        power_limit_w=power_limit_w or (kept.power_limit_w if kept else None),
    )
    state.save_card(member)
    return member, lines + ([] if member.broker is None else _advice(member.broker, config))


def _address(given: str | None, kept: Member | None, config: HomeConfig) -> str | None:
    if given is not None:
        return None if given == NO_BROKER else check_given(given)
    if kept is not None:
        return kept.broker
    tls = config.broker.tls if config.broker is not None else None
    return config.mqtt.own.url if tls is None else f"mqtts://127.0.0.1:{tls.port}"


def check_given(url: str) -> str:
    """Return an address of a broker that can be used.

    Raises:
        ConfigError: If it cannot.
    """
    try:
        return check_url(url)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _advice(url: str, config: HomeConfig) -> list[str]:
    """Return what to do so that neighbours reach this home at its address, and nobody else reads along."""
    if is_local(url):
        return [f"{url} is for this machine only: give --broker mqtts://ADDRESS:8883 for neighbours on others."]
    if not is_encrypted(url):
        return [f"{url} is not encrypted: whoever is on the way reads along. Better mqtts://ADDRESS:8883, or a VPN."]
    return [] if (text := closed_to_neighbours(url, config)) is None else [text]


def closed_to_neighbours(url: str, config: HomeConfig) -> str | None:
    """Return why nobody on another machine gets through to the agent's own broker at its address; None if they do."""
    if config.broker is None or is_local(url) or not is_encrypted(url):
        return None
    if config.broker.tls is None:
        return f'neighbours come to {url}, but [broker.tls] is missing: add it with host = "0.0.0.0"'
    if is_local(f"mqtts://{config.broker.tls.host}"):
        return f'neighbours come to {url}, but [broker.tls] lets in this machine only: write host = "0.0.0.0" there'
    return None


def draft_founding(
    here: Charter,
    name: str,
    me: Member,
    cards: Iterable[Card],
    rules: RuleChanges,
    *,
    waiting_s: int | None,
    founded_ms: int,
    meeting: Sequence[MeetingBroker] = (),
) -> Charter:
    """Return a founding nobody has signed yet.

    Args:
        here: The charter of this one home, as `init` wrote it.
    """
    if len(here.members) > 1:
        raise ConfigError(
            f"this home is in {here.name!r}: invite new homes there, or found anew from a folder of its own "
            "(`commonwatt init FOLDER`) when all balances are settled"
        )
    founders = {card.member.id: card.member for card in cards} | {me.id: me}
    return checked(
        Charter,
        name=name,
        currency=here.currency,
        founded_ms=founded_ms,
        rules=altered(here.rules, rules),
        members=tuple(sorted(founders.values(), key=lambda member: member.id)),
        waiting_s=waiting_s,
        meeting=tuple(sorted(meeting, key=lambda broker: broker.name)) or None,
    )


def altered(rules: Rules, changes: RuleChanges) -> Rules:
    """Return rules with some changed; with another length of the slot, times and horizon follow it.

    Raises:
        ConfigError: It names what cannot be.
    """
    slot_s = changes.get("slot_s", rules.slot_s)
    times = Rules.times_for(slot_s) if isinstance(slot_s, int) and slot_s not in (0, rules.slot_s) else {}
    return checked(Rules, **{**rules.model_dump(), **times, **changes})


def found_alone(config: HomeConfig, identity: Identity, left: Charter, founded_ms: int) -> History:
    """Return a founding of this home alone, by the rules it knows, for when its community goes on without it."""
    me = left.ever[identity.id]
    if me.broker is None:  # alone it needs no broker that others reach, but a charter without meeting brokers wants one
        me = me.model_copy(update={"broker": config.mqtt.own.url})
    charter = checked(
        Charter, name=config.home.name, currency=left.currency, founded_ms=founded_ms, rules=left.rules, members=(me,)
    )
    return History(charter=charter, signatures={identity.id: encode_base64(identity.sign(charter.canonical))})


def meter_commitment(number: str) -> str:
    """Return what stands for a metering point's number: equal for equal numbers, so one meter is one member.

    Slow on purpose: numbers are short, and trying them all must cost a community more than asking at the door. Who
    suspects one certain number can still try that one.
    """
    plain = "".join(number.split()).upper().encode()
    salt = b"commonwatt metering point 1"
    return hashlib.scrypt(plain, salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32).hex()


def checked(model: type[Model], **values: Any) -> Model:
    """Return the document; what is wrong with its values is the owner's to mend.

    Raises:
        ConfigError: It names the value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: {said}" if where else said) from None


def recovery_path(config: HomeConfig) -> Path:
    return config.community.key_file.with_name("recovery.pem")
