"""A download is broken off in every way, on the true radio path, and goes on where the device stood.

Never a mixed image: what the device says it holds is the file that was sent, octet for octet.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import pytest
from one_ppmid import one_ppmid
from sleepy_home import offsets, said, update, wait_for

from hub.dcc.requests import UpdateFirmware
from hub.demo.stage import Stage
from hub.messages import TransferRequest, encode, topic_of

pytestmark = pytest.mark.usefixtures("rebound")

SIZE = 30_000
NEW = 0x00020000
MODES = {"blocks": {}, "pages": {"page_size": 1024, "response_spacing": 0.0}}
AGAIN = {"blocks": 0, "pages": 2 * 19}
"""Blocks of two pages."""
SEEDS = [1, 2, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 40))]


@asynccontextmanager
async def ppmid_home(seed: int, **changes):
    """A home with one PPMID, what is said in it, and dice for the test."""
    async with one_ppmid(seed, **changes) as (stage, _):
        told = []
        stage.facts.subscribe(told.append)
        yield stage, told, random.Random(f"{seed} resume")


async def block_from_now(stage: Stage, count: int) -> None:
    """Until the PPMID has received so many blocks from now on."""
    await wait_for(stage, "ota.block", "ppmid", count)


async def ends_well(stage: Stage, told: list, file, request: str, again: int = 0) -> None:
    """The request ends as it should, told once; the device holds the file, each of its octets sent once.

    ``again`` are the blocks that it may have been sent twice: of pages that were broken off.
    """
    outcome = await stage.dsp.finished(request)
    assert [device.result.value for device in outcome.devices] == ["activated"]
    assert [fact.image for fact in said(told, "ota.complete", "ppmid")] == [file.image_id]
    assert [fact.code for fact in said(told, "alert.received", "dsp")] == ["0x8F8A", "0x8F8B"]
    received = offsets(told, "ppmid")
    assert len(received) - len(set(received)) <= again, "it goes on where it stood"
    assert again or received == sorted(received)
    assert max(received) < len(file.data) <= max(received) + 65


def progress_after(told: list, moment: float):
    """The first reading told of the blocks that went out after this moment, and the speed of these blocks."""
    served = [fact for fact in said(told, "ota.block", "hub") if fact.at >= moment]
    reading = next(fact for fact in said(told, "ota.progress", "hub") if fact.at > served[0].at)
    until = [fact for fact in served if fact.at <= reading.at]
    speed = sum(fact.size for fact in until[1:]) / (until[-1].at - until[0].at)
    return reading, served[0], speed


def progress_is_right(told: list, moment: float, size: int) -> None:
    """Soon after a resume at this moment, percent, speed and time left are those of what happens since."""
    reading, first, speed = progress_after(told, moment)
    assert reading.at - first.at < 6.0
    assert reading.percent >= 100 * first.offset // size
    assert reading.octets_per_second == pytest.approx(speed, rel=0.15)
    assert reading.seconds_left == pytest.approx((size - reading.offset) / speed, rel=0.15)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_device_that_loses_its_power_at_any_block_goes_on_with_the_next(seed, mode):
    async with ppmid_home(seed, **MODES[mode]) as (stage, told, dice):
        file, request = await update(stage, "ppmid", SIZE)
        ppmid = stage.house.devices["ppmid"]
        back = []
        for fewest in (1, 40):  # the second time after a run long enough to be measured
            await block_from_now(stage, dice.randint(fewest, 180))
            ppmid.power_off()
            await asyncio.sleep(dice.uniform(6.0, 90.0))
            ppmid.power_on()
            back.append(stage.now)
        await ends_well(stage, told, file, request, AGAIN[mode])
    for moment in back:
        progress_is_right(told, moment, SIZE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_hub_that_restarts_in_mid_download_serves_on(seed, mode):
    async with ppmid_home(seed, **MODES[mode]) as (stage, told, dice):
        file, request = await update(stage, "ppmid", SIZE)
        await block_from_now(stage, dice.randint(1, 300))
        await stage.mains.cut()
        await asyncio.sleep(dice.uniform(1.0, 60.0))
        await stage.mains.power_on()
        back = stage.now
        await ends_well(stage, told, file, request, AGAIN[mode])
    progress_is_right(told, back, SIZE)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_download_goes_on_under_a_new_network_key(seed):
    async with ppmid_home(seed) as (stage, told, dice):
        file, request = await update(stage, "ppmid", 3 * SIZE)
        await block_from_now(stage, dice.randint(1, 300))
        await stage.mains.hub._house.switch_network_key()
        await ends_well(stage, told, file, request)
    (changed,) = said(told, "network.key_changed", "hub")
    before = [fact for fact in said(told, "ota.block", "ppmid") if fact.at < changed.at]
    assert 0 < len(before) < len(offsets(told, "ppmid"))


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_device_is_followed_to_another_address_in_mid_download(seed):
    async with ppmid_home(seed) as (stage, told, dice):
        file, request = await update(stage, "ppmid", SIZE)
        for _ in range(2):
            await block_from_now(stage, dice.randint(1, 200))
            stage.house.devices["ppmid"].node.change_address()
        await ends_well(stage, told, file, request)
        assert said(told, "device.moved", "hub")


# The image changed meanwhile.


async def gas_meter_joins(stage: Stage) -> None:
    """Whose image may take the slot from the PPMID's."""
    await stage.admit(stage.described["gsme"])
    stage.house.devices["gsme"].power_on()
    await asyncio.sleep(120)


async def preempt(stage: Stage) -> None:
    """A gas image takes the slot, and has been fetched."""
    _, request = await update(stage, "gsme", 1500)
    outcome = await stage.dsp.finished(request)
    assert [device.result.value for device in outcome.devices] == ["transferred"]


async def test_a_device_whose_image_is_replaced_is_told_and_starts_anew_with_the_other():
    async with ppmid_home(1) as (stage, told, dice):
        await gas_meter_joins(stage)
        _, discarded = await update(stage, "ppmid", SIZE)
        await block_from_now(stage, dice.randint(20, 200))
        await preempt(stage)
        assert (await stage.dsp.finished(discarded)).devices[0].result.value == "image discarded"
        assert [fact.why for fact in said(told, "ota.aborted", "ppmid")] == ["ABORT"]
        other, request = await update(stage, "ppmid", SIZE, NEW + 1)
        assert (await stage.dsp.finished(request)).devices[0].result.value == "activated"
        assert [fact.image for fact in said(told, "ota.complete", "ppmid")] == [other.image_id]
        assert [fact.offset for fact in said(told, "ota.started", "ppmid")] == [0, 0]


@pytest.mark.parametrize("version", [NEW, NEW + 1])
async def test_a_device_that_was_off_while_its_image_was_replaced_takes_none_of_the_old(version):
    """With the same version and size too: such files cannot be told apart by what a device asks for."""
    async with ppmid_home(2) as (stage, told, dice):
        await gas_meter_joins(stage)
        await update(stage, "ppmid", SIZE)
        await block_from_now(stage, dice.randint(20, 200))
        stage.house.devices["ppmid"].power_off()
        await preempt(stage)
        stage.seed = 99  # other octets, whatever the version
        other, request = await update(stage, "ppmid", SIZE, version)
        await asyncio.sleep(60)
        stage.house.devices["ppmid"].power_on()
        assert (await stage.dsp.finished(request)).devices[0].result.value == "activated"
        assert [fact.image for fact in said(told, "ota.complete", "ppmid")] == [other.image_id]


async def test_an_image_that_the_device_finds_bad_ends_as_failed_with_the_status_and_no_success():
    """A bit turned at the supplier's, before anybody hashed the file: only the device can tell."""
    async with one_ppmid(3) as (stage, _):
        told = []
        stage.facts.subscribe(told.append)
        await stage.admit(stage.described["hcalcs"])
        stage.house.devices["hcalcs"].power_on()
        await asyncio.sleep(120)
        hcalcs = stage.described["hcalcs"]
        good = stage.image(hcalcs, NEW, SIZE)
        spoilt = bytearray(good.data)
        spoilt[SIZE // 2] ^= 0x01
        request = UpdateFirmware(image=bytes(spoilt), devices=(hcalcs.eui64,))
        response = await stage.dsp.submit(request)
        outcome = await stage.dsp.finished(response.request_id)
        assert [device.result.value for device in outcome.devices] == ["file transfer failure"]
        (failed,) = said(told, "ota.failed", "hub")
        assert "INVALID_IMAGE" in failed.why
        assert not said(told, "ota.complete", "hcalcs")
        assert stage.house.devices["hcalcs"].firmware.held is None
        states = [fact.state for fact in said(told, "ota.progress", "hub")]
        assert states[-1] == "failed"


# What the user says.


async def order(stage: Stage, action: str) -> None:
    """Say it over MQTT, as `gbhan transfer` does."""
    ppmid = stage.described["ppmid"]
    request = TransferRequest(device=str(ppmid.eui64), action=action, **stage._envelopes.stamp())
    await stage._user.publish(topic_of(stage.hub_eui64, request), encode(request))
    await asyncio.sleep(1)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_a_pause_outlives_a_restart_of_the_hub_and_of_the_device(seed):
    async with ppmid_home(seed) as (stage, told, dice):
        file, request = await update(stage, "ppmid", SIZE)
        await block_from_now(stage, dice.randint(1, 300))
        await order(stage, "pause")
        before = offsets(told, "ppmid")
        await stage.mains.cut()
        await asyncio.sleep(dice.uniform(1.0, 60.0))
        await stage.mains.power_on()
        await asyncio.sleep(1800)
        stage.house.devices["ppmid"].power_off()
        await asyncio.sleep(10)
        stage.house.devices["ppmid"].power_on()
        await asyncio.sleep(1800)
        assert offsets(told, "ppmid") == before
        await order(stage, "resume")
        resumed = stage.now
        await ends_well(stage, told, file, request)
    progress_is_right(told, resumed, SIZE)


async def test_a_download_that_the_user_aborts_has_failed_and_a_new_request_starts_anew():
    async with ppmid_home(4) as (stage, told, dice):
        _, request = await update(stage, "ppmid", SIZE)
        await block_from_now(stage, dice.randint(1, 300))
        await order(stage, "abort")
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["file transfer failure"]
        [failed] = said(told, "ota.failed", "hub")
        assert failed.why.startswith("aborted by the user: it was notified once and had come to octet ")
        await asyncio.sleep(60)
        other, request = await update(stage, "ppmid", SIZE, NEW + 1)
        outcome = await stage.dsp.finished(request)
        assert [device.result.value for device in outcome.devices] == ["activated"]
        assert [fact.image for fact in said(told, "ota.complete", "ppmid")] == [other.image_id]
        assert [fact.code for fact in said(told, "alert.received", "dsp")] == ["0x8F89", "0x8F8A", "0x8F8B"]
