"""From a home's configuration and the charter to its links: its own broker to publish on, every neighbour's to read,
and the meeting brokers, all at once, for both."""

from collections.abc import Callable

from pydantic import SecretStr, ValidationError

from agent.config import HomeConfig, PeerBroker
from coordinator.broker_settings import BrokerUser, meeting_users, readers
from coordinator.charter import Charter, MeetingBroker, Member
from coordinator.errors import ConfigError
from coordinator.identity import Identity, decode_base64, encode_base64
from coordinator.links import LinkSettings, is_encrypted
from coordinator.mqtt_topics import direct_topic, pub_topic
from coordinator.sealing import Sealer
from coordinator.toml_file import explain


def link_settings(
    config: HomeConfig,
    charter: Charter,
    me: str,
    identity: Identity | None = None,
    on_unusable: Callable[[str], None] | None = None,
) -> list[LinkSettings]:
    """Return the links of a home: its own broker to publish on, every neighbour's to read, and the meeting brokers.

    Whose certificate an encrypted link trusts is in the charter: the neighbour's key, or the meeting broker's.

    Args:
        identity: This home's keys: with them it needs no `mqtt.peers` for neighbours that have an exchange key.
        on_unusable: Is told of each neighbour that cannot be reached as the charter and the file have it; the links to
            all others are returned. Nobody whom the charter names can so keep a home from the rest.

    Raises:
        ConfigError: If a neighbour in the file is not in the charter; without `on_unusable` also if the charter has
            one the file lacks, or an address in it cannot be used.
    """
    own = config.mqtt.own
    links = [
        LinkSettings(
            name=config.home.name,
            url=own.url,
            username=own.username,
            password=own.password,
            password_file=own.password_file,
            pin=charter.ever[me].public_key if is_encrypted(own.url) else None,
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
        try:
            link = None if member.id == me else _neighbour_link(peers.get(member.name), member, charter, me, identity)
        except ConfigError as error:
            if on_unusable is None:
                raise
            on_unusable(str(error))
            continue
        links += [] if link is None else [link]
    for broker in charter.meeting or ():
        if identity is not None and (link := meeting_link(broker, charter, identity)) is not None:
            links.append(link)
    return links


def broker_users(config: HomeConfig, charter: Charter, identity: Identity) -> tuple[BrokerUser, ...]:
    """Return who may connect to the home's own broker: those in its settings, and every neighbour with a password that
    both compute from their keys."""
    me = charter.by_id[identity.id]
    users = config.broker.users if config.broker is not None else (_owner(config),)
    named = {user.name for user in users}
    passwords = {
        member.id: password
        for member in charter.homes
        if member.id not in named | {me.id} and (password := _password(charter, identity, me, member)) is not None
    }
    return (*users, *readers(charter.community_id, me.id, passwords))


def _owner(config: HomeConfig) -> BrokerUser:
    """Return this home itself as a user of a broker that runs by itself."""
    own = config.mqtt.own
    password = SecretStr(own.secret() or "")
    return BrokerUser(name=own.username, password=password, publish=("#",), subscribe=("#",))


def sealer(charter: Charter, identity: Identity) -> Sealer:
    """Return what seals this home's messages at meeting brokers, for every member with an exchange key."""
    return Sealer(identity, charter.community_id, charter.exchange_keys(identity.id))


def meeting_link(broker: MeetingBroker, charter: Charter, identity: Identity) -> LinkSettings | None:
    """Return the link to a meeting broker; None if this home has no exchange key in the charter."""
    password, community = _password(charter, identity, broker, broker), charter.community_id
    if password is None:
        return None
    others = [member.id for member in charter.homes if member.id != identity.id]
    try:
        return LinkSettings(
            name=broker.name,
            url=broker.url,
            username=identity.id,
            password=SecretStr(password),
            pin=broker.public_key,
            meeting=True,
            # One by one: with a wildcard, everything this home says would come back to it.
            subscribe=tuple(
                topic
                for other in others
                for topic in (pub_topic(community, other), direct_topic(community, other, identity.id))
            ),
        )
    except ValidationError as error:
        raise ConfigError(
            f"meeting broker {broker.name}: {explain(error, LinkSettings)}: the members must alter it in the charter"
        ) from None


def meeting_broker_users(charter: Charter, identity: Identity) -> tuple[BrokerUser, ...]:
    """Return who may connect to a meeting broker: every member with an exchange key.

    Args:
        identity: The broker's own keys.

    Raises:
        ConfigError: If the charter does not have this broker.
    """
    broker = next((each for each in charter.meeting or () if each.id == identity.id), None)
    if broker is None:
        raise ConfigError(
            f"{charter.name!r} does not meet at this broker: its members add the card with `charter propose --add`"
        )
    passwords = {
        member.id: _shared(identity, member.exchange_key, charter, broker.id)
        for member in charter.homes
        if member.exchange_key is not None
    }
    return meeting_users(charter.community_id, passwords)


def _neighbour_link(
    peer: PeerBroker | None, member: Member, charter: Charter, me: str, identity: Identity | None
) -> LinkSettings | None:
    """Return the link to a neighbour; None if it is heard at the meeting brokers."""
    if member.broker is None and (peer is None or peer.url is None):
        return None
    peer = peer or _agreed(charter, identity, member)
    if peer is None:
        raise ConfigError(f"mqtt.peers: {member.name!r} is missing; ask that home for its broker's password")
    return _peer_link(peer, member, charter.community_id, me)


def _agreed(charter: Charter, identity: Identity | None, member: Member) -> PeerBroker | None:
    password = None if identity is None else _password(charter, identity, member, member)
    return None if password is None else PeerBroker(member=member.name, password=SecretStr(password))


def _password(
    charter: Charter, identity: Identity, broker: Member | MeetingBroker, other: Member | MeetingBroker
) -> str | None:
    """Return what this home and `other`, one of them the owner of `broker`, both know as the password there."""
    if other.exchange_key is None or charter.by_id[identity.id].exchange_key is None:
        return None
    return _shared(identity, other.exchange_key, charter, broker.id)


def _shared(identity: Identity, exchange_key: str, charter: Charter, broker: str) -> str:
    """Return the password at a broker that follows from two keys, equal on both sides.

    Args:
        broker: Its id.
    """
    purpose = f"broker password|{charter.community_id}|{broker}"
    return encode_base64(identity.shared_secret(decode_base64(exchange_key), purpose))


def _peer_link(peer: PeerBroker, member: Member, community: str, me: str) -> LinkSettings:
    url = peer.url or member.broker or ""
    try:
        return LinkSettings(
            name=member.name,
            url=url,
            pin=member.public_key if is_encrypted(url) else None,
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
