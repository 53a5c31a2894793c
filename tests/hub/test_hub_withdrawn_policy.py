"""The retention that was withdrawn in 2020, for real: a week in flash, then memory until a restart."""

import asyncio
import contextlib
import random

from hub_faulty_disk import FaultyDisk, PowerCutError
from hub_world import HCALCS, OTHER, PPMID, World, image_for, image_id

from hub.hub import HubSettings
from hub.slot import DAY, WITHDRAWN_RETENTION, SlotName, SlotSettings

IMAGE = image_for("PPMID")


@contextlib.asynccontextmanager
async def home_with_an_image_that_two_wait_for(tmp_path):
    settings = HubSettings(slot=SlotSettings(retention=WITHDRAWN_RETENTION, then_in_memory=True))
    world = World(tmp_path, FaultyDisk(random.Random(4)), settings=settings, query_every=6 * 3600.0)
    async with world:
        await world.start()
        await world.join(PPMID, OTHER)
        for device in world.house.devices.values():
            device.power_off()
        await world.head_end.offer(IMAGE, PPMID, OTHER)
        await world.head_end.when(lambda: any(each.complete for each in world.head_end.wanted))
        yield world


def files(world: World) -> list[str]:
    return [name for name in world.disk.names() if name != "memory.json"]


async def wake(world: World, device) -> None:
    world.house.devices[device].is_asleep = False
    world.house.devices[device].power_on()


async def test_after_a_week_the_image_is_in_memory_alone_and_still_served(tmp_path):
    async with home_with_an_image_that_two_wait_for(tmp_path) as world:
        await asyncio.sleep(6.9 * DAY)
        assert files(world) == [f"{image_id(IMAGE)}.ota"]
        assert not world.hub.custody.picture(SlotName.SHARED).in_memory
        await asyncio.sleep(0.2 * DAY)
        assert files(world) == []
        assert world.hub.custody.picture(SlotName.SHARED).in_memory
        await wake(world, PPMID)
        await world.head_end.alert("0x8F8A", PPMID)
        assert world.house.devices[PPMID].downloads == [IMAGE]


async def test_a_restart_in_the_first_week_loses_nothing(tmp_path):
    async with home_with_an_image_that_two_wait_for(tmp_path) as world:
        await asyncio.sleep(6 * DAY)
        await world.crash()
        await world.start()
        await wake(world, PPMID)
        await world.head_end.alert("0x8F8A", PPMID)


async def test_a_restart_after_it_loses_the_image_and_whoever_still_waited_is_told_of_once(tmp_path):
    async with home_with_an_image_that_two_wait_for(tmp_path) as world:
        await asyncio.sleep(8 * DAY)
        await wake(world, PPMID)
        await world.head_end.alert("0x8F8B", PPMID)
        for _ in range(3):
            await world.crash()
            await world.start()
            await asyncio.sleep(60.0)
        alert = await world.head_end.alert("0x8F89", OTHER, response=1)
        assert "memory" in alert.reason
        assert len(world.head_end.alert_ids()) == 3, "transferred, activated, lost"
        assert list(world.hub.custody.images()) == []
        [lost] = [fact for fact in world.told if fact.what == "slot.lost"]
        assert (lost.unfinished, "restarted" in lost.why) == ([str(OTHER)], True)


async def test_what_is_in_memory_makes_room_for_whoever_comes(tmp_path):
    async with home_with_an_image_that_two_wait_for(tmp_path) as world:
        await asyncio.sleep(8 * DAY)
        await world.join(HCALCS)
        assert (await world.head_end.offer(image_for("HCALCS"), HCALCS)).ok
        await world.head_end.alert("0x8F8A", HCALCS)
        for device in (PPMID, OTHER):
            await world.head_end.alert("0x8F89", device, response=1)
        assert len(world.head_end.alert_ids()) == 3


async def test_power_may_go_at_any_step_of_the_move_and_of_the_loss(tmp_path):
    for step in range(1, 12):
        (tmp_path / str(step)).mkdir()
        async with home_with_an_image_that_two_wait_for(tmp_path / str(step)) as world:
            world.loop.set_exception_handler(lambda *_: None)
            await asyncio.sleep(6.99 * DAY)
            world.disk.steps_left = step
            world.disk.on_cut = world.hub.halt
            await asyncio.sleep(0.1 * DAY)
            with contextlib.suppress(PowerCutError, BaseExceptionGroup):
                await world.crash()
            world.disk.power_back()
            await world.start()
            await asyncio.sleep(60.0)
            if list(world.hub.custody.images()):
                assert world.hub.custody.image(image_id(IMAGE)) == IMAGE
                assert world.head_end.alerts == []
            else:
                for device in (PPMID, OTHER):
                    await world.head_end.alert("0x8F89", device, response=1)
                assert len(world.head_end.alert_ids()) == 2
