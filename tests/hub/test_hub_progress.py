"""Progress as a running hub tells it: in its messages, in its list of devices, among its facts."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from hub_faulty_disk import FaultyDisk
from hub_world import GSME, OTHER, PPMID, TICK, World, image_for

from hub.messages import DevicesRequest, Progress, TransferEntry

EVERY = 5.0
SIZE = 40_000


@contextlib.asynccontextmanager
async def home(tmp_path, *devices):
    """A running hub in a house with these devices joined."""
    async with World(tmp_path, FaultyDisk(random.Random(1))) as world:
        await world.start()
        await world.join(*devices)
        yield world


async def entry(world, device) -> TransferEntry | None:
    listed = await world.head_end.ask(DevicesRequest(**world.head_end.pen.stamp()))
    return next(each.transfer for each in listed.devices if each.device == str(device))


def told(world, device=PPMID) -> list[Progress]:
    return [each for each in world.head_end.progress if each.device == str(device)]


def speed(world) -> float:
    """Octets in a second on this link: a block, there and back."""
    return world.hub._settings.server.block_ceiling / (2 * TICK)


async def test_a_report_says_how_fast_and_how_long_still(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID)
        second = await world.head_end.when(lambda: told(world)[1:2])
        assert second[0].state == "downloading"
        assert second[0].octets_per_second == pytest.approx(speed(world), rel=0.1)
        assert second[0].seconds_left == pytest.approx(
            (second[0].size - second[0].offset) / second[0].octets_per_second, abs=0.2
        )
        done = await world.head_end.when(lambda: [each for each in told(world) if each.state == "complete"])
        assert (done[0].percent, done[0].seconds_left) == (100, 0.0)


async def test_the_list_of_devices_shows_how_each_stands(tmp_path):
    async with home(tmp_path, PPMID, OTHER, GSME) as world:
        assert await entry(world, PPMID) is None
        world.house.devices[OTHER].power_off()
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID, OTHER)
        await world.head_end.when(lambda: told(world)[1:2])
        running, waiting = await entry(world, PPMID), await entry(world, OTHER)
        assert (running.state, waiting.state) == ("downloading", "waiting")
        assert 0 < running.percent < 100
        assert running.octets_per_second == pytest.approx(speed(world), rel=0.1)
        assert (waiting.percent, waiting.seconds_left) == (0, None)
        assert await entry(world, GSME) is None
        await world.head_end.alert("0x8F8A", PPMID)
        assert (await entry(world, PPMID)).state == "complete"


async def test_right_after_a_restart_of_the_hub_the_speed_is_right_and_nothing_is_lost(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID)
        await world.head_end.when(lambda: told(world)[1:2])
        await world.crash()
        before = told(world)[-1].offset
        await asyncio.sleep(2.0)
        await world.start()
        resumed = await world.head_end.when(lambda: [each for each in told(world) if each.offset > before])
        assert resumed[0].octets_per_second == pytest.approx(speed(world), rel=0.1)
        started = [fact for fact in world.told if fact.what == "ota.started"][-1]
        first = next(fact for fact in world.told if fact.what == "ota.progress" and fact.at > started.at)
        assert first.at - started.at < 1.5


async def test_a_device_that_falls_silent_is_told_of_where_it_stands(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID)
        await world.head_end.when(lambda: told(world))
        await asyncio.sleep(2.0)
        world.house.devices[PPMID].power_off()
        await asyncio.sleep(EVERY + 1)
        assert told(world)[-1].offset > told(world)[0].offset
        await world.head_end.when(lambda: told(world)[-1].state == "stalled")
        assert (await entry(world, PPMID)).octets_per_second == 0.0


async def test_a_device_whose_image_goes_is_told_of_at_once_and_never_again(tmp_path):
    async with home(tmp_path, PPMID, GSME) as world:
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID)
        await world.head_end.when(lambda: told(world))
        await world.head_end.offer(image_for("GSME"), GSME)
        await world.head_end.alert("0x8F8A", GSME)
        await asyncio.sleep(3 * EVERY)
        assert [each.state for each in told(world)].count("discarded") == 1
        assert told(world)[-1].state == "discarded"
        assert told(world)[-1].request_id == told(world)[0].request_id != ""
        assert await entry(world, PPMID) is None


async def test_a_failed_transfer_is_told_of_once(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await world.head_end.offer(image_for("PPMID", version=1), PPMID)
        await world.head_end.alert("0x8F89", PPMID, response=3)
        await asyncio.sleep(3 * EVERY)
        assert [each.state for each in told(world)] == ["failed"]


async def test_a_client_that_asks_for_one_block_a_thousand_times_gives_no_flood(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID)
        await world.head_end.when(lambda: told(world))
        device = world.house.devices[PPMID]
        began, count = world.loop.time(), len(told(world))
        for _ in range(1000):
            device.client.start(device.now)  # it loses its power every tenth of a second, and begins anew
            device.settle()
            await asyncio.sleep(0.1)
        assert len(told(world)) - count <= 2 + (world.loop.time() - began) / EVERY


async def test_facts_carry_what_the_messages_do(tmp_path):
    async with home(tmp_path, PPMID) as world:
        await world.head_end.offer(image_for("PPMID", size=SIZE), PPMID)
        await world.head_end.alert("0x8F8A", PPMID)
        await asyncio.sleep(1.0)
        facts = [fact for fact in world.told if fact.what == "ota.progress"]
        assert [(f.device, f.state, f.percent) for f in facts] == [
            (each.device, each.state, each.percent) for each in told(world)
        ]
