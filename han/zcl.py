"""The ZCL frames and Smart Energy commands that we speak. Pure.

A frame is a header of three octets (five with a manufacturer code) and a payload. `ZclFrame` carries it; the
functions below turn the commands of the OTA Upgrade, Tunnelling and Key Establishment clusters and the global
ones into frames and back. The header's bits follow the cluster's rules, not the caller's taste: whoever asks
leaves default responses on, whoever answers switches them off, and an answer carries its question's sequence
number.

A frame too short to have a header cannot be answered: `ZclFrame.parse` raises and the frame is dropped. A
payload that is malformed can be: the functions that decode raise with the status to answer, and
`default_response` builds the answer.

Clauses: ZCL7 2.4 (frames), 2.5 (global commands), 2.6.2 (data types), 11.13 (OTA); SE 1.4 D.6 (Tunnelling,
the ids and layouts from memory of it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from struct import error as struct_error
from typing import ClassVar, Self

from han.errors import OurError, TheirError
from han.security import key_establishment_commands as key_establishment
from ota.commands import (
    Command,
    DefaultResponse,
    ImageBlockRequest,
    ImageNotify,
    QueryDeviceSpecificFileRequest,
    QueryNextImageRequest,
    UpgradeEndRequest,
    parse_command,
)
from ota.errors import TheirError as OtaTheirError
from ota.status import Status

SMART_ENERGY_PROFILE = 0x0109
HOME_AUTOMATION_PROFILE = 0x0104
TUNNELLING_CLUSTER = 0x0704
OTA_CLUSTER = 0x0019
BASIC_CLUSTER = 0x0000
KEY_ESTABLISHMENT_CLUSTER = key_establishment.CLUSTER_ID

_CLUSTER_COMMAND = 0x01
_MANUFACTURER_SPECIFIC = 0x04
_FROM_SERVER = 0x08
_NO_DEFAULT_RESPONSE = 0x10

_READ_ATTRIBUTES = 0x00
_READ_ATTRIBUTES_RESPONSE = 0x01
_REPORT_ATTRIBUTES = 0x0A
_DEFAULT_RESPONSE = 0x0B

# An Image Page Request is a question too, but deployed clients switch default responses off for it.
_QUESTIONS = (ImageBlockRequest, QueryNextImageRequest, UpgradeEndRequest, QueryDeviceSpecificFileRequest)


@dataclass(frozen=True, slots=True)
class ZclFrame:
    """One ZCL frame: what the header says, and the payload.

    ``is_cluster_command`` tells a cluster's own command from a global one; ``from_server`` is the direction.
    """

    command_id: int
    sequence: int
    payload: bytes
    is_cluster_command: bool = True
    from_server: bool = False
    disable_default_response: bool = True
    manufacturer: int | None = None

    def to_bytes(self) -> bytes:
        """The frame's octets."""
        control = (
            (_CLUSTER_COMMAND if self.is_cluster_command else 0)
            | (_FROM_SERVER if self.from_server else 0)
            | (_NO_DEFAULT_RESPONSE if self.disable_default_response else 0)
        )
        if self.manufacturer is None:
            return bytes((control, self.sequence, self.command_id)) + self.payload
        return (
            bytes((control | _MANUFACTURER_SPECIFIC,))
            + self.manufacturer.to_bytes(2, "little")
            + bytes((self.sequence, self.command_id))
            + self.payload
        )

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read a frame.

        Raises:
            TheirError: if it ends within its header or has a reserved type; such a frame is not answered.
        """
        if len(octets) < 3:
            raise TheirError(f"a ZCL frame has a header of at least 3 octets, not {len(octets)}")
        control = octets[0]
        if control & 0x03 > _CLUSTER_COMMAND:
            raise TheirError(f"ZCL frame type {control & 0x03} is reserved")
        manufacturer = None
        start = 1
        if control & _MANUFACTURER_SPECIFIC:
            if len(octets) < 5:
                raise TheirError(f"a manufacturer's ZCL frame has a header of 5 octets, not {len(octets)}")
            manufacturer = int.from_bytes(octets[1:3], "little")
            start = 3
        return cls(
            command_id=octets[start + 1],
            sequence=octets[start],
            payload=bytes(octets[start + 2 :]),
            is_cluster_command=bool(control & _CLUSTER_COMMAND),
            from_server=bool(control & _FROM_SERVER),
            disable_default_response=bool(control & _NO_DEFAULT_RESPONSE),
            manufacturer=manufacturer,
        )


def default_response(to: ZclFrame, status: Status) -> bytes:
    """The frame that answers ``to`` with a status and no more (ZCL7 2.5.12)."""
    return ZclFrame(
        _DEFAULT_RESPONSE,
        to.sequence,
        bytes((to.command_id, status)),
        is_cluster_command=False,
        from_server=not to.from_server,
        manufacturer=to.manufacturer,
    ).to_bytes()


def is_default_response(frame: ZclFrame) -> bool:
    """Whether a frame is one, and so never answered by another."""
    return not frame.is_cluster_command and frame.command_id == _DEFAULT_RESPONSE


def encode_ota(command: Command, sequence: int, *, broadcast: bool = False) -> bytes:
    """An OTA command, or the Default Response to one, as a frame.

    Args:
        command: from either side.
        sequence: 0 to 255. A response carries that of its request, everything else a new one.
        broadcast: an Image Notify to many, to which nobody sends a default response.
    """
    wants_answer = isinstance(command, _QUESTIONS) or (isinstance(command, ImageNotify) and not broadcast)
    return ZclFrame(
        command.COMMAND_ID,
        sequence,
        command.payload(),
        is_cluster_command=not isinstance(command, DefaultResponse),
        from_server=command.FROM_SERVER,
        disable_default_response=not wants_answer,
    ).to_bytes()


def decode_ota(frame: ZclFrame) -> Command:
    """The OTA command, or Default Response, that a frame of that cluster carries.

    Raises:
        ota.errors.TheirError: with the status to answer.
    """
    if not frame.is_cluster_command:
        if frame.command_id != _DEFAULT_RESPONSE:
            raise OtaTheirError(
                f"global command {frame.command_id:#04x} is none of ours", _UNSUPPORTED_GLOBAL
            )
        return DefaultResponse.parse(frame.payload, from_server=frame.from_server)
    if frame.manufacturer is not None:
        raise OtaTheirError("a manufacturer's own OTA command is none of ours", _UNSUPPORTED_MANUFACTURER)
    return parse_command(frame.command_id, frame.from_server, frame.payload)


_UNSUPPORTED_GLOBAL = Status(0x82)
_UNSUPPORTED_MANUFACTURER = Status(0x83)
_UNSUPPORTED_ATTRIBUTE = Status(0x86)
_INVALID_DATA_TYPE = Status(0x8D)


# The Tunnelling cluster. Both sides of a tunnel transfer data under command ids of their own.

_REQUEST_TUNNEL = Struct("<BHBH")
_REQUEST_TUNNEL_RESPONSE = Struct("<HBH")
_TUNNEL = Struct("<H")
_TUNNEL_ERROR = Struct("<HB")


@dataclass(frozen=True, slots=True)
class RequestTunnel:
    """The client asks for a tunnel."""

    FROM_SERVER: ClassVar[bool] = False

    protocol: int
    manufacturer: int
    flow_control: bool
    maximum_incoming: int

    @property
    def command_id(self) -> int:
        """0x00."""
        return 0x00

    def payload(self) -> bytes:
        """The ZCL payload: 6 octets."""
        return _pack(
            _REQUEST_TUNNEL, self.protocol, self.manufacturer, int(self.flow_control), self.maximum_incoming
        )


@dataclass(frozen=True, slots=True)
class RequestTunnelResponse:
    """The server's answer: status 0 success, 1 busy, 2 none left, 3 protocol, 4 flow control."""

    FROM_SERVER: ClassVar[bool] = True

    tunnel: int
    status: int
    maximum_incoming: int

    @property
    def command_id(self) -> int:
        """0x00."""
        return 0x00

    def payload(self) -> bytes:
        """The ZCL payload: 5 octets."""
        return _pack(_REQUEST_TUNNEL_RESPONSE, self.tunnel, self.status, self.maximum_incoming)


@dataclass(frozen=True, slots=True)
class CloseTunnel:
    """The client is done with the tunnel."""

    FROM_SERVER: ClassVar[bool] = False

    tunnel: int

    @property
    def command_id(self) -> int:
        """0x01."""
        return 0x01

    def payload(self) -> bytes:
        """The ZCL payload: 2 octets."""
        return _pack(_TUNNEL, self.tunnel)


@dataclass(frozen=True, slots=True)
class TransferData:
    """Octets through the tunnel, from either side."""

    tunnel: int
    data: bytes
    from_server: bool = False

    @property
    def FROM_SERVER(self) -> bool:  # noqa: N802 - named as in the commands of which only one side has one
        """True if the server sends it."""
        return self.from_server

    @property
    def command_id(self) -> int:
        """0x01 from the server, 0x02 from the client."""
        return 0x01 if self.from_server else 0x02

    def payload(self) -> bytes:
        """The ZCL payload: 2 octets and the data."""
        return _pack(_TUNNEL, self.tunnel) + self.data


@dataclass(frozen=True, slots=True)
class TransferDataError:
    """The receiver of data has no such tunnel (status 0), it is another peer's (1), or it overflowed (2)."""

    tunnel: int
    status: int
    from_server: bool = False

    @property
    def FROM_SERVER(self) -> bool:  # noqa: N802 - as in TransferData
        """True if the server sends it."""
        return self.from_server

    @property
    def command_id(self) -> int:
        """0x02 from the server, 0x03 from the client."""
        return 0x02 if self.from_server else 0x03

    def payload(self) -> bytes:
        """The ZCL payload: 3 octets."""
        return _pack(_TUNNEL_ERROR, self.tunnel, self.status)


TunnelCommand = RequestTunnel | RequestTunnelResponse | CloseTunnel | TransferData | TransferDataError


def encode_tunnel(command: TunnelCommand, sequence: int) -> bytes:
    """A command of the Tunnelling cluster as a frame. Only a request for a tunnel wants default responses."""
    return ZclFrame(
        command.command_id,
        sequence,
        command.payload(),
        from_server=command.FROM_SERVER,
        disable_default_response=not isinstance(command, RequestTunnel),
    ).to_bytes()


def decode_tunnel(frame: ZclFrame) -> TunnelCommand | DefaultResponse:
    """The command of the Tunnelling cluster, or Default Response, that a frame carries.

    Raises:
        TheirError: with the status to answer.
    """
    if is_default_response(frame):
        return _read_default_response(frame)
    table = _TUNNEL_SERVER_COMMANDS if frame.from_server else _TUNNEL_CLIENT_COMMANDS
    read = table.get(frame.command_id)
    if read is None or not frame.is_cluster_command or frame.manufacturer is not None:
        raise TheirError(f"no tunnelling command {frame.command_id:#04x}", Status.UNSUP_CLUSTER_COMMAND)
    try:
        return read(frame.payload)
    except struct_error as error:
        raise TheirError(f"tunnelling command {frame.command_id:#04x} is malformed: {error}") from error


def _request_tunnel(payload: bytes) -> RequestTunnel:
    protocol, manufacturer, flow_control, maximum = _REQUEST_TUNNEL.unpack_from(payload)
    return RequestTunnel(protocol, manufacturer, bool(flow_control), maximum)


def _close_tunnel(payload: bytes) -> CloseTunnel:
    return CloseTunnel(*_TUNNEL.unpack_from(payload))


def _request_tunnel_response(payload: bytes) -> RequestTunnelResponse:
    return RequestTunnelResponse(*_REQUEST_TUNNEL_RESPONSE.unpack_from(payload))


def _transfer(payload: bytes, *, from_server: bool) -> TransferData:
    (tunnel,) = _TUNNEL.unpack_from(payload)
    return TransferData(tunnel, payload[2:], from_server)


def _transfer_error(payload: bytes, *, from_server: bool) -> TransferDataError:
    tunnel, status = _TUNNEL_ERROR.unpack_from(payload)
    return TransferDataError(tunnel, status, from_server)


_TUNNEL_CLIENT_COMMANDS: dict[int, Callable[[bytes], TunnelCommand]] = {
    0x00: _request_tunnel,
    0x01: _close_tunnel,
    0x02: lambda payload: _transfer(payload, from_server=False),
    0x03: lambda payload: _transfer_error(payload, from_server=False),
}
_TUNNEL_SERVER_COMMANDS: dict[int, Callable[[bytes], TunnelCommand]] = {
    0x00: _request_tunnel_response,
    0x01: lambda payload: _transfer(payload, from_server=True),
    0x02: lambda payload: _transfer_error(payload, from_server=True),
}


# The Key Establishment cluster.


def encode_key_establishment(command: key_establishment.Command, sequence: int) -> bytes:
    """A command of the Key Establishment cluster as a frame. Only what an initiator asks wants an answer.

    Raises:
        OurError: if a field does not fit.
    """
    is_question = not command.from_server and not isinstance(command, key_establishment.Terminate)
    return ZclFrame(
        command.COMMAND_ID,
        sequence,
        command.payload(),
        from_server=command.from_server,
        disable_default_response=not is_question,
    ).to_bytes()


def decode_key_establishment(frame: ZclFrame) -> key_establishment.Command | DefaultResponse:
    """The command of the Key Establishment cluster, or Default Response, that a frame carries.

    Raises:
        TheirError: with the status to answer. Malformed commands are for the machine to answer.
    """
    if is_default_response(frame):
        return _read_default_response(frame)
    if not frame.is_cluster_command:
        raise TheirError(f"global command {frame.command_id:#04x} is none of ours", _UNSUPPORTED_GLOBAL)
    if frame.manufacturer is not None:
        raise TheirError("a manufacturer's own command is none of ours", _UNSUPPORTED_MANUFACTURER)
    return key_establishment.parse_command(frame.command_id, frame.from_server, frame.payload)


# Attributes.

_FIXED_SIZES = {
    0x10: 1,  # boolean
    **{0x08 + size: size + 1 for size in range(8)},  # data8 to data64
    **{0x18 + size: size + 1 for size in range(8)},  # bitmap8 to bitmap64
    **{0x20 + size: size + 1 for size in range(8)},  # uint8 to uint64
    0x30: 1,  # enum8
    0x31: 2,  # enum16
    0xE2: 4,  # UTC time
    0xE8: 2,  # cluster id
    0xE9: 2,  # attribute id
    0xF0: 8,  # EUI-64
}
_SIGNED_SIZES = {0x28 + size: size + 1 for size in range(8)}
OCTET_STRING = 0x41
CHARACTER_STRING = 0x42
BITMAP8, BITMAP16, BITMAP32 = 0x18, 0x19, 0x1B
UINT8, UINT16, UINT32 = 0x20, 0x21, 0x23
ENUM8 = 0x30
UTC_TIME = 0xE2
EUI64 = 0xF0
"""Types of attribute (ZCL7 2.6.2)."""

AttributeValue = int | bytes | str


@dataclass(frozen=True, slots=True)
class AttributeRecord:
    """One attribute in an answer or a report: its value with its type, or the status that tells why not."""

    attribute: int
    status: Status = Status.SUCCESS
    type: int = 0
    value: AttributeValue | None = None


@dataclass(frozen=True, slots=True)
class ReadAttributes:
    """The question for attributes' values (ZCL7 2.5.1). ``from_server`` when the client side holds them."""

    attributes: tuple[int, ...]
    from_server: bool = False


@dataclass(frozen=True, slots=True)
class ReadAttributesResponse:
    """The answer to a `ReadAttributes` (ZCL7 2.5.2)."""

    records: tuple[AttributeRecord, ...]
    from_server: bool = True


@dataclass(frozen=True, slots=True)
class ReportAttributes:
    """Values told without being asked for (ZCL7 2.5.11)."""

    records: tuple[AttributeRecord, ...]
    from_server: bool = True


GlobalCommand = ReadAttributes | ReadAttributesResponse | ReportAttributes | DefaultResponse


def encode_global(command: GlobalCommand, sequence: int) -> bytes:
    """A global command as a frame.

    Raises:
        OurError: if a value does not fit its type.
    """
    match command:
        case ReadAttributes(attributes=attributes):
            command_id = _READ_ATTRIBUTES
            payload = b"".join(attribute.to_bytes(2, "little") for attribute in attributes)
        case ReadAttributesResponse(records=records):
            command_id = _READ_ATTRIBUTES_RESPONSE
            payload = b"".join(_write_record(record, with_status=True) for record in records)
        case ReportAttributes(records=records):
            command_id = _REPORT_ATTRIBUTES
            payload = b"".join(_write_record(record, with_status=False) for record in records)
        case DefaultResponse():
            command_id = _DEFAULT_RESPONSE
            payload = command.payload()
    return ZclFrame(
        command_id,
        sequence,
        payload,
        is_cluster_command=False,
        from_server=command.from_server,
        disable_default_response=not isinstance(command, ReadAttributes),
    ).to_bytes()


def decode_global(frame: ZclFrame) -> GlobalCommand:
    """The global command that a frame carries.

    Raises:
        TheirError: with the status to answer.
    """
    if frame.is_cluster_command:
        raise TheirError(
            f"command {frame.command_id:#04x} is the cluster's own", Status.UNSUP_CLUSTER_COMMAND
        )
    match frame.command_id:
        case 0x00:
            if len(frame.payload) % 2:
                raise TheirError("Read Attributes ends within an attribute id")
            ids = tuple(
                int.from_bytes(frame.payload[at : at + 2], "little") for at in range(0, len(frame.payload), 2)
            )
            return ReadAttributes(ids, frame.from_server)
        case 0x01:
            return ReadAttributesResponse(
                tuple(_read_records(frame.payload, with_status=True)), frame.from_server
            )
        case 0x0A:
            return ReportAttributes(tuple(_read_records(frame.payload, with_status=False)), frame.from_server)
        case 0x0B:
            return _read_default_response(frame)
        case unknown:
            raise TheirError(f"global command {unknown:#04x} is none of ours", _UNSUPPORTED_GLOBAL)


def _read_default_response(frame: ZclFrame) -> DefaultResponse:
    try:
        return DefaultResponse.parse(frame.payload, from_server=frame.from_server)
    except OtaTheirError as error:
        raise TheirError(str(error), error.status) from error


def unsupported_attribute(attribute: int) -> AttributeRecord:
    """The record that says there is no such attribute."""
    return AttributeRecord(attribute, _UNSUPPORTED_ATTRIBUTE)


def _write_record(record: AttributeRecord, *, with_status: bool) -> bytes:
    octets = record.attribute.to_bytes(2, "little")
    if with_status:
        octets += bytes((record.status,))
        if record.status != Status.SUCCESS:
            return octets
    return octets + bytes((record.type,)) + _write_value(record)


def _write_value(record: AttributeRecord) -> bytes:
    try:
        match record.value:
            case int() as number if record.type in _SIGNED_SIZES:
                return number.to_bytes(_SIGNED_SIZES[record.type], "little", signed=True)
            case int() as number if record.type in _FIXED_SIZES:
                return number.to_bytes(_FIXED_SIZES[record.type], "little")
            case bytes() as octets if record.type == OCTET_STRING:
                return bytes((len(octets),)) + octets
            case str() as text if record.type == CHARACTER_STRING:
                return bytes((len(text.encode()),)) + text.encode()
            case _:
                raise OurError(
                    f"attribute {record.attribute:#06x} of type {record.type:#04x} is no such value"
                )
    except (OverflowError, ValueError) as error:
        raise OurError(f"attribute {record.attribute:#06x} does not fit its type: {error}") from error


def _read_records(payload: bytes, *, with_status: bool) -> Iterator[AttributeRecord]:
    at = 0
    while at < len(payload):
        attribute = int.from_bytes(_take(payload, at, 2), "little")
        at += 2
        if with_status:
            status = Status(_take(payload, at, 1)[0])
            at += 1
            if status != Status.SUCCESS:
                yield AttributeRecord(attribute, status)
                continue
        kind = _take(payload, at, 1)[0]
        value, at = _read_value(payload, at + 1, kind)
        yield AttributeRecord(attribute, Status.SUCCESS, kind, value)


def _read_value(payload: bytes, at: int, kind: int) -> tuple[AttributeValue | None, int]:
    size = _FIXED_SIZES.get(kind) or _SIGNED_SIZES.get(kind)
    if size is not None:
        number = int.from_bytes(_take(payload, at, size), "little", signed=kind in _SIGNED_SIZES)
        return number, at + size
    if kind not in (OCTET_STRING, CHARACTER_STRING):
        raise TheirError(f"attributes of type {kind:#04x} cannot be read", _INVALID_DATA_TYPE)
    length = _take(payload, at, 1)[0]
    if length == 0xFF:  # the invalid string, without octets
        return None, at + 1
    octets = _take(payload, at + 1, length)
    end = at + 1 + length
    return (octets if kind == OCTET_STRING else octets.decode(errors="replace")), end


def _take(payload: bytes, at: int, size: int) -> bytes:
    octets = payload[at : at + size]
    if len(octets) != size:
        raise TheirError(f"an attribute record ends after {len(payload)} octets")
    return octets


def _pack(layout: Struct, *fields: int) -> bytes:
    try:
        return layout.pack(*fields)
    except struct_error as error:
        raise OurError(f"a field does not fit its octets: {error}") from error
