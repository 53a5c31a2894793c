"""GBCS envelopes, signatures and MACs: the published vector, and OpenSSL's opinion where it is asked for."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
    derive_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from han.errors import OurError, TheirError
from han.gbcs.envelope import Envelope, MessageKind, Supplementary
from han.gbcs.protection import has_mac_of, is_signed_by, mac_key, signed, with_mac
from ota.eui64 import Eui64

VECTOR = json.loads((Path(__file__).parents[2] / "fixtures" / "vectors" / "gbcs_18_4.json").read_text())
COMMAND = bytes.fromhex(VECTOR["critical_command_ecs04b"])
HUB, ACB, SUPPLIER = (
    Eui64.parse(text)
    for text in ("00-DB-12-34-56-78-90-A2", "90-B3-D5-1F-30-00-00-02", "90-B3-D5-1F-30-01-00-00")
)
ALERT = Envelope(MessageKind.ALERT, 11, HUB, ACB, 0x0128, b"\x05\x00")


def key(number: int):
    return derive_private_key(number, SECP256R1())


def public(hexadecimal: str):
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), b"\x04" + bytes.fromhex(hexadecimal))


ACB_KEY = key(int(VECTOR["acb"]["ka_private"], 16))
DEVICE_KEY = public(VECTOR["device"]["ka_public"])

addresses = st.integers(0, (1 << 64) - 1).map(Eui64)
counters = st.integers(0, (1 << 64) - 1)


@st.composite
def supplementaries(draw):
    party, counter = draw(addresses), draw(st.none() | counters)
    return Supplementary(party, counter, None if counter is None else draw(st.none() | counters))


@st.composite
def envelopes(draw):
    third = draw(st.none() | supplementaries())
    has_all = third is not None and third.originator_counter is not None
    is_finished = draw(st.booleans())
    return Envelope(
        kind=draw(st.sampled_from(MessageKind)),
        counter=draw(counters),
        originator=draw(addresses),
        recipient=draw(addresses),
        code=draw(st.integers(0, 0xFFFF)),
        payload=draw(st.binary(max_size=300)),
        signature=draw(st.none() | st.binary(min_size=64, max_size=64)) if is_finished else None,
        mac=draw(st.none() | st.binary(min_size=12, max_size=12)) if is_finished else None,
        date_time=draw(st.just(b"") | st.binary(min_size=12, max_size=12)),
        supplementary=third,
        certificate=draw(st.binary(max_size=300)) if has_all else b"",
        is_finished=is_finished,
    )


@given(envelopes())
def test_an_envelope_survives_its_octets(message):
    assert Envelope.parse(message.to_bytes()) == message


def test_the_published_command_is_read_and_written_again():
    message = Envelope.parse(COMMAND)
    assert message.code == 0x00B3
    assert message.originator.to_bytes(8, "big").hex().upper() == VECTOR["supplier"]["id"]
    assert message.to_bytes() == COMMAND


def test_the_published_signature_mac_and_shared_key_are_reproduced():
    message = Envelope.parse(COMMAND)
    assert message.signature is not None
    assert message.mac is not None
    assert message.signature.hex().upper() == VECTOR["derived"]["signature"]
    assert is_signed_by(message, public(VECTOR["supplier"]["ds_public"]))
    assert mac_key(message, ACB_KEY, DEVICE_KEY).hex().upper() == VECTOR["derived"]["shared_key"]
    assert with_mac(replace(message, mac=None), ACB_KEY, DEVICE_KEY).to_bytes() == COMMAND
    assert has_mac_of(message, ACB_KEY, DEVICE_KEY)


def test_a_signature_of_ours_is_its_signers_and_the_same_each_time():
    message = signed(ALERT, key(7))
    assert message == signed(ALERT, key(7))
    assert is_signed_by(message, key(7).public_key())
    assert not is_signed_by(message, key(8).public_key())


def test_a_mac_is_the_same_from_either_end():
    message = with_mac(ALERT, key(7), key(8).public_key())
    assert message == with_mac(ALERT, key(8), key(7).public_key())
    assert has_mac_of(message, key(8), key(7).public_key())
    assert not has_mac_of(message, key(8), key(9).public_key())


def test_each_flipped_bit_is_noticed():
    octets = with_mac(signed(ALERT, key(7)), key(7), key(8).public_key()).to_bytes()
    for position in range(8 * len(octets)):
        spoilt = bytearray(octets)
        spoilt[position // 8] ^= 1 << position % 8
        try:
            message = Envelope.parse(bytes(spoilt))
        except TheirError:
            continue
        assert not has_mac_of(message, key(8), key(7).public_key()), position
        inside_mac = position // 8 >= len(octets) - 12
        assert is_signed_by(message, key(7).public_key()) == inside_mac, position


def test_a_message_without_protection_has_none_that_holds():
    assert not is_signed_by(ALERT, key(7).public_key())
    assert not has_mac_of(ALERT, key(7), key(8).public_key())


@pytest.mark.parametrize("cut", range(len(COMMAND)))
def test_a_message_cut_short_anywhere_is_refused(cut):
    with pytest.raises(TheirError):
        Envelope.parse(COMMAND[:cut])


def test_octets_behind_a_message_are_refused():
    for message in (COMMAND, ALERT.to_bytes()):
        with pytest.raises(TheirError):
            Envelope.parse(message + b"\x00")


def test_a_length_in_more_octets_than_it_needs_is_refused():
    octets = ALERT.to_bytes()
    assert octets.endswith(b"\x02\x05\x00\x00")
    with pytest.raises(TheirError, match="encoding"):
        Envelope.parse(octets[:-4] + b"\x81\x02\x05\x00\x00")


def test_mutated_messages_are_read_or_refused_and_nothing_else():
    dice = random.Random(20)
    for _ in range(3000):
        octets = bytearray(COMMAND)
        for _ in range(dice.randint(1, 4)):
            octets[dice.randrange(len(octets))] = dice.randrange(256)
        spoilt = bytes(octets)
        try:
            message = Envelope.parse(spoilt)
        except TheirError:
            continue
        assert message.to_bytes() == spoilt


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ({"counter": 1 << 64}, "counter"),
        ({"code": 0x10000}, "code"),
        ({"signature": bytes(63)}, "signature"),
        ({"mac": bytes(11)}, "MAC"),
        ({"payload": bytes(65536)}, "octets"),
        ({"certificate": b"\x30"}, "certificate"),
        ({"supplementary": Supplementary(SUPPLIER, None, 3)}, "before"),
        ({"is_finished": False, "mac": bytes(12)}, "pre-command"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(spoilt, why):
    with pytest.raises(OurError, match=why):
        replace(ALERT, **spoilt).to_bytes()


def test_a_key_on_another_curve_is_refused():
    other = derive_private_key(7, SECP384R1())
    with pytest.raises(OurError, match="P-256"):
        signed(ALERT, other)
    with pytest.raises(OurError, match="P-256"):
        with_mac(ALERT, key(7), other.public_key())


def test_a_message_is_signed_before_it_gets_its_mac():
    with pytest.raises(OurError, match="before"):
        signed(with_mac(ALERT, key(7), key(8).public_key()), key(7))
    with pytest.raises(OurError, match="pre-command"):
        with_mac(replace(ALERT, is_finished=False), key(7), key(8).public_key())
