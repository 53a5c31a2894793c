"""What devices tell by themselves goes to the head end as they said it, once, and from nobody else."""

import asyncio
import contextlib
import random
from dataclasses import replace

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import ESME, GSME, HCALCS, HUB, PPMID, World

from han.gbcs.codes import MessageCode
from han.gbcs.envelope import Envelope, MessageKind
from han.gbcs.messages import receipt_alert
from han.gbcs.receipt import ReceiptAlert

DIGEST = bytes(range(32))


@contextlib.asynccontextmanager
async def home(tmp_path, *devices, **settings):
    async with World(tmp_path, FaultyDisk(random.Random(1)), **settings) as world:
        await world.start()
        await world.join(*devices)
        yield world


def receipt(world, device, code=MessageCode.RECEIPT_GSME, alert_code=0x8F72, counter=1) -> Envelope:
    told = ReceiptAlert(alert_code, world.utc.now().replace(microsecond=0), DIGEST)
    return receipt_alert(device, counter, code, told)


@pytest.mark.parametrize(
    ("device", "code"),
    [
        (ESME, MessageCode.RECEIPT_ESME),
        (GSME, MessageCode.RECEIPT_GSME),
        (HCALCS, MessageCode.RECEIPT_GSME),
    ],
)
@pytest.mark.parametrize("alert_code", [0x8F72, 0x8F1C])
async def test_a_receipt_is_relayed_whole_with_its_hash_and_no_version_of_our_own(
    tmp_path, device, code, alert_code
):
    async with home(tmp_path, device) as world:
        message = receipt(world, device, code, alert_code)
        world.house.devices[device].tell(message.to_bytes())
        alert = await world.head_end.alert(f"0x{alert_code:04X}", device, response=None)
        assert alert.TOPIC == "alert/firmware-verification"
        assert (alert.manufacturer_image_hash, alert.file_version) == (DIGEST.hex(), "FFFFFFFF")
        assert bytes.fromhex(alert.gbcs) == message.to_bytes()


async def test_a_receipt_that_comes_twice_is_one_alert_also_after_a_restart(tmp_path):
    async with home(tmp_path, GSME) as world:
        message = receipt(world, GSME).to_bytes()
        for _ in range(2):
            world.house.devices[GSME].tell(message)
        await world.head_end.alert("0x8F72", GSME, response=None)
        await world.crash()
        await world.start()
        world.house.devices[GSME].tell(message)
        world.house.devices[GSME].tell(receipt(world, GSME, counter=2).to_bytes())
        await world.head_end.when(lambda: len(world.head_end.alert_ids()) == 2)
        await asyncio.sleep(60.0)
        assert len(world.head_end.alert_ids()) == 2


async def test_a_receipt_waits_on_the_flash_while_the_broker_is_away(tmp_path):
    async with home(tmp_path, GSME) as world:
        async with world.wan.away():
            world.house.devices[GSME].tell(receipt(world, GSME).to_bytes())
            await asyncio.sleep(3600.0)
            (waiting,) = world.hub.custody.memory.alerts
            assert waiting.topic.endswith("alert/firmware-verification")
        await world.head_end.alert("0x8F72", GSME, response=None)


@pytest.mark.parametrize(
    ("device", "spoil", "why"),
    [
        (PPMID, lambda m: m, "a device of type PPMID sends no receipt 0x00cf"),
        (ESME, lambda m: m, "a device of type ESME sends no receipt 0x00cf"),
        (GSME, lambda m: replace(m, originator=HUB), "comes from"),
        (GSME, lambda m: replace(m, code=MessageCode.RECEIPT_ESME), "not a Firmware Distribution Receipt"),
        (GSME, lambda m: replace(m, payload=m.payload[:-1]), "not a Firmware Distribution Receipt"),
        (GSME, lambda m: replace(m, payload=m.payload[:3] + b"\x8f\x66" + m.payload[5:]), "0x8f66"),
        (GSME, lambda m: replace(m, kind=MessageKind.RESPONSE), "nobody asked"),
        (GSME, lambda m: replace(m, code=0x1000), "nobody asked"),
    ],
)
async def test_a_receipt_that_cannot_be_one_is_refused_and_owes_nothing(tmp_path, device, spoil, why):
    async with home(tmp_path, device) as world:
        message = spoil(receipt(world, device))
        world.house.devices[device].tell(message.to_bytes())
        await asyncio.sleep(1.0)
        assert world.hub.custody.memory.raised == ()
        assert any(why in said for said in world.whys("gbcs.refused")), world.whys("gbcs.refused")


async def test_a_receipt_from_a_device_that_was_never_admitted_is_refused(tmp_path):
    async with home(tmp_path, PPMID) as world:
        stranger = world.house.add(GSME)
        stranger.open_tunnel()
        await asyncio.sleep(1.0)
        stranger.tell(receipt(world, GSME).to_bytes())
        await asyncio.sleep(1.0)
        assert world.whys("gbcs.refused") == ["a device of type unknown sends no receipt 0x00cf"]
