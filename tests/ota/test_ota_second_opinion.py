"""What zigpy, which we did not write, makes of our octets, and we of its."""

from __future__ import annotations

from pathlib import Path

import pytest
from zigpy.ota.image import ElementTagId, OTAImage, OTAImageHeader, SubElement
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
from ota.elements import Element, Tag, build_elements, parse_elements
from ota.eui64 import Eui64
from ota.image import Header, Image

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
