"""The Zigbee Device Objects: what nodes ask each other about themselves (Zigbee specification, 2.4).

A ZDO message is an APS data frame of profile 0 between endpoints 0; its cluster is the command, its payload a
transaction sequence number and the command's fields. ``encode`` and ``decode`` deal with that payload. A
response has its request's cluster with the top bit set. A request that is not modelled decodes to
``Unknown``; answer it with ``not_supported``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final, Self

from han.sim.wire.errors import WireError
from han.sim.wire.reader import Reader, u16s_to_bytes
from ota.eui64 import Eui64

PROFILE: Final = 0x0000
ENDPOINT: Final = 0
RESPONSE: Final = 0x8000  # set in the cluster of a response
NOBODY: Final = Eui64(0)  # where an EUI-64 has to stand that is not known


class Status(IntEnum):
    """ZDP statuses (2.4.5)."""

    SUCCESS = 0x00
    INVALID_REQUEST_TYPE = 0x80
    DEVICE_NOT_FOUND = 0x81
    INVALID_ENDPOINT = 0x82
    NOT_ACTIVE = 0x83
    NOT_SUPPORTED = 0x84
    TIMEOUT = 0x85
    NO_MATCH = 0x86
    NO_ENTRY = 0x88
    NO_DESCRIPTOR = 0x89
    INSUFFICIENT_SPACE = 0x8A
    NOT_PERMITTED = 0x8B
    TABLE_FULL = 0x8C
    NOT_AUTHORIZED = 0x8D


class LogicalType(IntEnum):
    """The part that a node plays."""

    COORDINATOR = 0
    ROUTER = 1
    END_DEVICE = 2


ONE_FRAME: Final = 82
"""Octets of a message that fits one frame: what a node can transfer that knows no fragments."""


@dataclass(frozen=True, slots=True)
class NodeDescriptor:
    """What a node is (2.3.2.3). Sizes in octets; ``mac_capability`` as in ``mac.Capability``."""

    logical_type: LogicalType
    mac_capability: int
    manufacturer: int
    maximum_buffer: int = ONE_FRAME
    maximum_incoming_transfer: int = ONE_FRAME
    server_mask: int = 0
    maximum_outgoing_transfer: int = ONE_FRAME
    descriptor_capability: int = 0
    aps_flags: int = 0
    frequency_band: int = 0x08  # 2.4 GHz

    def to_bytes(self) -> bytes:
        """The thirteen octets."""
        return struct.pack(
            "<BBBHBHHHB",
            self.logical_type,
            self.aps_flags | self.frequency_band << 3,
            self.mac_capability,
            self.manufacturer,
            self.maximum_buffer,
            self.maximum_incoming_transfer,
            self.server_mask,
            self.maximum_outgoing_transfer,
            self.descriptor_capability,
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the thirteen octets; the bits for complex and user descriptors, long gone, are ignored."""
        kind, bands = reader.u8(), reader.u8()
        if kind & 7 > LogicalType.END_DEVICE:
            raise WireError(f"logical type {kind & 7} is reserved")
        return cls(
            logical_type=LogicalType(kind & 7),
            aps_flags=bands & 7,
            frequency_band=bands >> 3,
            mac_capability=reader.u8(),
            manufacturer=reader.u16(),
            maximum_buffer=reader.u8(),
            maximum_incoming_transfer=reader.u16(),
            server_mask=reader.u16(),
            maximum_outgoing_transfer=reader.u16(),
            descriptor_capability=reader.u8(),
        )


@dataclass(frozen=True, slots=True)
class SimpleDescriptor:
    """What an endpoint offers (2.3.2.5).

    Input clusters are those it serves, output clusters those it uses.
    """

    endpoint: int
    profile: int
    device: int
    device_version: int = 0
    input_clusters: tuple[int, ...] = ()
    output_clusters: tuple[int, ...] = ()

    def matches(self, request: MatchDescriptorRequest) -> bool:
        """Whether the request means this endpoint: its profile (or 0xFFFF, any) and a cluster in common."""
        return request.profile in (self.profile, 0xFFFF) and not (
            set(request.input_clusters).isdisjoint(self.input_clusters)
            and set(request.output_clusters).isdisjoint(self.output_clusters)
        )

    def to_bytes(self) -> bytes:
        """The octets of the descriptor, without the length before it."""
        return (
            struct.pack("<BHHB", self.endpoint, self.profile, self.device, self.device_version)
            + _clusters_to_bytes(self.input_clusters)
            + _clusters_to_bytes(self.output_clusters)
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read a descriptor, without the length before it."""
        return cls(
            endpoint=reader.u8(),
            profile=reader.u16(),
            device=reader.u16(),
            device_version=reader.u8() & 15,
            input_clusters=reader.u16s(reader.u8()),
            output_clusters=reader.u16s(reader.u8()),
        )


def _clusters_to_bytes(clusters: tuple[int, ...]) -> bytes:
    return bytes((len(clusters),)) + u16s_to_bytes(clusters)


class AddressRequestType(IntEnum):
    """How much an address request wants to know."""

    SINGLE = 0
    EXTENDED = 1  # with the addresses of the node's children


@dataclass(frozen=True, slots=True)
class NwkAddressRequest:
    """Whose network address belongs to this EUI-64? (2.4.3.1.1)."""

    CLUSTER: ClassVar[int] = 0x0000
    ieee: Eui64
    request_type: int = AddressRequestType.SINGLE
    start_index: int = 0

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return self.ieee.wire + bytes((self.request_type, self.start_index))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.eui64(), reader.u8(), reader.u8())


@dataclass(frozen=True, slots=True)
class IeeeAddressRequest:
    """Whose EUI-64 belongs to this network address? (2.4.3.1.2)."""

    CLUSTER: ClassVar[int] = 0x0001
    nwk: int
    request_type: int = AddressRequestType.SINGLE
    start_index: int = 0

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return struct.pack("<HBB", self.nwk, self.request_type, self.start_index)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u16(), reader.u8(), reader.u8())


@dataclass(frozen=True, slots=True)
class _AddressResponse:
    """What both address responses carry. ``associated`` only answers an extended request; else ``None``."""

    CLUSTER: ClassVar[int]
    status: int
    ieee: Eui64
    nwk: int
    associated: tuple[int, ...] | None = None
    start_index: int = 0

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        fields = struct.pack("<BQH", self.status, self.ieee, self.nwk)
        if self.associated is None:
            return fields
        if not self.associated:
            return fields + b"\x00"
        return fields + bytes((len(self.associated), self.start_index)) + u16s_to_bytes(self.associated)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        status, ieee, nwk = reader.u8(), reader.eui64(), reader.u16()
        if not reader.left:
            return cls(status, ieee, nwk)
        count = reader.u8()
        start_index = reader.u8() if count else 0
        return cls(status, ieee, nwk, reader.u16s(count), start_index)


@dataclass(frozen=True, slots=True)
class NwkAddressResponse(_AddressResponse):
    """The answer to ``NwkAddressRequest`` (2.4.4.2.1)."""

    CLUSTER: ClassVar[int] = 0x8000


@dataclass(frozen=True, slots=True)
class IeeeAddressResponse(_AddressResponse):
    """The answer to ``IeeeAddressRequest`` (2.4.4.2.2)."""

    CLUSTER: ClassVar[int] = 0x8001


@dataclass(frozen=True, slots=True)
class NodeDescriptorRequest:
    """What is the node with this address? (2.4.3.1.3)."""

    CLUSTER: ClassVar[int] = 0x0002
    nwk: int

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return self.nwk.to_bytes(2, "little")

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u16())


@dataclass(frozen=True, slots=True)
class NodeDescriptorResponse:
    """The answer, with a descriptor unless ``status`` says why not (2.4.4.2.3)."""

    CLUSTER: ClassVar[int] = 0x8002
    status: int
    nwk: int
    descriptor: NodeDescriptor | None = None

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        descriptor = b"" if self.descriptor is None else self.descriptor.to_bytes()
        return struct.pack("<BH", self.status, self.nwk) + descriptor

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        status, nwk = reader.u8(), reader.u16()
        return cls(status, nwk, NodeDescriptor.read(reader) if status == Status.SUCCESS else None)


@dataclass(frozen=True, slots=True)
class SimpleDescriptorRequest:
    """What does this endpoint offer? (2.4.3.1.5)."""

    CLUSTER: ClassVar[int] = 0x0004
    nwk: int
    endpoint: int

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return struct.pack("<HB", self.nwk, self.endpoint)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u16(), reader.u8())


@dataclass(frozen=True, slots=True)
class SimpleDescriptorResponse:
    """The answer, with a descriptor unless ``status`` says why not (2.4.4.2.5)."""

    CLUSTER: ClassVar[int] = 0x8004
    status: int
    nwk: int
    descriptor: SimpleDescriptor | None = None

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        descriptor = b"" if self.descriptor is None else self.descriptor.to_bytes()
        return struct.pack("<BHB", self.status, self.nwk, len(descriptor)) + descriptor

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        status, nwk = reader.u8(), reader.u16()
        octets = reader.octets(reader.u8())
        return cls(status, nwk, SimpleDescriptor.read(Reader(octets)) if octets else None)


@dataclass(frozen=True, slots=True)
class ActiveEndpointsRequest:
    """Which endpoints has this node? (2.4.3.1.6)."""

    CLUSTER: ClassVar[int] = 0x0005
    nwk: int

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return self.nwk.to_bytes(2, "little")

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u16())


@dataclass(frozen=True, slots=True)
class _EndpointsResponse:
    """What the responses that list endpoints carry."""

    CLUSTER: ClassVar[int]
    status: int
    nwk: int
    endpoints: tuple[int, ...] = ()

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return struct.pack("<BHB", self.status, self.nwk, len(self.endpoints)) + bytes(self.endpoints)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u8(), reader.u16(), reader.u8s(reader.u8()))


@dataclass(frozen=True, slots=True)
class ActiveEndpointsResponse(_EndpointsResponse):
    """The answer to ``ActiveEndpointsRequest`` (2.4.4.2.6)."""

    CLUSTER: ClassVar[int] = 0x8005


@dataclass(frozen=True, slots=True)
class MatchDescriptorRequest:
    """Which endpoints serve one of these input, or use one of these output clusters? (2.4.3.1.7)."""

    CLUSTER: ClassVar[int] = 0x0006
    nwk: int
    profile: int
    input_clusters: tuple[int, ...] = ()
    output_clusters: tuple[int, ...] = ()

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return (
            struct.pack("<HH", self.nwk, self.profile)
            + _clusters_to_bytes(self.input_clusters)
            + _clusters_to_bytes(self.output_clusters)
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u16(), reader.u16(), reader.u16s(reader.u8()), reader.u16s(reader.u8()))


@dataclass(frozen=True, slots=True)
class MatchDescriptorResponse(_EndpointsResponse):
    """The answer to ``MatchDescriptorRequest`` (2.4.4.2.7)."""

    CLUSTER: ClassVar[int] = 0x8006


@dataclass(frozen=True, slots=True)
class DeviceAnnounce:
    """Here I am: said to everyone after a join (2.4.3.1.11). ``capability`` as in ``mac.Capability``."""

    CLUSTER: ClassVar[int] = 0x0013
    nwk: int
    ieee: Eui64
    capability: int

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return struct.pack("<HQB", self.nwk, self.ieee, self.capability)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u16(), reader.eui64(), reader.u8())


@dataclass(frozen=True, slots=True)
class MgmtLqiRequest:
    """Who are your neighbours? (2.4.3.3.2)."""

    CLUSTER: ClassVar[int] = 0x0031
    start_index: int = 0

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return bytes((self.start_index,))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u8())


class Relationship(IntEnum):
    """What a neighbour is to the node."""

    PARENT = 0
    CHILD = 1
    SIBLING = 2
    NONE = 3
    PREVIOUS_CHILD = 4


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry of the neighbour table (2.4.4.3.2).

    ``receiver_on`` and ``permit_joining``: 0 no, 1 yes, 2 unknown.
    """

    SIZE: ClassVar[int] = 22
    extended_pan_id: Eui64
    ieee: Eui64
    nwk: int
    logical_type: int
    receiver_on: int
    relationship: int
    permit_joining: int
    depth: int
    lqi: int

    def to_bytes(self) -> bytes:
        """The twenty-two octets."""
        kind = self.logical_type | self.receiver_on << 2 | self.relationship << 4
        return struct.pack(
            "<QQHBBBB",
            self.extended_pan_id,
            self.ieee,
            self.nwk,
            kind,
            self.permit_joining,
            self.depth,
            self.lqi,
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the twenty-two octets."""
        extended_pan_id, ieee, nwk, kind = reader.eui64(), reader.eui64(), reader.u16(), reader.u8()
        return cls(
            extended_pan_id,
            ieee,
            nwk,
            logical_type=kind & 3,
            receiver_on=kind >> 2 & 3,
            relationship=kind >> 4 & 7,
            permit_joining=reader.u8() & 3,
            depth=reader.u8(),
            lqi=reader.u8(),
        )


@dataclass(frozen=True, slots=True)
class MgmtLqiResponse:
    """A part of the neighbour table (2.4.4.3.2)."""

    CLUSTER: ClassVar[int] = 0x8031
    status: int
    total: int = 0
    start_index: int = 0
    neighbours: tuple[Neighbour, ...] = ()

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        if self.status != Status.SUCCESS:
            return bytes((self.status,))
        return bytes((self.status, self.total, self.start_index, len(self.neighbours))) + b"".join(
            neighbour.to_bytes() for neighbour in self.neighbours
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        status = reader.u8()
        if status != Status.SUCCESS:
            return cls(status)
        total, start_index, count = reader.u8(), reader.u8(), reader.u8()
        return cls(status, total, start_index, tuple(Neighbour.read(reader) for _ in range(count)))


@dataclass(frozen=True, slots=True)
class MgmtRtgRequest:
    """Which way leads where? (2.4.3.3.3)."""

    CLUSTER: ClassVar[int] = 0x0032
    start_index: int = 0

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return bytes((self.start_index,))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u8())


class RouteStatus(IntEnum):
    """What a route is good for."""

    ACTIVE = 0
    DISCOVERY_UNDERWAY = 1
    DISCOVERY_FAILED = 2
    INACTIVE = 3
    VALIDATION_UNDERWAY = 4


@dataclass(frozen=True, slots=True)
class RoutingEntry:
    """An entry of the routing table (2.4.4.3.3)."""

    SIZE: ClassVar[int] = 5
    destination: int
    status: int
    next_hop: int
    memory_constrained: bool = False
    many_to_one: bool = False
    record_required: bool = False

    def to_bytes(self) -> bytes:
        """The five octets."""
        flags = self.status | self.memory_constrained << 3 | self.many_to_one << 4 | self.record_required << 5
        return struct.pack("<HBH", self.destination, flags, self.next_hop)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the five octets."""
        destination, flags, next_hop = reader.u16(), reader.u8(), reader.u16()
        return cls(
            destination,
            flags & 7,
            next_hop,
            memory_constrained=flags & 0x08 != 0,
            many_to_one=flags & 0x10 != 0,
            record_required=flags & 0x20 != 0,
        )


@dataclass(frozen=True, slots=True)
class MgmtRtgResponse:
    """A part of the routing table (2.4.4.3.3)."""

    CLUSTER: ClassVar[int] = 0x8032
    status: int
    total: int = 0
    start_index: int = 0
    routes: tuple[RoutingEntry, ...] = ()

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        if self.status != Status.SUCCESS:
            return bytes((self.status,))
        return bytes((self.status, self.total, self.start_index, len(self.routes))) + b"".join(
            route.to_bytes() for route in self.routes
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        status = reader.u8()
        if status != Status.SUCCESS:
            return cls(status)
        total, start_index, count = reader.u8(), reader.u8(), reader.u8()
        return cls(status, total, start_index, tuple(RoutingEntry.read(reader) for _ in range(count)))


@dataclass(frozen=True, slots=True)
class MgmtLeaveRequest:
    """Leave the network, or send away the child ``device``.

    All zeros means the receiver itself (2.4.3.3.5).
    """

    CLUSTER: ClassVar[int] = 0x0034
    device: Eui64
    remove_children: bool = False
    rejoin: bool = False

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return self.device.wire + bytes((self.remove_children << 6 | self.rejoin << 7,))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        device, flags = reader.eui64(), reader.u8()
        return cls(device, remove_children=flags & 0x40 != 0, rejoin=flags & 0x80 != 0)


@dataclass(frozen=True, slots=True)
class _StatusResponse:
    """A response that is a status alone."""

    CLUSTER: ClassVar[int]
    status: int

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return bytes((self.status,))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u8())


@dataclass(frozen=True, slots=True)
class MgmtLeaveResponse(_StatusResponse):
    """The answer to ``MgmtLeaveRequest`` (2.4.4.3.5)."""

    CLUSTER: ClassVar[int] = 0x8034


@dataclass(frozen=True, slots=True)
class MgmtPermitJoiningRequest:
    """Let devices join for ``duration`` seconds: 0 closes, 255 leaves open (2.4.3.3.7)."""

    CLUSTER: ClassVar[int] = 0x0036
    duration: int
    trust_centre_significance: bool = True

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return bytes((self.duration, self.trust_centre_significance))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the fields behind the transaction sequence number."""
        return cls(reader.u8(), reader.u8() != 0)


@dataclass(frozen=True, slots=True)
class MgmtPermitJoiningResponse(_StatusResponse):
    """The answer to ``MgmtPermitJoiningRequest`` (2.4.4.3.7)."""

    CLUSTER: ClassVar[int] = 0x8036


@dataclass(frozen=True, slots=True)
class Unknown:
    """A ZDO command that is not modelled; its fields are kept."""

    cluster: int
    payload: bytes

    def to_bytes(self) -> bytes:
        """The fields behind the transaction sequence number."""
        return self.payload


_Known = (
    NwkAddressRequest
    | NwkAddressResponse
    | IeeeAddressRequest
    | IeeeAddressResponse
    | NodeDescriptorRequest
    | NodeDescriptorResponse
    | SimpleDescriptorRequest
    | SimpleDescriptorResponse
    | ActiveEndpointsRequest
    | ActiveEndpointsResponse
    | MatchDescriptorRequest
    | MatchDescriptorResponse
    | DeviceAnnounce
    | MgmtLqiRequest
    | MgmtLqiResponse
    | MgmtRtgRequest
    | MgmtRtgResponse
    | MgmtLeaveRequest
    | MgmtLeaveResponse
    | MgmtPermitJoiningRequest
    | MgmtPermitJoiningResponse
)
ZdoCommand = _Known | Unknown

_COMMANDS: Final[dict[int, type[_Known]]] = {
    command.CLUSTER: command
    for command in (
        NwkAddressRequest,
        NwkAddressResponse,
        IeeeAddressRequest,
        IeeeAddressResponse,
        NodeDescriptorRequest,
        NodeDescriptorResponse,
        SimpleDescriptorRequest,
        SimpleDescriptorResponse,
        ActiveEndpointsRequest,
        ActiveEndpointsResponse,
        MatchDescriptorRequest,
        MatchDescriptorResponse,
        DeviceAnnounce,
        MgmtLqiRequest,
        MgmtLqiResponse,
        MgmtRtgRequest,
        MgmtRtgResponse,
        MgmtLeaveRequest,
        MgmtLeaveResponse,
        MgmtPermitJoiningRequest,
        MgmtPermitJoiningResponse,
    )
}


def encode(sequence: int, command: ZdoCommand) -> bytes:
    """The payload of the APS frame that carries ``command``; its cluster is ``cluster_of(command)``."""
    return bytes((sequence,)) + command.to_bytes()


def cluster_of(command: ZdoCommand) -> int:
    """The cluster under which ``command`` travels."""
    return command.cluster if isinstance(command, Unknown) else command.CLUSTER


def decode(cluster: int, payload: bytes) -> tuple[int, ZdoCommand]:
    """The transaction sequence number and the command.

    Raises:
        WireError: if it is cut or says nonsense; a request deserves ``INVALID_REQUEST_TYPE`` at most.
    """
    reader = Reader(payload)
    sequence = reader.u8()
    command = _COMMANDS.get(cluster)
    return sequence, command.read(reader) if command else Unknown(cluster, reader.rest())


def not_supported(request: Unknown) -> Unknown:
    """The answer to a request that is not modelled."""
    return Unknown(request.cluster | RESPONSE, bytes((Status.NOT_SUPPORTED,)))
