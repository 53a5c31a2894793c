"""``gbhan gbcs``: messages explained, signatures judged, bad input named."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.payloads import FirmwareTransferAlert, TransferResult
from han.gbcs.protection import signed
from hub.cli import main
from ota.eui64 import Eui64

HUB, ACB, PPMID = (
    Eui64.parse(text)
    for text in ("00-DB-12-34-56-78-90-A2", "90-B3-D5-1F-30-00-00-02", "00-DB-12-34-56-78-90-A4")
)
KEY = derive_private_key(7, SECP256R1())
PAYLOAD = FirmwareTransferAlert(
    datetime(2026, 1, 5, 12, 30, 59, tzinfo=UTC), PPMID, 0x00020000, TransferResult.SUCCESS
).to_der()
MESSAGE = signed(Envelope(MessageKind.ALERT, 11, HUB, ACB, 0x0128, PAYLOAD), KEY).to_bytes().hex()


def decode(*arguments: object, text: str | None = None) -> Result:
    result = CliRunner().invoke(main, ["gbcs", "decode", *map(str, arguments)], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def signers(tmp_path):
    """Files with the right and with another public key."""
    files = []
    for number in (7, 8):
        file = tmp_path / f"{number}.pem"
        public = derive_private_key(number, SECP256R1()).public_key()
        file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        files.append(file)
    return files


def test_a_message_is_explained_to_people():
    result = decode(MESSAGE)
    assert result.exit_code == 0
    assert "0x0128 CCS08 Firmware Transfer Alert" in result.stdout
    assert "0x8f8a firmware transfer successful" in result.stdout


def test_a_message_is_explained_to_programs():
    document = json.loads(decode(MESSAGE, "--json").stdout)
    assert document["fields"]["device"] == str(PPMID)
    assert "signature_holds" not in document


def test_a_message_is_read_from_standard_input_with_spaces_and_lines():
    spaced = "\n".join(MESSAGE[at : at + 16] for at in range(0, len(MESSAGE), 16))
    assert decode("-", text=spaced).stdout == decode(MESSAGE).stdout


def test_a_signature_is_judged(signers):
    right, other = signers
    good = decode(MESSAGE, "--signer", right, "--json")
    bad = decode(MESSAGE, "--signer", other, "--json")
    assert (good.exit_code, json.loads(good.stdout)["signature_holds"]) == (0, True)
    assert (bad.exit_code, json.loads(bad.stdout)["signature_holds"]) == (1, False)
    assert "NOT" in decode(MESSAGE, "--signer", other).stdout


@pytest.mark.parametrize(
    ("text", "status", "why"),
    [
        ("xyz", 2, "no hex"),
        ("", 1, "cut short"),
        (MESSAGE[:-2], 1, "cut short"),
        ("00" * 40, 1, "begins with"),
    ],
)
def test_what_is_no_message_is_refused_by_name(text, status, why):
    result = decode(text)
    assert result.exit_code == status
    assert why in result.stderr


def test_a_signer_without_a_key_is_refused(tmp_path):
    file = tmp_path / "empty.pem"
    file.write_text("nothing")
    result = decode(MESSAGE, "--signer", file)
    assert result.exit_code == 2
    assert "no public key" in result.stderr


def test_the_help_has_an_example():
    assert "Example: gbhan gbcs decode" in decode("--help").output
