"""The upgrade file: a header, then what the header's owner puts behind it.

Layout: ZCL7 clause 11.4 (OTA file format); all integers are little-endian. Plain Zigbee files continue with
sub-elements (tag, length, data). GB files do not: see ``ota.gbcs_image``. So the body stays octets here, and
sub-elements are read only on request.

Three doors: ``Header.parse`` for the first octets of a file, ``Image.read`` for a whole one, and ``check``,
which tells everything that is wrong at once, for people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

from construct import Bytes, ConstructError, If, Int8ul, Int16ul, Int32ul, Struct, this

from ota.errors import OurError, TheirError
from ota.eui64 import Eui64
from ota.status import Status
from ota.wrapping import wrapping

FILE_IDENTIFIER = 0x0BEEF11E
HEADER_VERSION = 0x0100
SMALLEST_HEADER = 56
LARGEST_HEADER = 69
HEADER_STRING_SIZE = 32

_CREDENTIAL, _DESTINATION, _HARDWARE = 0x0001, 0x0002, 0x0004

_HEADER: Any = Struct(
    "identifier" / Int32ul,
    "header_version" / Int16ul,
    "header_length" / Int16ul,
    "field_control" / Int16ul,
    "manufacturer" / Int16ul,
    "image_type" / Int16ul,
    "file_version" / Int32ul,
    "stack_version" / Int16ul,
    "header_string" / Bytes(HEADER_STRING_SIZE),
    "total_size" / Int32ul,
    "security_credential_version" / If(this.field_control & _CREDENTIAL, Int8ul),
    "destination" / If(this.field_control & _DESTINATION, Bytes(8)),
    "minimum_hardware" / If(this.field_control & _HARDWARE, Int16ul),
    "maximum_hardware" / If(this.field_control & _HARDWARE, Int16ul),
)


class ImageFormatError(TheirError):
    """A file is no upgrade file, or contradicts itself: ``field`` is what is wrong, ``problem`` says how."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", Status.INVALID_IMAGE)
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True, order=True)
class ImageKey:
    """What names an image in the cluster's commands."""

    manufacturer: int
    image_type: int
    file_version: int

    def __str__(self) -> str:
        """The three numbers in hex, the version as people see it everywhere."""
        return f"{self.manufacturer:04X}-{self.image_type:04X}-{self.file_version:08X}"


@dataclass(frozen=True, slots=True)
class HardwareRange:
    """The hardware versions that an image suits, both ends included; the high octet is the version."""

    minimum: int
    maximum: int

    def __contains__(self, version: int) -> bool:
        """Whether an image with this range suits that hardware."""
        return self.minimum <= version <= self.maximum


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a file: the part, and what is wrong in words."""

    field: str
    problem: str

    def __str__(self) -> str:
        """The finding on one line."""
        return f"{self.field}: {self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The OTA header. ``total_size`` counts the whole file, header included."""

    manufacturer: int
    image_type: int
    file_version: int
    total_size: int
    stack_version: int = 0x0002
    header_string: bytes = b""
    header_version: int = HEADER_VERSION
    security_credential_version: int | None = None
    destination: Eui64 | None = None
    hardware_versions: HardwareRange | None = None
    unknown_options: bytes = b""
    """Octets that ``header_length`` claims beyond the options we know; kept, so that a file survives."""
    reserved_control: int = 0
    """Field control bits that nobody defined. Kept for the same reason."""

    @property
    def key(self) -> ImageKey:
        """What names the image in the cluster's commands."""
        return ImageKey(self.manufacturer, self.image_type, self.file_version)

    @property
    def length(self) -> int:
        """The header's own size in octets."""
        return (
            SMALLEST_HEADER
            + (1 if self.security_credential_version is not None else 0)
            + (8 if self.destination is not None else 0)
            + (4 if self.hardware_versions is not None else 0)
            + len(self.unknown_options)
        )

    @property
    def name(self) -> str:
        """The header string as text, without its padding; octets outside ASCII as escapes."""
        return self.header_string.rstrip(b"\x00").decode("ascii", "backslashreplace")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the header at the start of ``data``; what follows it is not looked at.

        Raises:
            ImageFormatError: naming the field, if these octets do not start with an OTA header.
        """
        if len(data) < SMALLEST_HEADER:
            raise ImageFormatError("header", f"cut short: {len(data)} octets, an OTA header has at least 56")
        try:
            raw = _HEADER.parse(data)
        except ConstructError as error:
            raise ImageFormatError("header", f"cut short after {len(data)} octets") from error
        if raw.identifier != FILE_IDENTIFIER:
            what = wrapping(data) or "not an upgrade file"
            raise ImageFormatError(
                "identifier", f"{raw.identifier:#010x} where an upgrade file has 0x0beef11e: {what}"
            )
        known = _known_length(raw.field_control)
        if raw.header_length < known:
            raise ImageFormatError(
                "header_length", f"{raw.header_length}, but the fields that it announces take {known} octets"
            )
        if raw.header_length > len(data):
            raise ImageFormatError("header_length", f"{raw.header_length} octets in a file of {len(data)}")
        hardware = None
        if raw.minimum_hardware is not None:
            hardware = HardwareRange(raw.minimum_hardware, raw.maximum_hardware)
        return cls(
            manufacturer=raw.manufacturer,
            image_type=raw.image_type,
            file_version=raw.file_version,
            total_size=raw.total_size,
            stack_version=raw.stack_version,
            header_string=raw.header_string,
            header_version=raw.header_version,
            security_credential_version=raw.security_credential_version,
            destination=None if raw.destination is None else Eui64.from_wire(raw.destination),
            hardware_versions=hardware,
            unknown_options=bytes(data[known : raw.header_length]),
            reserved_control=raw.field_control & ~(_CREDENTIAL | _DESTINATION | _HARDWARE),
        )

    def to_bytes(self) -> bytes:
        """The header's octets.

        Raises:
            OurError: if a field does not fit.
        """
        if len(self.header_string) > HEADER_STRING_SIZE:
            raise OurError(f"a header string has at most 32 octets, not {len(self.header_string)}")
        hardware = self.hardware_versions
        control = (
            self.reserved_control
            | (_CREDENTIAL if self.security_credential_version is not None else 0)
            | (_DESTINATION if self.destination is not None else 0)
            | (_HARDWARE if hardware is not None else 0)
        )
        try:
            octets: bytes = _HEADER.build(
                {
                    "identifier": FILE_IDENTIFIER,
                    "header_version": self.header_version,
                    "header_length": self.length,
                    "field_control": control,
                    "manufacturer": self.manufacturer,
                    "image_type": self.image_type,
                    "file_version": self.file_version,
                    "stack_version": self.stack_version,
                    "header_string": self.header_string.ljust(HEADER_STRING_SIZE, b"\x00"),
                    "total_size": self.total_size,
                    "security_credential_version": self.security_credential_version,
                    "destination": None if self.destination is None else self.destination.wire,
                    "minimum_hardware": None if hardware is None else hardware.minimum,
                    "maximum_hardware": None if hardware is None else hardware.maximum,
                }
            )
        except ConstructError as error:
            raise OurError(f"a header field does not fit: {error}") from error
        return octets + self.unknown_options


def _known_length(field_control: int) -> int:
    return (
        SMALLEST_HEADER
        + (1 if field_control & _CREDENTIAL else 0)
        + (8 if field_control & _DESTINATION else 0)
        + (4 if field_control & _HARDWARE else 0)
    )


@dataclass(frozen=True, slots=True)
class Image:
    """A whole upgrade file: its header, and the octets behind it."""

    header: Header
    body: bytes

    @classmethod
    def build(cls, header: Header, body: bytes) -> Self:
        """An image whose header tells the size that the file will have, whatever ``header`` says of it."""
        return cls(replace(header, total_size=header.length + len(body)), body)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a whole file.

        Raises:
            ImageFormatError: for the first thing that ``check`` finds.
        """
        findings = check(data)
        if findings:
            raise ImageFormatError(findings[0].field, findings[0].problem)
        header = Header.parse(data)
        return cls(header, bytes(data[header.length :]))

    def to_bytes(self) -> bytes:
        """The file. Raises OurError if a header field does not fit or tells another size."""
        data = self.header.to_bytes() + self.body
        if len(data) != self.header.total_size:
            raise OurError(f"the header says {self.header.total_size} octets, the file has {len(data)}")
        return data


def read(data: bytes) -> Image:
    """``Image.read``, as a function."""
    return Image.read(data)


def check(data: bytes) -> list[Finding]:
    """Everything that is wrong with a file's header and size; an empty list for a good one.

    Says nothing of what a GB device looks for behind the header: see ``ota.gbcs_image.check``.
    """
    try:
        header = Header.parse(data)
    except ImageFormatError as error:
        return [Finding(error.field, error.problem)]
    findings = list(_header_findings(header))
    if header.total_size != len(data):
        how = "truncated" if header.total_size > len(data) else "oversized"
        says = f"the header says {header.total_size} octets, the file has {len(data)}"
        findings.append(Finding("total_size", f"{says}: {how}"))
    return findings


def _header_findings(header: Header) -> Iterable[Finding]:
    if header.header_version != HEADER_VERSION:
        yield Finding("header_version", f"{header.header_version:#06x}, only 0x0100 is known")
    if header.total_size < header.length:
        yield Finding("total_size", f"{header.total_size}, less than the header's own {header.length} octets")
    if header.reserved_control:
        yield Finding("field_control", f"bits {header.reserved_control:#06x} are reserved")
    if header.unknown_options:
        yield Finding("header_length", f"{len(header.unknown_options)} octets beyond the known options")
    hardware = header.hardware_versions
    if hardware is not None and hardware.minimum > hardware.maximum:
        yield Finding(
            "hardware_versions",
            f"the minimum {hardware.minimum:#06x} is above the maximum {hardware.maximum:#06x}",
        )
