"""IEEE 802.15.4 MAC frames, as Zigbee uses them: frame versions 0 and 1, no MAC security.

A frame on the air is a PSDU: header, payload and two octets of frame check sequence, at most 127 octets.
The type of an address tells its mode: an ``Eui64`` is an extended address, another ``int`` a short one,
``None`` is absent. Clauses are those of IEEE 802.15.4-2011.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple, Self

from han.security.crc import crc16_kermit
from han.sim.wire.errors import FcsError, FrameTooLongError, WireError
from han.sim.wire.reader import Reader, u16s_to_bytes
from ota.eui64 import Eui64

Address = int | Eui64 | None

MAX_PSDU: Final = 127  # octets, aMaxPHYPacketSize
BROADCAST: Final = 0xFFFF  # as a PAN: any PAN; as a short address: everyone
NO_SHORT_ADDRESS: Final = 0xFFFE  # associated, to be reached by the extended address only


class FrameType(IntEnum):
    """What a MAC frame is (5.2.1.1.1)."""

    BEACON = 0
    DATA = 1
    ACK = 2
    COMMAND = 3


_TYPES: Final = tuple(FrameType)
_DATA: Final = int(FrameType.DATA)
_ACK_REQUEST: Final = 0x0020
_FRAME_PENDING: Final = 0x0010
_SECURITY: Final = 0x0008
_COMPRESSION: Final = 0x0040
_SHORT_BOTH: Final = 0x8800
_DESTINATION_MODE: Final = 0x0C  # of the high octet of the frame control
_DESTINATION_SHORT: Final = 0x08
# The bits that decide where the fields of a frame stand. Frame versions 0 and 1 stand alike.
_LAYOUT: Final = 0xEC48
_SHORT_COMPRESSED: Final = _SHORT_BOTH | _COMPRESSION
_HEADER: Final = struct.Struct("<HB")
_SHORT_HEADER: Final = struct.Struct("<HBHHH")
_U16: Final = struct.Struct("<H")


def fcs(data: bytes) -> bytes:
    """The two octets of frame check sequence that follow ``data`` on the air (5.2.1.9)."""
    return _U16.pack(crc16_kermit(data))


class MacFrame(NamedTuple):
    """A MAC frame without its frame check sequence.

    ``pan_id`` is the destination's PAN, or ``None`` when there is no destination. ``source_pan_id`` is the
    source's, and ``None`` when it is left out because it equals ``pan_id`` ("PAN ID compression") or there
    is no source.
    """

    type: FrameType
    sequence: int
    pan_id: int | None = None
    destination: Address = None
    source: Address = None
    payload: bytes = b""
    ack_request: bool = False
    frame_pending: bool = False
    source_pan_id: int | None = None
    version: int = 0

    def to_bytes(self) -> bytes:
        """Header and payload, without the frame check sequence."""
        control = self.type | self.version << 12
        if self.ack_request:
            control |= _ACK_REQUEST
        if self.frame_pending:
            control |= _FRAME_PENDING
        destination, source = self.destination, self.source
        if (
            self.source_pan_id is None
            and self.pan_id is not None
            and type(destination) is int
            and type(source) is int
        ):
            control |= _SHORT_COMPRESSED
            return _SHORT_HEADER.pack(control, self.sequence, self.pan_id, destination, source) + self.payload
        return self._to_bytes_in_full(control)

    def _to_bytes_in_full(self, control: int) -> bytes:
        fields = b""
        if self.destination is not None:
            control |= _mode(self.destination) << 10
            fields += _U16.pack(_needed(self.pan_id, "pan_id")) + _address_to_bytes(self.destination)
        if self.source is not None:
            control |= _mode(self.source) << 14
            if self.destination is not None and self.source_pan_id is None:
                control |= _COMPRESSION
            else:
                fields += _U16.pack(_needed(self.source_pan_id, "source_pan_id"))
            fields += _address_to_bytes(self.source)
        return _HEADER.pack(control, self.sequence) + fields + self.payload

    def to_psdu(self) -> bytes:
        """The frame as the radio sends it, with its frame check sequence.

        Raises:
            FrameTooLongError: if that is more than 127 octets.
        """
        return _checked(self.to_bytes())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a frame without its frame check sequence.

        Raises:
            WireError: if it is cut, of a frame version or type that Zigbee does not use, or MAC-secured.
        """
        if len(data) < 3:
            raise WireError("a MAC frame has at least 3 octets")
        control: int = data[0] | data[1] << 8
        if control & 7 > 3:
            raise WireError(f"MAC frame type {control & 7} is not used by Zigbee")
        layout = control & _LAYOUT
        if layout == _SHORT_COMPRESSED and len(data) >= 9:
            _, sequence, pan_id, destination, source = _SHORT_HEADER.unpack_from(data)
            return cls(
                _TYPES[control & 7],
                sequence,
                pan_id,
                destination,
                source,
                data[9:],
                control & _ACK_REQUEST != 0,
                control & _FRAME_PENDING != 0,
                None,
                control >> 12 & 3,
            )
        if layout == 0:
            return cls(
                _TYPES[control & 7],
                data[2],
                payload=data[3:],
                frame_pending=control & _FRAME_PENDING != 0,
                ack_request=control & _ACK_REQUEST != 0,
                version=control >> 12 & 3,
            )
        return cls._parse_in_full(control, data)

    @classmethod
    def _parse_in_full(cls, control: int, data: bytes) -> Self:
        version = control >> 12 & 3
        if version > 1:
            raise WireError(f"MAC frame version {version} is not used by Zigbee")
        if control & _SECURITY:
            raise WireError("MAC security is not used by Zigbee")
        reader = Reader(data)
        reader.octets(2)
        sequence = reader.u8()
        pan_id = source_pan_id = None
        destination: Address = None
        source: Address = None
        if control >> 10 & 3:
            pan_id = reader.u16()
            destination = _read_address(reader, control >> 10 & 3)
        if control >> 14:
            # Compression without a destination has no PAN to take: the field cannot have been left out.
            if not (control & _COMPRESSION and destination is not None):
                source_pan_id = reader.u16()
            source = _read_address(reader, control >> 14)
        return cls(
            _TYPES[control & 7],
            sequence,
            pan_id,
            destination,
            source,
            reader.rest(),
            control & _ACK_REQUEST != 0,
            control & _FRAME_PENDING != 0,
            source_pan_id,
            version,
        )


ACKNOWLEDGEMENTS: Final = bytes((FrameType.ACK,))
BEACONS: Final = bytes((FrameType.BEACON,))
"""What ``addressee`` gives of these frames, which name no destination."""


def addressee(psdu: bytes) -> bytes:
    """Whom a frame is for, by the octets at which a radio's hardware filter looks, before anything is read.

    PAN and address as on the air; of a frame that names no destination, its type (`ACKNOWLEDGEMENTS`...).
    """
    mode = psdu[1] & _DESTINATION_MODE if len(psdu) > 1 else _DESTINATION_SHORT
    if mode == _DESTINATION_SHORT:
        return psdu[3:7]
    return psdu[3:13] if mode == _DESTINATION_MODE else bytes((psdu[0] & 7,))


def own_addressees(pan_id: int, short: int, eui64: Eui64) -> set[bytes]:
    """What ``addressee`` gives of frames for this radio, and for everyone."""
    pans = (_U16.pack(pan_id), _U16.pack(BROADCAST))
    addresses = (_U16.pack(short), _U16.pack(BROADCAST), eui64.wire)
    return {pan + address for pan in pans for address in addresses}


def data_psdu(
    sequence: int, pan_id: int, destination: int, source: int, payload: bytes, *, ack_request: bool
) -> bytes:
    """A data frame between short addresses of one PAN, as the radio sends it.

    What ``to_psdu`` gives of such a ``MacFrame``, without making one: nearly every frame is of this kind.

    Raises:
        FrameTooLongError: if it is more than 127 octets.
    """
    control = _DATA | _SHORT_COMPRESSED | _ACK_REQUEST if ack_request else _DATA | _SHORT_COMPRESSED
    return _checked(_SHORT_HEADER.pack(control, sequence, pan_id, destination, source) + payload)


def _checked(data: bytes) -> bytes:
    if len(data) > MAX_PSDU - 2:
        raise FrameTooLongError(len(data) + 2, MAX_PSDU)
    return data + _U16.pack(crc16_kermit(data))


@lru_cache(maxsize=32)
def parse_psdu(psdu: bytes) -> MacFrame:
    """Check the frame check sequence of what the radio heard and read the frame.

    The last few are kept: every radio in earshot hears, and reads, the same octets.

    Raises:
        FcsError: if the frame check sequence does not match.
        WireError: if the length is not 5 to 127 octets, or as for ``MacFrame.parse``.
    """
    if not 5 <= len(psdu) <= MAX_PSDU:
        raise WireError(f"a PSDU has 5 to 127 octets, not {len(psdu)}")
    data = psdu[:-2]
    if _U16.pack(crc16_kermit(data)) != psdu[-2:]:
        raise FcsError("the frame check sequence does not match")
    return MacFrame.parse(data)


@lru_cache(maxsize=512)
def ack_psdu(sequence: int, *, frame_pending: bool = False) -> bytes:
    """The acknowledgement of the frame with this sequence number, as the radio sends it (5.2.2.3)."""
    return MacFrame(FrameType.ACK, sequence, frame_pending=frame_pending).to_psdu()


def _mode(address: int) -> int:
    return 3 if isinstance(address, Eui64) else 2


def _address_to_bytes(address: int) -> bytes:
    return address.wire if isinstance(address, Eui64) else _U16.pack(address)


def _read_address(reader: Reader, mode: int) -> int | Eui64:
    if mode == 1:
        raise WireError("MAC addressing mode 1 is reserved")
    return reader.u16() if mode == 2 else reader.eui64()


def _needed(pan_id: int | None, name: str) -> int:
    if pan_id is None:
        raise ValueError(f"a MAC frame with this addressing needs its {name}")
    return pan_id


@dataclass(frozen=True, slots=True)
class Beacon:
    """The payload of a beacon frame of a network without superframes (5.2.2.1).

    ``payload`` is the network layer's (``nwk.BeaconPayload``); ``pending`` are the short addresses with
    frames waiting.
    """

    payload: bytes
    association_permit: bool
    pan_coordinator: bool
    battery_life_extension: bool = False
    pending: tuple[int, ...] = ()

    def to_bytes(self) -> bytes:
        """The octets behind the MAC header."""
        # Beacon order, superframe order and final CAP slot are all 15: no superframe.
        superframe = (
            0x0FFF
            | self.battery_life_extension << 12
            | self.pan_coordinator << 14
            | self.association_permit << 15
        )
        return (
            superframe.to_bytes(2, "little")
            + bytes((0, len(self.pending)))
            + u16s_to_bytes(self.pending)
            + self.payload
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the payload of a beacon frame.

        Raises:
            WireError: if it is cut or announces guaranteed time slots.
        """
        reader = Reader(data)
        superframe = reader.u16()
        if reader.u8() & 7:
            raise WireError("guaranteed time slots are not used by Zigbee")
        counts = reader.u8()
        pending = reader.u16s(counts & 7)
        reader.octets(8 * (counts >> 4 & 7))
        return cls(
            payload=reader.rest(),
            association_permit=superframe & 0x8000 != 0,
            pan_coordinator=superframe & 0x4000 != 0,
            battery_life_extension=superframe & 0x1000 != 0,
            pending=pending,
        )


class Capability(IntEnum):
    """Bits of the capability information octet (5.3.1.2)."""

    FULL_FUNCTION = 0x02
    MAINS_POWERED = 0x04
    RECEIVER_ON_WHEN_IDLE = 0x08
    MAC_SECURITY = 0x40
    ALLOCATE_ADDRESS = 0x80


class AssociationStatus(IntEnum):
    """The answer to an association request (5.3.2.3)."""

    SUCCESS = 0x00
    PAN_AT_CAPACITY = 0x01
    PAN_ACCESS_DENIED = 0x02


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """A device asks to be let into the PAN (5.3.1)."""

    COMMAND_ID: ClassVar[int] = 0x01
    capability: int

    def to_bytes(self) -> bytes:
        """The octets behind the MAC header, with the command's id."""
        return bytes((self.COMMAND_ID, self.capability))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u8())


@dataclass(frozen=True, slots=True)
class AssociationResponse:
    """The answer; ``short_address`` is 0xFFFF unless ``status`` is success (5.3.2)."""

    COMMAND_ID: ClassVar[int] = 0x02
    short_address: int
    status: int

    def to_bytes(self) -> bytes:
        """The octets behind the MAC header, with the command's id."""
        return struct.pack("<BHB", self.COMMAND_ID, self.short_address, self.status)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u16(), reader.u8())


@dataclass(frozen=True, slots=True)
class DisassociationNotification:
    """One side ends the association (5.3.3)."""

    COMMAND_ID: ClassVar[int] = 0x03
    reason: int

    def to_bytes(self) -> bytes:
        """The octets behind the MAC header, with the command's id."""
        return bytes((self.COMMAND_ID, self.reason))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u8())


@dataclass(frozen=True, slots=True)
class _Bare:
    """A command that consists of its id alone."""

    COMMAND_ID: ClassVar[int]

    def to_bytes(self) -> bytes:
        """The octets behind the MAC header: the command's id."""
        return bytes((self.COMMAND_ID,))

    @classmethod
    def read(cls, reader: Reader) -> Self:  # noqa: ARG003 - nothing follows the id
        """Nothing follows the command's id."""
        return cls()


@dataclass(frozen=True, slots=True)
class DataRequest(_Bare):
    """A device asks its parent for a frame that waits for it (5.3.4)."""

    COMMAND_ID: ClassVar[int] = 0x04


@dataclass(frozen=True, slots=True)
class PanIdConflict(_Bare):
    """A device tells its coordinator of another PAN with the same id (5.3.5)."""

    COMMAND_ID: ClassVar[int] = 0x05


@dataclass(frozen=True, slots=True)
class OrphanNotification(_Bare):
    """A device looks for the parent it lost (5.3.6)."""

    COMMAND_ID: ClassVar[int] = 0x06


@dataclass(frozen=True, slots=True)
class BeaconRequest(_Bare):
    """A device looks for networks (5.3.7)."""

    COMMAND_ID: ClassVar[int] = 0x07


@dataclass(frozen=True, slots=True)
class UnknownCommand:
    """A MAC command that is not modelled; its octets are kept."""

    command_id: int
    payload: bytes

    def to_bytes(self) -> bytes:
        """The octets behind the MAC header, with the command's id."""
        return bytes((self.command_id,)) + self.payload


_Known = (
    AssociationRequest
    | AssociationResponse
    | DisassociationNotification
    | DataRequest
    | PanIdConflict
    | OrphanNotification
    | BeaconRequest
)
MacCommand = _Known | UnknownCommand

_COMMANDS: Final[dict[int, type[_Known]]] = {
    command.COMMAND_ID: command
    for command in (
        AssociationRequest,
        AssociationResponse,
        DisassociationNotification,
        DataRequest,
        PanIdConflict,
        OrphanNotification,
        BeaconRequest,
    )
}


def parse_command(payload: bytes) -> MacCommand:
    """Read the payload of a command frame.

    Raises:
        WireError: if it is cut.
    """
    reader = Reader(payload)
    command_id = reader.u8()
    command = _COMMANDS.get(command_id)
    return command.read(reader) if command else UnknownCommand(command_id, reader.rest())
