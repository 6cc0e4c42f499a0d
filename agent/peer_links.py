"""From a home's configuration and the charter to its links: its own broker to publish on, every neighbour's to read."""

from pydantic import SecretStr, ValidationError

from agent.config import HomeConfig, PeerBroker
from coordinator.broker_settings import BrokerUser, readers
from coordinator.charter import Charter, Member
from coordinator.errors import ConfigError
from coordinator.identity import Identity, decode_base64, encode_base64
from coordinator.links import LinkSettings
from coordinator.mqtt_topics import direct_topic, pub_topic
from coordinator.toml_file import explain


def link_settings(
    config: HomeConfig, charter: Charter, me: str, identity: Identity | None = None
) -> list[LinkSettings]:
    """Return the links of a home: its own broker to publish on, and every neighbour's to read.

    Args:
        identity: This home's keys: with them it needs no `mqtt.peers` for neighbours that have an exchange key.

    Raises:
        ConfigError: If a neighbour in the file is not in the charter, the charter has one the file lacks, or an
            address in it cannot be used.
    """
    own = config.mqtt.own
    links = [
        LinkSettings(
            name=config.home.name,
            url=own.url,
            username=own.username,
            password=own.password,
            password_file=own.password_file,
            publish=True,
        )
    ]
    peers = {peer.member: peer for peer in config.mqtt.peers}
    names = {member.name for member in charter.homes if member.id != me}
    if unknown := sorted(peers.keys() - {member.name for member in charter.ever.values() if member.id != me}):
        raise ConfigError(
            f"mqtt.peers: {unknown[0]!r} is no neighbour in the charter; it names {', '.join(sorted(names))}"
        )
    for member in charter.homes:
        if member.id == me:
            continue
        peer = peers.get(member.name) or _agreed(charter, identity, member)
        if peer is None:
            raise ConfigError(f"mqtt.peers: {member.name!r} is missing; ask that home for its broker's password")
        links.append(_peer_link(peer, member, charter.community_id, me))
    return links


def broker_users(config: HomeConfig, charter: Charter, identity: Identity) -> tuple[BrokerUser, ...]:
    """Return who may connect to the home's own broker: those in its settings, and every neighbour with a password that
    both compute from their keys."""
    assert config.broker is not None
    users, me = config.broker.users, charter.by_id[identity.id]
    named = {user.name for user in users}
    passwords = {
        member.id: password
        for member in charter.homes
        if member.id not in named | {me.id} and (password := _password(charter, identity, me, member)) is not None
    }
    return (*users, *readers(charter.community_id, me.id, passwords))


def _agreed(charter: Charter, identity: Identity | None, member: Member) -> PeerBroker | None:
    password = None if identity is None else _password(charter, identity, member, member)
    return None if password is None else PeerBroker(member=member.name, password=SecretStr(password))


def _password(charter: Charter, identity: Identity, broker: Member, other: Member) -> str | None:
    """Return what this home and `other`, one of them the owner of `broker`, both know as the password there."""
    if other.exchange_key is None or charter.by_id[identity.id].exchange_key is None:
        return None
    purpose = f"broker password|{charter.community_id}|{broker.id}"
    try:
        return encode_base64(identity.shared_secret(decode_base64(other.exchange_key), purpose))
    except ValueError:
        raise ConfigError(
            f"the charter's exchange_key of {other.name} cannot be used: that home must alter it"
        ) from None


def _peer_link(peer: PeerBroker, member: Member, community: str, me: str) -> LinkSettings:
    try:
        return LinkSettings(
            name=member.name,
            url=peer.url or member.broker,
            username=peer.username or me,
            password=peer.password,
            password_file=peer.password_file,
            subscribe=(pub_topic(community, member.id), direct_topic(community, member.id, me)),
        )
    except ValidationError as error:
        raise ConfigError(
            f"mqtt.peers of {member.name}: {explain(error, LinkSettings)}: write the right url there; "
            "the one in the charter cannot be used"
        ) from None
