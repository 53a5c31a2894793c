"""The force-replace octet at a file's end lets its image take the slot at once: honoured, and checked."""

import contextlib
import random

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import GSME, HCALCS, PPMID, World, image_for, image_id

from hub.hub import HubSettings
from hub.slot import SlotSettings

WAITING = image_for("PPMID")
PLAIN = image_for("HCALCS", size=400)
FORCED = image_for("HCALCS", size=400, force_replace=1)


@contextlib.asynccontextmanager
async def home(tmp_path, waiting=WAITING, device=PPMID, **slot):
    """A hub that holds an image which its device does not collect."""
    settings = HubSettings(slot=SlotSettings(**slot))
    async with World(tmp_path, FaultyDisk(random.Random(3)), settings=settings) as world:
        await world.start()
        await world.join(device)
        world.house.devices[device].power_off()
        await world.join(*({HCALCS, PPMID, GSME} - {device}))
        await world.head_end.offer(waiting, device)
        await world.head_end.when(lambda: any(each.complete for each in world.head_end.wanted))
        yield world


async def test_a_forced_image_takes_the_slot_from_one_that_is_still_needed(tmp_path):
    async with home(tmp_path) as world:
        assert (await world.head_end.offer(FORCED, HCALCS, force=True)).ok
        alert = await world.head_end.alert("0x8F89", PPMID, response=1)
        assert "force-replace" in alert.reason
        await world.head_end.alert("0x8F8A", HCALCS)
        assert world.house.devices[HCALCS].downloads == [FORCED]
        assert len(world.head_end.alert_ids()) == 2


async def test_without_force_the_same_image_waits_its_turn(tmp_path):
    async with home(tmp_path) as world:
        assert (await world.head_end.offer(PLAIN, HCALCS)).code == "too-busy"
        assert world.head_end.alerts == []


async def test_a_hub_may_ignore_force(tmp_path):
    async with home(tmp_path, honours_force_replace=False) as world:
        assert (await world.head_end.offer(FORCED, HCALCS, force=True)).code == "too-busy"
        gas = image_for("GSME", force_replace=1)
        assert (await world.head_end.offer(gas, GSME)).ok, "and what the file says is nothing to it"
        await world.head_end.alert("0x8F8A", GSME)


async def test_force_takes_nothing_from_a_gas_meter(tmp_path):
    async with home(tmp_path, waiting=image_for("GSME"), device=GSME) as world:
        assert (await world.head_end.offer(FORCED, HCALCS, force=True)).code == "too-busy"
        assert world.head_end.alerts == []


@pytest.mark.parametrize(("image", "offered"), [(PLAIN, True), (FORCED, False)])
async def test_an_image_that_is_not_as_forced_as_its_offer_said_goes_to_nobody(tmp_path, image, offered):
    async with home(tmp_path, waiting=image_for("PPMID"), device=PPMID) as world:
        world.house.devices[PPMID].is_asleep = False
        world.house.devices[PPMID].power_on()
        await world.head_end.alert("0x8F8A", PPMID)
        assert (await world.head_end.offer(image, HCALCS, force=offered)).ok
        alert = await world.head_end.alert("0x8F89", HCALCS, response=1)
        assert "force_replace" in alert.reason
        await world.head_end.when(lambda: world.head_end.wanted[-1].code == "invalid-image")
        assert list(world.hub.custody.images()) == []
        assert world.house.devices[HCALCS].downloads == []


async def test_an_octet_that_nobody_knows_forces_nothing(tmp_path):
    async with home(tmp_path) as world:
        odd = image_for("GSME", force_replace=2)
        assert (await world.head_end.offer(odd, GSME)).ok
        await world.head_end.alert("0x8F8A", GSME)


async def test_a_ppmids_file_has_nothing_to_force_with(tmp_path):
    async with home(tmp_path) as world:
        answer = await world.head_end.offer(image_for("PPMID", version=3), PPMID, force=True)
        assert (answer.code, world.head_end.alerts) == ("invalid-image", [])
        assert world.hub.custody.image(image_id(WAITING)) == WAITING
