"""How Service Requests are judged."""

from __future__ import annotations

from datetime import datetime

import pytest
from dcc_world import (
    FAR_PPMID,
    GSME,
    HCALCS,
    HUB,
    IHD,
    INVENTORY,
    PPMID,
    SECOND_PPMID,
    STRANGER,
    upgrade_file,
)

from hub.dcc.controls import DAY, Service
from hub.dcc.inventory import Device, DeviceStatus
from hub.dcc.requests import (
    MAXIMUM_DEVICES,
    MAXIMUM_IMAGE,
    ActivateFirmware,
    BadRequestError,
    DspResponse,
    ReadFirmwareVersion,
    ResponseCodes,
    Rules,
    Situation,
    UpdateFirmware,
    UpdatePpmidFirmware,
    UpgradeFile,
    fingerprint,
    judge,
    read_response,
    write_response,
)

IMAGE = upgrade_file()
FILE = UpgradeFile(image_id="0" * 64, size=len(IMAGE), version="02000000")
HASH = bytes(32)
KNOWN = {device.eui64: device for device in INVENTORY}


def judged(request, rules: Rules | None = None, **situation) -> DspResponse:
    file = FILE if request.service.is_update else None
    situation.setdefault("devices", KNOWN)
    return judge(request, file, "R", rules or Rules(), Situation(**situation))


def ppmid_update(*devices, **more) -> UpdatePpmidFirmware:
    return UpdatePpmidFirmware(image=IMAGE, devices=devices, **more)


def test_a_request_for_fitting_devices_is_acknowledged():
    response = judged(ppmid_update(PPMID, SECOND_PPMID, FAR_PPMID))

    assert (response.ok, response.code) == (True, "I99")
    assert response.accepted == (PPMID, SECOND_PPMID, FAR_PPMID)
    assert response.lists == {}


@pytest.mark.parametrize(
    ("request_", "device_type"),
    [
        (UpdateFirmware(image=IMAGE, devices=(PPMID,)), "PPMID is updated by an 11.4"),
        (ppmid_update(HCALCS), "HCALCS is updated by an 11.1"),
        (ppmid_update(GSME), "11.4 is for PPMID, not for GSME"),
        (UpdateFirmware(image=IMAGE, devices=(IHD,)), "IHD"),
        (ppmid_update(IHD), "IHD"),
    ],
)
def test_an_update_for_the_wrong_type_of_device_says_which_request_is_right(request_, device_type):
    response = judged(request_)

    assert not response.ok
    assert device_type in response.reason
    assert list(response.lists) == ["NotApplicableFirmwareDeviceIDList"]


def test_an_11_1_takes_esme_gsme_and_hcalcs():
    esme = Device(eui64=STRANGER, device_type="ESME", hub=HUB)
    response = judged(
        UpdateFirmware(image=IMAGE, devices=(STRANGER, GSME, HCALCS)), devices={**KNOWN, STRANGER: esme}
    )

    assert response.accepted == (STRANGER, GSME, HCALCS)


def test_each_device_left_out_stands_in_the_list_of_its_reason():
    pending = Device(eui64=STRANGER, device_type="PPMID", hub=HUB, status=DeviceStatus.PENDING)
    response = judged(
        ppmid_update(PPMID, "nonsense", IHD, STRANGER, SECOND_PPMID, FAR_PPMID),
        devices={**KNOWN, STRANGER: pending},
        open_since={SECOND_PPMID: 0.0},
        old_hubs=frozenset({KNOWN[FAR_PPMID].hub}),
    )

    assert response.code == "W110401"
    assert response.accepted == (PPMID,)
    assert response.lists == {
        "InvalidDeviceIDList": ("nonsense",),
        "NotCommissionedDeviceIDList": (str(STRANGER),),
        "NotApplicableFirmwareDeviceIDList": (str(IHD),),
        "OtherRequestInProgressList": (str(SECOND_PPMID),),
        "InvalidGBCSVersionList": (str(FAR_PPMID),),
    }


def test_a_device_named_twice_counts_once_however_it_is_written():
    response = judged(ppmid_update(PPMID, str(PPMID), PPMID.hex, "rubbish", "rubbish"))

    assert response.accepted == (PPMID,)
    assert response.lists == {"InvalidDeviceIDList": ("rubbish",)}


def test_a_device_nobody_knows_is_invalid():
    assert judged(ppmid_update(STRANGER)).lists == {"InvalidDeviceIDList": (str(STRANGER),)}
    assert judged(ReadFirmwareVersion(device=STRANGER)).code == "E19"


def test_the_codes_are_a_table_in_the_settings():
    codes = ResponseCodes(all_in_progress={Service.UPDATE_PPMID_FIRMWARE: "E4711"})
    response = judged(ppmid_update(PPMID), Rules(codes=codes), open_since={PPMID: 0.0})

    assert response.code == "E4711"


def test_a_suspended_device_may_be_read_but_not_updated():
    suspended = Device(eui64=PPMID, device_type="PPMID", hub=HUB, status=DeviceStatus.SUSPENDED)

    assert judged(ReadFirmwareVersion(device=PPMID), devices={PPMID: suspended}).ok
    assert not judged(ppmid_update(PPMID), devices={PPMID: suspended}).ok


def test_reading_and_activating_are_no_updates_and_never_in_progress():
    assert judged(ReadFirmwareVersion(device=PPMID), open_since={PPMID: 0.0}).ok
    assert judged(ActivateFirmware(device=HCALCS, manufacturer_image_hash=HASH), open_since={HCALCS: 0.0}).ok


def test_a_ppmid_is_not_activated_by_an_11_3():
    response = judged(ActivateFirmware(device=PPMID, manufacturer_image_hash=HASH))

    assert response.code == "E11"
    assert "by itself" in response.reason


def test_a_version_that_differs_from_the_files_is_refused():
    assert judged(ppmid_update(PPMID, firmware_version="2000000")).ok
    response = judged(ppmid_update(PPMID, firmware_version="02000001"))

    assert (response.ok, response.code) == (False, "E110402")
    assert "02000000" in response.reason


def test_attempts_too_close_together_are_advised_against_not_refused():
    soon = judged(ppmid_update(PPMID), last_ended={PPMID: 0.0}, now=2 * DAY)
    later = judged(ppmid_update(PPMID), last_ended={PPMID: 0.0}, now=5 * DAY)

    assert soon.ok
    assert "2.0 days ago" in soon.advice[0]
    assert later.advice == ()


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (ppmid_update, "DeviceIDList is empty"),
        (lambda: UpdateFirmware(image=b"", devices=(HCALCS,)), "FirmwareImage is empty"),
        (lambda: UpdateFirmware(image=bytes(MAXIMUM_IMAGE + 1), devices=(HCALCS,)), "FirmwareImage has"),
        (lambda: ppmid_update(*["x"] * (MAXIMUM_DEVICES + 1)), "DeviceIDList has"),
        (lambda: ppmid_update(PPMID, firmware_version="123456789"), "FirmwareVersion"),
        (lambda: ppmid_update(PPMID, firmware_version="xyz"), "FirmwareVersion"),
        (lambda: ppmid_update(PPMID, request_id=""), "RequestID"),
        (lambda: ppmid_update(PPMID, request_id="a\nb"), "RequestID"),
        (lambda: ppmid_update(PPMID, request_id="a" * 129), "RequestID"),
        (lambda: ActivateFirmware(device=HCALCS, manufacturer_image_hash=b"short"), "FirmwareHash"),
        (
            lambda: ActivateFirmware(
                device=HCALCS,
                manufacturer_image_hash=HASH,
                execution_time=datetime(2026, 1, 5),  # noqa: DTZ001
            ),
            "time zone",
        ),
        *(
            (
                lambda text=text: ActivateFirmware(
                    device=HCALCS,
                    manufacturer_image_hash=HASH,
                    execution_time=datetime.fromisoformat(text),
                ),
                "ExecutionDateTime lies in the year",
            )
            for text in (
                "0001-01-01T00:00:00+14:00",
                "9999-12-31T23:59:59-14:00",
                "9999-12-31T23:59:59+00:00",
            )
        ),
    ],
)
def test_a_request_that_makes_no_sense_cannot_be_made_and_names_its_field(make, field):
    with pytest.raises(BadRequestError, match=field):
        make()


def test_a_device_type_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="TOASTER"):
        Device(eui64=PPMID, device_type="TOASTER", hub=HUB)


def test_the_same_request_has_the_same_fingerprint_and_another_has_not():
    base = ppmid_update(PPMID)
    others = [
        ppmid_update(SECOND_PPMID),
        ppmid_update(PPMID, SECOND_PPMID),
        ppmid_update(PPMID, firmware_version="02000000"),
        UpdatePpmidFirmware(image=IMAGE + b"x", devices=(PPMID,)),
        UpdateFirmware(image=IMAGE, devices=(PPMID,)),
        ReadFirmwareVersion(device=PPMID),
        ActivateFirmware(device=PPMID, manufacturer_image_hash=HASH),
    ]

    assert fingerprint(base) == fingerprint(ppmid_update(PPMID, request_id="other id"))
    assert len({fingerprint(request) for request in [base, *others]}) == len(others) + 1


def test_an_answer_survives_being_written_and_read():
    response = judged(ppmid_update(PPMID, IHD, "rubbish"), last_ended={PPMID: 0.0})

    assert read_response(write_response(response)) == response
    assert str(PPMID) in write_response(response)


def test_the_image_stays_out_of_what_a_request_shows():
    assert "image=" not in repr(ppmid_update(PPMID))
