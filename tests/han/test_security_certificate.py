"""Implicit certificates, the shared secret and the keys: every published value, and what must be refused."""

import random
from dataclasses import replace

import pytest
from certified import HUB, ISSUER, METER, OTHER, authority, credentials, draft, published
from hypothesis import given, settings
from hypothesis import strategies as st

from han.security.binary_curve import Point
from han.security.cbke import Party, SecretKeys, same_mac
from han.security.certificate import (
    Authority,
    Certificate48,
    Certificate74,
    Credentials,
    Root,
    accept,
    parse_certificate,
    public_key,
)
from han.security.ecmqv import shared_secret
from han.security.errors import CertificateError, PointError
from han.security.key_pair import KeyPair
from han.security.suite import Suite
from ota.eui64 import Eui64

both_suites = pytest.mark.parametrize("suite", Suite, ids=str)
both_sides = pytest.mark.parametrize("side", ["initiator", "responder"])
few = settings(max_examples=4)
names = st.integers(0, 2**64 - 1).map(Eui64)


@both_suites
@both_sides
def test_a_published_certificate_gives_the_published_name_and_public_key(suite, side):
    party = getattr(published(suite), side)

    assert party.certificate.to_bytes() == party.octets["certificate"]
    assert party.certificate.subject.to_bytes(8, "big") == party.octets["id"]
    assert suite.curve.encode(public_key(party.certificate, party.root)) == party.octets["public_key"]
    assert party.certificate.agrees_keys


@both_suites
@both_sides
def test_a_published_private_key_gives_the_published_public_one(suite, side):
    party = getattr(published(suite), side)

    assert suite.curve.encode(party.credentials.keys.public) == party.octets["public_key"]
    assert suite.curve.encode(party.ephemeral.public) == party.octets["ephemeral_public_key"]


@both_suites
@both_sides
def test_either_side_computes_the_published_secret(suite, side):
    example = published(suite)
    us = getattr(example, side)
    them = example.responder if side == "initiator" else example.initiator
    peer = public_key(them.certificate, us.root)

    assert shared_secret(us.credentials.keys, us.ephemeral, peer, them.ephemeral.public) == example.z


@both_suites
def test_the_published_secret_gives_the_published_keys_and_macs(suite):
    example = published(suite)
    keys = SecretKeys.derive(example.z)
    initiator, responder = (
        Party(side.certificate.subject, side.octets["ephemeral_public_key"])
        for side in (example.initiator, example.responder)
    )

    assert keys.mac_key + keys.link_key == example.kdf_output == example.mac_key + example.key_data
    assert keys.initiator_mac(initiator, responder) == example.mac_u
    assert keys.responder_mac(initiator, responder) == example.mac_v
    assert same_mac(example.mac_u, example.mac_u)
    assert not same_mac(example.mac_u, example.mac_v)


@both_suites
def test_a_proof_of_one_side_is_none_of_the_other_and_swapped_names_or_keys_make_another(suite):
    example = published(suite)
    keys = SecretKeys.derive(example.z)
    u, v = (
        Party(side.certificate.subject, side.octets["ephemeral_public_key"])
        for side in (example.initiator, example.responder)
    )
    swapped = Party(u.name, v.ephemeral), Party(v.name, u.ephemeral)
    proofs = [
        proof
        for parties in ((u, v), (v, u), swapped, swapped[::-1])
        for proof in (keys.initiator_mac(*parties), keys.responder_mac(*parties))
    ]

    assert len(set(proofs)) == len(proofs)


@both_suites
def test_static_and_ephemeral_keys_that_change_places_make_another_secret(suite):
    example = published(suite)
    us, them = example.initiator, example.responder
    keys, peer = us.credentials.keys, them.credentials.keys.public
    for own, own_ephemeral, other, other_ephemeral in (
        (us.ephemeral, keys, peer, them.ephemeral.public),
        (keys, us.ephemeral, them.ephemeral.public, peer),
        (us.ephemeral, keys, them.ephemeral.public, peer),
    ):
        assert shared_secret(own, own_ephemeral, other, other_ephemeral) != example.z


def test_no_key_shows_when_it_is_printed():
    for suite in Suite:
        example = published(suite)
        shown = repr(SecretKeys.derive(example.z)) + repr(example.initiator.credentials)
        for secret in (example.mac_key, example.key_data, example.initiator.octets["private_key"]):
            assert secret.hex().lstrip("0") not in shown
            assert repr(secret) not in shown
        assert str(example.initiator.credentials.keys.private) not in shown


@given(subject=names, issuer=names, point=st.binary(min_size=22, max_size=22), data=st.data())
def test_a_certificate_of_suite_1_survives_its_octets(subject, issuer, point, data):
    certificate = Certificate48(
        point=point,
        subject=subject,
        issuer=issuer,
        profile=data.draw(st.integers(0, 0xFFFF)),
        manufacturer=data.draw(st.integers(0, 0xFFFF)),
        manufacturer_data=data.draw(st.binary(min_size=6, max_size=6)),
    )

    assert len(certificate.to_bytes()) == 48
    assert Certificate48.parse(certificate.to_bytes()) == certificate


@given(subject=names, issuer=names, point=st.binary(min_size=37, max_size=37), data=st.data())
def test_a_certificate_of_suite_2_survives_its_octets(subject, issuer, point, data):
    certificate = Certificate74(
        point=point,
        subject=subject,
        issuer=issuer,
        serial=data.draw(st.integers(0, 2**64 - 1)),
        valid_from=data.draw(st.integers(0, 2**40 - 1)),
        valid_for=data.draw(st.integers(0, 2**32 - 1)),
        key_usage=data.draw(st.integers(0, 255)),
    )

    assert len(certificate.to_bytes()) == 74
    assert Certificate74.parse(certificate.to_bytes()) == certificate
    assert certificate.agrees_keys == bool(certificate.key_usage & 0x08)


@both_suites
@pytest.mark.parametrize("size", [0, 1, 47, 49, 73, 75])
def test_octets_of_another_length_are_no_certificate(suite, size):
    with pytest.raises(CertificateError, match=f"{suite.certificate_size} octets, not {size}"):
        parse_certificate(suite, bytes(size))


def test_a_certificate_of_one_suite_is_none_of_the_other():
    for suite, other in ((Suite.ONE, Suite.TWO), (Suite.TWO, Suite.ONE)):
        with pytest.raises(CertificateError):
            parse_certificate(suite, credentials(other, HUB).certificate.to_bytes())
        with pytest.raises(CertificateError, match="under an authority of"):
            public_key(credentials(other, HUB).certificate, authority(suite).root)


@pytest.mark.parametrize(("at", "why"), [(0, "type 1"), (9, "curve 0x0c"), (10, "hash 0x09")])
def test_a_certificate_for_another_encoding_curve_or_hash_is_refused(at, why):
    octets = bytearray(credentials(Suite.TWO, HUB).certificate.to_bytes())
    octets[at] ^= 1
    with pytest.raises(CertificateError, match=why):
        Certificate74.parse(bytes(octets))


def test_a_field_that_does_not_fit_is_named():
    good = credentials(Suite.TWO, HUB).certificate
    for changed in ({"serial": 1 << 64}, {"valid_from": -1}, {"valid_for": 1 << 32}, {"key_usage": 256}):
        with pytest.raises(CertificateError, match=next(iter(changed))):
            replace(good, **changed).to_bytes()
    with pytest.raises(CertificateError, match="37 octets"):
        replace(good, point=bytes(22)).to_bytes()
    with pytest.raises(CertificateError, match="6 octets"):
        replace(credentials(Suite.ONE, HUB).certificate, manufacturer_data=bytes(5)).to_bytes()


@both_suites
@few
@given(subject=names, seed=st.integers(0, 1000))
def test_whatever_an_authority_issues_names_its_subject_and_fits_its_key(suite, subject, seed):
    ca = authority(suite)
    certified = ca.enrol(draft(suite, subject), random.Random(seed))

    assert certified.certificate.subject == subject
    assert certified.certificate.issuer == ISSUER
    assert public_key(certified.certificate, ca.root) == certified.keys.public
    assert certified == ca.enrol(draft(suite, subject), random.Random(seed))


@both_suites
def test_a_requester_keeps_its_secret_to_itself_and_still_gets_a_key(suite):
    ca, dice = authority(suite), random.Random(3)
    secret = KeyPair.draw(suite.curve, dice)
    certificate, contribution = ca.issue(draft(suite, METER), secret.public, dice)

    certified = accept(certificate, contribution, secret, ca.root)

    assert certified.keys.public == public_key(certificate, ca.root)
    with pytest.raises(CertificateError, match="does not belong"):
        accept(certificate, contribution, KeyPair.draw(suite.curve, dice), ca.root)
    with pytest.raises(CertificateError, match="does not belong"):
        accept(certificate, contribution + 1, secret, ca.root)


@both_suites
def test_one_changed_bit_in_a_certificate_makes_another_key_or_none(suite):
    certified = credentials(suite, HUB)
    octets = certified.certificate.to_bytes()
    for at in range(0, len(octets) * 8, 37):
        changed = bytearray(octets)
        changed[at // 8] ^= 1 << at % 8
        try:
            key = public_key(parse_certificate(suite, bytes(changed)), certified.root)
        except CertificateError:
            continue
        assert key != certified.keys.public


@both_suites
def test_a_certificate_by_another_authority_is_refused(suite):
    stranger = credentials(suite, HUB, issuer=OTHER)
    with pytest.raises(CertificateError, match=f"by {OTHER}, not by {ISSUER}"):
        public_key(stranger.certificate, authority(suite).root)
    impostor = credentials(suite, HUB, seed=1)
    assert public_key(impostor.certificate, authority(suite).root) != impostor.keys.public


@both_suites
def test_a_private_key_and_a_certificate_of_different_devices_do_not_go_together(suite):
    hub, meter = credentials(suite, HUB), credentials(suite, METER)
    with pytest.raises(CertificateError, match="does not belong") as refusal:
        Credentials.check(hub.certificate, meter.keys.private, hub.root)
    assert str(meter.keys.private) not in str(refusal.value)


@both_suites
def test_a_request_with_a_bad_point_gets_no_certificate(suite):
    for bad in (Point(0, 1), Point(1, 2), suite.curve.add(suite.curve.generator, Point(0, 1))):
        with pytest.raises(PointError):
            authority(suite).issue(draft(suite, HUB), bad, random.Random(0))


def test_suites_are_not_mixed_when_an_authority_is_made_or_asked():
    keys = KeyPair.draw(Suite.ONE.curve, random.Random(0))
    with pytest.raises(CertificateError, match="needs keys of sect283k1"):
        Authority(Suite.TWO, ISSUER, keys)
    with pytest.raises(CertificateError, match="draft of suite 2"):
        authority(Suite.ONE).enrol(draft(Suite.TWO, HUB), random.Random(0))
    with pytest.raises(PointError):
        Root.parse(Suite.TWO, ISSUER, Suite.ONE.curve.encode(keys.public))
    assert str(keys.private) not in repr(Authority(Suite.ONE, ISSUER, keys))


@both_suites
@few
@given(seed=st.integers(0, 10_000))
def test_both_sides_of_any_exchange_get_the_same_secret(suite, seed):
    dice, curve = random.Random(seed), suite.curve
    u, u_ephemeral, v, v_ephemeral = (KeyPair.draw(curve, dice) for _ in range(4))
    secret = shared_secret(u, u_ephemeral, v.public, v_ephemeral.public)

    assert secret == shared_secret(v, v_ephemeral, u.public, u_ephemeral.public)
    assert len(secret) == curve.coordinate_size
    assert secret != shared_secret(u, v_ephemeral, v.public, u_ephemeral.public)


@both_suites
def test_a_secret_with_a_bad_point_is_never_computed(suite):
    curve, hub, meter = suite.curve, credentials(suite, HUB).keys, credentials(suite, METER).keys
    own, theirs = (KeyPair.draw(curve, random.Random(seed)) for seed in (1, 2))
    order_two = Point(0, 1)
    for bad in (order_two, curve.add(theirs.public, order_two), Point(theirs.public.x, 0), Point(0, 0)):
        with pytest.raises(PointError):
            shared_secret(hub, own, meter.public, bad)
        with pytest.raises(PointError):
            shared_secret(hub, own, bad, theirs.public)
    with pytest.raises(PointError, match="our own"):
        shared_secret(hub, own, meter.public, own.public)


@both_suites
def test_an_ephemeral_key_chosen_to_cancel_the_static_one_is_refused(suite):
    curve, hub, meter = suite.curve, credentials(suite, HUB).keys, credentials(suite, METER).keys
    own, ephemeral = (KeyPair.draw(curve, random.Random(seed)) for seed in (1, 2))
    half = 1 << (curve.order.bit_length() + 1) // 2
    bar = ephemeral.public.x % half + half
    cancelling = curve.multiply(-pow(bar, -1, curve.order) % curve.order, ephemeral.public)
    assert meter.public != cancelling
    with pytest.raises(PointError, match="infinity"):
        shared_secret(hub, own, cancelling, ephemeral.public)


def test_a_certificate_is_valid_from_its_first_second_to_its_last_and_suite_one_for_ever():
    period = credentials(Suite.TWO, HUB, valid_from=1000, valid_for=60).certificate
    assert [period.is_valid_at(at) for at in (999.9, 1000, 1060, 1060.1)] == [False, True, True, False]
    assert credentials(Suite.TWO, HUB, valid_from=1000).certificate.is_valid_at(1 << 40)
    assert credentials(Suite.ONE, HUB).certificate.is_valid_at(0)
