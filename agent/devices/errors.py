"""What can go wrong between us and a device. Every text is meant for the owner.

DeviceError
├── LinkDownError       no connection to the host and port
├── NoAnswerError       connected, but this unit stayed silent
├── BadAnswerError      an answer that cannot belong to the request
├── DeviceRefusedError  a Modbus exception; `code` says which
├── TooLateError        a command whose time had passed before it could leave; it was not sent
├── WrongDeviceError    another device than the profile describes
└── WriteIgnoredError   acknowledged, but the read-back shows another value
"""

from coordinator.errors import CommonwattError

_CODES = {
    1: "it does not know this function",
    2: "it does not have these registers",
    3: "it does not accept this value",
    4: "it failed inside",
    5: "it is still busy with the last write",
    6: "it is busy",
    10: "the gateway has no path to this unit",
    11: "the unit behind the gateway does not answer: is the unit id right?",
}


class DeviceError(CommonwattError):
    """Base of everything a device or its link does to us."""


class LinkDownError(DeviceError):
    """There is no connection."""


class NoAnswerError(DeviceError):
    """The request was sent and nothing came back in time."""


class BadAnswerError(DeviceError):
    """Something came back that does not answer the request; it was dropped."""


class DeviceRefusedError(DeviceError):
    """The device answered with a Modbus exception.

    Args:
        what: Who refused what, in words.
        code: The exception code; codes outside the standard (0, 0x80) occur and mean a refusal too.
    """

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: {_CODES.get(code, 'it refused')} (Modbus exception {code})")
        self.code = code


class TooLateError(DeviceError):
    """A command waited, or this program stood still, until it was old; it was not sent."""


class WrongDeviceError(DeviceError):
    """What answers is not what the profile describes; nothing of it may be used."""


class WriteIgnoredError(DeviceError):
    """The device took the write and kept, or soon showed, another value."""
