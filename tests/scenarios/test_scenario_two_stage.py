"""ESME, GSME and HCALCS on the true radio path, up to the head end: receipts, and each form of activation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sleepy_home import NEW, inhabited, said, update, wait_for
from two_stage_home import TWO_STAGE, two_stage_home

from han.gbcs.parties import SUPPLIER
from hub.dcc.requests import ActivateFirmware
from hub.demo.images import Supplier
from ota.eui64 import Eui64

pytestmark = pytest.mark.usefixtures("rebound")

DAY = timedelta(days=1)


async def activate(stage, file, name: str, **form: object) -> str:
    """Submit an 11.3 for the device; its request id."""
    request = ActivateFirmware(
        device=stage.described[name].eui64, manufacturer_image_hash=file.manufacturer_image_hash, **form
    )
    response = await stage.dsp.submit(request)
    assert response.ok, response.reason
    return response.request_id


async def result_of(stage, request: str) -> str:
    (device,) = (await stage.dsp.finished(request)).devices
    return device.result.value


@pytest.mark.parametrize("name", TWO_STAGE)
async def test_a_device_is_updated_tells_its_receipt_and_activates_at_the_time_that_the_head_end_gave(name):
    async with inhabited(two_stage_home()) as (stage, told):
        file, request = await update(stage, name)
        assert await result_of(stage, request) == "transferred"
        at = (stage.house.utc(stage.now) + DAY).replace(microsecond=0)
        assert await result_of(stage, await activate(stage, file, name, execution_time=at)) == "activated"

        assert stage.house.devices[name].file_version == NEW
        (activated,) = said(told, "device.activated", name)
        assert abs(stage.house.utc(activated.at) - at) <= timedelta(seconds=2)
        receipts = [line.code for line in stage.dsp.story(request) if "Receipt" in line.event]
        assert receipts == ([] if name == "hcalcs" else ["0x8F72"])
    assert not [fact for fact in told if fact.what == "gbcs.refused"]


async def test_an_activation_that_the_head_end_cancels_never_happens():
    async with inhabited(two_stage_home()) as (stage, told):
        file, request = await update(stage, "esme")
        await stage.dsp.finished(request)
        at = (stage.house.utc(stage.now) + DAY).replace(microsecond=0)
        dated = await activate(stage, file, "esme", execution_time=at)
        await wait_for(stage, "gbcs.accepted", "esme")
        cancel = await activate(stage, file, "esme", cancels=True)

        assert await result_of(stage, cancel) == "cancellation accepted"
        assert await result_of(stage, dated) == "cancelled"
        assert await result_of(stage, await activate(stage, file, "esme")) == "activated"
        assert [fact.due for fact in said(told, "gbcs.accepted", "esme")] == [
            at.isoformat(),
            "never",
            "at once",
        ]


async def test_an_image_that_another_supplier_signed_is_found_out_by_the_meter_and_the_head_end_hears_of_it():
    async with inhabited(two_stage_home()) as (stage, told):
        stage.supplier = Supplier(Eui64(SUPPLIER + 1))
        file, request = await update(stage, "esme")
        assert await result_of(stage, request) == "file transfer failure"

        receipts = [line for line in stage.dsp.story(request) if "Receipt" in line.event]
        assert {line.code for line in receipts} == {"0x8F1C"}
        assert file.manufacturer_image_hash.hex() in receipts[0].text
        assert {fact.success for fact in said(told, "gbcs.receipt-alert", "esme")} == {False}
        assert stage.house.devices["esme"].firmware.held is None
    assert not [fact for fact in told if fact.what == "gbcs.refused"]


async def test_a_hash_that_nobody_holds_is_told_at_its_time_and_not_before():
    async with inhabited(two_stage_home()) as (stage, told):
        file, request = await update(stage, "gsme")
        await stage.dsp.finished(request)
        other = stage.supplier.make(stage.described["gsme"], NEW + 1, 6000, 9)
        at = (stage.house.utc(stage.now) + DAY).replace(microsecond=0)
        assert (
            await result_of(stage, await activate(stage, other, "gsme", execution_time=at)) == "hash mismatch"
        )

        (acted,) = said(told, "gbcs.activate", "gsme")
        assert abs(stage.house.utc(acted.at) - at) <= timedelta(seconds=2)
        assert await result_of(stage, await activate(stage, file, "gsme")) == "activated"
