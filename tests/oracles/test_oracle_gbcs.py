"""OpenSSL's command line judges our GBCS signatures, MACs and certificates, step by step."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import two_stage_home
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from han.gbcs.codes import AlertCode, MessageCode
from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.messages import activate_firmware, firmware_activated, future_dated_alert, receipt_alert
from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER, lab_party
from han.gbcs.payloads import (
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
)
from han.gbcs.protection import mac_key, signed, with_mac
from han.gbcs.receipt import ReceiptAlert
from hub.parties import AUTHORITY_FILE, write_parties
from ota.eui64 import Eui64

pytestmark = pytest.mark.oracle

DEVICE = Eui64.parse("00-DB-12-34-56-78-90-A4")
MESSAGES = 25


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("parties")
    write_parties(place, (ACCESS_CONTROL_BROKER, SUPPLIER, DEVICE), private=True)
    return place


@pytest.fixture(scope="module")
def openssl(program):
    found = program("openssl")

    def run(*arguments: object, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [str(found), *map(str, arguments)]
        return subprocess.run(command, input=text, capture_output=True, check=False, timeout=60)

    return run


def messages():
    dice = random.Random(5)
    for number in range(MESSAGES):
        kind = dice.choice(list(MessageKind))
        payload = dice.randbytes(2 + 9 * number)
        yield Envelope(kind, dice.getrandbits(64), SUPPLIER, DEVICE, dice.getrandbits(16), payload)


def file(folder: Path, eui64: Eui64, name: str) -> Path:
    return folder / f"{eui64.hex}-{name}"


@pytest.mark.parametrize("purpose", ["signing", "agreement"])
def test_each_certificate_is_the_authoritys(openssl, folder, purpose):
    for party in (ACCESS_CONTROL_BROKER, SUPPLIER, DEVICE):
        result = openssl(
            "verify",
            "-x509_strict",
            "-CAfile",
            folder / AUTHORITY_FILE,
            file(folder, party, f"{purpose}.pem"),
        )
        assert result.returncode == 0, result.stderr


@pytest.fixture
def holds(openssl, folder, tmp_path):
    """Whether OpenSSL takes this message's signature for its originator's, over these octets."""

    def judge(message: Envelope, octets: bytes) -> bool:
        assert message.signature is not None
        certificate = file(folder, message.originator, "signing.pem")
        public, der = tmp_path / "public.pem", tmp_path / "signature"
        public.write_bytes(openssl("x509", "-in", certificate, "-pubkey", "-noout").stdout)
        r, s = (int.from_bytes(half, "big") for half in (message.signature[:32], message.signature[32:]))
        der.write_bytes(encode_dss_signature(r, s))
        return openssl("dgst", "-sha256", "-verify", public, "-signature", der, text=octets).returncode == 0

    return judge


def with_a_flipped_bit(octets: bytes, dice: random.Random) -> bytes:
    spoilt = bytearray(octets)
    bit = dice.randrange(8 * len(spoilt))
    spoilt[bit // 8] ^= 1 << bit % 8
    return bytes(spoilt)


def test_each_signature_holds_and_a_flipped_bit_anywhere_breaks_it(holds):
    dice = random.Random(6)
    for unsigned in messages():
        message = signed(unsigned, lab_party(SUPPLIER).signing)
        assert holds(message, message.signed_octets)
        assert not holds(message, with_a_flipped_bit(message.signed_octets, dice))


AT = datetime(2026, 1, 5, 12, 30, 59, tzinfo=UTC)
RECEIPT = ReceiptAlert(AlertCode.VERIFICATION_SUCCEEDED, AT, bytes(range(32)))
DATED = ActivateFirmwareAlert(
    AlertCode.FUTURE_DATED_DONE, AT, 7, ActivationOutcome(ActivateImageResponseCode.SUCCESS, 0x00020000)
)
COMMAND = activate_firmware(DEVICE, ActivateFirmwareCommand(bytes(32), 7, AT))


@pytest.mark.parametrize(
    "message",
    [
        receipt_alert(DEVICE, 1, MessageCode.RECEIPT_ESME, RECEIPT),
        receipt_alert(DEVICE, 2, MessageCode.RECEIPT_GSME, RECEIPT),
        future_dated_alert(DEVICE, 3, DATED),
        firmware_activated(COMMAND, ActivateFirmwareResponse(), AT),
        firmware_activated(COMMAND, ActivateFirmwareResponse(DATED.outcome), AT),
    ],
    ids=["receipt ESME", "receipt GSME", "dated alert", "NULL response", "response with an outcome"],
)
def test_what_a_two_stage_device_says_is_signed_so_that_openssl_believes_it(holds, message):
    whole = message.to_bytes()
    # As anybody finds it in the message itself: all between the first octet and 40, r, s.
    octets, prefix, signature = whole[1:-65], whole[-65], whole[-64:]
    assert (prefix, signature) == (0x40, message.signature)
    assert holds(message, octets)
    dice = random.Random(7)
    for _ in range(5):
        assert not holds(message, with_a_flipped_bit(octets, dice))


def test_openssl_believes_all_that_the_devices_of_a_house_say_while_they_are_updated(holds, folder):
    world = two_stage_home.TwoStageWorld(two_stage_home.two_stage_home("receipt_alert = true"))
    world.move_in()
    for name in two_stage_home.TWO_STAGE:
        write_parties(folder, (world[name].eui64,))
        image_hash = world.hold(name)
        world.activate(name, bytes(32))
        world.run(60.0)
        world.activate(name, image_hash, world.soon(120.0))
        world.run(240.0)
        heard = world.hub.messages_of(name)

        assert [Envelope.parse(octets).code for octets in heard][1:] == [0x0012, 0x0012, 0x00CA]
        assert all(holds(Envelope.parse(octets), octets[1:-65]) for octets in heard)


def test_each_mac_is_what_openssl_computes_from_the_same_keys(openssl, folder, tmp_path):
    public = tmp_path / "public.pem"
    public.write_bytes(
        openssl("x509", "-in", file(folder, DEVICE, "agreement.pem"), "-pubkey", "-noout").stdout
    )
    own = file(folder, ACCESS_CONTROL_BROKER, "agreement.key")
    secret = openssl("pkeyutl", "-derive", "-inkey", own, "-peerkey", public).stdout
    for bare in messages():
        message = with_mac(
            signed(bare, lab_party(SUPPLIER).signing),
            lab_party(ACCESS_CONTROL_BROKER).agreement,
            lab_party(DEVICE).agreement.public_key(),
        )
        originator, recipient = (each.to_bytes(8, "big") for each in (message.originator, message.recipient))
        info = bytes.fromhex("60857406080300") + originator + b"\x09" + message.transaction_id + recipient
        key = openssl(
            *("kdf", "-binary", "-keylen", 16, "-kdfopt", "digest:SHA256"),
            *("-kdfopt", f"hexkey:{secret.hex()}", "-kdfopt", f"hexinfo:{info.hex()}", "SSKDF"),
        ).stdout
        tag = openssl(
            *("mac", "-binary", "-cipher", "AES-128-GCM", "-macopt", f"hexkey:{key.hex()}"),
            *("-macopt", f"hexiv:{originator.hex()}00000000", "GMAC"),
            text=bytes.fromhex("110000000000") + message.inner,
        ).stdout
        assert len(tag) == 16
        assert message.mac == tag[:12]


def test_the_published_shared_key_is_what_openssl_derives(openssl, tmp_path):
    vector = json.loads((Path(__file__).parents[2] / "fixtures" / "vectors" / "gbcs_18_4.json").read_text())
    private, public = tmp_path / "acb.der", tmp_path / "device.der"
    # RFC 5915 and RFC 5480, written by hand: our own key code has no part in this.
    point = bytes.fromhex(vector["device"]["ka_public"])
    scalar = bytes.fromhex(vector["acb"]["ka_private"])
    private.write_bytes(bytes.fromhex("30310201010420") + scalar + bytes.fromhex("a00a06082a8648ce3d030107"))
    public.write_bytes(bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004") + point)
    secret = openssl(
        *("pkeyutl", "-derive", "-inkey", private, "-keyform", "DER", "-peerkey", public, "-peerform", "DER")
    ).stdout
    info = (
        bytes.fromhex("60857406080300" + vector["supplier"]["id"])
        + bytes.fromhex("0901" + vector["supplier"]["originator_counter"])
        + bytes.fromhex(vector["device"]["id"])
    )
    key = openssl(
        *("kdf", "-binary", "-keylen", 16, "-kdfopt", "digest:SHA256"),
        *("-kdfopt", f"hexkey:{secret.hex()}", "-kdfopt", f"hexinfo:{info.hex()}", "SSKDF"),
    ).stdout
    assert key.hex().upper() == vector["derived"]["shared_key"]


def test_our_shared_key_hides_in_no_text_of_a_party():
    party = lab_party(DEVICE)
    message = replace(next(iter(messages())), originator=DEVICE)
    secret = mac_key(message, party.agreement, lab_party(SUPPLIER).agreement.public_key())
    assert secret.hex() not in repr(party)
    assert repr(party) == f"Party(eui64={DEVICE!r})"
