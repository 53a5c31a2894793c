"""Upgrade files for people: what they are instead, part by part, where two differ, who would refuse one."""

from __future__ import annotations

import gzip
import io
import random
import tracemalloc
import zipfile
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota.anatomy import anatomy, likely_form
from ota.differences import OctetRange, differences, octet_ranges
from ota.elements import (
    MOST_ELEMENTS,
    Element,
    Tag,
    build_elements,
    is_telink_form,
    parse_elements,
)
from ota.eui64 import Eui64
from ota.gbcs_image import Layout
from ota.image import HardwareRange, Header, Image, ImageFormatError, check
from ota.refusals import Taker, refusals
from ota.wrapping import offset_within

IMAGES = Path(__file__).parents[2] / "fixtures" / "images"
PPMID = (IMAGES / "ppmid-00000002.ota").read_bytes()
HCALCS = (IMAGES / "hcalcs-00000002.ota").read_bytes()
DEVICE, OTHER = Eui64(0x00DB1234567890A4), Eui64(0x00DB1234567890A5)


def header(**fields: object) -> Header:
    return Header(manufacturer=0x121D, image_type=0x0084, file_version=2, total_size=0, **fields)


def plain(*elements: Element, **fields: object) -> bytes:
    return Image.build(header(**fields), build_elements(elements)).to_bytes()


def zipped(octets: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ppmid.ota", octets)
    return buffer.getvalue()


# --- what it is instead ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "named"),
    [
        (zipped(PPMID), "a ZIP archive: unpack it"),
        (gzip.compress(PPMID), "compressed by gzip: unpack it"),
        (b"\x7fELF" + bytes(60), "an ELF executable"),
        (b"\xeb\x17\xa6\x03" + bytes(60), r"Silicon Labs \(GBL\)"),
        (b"S00F000068656C6C6F202020202000003C\n" + b"S" * 60, "S-records"),
        (b":10010000214601360121470136007EFE09D2190140\n" + b":" * 60, "Intel HEX"),
        (b"<!DOCTYPE html><html>" + bytes(60), "a web page"),
        (b'{"images": []}' + b" " * 60, "JSON"),
        (b"-----BEGIN CERTIFICATE-----" + bytes(60), "PEM"),
        (
            b"NGIS" + bytes(12) + PPMID,
            r"IKEA's \(NGIS\): an upgrade file begins at octet 16, and tail -c \+17",
        ),
        (len(PPMID).to_bytes(4, "little") + PPMID + bytes(17), "a container of Legrand's"),
        (bytes(68) + (len(PPMID) + 88).to_bytes(4, "little") + bytes(80) + PPMID, "Third Reality's"),
        (bytes(100) + PPMID, "something unknown in front: an upgrade file begins at octet 100"),
        (b"\x01" + PPMID + bytes(9), rf"tail -c \+2 \| head -c {len(PPMID)} cuts it out"),
        (bytes(100), "not an upgrade file"),
    ],
)
def test_what_is_no_upgrade_file_is_refused_by_name_and_with_advice(octets, named):
    with pytest.raises(ImageFormatError, match=named):
        Image.read(octets)


def test_the_advice_for_a_container_gives_the_file_that_is_in_it():
    container = b"NGIS" + random.Random(1).randbytes(77) + PPMID
    at = offset_within(container)
    assert at is not None
    assert Image.read(container[at:]).to_bytes() == PPMID


def test_the_identifier_alone_is_no_file_within():
    assert offset_within(bytes(9) + (0x0BEEF11E).to_bytes(4, "little") + bytes(90)) is None
    assert offset_within(PPMID) is None


# --- hostile files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("claimed", [2**31 - 1, 2**32 - 1])
def test_two_gigabytes_of_declared_size_cost_no_memory(claimed):
    whole = PPMID[:52] + claimed.to_bytes(4, "little") + PPMID[56:]
    element = plain(Element(Tag.UPGRADE_IMAGE, bytes(100)))
    element = element[:58] + claimed.to_bytes(4, "little") + element[62:]
    tracemalloc.start()
    try:
        assert "truncated" in str(check(whole)[0])
        with pytest.raises(ImageFormatError, match="claims"):
            parse_elements(element[56:])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000


def test_ten_thousand_sub_elements_are_read_no_further_than_the_limit():
    class Counted(bytes):
        sliced = 0

        def __getitem__(self, key):
            Counted.sliced += 1
            return super().__getitem__(key)

    with pytest.raises(ImageFormatError, match="more than 256"):
        parse_elements(Counted(build_elements([Element(Tag.PICTURE, b"x")] * 10_000)))
    assert Counted.sliced <= MOST_ELEMENTS


def test_as_many_sub_elements_as_the_limit_are_read():
    many = [Element(Tag.PICTURE, bytes((number % 256,))) for number in range(MOST_ELEMENTS)]
    assert parse_elements(build_elements(many)) == many


def test_sub_elements_whose_lengths_overlap_are_refused():
    body = pack("<HI", 0, 20) + pack("<HI", 4, 30) + bytes(14)
    with pytest.raises(ImageFormatError, match="sub-elements"):
        parse_elements(body + pack("<HI", 4, 5))


@given(st.binary(max_size=400))
def test_any_octets_behind_a_header_are_explained_without_an_error(body):
    data = Image.build(header(), body).to_bytes()
    for layout in (None, *Layout):
        parts = anatomy(data, layout)
        assert sum(part.size for part in parts) == len(data)


def test_telinks_form_is_known_by_name_and_not_taken_for_the_standards():
    body = pack("<HI", 0xF000, 32) + pack("<H", 1) + bytes(range(32))
    assert is_telink_form(body)
    with pytest.raises(ImageFormatError, match="Telink"):
        parse_elements(body)
    ordinary = build_elements([Element(Tag(0xF000), bytes(34))])
    assert parse_elements(ordinary) == [Element(Tag(0xF000), bytes(34))]
    assert not is_telink_form(ordinary)


# --- part by part ----------------------------------------------------------------------------------------


def test_the_parts_of_a_file_cover_it_without_gap_or_overlap():
    files = [
        (PPMID, Layout.MANUFACTURER_IMAGE),
        (HCALCS, Layout.AUTHORISED),
        (
            plain(
                Element(Tag.UPGRADE_IMAGE, bytes(100)),
                Element(Tag.INTEGRITY_CODE, bytes(16)),
                security_credential_version=2,
                destination=DEVICE,
                hardware_versions=HardwareRange(1, 2),
                unknown_options=b"\x07",
            ),
            None,
        ),
    ]
    for data, layout in files:
        at = 0
        for part in anatomy(data, layout):
            assert part.at == at, part
            at += part.size
        assert at == len(data)


def test_each_option_of_a_header_is_explained():
    data = plain(
        Element(Tag.UPGRADE_IMAGE, b"x"),
        stack_version=3,
        security_credential_version=3,
        destination=DEVICE,
        hardware_versions=HardwareRange(0x0102, 0x0203),
    )
    told = {part.name: (part.value, part.meaning) for part in anatomy(data)}
    assert told["stack version"] == ("0003", "Zigbee IP")
    assert told["security credential version"] == ("03", "SE 1.2")
    assert told["upgrade file destination"] == (str(DEVICE), "for this device alone")
    assert told["minimum hardware version"] == ("0102", "version 1, revision 2")
    assert told["field control"][1] == "security credential version, device specific, hardware versions"
    assert told["image type"] == ("0084", "the manufacturer's own")
    assert told["sub-element 1, upgrade image"][0] == "78"


def test_what_stands_behind_the_header_is_guessed_from_the_octets():
    assert likely_form(PPMID) is Layout.MANUFACTURER_IMAGE
    assert likely_form(HCALCS) is Layout.AUTHORISED
    assert likely_form(plain(Element(Tag.UPGRADE_IMAGE, bytes(100)))) is None


# --- where two differ ------------------------------------------------------------------------------------


def test_a_file_does_not_differ_from_itself():
    parts = anatomy(PPMID, Layout.MANUFACTURER_IMAGE)
    assert differences(parts, parts) == []
    assert list(octet_ranges(PPMID, PPMID)) == []


def test_fields_that_differ_are_told_with_both_values():
    other = Image.build(header(hardware_versions=HardwareRange(1, 2)), b"x").to_bytes()
    one = Image.build(header(), b"x").to_bytes()
    found = {each.name: (each.first, each.second) for each in differences(anatomy(one), anatomy(other))}
    assert found["minimum hardware version"] == (None, "0001")
    assert found["total image size"] == ("57", "61")
    assert "manufacturer code" not in found


@given(st.binary(max_size=900), st.lists(st.integers(0, 899), max_size=5), st.integers(0, 40))
def test_every_octet_that_differs_is_in_one_range_and_each_range_begins_and_ends_with_one(data, places, more):
    spoilt = bytearray(data)
    for place in places:
        if place < len(spoilt):
            spoilt[place] ^= 0xFF
    spoilt += bytes(more)
    ranges = list(octet_ranges(data, bytes(spoilt)))
    differing = {at for at in range(len(spoilt)) if at >= len(data) or data[at] != spoilt[at]}
    covered = {at for each in ranges for at in range(each.start, each.stop)}
    assert differing <= covered
    for each in ranges:
        assert {each.start, each.stop - 1} <= differing
    assert ranges == sorted(ranges, key=lambda each: each.start)


def test_differences_close_together_are_one_range():
    assert list(octet_ranges(bytes(100), bytes(10) + b"\x01" + bytes(5) + b"\x01" + bytes(83))) == [
        OctetRange(10, 17)
    ]


# --- who would refuse it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taker", "field"),
    [
        (Taker(manufacturer=0x1234), "manufacturer code"),
        (Taker(image_type=0x0085), "image type"),
        (Taker(eui64=OTHER), "upgrade file destination"),
        (Taker(hardware_version=0x0300), "hardware versions"),
        (Taker(file_version=2), "file version"),
        (Taker(file_version=3), "file version"),
        (Taker(storage=60), "total image size"),
    ],
)
def test_a_device_that_would_refuse_a_file_is_told_with_the_field(taker, field):
    file = plain(destination=DEVICE, hardware_versions=HardwareRange(0x0100, 0x0200))
    assert [each.field for each in refusals(Header.parse(file), taker)] == [field]


def test_a_device_that_the_file_suits_refuses_it_for_nothing():
    file = plain(destination=DEVICE, hardware_versions=HardwareRange(0x0100, 0x0200))
    taker = Taker(
        eui64=DEVICE,
        manufacturer=0x121D,
        image_type=0x0084,
        hardware_version=0x0200,
        file_version=1,
        storage=100,
    )
    assert refusals(Header.parse(file), taker) == []
    assert refusals(Header.parse(file), Taker()) == []
