"""The commands of the Key Establishment cluster, each a value that knows its octets.

Each command exists in both directions under the same id: a request from the initiator, who is the client, and
a response from the responder, the server. Sizes that depend on the suite are not looked at here, because the
answer to a wrong one is a Terminate that the machine has to choose. Layouts: Smart Energy, annex C.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from struct import error as struct_error
from typing import ClassVar, Self

from han.errors import OurError, TheirError
from han.security.cbke import MAC_SIZE
from ota.open_enum import OpenEnum
from ota.status import Status

__all__ = [
    "CLUSTER_ID",
    "LONGEST_TIME",
    "Command",
    "ConfirmKey",
    "EphemeralData",
    "Initiate",
    "Terminate",
    "TerminateStatus",
    "parse_command",
]

CLUSTER_ID = 0x0800
"""Key Establishment."""

LONGEST_TIME = 0xFE
"""The longest time in seconds that a command can tell; 0xFF is invalid."""

_INITIATE = Struct("<HBB")
_TERMINATE = Struct("<BBH")


class TerminateStatus(OpenEnum):
    """Why an exchange ended. Open: a value that nobody defined keeps its number and shows it."""

    UNKNOWN_ISSUER = 1
    BAD_KEY_CONFIRM = 2
    BAD_MESSAGE = 3
    NO_RESOURCES = 4
    UNSUPPORTED_SUITE = 5
    INVALID_CERTIFICATE = 6


@dataclass(frozen=True, slots=True)
class Initiate:
    """Initiate Key Establishment Request or Response: who I am, and how long my two computations take.

    ``suites`` is a map with one bit set; the times are in seconds; ``certificate`` are its octets as sent.
    """

    COMMAND_ID: ClassVar[int] = 0x00

    suites: int
    ephemeral_time: int
    confirm_time: int
    certificate: bytes
    from_server: bool

    def payload(self) -> bytes:
        """What stands behind the ZCL header. Raises OurError if a field does not fit."""
        return _pack(_INITIATE, self.suites, self.ephemeral_time, self.confirm_time) + self.certificate

    @classmethod
    def parse(cls, payload: bytes, *, from_server: bool) -> Self:
        """Read a payload. Raises TheirError if it ends early."""
        suites, ephemeral_time, confirm_time = _unpack(_INITIATE, payload, cls.__name__)
        return cls(suites, ephemeral_time, confirm_time, bytes(payload[_INITIATE.size :]), from_server)


@dataclass(frozen=True, slots=True)
class EphemeralData:
    """Ephemeral Data Request or Response: ``point``, the compressed ephemeral public key."""

    COMMAND_ID: ClassVar[int] = 0x01

    point: bytes
    from_server: bool

    def payload(self) -> bytes:
        """What stands behind the ZCL header."""
        return self.point

    @classmethod
    def parse(cls, payload: bytes, *, from_server: bool) -> Self:
        """Read a payload of any length."""
        return cls(bytes(payload), from_server)


@dataclass(frozen=True, slots=True)
class ConfirmKey:
    """Confirm Key Request or Response: the proof that the sender got the same key."""

    COMMAND_ID: ClassVar[int] = 0x02

    mac: bytes = field(repr=False)
    from_server: bool

    def payload(self) -> bytes:
        """What stands behind the ZCL header."""
        return self.mac

    @classmethod
    def parse(cls, payload: bytes, *, from_server: bool) -> Self:
        """Read a payload. Raises TheirError if it is no MAC of 16 octets."""
        if len(payload) != MAC_SIZE:
            raise TheirError(f"a MAC has 16 octets, not {len(payload)}")
        return cls(bytes(payload), from_server)


@dataclass(frozen=True, slots=True)
class Terminate:
    """Terminate Key Establishment: why, how many seconds to wait before another try, and suites supported."""

    COMMAND_ID: ClassVar[int] = 0x03

    status: TerminateStatus
    wait_time: int
    suites: int
    from_server: bool

    def payload(self) -> bytes:
        """What stands behind the ZCL header. Raises OurError if a field does not fit."""
        return _pack(_TERMINATE, self.status, self.wait_time, self.suites)

    @classmethod
    def parse(cls, payload: bytes, *, from_server: bool) -> Self:
        """Read a payload. Raises TheirError if it ends early."""
        status, wait_time, suites = _unpack(_TERMINATE, payload, cls.__name__)
        return cls(TerminateStatus(status), wait_time, suites, from_server)


Command = Initiate | EphemeralData | ConfirmKey | Terminate

_KINDS: tuple[type[Command], ...] = (Initiate, EphemeralData, ConfirmKey, Terminate)


def parse_command(command_id: int, from_server: bool, payload: bytes) -> Command:  # noqa: FBT001 - a wire bit
    """Read a command of this cluster by its id and the side that sent it.

    Raises:
        TheirError: MALFORMED_COMMAND if it ends early, UNSUP_CLUSTER_COMMAND if nobody knows its id.
    """
    if not 0 <= command_id < len(_KINDS):
        raise TheirError(f"Key Establishment has no command {command_id:#04x}", Status.UNSUP_CLUSTER_COMMAND)
    return _KINDS[command_id].parse(payload, from_server=from_server)


def _pack(layout: Struct, *fields: int) -> bytes:
    try:
        return layout.pack(*fields)
    except struct_error as error:
        raise OurError(f"a field does not fit its octets: {error}") from error


def _unpack(layout: Struct, payload: bytes, name: str) -> tuple[int, ...]:
    try:
        return layout.unpack_from(payload)
    except struct_error as error:
        raise TheirError(f"{name} ends after {len(payload)} octets") from error
