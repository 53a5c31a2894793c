"""A gas meter that sleeps, on the true radio path: hub, bellows, dongle, air, and the head end above."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sleepy_home import NEW, offsets, said, sleepy_home, update, wait_for

from hub.dcc.requests import ActivateFirmware

pytestmark = pytest.mark.usefixtures("rebound")


@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_a_gas_meter_that_sleeps_is_updated_and_activates(loss):
    async with sleepy_home(loss=loss) as (stage, told):
        file, request = await update(stage, "gsme")
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["transferred"]
        gsme = stage.house.devices["gsme"]
        assert gsme.node.store.parent == 0x0000
        assert offsets(told, "gsme") == sorted(set(offsets(told, "gsme")))

        asked = stage.now
        activate = ActivateFirmware(device=gsme.eui64, manufacturer_image_hash=file.manufacturer_image_hash)
        response = await stage.dsp.submit(activate)
        outcome = await stage.dsp.finished(response.request_id)
        assert [device.result.value for device in outcome.devices] == ["activated"]
        assert gsme.file_version == NEW
        assert stage.now - asked < 6.5 * 3600, "as soon as the meter is heard, which is every six hours"


async def test_a_gas_meter_that_sleeps_tells_of_its_image_and_activates_it_at_the_time_it_was_given():
    async with sleepy_home() as (stage, told):
        file, request = await update(stage, "gsme")
        await stage.dsp.finished(request)
        gsme = stage.house.devices["gsme"]
        (receipt,) = said(told, "gbcs.receipt-alert", "gsme")
        assert (receipt.success, receipt.image) == (True, file.manufacturer_image_hash.hex())

        at = (stage.house.utc(stage.now) + timedelta(days=1)).replace(microsecond=0)
        activate = ActivateFirmware(
            device=gsme.eui64, manufacturer_image_hash=file.manufacturer_image_hash, execution_time=at
        )
        response = await stage.dsp.submit(activate)
        await wait_for(stage, "gbcs.accepted", "gsme")
        assert stage.house.utc(stage.now) < at
        assert gsme.file_version != NEW
        outcome = await stage.dsp.finished(response.request_id)

        assert [device.result.value for device in outcome.devices] == ["activated"]
        (activated,) = said(told, "device.activated", "gsme")
        assert gsme.file_version == NEW
        assert abs((stage.house.utc(activated.at) - at).total_seconds()) < 2.0
    assert not [fact for fact in told if fact.what == "gbcs.refused"]


async def test_a_message_that_finds_it_asleep_is_told_by_the_dongle_and_tried_again():
    async with sleepy_home() as (stage, told):
        _, request = await update(stage, "gsme")
        await stage.dsp.finished(request)

    assert said(told, "mac.expired", "dongle"), "the notification found it asleep"
    assert not said(told, "device.left", "hub")


async def test_a_dongle_that_loses_its_power_in_the_download_serves_it_again():
    async with sleepy_home() as (stage, told):
        _, request = await update(stage, "gsme", 20_000)
        await wait_for(stage, "ota.block", "gsme", 50)
        stage.house.dongle.crash()
        outcome = await stage.dsp.finished(request)

        assert [device.result.value for device in outcome.devices] == ["transferred"]
        assert offsets(told, "gsme") == sorted(set(offsets(told, "gsme")))
        assert said(told, "radio.back", "radio")


async def test_the_network_key_is_switched_under_two_downloads_that_go_on():
    async with sleepy_home() as (stage, told):
        _, request = await update(stage, "gsme", 20_000)
        await wait_for(stage, "ota.block", "gsme", 50)
        await stage.mains.hub._house.switch_network_key()
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["transferred"]
        _, request = await update(stage, "ppmid", 60_000)
        await wait_for(stage, "ota.block", "ppmid", 50)
        await stage.mains.hub._house.switch_network_key()
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["activated"]

    assert [fact.sequence for fact in said(told, "network.key_changed", "hub")] == [1, 2]
    for name in ("gsme", "ppmid"):
        assert offsets(told, name) == sorted(set(offsets(told, name)))


async def test_a_gas_meter_that_sleeps_through_the_switch_comes_back_and_is_updated():
    async with sleepy_home() as (stage, told):
        await stage.mains.hub._house.switch_network_key()
        _, request = await update(stage, "gsme")
        outcome = await stage.dsp.finished(request)

        assert [device.result.value for device in outcome.devices] == ["transferred"]
        gsme = stage.house.devices["gsme"].node
        assert gsme.network.network_key == stage.house.node.network.network_key
    assert "unsecured rejoin" in {fact.arrival for fact in said(told, "join.keyed", "hub")}


async def test_a_device_that_moves_to_another_address_in_its_download_is_followed():
    """The PPMID, a router, takes another address by itself; the gas meter comes back under another one."""
    async with sleepy_home() as (stage, told):
        house = stage.house
        ppmid, gsme = house.devices["ppmid"].node, house.devices["gsme"].node
        _, request = await update(stage, "ppmid", 60_000)
        await wait_for(stage, "ota.block", "ppmid", 50)
        before = ppmid.nwk
        ppmid.change_address()
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["activated"]
        assert ppmid.nwk != before

        _, request = await update(stage, "gsme", 20_000)
        await wait_for(stage, "ota.block", "gsme", 50)
        before = gsme.nwk
        gsme.store.network = replace(gsme.store.network, nwk=before ^ 0x0101)
        house.node.remove(gsme.eui64, rejoin=True)
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["transferred"]
        assert gsme.nwk != before

    moved = {fact.device: fact.nwk for fact in said(told, "device.moved", "hub")}
    assert set(moved) == {str(ppmid.eui64), str(gsme.eui64)}
    for name in ("gsme", "ppmid"):
        assert offsets(told, name) == sorted(set(offsets(told, name))), "on it went at its offset"


async def test_a_gas_meter_that_is_removed_in_its_sleep_stays_out():
    """It cannot be told. When it wakes it is refused, told to leave, and finds no way back."""
    async with sleepy_home() as (stage, told):
        hub, gsme = stage.mains.hub._house, stage.house.devices["gsme"]
        await hub.remove(gsme.eui64)
        assert said(told, "device.unreachable", "hub")
        await asyncio.sleep(2 * 86_400.0)

        assert not gsme.is_attached
        assert gsme.node.nwk is None
        assert gsme.eui64 not in [device.eui64 for device in hub.devices]
    assert said(told, "device.dismissed", "hub"), "it was told as soon as it spoke"
