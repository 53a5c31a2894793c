"""GBCS payloads: the layouts of the published messages, one encoding each, and nothing else is read."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from han.errors import OurError, TheirError
from han.gbcs.der import decode, encode
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
    parse_from_device,
    parse_to_device,
    parse_transfer_alert,
)
from ota.eui64 import Eui64

AT = datetime(2026, 1, 5, 12, 30, 59, tzinfo=UTC)
PPMID = Eui64.parse("00-DB-12-34-56-78-90-A4")
HASH = bytes(range(32))
OUTCOME = ActivationOutcome(ActivateImageResponseCode.SUCCESS, 0x01020304)

FROM_DEVICE = [
    (ActivateFirmwareResponse(), "0500"),
    (ActivateFirmwareResponse(OUTCOME), "3009 020100 040401020304"),
    (ReadFirmwareVersionResponse(0x01020304), "3009 040401020304 020100"),
    (ReadFirmwareVersionResponse(None), "3009 040400000000 020101"),
    (
        FirmwareActivationAlert(AT, 0x01020304, is_success=True),
        "301f 0203008f8b 180f 32303236303130353132333035395a 040401020304 020100",
    ),
    (
        FirmwareActivationAlert(AT, 0x01020304, is_success=False),
        "301f 0203008f8b 180f 32303236303130353132333035395a 040401020304 020101",
    ),
    (
        ActivateFirmwareAlert(0x8F66, AT, 7, OUTCOME),
        "3024 0203008f66 180f 32303236303130353132333035395a 020107 3009 020100 040401020304",
    ),
]
TO_DEVICE = [
    (ReadFirmwareVersionCommand(), "0500"),
    (ActivateFirmwareCommand(HASH, 1), f"3025 0420 {HASH.hex()} 020101"),
    (
        ActivateFirmwareCommand(HASH, 0x80, AT),
        f"3037 0420 {HASH.hex()} 02020080 180f 32303236303130353132333035395a",
    ),
    (
        ActivateFirmwareCommand(HASH, 1, CANCEL),
        f"3036 0420 {HASH.hex()} 020101 180f 39393939313233313233353935395a",
    ),
]
TRANSFER_ALERTS = [
    (
        FirmwareTransferAlert(AT, PPMID, 0x01020304, TransferResult.SUCCESS),
        "3029 0203008f8a 180f 32303236303130353132333035395a 040800db1234567890a4 040401020304 020100",
    ),
    (
        FirmwareTransferAlert(AT, PPMID, 0x01020304, TransferResult.DISCARDED),
        "3029 0203008f89 180f 32303236303130353132333035395a 040800db1234567890a4 040401020304 020101",
    ),
]


@pytest.mark.parametrize(("message", "octets"), FROM_DEVICE + TO_DEVICE + TRANSFER_ALERTS, ids=str)
def test_a_message_is_the_octets_of_its_template(message, octets):
    assert message.to_der().hex() == octets.replace(" ", "")


@pytest.mark.parametrize(("message", "octets"), FROM_DEVICE, ids=str)
def test_what_a_device_tells_is_told_apart_by_its_shape(message, octets):
    assert parse_from_device(bytes.fromhex(octets)) == message


@pytest.mark.parametrize(("message", "octets"), TO_DEVICE, ids=str)
def test_what_a_device_is_told_is_told_apart_by_its_shape(message, octets):
    assert parse_to_device(bytes.fromhex(octets)) == message


@pytest.mark.parametrize(("alert", "octets"), TRANSFER_ALERTS, ids=str)
def test_a_transfer_alert_survives_its_journey(alert, octets):
    assert parse_transfer_alert(bytes.fromhex(octets)) == alert


@pytest.mark.parametrize("octets", [octets for _, octets in FROM_DEVICE + TO_DEVICE + TRANSFER_ALERTS])
def test_a_payload_cut_or_prolonged_anywhere_is_refused(octets):
    whole = bytes.fromhex(octets)
    for spoilt in [*(whole[:size] for size in range(len(whole))), whole + b"\x00", whole + b"\x05\x00"]:
        for parse in (parse_from_device, parse_to_device, parse_transfer_alert):
            with pytest.raises(TheirError):
                parse(spoilt)


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        ("3009 020104 040401020304", "a response that is none"),
        ("3008 020100 0403010203", "a version of three octets"),
        ("300a 02020000 040401020304", "a number with a needless octet"),
        ("308109 020100 040401020304", "a length in needless octets"),
        ("3080 020100 040401020304 0000", "an indefinite length"),
        ("0c03616263", "another type"),
        ("180f 32303236303130353132333035395b", "a time without Z"),
        ("180e 3230323630313035313233303539", "a local time"),
        ("180f 32303236313330353132333035395a", "a month 13"),
        ("3000", "an empty sequence"),
        ("30023000", "a nested empty sequence"),
        ("30023002300230023002300230003000", "a deep nest"),
    ],
)
def test_what_is_not_der_or_no_message_of_ours_is_refused(octets, what):
    for parse in (parse_from_device, parse_to_device, parse_transfer_alert):
        with pytest.raises(TheirError):
            parse(bytes.fromhex(octets))


def test_an_alert_whose_code_contradicts_its_response_is_refused():
    spoilt = bytes.fromhex(TRANSFER_ALERTS[0][1])[:-1] + b"\x01"

    with pytest.raises(TheirError, match="0x8f8a"):
        parse_transfer_alert(spoilt)


def test_times_are_written_in_utc_to_the_second():
    elsewhere = AT.astimezone(timezone(timedelta(hours=5))).replace(microsecond=999_999)

    assert encode(elsewhere) == encode(AT)


def test_a_time_without_a_zone_is_our_mistake():
    with pytest.raises(OurError):
        encode(AT.replace(tzinfo=None))


def test_a_hash_of_another_length_is_our_mistake():
    with pytest.raises(OurError):
        ActivateFirmwareCommand(b"short", 1).to_der()


def test_a_version_of_more_than_four_octets_is_our_mistake():
    with pytest.raises(OurError):
        ReadFirmwareVersionResponse(1 << 32).to_der()


VALUES = st.recursive(
    st.none()
    | st.integers(-(2**70), 2**70)
    | st.binary(max_size=200)
    | st.datetimes(AT.replace(year=1000, tzinfo=None), timezones=st.just(UTC)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
    lambda values: st.lists(values, max_size=4).map(tuple),
    max_leaves=4,
)


@given(VALUES)
def test_every_value_survives_its_journey(value):
    octets = encode(value)
    with contextlib.suppress(TheirError):  # nested too deeply to be read back
        assert decode(octets) == value


@given(st.binary(max_size=60))
def test_no_bytes_from_a_device_raise_anything_but_their_error(octets):
    for parse in (parse_from_device, parse_to_device, parse_transfer_alert):
        with contextlib.suppress(TheirError):
            assert parse(octets).to_der() == octets
