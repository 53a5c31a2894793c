"""What zigpy, which we did not write, makes of our octets, and we of its."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zigpy.ota.image import (
    ElementTagId,
    OTAImage,
    OTAImageHeader,
    SubElement,
    TelinkOTAImage,
    parse_ota_image,
)
from zigpy.zcl import foundation
from zigpy.zcl.clusters.general import Ota

from ota.commands import (
    ImageBlockAbort,
    ImageBlockRequest,
    ImageBlockResponse,
    ImageBlockWait,
    ImageNotify,
    ImagePageRequest,
    QueryNextImageRequest,
    QueryNextImageResponse,
    Status,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.elements import SIZES, Element, Tag, build_elements, parse_elements
from ota.eui64 import Eui64
from ota.image import HardwareRange, Header, Image, ImageFormatError, check

IMAGES = Path(__file__).parents[2] / "fixtures" / "images"

COMMANDS = [
    ImageNotify(),
    ImageNotify(3, 50, 0x121D, 0x0084, 2),
    QueryNextImageRequest(0x121D, 0x0084, 1),
    QueryNextImageRequest(0x121D, 0x0084, 1, 0x1150),
    QueryNextImageResponse(Status.SUCCESS, 0x121D, 0x0084, 2, 350060),
    QueryNextImageResponse(Status.NO_IMAGE_AVAILABLE),
    ImageBlockRequest(0x121D, 0x0084, 2, 65, 64),
    ImageBlockRequest(0x121D, 0x0084, 2, 65, 64, Eui64(0x00DB1234567890A4), 500),
    ImagePageRequest(0x121D, 0x0084, 2, 65, 32, 1024, 50),
    ImageBlockResponse(0x121D, 0x0084, 2, 65, b"sixty-four octets or less"),
    ImageBlockWait(0, 300, 500),
    ImageBlockAbort(),
    UpgradeEndRequest(Status.INVALID_IMAGE, 0x121D, 0x0084, 2),
    UpgradeEndResponse(0x121D, 0x0084, 2, 0, 0xFFFFFFFF),
]

# Their names for the fields that we call otherwise.
THEIRS = {
    "manufacturer": "manufacturer_code",
    "data": "image_data",
    "file_version": ("file_version", "current_file_version", "new_file_version"),
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_zigpy_reads_our_commands_and_writes_the_same_octets(command):
    known = Ota.ClientCommandDefs if command.FROM_SERVER else Ota.ServerCommandDefs
    schema = next(each.schema for each in known if each.id == command.COMMAND_ID)

    theirs, rest = schema.deserialize(command.payload())

    assert rest == b""
    assert theirs.serialize() == command.payload()
    compared = 0
    for name in command.__dataclass_fields__:
        ours = getattr(command, name)
        names = THEIRS.get(name, name)
        values = [
            getattr(theirs, each)
            for each in ([names] if isinstance(names, str) else names)
            if hasattr(theirs, each)
        ]
        if ours is not None and values and not isinstance(ours, Eui64):
            assert values == [ours]
            compared += 1
    assert compared


def test_our_statuses_are_theirs():
    for status in (Status.ABORT, Status.INVALID_IMAGE, Status.NO_IMAGE_AVAILABLE, Status.WAIT_FOR_DATA):
        assert foundation.Status[status.name] == status


@pytest.mark.parametrize("name", ["ppmid-00000002", "hcalcs-00000002", "gsme-00000002"])
def test_zigpy_reads_our_headers(name):
    data = (IMAGES / f"{name}.ota").read_bytes()
    ours = Header.parse(data)

    theirs, _ = OTAImageHeader.deserialize(data)

    assert theirs.manufacturer_id == ours.manufacturer
    assert theirs.image_type == ours.image_type
    assert theirs.file_version == ours.file_version
    assert theirs.image_size == ours.total_size == len(data)
    assert theirs.header_length == ours.length
    assert (theirs.minimum_hardware_version, theirs.maximum_hardware_version) == (0x1111, 0x1211)
    assert theirs.serialize() == data[: ours.length]


def test_zigpy_reads_a_file_of_ours_with_sub_elements():
    body = build_elements([Element(Tag.UPGRADE_IMAGE, b"firmware"), Element(Tag.INTEGRITY_CODE, bytes(16))])
    data = Image.build(Header(manufacturer=1, image_type=2, file_version=3, total_size=0), body).to_bytes()

    theirs, rest = OTAImage.deserialize(data)

    assert rest == b""
    assert [(element.tag_id, bytes(element.data)) for element in theirs.subelements] == [
        (ElementTagId.UPGRADE_IMAGE, b"firmware"),
        (ElementTagId.IMAGE_INTEGRITY_CODE, bytes(16)),
    ]
    assert theirs.serialize() == data


def test_we_read_a_sub_element_of_theirs():
    written = SubElement(tag_id=ElementTagId.UPGRADE_IMAGE, data=b"firmware").serialize()
    assert parse_elements(written) == [Element(Tag.UPGRADE_IMAGE, b"firmware")]


def our_files():
    """Any valid file with sub-elements: every combination of header options, every tag.

    Left out is what the two do not both accept, each for a reason: octets of a header beyond the options and
    reserved bits of its field control (we find them wrong, zigpy does not look), a header string that is no
    text (zigpy compares it as text), and sub-elements of tag 0xF000 (zigpy tries Telink's form as well).
    """
    sized = [
        st.builds(Element, st.just(tag), st.binary(min_size=size, max_size=size))
        for tag, size in SIZES.items()
    ]
    free = st.builds(
        Element,
        st.sampled_from([Tag.UPGRADE_IMAGE, Tag.PICTURE, Tag(0x0007), Tag(0xEFFF), Tag(0xF001), Tag(0xFFFF)]),
        st.binary(max_size=300),
    )
    u16 = st.integers(0, 0xFFFF)
    headers = st.builds(
        Header,
        manufacturer=u16,
        image_type=u16,
        file_version=st.integers(0, 0xFFFFFFFF),
        total_size=st.just(0),
        stack_version=u16,
        header_string=st.text("abc XYZ-._0123", max_size=32).map(str.encode),
        security_credential_version=st.none() | st.integers(0, 0xFF),
        destination=st.none() | st.builds(Eui64, st.integers(0, 2**64 - 1)),
        hardware_versions=st.none() | st.tuples(u16, u16).map(lambda pair: HardwareRange(*sorted(pair))),
    )
    elements = st.lists(st.one_of(free, *sized), min_size=1, max_size=6)
    return st.tuples(headers, elements)


@given(our_files())
def test_zigpy_agrees_on_every_valid_file_that_both_accept(made):
    header, elements = made
    data = Image.build(header, build_elements(elements)).to_bytes()
    assert check(data) == []

    theirs, rest = parse_ota_image(data)

    assert rest == b""
    assert isinstance(theirs, OTAImage)
    assert theirs.serialize() == data
    assert [(each.tag_id, bytes(each.data)) for each in theirs.subelements] == [
        (each.tag, each.data) for each in parse_elements(Image.read(data).body)
    ]
    ours = Header.parse(data)
    assert theirs.header.security_credential_version == ours.security_credential_version
    assert (
        None
        if theirs.header.upgrade_file_destination is None
        else Eui64.from_wire(theirs.header.upgrade_file_destination.serialize())
    ) == ours.destination
    assert theirs.header.header_string.rstrip(b"\x00") == ours.header_string.rstrip(b"\x00")


@given(our_files(), st.data())
def test_what_zigpy_refuses_of_a_cut_file_we_refuse_too(made, data):
    header, elements = made
    whole = Image.build(header, build_elements(elements)).to_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert check(cut)
    with pytest.raises(ValueError, match=r"."):
        parse_ota_image(cut)


def test_zigpy_and_we_know_telinks_form_and_only_zigpy_takes_it():
    body = (0xF000).to_bytes(2, "little") + (32).to_bytes(4, "little") + b"\x01\x00" + bytes(range(32))
    data = Image.build(Header(manufacturer=1, image_type=2, file_version=3, total_size=0), body).to_bytes()
    theirs, _ = parse_ota_image(data)
    assert isinstance(theirs, TelinkOTAImage)
    with pytest.raises(ImageFormatError, match="Telink"):
        parse_elements(body)
