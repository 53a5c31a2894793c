"""Keys as text: what other people's files say is read, ours are read back, and every fault is named."""

import json
import random
from contextlib import suppress
from dataclasses import replace

import pytest
from certified import HUB, ISSUER, METER, VECTORS, authority, credentials, draft, published
from hypothesis import given, settings
from hypothesis import strategies as st

from han.security.errors import CertificateError, KeyTextError, PointError, SecurityError
from han.security.key_pair import KeyPair
from han.security.key_text import (
    KeyText,
    Label,
    Request,
    labelled,
    read_authority,
    read_credentials,
    read_link_key,
    read_secret,
    write_answer,
    write_authority,
    write_credentials,
    write_link_key,
    write_secret,
)
from han.security.suite import Suite

both_suites = pytest.mark.parametrize("suite", list(Suite), ids=str)


def vector(suite, role="responder"):
    text = json.loads((VECTORS / f"cbke_suite{suite:d}.json").read_text())
    return {"ca": text["ca_public_key"], **text[role]}


def as_certicom_writes(suite):
    told = vector(suite)
    return (
        f"CA Pub Key:\n{told['ca']}\nDevice Implicit Cert:\n{told['certificate']}\n"
        f"Private Key Reconstruction Data:\n{told['private_key']}\nDevice Public Key:\n{told['public_key']}\n"
    )


def as_tool_writes(suite):
    told, curve = vector(suite), "" if suite is Suite.ONE else " (283k1)"
    return (
        '# tokens of a device\r\nMFG_STRING : "meter"\r\n\r\n'
        f"Device Implicit Cert{curve} : {told['certificate'].upper()}\r\n"
        f"CA Public Key{curve}        : {told['ca'].upper()}\r\n"
        f"Device Private Key{curve}   : {told['private_key'].upper()}\r\n"
    )


def spoilt(text, old, new):
    assert old in text
    return text.replace(old, new)


@both_suites
@pytest.mark.parametrize("form", [as_certicom_writes, as_tool_writes])
def test_the_published_devices_are_read_as_others_write_them(suite, form):
    (found,) = read_credentials(form(suite))

    assert found == published(suite).responder.credentials


def test_one_file_may_hold_both_suites():
    found = read_credentials(as_certicom_writes(Suite.ONE) + as_tool_writes(Suite.TWO))

    assert [each.suite for each in found] == [Suite.ONE, Suite.TWO]


@both_suites
def test_hex_may_be_broken_over_lines_and_parted_by_colons(suite):
    told = vector(suite)
    pairs = [told["certificate"][at : at + 2] for at in range(0, len(told["certificate"]), 2)]
    wrapped = "\n".join((":".join(pairs[:20]), "  " + " ".join(pairs[20:])))

    (found,) = read_credentials(spoilt(as_certicom_writes(suite), told["certificate"], wrapped))

    assert found.certificate == published(suite).responder.certificate


@both_suites
def test_what_is_written_is_read_back(suite):
    certified, dice = credentials(suite, HUB), random.Random(5)
    keys = KeyPair.draw(suite.curve, dice)
    request = Request(suite, METER, keys.public)

    assert read_credentials(write_credentials(certified)) == (certified,)
    assert read_authority(write_authority(suite, ISSUER, keys), suite).root.public == keys.public
    assert Request.read(request.write()) == (request,)
    assert read_secret(write_secret(suite, METER, keys), suite) == keys
    assert read_link_key(write_link_key(METER, bytes(range(16)))) == bytes(range(16))


@both_suites
def test_an_answer_is_read_where_the_secret_of_its_request_is_known(suite):
    dice, ca = random.Random(11), authority(suite)
    secret = KeyPair.draw(suite.curve, dice)
    certificate, contribution = ca.issue(draft(suite, METER), secret.public, dice)
    answer = write_answer(certificate, contribution, ca.root)

    (found,) = read_credentials(answer, lambda asked: secret if asked == certificate else None)

    assert found.certificate == certificate
    assert found.keys.private != contribution
    with pytest.raises(CertificateError, match="does not belong"):
        read_credentials(answer)
    with pytest.raises(CertificateError, match="does not belong"):
        read_credentials(answer, lambda _: KeyPair.draw(suite.curve, dice))


@both_suites
@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("CA Pub Key", "no 'CA Public Key of suite"),
        ("Device Implicit Cert", "no 'Device Implicit Cert'"),
        ("Private Key Reconstruction Data", "no 'Device Private Key of suite"),
    ],
)
def test_what_is_missing_is_named_with_its_size_and_the_lines_that_said_nothing(suite, label, why):
    with pytest.raises(KeyTextError, match=why) as refusal:
        read_credentials(spoilt(as_certicom_writes(suite), label, "Colour"))

    assert "octets in hex" in str(refusal.value)
    assert "lines with unknown labels" in str(refusal.value)


@both_suites
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda told, text: spoilt(text, told["private_key"], told["private_key"][:-1]), "pairs of hex"),
        (lambda told, text: spoilt(text, told["private_key"], told["private_key"][:-2]), "line 5.*not"),
        (lambda told, text: spoilt(text, told["private_key"], "key: of the door"), "line 5"),
        (
            lambda told, text: spoilt(text, told["private_key"], told["private_key"][:-1] + "g"),
            "line 6: neither",
        ),
        (
            lambda told, text: spoilt(text, told["certificate"], told["certificate"] + "00"),
            "line 3.*suite 1.*suite 2",
        ),
        (lambda told, text: spoilt(text, told["ca"], told["ca"] + "00"), "line 1.*not"),
        (lambda told, text: text + text, "twice"),
        (lambda told, text: text.partition("\n")[2], "line 1: hex without a label"),
    ],
)
def test_a_line_that_cannot_be_is_named_and_never_repeated(suite, change, why):
    told = vector(suite)
    with pytest.raises(KeyTextError, match=why) as refusal:
        read_credentials(change(told, as_certicom_writes(suite)))

    assert told["private_key"][:8] not in str(refusal.value)


@both_suites
@pytest.mark.parametrize(
    ("name", "new", "error", "why"),
    [
        ("ca", lambda told: "04" + told["ca"][2:], PointError, "02 or 03"),
        ("ca", lambda told: "02" + "00" * (len(told["ca"]) // 2 - 1), PointError, "order two"),
        ("ca", lambda told: "02" + "ff" * (len(told["ca"]) // 2 - 1), PointError, "beyond"),
        ("ca", lambda told: told["public_key"], CertificateError, "do not belong together"),
        ("public_key", lambda told: told["ephemeral_public_key"], CertificateError, "do not belong together"),
        ("private_key", lambda told: told["private_key"][:-2] + "00", CertificateError, "does not belong"),
        ("private_key", lambda told: "00" * (len(told["private_key"]) // 2), PointError, "private key"),
    ],
)
def test_things_that_do_not_belong_together_are_told_apart(suite, name, new, error, why):
    told = vector(suite)
    with pytest.raises(error, match=why):
        read_credentials(spoilt(as_certicom_writes(suite), told[name], new(told)))


@both_suites
def test_an_authority_whose_two_keys_differ_is_refused(suite):
    one, other = (KeyPair.draw(suite.curve, random.Random(seed)) for seed in (1, 2))
    text = write_authority(suite, ISSUER, one)
    public = [suite.curve.encode(keys.public).hex() for keys in (one, other)]

    with pytest.raises(CertificateError, match="does not fit its public key"):
        read_authority(spoilt(text, *public), suite)


@both_suites
def test_a_request_with_a_point_off_the_curve_or_of_a_small_order_is_refused(suite):
    good = suite.curve.encode(suite.curve.generator).hex()
    text = Request(suite, HUB, suite.curve.generator).write()

    for bad in (
        "02" + "00" * (suite.curve.point_size - 1),
        "05" + good[2:],
        "02" + "ff" * (suite.curve.point_size - 1),
    ):
        with pytest.raises(PointError):
            Request.read(spoilt(text, good, bad))


def test_a_link_key_may_come_alone_or_with_its_label():
    key = bytes(range(16))
    for text in (
        key.hex(),
        f" {key.hex(':')}\n",
        f"Link Key: {key.hex()}\n",
        f"# a comment\nlink key: {key.hex(' ')}",
    ):
        assert read_link_key(text) == key
    for bad in (
        "",
        key.hex()[:-2],
        key.hex() + "00",
        "Link Key:",
        "ZigBeeAlliance09",
        "Device Private Key: 00",
    ):
        with pytest.raises(KeyTextError):
            read_link_key(bad)


@both_suites
@pytest.mark.parametrize("as_hex", [False, True])
def test_three_files_without_labels_say_the_same_as_one_with_them(suite, as_hex):
    told = vector(suite)
    contents = {
        Label.CA_PUBLIC: told["ca"],
        Label.CERTIFICATE: told["certificate"],
        Label.PRIVATE: told["private_key"],
    }
    if as_hex:
        files = {label: f"{text}\n".encode() for label, text in contents.items()}
    else:
        files = {label: bytes.fromhex(text) for label, text in contents.items()}

    assert read_credentials(labelled(files)) == (published(suite).responder.credentials,)
    for label in files:
        with pytest.raises(SecurityError, match=str(label)):
            read_credentials(labelled({**files, label: b"\x80 is no hex"}))


def test_no_form_of_a_text_shows_a_key():
    told = vector(Suite.TWO)
    assert told["private_key"][:8] not in repr(KeyText(as_certicom_writes(Suite.TWO)))


@settings(max_examples=200)
@given(text=st.text(alphabet="CA Pub Key:\n0123456789abcdefDeviceImplicitCert#-", max_size=300))
def test_any_text_is_read_or_refused_in_our_own_words(text):
    for read in (read_credentials, Request.read, read_link_key, lambda text: read_authority(text, Suite.ONE)):
        with suppress(SecurityError):
            read(text)


@both_suites
def test_an_answer_for_another_device_does_not_fit_the_secret(suite):
    dice, ca = random.Random(3), authority(suite)
    secret = KeyPair.draw(suite.curve, dice)
    certificate, contribution = ca.issue(draft(suite, METER), secret.public, dice)
    renamed = replace(certificate, subject=HUB)

    with pytest.raises(CertificateError, match="does not belong"):
        read_credentials(write_answer(renamed, contribution, ca.root), lambda _: secret)
