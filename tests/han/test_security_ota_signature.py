"""Signed upgrade files of both suites: the published ones, and everything that makes a device refuse one."""

import hashlib
import json
from dataclasses import replace

import pytest
from certified import HUB, METER, OTHER, VECTORS, authority, credentials, published

from han.security import ecdsa
from han.security.binary_curve import Point
from han.security.certificate import KEY_AGREEMENT, SIGNING, Root, parse_certificate
from han.security.errors import CertificateError, SignatureError
from han.security.mmo import mmo_hash
from han.security.ota_signature import sign, signed_digest, verify
from han.security.suite import Suite
from ota.elements import Element, Tag, build_elements, parse_elements
from ota.eui64 import Eui64
from ota.image import Header, Image, ImageFormatError
from ota.status import Status

both_suites = pytest.mark.parametrize("suite", Suite, ids=str)
FILES = json.loads((VECTORS / "ota_signed_files.json").read_text())["vectors"]
ROOTS = {suite: authority(suite).root for suite in Suite}
SIGNATURE = {Suite.ONE: Tag.SIGNATURE_SUITE_1, Suite.TWO: Tag.SIGNATURE_SUITE_2}
CERTIFICATE = {Suite.ONE: Tag.CERTIFICATE_SUITE_1, Suite.TWO: Tag.CERTIFICATE_SUITE_2}


def octets_of(vector):
    if "file" in vector:
        return bytes.fromhex(vector["file"])
    suite = Suite(vector["suite"])
    signature = bytes.fromhex(vector["signer_little_endian"] + vector["signature_r_s"])
    return bytes.fromhex(vector["header"]) + build_elements(
        (
            Element(Tag.UPGRADE_IMAGE, bytes((7 * at + 3) % 256 for at in range(10_000))),
            Element(CERTIFICATE[suite], bytes.fromhex(vector["certificate"])),
            Element(SIGNATURE[suite], signature),
        )
    )


def plain(*elements):
    header = Header(manufacturer=0x1002, image_type=0x5678, file_version=5, total_size=0)
    body = build_elements(elements or (Element(Tag.UPGRADE_IMAGE, bytes(range(200))),))
    return Image.build(header, body).to_bytes()


def signed(suite, signer=HUB):
    return sign(plain(), credentials(suite, signer))


def rebuilt(file, elements):
    return Image.build(Image.read(file).header, build_elements(elements)).to_bytes()


@pytest.mark.parametrize("vector", FILES, ids=lambda vector: vector["name"])
def test_a_published_file_has_the_published_digest_and_verdict(vector):
    suite, file = Suite(vector["suite"]), octets_of(vector)
    issuer = Image.read(file) and _certificate(file, suite).issuer
    roots = {suite: Root.parse(suite, issuer, bytes.fromhex(vector["ca_public_key"]))}

    assert signed_digest(file, suite).hex() == vector["expected_digest"]
    if vector["expected_valid"]:
        found = verify(file, roots)
        assert found.suite is suite
        assert found.signer == found.certificate.subject
        assert found.signer.hex == vector.get("signer", found.signer.hex)
        assert hashlib.sha256(file).hexdigest() == vector.get("file_sha256", hashlib.sha256(file).hexdigest())
    else:
        with pytest.raises(SignatureError, match="does not match") as refusal:
            verify(file, roots)
        assert refusal.value.status is Status.INVALID_IMAGE


def _certificate(file, suite):
    elements = parse_elements(Image.read(file).body)
    return parse_certificate(suite, next(e.data for e in elements if e.tag is CERTIFICATE[suite]))


@both_suites
def test_our_own_signature_of_a_published_file_stands_where_the_published_one_stands(suite):
    vector = next(v for v in FILES if v["name"] == f"self-generated-suite{suite:d}")
    theirs = octets_of(vector)
    ours = sign(
        rebuilt(theirs, parse_elements(Image.read(theirs).body)[:1]), published(suite).responder.credentials
    )

    assert len(ours) == len(theirs) == vector["total_size"]
    assert ours[: vector["signed_length"]] == theirs[: vector["signed_length"]]
    assert verify(ours, {suite: published(suite).responder.root}).signer == Eui64.from_wire(
        bytes.fromhex(vector["signer_little_endian"])
    )


@both_suites
def test_what_is_signed_verifies_and_is_the_same_every_time(suite):
    file = signed(suite)

    found = verify(file, ROOTS, signers=[HUB])

    assert (found.suite, found.signer) == (suite, HUB)
    assert found.certificate == credentials(suite, HUB).certificate
    assert file == signed(suite)
    assert Image.read(file).header.total_size == len(file)


@both_suites
def test_a_changed_octet_anywhere_is_noticed(suite):
    file = signed(suite)
    for at in range(0, len(file), 47):
        changed = bytearray(file)
        changed[at] ^= 0x10
        with pytest.raises((SignatureError, ImageFormatError)):
            verify(bytes(changed), ROOTS)


def test_a_file_without_a_signature_or_with_two_is_refused():
    with pytest.raises(SignatureError, match="not signed"):
        verify(plain(), ROOTS)
    one, two = (parse_elements(Image.read(signed(suite)).body) for suite in Suite)
    with pytest.raises(SignatureError, match="two signatures"):
        verify(rebuilt(plain(), one + two[1:]), ROOTS)
    with pytest.raises(SignatureError, match="two signatures"):
        verify(rebuilt(plain(), [*one, one[-1]]), ROOTS)


@both_suites
def test_octets_behind_the_signature_are_refused_although_it_matches(suite):
    file = signed(suite)
    elements = parse_elements(Image.read(file).body)
    with pytest.raises(SignatureError, match="behind the signature"):
        verify(rebuilt(file, [*elements, Element(Tag.PICTURE, b"more")]), ROOTS)


@both_suites
def test_only_those_who_may_sign_are_believed(suite):
    assert verify(signed(suite, METER), ROOTS, signers=[HUB, METER]).signer == METER
    with pytest.raises(SignatureError, match=f"{METER} is none"):
        verify(signed(suite, METER), ROOTS, signers=[HUB])
    with pytest.raises(SignatureError, match="none"):
        verify(signed(suite, METER), ROOTS, signers=[])


@both_suites
def test_a_signature_needs_its_signers_own_certificate_of_the_same_suite(suite):
    image, certificate, signature = parse_elements(Image.read(signed(suite)).body)
    other = parse_elements(Image.read(signed(Suite(3 - suite))).body)[1]
    foreign = Element(certificate.tag, credentials(suite, METER).certificate.to_bytes())
    stranger = Element(certificate.tag, credentials(suite, HUB, issuer=OTHER).certificate.to_bytes())
    for elements, why in (
        ([image, signature], "0 certificates"),
        ([image, other, signature], "0 certificates"),
        ([image, certificate, certificate, signature], "2 certificates"),
        ([image, foreign, signature], f"{HUB} signed with the certificate of {METER}"),
        ([image, stranger, signature], f"by {OTHER}"),
    ):
        with pytest.raises(SignatureError, match=why):
            verify(rebuilt(plain(), elements), ROOTS)


@both_suites
def test_an_impostors_authority_of_the_same_name_convinces_nobody(suite):
    file = sign(plain(), credentials(suite, HUB, seed=1))
    with pytest.raises(SignatureError, match="does not match"):
        verify(file, ROOTS)


@both_suites
def test_a_device_that_knows_no_authority_of_the_suite_aborts_instead_of_blaming_the_image(suite):
    with pytest.raises(SignatureError, match="no authority") as refusal:
        verify(signed(suite), {Suite(3 - suite): ROOTS[Suite(3 - suite)]})

    assert refusal.value.status is Status.ABORT


def test_a_certificate_that_is_not_for_signing_signs_nothing():
    signer = credentials(Suite.TWO, HUB, key_usage=KEY_AGREEMENT)
    with pytest.raises(CertificateError, match="not for signing"):
        sign(plain(), signer)
    able = credentials(Suite.TWO, HUB, key_usage=SIGNING)
    file = sign(plain(), able)
    usage = file.index(able.certificate.to_bytes()) + 36
    with pytest.raises(SignatureError, match="not for signing"):
        verify(file[:usage] + b"\x08" + file[usage + 1 :], ROOTS)


def test_a_signed_file_is_not_signed_again_and_a_torn_one_not_at_all():
    with pytest.raises(SignatureError, match="already"):
        sign(signed(Suite.ONE), credentials(Suite.TWO, HUB))
    with pytest.raises(ImageFormatError):
        sign(plain()[:-1], credentials(Suite.TWO, HUB))
    with pytest.raises(ImageFormatError):
        sign(b"", credentials(Suite.TWO, HUB))
    with pytest.raises(ImageFormatError):
        verify(signed(Suite.TWO)[:-1], ROOTS)


@both_suites
def test_no_trivial_signature_is_believed(suite):
    curve, keys, digest = suite.curve, credentials(suite, HUB).keys, mmo_hash(b"image")
    good = ecdsa.sign(keys, digest)
    size = curve.coordinate_size
    order = curve.order.to_bytes(size, "big")
    ecdsa.check(curve, keys.public, digest, good)
    swapped = good[size:] + good[:size]
    for bad in (
        bytes(2 * size),
        bytes(size) + good[size:],
        good[:size] + bytes(size),
        order + good[size:],
        good[:size] + order,
        b"\xff" * 2 * size,
        good[:-1],
        good + b"\x00",
        b"",
        swapped,
    ):
        with pytest.raises(SignatureError):
            ecdsa.check(curve, keys.public, digest, bad)
    with pytest.raises(SignatureError, match="does not match"):
        ecdsa.check(curve, keys.public, mmo_hash(b"other"), good)
    with pytest.raises(SignatureError, match="signer's key"):
        ecdsa.check(curve, Point(0, 1), digest, good)


@both_suites
def test_different_digests_and_keys_never_share_a_nonce(suite):
    size = suite.curve.coordinate_size
    seen = {
        ecdsa.sign(credentials(suite, who).keys, mmo_hash(what))[:size]
        for who in (HUB, METER)
        for what in (b"one", b"two")
    }

    assert len(seen) == 4


@both_suites
def test_the_header_that_a_signature_covers_cannot_be_changed_for_another_image_type(suite):
    image = Image.read(signed(suite))
    changed = Image(replace(image.header, image_type=0x5670), image.body).to_bytes()
    with pytest.raises(SignatureError, match="does not match"):
        verify(changed, ROOTS)
