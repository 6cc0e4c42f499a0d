"""Errors of the project.

CommonwattError
├── ConfigError            a file or setting of the owner's is wrong; the text names the cause and the cure
├── LocalProtocolError     our own code used an API wrongly: a bug here
└── RemoteProtocolError    a peer's message is wrong: that message ends, never the loop
"""


class CommonwattError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(CommonwattError):
    """The owner's configuration cannot be used. The message is meant for the owner."""


class LocalProtocolError(CommonwattError):
    """Misuse of our own protocol classes."""


class RemoteProtocolError(CommonwattError):
    """A peer sent something that the protocol does not allow.

    Args:
        peer: Who sent it, as far as known (a home id, or "?" before the signature was checked).
        reason: One short phrase, for the log.
    """

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(f"{peer}: {reason}")
        self.peer = peer
        self.reason = reason
