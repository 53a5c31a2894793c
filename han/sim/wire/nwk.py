"""Zigbee network layer frames and their seal (Zigbee specification, 3.3 and 4.3).

Who sends: ``seal(frame, key, ...)`` gives the octets for a MAC payload. Who receives: ``NwkFrame.parse``
reads the header; a secured frame's payload is still sealed then. ``NwkAuxiliary.parse`` on it tells sender
and counter, so that a replay can be refused before any decryption; ``open_frame`` gives the frame with its
payload in plain.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Self

from han.sim.wire import seal as _seal
from han.sim.wire.errors import UnknownKeyError, WireError
from han.sim.wire.reader import Reader, u16s_to_bytes
from ota.eui64 import Eui64

BROADCAST_ALL: Final = 0xFFFF  # every device
BROADCAST_RX_ON: Final = 0xFFFD  # every device whose receiver is on when idle
BROADCAST_ROUTERS: Final = 0xFFFC  # routers and the coordinator
BROADCAST_LOWEST: Final = 0xFFF8  # from here on an address is a broadcast
COORDINATOR: Final = 0x0000
OVERHEAD: Final = 14 + _seal.MIC  # octets that the seal adds: auxiliary header and MIC

MAX_PAYLOAD: Final = 127 - 9 - 2 - 8 - OVERHEAD
"""The most octets that a secured network frame carries on one MAC frame, without optional fields."""


class FrameType(IntEnum):
    """What an NWK frame carries (3.3.1.1.1)."""

    DATA = 0
    COMMAND = 1
    RESERVED = 2
    INTER_PAN = 3


_TYPES: Final = tuple(FrameType)
_INTER_PAN: Final = int(FrameType.INTER_PAN)
_VERSION: Final = 2  # of the protocol: Zigbee PRO
_MULTICAST: Final = 0x0100
_SECURITY: Final = 0x0200
_SOURCE_ROUTE: Final = 0x0400
_DESTINATION_IEEE: Final = 0x0800
_SOURCE_IEEE: Final = 0x1000
_INITIATOR: Final = 0x2000
_OPTIONAL: Final = _MULTICAST | _SOURCE_ROUTE | _DESTINATION_IEEE | _SOURCE_IEEE
_HEADER: Final = struct.Struct("<HHHBB")
_AUXILIARY: Final = struct.Struct("<BIQB")


@dataclass(frozen=True, slots=True)
class SourceRoute:
    """The relays that a frame shall take, the one nearest to the destination first (3.3.1.9)."""

    relay_index: int
    relays: tuple[int, ...]


class NwkFrame(NamedTuple):
    """A network layer frame.

    With ``security`` the payload is sealed after ``parse`` and plain after ``open_frame``.
    """

    type: FrameType
    destination: int
    source: int
    radius: int
    sequence: int
    payload: bytes
    security: bool = False
    discover_route: int = 0
    destination_ieee: Eui64 | None = None
    source_ieee: Eui64 | None = None
    source_route: SourceRoute | None = None
    multicast_control: int | None = None
    end_device_initiator: bool = False

    def header(self) -> bytes:
        """The octets before the auxiliary header or the payload."""
        control = self.type | _VERSION << 2 | self.discover_route << 6
        if self.security:
            control |= _SECURITY
        if self.end_device_initiator:
            control |= _INITIATOR
        if (
            self.destination_ieee is None
            and self.source_ieee is None
            and self.source_route is None
            and self.multicast_control is None
        ):
            return _HEADER.pack(control, self.destination, self.source, self.radius, self.sequence)
        return self._header_with_options(control)

    def _header_with_options(self, control: int) -> bytes:
        options = b""
        if self.destination_ieee is not None:
            control |= _DESTINATION_IEEE
            options += self.destination_ieee.wire
        if self.source_ieee is not None:
            control |= _SOURCE_IEEE
            options += self.source_ieee.wire
        if self.multicast_control is not None:
            control |= _MULTICAST
            options += bytes((self.multicast_control,))
        if self.source_route is not None:
            control |= _SOURCE_ROUTE
            route = self.source_route
            options += bytes((len(route.relays), route.relay_index)) + u16s_to_bytes(route.relays)
        return _HEADER.pack(control, self.destination, self.source, self.radius, self.sequence) + options

    def to_bytes(self) -> bytes:
        """Header and payload as they are: of a secured frame only what ``parse`` gave is meaningful."""
        return self.header() + self.payload

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the header; what follows, sealed or not, is the payload.

        Raises:
            WireError: if it is cut, or of another protocol version than Zigbee PRO.
        """
        if len(data) < 8:
            raise WireError("a network frame has at least 8 octets")
        control, destination, source, radius, sequence = _HEADER.unpack_from(data)
        if control >> 2 & 15 != _VERSION:
            raise WireError(f"network protocol version {control >> 2 & 15} is not Zigbee PRO")
        if control & 3 == _INTER_PAN:
            raise WireError("inter-PAN frames have no network header")
        if not control & _OPTIONAL:
            return cls(
                _TYPES[control & 3],
                destination,
                source,
                radius,
                sequence,
                data[8:],
                control & _SECURITY != 0,
                control >> 6 & 3,
                None,
                None,
                None,
                None,
                control & _INITIATOR != 0,
            )
        reader = Reader(data)
        reader.octets(8)
        destination_ieee = reader.eui64() if control & _DESTINATION_IEEE else None
        source_ieee = reader.eui64() if control & _SOURCE_IEEE else None
        multicast_control = reader.u8() if control & _MULTICAST else None
        source_route = None
        if control & _SOURCE_ROUTE:
            count = reader.u8()
            source_route = SourceRoute(relay_index=reader.u8(), relays=reader.u16s(count))
        return cls(
            _TYPES[control & 3],
            destination,
            source,
            radius,
            sequence,
            reader.rest(),
            control & _SECURITY != 0,
            control >> 6 & 3,
            destination_ieee,
            source_ieee,
            source_route,
            multicast_control,
            control & _INITIATOR != 0,
        )


class NwkAuxiliary(NamedTuple):
    """The auxiliary header of a secured network frame.

    Who sealed it (this hop), with which counter and key.
    """

    counter: int
    source: Eui64
    key_sequence: int

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the auxiliary header at the front of a sealed payload.

        Raises:
            WireError: if it is cut, names no sender, or is not sealed with a network key.
        """
        if len(payload) < OVERHEAD:
            raise WireError("a secured network frame has an auxiliary header of 14 octets and a MIC of 4")
        control, counter, source, key_sequence = _AUXILIARY.unpack_from(payload)
        if control & 0x38 != _CONTROL:
            raise WireError("a network frame is sealed with a network key and names its sender")
        return cls(counter, Eui64(source), key_sequence)


_CONTROL: Final = _seal.KeyIdentifier.NETWORK << 3 | _seal.EXTENDED_NONCE


def seal(frame: NwkFrame, key: bytes, key_sequence: int, counter: int, source_eui64: Eui64) -> bytes:
    """The octets of ``frame`` with its plain payload sealed by the sender of this hop.

    ``counter`` must never be used twice with the same key by this sender.
    """
    if not frame.security:
        frame = frame._replace(security=True)
    auxiliary = _AUXILIARY.pack(_CONTROL, counter, source_eui64, key_sequence)
    return _seal.seal(key, frame.header(), auxiliary, source_eui64, frame.payload)


def open_frame(
    data: bytes,
    keys: Mapping[int, bytes],
    parsed: NwkFrame | None = None,
    auxiliary: NwkAuxiliary | None = None,
) -> tuple[NwkFrame, NwkAuxiliary]:
    """Open a secured frame with the key of its key sequence number; give it in plain, and who sealed it.

    ``parsed`` and ``auxiliary`` save reading the headers again. Whether the counter is fresh is for the
    caller to judge.

    Raises:
        UnknownKeyError: if ``keys`` has not the frame's key sequence number.
        ForgedError: if the MIC does not match.
        WireError: if it is cut or not secured.
    """
    frame = parsed or NwkFrame.parse(data)
    if not frame.security:
        raise WireError("the network frame is not secured")
    payload = frame.payload
    if auxiliary is None:
        auxiliary = NwkAuxiliary.parse(payload)
    key = keys.get(auxiliary.key_sequence)
    if key is None:
        raise UnknownKeyError(f"no network key with sequence number {auxiliary.key_sequence}")
    header = data[: len(data) - len(payload)]
    plain = _seal.open_(key, header, payload[:14], auxiliary.source, payload[14:])
    opened = NwkFrame(
        frame.type,
        frame.destination,
        frame.source,
        frame.radius,
        frame.sequence,
        plain,
        True,
        frame.discover_route,
        frame.destination_ieee,
        frame.source_ieee,
        frame.source_route,
        frame.multicast_control,
        frame.end_device_initiator,
    )
    return opened, auxiliary


@dataclass(frozen=True, slots=True)
class BeaconPayload:
    """What the network layer says in a beacon (3.6.7).

    ``tx_offset`` counts symbols; 0xFFFFFF: no beacons of its own.
    """

    extended_pan_id: Eui64
    router_capacity: bool = True
    end_device_capacity: bool = True
    device_depth: int = 0
    update_id: int = 0
    stack_profile: int = 2
    protocol_version: int = _VERSION
    tx_offset: int = 0xFFFFFF

    def to_bytes(self) -> bytes:
        """The fifteen octets."""
        versions = self.stack_profile | self.protocol_version << 4
        capacity = self.router_capacity << 2 | self.device_depth << 3 | self.end_device_capacity << 7
        return (
            bytes((0, versions, capacity))
            + self.extended_pan_id.wire
            + self.tx_offset.to_bytes(3, "little")
            + bytes((self.update_id,))
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a beacon's payload.

        Raises:
            WireError: if it is cut or not Zigbee's.
        """
        reader = Reader(data)
        if reader.u8() != 0:
            raise WireError("the beacon is not of a Zigbee network")
        versions, capacity = reader.u8(), reader.u8()
        return cls(
            stack_profile=versions & 15,
            protocol_version=versions >> 4,
            router_capacity=capacity & 0x04 != 0,
            device_depth=capacity >> 3 & 15,
            end_device_capacity=capacity & 0x80 != 0,
            extended_pan_id=reader.eui64(),
            tx_offset=int.from_bytes(reader.octets(3), "little"),
            update_id=reader.u8(),
        )
