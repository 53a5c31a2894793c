"""The sub-elements behind a plain Zigbee header: tag, length, data, one after the other (ZCL7 11.4.3).

GB files have none. They stand here for files from elsewhere and for signed Smart Energy files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

from ota.errors import OurError
from ota.image import ImageFormatError
from ota.open_enum import OpenEnum

_PREFIX = Struct("<HI")
_TELINK = 0xF000
MOST_ELEMENTS = 256
"""Files in the field have three or four. A file that claims thousands is read no further than here."""


class Tag(OpenEnum):
    """What a sub-element is. Open: a tag that nobody defined keeps its number."""

    UPGRADE_IMAGE = 0x0000
    SIGNATURE_SUITE_1 = 0x0001
    CERTIFICATE_SUITE_1 = 0x0002
    INTEGRITY_CODE = 0x0003
    PICTURE = 0x0004
    SIGNATURE_SUITE_2 = 0x0005
    CERTIFICATE_SUITE_2 = 0x0006

    @classmethod
    def octets(cls) -> int:
        """A tag has two."""
        return 2

    @classmethod
    def name_of_unknown(cls, value: int) -> str:
        """Whose tag it is: from 0xF000 on a manufacturer's."""
        return f"{'MANUFACTURER' if value >= 0xF000 else 'RESERVED'}_{value:#06x}"


SIZES = {
    Tag.SIGNATURE_SUITE_1: 50,
    Tag.CERTIFICATE_SUITE_1: 48,
    Tag.INTEGRITY_CODE: 16,
    Tag.SIGNATURE_SUITE_2: 80,
    Tag.CERTIFICATE_SUITE_2: 74,
}
"""The sizes in octets that the format fixes."""


@dataclass(frozen=True, slots=True)
class Element:
    """One sub-element."""

    tag: Tag
    data: bytes


def parse_elements(body: bytes) -> list[Element]:
    """Read all that follows a header as sub-elements.

    Raises:
        ImageFormatError: if they do not fill the body exactly, one has not the size that its tag fixes, or
            they are more than `MOST_ELEMENTS`.
    """
    elements: list[Element] = []
    at = 0
    while at < len(body):
        if len(elements) == MOST_ELEMENTS:
            raise ImageFormatError("sub-elements", f"more than {MOST_ELEMENTS}")
        if at + _PREFIX.size > len(body):
            raise _unfit(body, f"{len(body) - at} octets left over at the end")
        number, size = _PREFIX.unpack_from(body, at)
        tag = Tag(number)
        at += _PREFIX.size
        if size > len(body) - at:
            raise _unfit(body, f"{tag.name} claims {size} octets, {len(body) - at} are left")
        if size != SIZES.get(tag, size):
            raise ImageFormatError("sub-elements", f"{tag.name} has {SIZES[tag]} octets, not {size}")
        elements.append(Element(tag, bytes(body[at : at + size])))
        at += size
    return elements


def _unfit(body: bytes, problem: str) -> ImageFormatError:
    known = "in Telink's own form, which no standard knows"
    return ImageFormatError("sub-elements", known if is_telink_form(body) else problem)


def is_telink_form(body: bytes) -> bool:
    """Whether this is Telink's form of sub-elements: tag 0xF000 has two octets more than its length says.

    No standard knows it; herdsman and zigpy read it. Others use the same tag in the ordinary way, so it is
    this form only where it fills the body and the ordinary one does not.
    """
    at = 0
    is_seen = False
    for _ in range(MOST_ELEMENTS):
        if at + _PREFIX.size > len(body):
            break
        number, size = _PREFIX.unpack_from(body, at)
        is_telink = number == _TELINK
        is_seen = is_seen or is_telink
        at += _PREFIX.size + size + (2 if is_telink else 0)
    return is_seen and at == len(body)


def build_elements(elements: Iterable[Element]) -> bytes:
    """The octets of these sub-elements. Raises OurError for one that has not the size that its tag fixes."""
    octets = bytearray()
    for element in elements:
        if len(element.data) != SIZES.get(element.tag, len(element.data)):
            raise OurError(f"{element.tag.name} has {SIZES[element.tag]} octets, not {len(element.data)}")
        octets += _PREFIX.pack(element.tag, len(element.data)) + element.data
    return bytes(octets)
