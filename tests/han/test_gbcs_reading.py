"""Receipt alerts in both forms, and messages explained field by field."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from han.errors import OurError, TheirError
from han.gbcs.codes import AlertCode
from han.gbcs.envelope import Envelope, MessageKind, Supplementary
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
    FirmwareActivationAlert,
    FirmwareTransferAlert,
    ReadFirmwareVersionCommand,
    ReadFirmwareVersionResponse,
    TransferResult,
)
from han.gbcs.reading import explain
from han.gbcs.receipt import ReceiptAlert
from ota.eui64 import Eui64

AT = datetime(2026, 1, 5, 12, 30, 59, tzinfo=UTC)
HASH = bytes(range(32))
DEVICE, ACB, SUPPLIER = (
    Eui64.parse(text)
    for text in ("00-DB-12-34-56-78-90-A4", "90-B3-D5-1F-30-00-00-02", "90-B3-D5-1F-30-01-00-00")
)
RECEIPT = ReceiptAlert(AlertCode.VERIFICATION_SUCCEEDED, AT, HASH)
COMMAND, RESPONSE, ALERT = MessageKind
OUTCOME = ActivationOutcome(ActivateImageResponseCode.HASH_MISMATCH, 0x00020000)


def message(code: int, kind: MessageKind, payload: bytes) -> Envelope:
    return Envelope(kind, 0x0102030405060708, DEVICE, ACB, code, payload)


def told(code: int, kind: MessageKind, payload: bytes) -> dict[str, str]:
    return {field.name: field.meaning for field in explain(message(code, kind, payload).to_bytes())}


def test_a_receipt_in_dlms_is_the_octets_of_its_template():
    # 5 January 2026 is a Monday: day 1 of the week.
    expected = "0f20 060708 00 0203 12 8f72 090c 07ea 01 05 01 0c 1e 3b 00 0000 00 0920" + HASH.hex()
    assert RECEIPT.to_dlms(0x0102030405060708) == bytes.fromhex(expected)


def test_a_receipt_in_the_zcls_way_is_the_octets_of_its_template():
    seconds = int((AT - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds())
    assert RECEIPT.to_gbz() == bytes.fromhex(f"0109 01 8f72 {seconds:08x} 0920" + HASH.hex())


@pytest.mark.parametrize("code", [AlertCode.VERIFICATION_SUCCEEDED, AlertCode.VERIFICATION_FAILED])
def test_a_receipt_survives_either_form(code):
    receipt = ReceiptAlert(code, AT, HASH)
    assert ReceiptAlert.from_dlms(receipt.to_dlms(7)) == receipt
    assert ReceiptAlert.from_gbz(receipt.to_gbz()) == receipt


def test_a_receipt_cut_short_or_of_the_other_form_is_refused():
    dlms, gbz = RECEIPT.to_dlms(7), RECEIPT.to_gbz()
    for payload in (dlms[:-1], dlms + b"\x00", gbz, b""):
        with pytest.raises(TheirError):
            ReceiptAlert.from_dlms(payload)
    for payload in (gbz[:-1], gbz + b"\x00", dlms, b""):
        with pytest.raises(TheirError):
            ReceiptAlert.from_gbz(payload)
    with pytest.raises(TheirError, match="date"):
        ReceiptAlert.from_dlms(dlms[:15] + b"\x0d" + dlms[16:])


@pytest.mark.parametrize(
    "spoilt",
    [
        replace(RECEIPT, manufacturer_image_hash=bytes(31)),
        replace(RECEIPT, alert_code=0x10000),
        replace(RECEIPT, at=datetime(1999, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_receipt_that_does_not_fit_is_refused(spoilt):
    with pytest.raises(OurError):
        spoilt.to_gbz()


@pytest.mark.parametrize(
    ("code", "kind", "payload", "expected"),
    [
        (
            0x0128,
            ALERT,
            FirmwareTransferAlert(AT, DEVICE, 0x00020000, TransferResult.DISCARDED).to_der(),
            {
                "alert code": "0x8f89 firmware transfer failed",
                "at": "2026-01-05 12:30:59 UTC",
                "device": "00-DB-12-34-56-78-90-A4",
                "firmware version": "00020000",
                "response code": "1 discarded",
            },
        ),
        (
            0x012B,
            ALERT,
            FirmwareActivationAlert(AT, 0x00020000, is_success=False).to_der(),
            {"alert code": "0x8f8b PPMID firmware activation", "activate image code": "1 failure"},
        ),
        (
            0x0129,
            ALERT,
            FirmwareActivationAlert(AT, 0x00020000, is_success=True).to_der(),
            {"activate image code": "0 success"},
        ),
        (0x0129, COMMAND, ReadFirmwareVersionCommand().to_der(), {"payload": "NULL"}),
        (
            0x0129,
            RESPONSE,
            ReadFirmwareVersionResponse(0x00020000).to_der(),
            {"firmware version": "00020000", "read response": "0 success"},
        ),
        (0x0129, RESPONSE, ReadFirmwareVersionResponse(None).to_der(), {"read response": "1 failure"}),
        (0x0012, COMMAND, ActivateFirmwareCommand(HASH, 9).to_der(), {"to be executed": "at once"}),
        (
            0x0012,
            COMMAND,
            ActivateFirmwareCommand(HASH, 9, AT).to_der(),
            {"to be executed": "2026-01-05 12:30:59 UTC", "manufacturer image hash": HASH.hex()},
        ),
        (
            0x0012,
            COMMAND,
            ActivateFirmwareCommand(HASH, 9, CANCEL).to_der(),
            {"to be executed": "never: cancels a pending activation"},
        ),
        (
            0x0012,
            RESPONSE,
            ActivateFirmwareResponse(OUTCOME).to_der(),
            {"response code": "2 hash mismatch", "firmware version": "00020000"},
        ),
        (
            0x0012,
            RESPONSE,
            ActivateFirmwareResponse().to_der(),
            {"outcome": "accepted for later, or cancelled"},
        ),
        (
            0x00CA,
            ALERT,
            ActivateFirmwareAlert(0x8F67, AT, 9, OUTCOME).to_der(),
            {
                "alert code": "0x8f67 future-dated command not successfully actioned",
                "originator counter of the command": "9",
            },
        ),
        (0x00CE, ALERT, RECEIPT.to_dlms(7), {"alert code": "0x8f72 firmware verification successful"}),
        (0x00CF, ALERT, RECEIPT.to_gbz(), {"manufacturer image hash": HASH.hex()}),
    ],
)
def test_a_message_about_firmware_is_explained_field_by_field(code, kind, payload, expected):
    fields = told(code, kind, payload)
    assert expected.items() <= fields.items()
    assert fields["originator"] == "00-DB-12-34-56-78-90-A4"
    assert fields["originator counter"] == "72623859790382856 (0x0102030405060708)"
    assert fields["signature"] == fields["MAC"] == "none"


def test_a_message_of_another_use_case_shows_its_payload():
    fields = told(0x0062, COMMAND, b"\xd9\x20")
    assert fields["message"] == "0x0062 no message about firmware"
    assert fields["payload"] == "d920"


def test_what_stands_beside_the_payload_is_explained_too():
    third = Supplementary(SUPPLIER, 5, 6)
    whole = replace(message(0x0129, COMMAND, b"\x05\x00"), supplementary=third, certificate=b"\x30\x00")
    fields = {field.name: field.meaning for field in explain(replace(whole, is_finished=False).to_bytes())}
    assert fields["supplementary remote party"] == "90-B3-D5-1F-30-01-00-00"
    assert fields["its counter"] == "5"
    assert fields["supplementary originator counter"] == "6"
    assert fields["certificate"] == "3000"
    assert fields["signature"] == "still to come: a pre-command"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(0x0128, ALERT), (0x012B, ALERT), (0x0012, COMMAND), (0x00CA, ALERT), (0x00CE, ALERT), (0x00CF, ALERT)],
)
def test_a_payload_that_is_not_what_the_code_announces_is_refused(code, kind):
    with pytest.raises(TheirError):
        told(code, kind, b"\x05\x00")
