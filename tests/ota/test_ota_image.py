"""Upgrade files: the header, the sub-elements, what GB puts behind the header, and files that are spoilt."""

from __future__ import annotations

import hashlib
import json
import runpy
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, derive_private_key
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from ota.elements import Element, Tag, build_elements, parse_elements
from ota.errors import OurError
from ota.eui64 import Eui64
from ota.gbcs_image import (
    GbcsImage,
    Layout,
    authorise,
    layout_for,
    likely_layout,
    manufacturer_image_hash,
)
from ota.gbcs_image import check as check_gbcs
from ota.image import HardwareRange, Header, Image, ImageFormatError, ImageKey, check
from ota.status import Status

FIXTURES = Path(__file__).parents[2] / "fixtures"
IMAGES = FIXTURES / "images"
PPMID_FILE = (IMAGES / "ppmid-00000002.ota").read_bytes()
HCALCS_FILE = (IMAGES / "hcalcs-00000002.ota").read_bytes()

u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)

headers = st.builds(
    Header,
    manufacturer=u16,
    image_type=u16,
    file_version=u32,
    total_size=u32,
    stack_version=u16,
    header_string=st.binary(min_size=32, max_size=32),
    header_version=u16,
    security_credential_version=st.none() | u8,
    destination=st.none() | st.builds(Eui64, st.integers(0, 2**64 - 1)),
    hardware_versions=st.none() | st.builds(HardwareRange, u16, u16),
    unknown_options=st.binary(max_size=20),
    reserved_control=st.sampled_from([0, 0x0008, 0x8000]),
)


@given(headers, st.binary(max_size=30))
def test_a_header_is_read_as_it_was_written(header, what_follows):
    assert Header.parse(header.to_bytes() + what_follows) == header


@given(headers)
def test_a_header_is_as_long_as_it_says(header):
    octets = header.to_bytes()
    assert len(octets) == header.length == int.from_bytes(octets[6:8], "little")


def test_a_gb_header_has_sixty_octets_in_the_order_of_the_standard():
    header = Header(
        manufacturer=0x121D,
        image_type=0x0084,
        file_version=0xACDCACDC,
        total_size=0x01020304,
        header_string=b"text",
        hardware_versions=HardwareRange(0x1111, 0x1211),
    )
    assert header.to_bytes() == bytes.fromhex(
        "1ef1ee0b 0001 3c00 0400 1d12 8400 dcacdcac 0200" + b"text".hex() + "00" * 28 + "04030201 1111 1112"
    )


def test_a_header_with_all_options_has_sixty_nine_octets():
    header = Header(
        manufacturer=1,
        image_type=2,
        file_version=3,
        total_size=69,
        security_credential_version=3,
        destination=Eui64(0x00DB1234567890A4),
        hardware_versions=HardwareRange(1, 2),
    )
    assert len(header.to_bytes()) == 69
    assert header.to_bytes()[56:] == bytes.fromhex("03 a49078563412db00 0100 0200")


def test_the_header_of_a_published_signed_file_is_read():
    sample = json.loads((FIXTURES / "vectors" / "ota_signed_files.json").read_text())["vectors"][0]
    image = Image.read(bytes.fromhex(sample["file"]))
    assert image.header.name == "The latest and greatest upgrade."
    assert image.header.key == ImageKey(0x1002, 0x5678, 5)
    assert [element.tag for element in parse_elements(image.body)] == [
        0xF000,
        Tag.CERTIFICATE_SUITE_1,
        Tag.SIGNATURE_SUITE_1,
    ]
    assert build_elements(parse_elements(image.body)) == image.body
    assert image.to_bytes() == bytes.fromhex(sample["file"])


def test_a_header_cut_at_any_length_is_refused_by_name():
    whole = PPMID_FILE[: Header.parse(PPMID_FILE).length]
    for length in range(len(whole)):
        with pytest.raises(ImageFormatError, match="header") as refusal:
            Header.parse(whole[:length])
        assert refusal.value.status is Status.INVALID_IMAGE


@pytest.mark.parametrize(
    ("name", "field", "words"),
    [
        ("spoilt-truncated", "total_size", "truncated"),
        ("spoilt-oversized", "total_size", "oversized"),
        ("spoilt-wrong-magic", "identifier", "not an upgrade file"),
        ("spoilt-header-cut", "header", "cut short"),
        ("spoilt-size-in-header", "total_size", "truncated"),
        ("spoilt-header-length", "header_length", "take 60 octets"),
        ("spoilt-hardware-range", "hardware_versions", "above the maximum"),
    ],
)
def test_a_spoilt_file_is_refused_and_the_field_named(name, field, words):
    data = (IMAGES / f"{name}.ota").read_bytes()
    findings = check(data)
    assert [found.field for found in findings] == [field]
    assert words in findings[0].problem
    with pytest.raises(ImageFormatError, match=words):
        Image.read(data)


def test_a_file_cut_at_any_length_is_refused():
    assert all(check(PPMID_FILE[:length]) for length in range(len(PPMID_FILE)))


def test_a_header_that_claims_more_octets_than_the_file_has_is_refused():
    data = PPMID_FILE[:6] + b"\xff\xff" + PPMID_FILE[8:]
    assert [str(found) for found in check(data)] == ["header_length: 65535 octets in a file of 2060"]


def test_everything_that_is_wrong_is_told_at_once():
    data = PPMID_FILE[:4] + b"\x00\x02" + PPMID_FILE[6:-1]
    assert [found.field for found in check(data)] == ["header_version", "total_size"]


@given(st.binary(max_size=120))
def test_any_octets_are_a_file_or_are_refused_with_reasons(data):
    findings = check(data)
    if findings:
        with pytest.raises(ImageFormatError):
            Image.read(data)
    else:
        assert Image.read(data).to_bytes() == data


@given(st.integers(0, 59), st.integers(1, 255))
def test_a_header_with_one_octet_changed_never_passes_for_another_size(at, change):
    data = bytearray(PPMID_FILE)
    data[at] ^= change
    if not check(bytes(data)):
        assert Header.parse(bytes(data)).total_size == len(data)


def test_a_null_file_for_certification_is_a_good_file():
    header = Header(manufacturer=0x121D, image_type=0x0084, file_version=2, total_size=56)
    assert check(Image.build(header, b"").to_bytes()) == []


@pytest.mark.parametrize(
    "fields", [{"manufacturer": 0x1_0000}, {"file_version": -1}, {"header_string": bytes(33)}]
)
def test_a_header_field_that_does_not_fit_is_our_error(fields):
    usual = {"manufacturer": 1, "image_type": 2, "file_version": 3, "total_size": 56}
    with pytest.raises(OurError):
        Header(**(usual | fields)).to_bytes()


def test_a_file_is_not_written_with_another_size_than_its_header_tells():
    header = Header(manufacturer=1, image_type=2, file_version=3, total_size=99)
    with pytest.raises(OurError, match="99"):
        Image(header, b"body").to_bytes()


@given(st.lists(st.builds(Element, st.sampled_from([Tag(0), Tag(4), Tag(0xF000)]), st.binary(max_size=20))))
def test_sub_elements_are_read_as_they_were_written(elements):
    assert parse_elements(build_elements(elements)) == elements


@pytest.mark.parametrize("cut", range(1, 16))
def test_a_sub_element_cut_short_is_refused(cut):
    body = build_elements([Element(Tag.UPGRADE_IMAGE, bytes(10))])
    with pytest.raises(ImageFormatError, match="sub-elements"):
        parse_elements(body[:-cut])


def test_a_signature_of_the_wrong_size_is_refused_and_never_written():
    with pytest.raises(ImageFormatError, match="50 octets"):
        parse_elements(bytes.fromhex("0100 02000000 aabb"))
    with pytest.raises(OurError, match="50 octets"):
        build_elements([Element(Tag.SIGNATURE_SUITE_1, b"short")])


def test_a_ppmid_file_is_the_manufacturer_image_and_no_more():
    image = GbcsImage.read(PPMID_FILE, layout_for("PPMID"))
    assert image.manufacturer_image == PPMID_FILE[60:]
    assert image.layout is Layout.MANUFACTURER_IMAGE
    assert image.manufacturer_image_hash == hashlib.sha256(PPMID_FILE[60:]).digest()


def test_an_hcalcs_file_ends_with_the_supplier_s_authorisation():
    image = GbcsImage.read(HCALCS_FILE, layout_for("HCALCS"))
    assert image.manufacturer_image == HCALCS_FILE[60:-66]
    assert HCALCS_FILE[-66:-64] == b"\x00\x40"
    assert image.authorisation.signature == HCALCS_FILE[-64:]
    assert image.to_bytes() == HCALCS_FILE


def test_the_hash_is_of_the_manufacturer_image_alone():
    image = GbcsImage.read(HCALCS_FILE, Layout.AUTHORISED)
    assert image.manufacturer_image_hash == manufacturer_image_hash(HCALCS_FILE[60:-66])


def test_the_supplier_s_key_verifies_the_authorisation_and_no_other_key_does():
    image = GbcsImage.read(HCALCS_FILE, Layout.AUTHORISED)
    supplier = load_pem_public_key((IMAGES / "supplier.pem").read_bytes())
    stranger = derive_private_key(77, SECP256R1()).public_key()
    assert image.authorisation.verify(image.manufacturer_image, supplier)
    assert not image.authorisation.verify(image.manufacturer_image, stranger)
    assert not image.authorisation.verify(image.manufacturer_image + b"\x00", supplier)


def test_an_authorisation_comes_out_the_same_every_time():
    key = derive_private_key(1234, SECP256R1())
    assert authorise(b"image", key) == authorise(b"image", key)


def test_an_image_that_nobody_signed_satisfies_no_key():
    unsigned = authorise(b"image", None)
    assert not unsigned.is_signed
    assert not unsigned.verify(b"image", derive_private_key(1, SECP256R1()).public_key())


def test_a_key_on_another_curve_signs_nothing():
    with pytest.raises(OurError, match="P-256"):
        authorise(b"image", derive_private_key(1, SECP384R1()))


def test_a_spoilt_signature_is_found_when_the_key_is_at_hand():
    supplier = load_pem_public_key((IMAGES / "supplier.pem").read_bytes())
    spoilt = (IMAGES / "spoilt-signature.ota").read_bytes()
    assert check_gbcs(HCALCS_FILE, Layout.AUTHORISED, supplier) == []
    assert [found.field for found in check_gbcs(spoilt, Layout.AUTHORISED, supplier)] == ["signature"]
    assert check_gbcs(spoilt, Layout.AUTHORISED) == []


def test_a_trailer_whose_length_octet_is_wrong_is_refused():
    spoilt = (IMAGES / "spoilt-signature-length.ota").read_bytes()
    assert [str(found) for found in check_gbcs(spoilt, Layout.AUTHORISED)] == [
        "signature: its length octet is 0x41 instead of 0x40"
    ]


def test_a_file_too_short_for_an_authorisation_is_refused():
    header = Header(manufacturer=1, image_type=2, file_version=3, total_size=0)
    data = Image.build(header, bytes(65)).to_bytes()
    assert [found.field for found in check_gbcs(data, Layout.AUTHORISED)] == ["signature"]


def test_an_empty_manufacturer_image_and_an_unknown_flag_are_found():
    header = Header(manufacturer=1, image_type=2, file_version=3, total_size=0)
    data = GbcsImage.build(header, b"", authorise(b"", None, force_replace=7)).to_bytes()
    assert [found.field for found in check_gbcs(data, Layout.AUTHORISED)] == [
        "manufacturer_image",
        "force_replace",
    ]


def test_a_key_for_a_file_without_authorisation_is_a_finding():
    supplier = load_pem_public_key((IMAGES / "supplier.pem").read_bytes())
    assert [found.field for found in check_gbcs(PPMID_FILE, Layout.MANUFACTURER_IMAGE, supplier)] == [
        "signature"
    ]


def test_the_form_of_a_file_is_guessed_from_where_the_authorisation_stands():
    assert likely_layout(PPMID_FILE) is Layout.MANUFACTURER_IMAGE
    assert likely_layout(HCALCS_FILE) is Layout.AUTHORISED


def test_there_are_no_files_for_an_ihd():
    with pytest.raises(OurError, match="IHD"):
        layout_for("IHD")


def test_the_fixtures_come_out_of_their_script_as_they_are():
    everything = runpy.run_path(str(FIXTURES / "images.py"))["everything"]
    assert {file.name: file.read_bytes() for file in IMAGES.iterdir()} == everything()
