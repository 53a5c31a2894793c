"""The commands of the OTA Upgrade cluster, each a value that knows its octets.

What one side sends is what the other receives: client, server, simulator and tests share these classes.
All integers on the wire are little-endian. A command that ends early is malformed; octets behind its last
known field are skipped, because later revisions of the cluster add fields at the end (Image Notify alone is
taken literally, as deployed clients do). Ids and layouts: ZCL7 clause 11.13.

Packed by ``struct``: two of these cross the bench for each block of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from struct import error as struct_error
from typing import ClassVar, Self

from ota.errors import OurError, TheirError
from ota.eui64 import Eui64
from ota.status import Status

__all__ = [
    "ANY_IMAGE_TYPE",
    "ANY_MANUFACTURER",
    "ANY_VERSION",
    "CLUSTER_ID",
    "WAIT_FOR_ACTIVATION",
    "Command",
    "DefaultResponse",
    "ImageBlockAbort",
    "ImageBlockRequest",
    "ImageBlockResponse",
    "ImageBlockWait",
    "ImageNotify",
    "ImagePageRequest",
    "QueryDeviceSpecificFileRequest",
    "QueryDeviceSpecificFileResponse",
    "QueryNextImageRequest",
    "QueryNextImageResponse",
    "Status",
    "UpgradeEndRequest",
    "UpgradeEndResponse",
    "parse_command",
]

CLUSTER_ID = 0x0019
"""OTA Upgrade."""

ANY_MANUFACTURER = 0xFFFF
ANY_IMAGE_TYPE = 0xFFFF
ANY_VERSION = 0xFFFFFFFF
"""Wildcards that an Image Notify or an Upgrade End Response may carry."""

WAIT_FOR_ACTIVATION = 0xFFFFFFFF
"""The upgrade time that means: hold the image until you are told (ZCL7 11.13.9)."""

_U8, _U16, _U32 = Struct("<B"), Struct("<H"), Struct("<I")
_QUERY = Struct("<BHHI")
_NEXT_IMAGE = Struct("<BHHII")
_BLOCK_REQUEST = Struct("<BHHIIB")
_PAGE_REQUEST = Struct("<BHHIIBHH")
_BLOCK = Struct("<BHHIIB")
_WAIT = Struct("<BII")
_END_REQUEST = Struct("<BHHI")
_END_RESPONSE = Struct("<HHIII")
_DEVICE_FILE = Struct("<HHIH")


def _pack(layout: Struct, *fields: int) -> bytes:
    try:
        return layout.pack(*fields)
    except struct_error as error:
        raise OurError(f"a field does not fit its octets: {error}") from error


def _unpack(layout: Struct, payload: bytes, at: int, name: str) -> tuple[int, ...]:
    try:
        return layout.unpack_from(payload, at)
    except struct_error as error:
        raise TheirError(f"{name} ends after {len(payload)} octets") from error


@dataclass(frozen=True, slots=True)
class ImageNotify:
    """The server says that something is new. In unicast it always leads to a query, whatever it says."""

    COMMAND_ID: ClassVar[int] = 0x00
    FROM_SERVER: ClassVar[bool] = True

    payload_type: int = 0
    query_jitter: int = 100
    manufacturer: int | None = None
    image_type: int | None = None
    file_version: int | None = None

    def payload(self) -> bytes:
        """The ZCL payload: 2, 4, 6 or 10 octets.

        Raises:
            OurError: if the payload type asks for a field that is None, or a field is out of range.
        """
        if not 0 <= self.payload_type <= 3:
            raise OurError(f"an Image Notify has payload type 0 to 3, not {self.payload_type}")
        octets = _pack(_U8, self.payload_type) + _pack(_U8, self.query_jitter)
        fields = ((_U16, self.manufacturer), (_U16, self.image_type), (_U32, self.file_version))
        for layout, field in fields[: self.payload_type]:
            if field is None:
                raise OurError(f"payload type {self.payload_type} needs its first {self.payload_type} fields")
            octets += _pack(layout, field)
        return octets

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload.

        Raises:
            TheirError: if the payload type is unknown or the length is not the one that it asks for.
        """
        if len(payload) < 2:
            raise TheirError(f"Image Notify ends after {len(payload)} octets")
        kind = payload[0]
        if kind > 3 or len(payload) != (2, 4, 6, 10)[kind]:
            raise TheirError(f"an Image Notify of type {kind} does not have {len(payload)} octets")
        return cls(
            kind,
            payload[1],
            int.from_bytes(payload[2:4], "little") if kind >= 1 else None,
            int.from_bytes(payload[4:6], "little") if kind >= 2 else None,
            int.from_bytes(payload[6:10], "little") if kind >= 3 else None,
        )


@dataclass(frozen=True, slots=True)
class QueryNextImageRequest:
    """The client tells what it runs and asks what comes next."""

    COMMAND_ID: ClassVar[int] = 0x01
    FROM_SERVER: ClassVar[bool] = False

    manufacturer: int
    image_type: int
    file_version: int
    hardware_version: int | None = None

    def payload(self) -> bytes:
        """The ZCL payload: 9 octets, or 11 with a hardware version. Raises OurError for a bad field."""
        has_hardware = self.hardware_version is not None
        octets = _pack(_QUERY, int(has_hardware), self.manufacturer, self.image_type, self.file_version)
        return octets if self.hardware_version is None else octets + _pack(_U16, self.hardware_version)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early."""
        control, manufacturer, image_type, file_version = _unpack(
            _QUERY, payload, 0, "Query Next Image Request"
        )
        hardware = None
        if control & 0x01:
            (hardware,) = _unpack(_U16, payload, _QUERY.size, "Query Next Image Request")
        return cls(manufacturer, image_type, file_version, hardware)


@dataclass(frozen=True, slots=True)
class _FileAnswer:
    """The server names a file, or says why there is none. Size is in octets and counts the header."""

    FROM_SERVER: ClassVar[bool] = True

    status: Status
    manufacturer: int | None = None
    image_type: int | None = None
    file_version: int | None = None
    image_size: int | None = None

    def payload(self) -> bytes:
        """The ZCL payload: 13 octets on success, else the status alone.

        Raises:
            OurError: if a successful answer lacks a field, or a field is out of range.
        """
        if self.status != Status.SUCCESS:
            return _pack(_U8, self.status)
        if (
            self.manufacturer is None
            or self.image_type is None
            or self.file_version is None
            or self.image_size is None
        ):
            raise OurError("an answer to a query that says SUCCESS names the file and its size")
        return _pack(
            _NEXT_IMAGE, self.status, self.manufacturer, self.image_type, self.file_version, self.image_size
        )

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early."""
        if not payload:
            raise TheirError("an answer to a query is empty")
        if payload[0] != Status.SUCCESS:
            return cls(Status(payload[0]))
        _, manufacturer, image_type, file_version, size = _unpack(
            _NEXT_IMAGE, payload, 0, "an answer to a query"
        )
        return cls(Status.SUCCESS, manufacturer, image_type, file_version, size)


class QueryNextImageResponse(_FileAnswer):
    """The server names the next image, or says why there is none. Size is in octets and counts the header."""

    __slots__ = ()
    COMMAND_ID: ClassVar[int] = 0x02


@dataclass(frozen=True, slots=True)
class ImageBlockRequest:
    """The client asks for the octets from ``file_offset`` on.

    The unit of ``minimum_block_period`` depends on the cluster revision: milliseconds in 1 and 3, seconds
    in 2.
    """

    COMMAND_ID: ClassVar[int] = 0x03
    FROM_SERVER: ClassVar[bool] = False

    manufacturer: int
    image_type: int
    file_version: int
    file_offset: int
    maximum_data_size: int
    node_address: Eui64 | None = None
    minimum_block_period: int | None = None

    def payload(self) -> bytes:
        """The ZCL payload: 14 octets, 10 more with both options. Raises OurError for a bad field."""
        control = (self.node_address is not None) | (self.minimum_block_period is not None) << 1
        octets = _pack(
            _BLOCK_REQUEST,
            control,
            self.manufacturer,
            self.image_type,
            self.file_version,
            self.file_offset,
            self.maximum_data_size,
        )
        if self.node_address is not None:
            octets += self.node_address.wire
        if self.minimum_block_period is not None:
            octets += _pack(_U16, self.minimum_block_period)
        return octets

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early."""
        control, manufacturer, image_type, file_version, offset, size = _unpack(
            _BLOCK_REQUEST, payload, 0, "Image Block Request"
        )
        at, address, period = _BLOCK_REQUEST.size, None, None
        if control & 0x01:
            address = _address(payload, at, "Image Block Request")
            at += 8
        if control & 0x02:
            (period,) = _unpack(_U16, payload, at, "Image Block Request")
        return cls(manufacturer, image_type, file_version, offset, size, address, period)


@dataclass(frozen=True, slots=True)
class ImagePageRequest:
    """The client asks for a page of blocks, ``response_spacing`` milliseconds apart."""

    COMMAND_ID: ClassVar[int] = 0x04
    FROM_SERVER: ClassVar[bool] = False

    manufacturer: int
    image_type: int
    file_version: int
    file_offset: int
    maximum_data_size: int
    page_size: int
    response_spacing: int
    node_address: Eui64 | None = None

    def payload(self) -> bytes:
        """The ZCL payload: 18 octets, 8 more with an address. Raises OurError for a field out of range."""
        octets = _pack(
            _PAGE_REQUEST,
            int(self.node_address is not None),
            self.manufacturer,
            self.image_type,
            self.file_version,
            self.file_offset,
            self.maximum_data_size,
            self.page_size,
            self.response_spacing,
        )
        return octets if self.node_address is None else octets + self.node_address.wire

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early."""
        control, *fields = _unpack(_PAGE_REQUEST, payload, 0, "Image Page Request")
        manufacturer, image_type, file_version, offset, size, page, spacing = fields
        address = _address(payload, _PAGE_REQUEST.size, "Image Page Request") if control & 0x01 else None
        return cls(manufacturer, image_type, file_version, offset, size, page, spacing, address)


@dataclass(frozen=True, slots=True)
class ImageBlockResponse:
    """The server gives the octets at an offset (status SUCCESS)."""

    COMMAND_ID: ClassVar[int] = 0x05
    FROM_SERVER: ClassVar[bool] = True

    manufacturer: int
    image_type: int
    file_version: int
    file_offset: int
    data: bytes

    def payload(self) -> bytes:
        """The ZCL payload: 14 octets and the data. Raises OurError for a field out of range."""
        return (
            _pack(
                _BLOCK,
                Status.SUCCESS,
                self.manufacturer,
                self.image_type,
                self.file_version,
                self.file_offset,
                len(self.data),
            )
            + self.data
        )

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early or its status is not SUCCESS."""
        status, manufacturer, image_type, file_version, offset, size = _unpack(
            _BLOCK, payload, 0, "Image Block Response"
        )
        if status != Status.SUCCESS:
            raise TheirError(f"an Image Block Response with status {Status(status).name} carries no data")
        data = bytes(payload[14 : 14 + size])
        if len(data) != size:
            raise TheirError(f"Image Block Response promises {size} octets of data and has {len(data)}")
        return cls(manufacturer, image_type, file_version, offset, data)


@dataclass(frozen=True, slots=True)
class ImageBlockWait:
    """The server says when to ask again (status WAIT_FOR_DATA).

    With ``current_time`` 0 the request time is a delay in seconds; otherwise both are seconds since
    2000-01-01 UTC. ``minimum_block_period`` is None as servers of before that field send it.
    """

    COMMAND_ID: ClassVar[int] = 0x05
    FROM_SERVER: ClassVar[bool] = True

    current_time: int
    request_time: int
    minimum_block_period: int | None = None

    def payload(self) -> bytes:
        """The ZCL payload: 9 octets, or 11 with a period. Raises OurError for a field out of range."""
        octets = _pack(_WAIT, Status.WAIT_FOR_DATA, self.current_time, self.request_time)
        return (
            octets if self.minimum_block_period is None else octets + _pack(_U16, self.minimum_block_period)
        )

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early or its status is not WAIT_FOR_DATA."""
        status, current, request = _unpack(_WAIT, payload, 0, "Image Block Response")
        if status != Status.WAIT_FOR_DATA:
            raise TheirError(
                f"an Image Block Response with status {Status(status).name} gives no time to wait"
            )
        if len(payload) == _WAIT.size:
            return cls(current, request)
        (period,) = _unpack(_U16, payload, _WAIT.size, "Image Block Response")
        return cls(current, request, period)


@dataclass(frozen=True, slots=True)
class ImageBlockAbort:
    """The server ends the download: an Image Block Response of its status alone, ABORT unless told."""

    COMMAND_ID: ClassVar[int] = 0x05
    FROM_SERVER: ClassVar[bool] = True

    status: Status = Status.ABORT

    def payload(self) -> bytes:
        """The ZCL payload: one octet. Raises OurError for a status that has more to say."""
        if self.status in _TALKATIVE:
            raise OurError(f"{self.status.name} does not end a download")
        return _pack(_U8, self.status)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it is empty or its status needs more fields."""
        if not payload or payload[0] in _TALKATIVE:
            raise TheirError("this Image Block Response ends no download")
        return cls(Status(payload[0]))


_TALKATIVE = (Status.SUCCESS, Status.WAIT_FOR_DATA)


@dataclass(frozen=True, slots=True)
class UpgradeEndRequest:
    """The client tells how the download ended, and on success asks when to activate."""

    COMMAND_ID: ClassVar[int] = 0x06
    FROM_SERVER: ClassVar[bool] = False

    status: Status
    manufacturer: int
    image_type: int
    file_version: int

    def payload(self) -> bytes:
        """The ZCL payload: 9 octets. Raises OurError for a field out of range."""
        return _pack(_END_REQUEST, self.status, self.manufacturer, self.image_type, self.file_version)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early."""
        status, manufacturer, image_type, file_version = _unpack(
            _END_REQUEST, payload, 0, "Upgrade End Request"
        )
        return cls(Status(status), manufacturer, image_type, file_version)


@dataclass(frozen=True, slots=True)
class UpgradeEndResponse:
    """The server says when to activate: with ``current_time`` 0, in ``upgrade_time`` seconds, 0 meaning now.

    ``WAIT_FOR_ACTIVATION`` as upgrade time means: hold the image until told. Otherwise both times are seconds
    since 2000-01-01 UTC.
    """

    COMMAND_ID: ClassVar[int] = 0x07
    FROM_SERVER: ClassVar[bool] = True

    manufacturer: int
    image_type: int
    file_version: int
    current_time: int
    upgrade_time: int

    def payload(self) -> bytes:
        """The ZCL payload: 16 octets. Raises OurError for a field out of range."""
        return _pack(
            _END_RESPONSE,
            self.manufacturer,
            self.image_type,
            self.file_version,
            self.current_time,
            self.upgrade_time,
        )

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early."""
        return cls(*_unpack(_END_RESPONSE, payload, 0, "Upgrade End Response"))


@dataclass(frozen=True, slots=True)
class QueryDeviceSpecificFileRequest:
    """The client asks for a file that is made for it alone: its credentials, configuration or log."""

    COMMAND_ID: ClassVar[int] = 0x08
    FROM_SERVER: ClassVar[bool] = False

    node_address: Eui64
    manufacturer: int
    image_type: int
    file_version: int
    stack_version: int

    def payload(self) -> bytes:
        """The ZCL payload: 18 octets. Raises OurError for a field out of range."""
        return self.node_address.wire + _pack(
            _DEVICE_FILE, self.manufacturer, self.image_type, self.file_version, self.stack_version
        )

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early."""
        name = "Query Device Specific File Request"
        return cls(_address(payload, 0, name), *_unpack(_DEVICE_FILE, payload, 8, name))


class QueryDeviceSpecificFileResponse(_FileAnswer):
    """The server names the file that it has for this device alone, or says why there is none."""

    __slots__ = ()
    COMMAND_ID: ClassVar[int] = 0x09


@dataclass(frozen=True, slots=True)
class DefaultResponse:
    """The global command that answers another with a status and no more. Either side may send it."""

    COMMAND_ID: ClassVar[int] = 0x0B

    command_id: int
    status: Status
    from_server: bool = True

    @property
    def FROM_SERVER(self) -> bool:  # noqa: N802 - the one command whose side its class does not settle
        """True if the server sends it."""
        return self.from_server

    def payload(self) -> bytes:
        """The ZCL payload: 2 octets. Raises OurError for a field out of range."""
        return _pack(_U8, self.command_id) + _pack(_U8, self.status)

    @classmethod
    def parse(cls, payload: bytes, *, from_server: bool = True) -> Self:
        """Read the ZCL payload. Raises TheirError if it ends early."""
        if len(payload) < 2:
            raise TheirError(f"Default Response ends after {len(payload)} octets")
        return cls(payload[0], Status(payload[1]), from_server)


Command = (
    ImageNotify
    | QueryNextImageRequest
    | QueryNextImageResponse
    | ImageBlockRequest
    | ImagePageRequest
    | ImageBlockResponse
    | ImageBlockWait
    | ImageBlockAbort
    | UpgradeEndRequest
    | UpgradeEndResponse
    | QueryDeviceSpecificFileRequest
    | QueryDeviceSpecificFileResponse
    | DefaultResponse
)
"""Whatever crosses the cluster."""


def parse_command(command_id: int, from_server: bool, payload: bytes) -> Command:  # noqa: FBT001 - a wire bit
    """Read a cluster command by its id and the side that sent it; a Default Response, being global, is none.

    Raises:
        TheirError: UNSUP_CLUSTER_COMMAND for an id that this side does not send or that we do not know;
            MALFORMED_COMMAND for a payload that ends early or contradicts itself.
    """
    parse = (_SERVER_COMMANDS if from_server else _CLIENT_COMMANDS).get(command_id)
    if parse is None:
        side = "server" if from_server else "client"
        raise TheirError(f"no OTA command {command_id:#04x} from the {side}", Status.UNSUP_CLUSTER_COMMAND)
    return parse(payload)


def _parse_block_response(payload: bytes) -> Command:
    if not payload:
        raise TheirError("Image Block Response is empty")
    match payload[0]:
        case Status.SUCCESS:
            return ImageBlockResponse.parse(payload)
        case Status.WAIT_FOR_DATA:
            return ImageBlockWait.parse(payload)
        case _:
            return ImageBlockAbort.parse(payload)


def _address(payload: bytes, at: int, name: str) -> Eui64:
    octets = payload[at : at + 8]
    if len(octets) != 8:
        raise TheirError(f"{name} ends after {len(payload)} octets")
    return Eui64.from_wire(octets)


_CLIENT_COMMANDS: dict[int, Callable[[bytes], Command]] = {
    0x01: QueryNextImageRequest.parse,
    0x03: ImageBlockRequest.parse,
    0x04: ImagePageRequest.parse,
    0x06: UpgradeEndRequest.parse,
    0x08: QueryDeviceSpecificFileRequest.parse,
}
_SERVER_COMMANDS: dict[int, Callable[[bytes], Command]] = {
    0x00: ImageNotify.parse,
    0x02: QueryNextImageResponse.parse,
    0x05: _parse_block_response,
    0x07: UpgradeEndResponse.parse,
    0x09: QueryDeviceSpecificFileResponse.parse,
}
