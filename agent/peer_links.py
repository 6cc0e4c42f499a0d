"""From a home's configuration and the charter to its links: its own broker to publish on, every neighbour's to read."""

from pydantic import ValidationError

from agent.config import HomeConfig, PeerBroker
from coordinator.charter import Charter, Member
from coordinator.errors import ConfigError
from coordinator.links import LinkSettings
from coordinator.mqtt_topics import direct_topic, pub_topic
from coordinator.toml_file import explain


def link_settings(config: HomeConfig, charter: Charter, me: str) -> list[LinkSettings]:
    """Return the links of a home: its own broker to publish on, and every neighbour's to read.

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
    names = {member.name for member in charter.members if member.id != me}
    if unknown := sorted(peers.keys() - names):
        raise ConfigError(
            f"mqtt.peers: {unknown[0]!r} is no neighbour in the charter; it names {', '.join(sorted(names))}"
        )
    for member in charter.members:
        if member.id == me:
            continue
        peer = peers.get(member.name)
        if peer is None:
            raise ConfigError(f"mqtt.peers: {member.name!r} is missing; ask that home for its broker's password")
        links.append(_peer_link(peer, member, charter.community_id, me))
    return links


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
