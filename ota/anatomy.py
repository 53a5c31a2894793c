"""An upgrade file part by part, for people: where each stands, what it says, what that means.

Reads as far as a file can be read; what is wrong with it is told by the checks (``ota.image.check``,
``ota.gbcs_image.check``), not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ota.elements import Element, Tag, is_telink_form, parse_elements
from ota.eui64 import Eui64
from ota.gbcs_image import GbcsImage, Layout, likely_layout, manufacturer_image_hash
from ota.image import HEADER_STRING_SIZE, SMALLEST_HEADER, Header, ImageFormatError

_PREFIX_SIZE = 6
_SHOWN = 16
"""Octets of a larger part that are shown."""

_STACKS = {0: "Zigbee 2006", 1: "Zigbee 2007", 2: "Zigbee PRO", 3: "Zigbee IP"}
_CREDENTIALS = {0: "SE 1.0", 1: "SE 1.1", 2: "SE 2.0", 3: "SE 1.2"}
_IMAGE_TYPES = {
    0xFFC0: "client security credentials",
    0xFFC1: "client configuration",
    0xFFC2: "server log",
    0xFFC3: "picture",
    0xFFFF: "any: no file has it",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a file.

    Attributes:
        at: its first octet, counted from the start of the file.
        size: its octets.
        name: what the standard calls it.
        value: what it says.
        meaning: that in words, where the value alone does not say it.
    """

    at: int
    size: int
    name: str
    value: str
    meaning: str = ""


def likely_form(data: bytes) -> Layout | None:
    """A guess at what stands behind the header of a good file: a GB layout, or None for sub-elements.

    Sub-elements that fill a file to the octet are no accident.

    Raises:
        ImageFormatError: if it does not begin with an OTA header.
    """
    body = data[Header.parse(data).length :]
    try:
        has_elements = bool(parse_elements(body))
    except ImageFormatError:
        has_elements = is_telink_form(body)
    return None if has_elements else likely_layout(data)


def anatomy(data: bytes, layout: Layout | None = None) -> list[Part]:
    """The parts of a file: header fields, then what stands behind the header.

    Args:
        data: the whole file.
        layout: how a GB device reads the octets behind the header; None for sub-elements.

    Raises:
        ImageFormatError: if it does not begin with an OTA header.
    """
    header = Header.parse(data)
    return [*_header(header), *_body(data, header, layout)]


def _header(header: Header) -> Iterator[Part]:
    options = [
        name
        for name, value in (
            ("security credential version", header.security_credential_version),
            ("device specific", header.destination),
            ("hardware versions", header.hardware_versions),
        )
        if value is not None
    ]
    yield Part(0, 4, "file identifier", "0BEEF11E")
    yield Part(4, 2, "header version", f"{header.header_version:04X}")
    yield Part(6, 2, "header length", str(header.length))
    yield Part(8, 2, "field control", f"{_field_control(header):04X}", ", ".join(options) or "no options")
    yield Part(10, 2, "manufacturer code", f"{header.manufacturer:04X}")
    yield Part(12, 2, "image type", f"{header.image_type:04X}", _image_type(header.image_type))
    yield Part(14, 4, "file version", f"{header.file_version:08X}", _file_version(header.file_version))
    stack = _STACKS.get(header.stack_version, "nobody defined it")
    yield Part(18, 2, "stack version", f"{header.stack_version:04X}", stack)
    yield Part(20, HEADER_STRING_SIZE, "header string", header.name)
    yield Part(52, 4, "total image size", str(header.total_size))
    yield from _options(header)


def _options(header: Header) -> Iterator[Part]:
    at = SMALLEST_HEADER
    credential = header.security_credential_version
    if credential is not None:
        meaning = _CREDENTIALS.get(credential, "nobody defined it")
        yield Part(at, 1, "security credential version", f"{credential:02X}", meaning)
        at += 1
    if header.destination is not None:
        yield Part(at, 8, "upgrade file destination", str(header.destination), "for this device alone")
        at += 8
    if header.hardware_versions is not None:
        for name, version in (
            ("minimum hardware version", header.hardware_versions.minimum),
            ("maximum hardware version", header.hardware_versions.maximum),
        ):
            meaning = f"version {version >> 8}, revision {version & 0xFF}"
            yield Part(at, 2, name, f"{version:04X}", meaning)
            at += 2
    if header.unknown_options:
        octets = header.unknown_options
        yield Part(
            at, len(octets), "unknown options", _octets(octets), "the header is longer than its options"
        )


def _field_control(header: Header) -> int:
    return (
        header.reserved_control
        | (header.security_credential_version is not None)
        | (header.destination is not None) << 1
        | (header.hardware_versions is not None) << 2
    )


def _image_type(image_type: int) -> str:
    if image_type <= 0xFFBF:
        return "the manufacturer's own"
    return _IMAGE_TYPES.get(image_type, "reserved")


def _file_version(version: int) -> str:
    release, build, stack, stack_build = version.to_bytes(4, "big")
    return f"by the recommended split: release {release}.{build}, stack {stack}.{stack_build}"


def _body(data: bytes, header: Header, layout: Layout | None) -> Iterator[Part]:
    if layout is not None:
        try:
            image = GbcsImage.read(data, layout)
        except ImageFormatError:
            pass  # said by the check; what stands there is shown as it is
        else:
            yield from _gbcs(header.length, image)
            return
    body = data[header.length :]
    try:
        elements = parse_elements(body)
    except ImageFormatError:
        elements = []
    if elements:
        yield from _elements(header.length, elements)
    elif body:
        yield Part(header.length, len(body), "octets behind the header", _octets(body))


def _gbcs(at: int, image: GbcsImage) -> Iterator[Part]:
    size = len(image.manufacturer_image)
    digest = manufacturer_image_hash(image.manufacturer_image).hex()
    yield Part(at, size, "manufacturer image", _octets(image.manufacturer_image), f"SHA-256 {digest}")
    if image.authorisation is None:
        return
    at += size
    force = image.authorisation.force_replace
    meaning = {0: "an image that waits keeps its place", 1: "a stored image is replaced"}.get(
        force, "unknown"
    )
    yield Part(at, 1, "force-replace", f"{force:02X}", meaning)
    yield Part(at + 1, 1, "signature length", "40")
    meaning = "by the Supplier" if image.authorisation.is_signed else "nobody signed"
    yield Part(at + 2, 64, "signature", _octets(image.authorisation.signature), meaning)


def _elements(at: int, elements: list[Element]) -> Iterator[Part]:
    for number, element in enumerate(elements, 1):
        size = _PREFIX_SIZE + len(element.data)
        name = f"sub-element {number}, {element.tag.name.lower().replace('_', ' ')}"
        yield Part(at, size, name, _octets(element.data), _element(element))
        at += size


def _element(element: Element) -> str:
    match element.tag:
        case Tag.SIGNATURE_SUITE_1 | Tag.SIGNATURE_SUITE_2:
            return f"by {Eui64.from_wire(element.data[:8])}"
        case Tag.CERTIFICATE_SUITE_1:
            return f"of {Eui64(int.from_bytes(element.data[22:30], 'big'))}"
        case Tag.CERTIFICATE_SUITE_2:
            return f"of {Eui64(int.from_bytes(element.data[28:36], 'big'))}"
        case Tag.INTEGRITY_CODE:
            return "AES-MMO of all octets before it"
        case _:
            return ""


def _octets(data: bytes) -> str:
    if len(data) <= _SHOWN:
        return data.hex()
    return f"{data[:_SHOWN].hex()}... ({len(data)} octets)"
