"""OpenSSL's command line judges our GBCS signatures, MACs and certificates, step by step."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER, lab_party
from han.gbcs.protection import mac_key, signed, with_mac
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


def test_each_signature_holds_and_a_flipped_bit_anywhere_breaks_it(openssl, folder, tmp_path):
    public = tmp_path / "public.pem"
    public.write_bytes(
        openssl("x509", "-in", file(folder, SUPPLIER, "signing.pem"), "-pubkey", "-noout").stdout
    )
    dice = random.Random(6)

    def holds(message: Envelope, octets: bytes) -> bool:
        assert message.signature is not None
        r, s = (int.from_bytes(half, "big") for half in (message.signature[:32], message.signature[32:]))
        der = tmp_path / "signature"
        der.write_bytes(encode_dss_signature(r, s))
        return openssl("dgst", "-sha256", "-verify", public, "-signature", der, text=octets).returncode == 0

    for unsigned in messages():
        message = signed(unsigned, lab_party(SUPPLIER).signing)
        assert holds(message, message.signed_octets)
        spoilt = bytearray(message.signed_octets)
        bit = dice.randrange(8 * len(spoilt))
        spoilt[bit // 8] ^= 1 << bit % 8
        assert not holds(message, bytes(spoilt))


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
