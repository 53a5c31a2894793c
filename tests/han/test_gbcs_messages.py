"""Whole messages from devices about firmware: to whom, under which counter, signed by whom."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from han.errors import OurError, TheirError
from han.gbcs.codes import AlertCode, MessageCode
from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.messages import (
    activate_firmware,
    firmware_activated,
    future_dated_alert,
    payload_of,
    receipt_alert,
)
from han.gbcs.parties import SUPPLIER, lab_party
from han.gbcs.payloads import (
    ActivateFirmwareAlert,
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
)
from han.gbcs.protection import is_signed_by
from han.gbcs.receipt import ReceiptAlert
from ota.eui64 import Eui64

AT = datetime(2030, 1, 1, 0, 0, 0, tzinfo=UTC)
DEVICE = Eui64.parse("00-DB-12-34-56-78-90-A0")
HASH = bytes(range(32))
RECEIPT = ReceiptAlert(AlertCode.VERIFICATION_SUCCEEDED, AT, HASH)
DATED = ActivateFirmwareAlert(
    AlertCode.FUTURE_DATED_FAILED,
    AT,
    0x03EC,
    ActivationOutcome(ActivateImageResponseCode.HASH_MISMATCH, 0x0123ABCF),
)
COMMAND = activate_firmware(DEVICE, ActivateFirmwareCommand(HASH, 0x03EC, AT))
ALERTS = {
    "receipt of an ESME": receipt_alert(DEVICE, 0x07D0, MessageCode.RECEIPT_ESME, RECEIPT),
    "receipt of a GSME": receipt_alert(DEVICE, 0x07D0, MessageCode.RECEIPT_GSME, RECEIPT),
    "dated activation": future_dated_alert(DEVICE, 0x07D0, DATED),
}
SAYS = {"receipt of an ESME": RECEIPT, "receipt of a GSME": RECEIPT, "dated activation": DATED}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_signed_by_the_device_and_goes_to_the_supplier_under_a_counter_of_its_own(name):
    alert = Envelope.parse(ALERTS[name].to_bytes())

    assert (alert.kind, alert.counter) == (MessageKind.ALERT, 0x07D0)
    assert (alert.originator, alert.recipient) == (DEVICE, SUPPLIER)
    assert is_signed_by(alert, lab_party(DEVICE).signing.public_key())
    assert alert.mac is None
    assert payload_of(alert) == SAYS[name]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_with_a_flipped_bit_anywhere_is_unreadable_or_not_signed(name):
    whole = ALERTS[name].to_bytes()
    key = lab_party(DEVICE).signing.public_key()
    for bit in range(8 * len(whole)):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        with suppress(TheirError):
            assert not is_signed_by(Envelope.parse(bytes(spoilt)), key), bit


def test_a_dated_alert_is_but_for_the_signature_the_octets_of_its_template():
    # Grouping header, then the payload: alert code, time, the command's counter, outcome (RTDS 4.5.0, CS06).
    header = "df090300000000000007d1 0800db1234567890a0 0890b3d51f30010000 00 0200ca"
    payload = "3025 0203008f67 180f 32303330303130313030303030305a 020203ec 3009 020102 04040123abcf"
    octets = future_dated_alert(DEVICE, 0x07D1, DATED).to_bytes()

    assert octets[:-64] == bytes.fromhex(f"{header} 27 {payload} 40")


def test_the_two_forms_of_a_receipt_are_not_taken_for_each_other():
    esme, gsme = ALERTS["receipt of an ESME"], ALERTS["receipt of a GSME"]
    for one, other in ((esme, gsme), (gsme, esme)):
        with pytest.raises(TheirError):
            payload_of(replace(one, code=other.code))


@pytest.mark.parametrize("form", [MessageCode.RECEIPT_ESME, MessageCode.RECEIPT_GSME])
def test_a_receipt_without_a_whole_hash_is_our_mistake(form):
    with pytest.raises(OurError):
        receipt_alert(DEVICE, 1, form, replace(RECEIPT, manufacturer_image_hash=HASH[1:]))


def test_accepting_a_dated_command_is_a_signed_null_with_its_counter_and_a_time():
    response = Envelope.parse(firmware_activated(COMMAND, ActivateFirmwareResponse(), AT).to_bytes())

    assert (response.kind, response.counter) == (MessageKind.RESPONSE, COMMAND.counter)
    assert (response.originator, response.recipient) == (DEVICE, SUPPLIER)
    assert response.payload == bytes.fromhex("0500")
    assert len(response.date_time) == 12
    assert is_signed_by(response, lab_party(DEVICE).signing.public_key())
