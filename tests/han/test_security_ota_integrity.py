"""The image integrity code: added, found wrong, kept under a signature."""

from __future__ import annotations

import random

import pytest

from han.security.errors import SignatureError
from han.security.lab_authority import lab_authority, lab_credentials
from han.security.mmo import mmo_hash
from han.security.ota_integrity import check_integrity_code, with_integrity_code
from han.security.ota_signature import sign, verify
from han.security.suite import Suite
from ota.elements import Element, Tag, build_elements, parse_elements
from ota.eui64 import Eui64
from ota.image import Header, Image, ImageFormatError

HEADER = Header(manufacturer=0x121D, image_type=0x0084, file_version=2, total_size=0)
PLAIN = Image.build(
    HEADER, build_elements([Element(Tag.UPGRADE_IMAGE, random.Random(3).randbytes(700))])
).to_bytes()
CODED = with_integrity_code(PLAIN)
SIGNER = Eui64.parse("00-DB-12-34-56-78-90-A2")


def test_the_code_is_the_last_element_and_the_digest_of_all_before_it():
    elements = parse_elements(Image.read(CODED).body)
    assert [each.tag for each in elements] == [Tag.UPGRADE_IMAGE, Tag.INTEGRITY_CODE]
    assert elements[-1].data == mmo_hash(CODED[:-16]) == CODED[-16:]
    assert check_integrity_code(CODED) == []


def test_a_file_without_a_code_is_not_blamed_for_it():
    assert check_integrity_code(PLAIN) == []


@pytest.mark.parametrize("at", [12, 14, 20, 62, 400, -1])
def test_a_changed_octet_is_noticed(at):
    spoilt = bytearray(CODED)
    spoilt[at] ^= 1
    assert [each.field for each in check_integrity_code(bytes(spoilt))] == ["integrity code"]


@pytest.mark.parametrize("suite", Suite)
def test_a_code_and_a_signature_hold_together_and_a_changed_octet_breaks_both(suite):
    both = sign(CODED, lab_credentials(SIGNER, suite))
    roots = {suite: lab_authority(suite).root}
    assert check_integrity_code(both) == []
    assert verify(both, roots).signer == SIGNER
    spoilt = bytearray(both)
    spoilt[300] ^= 1
    assert check_integrity_code(bytes(spoilt))
    with pytest.raises(SignatureError):
        verify(bytes(spoilt), roots)


def test_a_second_code_and_one_behind_a_signature_are_refused():
    with pytest.raises(SignatureError, match="already"):
        with_integrity_code(CODED)
    with pytest.raises(SignatureError, match="signed"):
        with_integrity_code(sign(PLAIN, lab_credentials(SIGNER)))


def test_a_file_without_sub_elements_gets_no_code():
    with pytest.raises(ImageFormatError):
        with_integrity_code(Image.build(HEADER, b"GB body").to_bytes())
