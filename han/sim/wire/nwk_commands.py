"""The commands of the Zigbee network layer (Zigbee specification, 3.4): the payload of an NWK command frame.

Each command writes its id first. Octets behind the fields that we know are ignored: later revisions append
some.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final, Self

from han.sim.wire.errors import WireError
from han.sim.wire.reader import Reader, u16s_to_bytes
from ota.eui64 import Eui64


class ManyToOne(IntEnum):
    """The many-to-one field of a route request (3.4.1.3.1.1)."""

    NO = 0
    WITH_ROUTE_RECORD = 1
    WITHOUT_ROUTE_RECORD = 2


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """Who knows the way to ``destination``? (3.4.1)."""

    COMMAND_ID: ClassVar[int] = 0x01
    request_id: int
    destination: int
    path_cost: int
    many_to_one: int = ManyToOne.NO
    destination_ieee: Eui64 | None = None

    def to_bytes(self) -> bytes:
        """The command with its id."""
        options = self.many_to_one << 3 | (self.destination_ieee is not None) << 5
        fields = struct.pack(
            "<BBBHB", self.COMMAND_ID, options, self.request_id, self.destination, self.path_cost
        )
        return fields + (b"" if self.destination_ieee is None else self.destination_ieee.wire)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        options = reader.u8()
        return cls(
            many_to_one=options >> 3 & 3,
            request_id=reader.u8(),
            destination=reader.u16(),
            path_cost=reader.u8(),
            destination_ieee=reader.eui64() if options & 0x20 else None,
        )


@dataclass(frozen=True, slots=True)
class RouteReply:
    """The way to ``responder``, for ``originator`` (3.4.2)."""

    COMMAND_ID: ClassVar[int] = 0x02
    request_id: int
    originator: int
    responder: int
    path_cost: int
    originator_ieee: Eui64 | None = None
    responder_ieee: Eui64 | None = None

    def to_bytes(self) -> bytes:
        """The command with its id."""
        options = (self.originator_ieee is not None) << 4 | (self.responder_ieee is not None) << 5
        fields = struct.pack(
            "<BBBHHB",
            self.COMMAND_ID,
            options,
            self.request_id,
            self.originator,
            self.responder,
            self.path_cost,
        )
        return fields + b"".join(
            address.wire for address in (self.originator_ieee, self.responder_ieee) if address is not None
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        options = reader.u8()
        return cls(
            request_id=reader.u8(),
            originator=reader.u16(),
            responder=reader.u16(),
            path_cost=reader.u8(),
            originator_ieee=reader.eui64() if options & 0x10 else None,
            responder_ieee=reader.eui64() if options & 0x20 else None,
        )


class NetworkStatusCode(IntEnum):
    """Some reasons of a network status command (3.4.3.3.1)."""

    NO_ROUTE_AVAILABLE = 0x00
    TREE_LINK_FAILURE = 0x01
    NON_TREE_LINK_FAILURE = 0x02
    INDIRECT_TRANSACTION_EXPIRY = 0x06
    PARENT_LINK_FAILURE = 0x09
    SOURCE_ROUTE_FAILURE = 0x0B
    MANY_TO_ONE_ROUTE_FAILURE = 0x0C
    ADDRESS_CONFLICT = 0x0D
    BAD_FRAME_COUNTER = 0x11
    BAD_KEY_SEQUENCE_NUMBER = 0x12


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """Something went wrong on the way to ``destination`` (3.4.3)."""

    COMMAND_ID: ClassVar[int] = 0x03
    status: int
    destination: int

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return struct.pack("<BBH", self.COMMAND_ID, self.status, self.destination)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u8(), reader.u16())


@dataclass(frozen=True, slots=True)
class Leave:
    """A device leaves, or with ``request`` is told to (3.4.4)."""

    COMMAND_ID: ClassVar[int] = 0x04
    request: bool = False
    rejoin: bool = False
    remove_children: bool = False

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID, self.rejoin << 5 | self.request << 6 | self.remove_children << 7))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        options = reader.u8()
        return cls(
            request=options & 0x40 != 0, rejoin=options & 0x20 != 0, remove_children=options & 0x80 != 0
        )


@dataclass(frozen=True, slots=True)
class RouteRecord:
    """The relays that this frame has passed, the one nearest to its source first (3.4.5)."""

    COMMAND_ID: ClassVar[int] = 0x05
    relays: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID, len(self.relays))) + u16s_to_bytes(self.relays)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u16s(reader.u8()))


@dataclass(frozen=True, slots=True)
class RejoinRequest:
    """A device that lost its parent asks to come back (3.4.6). ``capability`` as in ``mac.Capability``."""

    COMMAND_ID: ClassVar[int] = 0x06
    capability: int

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID, self.capability))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u8())


@dataclass(frozen=True, slots=True)
class RejoinResponse:
    """The answer; ``status`` as in ``mac.AssociationStatus`` (3.4.7)."""

    COMMAND_ID: ClassVar[int] = 0x07
    network_address: int
    status: int

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return struct.pack("<BHB", self.COMMAND_ID, self.network_address, self.status)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u16(), reader.u8())


@dataclass(frozen=True, slots=True)
class Link:
    """A neighbour and the cost, 0 to 7, of hearing it and of being heard by it."""

    address: int
    incoming_cost: int
    outgoing_cost: int


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A router's neighbours, for its neighbours (3.4.8)."""

    COMMAND_ID: ClassVar[int] = 0x08
    links: tuple[Link, ...] = ()
    first: bool = True
    last: bool = True

    def to_bytes(self) -> bytes:
        """The command with its id."""
        options = len(self.links) | self.first << 5 | self.last << 6
        return bytes((self.COMMAND_ID, options)) + b"".join(
            struct.pack("<HB", link.address, link.incoming_cost | link.outgoing_cost << 4)
            for link in self.links
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        options = reader.u8()
        links = []
        for _ in range(options & 0x1F):
            address, costs = reader.u16(), reader.u8()
            links.append(Link(address, costs & 7, costs >> 4 & 7))
        return cls(tuple(links), first=options & 0x20 != 0, last=options & 0x40 != 0)


LONGEST_TIMEOUT: Final = 14
"""The largest number that stands for an end device timeout."""


def timeout_seconds(number: int) -> float:
    """The seconds that an end device timeout stands for: 0 for ten seconds, n for 2^n minutes (3.4.11)."""
    return 10.0 if number == 0 else 60.0 * 2**number


@dataclass(frozen=True, slots=True)
class EndDeviceTimeoutRequest:
    """An end device tells its parent how long it may be silent (3.4.11)."""

    COMMAND_ID: ClassVar[int] = 0x0B
    timeout: int
    configuration: int = 0

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID, self.timeout, self.configuration))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u8(), reader.u8())


@dataclass(frozen=True, slots=True)
class EndDeviceTimeoutResponse:
    """The parent's answer; ``parent_information`` says how it wants to be kept informed (3.4.12)."""

    COMMAND_ID: ClassVar[int] = 0x0C
    status: int
    parent_information: int

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID, self.status, self.parent_information))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u8(), reader.u8())


@dataclass(frozen=True, slots=True)
class UnknownCommand:
    """A network command that is not modelled; its octets are kept."""

    command_id: int
    payload: bytes

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.command_id,)) + self.payload


_Known = (
    RouteRequest
    | RouteReply
    | NetworkStatus
    | Leave
    | RouteRecord
    | RejoinRequest
    | RejoinResponse
    | LinkStatus
    | EndDeviceTimeoutRequest
    | EndDeviceTimeoutResponse
)
NwkCommand = _Known | UnknownCommand

_COMMANDS: Final[dict[int, type[_Known]]] = {
    command.COMMAND_ID: command
    for command in (
        RouteRequest,
        RouteReply,
        NetworkStatus,
        Leave,
        RouteRecord,
        RejoinRequest,
        RejoinResponse,
        LinkStatus,
        EndDeviceTimeoutRequest,
        EndDeviceTimeoutResponse,
    )
}


def parse_command(payload: bytes) -> NwkCommand:
    """Read the plain payload of an NWK command frame.

    Raises:
        WireError: if it is cut.
    """
    if not payload:
        raise WireError("a network command has at least its id")
    reader = Reader(payload)
    command_id = reader.u8()
    command = _COMMANDS.get(command_id)
    return command.read(reader) if command else UnknownCommand(command_id, reader.rest())
