"""Somebody sets the clock of a running hub: its image stays two weeks, no less and no more."""

import asyncio
import contextlib
import random
from datetime import UTC, datetime, timedelta

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import OTHER, PPMID, World, image_for

from han.clock import Utc
from hub.hub import HubSettings
from hub.slot import DAY, DeleteWhen, SlotName, SlotSettings

HOUR = 3600.0
STEPS = [-400 * DAY, -2 * DAY, 2 * DAY, 400 * DAY]
IMAGE = image_for("PPMID")
ANOTHER = image_for("PPMID", version=3)


class SettableUtc(Utc):
    """A clock that runs true until somebody sets it."""

    set_by = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.set_by)


@contextlib.asynccontextmanager
async def home_where_nobody_collects(tmp_path, *, delete_when: DeleteWhen = DeleteWhen.AT_EXPIRY):
    settings = HubSettings(slot=SlotSettings(delete_when=delete_when))
    world = World(tmp_path, FaultyDisk(random.Random(2)), settings=settings, query_every=6 * HOUR)
    world.utc = SettableUtc(world.loop)
    async with world:
        await world.start()
        await world.join(PPMID, OTHER)
        for device in world.house.devices.values():
            device.power_off()
        yield world


async def restart(world: World, *, off: float = 60.0, set_by: float = 0.0) -> None:
    await world.stop()
    await asyncio.sleep(off)
    world.utc.set_by += set_by
    await world.start()


async def store(world: World) -> float:
    """Bring an image to the hub; gives the loop's time at which it was stored."""
    await world.head_end.offer(IMAGE, PPMID)
    await world.head_end.when(lambda: any(each.complete for each in world.head_end.wanted))
    return world.loop.time()


async def expect_to_leave_at(world: World, due: float) -> None:
    await asyncio.sleep(due - 60.0 - world.loop.time())
    assert list(world.hub.custody.images())
    await asyncio.sleep(120.0)
    assert not list(world.hub.custody.images())
    await world.head_end.alert("0x8F89", PPMID, response=1)
    assert len(world.head_end.alert_ids()) == 1


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_in_mid_retention_neither_shortens_nor_prolongs_it(tmp_path, step):
    async with home_where_nobody_collects(tmp_path) as world:
        stored = await store(world)
        await asyncio.sleep(5 * DAY)
        world.utc.set_by += step
        await asyncio.sleep(HOUR)
        [fact] = [each for each in world.told if each.what == "clock.stepped"]
        assert fact.by == pytest.approx(step, abs=0.01)
        await expect_to_leave_at(world, stored + 14 * DAY)


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_is_not_forgotten_over_a_restart(tmp_path, step):
    async with home_where_nobody_collects(tmp_path) as world:
        stored = await store(world)
        await asyncio.sleep(5 * DAY)
        world.utc.set_by += step
        await asyncio.sleep(HOUR)
        await restart(world)
        await asyncio.sleep(DAY)
        await restart(world)
        await expect_to_leave_at(world, stored + 14 * DAY)


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_while_the_image_arrives_does_not_touch_its_two_weeks(tmp_path, step):
    async with home_where_nobody_collects(tmp_path) as world:
        world.head_end.holds_back = True
        await world.head_end.offer(IMAGE, PPMID)
        wanted = await world.head_end.when(lambda: world.head_end.wanted[-1:])
        world.utc.set_by += step
        world.head_end.holds_back = False
        await world.head_end.go_on(wanted[0])
        await world.head_end.when(lambda: any(each.complete for each in world.head_end.wanted))
        await expect_to_leave_at(world, world.loop.time() + 14 * DAY)


async def test_a_clock_that_falls_back_while_the_hub_is_off_prolongs_by_that_time_at_most(tmp_path):
    async with home_where_nobody_collects(tmp_path) as world:
        stored = await store(world)
        await asyncio.sleep(5 * DAY)
        await restart(world, off=2 * HOUR, set_by=-400 * DAY)
        await asyncio.sleep(HOUR)
        world.utc.set_by += 400 * DAY
        # Two hours off, and up to another since the last steady second was kept.
        await asyncio.sleep(stored + 14 * DAY - 60.0 - world.loop.time())
        assert list(world.hub.custody.images())
        await asyncio.sleep(3 * HOUR + 120.0)
        assert not list(world.hub.custody.images())


async def test_a_clock_that_falls_back_right_after_the_image_was_stored_draws_nothing_out(tmp_path):
    async with home_where_nobody_collects(tmp_path) as world:
        await asyncio.sleep(40 * DAY)
        stored = await store(world)
        await restart(world, off=60.0, set_by=-30 * DAY)
        await asyncio.sleep(stored + 14 * DAY - 60.0 - world.loop.time())
        assert list(world.hub.custody.images()) != []
        await asyncio.sleep(240.0)
        assert list(world.hub.custody.images()) == []


async def test_a_clock_set_forward_lets_nobody_take_the_place_of_an_image_that_is_needed(tmp_path):
    async with home_where_nobody_collects(tmp_path, delete_when=DeleteWhen.SPACE_IS_NEEDED) as world:
        stored = await store(world)
        world.utc.set_by += 20 * DAY
        assert (await world.head_end.offer(ANOTHER, OTHER)).code == "too-busy"
        await asyncio.sleep(stored + 14 * DAY - 60.0 - world.loop.time())
        assert (await world.head_end.offer(ANOTHER, OTHER, request="once-more")).code == "too-busy"
        await asyncio.sleep(120.0)
        assert (await world.head_end.offer(ANOTHER, OTHER, request="and-again")).ok


async def test_the_end_of_the_retention_is_shown_as_the_clock_will_show_it(tmp_path):
    async with home_where_nobody_collects(tmp_path) as world:
        await store(world)
        shown = world.hub.custody.picture(SlotName.SHARED).retained_until
        assert shown.tzinfo is UTC
        assert (shown - world.utc.now()).total_seconds() == pytest.approx(14 * DAY, abs=60.0)
        world.utc.set_by += 3 * HOUR
        await asyncio.sleep(1200.0)
        later = world.hub.custody.picture(SlotName.SHARED).retained_until
        assert (later - shown).total_seconds() == pytest.approx(3 * HOUR, abs=1.0)


async def test_a_clock_that_is_never_set_never_steps(tmp_path):
    async with home_where_nobody_collects(tmp_path) as world:
        await store(world)
        await asyncio.sleep(3 * DAY)
        await restart(world, off=DAY)
        await asyncio.sleep(3 * DAY)
        assert [each for each in world.told if each.what == "clock.stepped"] == []
